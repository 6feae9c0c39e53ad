"""A trained model on disk is one thing: read as it was written, and as version 0.1 wrote it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import autoshrink
from autoshrink.bundle import Facts, TrainedClassifier, TrainedLanguageModel, load, load_as, save
from autoshrink.errors import InputError
from autoshrink.final import STATE_FILE
from deploy_fixtures import DIGITS, classifier
from text_fixtures import corpus
from training_fixtures import rewritten

OLD = Path(__file__).parent / "golden" / "trained-0.1"
"""Trainings that version 0.1 began: of digits, stopped in the second of three epochs, and of `corpus`, after the fifth
of six, which had begun to average."""
IMAGES = (0.32167832167832167, 0.3776223776223776, 0.40559440559440557)
TEXT = (-1.9797, -1.8878, -1.5385, -1.3162, -1.9944, -1.4132)
"""Their curves in version 0.1, gone on with to the end."""


def begun(task: str, place: Path) -> Path:
    """A copy of an old training, its text where this test has it."""
    folder = place / task
    shutil.copytree(OLD / task, folder)
    text = str(corpus(place / "corpus"))
    rewritten(lambda facts, _: facts.update(settings=facts["settings"].replace("/tmp/corpus", text)))(
        folder / STATE_FILE
    )
    return folder


def test_an_old_classifier_opens() -> None:
    model = load(OLD / "image")
    assert isinstance(model, TrainedClassifier)
    assert model.classes == tuple("0123456789")
    assert (model.preprocessing.size, model.preprocessing.mean) == (8, (0.306021,))
    assert (model.facts.epoch, model.facts.performance) == (1, IMAGES[0])
    assert (model.facts.data.spec, model.facts.seed, model.facts.bn_epsilon) == ("digits", 0, 1e-5)
    assert model.ledger is not None
    assert model.ledger.seal == model.facts.kept_back
    found = autoshrink.evaluate(OLD / "image", split="validation", device="cpu")
    assert found["accuracy"] == pytest.approx(IMAGES[0], abs=0.01)


def test_an_old_language_model_opens(tmp_path: Path) -> None:
    model = load(OLD / "text")
    assert isinstance(model, TrainedLanguageModel)
    assert len(model.vocabulary) == 14
    assert model.facts.epoch == 4
    found = autoshrink.evaluate(OLD / "text", data=str(corpus(tmp_path)), split="validation", streams=10, device="cpu")
    assert found["loss"] == pytest.approx(1.3162, abs=1e-3)
    assert autoshrink.generate(OLD / "text", "the cat", length=3).text.startswith("the cat")


@pytest.mark.parametrize(("task", "curve"), [("image", IMAGES), ("text", TEXT)])
def test_old_trainings_are_gone_on_with(task: str, curve: tuple[float, ...], tmp_path: Path) -> None:
    """Epochs before are theirs; the last differs by rounding alone, where another machine adds in another order."""
    folder = begun(task, tmp_path)
    result = autoshrink.resume_training(folder)
    assert len(result.history.curve) == len(curve)
    assert result.history.curve == pytest.approx(curve, abs=0.02)
    assert load(folder).facts.epoch == result.epoch


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    written = classifier(DIGITS, {"seed": 3, "note": "kept as it is", "data": {"spec": "digits", "crop": 0.5}})
    save(tmp_path / "model.safetensors", written)
    found = load_as(TrainedClassifier, tmp_path)
    assert (found.architecture, found.interface, found.facts) == (
        written.architecture,
        written.interface,
        written.facts,
    )
    assert found.facts.to_json()["note"] == "kept as it is"
    state, wanted = found.network.state_dict(), written.network.state_dict()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_a_model_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="holds a recurrent network, and this needs an image classifier"):
        load_as(TrainedClassifier, OLD / "text")
    with pytest.raises(InputError, match="holds a conv network, and this needs a language model"):
        load_as(TrainedLanguageModel, OLD / "image")


@pytest.mark.parametrize(
    ("values", "place"),
    [({"epoch": -1}, "epoch"), ({"performance": math.nan}, "performance"), ({"data": {"spec": 1}}, "data.spec")],
)
def test_facts_are_typed(values: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=place):
        Facts.model_validate(values)
