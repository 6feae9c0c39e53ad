"""`train` and `resume_training`: one way in for every task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol, overload

import torch
from torch import Tensor

from autoshrink.architecture import Architecture, ImageArchitecture, LanguageModel
from autoshrink.cell import Cell
from autoshrink.config import Overrides, merge
from autoshrink.data import anchored
from autoshrink.errors import InputError
from autoshrink.files import named
from autoshrink.final.classifier import ClassifierFacts, ClassifierResult
from autoshrink.final.folder import STATE_FILE, locked, refuse_used
from autoshrink.final.job import Job, enough_memory, run
from autoshrink.final.language import LanguageFacts, LanguageResult
from autoshrink.final.watching import TrainingResult, TrainingWatcher
from autoshrink.tasks import TASKS, task_of
from autoshrink.training import checkpoint
from autoshrink.training.distributed import announced, joined


class Request(Protocol):
    """What was asked for, before any data are read."""

    @property
    def device(self) -> torch.device:
        """Where to train."""

    def begin(self, folder: Path, watcher: TrainingWatcher) -> Job:
        """The training, before its first step."""


@overload
def train(
    architecture: LanguageModel,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str],
    width: int | None = None,
    params: int | None = None,
    watcher: TrainingWatcher | None = None,
) -> LanguageResult: ...
@overload
def train(
    architecture: ImageArchitecture | Cell | None = None,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str],
    watcher: TrainingWatcher | None = None,
) -> ClassifierResult: ...
@overload
def train(
    architecture: Architecture | Cell | None = None,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str],
    width: int | None = None,
    params: int | None = None,
    watcher: TrainingWatcher | None = None,
) -> TrainingResult: ...
def train(
    architecture: Architecture | Cell | None = None,
    overrides: Overrides | None = None,
    *,
    out: str | os.PathLike[str],
    width: int | None = None,
    params: int | None = None,
    watcher: TrainingWatcher | None = None,
) -> TrainingResult:
    """Train a language model on a text, or an image classifier on images.

    Started by ``torchrun``, the processes train one classifier together.

    Args:
        architecture: what to train; its vocabulary, or its classes, become the data's. A conv cell becomes the paper's
            proxy network for the images' size. None: that of the classifier in ``start``.
        overrides: nested settings, for example ``{"data": {"spec": "cifar10"}, "recipe": {"epochs": 10}}``; ``"start"``
            is the folder of a trained classifier to go on from with other images.
        out: the folder; made if need be.
        width: embedding and hidden size instead of the architecture's (language models).
        params: or the largest width with at most so many parameters (language models).
        watcher: told about progress.

    Raises:
        InputError: a setting or the architecture cannot be used.
        DataError: the data cannot be used.
        RunError: the folder holds a training, is in use, or cannot be written; or the training diverged.
    """
    folder, request = named(out), _request(architecture, _anchored(overrides or {}), width, params)
    device, mine = request.device, announced().first
    watcher = watcher if watcher is not None and mine else TrainingWatcher()
    with locked(folder, mine=mine):
        if mine:
            refuse_used(folder)
        with joined(device):
            return _begun(request, folder, watcher)


def resume_training(folder: str | os.PathLike[str], *, watcher: TrainingWatcher | None = None) -> TrainingResult:
    """Go on with a training where it was last saved; a finished one is returned as it is.

    Raises:
        InputError: there is no training in the folder, or its checkpoint is damaged.
        DataError: the data are gone or have changed.
        RunError: the folder is in use or cannot be written.
    """
    folder, mine = named(folder), announced().first
    watcher = watcher if watcher is not None and mine else TrainingWatcher()
    if not (folder / STATE_FILE).exists():
        raise InputError(f"{folder}: holds no training; `autoshrink train` begins one")
    with locked(folder, mine=mine):
        tensors, facts = _read(folder / STATE_FILE)
        if facts.ended:
            watcher.remark(f"{folder} is finished: nothing to do")
            if mine:
                # A process that was killed right after its last save may have left an older one.
                facts.write_curve(folder)
            return facts.result(folder)
        with joined(facts.device):
            return _resumed(facts, folder, tensors, watcher)


def _begun(request: Request, folder: Path, watcher: TrainingWatcher) -> TrainingResult:
    with enough_memory():
        job = request.begin(folder, watcher)
    return run(job, watcher)


def _resumed(
    facts: LanguageFacts | ClassifierFacts, folder: Path, tensors: dict[str, Tensor], watcher: TrainingWatcher
) -> TrainingResult:
    with enough_memory():
        job = facts.again(folder, tensors, watcher)
    return run(job, watcher, course=facts.course)


def _read(path: Path) -> tuple[dict[str, Tensor], LanguageFacts | ClassifierFacts]:
    tensors, facts = checkpoint.load(path)
    with checkpoint.understood(path):
        facts["architecture"] = Architecture.from_json(facts["architecture"])
    found: LanguageFacts | ClassifierFacts = task_of(facts["architecture"]).resumed_training(facts, path)
    return tensors, found


def _request(
    target: Architecture | Cell | None, overrides: Overrides, width: int | None, params: int | None
) -> Request:
    # Where nothing is named, a trained classifier is, to start from.
    task = TASKS["image"] if target is None else task_of(target)
    request: Request = task.train_request(target, overrides, width=width, params=params)
    return request


def _anchored(overrides: Overrides) -> dict[str, Any]:
    """Settings that mean the same from any folder."""
    data, start = overrides.get("data", {}), overrides.get("start")
    found = dict(overrides)
    spec = data.get("spec") if isinstance(data, dict) else None
    if isinstance(spec, str):
        named(spec)
        found = merge(found, {"data": {"spec": anchored(spec)}})
    if isinstance(start, str):
        found["start"] = str(named(start).expanduser().resolve())
    return found
