"""What a final training is made of, whatever the task: what a task gives to it, what it tells, and what it leaves."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from autoshrink.architecture import Architecture
from autoshrink.bundle import MODEL_FILE, Interface
from autoshrink.cell import Cell
from autoshrink.config import FinalSettings, Overrides
from autoshrink.cost import count
from autoshrink.data.carving import Ledger
from autoshrink.errors import InputError
from autoshrink.metrics import EpochFigures
from autoshrink.tasks import Task, task_of
from autoshrink.training.device import choose_device
from autoshrink.training.distributed import Processes, announced
from autoshrink.training.loop import Batch, History, Learner, Stops


@dataclass(frozen=True)
class Epoch:
    """An epoch that is done.

    Attributes:
        task: whose metric `performance` is in.
        number: from 1.
        epochs: how many there are at most.
        performance: higher is better.
        best: the highest so far.
        kept: whether its weights are the model now.
        samples: training samples of an epoch.
        seconds: it took, validation included.
        averaging: whether averaging has begun in the course of the training (NT-ASGD).
    """

    task: Task
    number: int
    epochs: int
    performance: float
    best: float
    kept: bool
    samples: int
    seconds: float
    averaging: bool


@dataclass(frozen=True)
class TrainingWatcher:
    """Who watches a training.

    Attributes:
        on_start: called with the architecture, the samples of an epoch, and the epochs done before.
        on_batch: called with the epoch (from 1), the training samples done in it, and how many an epoch has.
        on_epoch: called with every finished epoch.
        remark: called with what a person should know.
        on_reading: called with how many images are read, and how many there are, before the start.
        on_data: called with a line about what was understood of the data.
    """

    on_start: Callable[[Architecture, int, int], None] = lambda *_: None
    on_batch: Callable[[int, int, int], None] = lambda *_: None
    on_epoch: Callable[[Epoch], None] = lambda _: None
    remark: Callable[[str], None] = lambda _: None
    on_reading: Callable[[int, int], None] = lambda *_: None
    on_data: Callable[[str], None] = lambda _: None


class FinalLearner(Learner, Protocol):
    """A learner that can be stopped, and gone on with to the same last bit."""

    @property
    def evaluated(self) -> nn.Module:
        """The network to judge and to keep."""
        ...

    @property
    def averaging(self) -> bool:
        """Whether averaging has begun in the course of the training."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Train one pass from a step on; see `Learner`."""
        ...

    def learning_rate(self, epoch: int) -> float:
        """Of the last step of an epoch, numbered from 0."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on, as tensors and JSON values, ``averaged`` (steps) among them."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], curve: Sequence[float]) -> None:
        """Go on from what `state` gave, after these epochs' performances.

        Raises:
            RuntimeError: weights do not fit the network.
            ValueError: other tensors do not.
        """


@dataclass(frozen=True)
class Request:
    """What was asked for, before any data are read.

    Attributes:
        target: an architecture or a cell; None where the overrides name a trained model to start from.
        overrides: nested settings.
        sizes: of the network, in place of its own, by name.
    """

    target: Architecture | Cell | None
    overrides: Overrides
    sizes: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class FinalProblem:
    """Data, network and recipe of one training, before a step.

    Attributes:
        architecture: what is trained.
        settings: everything else that decides it.
        interface: what the network's inputs and outputs mean.
        learner: the network with its data.
        stops: when it ends.
        fingerprint: other texts when the data change; a training is gone on with where the first is the same.
        validation_samples: that every epoch is measured on.
        ledger: of the images.
        facts: further ones for the model's file.
        save_every: seconds between two saves within an epoch; infinite where an epoch cannot be gone on with.
        processes: who trains along; the first alone writes.
        after_epoch: called when an epoch was measured.
    """

    architecture: Architecture
    settings: FinalSettings
    interface: Interface
    learner: FinalLearner
    stops: Stops
    fingerprint: list[str]
    validation_samples: int
    ledger: Ledger | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    save_every: float = math.inf
    processes: Processes = field(default_factory=Processes)
    after_epoch: Callable[[], None] = lambda: None


class TaskTraining(ABC):
    """How a task's networks are trained in full: `Task.training` gives it.

    Attributes:
        settings: the class of its settings.
        together: whether several processes can train one network.
    """

    settings: ClassVar[type[FinalSettings]]
    together: ClassVar[bool] = False

    @abstractmethod
    def begin(self, request: Request, watcher: TrainingWatcher) -> FinalProblem:
        """A new training.

        Raises:
            InputError: a setting or the architecture cannot be used.
            DataError: the data cannot be used.
        """

    @abstractmethod
    def again(
        self,
        architecture: Architecture,
        settings: Any,
        interface: Any,
        ledger: Ledger | None,
        watcher: TrainingWatcher,
    ) -> FinalProblem:
        """One that was begun, with its network still at the start: the caller restores the learner's state.

        Raises:
            DataError: the data are gone.
        """

    def device(self, name: str) -> torch.device:
        """Where to train.

        Raises:
            InputError: it cannot be used, or several processes were started and one trains.
        """
        if not self.together and announced().count > 1:
            raise InputError(f"these networks train in one process, and torchrun started {announced().count}")
        return choose_device(name)

    def keeps(self, curve: Sequence[float], validation_samples: int) -> bool:
        """Whether the weights of a curve's last epoch are to be the model: where no other was better."""
        del validation_samples
        return curve[-1] == max(curve)

    def kept_epoch(self, curve: Sequence[float], validation_samples: int) -> int:
        """The epoch, from 1, whose weights are the model after a curve."""
        return max(epoch for epoch in range(1, len(curve) + 1) if self.keeps(curve[:epoch], validation_samples))

    def tested(self, settings: Any) -> bool:
        """Whether there are test data to measure the model on."""
        del settings
        return True

    def files(
        self, curve: Sequence[float], figures: Sequence[EpochFigures], kept: int
    ) -> dict[str, str | dict[str, Any]]:
        """Files about all epochs, by name: a text, or values for a file of JSON."""
        del figures, kept
        return {"curve.json": {"validation_performance": list(curve)}}

    def way_out(self, settings: Any) -> str:
        """What to do where the device has too little memory."""
        del settings
        return "try a smaller --batch"


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    Attributes:
        folder: where.
        architecture: what was trained.
        settings: how, and on what.
        history: performance after every epoch, and why it ended.
        samples: training samples of an epoch: images or tokens.
        validation_samples: that every epoch was measured on.
        figures: of every epoch.
        seconds: it took, over all sessions.
    """

    folder: Path
    architecture: Architecture
    settings: FinalSettings
    history: History
    samples: int
    validation_samples: int
    figures: tuple[EpochFigures, ...]
    seconds: float

    @property
    def task(self) -> Task:
        """What was learned."""
        return task_of(self.architecture)

    @property
    def epoch(self) -> int:
        """Whose weights are the model, from 1."""
        training: TaskTraining = self.task.training()
        return training.kept_epoch(self.history.curve, self.validation_samples)

    @property
    def performance(self) -> float:
        """Of the model on the validation samples."""
        return self.history.curve[self.epoch - 1]

    @property
    def tested(self) -> bool:
        """Whether there are test data to measure the model on."""
        training: TaskTraining = self.task.training()
        return training.tested(self.settings)

    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink train --json``; sizes are those that the architecture has."""
        cost, metric, architecture = count(self.architecture), self.task.metric, self.architecture
        loss = self.figures[self.epoch - 1].loss if self.figures else None
        return {
            "folder": str(self.folder),
            "model": str(self.folder / MODEL_FILE),
            metric.name: min(metric.value(self.performance), HIGHEST),
            "loss": loss,
            "epoch": self.epoch,
            "epochs": len(self.history.curve),
            "ended": self.history.ended,
            "params": cost.params,
            "macs": cost.macs,
            **{name: getattr(architecture, name) for name in SIZES if hasattr(architecture, name)},
            f"training_{metric.sample}s": self.samples,
            "seconds": round(self.seconds, 3),
        }


SIZES = ("classes", "vocabulary", "width")
HIGHEST = math.exp(700.0)
"""Of figures in JSON, which has no infinity."""
