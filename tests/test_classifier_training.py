"""Final trainings of classifiers: what they leave, stopped and killed and gone on with, tuned, and refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from autoshrink import resume_training, train
from autoshrink.architecture import Architecture, ConvArchitecture, proxy_architecture
from autoshrink.bundle import MODEL_FILE, TrainedClassifier, load_as
from autoshrink.cli import run
from autoshrink.config import TrainingContext, classifier_settings
from autoshrink.cost import count
from autoshrink.errors import InputError, RunError
from autoshrink.final import LOCK_FILE, STATE_FILE, Epoch, TrainingWatcher
from autoshrink.final.image import ImageTraining, class_tensors
from autoshrink.metrics import EpochFigures
from autoshrink.report.curves import curve_svg
from autoshrink.training import checkpoint
from autoshrink.training.distributed import announced
from classifier_fixtures import CELL, SMALL, asked, two_classes
from text_fixtures import deaths_until_done
from training_fixtures import Stopped, assert_same, left, stopping_at_batch

FILES = {MODEL_FILE, STATE_FILE, LOCK_FILE, "curve.json", "curve.svg"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed training."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    train(SMALL, asked(), out=folder)
    return folder


# What is left


def test_a_training_leaves_its_model_its_state_and_its_curve(tmp_path: Path) -> None:
    told: list[Epoch] = []
    started: list[tuple[Architecture, int, int]] = []
    watcher = TrainingWatcher(
        on_start=lambda architecture, images, done: started.append((architecture, images, done)), on_epoch=told.append
    )
    result = train(SMALL, asked(), out=tmp_path / "model", watcher=watcher)
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES
    assert started == [(SMALL, result.samples, 0)]
    assert 1200 < result.samples < 1437, "a tenth of the 1,437 training digits validates"
    assert [epoch.number for epoch in told] == [1, 2, 3]
    assert tuple(epoch.performance for epoch in told) == result.history.curve
    assert result.performance > 0.3, "three short epochs are far better than chance"
    written = json.loads((tmp_path / "model" / "curve.json").read_text())
    assert written["validation_accuracy"] == [round(one, 6) for one in result.history.curve]
    assert {len(written[name]) for name in ("validation_loss", "training_loss", "learning_rate")} == {3}
    assert written["training_loss"] == sorted(written["training_loss"], reverse=True)
    assert written["ended"] == "all epochs"
    said = result.to_json()
    assert set(said) == {
        "folder", "model", "accuracy", "loss", "epoch", "epochs", "ended", "params", "macs", "classes",
        "training_images", "seconds",
    }  # fmt: skip
    assert (said["accuracy"], said["classes"], said["params"]) == (result.performance, 10, count(SMALL).params)
    assert said["loss"] == pytest.approx(written["validation_loss"][said["epoch"] - 1], abs=1e-6)
    assert 0 < sum(epoch.seconds for epoch in told) <= said["seconds"] + 0.001, "rounded to a millisecond"


def test_the_model_is_the_average_of_the_best_epoch(whole: Path) -> None:
    model = load_as(TrainedClassifier, whole)
    tensors, facts = left(whole)[STATE_FILE]
    best = ImageTraining().kept_epoch(facts["curve"], facts["validation_samples"])
    assert (model.facts.epoch, model.facts.performance) == (best, facts["curve"][best - 1])
    assert model.facts.data.spec == "digits"
    assert model.classes == tuple("0123456789")
    if best == 3:
        assert all(torch.equal(tensors[f"average.{name}"], value) for name, value in model.network.state_dict().items())
    assert not torch.equal(tensors["average.stem.conv.weight"], tensors["network.stem.conv.weight"])


def test_the_same_seed_is_the_same_training_and_another_is_not(whole: Path, tmp_path: Path) -> None:
    train(SMALL, asked(), out=tmp_path / "again")
    assert_same(tmp_path / "again", whole)
    train(SMALL, asked(epochs=1) | {"seed": 2}, out=tmp_path / "other")
    assert left(tmp_path / "other")[STATE_FILE][1]["figures"][0] != left(whole)[STATE_FILE][1]["figures"][0]


def test_a_cell_becomes_the_papers_proxy_network_of_the_images_size(tmp_path: Path) -> None:
    result = train(CELL, asked(epochs=1), out=tmp_path)
    assert result.architecture == proxy_architecture(CELL, shape=(1, 8, 8), classes=10)


def test_other_classes_replace_the_classifier_and_that_is_said(tmp_path: Path) -> None:
    remarks: list[str] = []
    odd = ConvArchitecture.from_json(SMALL.to_json() | {"classes": 7})
    result = train(odd, asked(epochs=1), out=tmp_path, watcher=TrainingWatcher(remark=remarks.append))
    assert result.architecture == SMALL
    assert "digits has 10 classes: a classifier for these replaces the one for 7" in remarks


def test_the_architectures_channels_win(tmp_path: Path) -> None:
    colour = ConvArchitecture.from_json(SMALL.to_json() | {"input": [3, 8, 8]})
    assert train(colour, asked(epochs=1), out=tmp_path).architecture == colour
    assert load_as(TrainedClassifier, tmp_path).preprocessing.channels == 3


# Stopped, and gone on with


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"optimiser": "rmsprop", "ema": None, "nesterov": False},
        {"optimiser": "adamw", "l2": 0.0, "weight_decay": 0.01, "clip": 1.0, "accumulation": 2},
        {"precision": "bfloat16"},
        {"bn_momentum": 0.001},
        {"bn_momentum": 0.001, "ema": None},
    ],
)
def test_stopped_anywhere_it_ends_the_same(recipe: dict[str, Any], tmp_path: Path) -> None:
    """In the middle of epochs, at their first and last batches; the position is saved with every batch."""
    settings = asked(epochs=2, **recipe)
    train(SMALL, settings, out=tmp_path / "whole")
    folder = tmp_path / "model"
    with pytest.raises(Stopped):
        train(SMALL, settings, out=folder, watcher=stopping_at_batch(1))
    for batch in (2, 5, 6, 9):
        try:
            resume_training(folder, watcher=stopping_at_batch(batch))
        except Stopped:
            continue
    resume_training(folder)
    assert_same(folder, tmp_path / "whole")


def test_saved_rarely_it_goes_on_from_the_last_epoch(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    settings = asked() | {"save_every": 1e6}
    with pytest.raises(Stopped):
        train(SMALL, settings, out=folder, watcher=stopping_at_batch(14))
    assert checkpoint.load(folder / STATE_FILE)[1]["position"] is None
    resume_training(folder)
    ours, theirs = left(folder), left(whole)
    assert ours[STATE_FILE][1]["figures"] == theirs[STATE_FILE][1]["figures"]
    assert all(torch.equal(value, theirs[MODEL_FILE][0][name]) for name, value in ours[MODEL_FILE][0].items())


KILLED = """
from autoshrink import resume_training, train
from autoshrink.architecture import Architecture
settings, architecture = json.loads(sys.argv[2]), Architecture.from_json(json.loads(sys.argv[3]))

def attempt(folder):
    begun = os.path.exists(folder + "/training.safetensors")
    resume_training(folder) if begun else train(architecture, settings, out=folder)
"""


def test_killed_at_random_times_it_ends_the_same(whole: Path, tmp_path: Path) -> None:
    arguments = (json.dumps(asked()), json.dumps(SMALL.to_json()))
    assert deaths_until_done(KILLED, tmp_path / "model", *arguments) > 0
    assert_same(tmp_path / "model", whole)


def test_patience_ends_it_and_it_stays_ended(tmp_path: Path) -> None:
    settings = asked(epochs=9, patience=1, learning_rate=1e-30, ema=None)
    result = train(SMALL, settings, out=tmp_path)
    assert (len(result.history.curve), result.history.ended) == (2, "no better for 1 epoch")
    remarks: list[str] = []
    again = resume_training(tmp_path, watcher=TrainingWatcher(remark=remarks.append))
    assert remarks == [f"{tmp_path} is finished: nothing to do"]
    assert again.to_json() == pytest.approx(result.to_json())


def test_a_curve_that_was_not_written_is_made_from_the_state(whole: Path) -> None:
    before = {name: (whole / name).read_text() for name in ("curve.json", "curve.svg")}
    for name in before:
        (whole / name).unlink()
    resume_training(whole)
    assert before == {name: (whole / name).read_text() for name in before}


def test_a_full_disk_is_said_and_what_was_saved_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        train(SMALL, asked(), out=tmp_path, watcher=stopping_at_batch(5))
    before = (tmp_path / STATE_FILE).read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("autoshrink.files.os.fsync", full)
        with pytest.raises(RunError, match=r"cannot be written: No space left on device; what stood there before"):
            resume_training(tmp_path)
    assert (tmp_path / STATE_FILE).read_bytes() == before
    assert resume_training(tmp_path).history.ended == "all epochs"


# Weights to start from


def test_tuning_replaces_the_classifier_and_keeps_the_rest(whole: Path, tmp_path: Path) -> None:
    images = two_classes(tmp_path / "images")
    settings = asked(epochs=1, batch=4, learning_rate=1e-30) | {"data": {"spec": str(images)}, "start": str(whole)}
    result = train(None, settings, out=tmp_path / "tuned")
    assert isinstance(result.architecture, ConvArchitecture)
    assert result.architecture == ConvArchitecture.from_json(SMALL.to_json() | {"classes": 2})
    before, after = load_as(TrainedClassifier, whole), load_as(TrainedClassifier, tmp_path / "tuned")
    assert after.classes == ("dark", "light")
    assert after.preprocessing == before.preprocessing
    own, given = after.network.state_dict(), before.network.state_dict()
    assert class_tensors(result.architecture) == {"classifier.weight", "classifier.bias"}
    for name, value in own.items():
        if "running" in name or "num_batches" in name or name.startswith("classifier"):
            continue
        torch.testing.assert_close(value, given[name], msg=name)


def test_the_same_classes_keep_their_classifier(whole: Path, tmp_path: Path) -> None:
    settings = asked(epochs=1, learning_rate=1e-30, ema=None) | {"start": str(whole)}
    train(SMALL, settings, out=tmp_path / "tuned")
    own, given = (load_as(TrainedClassifier, one).network.state_dict() for one in (tmp_path / "tuned", whole))
    torch.testing.assert_close(own["classifier.weight"], given["classifier.weight"])


def test_tensors_that_do_not_fit_are_named(whole: Path, tmp_path: Path) -> None:
    wider = proxy_architecture(CELL, shape=(1, 8, 8), classes=10, stem=6, widths=(4, 8))
    with pytest.raises(InputError, match=r"do not fit the architecture: stem.conv.weight is 4×1×3×3 and not 6×1×3×3, "):
        train(wider, asked() | {"start": str(whole)}, out=tmp_path / "model")
    with pytest.raises(InputError, match="gone: no such file or folder"):
        train(None, asked() | {"start": str(tmp_path / "gone")}, out=tmp_path / "model")


def test_tuning_learns_at_a_tenth_of_the_rate() -> None:
    fresh, tuned = (
        classifier_settings({}, TrainingContext(32, 3, 50_000, start=start))
        for start in (None, {"recipe": {"bn_epsilon": 1e-3}, "data": {"crop": 0.9}})
    )
    assert tuned.recipe.learning_rate == pytest.approx(fresh.recipe.learning_rate / 10)
    assert (tuned.recipe.bn_epsilon, tuned.data.crop) == (1e-3, 0.9)


# Logs


def test_tensorboard_shows_every_epoch_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - an extra

    settings = asked() | {"tensorboard": True}
    with pytest.raises(Stopped):
        train(SMALL, settings, out=tmp_path, watcher=stopping_at_batch(15))
    result = resume_training(tmp_path)
    told = EventAccumulator(str(tmp_path / "tensorboard"))
    told.Reload()
    events = told.Scalars("accuracy")
    assert [event.step for event in events] == [1, 2, 3]
    assert [event.value for event in events] == pytest.approx(result.history.curve)
    assert "images_per_second" in told.Tags()["scalars"]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(InputError, match=r"mlflow, which is not installed: pip install 'autoshrink\[mlflow\]'"):
        train(SMALL, asked() | {"mlflow": str(tmp_path / "runs")}, out=tmp_path / "model")
    assert not (tmp_path / "model" / STATE_FILE).exists()


# The picture


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_the_picture_is_whole_whatever_the_figures(epochs: int) -> None:
    figures = [EpochFigures(0.5, 0.7 if epoch else math.inf, 1.2, 0.0) for epoch in range(epochs)]
    drawn = curve_svg(figures, kept=epochs)
    picture = ElementTree.fromstring(drawn)
    texts = [element.text for element in picture.iter() if element.text]
    assert f"Validation accuracy 50.00\N{NARROW NO-BREAK SPACE}% after epoch {epochs} of {epochs}" in texts
    assert {"Validation accuracy", "Mean loss, nats", "Learning rate", "epoch"} <= set(texts)
    assert "nan" not in drawn
    assert "inf" not in drawn


@pytest.mark.parametrize(
    ("curve", "images", "kept"),
    [
        ((0.5,), 100, 1),
        ((0.5, 0.5), 100, 2),
        ((0.9, 0.88), 100, 2),  # one standard error of .9 among 100 is .03
        ((0.9, 0.86), 100, 1),
        ((0.9, 0.86, 0.871), 100, 3),
        ((0.9, 0.88), 10_000, 1),  # among 10,000 it is .003
        ((1.0, 0.99), 100, 2),  # a single image is never more than that
        ((1.0, 0.98), 100, 1),
    ],
)
def test_the_last_epoch_as_good_as_the_best_is_kept(curve: tuple[float, ...], images: int, kept: int) -> None:
    assert ImageTraining().kept_epoch(curve, images) == kept


# Batch normalisation


@pytest.mark.parametrize("ema", [0.9, None])
def test_statistics_that_lag_behind_are_taken_anew(
    ema: float | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Few steps at a momentum of .001 leave 97 % of their start in the statistics: chance, where they are used."""
    said: list[str] = []
    slow, usual = asked(epochs=3, ema=ema, bn_momentum=0.001), asked(epochs=3, ema=ema)
    result = train(SMALL, slow, out=tmp_path / "slow", watcher=TrainingWatcher(remark=said.append))
    other = train(SMALL, usual, out=tmp_path / "usual")
    assert result.performance > other.performance - 0.05
    assert result.performance > 0.3, "chance is a tenth"
    (remark,) = [one for one in said if "BN" in one]
    assert "momentum of 0.001 needs more than" in remark
    assert "taken anew" in remark
    assert run(["evaluate", str(tmp_path / "slow"), "--split", "validation", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert kept["accuracy"] == pytest.approx(result.performance), "the statistics are in the file"


# The command line


QUICK = "--data digits --epochs 1 --batch 128 --threads 1 --device cpu"


def test_the_command_line_trains_and_tunes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.arch.json").write_text(json.dumps(SMALL.to_json()))
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(["train", str(tmp_path / "small.arch.json"), "-o", str(one), *QUICK.split()]) == 0
    output, errors = capsys.readouterr()
    assert f"autoshrink export {one} -o model.onnx" in output
    assert "epoch   1 of 1   validation accuracy " in errors
    assert " images/s   kept\n" in errors, "after the last epoch no time is left"
    options = "--ema 0 --optimiser sgd --accumulate 2 --precision float32 --set recipe.clip=1 --json"
    assert run(["train", "--from", str(one), "-o", str(two), *QUICK.split(), *options.split()]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["folder"], said["classes"], said["epochs"]) == (str(two), 10, 1)
    settings = left(two)[STATE_FILE][1]["settings"]
    assert (settings["recipe"]["ema"], settings["recipe"]["clip"], settings["recipe"]["accumulation"]) == (None, 1, 2)
    assert settings["start"] == str(one)
    assert run(["resume", str(two), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == said


def test_alone_without_torchrun() -> None:
    assert announced().first
    assert announced().count == 1
    assert math.isclose(announced().total([0.5], torch.device("cpu"))[0], 0.5)
