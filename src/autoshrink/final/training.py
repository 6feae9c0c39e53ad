"""The final training of one architecture on a whole text, in a folder, resumable."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autoshrink.architecture import Architecture, LanguageModel, language_model
from autoshrink.config import Overrides, TrainingSettings, merge, training_settings
from autoshrink.cost import count, widest
from autoshrink.data import EncodedText, Vocabulary, load_text_split, open_text
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.final.folder import STATE_FILE, Job, State, Texts, locked, restore, save_best, save_state, write_curve
from autoshrink.networks import build
from autoshrink.training import checkpoint
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.language_model import MODEL_FILE
from autoshrink.training.loop import Batch, Course, TrainingError, Validation, fit
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, text_stops


@dataclass(frozen=True)
class Epoch:
    """An epoch that is done.

    Attributes:
        number: from 1.
        epochs: how many there are at most.
        performance: −ln validation perplexity.
        best: the highest so far.
        tokens: training tokens of an epoch.
        seconds: it took.
        averaging: whether averaged weights were measured (NT-ASGD).
    """

    number: int
    epochs: int
    performance: float
    best: float
    tokens: int
    seconds: float
    averaging: bool


@dataclass(frozen=True)
class TrainingWatcher:
    """Who watches a training.

    Attributes:
        on_start: told the architecture, the tokens of the training text, and the epochs done before.
        on_batch: told epoch (from 1), training tokens done in it, and how many an epoch has.
        on_epoch: told of every finished epoch.
        remark: told what a person should know.
    """

    on_start: Callable[[LanguageModel, int, int], None] = lambda *_: None
    on_batch: Callable[[int, int, int], None] = lambda *_: None
    on_epoch: Callable[[Epoch], None] = lambda _: None
    remark: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    Attributes:
        folder: where.
        architecture: what was trained.
        course: performance after every epoch, and why it ended.
        tokens: of the training text.
    """

    folder: Path
    architecture: LanguageModel
    course: Course
    tokens: int

    @property
    def performance(self) -> float:
        """−ln validation perplexity of the best epoch."""
        return max(self.course.curve)

    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink train --json``."""
        return {
            "folder": str(self.folder),
            "model": str(self.folder / MODEL_FILE),
            "perplexity": math.exp(min(-self.performance, 700.0)),
            "loss": -self.performance,
            "epoch": self.course.curve.index(self.performance) + 1,
            "epochs": len(self.course.curve),
            "ended": self.course.ended,
            "params": count(self.architecture).params,
            "vocabulary": self.architecture.vocabulary,
            "width": self.architecture.width,
            "training_tokens": self.tokens,
        }


def train(
    architecture: Architecture,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str],
    width: int | None = None,
    params: int | None = None,
    watcher: TrainingWatcher | None = None,
) -> TrainingResult:
    """Train a language model on a text.

    Args:
        architecture: what to train; its vocabulary becomes the text's.
        overrides: nested settings, for example ``{"data": {"spec": "ptb"}, "recipe": {"epochs": 10}}``.
        out: the folder; made if need be.
        width: embedding and hidden size instead of the architecture's.
        params: or the largest width with at most so many parameters.
        watcher: told about progress.

    Raises:
        InputError: a setting or the architecture cannot be used.
        DataError: the text cannot be used.
        RunError: the folder holds a training, is in use, or cannot be written; or the training diverged.
    """
    watcher, folder = watcher or TrainingWatcher(), Path(out)
    if not isinstance(architecture, LanguageModel):
        raise InputError(
            f"this version trains language models, not {architecture.kind} networks; give a recurrent architecture"
        )
    asked = _anchored(overrides or {})
    draft = training_settings(asked, width=architecture.width, params=count(architecture).params)
    device = choose_device(draft.device)
    with locked(folder):
        if (folder / STATE_FILE).exists() or (folder / MODEL_FILE).exists():
            begun = (folder / STATE_FILE).exists()
            way_out = f"go on with `autoshrink resume {folder}` or choose" if begun else "choose"
            raise RunError(f"{folder}: holds a {'training' if begun else 'model'} already; {way_out} another folder")
        texts = _texts(draft, None, watcher.remark)
        architecture = _sized(architecture, len(texts.train.vocabulary), width, params)
        settings = training_settings(asked, width=architecture.width, params=count(architecture).params)
        settings = settings.model_copy(update={"threads": settings.threads or torch.get_num_threads()})
        learner, job = _learner(architecture, settings, texts, device), Job(folder, architecture, settings, texts)
        # From here on the training can be resumed, also when it is stopped within its first epoch.
        save_state(job, learner, Course())
        return _fit(job, learner, Course(), watcher)


def resume_training(folder: str | os.PathLike[str], *, watcher: TrainingWatcher | None = None) -> TrainingResult:
    """Go on with a training from its last finished epoch; a finished one is returned as it is.

    Raises:
        InputError: there is no training in the folder, or its checkpoint is damaged.
        DataError: the text is gone or has changed.
        RunError: the folder is in use or cannot be written.
    """
    watcher, folder = watcher or TrainingWatcher(), Path(folder)
    if not (folder / STATE_FILE).exists():
        raise InputError(f"{folder}: holds no training; `autoshrink train` begins one")
    with locked(folder):
        tensors, facts = checkpoint.load(folder / STATE_FILE)
        state = State.of(facts, folder / STATE_FILE)
        architecture, settings = state.architecture, state.settings
        course = Course(state.curve, _best(state.curve), state.ended)
        if state.ended:
            # A process that was killed right after its last save may have left an older one.
            write_curve(folder, course)
            watcher.remark(f"{folder} is finished: nothing to do")
            return TrainingResult(folder, architecture, course, state.tokens)
        device = choose_device(settings.device)
        texts = _texts(settings, state.vocabulary, watcher.remark)
        if texts.fingerprint != state.fingerprint:
            raise DataError(
                f"{settings.data.spec}: the text is not the one that {folder} began with; restore it, or train anew"
            )
        learner = _learner(architecture, settings, texts, device)
        restore(learner, tensors, state, folder / STATE_FILE)
        return _fit(Job(folder, architecture, settings, texts), learner, course, watcher)


def _anchored(overrides: Overrides) -> dict[str, Any]:
    """Settings that mean the same from any folder."""
    data = overrides.get("data", {})
    spec = data.get("spec") if isinstance(data, dict) else None
    if isinstance(spec, str) and Path(spec).expanduser().exists():
        return merge(overrides, {"data": {"spec": str(Path(spec).expanduser().resolve())}})
    return dict(overrides)


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
    for note in dict.fromkeys((*train_text.notes, *validation.notes)):
        remark(note)
    return Texts(train_text, validation)


def _sized(architecture: LanguageModel, vocabulary: int, width: int | None, params: int | None) -> LanguageModel:
    if width is not None and params is not None:
        raise InputError(f"width {width} and {params:,} parameters: give one of them")
    sized = language_model(architecture, vocabulary=vocabulary, width=width)
    return sized if params is None else widest(sized, params)


def _learner(
    architecture: LanguageModel, settings: TrainingSettings, texts: Texts, device: torch.device
) -> TextLearner:
    recipe, end = settings.recipe, texts.train.vocabulary.end
    data = (
        Streams.of(texts.train.tokens, recipe.batch, end=end, device=device, trim=True),
        Streams.of(texts.validation.tokens, recipe.validation_batch, end=end, device=device),
    )
    return TextLearner(build(architecture, seed=settings.seed).to(device), recipe, data, seed=settings.seed)


def _fit(job: Job, learner: TextLearner, course: Course, watcher: TrainingWatcher) -> TrainingResult:
    settings = job.settings
    began = time.monotonic()
    done = 0

    def on_batch(batch: Batch) -> None:
        nonlocal done
        done += batch.samples
        watcher.on_batch(len(learner.curve) + 1, done, learner.epoch_samples)

    def on_epoch(now: Course) -> None:
        nonlocal began, course, done
        course = now
        if now.curve.index(max(now.curve)) == len(now.curve) - 1:
            save_best(job, learner, now)
        save_state(job, learner, now)
        seconds, began, done = time.monotonic() - began, time.monotonic(), 0
        epoch = Epoch(
            number=len(now.curve),
            epochs=settings.recipe.epochs,
            performance=now.curve[-1],
            best=max(now.curve),
            tokens=learner.epoch_samples,
            seconds=seconds,
            averaging=learner.evaluated is not learner.network,
        )
        watcher.on_epoch(epoch)

    watcher.on_start(job.architecture, learner.epoch_samples, len(course.curve))
    stops = replace(text_stops(settings.recipe, job.architecture.vocabulary), worst=None)
    try:
        with repeatable(settings.threads):
            course = fit(learner, stops, course=course, on_batch=on_batch, on_epoch=on_epoch)
    except TrainingError as error:
        if not course.curve:
            # Nothing is worth keeping, and the folder is free for another learning rate.
            (job.folder / STATE_FILE).unlink(missing_ok=True)
        kept = f"; {job.folder} keeps the best epoch before" if course.curve else ""
        raise RunError(f"{error}{kept}; try a lower --lr") from error
    save_state(job, learner, course)
    return TrainingResult(job.folder, job.architecture, course, learner.epoch_samples)


def _best(curve: tuple[float, ...]) -> Validation | None:
    return Validation(max(curve), -max(curve)) if curve else None
