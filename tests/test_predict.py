"""Predictions from the ONNX file alone: of images of any kind and of texts, without torch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from autoshrink.architecture import LibraryArchitecture
from autoshrink.bundle import save
from autoshrink.cli import run
from autoshrink.deploy.card import FORMAT
from autoshrink.deploy.image import real_samples
from autoshrink.deploy.predict import OnnxClassifier, OnnxLanguageModel, images_in, open_exported
from autoshrink.errors import DataError, InputError
from autoshrink.generation import generate, softmax
from autoshrink.onnx.untrained import architecture_to_onnx
from deploy_fixtures import DIGITS, classifier, export_classifier, export_language_model, language, loop_path, token_ids

pytestmark = pytest.mark.usefixtures("graphs_once")
LANGUAGE = LibraryArchitecture(kind="gru", vocabulary=20, width=6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    model = classifier(DIGITS)
    export_classifier(model, path, real_samples(model, count=4))
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "model.onnx"
    model = language(LANGUAGE)
    save(path.with_name("model.safetensors"), model)
    export_language_model(model, path, token_ids(40, 20))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of images of several kinds, and of what is none."""
    folder, draw = tmp_path / "photos", np.random.default_rng(0)
    (folder / "more").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    colours = Image.fromarray(draw.integers(0, 256, (30, 20, 3), dtype=np.uint8))
    colours.save(folder / "b.jpg")
    colours.convert("RGBA").save(folder / "a.png")
    colours.convert("L").save(folder / "more" / "c.webp")
    colours.save(folder / ".hidden" / "d.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_prediction_is_pytorchs(exported: Path, photos: Path) -> None:
    model, reference = OnnxClassifier.open(exported), classifier(DIGITS)
    paths = images_in(photos)
    assert [path.name for path in paths] == ["a.png", "b.jpg", "c.webp"]
    found = list(model.predict(paths, top=3))
    for path, one in zip(paths, found, strict=True):
        pixels = reference.preprocessing.pixels(path.read_bytes())
        images = torch.from_numpy(reference.preprocessing.normalised(pixels[np.newaxis]))
        with torch.no_grad():
            chances = torch.softmax(reference.network(images), dim=1)[0]
        best = chances.topk(3)
        assert one.source == str(path)
        assert [name for name, _ in one.ranked] == [model.classes[index] for index in best.indices]
        assert [chance for _, chance in one.ranked] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_payloads_and_pixels_do_too_and_batches_do_not_matter(exported: Path, photos: Path) -> None:
    model = OnnxClassifier.open(exported, threads=2)
    data = (photos / "a.png").read_bytes()
    pixels = np.zeros((3, 12, 12), dtype=np.uint8)
    found = list(model.predict([data, pixels] * 20, top=99))
    assert [one.source for one in found[:2]] == ["image 0", "image 1"]
    assert len(found) == 40
    assert found[0].ranked != found[1].ranked
    alone = list(model.predict([pixels], top=99))
    assert [name for name, _ in alone[0].ranked] == [name for name, _ in found[39].ranked]
    for one in found:
        assert len(one.ranked) == 10
        assert sum(chance for _, chance in one.ranked) == pytest.approx(1)
        assert sorted(chance for _, chance in one.ranked)[::-1] == [chance for _, chance in one.ranked]


def test_the_file_says_what_it_is(exported: Path) -> None:
    model = OnnxClassifier.open(exported)
    assert model.classes == tuple("0123456789")
    assert model.facts["data"]["spec"] == "digits"
    assert (model.params, model.preprocessing.size) == (model.card.params, 8)
    images = np.zeros((2, 1, 8, 8), dtype=np.float32)
    assert model.logits(images).shape == (2, 10)


def test_what_is_no_image_is_named(exported: Path, tmp_path: Path) -> None:
    model = OnnxClassifier.open(exported)
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, "PNG")
    for name, content in {"cut.png": buffer.getvalue()[:50], "text.jpg": b"hello", "empty.png": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: cannot be read as an image"):
            list(model.predict([tmp_path / name]))
    with pytest.raises(DataError, match="No such file"):
        list(model.predict([tmp_path / "none.png"]))
    with pytest.raises(InputError, match="top 0"):
        list(model.predict([], top=0))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "photo.CR2").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image files.*\n1 file is ignored by extension, as no images: 1 .cr2"):
        images_in(tmp_path / "nothing")


def test_files_of_a_folder_that_are_not_read_are_said(
    exported: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "more" / "phone.cr2").write_bytes(b"")
    assert run(["predict", str(exported), str(photos)]) == 0
    output, errors = capsys.readouterr()
    assert output.count("\n") == 3
    assert f"note: {photos}: 2 files are ignored by extension, as no images: 1 .cr2, 1 .txt" in errors.replace(
        "\n  ", " "
    )


def test_what_is_no_exported_file_is_refused(exported: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        OnnxClassifier.open(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="a folder; `autoshrink export` makes an ONNX file"):
        OnnxClassifier.open(tmp_path)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="not an ONNX file"):
        OnnxClassifier.open(tmp_path / "text.onnx")
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(InputError, match="not an ONNX file"):
        OnnxClassifier.open(tmp_path / "cut.onnx")
    architecture_to_onnx(DIGITS, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match=r"without autoshrink's metadata .*None"):
        open_exported(tmp_path / "bare.onnx")
    with pytest.raises(InputError, match="language model"):
        OnnxClassifier.open(text)
    with pytest.raises(InputError, match="image classifier"):
        OnnxLanguageModel.open(exported)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classes", None, "says nothing of its classes"),
        ("preprocessing", None, "says nothing of its preprocessing"),
        ("preprocessing", '{"channels": 7}', "damaged"),
        ("architecture", "{", "damaged"),
        ("format", f"{FORMAT[:-1]}9", "without autoshrink's metadata"),
    ],
)
def test_damaged_metadata_is_named(name: str, value: str | None, message: str, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    place = next(index for index, one in enumerate(model.metadata_props) if one.key == name)
    if value is None:
        del model.metadata_props[place]
    else:
        model.metadata_props[place].value = value
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=message):
        open_exported(tmp_path / "model.onnx", unchecked=True)
    with pytest.raises(InputError, match="not what was exported"):
        open_exported(tmp_path / "model.onnx")


def test_neither_torch_nor_onnx_is_needed(exported: Path, text: Path, photos: Path) -> None:
    code = f"""
import sys
for name in ("torch", "onnx", "onnxscript"):
    sys.modules[name] = None
from autoshrink.deploy.predict import OnnxClassifier, OnnxLanguageModel
import json
(found,) = OnnxClassifier.open({str(exported)!r}).predict([{str(photos / "a.png")!r}])
print(json.dumps([found.to_json()["class"], OnnxLanguageModel.open({str(text)!r}).generate("w3", length=4).text]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.stderr
    name, written = json.loads(done.stdout)
    assert name in "0123456789"
    assert written.replace("\n", " \n ").split()[0] == "w3"


@pytest.mark.parametrize("prompt", ["", "w2 w3", "w9\nw4 w5"])
def test_the_likeliest_text_is_pytorchs(prompt: str, text: Path) -> None:
    expected = generate(text.with_name("model.safetensors"), prompt, length=25, temperature=0)
    for path in (text, loop_path(text)):
        found = OnnxLanguageModel.open(path).generate(prompt, length=25, temperature=0)
        assert vars(found) == vars(expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_seed_writes_the_same_text_as_pytorch(text: Path, seed: int) -> None:
    wanted = generate(text.with_name("model.safetensors"), "w2 w3", length=40, temperature=1.0, top_k=9, seed=seed)
    for path in (text, loop_path(text)):
        assert OnnxLanguageModel.open(path).generate("w2 w3", length=40, temperature=1.0, top_k=9, seed=seed) == wanted


def test_draws_follow_seed_temperature_and_top_k(text: Path) -> None:
    model = OnnxLanguageModel.open(text)
    assert model.generate("w2", seed=1) == model.generate("w2", seed=1)
    assert model.generate("w2", seed=1) != model.generate("w2", seed=2)
    likeliest = model.generate("w2", temperature=0)
    assert model.generate("w2", temperature=1e-9, seed=5) == likeliest
    assert model.generate("w2", top_k=1, seed=5) == likeliest
    wild = model.generate("w2 nonsense w2", temperature=50, length=300)
    assert "<unk>" not in wild.continuation
    assert len(set(wild.continuation.split())) == 18
    assert wild.unknown == ("nonsense",)
    for wrong in ({"length": 0}, {"temperature": -1}, {"temperature": float("inf")}, {"top_k": 0}):
        with pytest.raises(InputError):
            model.generate("w2", **wrong)


def test_draws_are_as_likely_as_the_model_says(text: Path) -> None:
    model = OnnxLanguageModel.open(text)
    logits, _ = model.step(np.array([1], dtype=np.int64), model.initial_state())
    logits[0, 0] = -np.inf
    chances = softmax(logits[0])
    drawn = [model.generate("", length=1, temperature=1, seed=seed).continuation for seed in range(2000)]
    best = int(chances.argmax())
    share = drawn.count("\n" if best == 1 else f"w{best}") / len(drawn)
    assert share == pytest.approx(chances[best], abs=4 * (chances[best] / len(drawn)) ** 0.5)


def test_softmax_of_large_numbers() -> None:
    found = softmax(np.array([[1e4, 1e4 + np.log(3)], [-np.inf, 0.0]]))
    np.testing.assert_allclose(found, np.array([[0.25, 0.75], [0.0, 1.0]]))
