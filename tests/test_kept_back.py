"""What a model remembers of its images: fine-tuning and evaluation never validate on what was learned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoshrink.cli import run
from autoshrink.training import checkpoint
from autoshrink.training.ledger_file import KEPT, TRAINED
from classifier_fixtures import SMALL
from data_fixtures import away_from_home, encoded, parquet

SHORT = ("--epochs", "1", "--threads", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def _at_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away_from_home(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)


def noise(folder: Path, *, count: int = 20, seed: int = 0, classes: str = "abc") -> Path:
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shade = 64 * (ord(name) - ord("a")) % 256
            pixels = rng.integers(shade, shade + 40, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{seed}-{number:03}.png")
    return folder


def train(out: str, *options: str) -> dict[str, set[int]]:
    """Train, and return the digests of what the model learned and kept back."""
    if not Path("small.json").exists():
        Path("small.json").write_text(json.dumps(SMALL.to_json()))
    assert run(["train", *options, "-o", out, *SHORT]) == 0
    tensors, _ = checkpoint.load(Path(out) / "model.safetensors")
    return {name: set(tensors[name].tolist()) for name in (TRAINED, KEPT)}


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, object], str]:
    capsys.readouterr()
    assert run(["evaluate", *arguments, "--json"]) == 0
    output, errors = capsys.readouterr()
    return json.loads(output), errors


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(list(arguments)) == 2
    return capsys.readouterr().err


def test_fine_tuning_keeps_the_carving_also_in_chains_and_when_all_has_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise(tmp_path / "data")
    first = train("one", "small.json", "--data", str(data))
    assert (len(first[TRAINED]), len(first[KEPT])) == (54, 6)
    shutil.move("one", "elsewhere")
    renamed = tmp_path / "renamed"
    shutil.move(data, renamed)
    for path in sorted(renamed.rglob("*.png"))[::3]:
        path.rename(path.with_name(f"z{path.name}"))
    noise(renamed, count=10, seed=1)
    second = train("two", "--from", "elsewhere", "--data", str(renamed), "--seed", "1")
    assert "trained on 54 and had 6 kept back: that stays so" in capsys.readouterr().err
    third = train("three", "--from", "two/model.safetensors", "--data", str(renamed), "--seed", "2")
    for later in (second, third):
        assert first[TRAINED] <= later[TRAINED]
        assert first[KEPT] <= later[KEPT]
    assert second == third
    assert len(second[KEPT]) == 9, "of the new images, a tenth as well"


def test_a_validation_split_that_was_learned_from_is_left_out_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise(tmp_path / "data")
    train("one", "small.json", "--data", str(data))
    split = tmp_path / "split"
    shutil.copytree(data, split / "train")
    shutil.copytree(data, split / "val")
    capsys.readouterr()
    train("two", "--from", "one", "--data", str(split))
    errors = capsys.readouterr().err
    assert "54 of 60 validation images are left out: the weights to start from were trained on them" in errors
    assert "6 of 6 validation images are byte-identical with training images" in errors
    said = refused(capsys, "train", "--from", "two", "--data", str(split), "-o", "three", *SHORT)
    assert "trained on every image of the validation split" in said
    said = refused(capsys, "train", "--from", "two", "--data", str(data), "-o", "three", *SHORT)
    assert "trained on 60 of the 60 images and kept none of them back" in said


def test_validation_is_what_was_kept_back_whatever_happened_to_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise(tmp_path / "data")
    train("one", "small.json", "--data", str(data))
    before, _ = measured(capsys, "one", "--split", "validation")
    assert before["images"] == 6
    for name in "abc":
        shutil.copy(data / name / "0-000.png", data / name / "000a.png")
    noise(data, count=2, seed=1)
    now, errors = measured(capsys, "one", "--split", "validation")
    assert {**now, "notes": 0} == {**before, "notes": 0}
    assert "6 of the 69 images are in neither list of the training, and not measured" in errors
    shutil.copytree(data, tmp_path / "moved")
    moved, _ = measured(capsys, "one", "--split", "validation", "--data", str(tmp_path / "moved"))
    assert moved["confusion"] == before["confusion"]
    _, errors = measured(capsys, "one", "--split", "train")
    learned = 60 - 6 + sum((data / name / "0-000.png").read_bytes() != b"" for name in "abc")
    assert f"the model was trained on {learned} of 69 train images" in errors
    said = refused(capsys, "evaluate", "one", "--data", str(tmp_path / "moved"))
    assert "what it has: --split validation or --split train" in said


def test_parquet_rows_and_the_digits_are_known_by_content_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    rows = [encoded(Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))) for _ in range(44)]
    labels = [number % 2 for number in range(44)]
    parquet(tmp_path / "set" / "train.parquet", rows[:40], labels[:40])
    first = train("one", "small.json", "--data", "set")
    parquet(tmp_path / "set" / "train.parquet", [*rows[40:], *rows[40:0:-1]], [*labels[40:], *labels[40:0:-1]])
    second = train("two", "--from", "one", "--data", "set", "--seed", "3")
    assert first[KEPT] <= second[KEPT]
    assert not second[TRAINED] & first[KEPT]
    assert measured(capsys, "two", "--split", "validation")[0]["images"] == 4
    parent = train("digits", "small.json", "--data", "digits")
    assert train("more", "--from", "digits", "--data", "digits", "--seed", "3") == parent


def test_models_without_a_list_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = noise(tmp_path / "data")
    first = train("one", "small.json", "--data", str(data))
    path = Path("one/model.safetensors")
    tensors, facts = checkpoint.load(path)
    facts.pop("kept_back")
    checkpoint.save(path, {name: tensor for name, tensor in tensors.items() if name not in first}, facts)
    found, errors = measured(capsys, "one", "--split", "validation")
    assert found["images"] == 6
    assert "left no list of them: they are right if no image was added, removed or renamed since" in errors
    assert train("two", "--from", "one", "--data", str(data), "--seed", "1") == first, "drawn again as it was drawn"
    assert "have no list of their images (an earlier version trained them)" in capsys.readouterr().err
    noise(tmp_path / "other", seed=5)
    train("three", "--from", "one", "--data", str(tmp_path / "other"))
    assert "validation accuracy flatters" in capsys.readouterr().err


def test_an_exported_file_says_where_it_cannot_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    data = noise(tmp_path / "data")
    train("one", "small.json", "--data", str(data))
    assert run(["export", "one", "-o", "one.onnx"]) == 0
    assert measured(capsys, "one.onnx", "--split", "validation")[0]["images"] == 6
    (data / "a" / "0-000.png").unlink()
    assert "evaluate the folder that `autoshrink train` left" in refused(
        capsys, "evaluate", "one.onnx", "--split", "validation"
    )


@pytest.mark.parametrize("layout", ["flat", "test"])
def test_any_labelled_pictures_can_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str) -> None:
    train("one", "small.json", "--data", str(noise(tmp_path / "data")))
    place = tmp_path / "new" / ("test" if layout == "test" else "")
    noise(place, classes="b", count=7, seed=9)
    found, errors = measured(capsys, "one", "--data", str(tmp_path / "new"))
    assert (found["images"], found["split"]) == (7, "test")
    assert "no image of 2 of the model's 3 classes: a, c" in errors
    assert ("all of its images are measured, as new test images" in errors) == (layout == "flat")
    assert "identical" not in errors
    shutil.copy(next((tmp_path / "data" / "a").iterdir()), place / "b")
    for path in sorted((tmp_path / "data" / "c").iterdir())[:4]:
        shutil.copy(path, place / "b")
    _, errors = measured(capsys, "one", "--data", str(tmp_path / "new"))
    assert "of 12 test images are byte-identical with images that the model was trained on" in errors
    noise(place, classes="x", count=1)
    assert "class x is not among the 3 classes of one" in refused(
        capsys, "evaluate", "one", "--data", str(tmp_path / "new")
    )


def test_one_image_under_two_names_of_classes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = noise(tmp_path / "data")
    shutil.copy(data / "a" / "0-003.png", data / "b" / "twin.png")
    train("one", "small.json", "--data", str(data))
    errors = capsys.readouterr().err
    assert "1 image stands in more than one class, byte for byte the same: a/0-003.png and b/twin.png" in errors
