"""`autoshrink evaluate`: a classifier measured on data of all kinds, what it prints, its page, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from autoshrink.architecture import proxy_architecture, recurrent_proxy
from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel, load_as, save
from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.data import Preprocessing, load_split
from autoshrink.data.batches import Batches
from autoshrink.data.split_choice import Part, training_splits
from autoshrink.errors import DataError, InputError
from autoshrink.evaluating import evaluate, open_model
from autoshrink.evaluating.images import evaluate_images
from autoshrink.evaluating.models import image_model
from autoshrink.evaluating.reading import labels_for, open_split
from autoshrink.evaluating.text import evaluate_text
from autoshrink.networks import build
from autoshrink.report.evaluation_page import evaluation_page
from data_fixtures import away_from_home, photos
from deploy_fixtures import export_classifier
from model_fixtures import trained_classifier
from text_fixtures import asked, corpus

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
ARCHITECTURE = proxy_architecture(CELL, shape=(1, 8, 8), classes=10, stem=8, widths=(8, 16))
DIGITS = tuple("0123456789")
FACTS = {"epoch": 1, "performance": 0.9, "seed": 3, "data": {"spec": "digits", "validation_share": 0.1}}


@pytest.fixture(autouse=True)
def _at_no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    away_from_home(monkeypatch, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def trained() -> TrainedClassifier:
    """A classifier of the digits, a few steps of Adam old."""
    preprocessing = Preprocessing(1, 8, (0.3,), (0.37,))
    data = load_split("digits", "train", size=8).data
    images, labels = torch.from_numpy(preprocessing.normalised(data.images)), torch.from_numpy(data.labels)
    network = build(ARCHITECTURE, seed=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for rows in torch.split(torch.randperm(len(labels), generator=generator), 64):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return trained_classifier(ARCHITECTURE, network.eval(), DIGITS, preprocessing, FACTS)


@pytest.fixture(scope="module")
def model(trained: TrainedClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training leaves."""
    folder = tmp_path_factory.mktemp("trained")
    save(folder / "model.safetensors", trained)
    return folder


def saved(folder: Path, model: TrainedClassifier, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"network": model.network, "classes": model.classes, "preprocessing": model.preprocessing} | changes
    facts = parts.pop("facts", model.facts.to_json())
    save(folder / "model.safetensors", trained_classifier(model.architecture, facts=facts, **parts))
    return folder


def pictures(root: Path, counts: Mapping[int, int], *, names: Mapping[int, str] | None = None) -> Path:
    """The first so many test digits of each kind, as PNG files in a folder of their name."""
    data = load_split("digits", "test", size=8).data
    for digit, count in counts.items():
        folder = root / (names or {}).get(digit, str(digit))
        folder.mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(np.flatnonzero(data.labels == digit)[:count]):
            Image.fromarray(data.images[row, 0]).save(folder / f"{number:02}.png")
    return root


def splits(root: Path, counts: Mapping[int, int], **options: Any) -> Path:
    for split in ("train", "test"):
        pictures(root / split, counts, **options)
    return root


# The figures


def test_the_figures_are_those_of_torch(model: Path, trained: TrainedClassifier) -> None:
    """Worked out with nothing of this program's but the images."""
    data = load_split("digits", "test", size=8).data
    with torch.no_grad():
        logits = trained.network((torch.from_numpy(data.images) / 255 - 0.3) / 0.37)
    labels = torch.from_numpy(data.labels)
    found = evaluate(model)
    right = logits.argmax(dim=1) == labels
    assert found["accuracy"] == right.double().mean().item() > 0.7
    assert found["loss"] == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    in_five = (logits.topk(5).indices == labels[:, None]).any(dim=1)
    assert found["top5"] == in_five.double().mean().item()
    assert found["calibration"]["confidence"] == pytest.approx(
        logits.softmax(dim=1).amax(dim=1).mean().item(), rel=1e-5
    )
    assert (found["images"], found["skipped"], found["split"], found["data"]) == (len(labels), 0, "test", "digits")
    assert found["model"] == str(model)
    assert found["params"] == sum(
        one.numel() for name, one in trained.network.named_parameters() if not re.search(r"\bbn\b", name)
    )
    assert found["interval"][0] < found["accuracy"] < found["interval"][1]


def test_neither_batch_nor_the_way_to_the_file_changes_anything(model: Path) -> None:
    found = evaluate(model, batch=7)
    for other in (evaluate(str(model / "model.safetensors"), batch=1000), evaluate(model, data="digits", device="cpu")):
        assert other["confusion"] == found["confusion"]
        assert other["loss"] == pytest.approx(found["loss"], rel=1e-5)


def test_classes_are_matched_by_name(model: Path, tmp_path: Path) -> None:
    """In the folder 3 and 8 are classes 0 and 1; the figures are those of the same images among all digits."""
    folder = splits(tmp_path / "some", {8: 35, 3: 37})
    found, whole = evaluate(model, data=str(folder)), evaluate(model)
    assert [found["confusion"][digit] for digit in (3, 8)] == [whole["confusion"][digit] for digit in (3, 8)]
    assert found["images"] == 72
    assert [one["class"] for one in found["per_class"] if one["images"]] == ["3", "8"]
    assert found["per_class"][0]["accuracy"] is None
    assert any("no image of 8 of the model's 10 classes: 0, 1, 2, 4, 5 and 3 more" in note for note in found["notes"])


def test_the_models_own_order_of_classes_counts(trained: TrainedClassifier, tmp_path: Path) -> None:
    """A model that calls its outputs otherwise is right about the digits that it calls so."""
    folder = saved(tmp_path / "turned", trained, classes=("1", "0", *DIGITS[2:]))
    found, straight = evaluate(folder), evaluate(saved(tmp_path / "straight", trained))
    matrix = np.array(straight["confusion"])
    matrix[[0, 1]] = matrix[[1, 0]]
    assert (np.array(found["confusion"]) == matrix).all()


def test_unknown_classes_are_refused_by_name(model: Path, tmp_path: Path) -> None:
    folder = splits(tmp_path / "pets", {1: 2, 2: 2, 3: 2}, names={1: "cat", 2: "dog"})
    with pytest.raises(DataError, match=r"classes cat, dog are not among the 10 classes of .*0, 1, 2, 3, 4 and 5 more"):
        evaluate(model, data=str(folder))


def test_a_class_of_which_nothing_is_asked_may_be_unknown(model: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "train", {1: 2, 2: 2, 3: 2}, names={3: "cat"})
    pictures(tmp_path / "test", {1: 5, 2: 5})
    assert evaluate(model, data=str(tmp_path))["images"] == 10


def test_two_classes_of_one_name_are_matched_by_place_or_not_at_all(tmp_path: Path) -> None:
    part, _ = open_split(str(photos(tmp_path, {"bird": 1, "crane": 2})), "train")
    assert labels_for(part, ("bird", "crane"), "model").tolist() == [0, 1, 1]
    with pytest.raises(InputError, match="model: two of its classes are called 'crane'"):
        labels_for(part, ("bird", "crane", "crane"), "model")


# Splits


def test_what_a_training_kept_back_is_found_again(model: Path, trained: TrainedClassifier) -> None:
    """Digits have no validation split; the training's seed and share say which images it was."""
    part = training_splits("digits", validation_share=0.1, seed=3).validation
    pixels = np.stack([trained.preprocessing.pixels(payload) for _, payload in part.source.payloads(part.indices)])
    with torch.no_grad():
        logits = trained.network(torch.from_numpy(trained.preprocessing.normalised(pixels)))
    found = evaluate(model, split="validation")
    assert found["images"] == len(part) < 200
    assert found["accuracy"] == (logits.argmax(dim=1).numpy() == part.labels).mean()
    assert any("kept back for validation" in note for note in found["notes"])
    assert any("flatter" in note for note in found["notes"])


def test_a_missing_split_names_those_there_are(model: Path, trained: TrainedClassifier, tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "flat", {0: 3, 1: 3}))
    with pytest.raises(DataError, match=r"no validation split(?s:.*)what it has: --split train$"):
        evaluate(model, data=folder, split="validation")
    with pytest.raises(DataError, match=r"no validation split(?s:.*)--split test or --split train"):
        evaluate(model, data=str(splits(tmp_path / "two", {0: 3, 1: 3})), split="validation")
    own = saved(tmp_path / "own", trained, facts=FACTS | {"data": {"spec": folder, "validation_share": 0.4}})
    with pytest.raises(DataError, match="--split validation or --split train"):
        evaluate(own)
    assert evaluate(own, split="validation", data=f"{folder}/../flat")["images"] == 2, "the same place by another name"
    with pytest.raises(DataError, match="no split is called 'testing'"):
        evaluate(model, split="testing")


def test_images_that_moved_are_asked_for(trained: TrainedClassifier, tmp_path: Path) -> None:
    facts = trained.facts.to_json() | {"data": {"spec": str(tmp_path / "gone")}}
    moved = saved(tmp_path / "model", trained, facts=facts)
    with pytest.raises(DataError, match=r"gone.*\n.*model was trained on that; say with --data where the data are now"):
        evaluate(moved)


def test_trained_on_images_are_said_to_be(model: Path, tmp_path: Path) -> None:
    assert any("trained on these" in note for note in evaluate(model, split="train")["notes"])
    other = evaluate(model, data=str(splits(tmp_path, {0: 3, 1: 3})), split="train")
    assert not any("trained on these" in note for note in other["notes"])


def test_data_of_another_size_are_scaled_and_it_is_said(trained: TrainedClassifier, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", trained, preprocessing=replace(trained.preprocessing, crop=0.5))
    assert any("8×8 pixels are scaled to the model's 16×16" in note for note in evaluate(folder)["notes"])


# Damaged images


def test_a_few_damaged_images_are_skipped(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = splits(tmp_path / "data", {0: 20, 1: 20})
    (folder / "test" / "1" / "03.png").write_bytes(b"not an image")
    (folder / "test" / "0" / "05.png").write_bytes(b"")
    found = evaluate(model, data=str(folder))
    assert (found["images"], found["skipped"]) == (38, 2)
    assert any("2 images that cannot be decoded" in note and "0/05.png: empty" in note for note in found["notes"])
    assert run(["evaluate", str(model), "--data", str(folder)]) == 0
    output, errors = capsys.readouterr()
    assert "38 images, 2 skipped" in output
    assert "0/05.png" in errors


def test_one_damaged_image_of_a_few_is_no_error(model: Path, tmp_path: Path) -> None:
    folder = splits(tmp_path, {0: 8, 1: 8})
    (folder / "test" / "1" / "00.png").write_bytes(b"not an image")
    found = evaluate(model, data=str(folder))
    assert (found["images"], found["skipped"]) == (15, 1)


def test_many_damaged_images_are_an_error(model: Path, tmp_path: Path) -> None:
    folder = splits(tmp_path, {0: 20, 1: 20})
    for number in range(3):
        (folder / "test" / "1" / f"0{number}.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"3 of 40 images cannot be decoded, more than the allowed 5%"):
        evaluate(model, data=str(folder), batch=16)


def test_only_a_batch_is_in_memory_and_every_image_comes_once(tmp_path: Path) -> None:
    part, _ = open_split(str(photos(tmp_path, {"cat": 23, "dog": 4})), "train")
    told: list[tuple[int, int]] = []
    batches = Batches(part, Preprocessing(3, 4, (0.5,) * 3, (0.5,) * 3), 5, lambda *done: told.append(done))
    sizes, seen = [], []
    for indices, pixels in batches:
        sizes.append(pixels.shape)
        seen += indices.tolist()
    assert sizes == [(5, 3, 4, 4)] * 5 + [(2, 3, 4, 4)]
    assert seen == list(range(27))
    assert told == [(5, 27), (10, 27), (15, 27), (20, 27), (25, 27), (27, 27)]
    assert [len(found) for found, _ in Batches(Part(part.source, np.array([3, 9, 26])), batches._preprocessing, 2)] == [
        2,
        1,
    ]


# Models that cannot be used


def test_a_model_that_does_not_compute_is_refused(trained: TrainedClassifier, tmp_path: Path) -> None:
    broken = build(ARCHITECTURE, seed=0)
    with torch.no_grad():
        broken.classifier.bias[3] = torch.nan
    with pytest.raises(InputError, match=r"output for digits, image 0 is not finite"):
        evaluate(saved(tmp_path, trained, network=broken))


def test_what_it_was_trained_on_must_be_known(trained: TrainedClassifier, tmp_path: Path) -> None:
    folder = saved(tmp_path, trained, facts={"epoch": 1, "performance": 0.5})
    with pytest.raises(InputError, match="name a data set with --data"):
        evaluate(folder)
    assert evaluate(folder, data="digits")["images"] == 359


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nothing-there", "nothing-there: no such file or folder"),
        ("nothing.onnx", "nothing.onnx"),
        ("EMPTY", "holds no model.safetensors"),
        ("DAMAGED", "damaged"),
        ("MODEL --data nowhere", "nowhere"),
        ("MODEL --data EMPTY", "EMPTY"),
        ("MODEL --split tests", "no split is called 'tests'"),
        ("MODEL --batch 0", "batch 0: at least one image"),
        ("MODEL --streams 2", "an image classifier, which has no use for --streams"),
        ("MODEL --device abacus", "device 'abacus' is unknown"),
        ("MODEL --report page.pdf", "page.pdf: the page is one .html file"),
    ],
)
def test_what_cannot_be_used_is_named_in_a_line_or_two(
    arguments: str, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:1000])
    places = {"MODEL": model, "EMPTY": tmp_path / "empty", "DAMAGED": tmp_path / "damaged.safetensors"}
    for name, place in places.items():
        arguments, message = arguments.replace(name, str(place)), message.replace(name, str(place))
    assert run(["evaluate", *arguments.split(), "--json"]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors
    assert "Traceback" not in errors
    assert errors.count("\n") <= 3


def test_python_refuses_the_same(model: Path) -> None:
    with pytest.raises(InputError, match="no use for --streams"):
        evaluate(model, streams=2)
    with pytest.raises(InputError, match="batch 0: at least one"):
        evaluate(model, batch=0)


# The command


def test_json_is_the_python_call(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run(["evaluate", str(model), "--json", "--report", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("report") == str(page)
    assert found == evaluate(model)
    assert page.read_text().startswith("<!doctype html>")


def test_what_a_person_reads(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(model)
    assert run(["evaluate", str(model)]) == 0
    output = capsys.readouterr().out
    assert f"accuracy {100 * found['accuracy']:.2f} % on the test split of digits: 359 images, 10 classes" in output
    for wanted in ("95 % interval", "loss", "top-5", "macro accuracy", "calibration error", "parameters", "MACs"):
        assert wanted in output
    rows = [line.split() for line in output.partition("confusion matrix")[2].splitlines()[2:12]]
    assert [row[0] for row in rows] == list(DIGITS)
    assert [[0 if cell == "·" else int(cell) for cell in row[1:]] for row in rows] == found["confusion"]
    assert max(map(len, output.splitlines())) < 130


# The mistakes themselves


def test_the_surest_mistakes_are_kept_with_their_pictures(model: Path) -> None:
    opened = image_model(open_model(model, device="cpu")[1], str(model))
    found = evaluate_images(opened, mistakes=5, batch=32)
    everyone = evaluate_images(opened, mistakes=1000, batch=1000).mistakes
    data = load_split("digits", "test", size=8).data
    wrong = found.figures.images - found.figures.accuracy.hits
    assert len(everyone) == wrong > 5
    assert [one.place for one in found.mistakes] == [one.place for one in everyone[:5]]
    confidences = [one.confidence for one in everyone]
    assert confidences == sorted(confidences, reverse=True)
    for one in everyone:
        row = int(one.place.rsplit(" ", 1)[1])
        assert one.true == data.labels[row] != one.predicted
        assert (one.pixels == data.images[row]).all()
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', evaluation_page(found))
    first = Image.open(io.BytesIO(base64.b64decode(shown[0])))
    assert (np.asarray(first) == found.mistakes[0].pixels[0]).all()
    assert len(shown) == 5


# Other kinds of model


@pytest.mark.slow
def test_an_exported_file_is_measured_as_the_model_is(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    path = tmp_path / "digits.onnx"
    loaded = load_as(TrainedClassifier, model)
    export_classifier(loaded, path, np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32))
    found, wanted = evaluate(path, batch=50), evaluate(model)
    assert found["confusion"] == wanted["confusion"]
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    for name in ("params", "macs", "data", "split", "images", "top5"):
        assert found[name] == wanted[name]
    assert evaluate(path, split="validation")["images"] == evaluate(model, split="validation")["images"]
    with pytest.raises(InputError, match="leave out --device cuda"):
        evaluate(path, device="cuda")
    capsys.readouterr()
    assert run(["evaluate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == evaluate(path)


def test_a_language_model_is_measured_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from autoshrink.final import train  # noqa: PLC0415

    cell = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2)))
    text, folder = corpus(tmp_path / "corpus"), tmp_path / "model"
    train(recurrent_proxy(cell, vocabulary=2, width=6), asked(text, epochs=1), out=folder)
    opened = load_as(TrainedLanguageModel, folder)
    wanted = evaluate_text(opened).to_json()
    assert evaluate(folder) == wanted
    again = evaluate_text(opened, split="validation", streams=3).to_json()
    assert evaluate(folder, split="validation", streams=3) == again
    capsys.readouterr()
    assert run(["evaluate", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == wanted
    assert run(["evaluate", str(folder)]) == 0
    assert f"perplexity {wanted['perplexity']:,.2f} on the test split of {text}" in capsys.readouterr().out
    for option, value in (("--batch", "3"), ("--report", str(tmp_path / "page.html"))):
        assert run(["evaluate", str(folder), option, value]) == 2
        assert f"a language model, which has no use for {option}" in capsys.readouterr().err
    with pytest.raises(InputError, match="no use for --batch"):
        evaluate(folder, batch=3)
    with pytest.raises(InputError, match="streams 0"):
        evaluate(folder, streams=0)
