"""Images of more than 8 bits a pixel, from the file to the class: scaled alike wherever a model reads them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoshrink import OnnxClassifier
from autoshrink.bundle import TrainedClassifier, load_as
from autoshrink.cli import run
from autoshrink.data import Preprocessing, load_proxy
from autoshrink.data.depth import pixel_notes, window_of
from autoshrink.deploy.exporting import export
from autoshrink.errors import InputError
from data_fixtures import encoded

PAGE = Path(__file__).parent.parent / "docs" / "deploy.md"
LEVELS = {"low": 1010, "high": 1034}


def twelve_bits(root: Path, images: int = 30) -> Path:
    """Camera values in 16-bit files; the classes differ by 24 of 4,095 in a disc, far above the noise of 2."""
    y, x = np.mgrid[:16, :16]
    for name, level in LEVELS.items():
        for split, count in (("train", images), ("test", 15)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                rng = np.random.default_rng([level, number, split == "test"])
                values = rng.normal(1000, 2, (16, 16))
                across, down = rng.integers(6, 10, 2)
                values[(x - across) ** 2 + (y - down) ** 2 < 16] += level - 1000
                if number == 0:
                    values[0, 0] = 4095  # a hot pixel
                pixels = values.round().clip(0, 4095).astype(np.uint16)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twelve_bits(tmp_path_factory.mktemp("camera") / "data")


@pytest.fixture(scope="module")
def trained(camera: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    cell, file = folder / "a.cell.json", folder / "a.arch.json"
    cell.write_text(
        json.dumps({"format": "autoshrink.cell/1", "kind": "conv", "ops": ["input", "sepconv3x3"], "edges": [[0, 1]]})
    )
    stages = ["--stages", "1x8,1x8", "--stem", "8"]
    assert run(["craft", str(cell), "--input", "1x16x16", "--classes", "2", *stages, "-o", str(file)]) == 0
    options = ["--epochs", "6", "--batch", "8", "--threads", "1", "-o", str(folder / "model")]
    assert run(["train", str(file), "--data", str(camera), *options]) == 0
    return folder / "model"


def test_twelve_bits_in_sixteen_are_told_apart_everywhere(
    trained: Path, camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(trained), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    file = tmp_path / "model.onnx"
    assert run(["export", str(trained), "-o", str(file)]) == 0
    assert run(["export", str(trained), "--source", str(tmp_path / "source")]) == 0
    capsys.readouterr()
    images = sorted((camera / "test").glob("*/*.png"))
    assert run(["predict", str(file), *map(str, images), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    assert [answer["class"] for answer in answers] == [image.parent.name for image in images]
    window = load_as(TrainedClassifier, trained).preprocessing.window
    assert window is not None
    assert 970 < window[0] < 1000
    assert 1040 < window[1] < 1080
    assert (
        f"scales values {window[0]:,.6g} to {window[1]:,.6g} of images"
        in (tmp_path / "source" / "README.md").read_text()
    )


def test_what_became_of_the_values_is_said(
    trained: Path, camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--epochs", "1", "--threads", "1", "--stream", "--workers", "0", "-o", str(tmp_path / "model")]
    assert run(["train", str(trained.parent / "a.arch.json"), "--data", str(camera), *options]) == 0
    proxy = load_proxy(str(camera), train_per_class=9, validation_per_class=3, size=8, seed=0, cache=tmp_path)
    for said in (" ".join(capsys.readouterr().err.split()), " ".join(proxy.notes)):
        assert "images looked at have more than 8 bits a pixel: values " in said
        assert " become 0 to 255, and what is beyond is clipped" in said


@pytest.fixture(scope="module")
def exported(trained: Path) -> Path:
    export(trained, trained.parent / "model.onnx")
    return trained.parent / "model.onnx"


def kinds() -> dict[str, bytes]:
    """Files of every kind, in colours and shapes that a wrong step would change."""
    ramp = np.add.outer(np.arange(20) * 6, np.arange(28) * 4)
    colour = Image.fromarray(np.stack([ramp, 255 - ramp, ramp[::-1]], axis=2).astype(np.uint8))
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray((255 - ramp).clip(0, 255).astype(np.uint8)))
    palette = colour.quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6
    moving = io.BytesIO()
    palette.save(moving, "GIF", save_all=True, append_images=[palette.rotate(90)])
    return {
        "RGB": encoded(colour),
        "RGBA": encoded(alpha),
        "grey with alpha": encoded(alpha.convert("LA")),
        "palette": encoded(palette),
        "palette, transparent": encoded(palette, transparency=3),
        "one bit": encoded(colour.convert("1")),
        "16 bits": encoded(Image.fromarray((900 + ramp).astype(np.uint16))),
        "16 bits, TIFF": encoded(Image.fromarray((900 + ramp).astype(np.uint16)), "TIFF"),
        "floating point": encoded(Image.fromarray((900 + ramp).astype(np.float32)), "TIFF"),
        "CMYK": encoded(colour.convert("CMYK"), "JPEG"),
        "turned": encoded(colour, "JPEG", exif=exif),
        "grey JPEG": encoded(colour.convert("L"), "JPEG"),
        "large JPEG": encoded(colour.resize((560, 400)), "JPEG"),
        "moving": moving.getvalue(),
    }


@pytest.mark.parametrize("kind", kinds())
def test_the_pages_program_reads_a_file_as_predict_does(
    kind: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported.parent)
    Path("photo.jpg").write_bytes(kinds()[kind])
    program = next(block for block in PAGE.read_text().split("```py")[1:] if "InferenceSession" in block).split("```")[
        0
    ]
    held: dict[str, Any] = {}
    exec(compile(program, str(PAGE), "exec"), held)  # our own page's example
    model = OnnxClassifier.open("model.onnx")
    ours = model.preprocessing.pixels(Path("photo.jpg").read_bytes())
    assert np.array_equal(np.rint(held["pixels"][0] * 255).astype(np.uint8), ours)
    assert np.allclose(held["logits"], model.logits(model.preprocessing.normalised(ours[np.newaxis])), atol=1e-5)


def test_a_phones_largest_photograph_is_read(
    tmp_path: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """108 megapixels; Pillow's own limit calls it a bomb."""
    file = tmp_path / "phone.jpg"
    Image.new("L", (12_000, 9_000), 90).save(file, quality=30)
    assert run(["predict", str(exported), str(file)]) == 0
    assert str(file) in capsys.readouterr().out


def test_a_window_leaves_out_hot_pixels_and_marks_and_nothing_else() -> None:
    scan = np.random.default_rng(0).normal(1000, 20, 100_000).round()
    inside = window_of(scan)
    assert inside == (scan.min(), scan.max())
    low, high = window_of(np.append(scan, [4095, 0]))
    assert inside[0] - 80 < low <= inside[0]
    assert inside[1] <= high < inside[1] + 80
    marked = np.append(scan, np.full(50_000, -32768))
    low, high = window_of(marked)
    assert inside[0] - 80 < low <= inside[0]
    assert window_of(np.full(10, 7.0)) == (7, 8)
    assert window_of(np.arange(65536.0)) == (0, 65535)


def test_flat_pictures_and_few_levels_are_counted() -> None:
    flat = np.zeros((4, 1, 5, 5), dtype=np.uint8)
    flat[0] = np.arange(25, dtype=np.uint8).reshape(5, 5) * 10
    assert pixel_notes(flat) == ("3 of 4 training images have one constant grey level in every pixel",)
    dark = np.arange(100, dtype=np.uint8).reshape(4, 1, 5, 5) % 5
    (note,) = pixel_notes(dark)
    assert note.startswith("nearly all pixels are between 0 and 4 of 0 to 255: too few levels")


def test_the_window_is_kept_and_models_without_one_read_as_before() -> None:
    how = Preprocessing(1, 4, (0.5,), (0.5,), window=(900.0, 1155.0))
    assert Preprocessing.from_json(json.loads(json.dumps(how.to_json()))) == how
    file = encoded(Image.fromarray(np.full((8, 8), 1000, dtype=np.uint16)))
    assert how.pixels(file).tolist() == [[[100] * 4] * 4]
    before = Preprocessing.from_json({"channels": 1, "size": 4, "mean": [0.5], "std": [0.5], "crop": 1.0})
    assert before.window is None
    assert "window" not in before.to_json()
    assert before.pixels(file).tolist() == [[[4] * 4] * 4]
    for wrong in ([1, 0], [0, 0], [0, float("inf")], [0], 5, ["a", "b"]):
        with pytest.raises(InputError, match="preprocessing: "):
            Preprocessing.from_json(how.to_json() | {"window": wrong})
