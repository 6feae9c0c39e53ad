"""The folder of a final training: its files, what is written after every epoch, and how it is read again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from autoshrink.architecture import LanguageModel
from autoshrink.config import TrainingSettings
from autoshrink.data import EncodedText, Vocabulary
from autoshrink.errors import RunError
from autoshrink.results import pretty, write_text
from autoshrink.training import checkpoint
from autoshrink.training.language_model import MODEL_FILE, TrainedModel, save_model
from autoshrink.training.loop import Course
from autoshrink.training.text_learner import TextLearner

STATE_FILE = "training.safetensors"
CURVE_FILE = "curve.json"
LOCK_FILE = "training.lock"
AVERAGE = "average."
"""Before the names of averaged weights in the state file."""


@dataclass(frozen=True)
class Texts:
    """Training and validation text, encoded."""

    train: EncodedText
    validation: EncodedText

    @property
    def fingerprint(self) -> list[str]:
        """What both are known by."""
        return [self.train.fingerprint, self.validation.fingerprint]


@dataclass(frozen=True)
class Job:
    """One training: where it lies, and everything that decides it."""

    folder: Path
    architecture: LanguageModel
    settings: TrainingSettings
    texts: Texts


def save_best(job: Job, learner: TextLearner, course: Course) -> None:
    """Keep the weights of the epoch that was just measured.

    To be called before `save_state`: a process that is killed in between does that epoch again.
    """
    best = {"epoch": len(course.curve), "performance": course.curve[-1], "data": job.settings.to_json()["data"]}
    model = TrainedModel(job.architecture, learner.evaluated, job.texts.train.vocabulary, best)
    save_model(job.folder / MODEL_FILE, model)


def save_state(job: Job, learner: TextLearner, course: Course) -> None:
    """Keep where the training stands, and its curve for people."""
    tensors = dict(learner.network.state_dict())
    averaged = 0
    if learner.average is not None:
        averaged = int(learner.average.n_averaged)
        tensors |= {AVERAGE + name: tensor for name, tensor in learner.average.module.state_dict().items()}
    facts = {
        "architecture": job.architecture.to_json(),
        "vocabulary": job.texts.train.vocabulary.to_json(),
        "settings": job.settings.to_json(),
        "fingerprint": job.texts.fingerprint,
        "tokens": learner.epoch_samples,
        "curve": list(course.curve),
        "ended": course.ended,
        "averaged": averaged,
    }
    checkpoint.save(job.folder / STATE_FILE, tensors, facts)
    if course.curve:
        write_curve(job.folder, course)


def write_curve(folder: Path, course: Course) -> None:
    """The curve for people and scripts; made from the state, so that it can be made again."""
    perplexities = [round(math.exp(min(-value, 700.0)), 4) for value in course.curve]
    write_text(folder / CURVE_FILE, pretty({"validation_perplexity": perplexities, "ended": course.ended}))


class State(BaseModel):
    """What the state file says of its tensors, as `save_state` writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    architecture: LanguageModel
    vocabulary: Vocabulary
    settings: TrainingSettings
    fingerprint: list[str]
    tokens: PositiveInt
    curve: tuple[float, ...]
    ended: str | None
    averaged: NonNegativeInt

    @classmethod
    def of(cls, facts: dict[str, Any], path: Path) -> State:
        """From a file's facts; an InputError that names the file where they are damaged."""
        with checkpoint.understood(path):
            known = {
                "architecture": LanguageModel.from_json(facts["architecture"]),
                "vocabulary": Vocabulary.from_json(facts["vocabulary"]),
            }
            return cls.model_validate(facts | known)


def restore(learner: TextLearner, tensors: dict[str, torch.Tensor], state: State, path: Path) -> None:
    """Put a learner where the state file says; an InputError that names the file where its tensors do not fit."""
    average = {name.removeprefix(AVERAGE): tensor for name, tensor in tensors.items() if name.startswith(AVERAGE)}
    checkpoint.fill(learner.network, {n: t for n, t in tensors.items() if not n.startswith(AVERAGE)}, path)
    if average:
        learner.start_averaging()
        assert learner.average is not None, "averaging has just begun"
        checkpoint.fill(learner.average.module, average, path)
        learner.average.n_averaged.fill_(state.averaged)
    learner.curve = list(state.curve)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process a folder, which is made if need be."""
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process is training here") from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
    try:
        # What a process that was killed in the middle of writing left behind; whoever has the lock writes alone.
        for draft in folder.glob(".*.safetensors.*"):
            draft.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
