"""Final trainings of classifiers: their settings, and what is refused by name: input, folders, damaged files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoshrink import resume_training, train
from autoshrink.architecture import ConvArchitecture
from autoshrink.bundle import MODEL_FILE
from autoshrink.cli import run
from autoshrink.config import TrainingContext as Context
from autoshrink.config import classifier_settings
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.final import STATE_FILE
from classifier_fixtures import SMALL, asked, two_classes
from training_fixtures import Stopped, rewritten, stopping_at_batch

# Settings


def test_the_published_recipe_is_the_released_one() -> None:
    settings = classifier_settings({"preset": "published"}, Context(224, 3, 1_281_167))
    recipe, augment = settings.recipe, settings.recipe.augment
    assert (recipe.optimiser, recipe.momentum, recipe.learning_rate, recipe.batch) == ("rmsprop", 0.9, 0.1, 256)
    assert (recipe.epochs, recipe.warmup, recipe.final_rate) == (300, 10.0, 0.0)
    assert (recipe.label_smoothing, recipe.ema, recipe.l2) == (0.1, 0.999, 4e-5)
    assert (recipe.bn_momentum, recipe.bn_epsilon) == (0.001, 1e-3)
    assert (augment.crop, augment.scale, augment.ratio) == ("resized", (0.75, 1.0), (0.75, 1.33))
    assert (augment.jitter, augment.erasing, augment.flip) == ((0.4, 0.4, 0.4, 0.1), 0.5, 0.5)
    assert (settings.data.crop, settings.data.pixels) == (0.875, "symmetric")


def test_defaults_go_by_size_channels_and_number_of_images() -> None:
    small, large, grey, few = (
        classifier_settings({}, context)
        for context in (
            Context(32, 3, 50_000), Context(224, 3, 50_000), Context(28, 1, 60_000), Context(32, 3, 700),
        )
    )  # fmt: skip
    assert (small.preset, large.preset) == ("small", "large")
    assert (small.recipe.augment.crop, large.recipe.augment.crop, large.data.crop) == ("pad", "resized", 0.875)
    assert (small.recipe.augment.flip, grey.recipe.augment.flip) == (0.5, 0.0), "a mirrored digit is another"
    assert (small.recipe.batch, few.recipe.batch) == (128, 16)
    assert few.recipe.learning_rate == pytest.approx(small.recipe.learning_rate / 8, rel=1e-2)
    halved = classifier_settings({"recipe": {"batch": 64}}, Context(32, 3, 50_000))
    assert halved.recipe.learning_rate == pytest.approx(small.recipe.learning_rate / 2)
    adamw = classifier_settings({"preset": "adamw"}, Context(32, 3, 50_000)).recipe
    assert (adamw.optimiser, adamw.l2, adamw.weight_decay) == ("adamw", 0.0, 0.05)
    named = classifier_settings({"recipe": {"optimiser": "adamw"}}, Context(32, 3, 50_000)).recipe
    assert named == adamw, "an optimiser comes with what suits it"
    plain = classifier_settings({"preset": "adamw", "recipe": {"optimiser": "sgd"}}, Context(32, 3, 50_000)).recipe
    assert plain == small.recipe


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"preset": "secret"}, "setting preset: no recipe is called 'secret'; choose from small, large, "),
        ({"recipe": {"dropout": 0.1}}, "setting recipe.dropout: there is no such setting"),
        ({"recipe": {"epochs": 0}}, "setting recipe.epochs: "),
        ({"recipe": {"epochs": "many"}}, "setting recipe.epochs: "),
        ({"recipe": {"batch": 1}}, "setting recipe.batch: "),
        ({"recipe": 3}, "setting recipe: "),
        ({"recipe": {"ema": 1.0}}, "setting recipe.ema: "),
        ({"recipe": {"augment": {"flip": True}}}, "setting recipe.augment.flip: "),
        ({"recipe": {"optimiser": "adamw", "l2": 1e-5}}, r"recipe.l2: l2 is for sgd and rmsprop, .* \(got 1e-05\)"),
        ({"recipe": {"weight_decay": 0.1}}, "recipe.weight_decay: l2 is for sgd and rmsprop, weight_decay for adamw"),
        ({"recipe": {"batch": 8, "accumulation": 5}}, "recipe.accumulation: a batch of 8 is cut into pieces of two"),
        ({"data": {"validation_share": 1.0}}, "setting data.validation_share: "),
        ({"data": {"level": "word"}}, "setting data.level: there is no such setting"),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        classifier_settings(overrides, Context(32, 3, 50_000))


# Refused


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        (None, {}, "nothing to train: give an architecture or a cell"),
        (ConvArchitecture.from_json(SMALL.to_json() | {"input": [1, 8, 12]}), {}, "input 1×8×12: .* squares"),
        (ConvArchitecture.from_json(SMALL.to_json() | {"input": [2, 8, 8]}), {}, "input 2×8×8: .* 1 or 3 channels"),
        (SMALL, {"device": "abacus"}, "device 'abacus' is unknown"),
        (SMALL, {"data": {"spec": "nowhere"}}, "no data set and no path is called nowhere"),
        (SMALL, {"data": {"spec": 3}}, r"setting data.spec: a name or a path is needed \(got 3\)"),
        (SMALL, {"recipe": {"precision": "float16"}}, "precision float16 is for CUDA"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    architecture: Any, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((InputError, DataError), match=message):
        train(architecture, asked() | changes, out=tmp_path / "model")
    assert not (tmp_path / "model" / STATE_FILE).exists()


def test_divergence_is_said_and_leaves_the_folder_free(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"(diverged|became (nan|inf)).*; try a lower --lr"):
        train(SMALL, asked(learning_rate=1e25, warmup=0.0, ema=None), out=tmp_path)
    assert not {STATE_FILE, MODEL_FILE} & {path.name for path in tmp_path.iterdir()}
    assert len(train(SMALL, asked(epochs=1), out=tmp_path).history.curve) == 1


def test_too_little_memory_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("autoshrink.training.image_learner.ImageLearner.accumulate", exhausted)
    message = r"out of memory \(CUDA out of memory\); try a smaller --batch than 128, or --accumulate 4"
    with pytest.raises(RunError, match=message):
        train(SMALL, asked(accumulation=2), out=tmp_path)


def test_data_that_fill_the_device_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("autoshrink.final.image.open_training_data", exhausted)
    with pytest.raises(RunError, match="before the first step; try --stream or another --device"):
        train(SMALL, asked(), out=tmp_path)


def test_changed_images_are_not_gone_on_with(tmp_path: Path) -> None:
    images = two_classes(tmp_path / "images")
    settings = asked(batch=4) | {"data": {"spec": str(images)}}
    with pytest.raises(Stopped):
        train(SMALL, settings, out=tmp_path / "model", watcher=stopping_at_batch(6))
    (images / "train" / "dark" / "3.png").unlink()
    with pytest.raises(DataError, match=r"the images are not those that .*model began with; restore them"):
        resume_training(tmp_path / "model")


# Damaged


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "damaged, or not a safetensors file"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-7]), "damaged, or not a safetensors file"),
    "architecture": (rewritten(lambda facts, _: facts.pop("architecture")), "says nothing of its architecture"),
    "preprocessing": (rewritten(lambda facts, _: facts.pop("preprocessing")), "says nothing of its preprocessing"),
    "settings": (rewritten(lambda facts, _: facts.update(settings="{}")), "damaged: settings"),
    "figures": (rewritten(lambda facts, _: facts.update(figures="[]", curve="[0.5]")), "figures: 0 epochs, and 1"),
    "position": (rewritten(lambda facts, _: facts.update(position='{"steps": "x"}')), "damaged: position"),
    "NaN": (rewritten(lambda facts, _: facts.update(curve="[NaN]")), "what it says of its .curve.: NaN is no number"),
    "weights": (rewritten(lambda _, tensors: tensors.pop("network.stem.conv.weight")), "do not fit its architecture"),
    "average": (rewritten(lambda _, tensors: tensors.pop("average.stem.conv.weight")), "do not fit its architecture"),
    "optimiser": (
        rewritten(lambda _, tensors: tensors.update({"optimiser.gone.x": torch.zeros(1)})), "belongs to no parameter",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "model"
    with pytest.raises(Stopped):
        train(SMALL, asked(), out=folder, watcher=stopping_at_batch(4))
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_by_name(damage: str, begun: Path, tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes((begun / STATE_FILE).read_bytes())
    do, message = DAMAGES[damage]
    do(tmp_path / STATE_FILE)
    with pytest.raises(InputError, match=rf"^{tmp_path / STATE_FILE}: .*{message}"):
        resume_training(tmp_path)


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train shrinkcnn-a -o out", "which images\\? give --data"),
        ("train -o out --data digits", "nothing to train: give an architecture or a cell"),
        (
            "train shrinkcnn-a -o out --data digits --width 9",
            "--width: it goes with language models, and shrinkcnn-a is an im",
        ),
        ("train shrinkcnn-a -o out --data digits --level char", "--level: it goes with language models"),
        ("train lstm -o out --ema .9", "--ema: it goes with image classifiers, and lstm is a language model"),
        ("train lstm -o out --recipe large", "--recipe: it goes with image classifiers"),
        ("train shrinkcnn-a -o out --data digits --recipe best", "setting preset: no recipe is called 'best'"),
        ("train shrinkcnn-a -o out --data digits --optimiser lion", "setting recipe.optimiser: "),
        ("train --from gone -o out --data digits", "gone: no such file or folder"),
    ],
)
def test_wrong_input_is_named(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.search(message, errors[errors.index("autoshrink: ") :]), errors
