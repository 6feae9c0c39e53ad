"""The final training of a language model on a whole text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from autoshrink.architecture import LanguageModel, language_model
from autoshrink.bundle import MODEL_FILE, TextInterface, TrainedLanguageModel, save
from autoshrink.bundle import Facts as ModelFacts
from autoshrink.config import Overrides, TaskName, TrainingSettings, training_settings
from autoshrink.cost import count, widest
from autoshrink.data import EncodedText, Vocabulary, load_text_split, open_text, repeated_lines
from autoshrink.data.text_opening import has_test_text
from autoshrink.errors import DataError, InputError
from autoshrink.files import write_text
from autoshrink.final.folder import CURVE_FILE, STATE_FILE, Facts
from autoshrink.final.job import Job, State, Terms
from autoshrink.final.watching import TrainingResult, TrainingWatcher
from autoshrink.networks import build
from autoshrink.quantity import counted
from autoshrink.results import pretty
from autoshrink.training import checkpoint
from autoshrink.training.device import choose_device
from autoshrink.training.distributed import announced
from autoshrink.training.loop import Course, Position
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, text_stops

AVERAGE = "average."
"""Before the names of averaged weights in the state file."""


@dataclass(frozen=True)
class LanguageResult(TrainingResult):
    """What the training of a language model left; its samples are the tokens of the training text."""

    architecture: LanguageModel
    data: str

    @property
    def tested(self) -> bool:
        """Whether a test text was given, or is taken out of the text."""
        return has_test_text(self.data)

    @property
    def task(self) -> TaskName:
        """Text."""
        return "text"

    @property
    def tokens(self) -> int:
        """Of the training text."""
        return self.samples

    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink train --json``."""
        return {
            "folder": str(self.folder),
            "model": str(self.folder / MODEL_FILE),
            "perplexity": math.exp(min(-self.performance, 700.0)),
            "loss": -self.performance,
            "epoch": self.epoch,
            "epochs": len(self.course.curve),
            "ended": self.course.ended,
            "params": count(self.architecture).params,
            "vocabulary": self.architecture.vocabulary,
            "width": self.architecture.width,
            "training_tokens": self.samples,
        }


@dataclass(frozen=True)
class Texts:
    """Training and validation text, encoded."""

    train: EncodedText
    validation: EncodedText

    @property
    def fingerprint(self) -> list[str]:
        """What both are known by."""
        return [self.train.fingerprint, self.validation.fingerprint]


class LanguageJob(Job):
    """The training of one language model.

    Args:
        folder: where it lies.
        architecture: what is trained.
        settings: how.
        texts: on what.
    """

    task = "text"

    def __init__(self, folder: Path, architecture: LanguageModel, settings: TrainingSettings, texts: Texts) -> None:
        self.folder = folder
        self.architecture: LanguageModel = architecture
        self.settings = settings
        self.texts = texts
        self.learner: TextLearner = _learner(architecture, settings, texts)
        stops = replace(text_stops(settings.recipe, architecture.vocabulary), worst=None)
        self.terms = Terms(stops, settings.threads)

    @property
    def averaging(self) -> bool:
        """Whether averaging has begun (NT-ASGD)."""
        return self.learner.evaluated is not self.learner.network

    def state(self, course: Course, position: Position | None) -> State:
        """Weights after the last epoch and their average; SGD without momentum remembers nothing else."""
        assert position is None, "an epoch of text is begun anew"
        learner = self.learner
        tensors = dict(learner.network.state_dict())
        averaged = 0
        if learner.average is not None:
            averaged = int(learner.average.n_averaged)
            tensors |= {AVERAGE + name: tensor for name, tensor in learner.average.module.state_dict().items()}
        return tensors, {
            "architecture": self.architecture.to_json(),
            "vocabulary": self.texts.train.vocabulary.to_json(),
            "settings": self.settings.to_json(),
            "fingerprint": self.texts.fingerprint,
            "tokens": learner.epoch_samples,
            "curve": list(course.curve),
            "ended": course.ended,
            "averaged": averaged,
        }

    def learned(self, course: Course, position: Position, seconds: float) -> None:
        """Nothing: the course says it all."""

    def save_best(self, course: Course) -> None:
        """With architecture and vocabulary."""
        best = {"epoch": len(course.curve), "performance": course.curve[-1], "data": self.settings.to_json()["data"]}
        interface = TextInterface(self.texts.train.vocabulary)
        facts = ModelFacts.model_validate(best)
        model = TrainedLanguageModel(self.architecture, self.learner.evaluated, interface, facts)
        save(self.folder / MODEL_FILE, model)

    def write_curve(self, course: Course) -> None:
        """Validation perplexity after every epoch."""
        write_curve(self.folder, course)

    def result(self, course: Course) -> LanguageResult:
        """What the training left."""
        samples, data = self.learner.epoch_samples, self.settings.data.spec
        return LanguageResult(self.folder, self.architecture, course, samples, data)


def write_curve(folder: Path, course: Course) -> None:
    """Validation perplexity after every epoch, for people and scripts."""
    perplexities = [round(math.exp(min(-value, 700.0)), 4) for value in course.curve]
    write_text(folder / CURVE_FILE, pretty({"validation_perplexity": perplexities, "ended": course.ended}), own=True)


@dataclass(frozen=True)
class LanguageRequest:
    """What was asked for: a language model, settings, and a width or a number of parameters."""

    architecture: LanguageModel
    overrides: Overrides
    width: int | None = None
    params: int | None = None

    @property
    def device(self) -> torch.device:
        """Where to train.

        Raises:
            InputError: a setting cannot be used, or the device.
        """
        _alone()
        return choose_device(self._settings(self.architecture).device)

    def _settings(self, architecture: LanguageModel) -> TrainingSettings:
        return training_settings(self.overrides, width=architecture.width, params=count(architecture).params)

    def begin(self, folder: Path, watcher: TrainingWatcher) -> LanguageJob:
        """The training, before its first step.

        Raises:
            InputError: a setting or the architecture cannot be used.
            DataError: the text cannot be used.
        """
        texts = _texts(self._settings(self.architecture), None, watcher.remark)
        watcher.on_data(
            f"data: {texts.train.name}: {counted(len(texts.train.tokens), 'training token')}, "
            f"{len(texts.validation.tokens):,} for validation; vocabulary {len(texts.train.vocabulary):,}"
        )
        architecture = _sized(self.architecture, len(texts.train.vocabulary), self.width, self.params)
        settings = self._settings(architecture)
        settings = settings.model_copy(update={"threads": settings.threads or torch.get_num_threads()})
        return LanguageJob(folder, architecture, settings, texts)


class LanguageFacts(Facts):
    """What the state file says of its tensors."""

    architecture: LanguageModel
    vocabulary: Vocabulary
    settings: TrainingSettings
    tokens: PositiveInt
    averaged: NonNegativeInt

    @classmethod
    def of(cls, facts: dict[str, Any], path: Path) -> LanguageFacts:
        """From a file's facts, whose architecture is one already.

        Raises:
            InputError: they are damaged; the message names the file.
        """
        with checkpoint.understood(path):
            return cls.model_validate(facts | {"vocabulary": Vocabulary.from_json(facts["vocabulary"])})

    @property
    def device(self) -> torch.device:
        """Where to train."""
        _alone()
        return choose_device(self.settings.device)

    def write_curve(self, folder: Path) -> None:
        """The curve, from the state."""
        write_curve(folder, self.course)

    def result(self, folder: Path) -> LanguageResult:
        """What an ended training left."""
        return LanguageResult(folder, self.architecture, self.course, self.tokens, self.settings.data.spec)

    def again(self, folder: Path, tensors: Mapping[str, Tensor], watcher: TrainingWatcher) -> LanguageJob:
        """The training as it stands.

        Raises:
            DataError: the text is gone or has changed.
            InputError: the tensors do not fit; the message names the file.
        """
        texts = _texts(self.settings, self.vocabulary, watcher.remark)
        if texts.fingerprint != self.fingerprint:
            raise DataError(
                f"{self.settings.data.spec}: the text is not the one that {folder} began with; restore it, or train "
                "anew"
            )
        job = LanguageJob(folder, self.architecture, self.settings, texts)
        self._restore(job.learner, tensors, folder / STATE_FILE)
        return job

    def _restore(self, learner: TextLearner, tensors: Mapping[str, Tensor], path: Path) -> None:
        average = {name.removeprefix(AVERAGE): tensor for name, tensor in tensors.items() if name.startswith(AVERAGE)}
        checkpoint.fill(learner.network, {n: t for n, t in tensors.items() if not n.startswith(AVERAGE)}, path)
        if average:
            learner.start_averaging()
            assert learner.average is not None, "averaging has just begun"
            checkpoint.fill(learner.average.module, average, path)
            learner.average.n_averaged.fill_(self.averaged)
        learner.curve = list(self.curve)


def _alone() -> None:
    if announced().count > 1:
        raise InputError(f"language models train in one process, and torchrun started {announced().count}")


def _texts(settings: TrainingSettings, vocabulary: Vocabulary | None, remark: Callable[[str], None]) -> Texts:
    data = settings.data
    prepared = open_text(data.spec, level=data.level, tokens=data.tokens).tokens == "spaces"
    min_count = data.min_count or (1 if prepared else 2)

    def split(name: str, known: Vocabulary | None) -> EncodedText:
        return load_text_split(
            data.spec,
            name,
            known,
            level=data.level,
            tokens=data.tokens,
            max_vocabulary=data.max_vocabulary,
            min_count=min_count,
        )

    train_text = split("train", vocabulary)
    validation = split("validation", train_text.vocabulary)
    repeated = repeated_lines(train_text.tokens, validation.tokens, train_text.vocabulary)
    for note in dict.fromkeys((*train_text.notes, *validation.notes, *repeated)):
        remark(note)
    return Texts(train_text, validation)


def _sized(architecture: LanguageModel, vocabulary: int, width: int | None, params: int | None) -> LanguageModel:
    if width is not None and params is not None:
        raise InputError(f"width {width} and {params:,} parameters: give one of them")
    sized = language_model(architecture, vocabulary=vocabulary, width=width)
    return sized if params is None else widest(sized, params)


def _learner(architecture: LanguageModel, settings: TrainingSettings, texts: Texts) -> TextLearner:
    recipe, end, device = settings.recipe, texts.train.vocabulary.end, choose_device(settings.device)
    data = (
        Streams.of(texts.train.tokens, recipe.batch, end=end, device=device, trim=True),
        Streams.of(texts.validation.tokens, recipe.validation_batch, end=end, device=device),
    )
    return TextLearner(build(architecture, seed=settings.seed).to(device), recipe, data, seed=settings.seed)
