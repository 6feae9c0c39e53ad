"""The final training of a language model on a whole text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from autoshrink.architecture import Architecture, LanguageModel, language_model, recurrent_proxy
from autoshrink.bundle import TextInterface
from autoshrink.cell import Cell
from autoshrink.config import TrainingSettings, training_settings
from autoshrink.cost import count, widest
from autoshrink.data import EncodedText, Vocabulary, load_text_split, open_text, repeated_lines
from autoshrink.data.carving import Ledger
from autoshrink.data.text_opening import has_test_text
from autoshrink.errors import InputError
from autoshrink.final.base import FinalProblem, Request, TaskTraining, TrainingWatcher
from autoshrink.metrics import EpochFigures
from autoshrink.networks import build
from autoshrink.quantity import counted
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, text_stops

DRAFT_VOCABULARY, WIDTH = 2, 200
"""Of the language model that a lone cell becomes: until the text's vocabulary is known; the paper's."""
Texts = tuple[EncodedText, EncodedText]
"""For training and for validation."""


class TextTraining(TaskTraining):
    """See `TaskTraining`."""

    settings = TrainingSettings

    def begin(self, request: Request, watcher: TrainingWatcher) -> FinalProblem:
        """Read and encode the text; the vocabulary becomes its own."""
        target = request.target
        if isinstance(target, Cell):
            target = recurrent_proxy(target, vocabulary=DRAFT_VOCABULARY, width=WIDTH)
        assert isinstance(target, LanguageModel), "the task's own"

        def settings_of(architecture: LanguageModel) -> TrainingSettings:
            return training_settings(request.overrides, width=architecture.width, params=count(architecture).params)

        texts = _texts(settings_of(target), None, watcher.remark)
        train, validation = texts
        watcher.on_data(
            f"data: {train.name}: {counted(len(train.tokens), 'training token')}, "
            f"{len(validation.tokens):,} for validation; vocabulary {len(train.vocabulary):,}"
        )
        architecture = _sized(target, len(train.vocabulary), **request.sizes)
        settings = settings_of(architecture)
        settings = settings.model_copy(update={"threads": settings.threads or torch.get_num_threads()})
        return self._problem(architecture, settings, texts)

    def again(
        self,
        architecture: Architecture,
        settings: TrainingSettings,
        interface: TextInterface,
        ledger: Ledger | None,
        watcher: TrainingWatcher,
    ) -> FinalProblem:
        """See `TaskTraining`."""
        del ledger
        assert isinstance(architecture, LanguageModel), "the task's own"
        return self._problem(architecture, settings, _texts(settings, interface.vocabulary, watcher.remark))

    def _problem(self, architecture: LanguageModel, settings: TrainingSettings, texts: Texts) -> FinalProblem:
        train, validation = texts
        recipe, end, device = settings.recipe, train.vocabulary.end, self.device(settings.device)
        streams = (
            Streams.of(train.tokens, recipe.batch, end=end, device=device, trim=True),
            Streams.of(validation.tokens, recipe.validation_batch, end=end, device=device),
        )
        network = build(architecture, seed=settings.seed).to(device)
        return FinalProblem(
            architecture=architecture,
            settings=settings,
            interface=TextInterface(train.vocabulary),
            learner=TextLearner(network, recipe, streams, seed=settings.seed),
            stops=replace(text_stops(recipe, architecture.vocabulary), worst=None),
            fingerprint=[train.fingerprint, validation.fingerprint],
            validation_samples=len(validation.tokens),
        )

    def tested(self, settings: TrainingSettings) -> bool:
        """Whether a test text was given, or is taken out of the text."""
        return has_test_text(settings.data.spec)

    def files(
        self, curve: Sequence[float], figures: Sequence[EpochFigures], kept: int
    ) -> dict[str, str | dict[str, Any]]:
        """The perplexities."""
        del figures, kept
        return {"curve.json": {"validation_perplexity": [round(math.exp(min(-one, 700.0)), 4) for one in curve]}}


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
    return train_text, validation


def _sized(architecture: LanguageModel, vocabulary: int, width: int | None, params: int | None) -> LanguageModel:
    if width is not None and params is not None:
        raise InputError(f"width {width} and {params:,} parameters: give one of them")
    sized = language_model(architecture, vocabulary=vocabulary, width=width)
    return sized if params is None else widest(sized, params)
