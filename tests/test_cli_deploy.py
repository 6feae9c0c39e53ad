"""`export` and `predict`, as a person types them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from autoshrink.architecture import LibraryArchitecture
from autoshrink.bundle import save
from autoshrink.cli import deploy_commands
from autoshrink.deploy import image
from autoshrink.deploy.exporting import Times
from autoshrink.deploy.parity import Parity
from autoshrink.deploy.quantisation import Measured
from autoshrink.errors import AutoshrinkError, DataError, InputError
from deploy_fixtures import DIGITS, classifier, language
from model_fixtures import trained_language_model

pytestmark = pytest.mark.usefixtures("graphs_once")
APP = typer.Typer()
deploy_commands.register(APP)


@dataclass(frozen=True)
class Said:
    out: str
    err: str


def run(*arguments: str | Path) -> Said:
    """What a command prints; its errors are raised."""
    done = CliRunner().invoke(APP, [str(one) for one in arguments])
    if isinstance(done.exception, AutoshrinkError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return Said(done.stdout, done.stderr)


def told(*arguments: str | Path) -> Any:
    """The one JSON object that a command prints."""
    return json.loads(run(*arguments, "--json").out)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained models: `image`, `text`, and `nowhere`, whose data is gone."""
    place = tmp_path_factory.mktemp("models")
    for name in ("image", "text", "nowhere"):
        (place / name).mkdir()
    save(place / "image" / "model.safetensors", classifier(DIGITS))
    save(place / "nowhere" / "model.safetensors", classifier(DIGITS, {"data": {"spec": "gone/away"}}))
    model = language(LibraryArchitecture(kind="gru", vocabulary=20, width=6))
    settings = {"spec": "pydocs", "level": "word", "tokens": "auto", "max_vocabulary": None, "min_count": 1}
    facts = {"epoch": 1, "performance": -3.0, "data": settings}
    written = trained_language_model(model.architecture, model.network, model.vocabulary, facts)
    save(place / "text" / "model.safetensors", written)
    return place


@pytest.fixture(scope="module")
def exported(folders: Path) -> tuple[Path, dict[str, Any]]:
    path = folders / "out" / "model.onnx"
    return path, told("export", folders / "image", "-o", path, "--int8", "--calibration", "40")


@pytest.fixture(scope="module")
def text(folders: Path) -> tuple[Path, dict[str, Any]]:
    path = folders / "words" / "model.onnx"
    return path, told("export", folders / "text", "-o", path, "--int8")


def test_export_says_what_it_wrote_and_what_int8_costs(exported: tuple[Path, dict[str, Any]]) -> None:
    path, said = exported
    assert sorted(one.name for one in path.parent.iterdir()) == ["model.int8.onnx", "model.onnx"]
    assert said["files"]["model"] == {"path": str(path), "bytes": path.stat().st_size}
    assert said["files"]["int8"]["bytes"] < said["files"]["model"]["bytes"]
    assert said["parity"]["model"]["max_difference"] < 1e-4
    assert said["parity"]["model"]["shapes"] == [[1, 1, 8, 8], [63, 1, 8, 8]]
    assert said["real_inputs"] is True
    measured = said["measured"]
    assert (measured["metric"], measured["samples"]) == ("accuracy", 359)
    assert measured["values"]["onnx"] == measured["values"]["pytorch"]
    assert measured["agreement"]["int8"] > 0.8
    assert said["left_in_float"] == ["ReduceMean"]


def test_export_says_which_of_the_two_is_faster(exported: tuple[Path, dict[str, Any]]) -> None:
    times = exported[1]["times"]
    assert 0 < times["low"] <= times["ratio"] <= times["high"]
    slower = [note for note in exported[1]["notes"] if "int8 is slower here" in note]
    assert bool(slower) == (times["low"] > 1)
    said = {name: Times(2e-4, 3e-4, *ratios).said for name, ratios in RATIOS.items()}
    assert said["slower"].startswith("int8 is slower here: 300 µs in int8, 200 µs in float32 (one thread, 1.50 times")
    assert "faster here: " in said["faster"]
    assert "no faster here beyond the noise" in said["noise"]


RATIOS = {"slower": (1.5, 1.4, 1.6), "faster": (0.5, 0.4, 0.6), "noise": (1.0, 0.9, 1.1)}


def test_without_int8_there_is_one_file_and_the_test_split_is_left_alone(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any, **__: Any) -> Measured:
        raise AssertionError("the test split was read")

    monkeypatch.setattr(image, "accuracies", read)
    said = run("export", folders / "image", "-o", tmp_path / "model.onnx").out
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]
    assert "against PyTorch, on real inputs: largest difference" in said
    assert f"autoshrink predict {tmp_path / 'model.onnx'}" in said
    run("export", folders / "image", "-o", tmp_path / "model.onnx", "--int8", "--calibration", "8", "--no-evaluate")


def test_export_in_words(
    exported: tuple[Path, dict[str, Any]], folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table, the warning where int8 loses much, and the note where there is no test split; nothing done again."""
    path, _ = exported

    def copied(*_: Any, **__: Any) -> Path:
        return Path(shutil.copy(path.with_name("model.int8.onnx"), tmp_path / "model.int8.onnx"))

    monkeypatch.setattr(image, "quantise_classifier", copied)
    values = {"pytorch": 0.9, "onnx": 0.9, "int8": 0.85}
    monkeypatch.setattr(
        image, "accuracies", lambda *_, **__: Measured("accuracy", "digits, test split", 7, values, values)
    )
    said = run("export", folders / "image", "-o", tmp_path / "model.onnx", "--int8", "--calibration", "5000")
    assert "85.00" in said.out
    assert "on 7 images of digits, test split" in said.out
    assert "int8 loses 5.0 points of accuracy; another --calibration-method (percentile or entropy)" in said.err
    assert "calibrated on 1,438 images: there are no more" in said.err

    def missing(*_: Any, **__: Any) -> Measured:
        raise DataError("photos: no test split")

    monkeypatch.setattr(image, "accuracies", missing)
    said = run("export", folders / "image", "-o", tmp_path / "model.onnx", "--int8")
    assert "what int8 costs was not measured: photos: no test split" in said.err


def test_a_language_model_is_written_as_a_step_a_loop_and_an_int8_step(text: tuple[Path, dict[str, Any]]) -> None:
    path, said = text
    names = ["model.int8.onnx", "model.loop.onnx", "model.onnx"]
    assert sorted(one.name for one in path.parent.iterdir()) == names
    assert set(said["parity"]) == {"model", "loop"}
    assert said["times"]["int8"] > 0
    # Its twenty words are hardly any of the text's: a perplexity would say nothing.
    assert said["measured"] is None
    assert any("what int8 costs was not measured" in note and "are unknown" in note for note in said["notes"])


def test_without_its_data_a_model_is_compared_on_noise_only_if_asked(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(DataError, match=r"gone/away(.|\n)*--data(.|\n)*--random-inputs"):
        run("export", folders / "nowhere", "-o", path)
    assert not path.exists()
    assert "on noise" in run("export", folders / "nowhere", "-o", path, "--random-inputs").out
    with pytest.raises(InputError, match="calibrated on real samples"):
        run("export", folders / "nowhere", "-o", path, "--random-inputs", "--int8")
    said = told("export", folders / "nowhere", "-o", path, "--data", "digits")
    assert said["real_inputs"] is True


@pytest.mark.parametrize(("name", "module"), [("model.pte", "executorch"), ("model.tflite", "litert")])
def test_other_endings_go_to_their_own_writers(
    name: str, module: str, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(model: Any, path: Path, samples: Any, tolerance: float) -> Parity:
        path.write_text(f"{model.architecture.kind} {samples.shape} {samples.dtype} {tolerance}")
        return Parity(0, 1, 1, ((1,),))

    monkeypatch.setattr(f"autoshrink.deploy.{module}.export", write)
    path = tmp_path / name
    assert str(path) in run("export", folders / "image", "-o", path, "--tolerance", "0.25").out
    assert path.read_text() == "conv (64, 1, 8, 8) float32 0.25"
    run("export", folders / "text", "-o", path)
    assert path.read_text() == "gru (512,) int64 0.0001"


def test_source_is_a_folder(folders: Path, tmp_path: Path) -> None:
    said = told("export", folders / "image", "--source", tmp_path / "network")
    assert said["files"]["model"]["bytes"] == sum(one.stat().st_size for one in (tmp_path / "network").rglob("*"))
    assert said["parity"]["model"]["max_difference"] < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["image"], "say where to"),
        (["image", "-o", "a.onnx", "--source", "b"], "say where to"),
        (["image", "-o", "model.pt"], r"model.pt: exported files end in .onnx, .pte, .tflite"),
        (["image", "-o", "model.pte", "--int8"], "int8 is for .onnx files"),
        (["image", "--source", "b", "--int8"], "int8 is for .onnx files"),
        (["none", "-o", "a.onnx"], "none: holds no model.safetensors"),
        (["image", "-o", "a.onnx", "--tolerance", "0"], "tolerance 0"),
        (["image", "-o", "a.onnx", "--int8", "--calibration", "0"], "at least one image"),
        (["image", "-o", "a.onnx", "--opset", "9"], "opset 9"),
        (["image", "-o", "a.onnx", "--int8", "--calibration-method", "best"], "'best'; there are minmax"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], message: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders / "none").mkdir(exist_ok=True)
    monkeypatch.chdir(folders)
    with pytest.raises(InputError, match=message):
        run("export", *arguments)
    assert not list(folders.glob("*.onnx"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for shade, name in enumerate(("one.png", "two.jpg")):
        Image.fromarray(np.full((9, 9, 3), 200 * shade, dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"nothing")
    return folder


def test_predict_says_a_line_an_image(exported: tuple[Path, dict[str, Any]], photos: Path) -> None:
    path, _ = exported
    said = run("predict", path, photos / "one.png", photos, "--top", "3")
    lines = said.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(photos / name) for name in ("one.png", "one.png", "two.jpg")]
    assert lines[0] == lines[1]
    assert lines[0].count("%") == 3
    assert "broken.png: cannot be read as an image" in said.err
    with pytest.raises(DataError, match=r"broken.png"):
        run("predict", path, photos / "broken.png")


def test_predict_as_json_from_int8(exported: tuple[Path, dict[str, Any]], photos: Path) -> None:
    path = exported[0].with_name("model.int8.onnx")
    (found,) = told("predict", path, photos / "one.png", "--top", "2")["predictions"]
    assert found["image"] == str(photos / "one.png")
    assert found["class"] == found["top"][0]["class"]
    assert found["probability"] == found["top"][0]["probability"] >= found["top"][1]["probability"]
    assert len(found["top"]) == 2


def test_predict_goes_on_with_a_text(text: tuple[Path, dict[str, Any]]) -> None:
    path, _ = text
    found = told("predict", path, "--prompt", "w3 nonsense", "--length", "5", "--seed", "4")
    assert found["text"] == f"w3 <unk>{found['continuation']}"
    assert found["unknown"] == ["nonsense"]
    said = run("predict", path.with_name("model.loop.onnx"), "--prompt", "w3 nonsense", "--length", "5", "--seed", "4")
    assert said.out.rstrip("\n") == found["text"].rstrip("\n")
    assert "the model does not know nonsense" in said.err


def test_images_are_for_classifiers_and_prompts_for_language_models(
    exported: tuple[Path, dict[str, Any]], text: tuple[Path, dict[str, Any]], photos: Path
) -> None:
    for arguments, message in (
        ((exported[0],), "give it image files"),
        ((exported[0], "--prompt", "a"), "--prompt: it goes with language models, and"),
        ((text[0], photos), "reads no images"),
    ):
        with pytest.raises(InputError, match=message):
            run("predict", *arguments)
