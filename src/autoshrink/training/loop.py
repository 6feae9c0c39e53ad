"""The training loop of one network, whatever the task: epochs, early stops, time limits, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from autoshrink import formatting
from autoshrink.score import TIME_LIMIT


class TrainingError(Exception):
    """This network cannot be trained; the message says why. It ends the candidate and not the search."""


class DeadlineError(Exception):
    """The deadline of the whole search passed in the middle of a training."""


@dataclass(frozen=True)
class Batch:
    """One training step: its mean loss (nats), and the share of samples classified correctly where that is counted."""

    loss: float
    samples: int
    accuracy: float | None = None


@dataclass(frozen=True)
class Validation:
    """The network on all validation samples.

    Attributes:
        performance: higher is better: accuracy, or minus the mean loss of a token.
        loss: mean over samples, nats.
        correct: for images, which were classified correctly.
        parts: for text, what each part adds to the performance; their mean is the performance. For images that are
            judged by it, the probability of the right class of each.
    """

    performance: float
    loss: float
    correct: tuple[bool, ...] | None = None
    parts: tuple[float, ...] | None = None


class Learner(Protocol):
    """A network with its data, optimiser and recipe: what the loop needs of a task.

    Attributes:
        seen: training samples so far, repeats counted; also after a failure.
        epoch_samples: training samples of one epoch.
        validated: validation samples so far.
        guess_loss: loss of guessing uniformly, nats.
    """

    seen: int
    epoch_samples: int
    validated: int
    guess_loss: float

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Train one pass, a batch each time the iterator is asked for one; epochs are numbered from 0."""
        ...

    def validate(self) -> Validation:
        """Measure without training."""
        ...


@dataclass(frozen=True)
class Stops:
    """When a training ends before its last epoch; None for never.

    Attributes:
        epochs: the most there are.
        smoothing: what the running means of training loss and accuracy keep a batch; they restart every epoch.
        accuracy: leave an epoch when the running training accuracy passes this.
        patience: stop after so many epochs in a row without a new best performance.
        floor: (epoch from 0, performance): stop there when the performance is lower.
        overfit_ratio: stop when the validation loss exceeds so many running training losses.
        diverged_ratio: a mean training loss of an epoch above so many times that of guessing is a failure.
        worst: a best performance below this is a failure.
    """

    epochs: int
    smoothing: float = 0.99
    accuracy: float | None = None
    patience: int | None = None
    floor: tuple[int, float] | None = None
    overfit_ratio: float | None = None
    diverged_ratio: float = 10.0
    worst: float | None = None


@dataclass(frozen=True)
class History:
    """What a training has given so far.

    Attributes:
        curve: performance after every epoch.
        best: the validation of the best epoch; None before the first.
        ended: why it stopped; None while it goes on.
        last: the validation of the last epoch; None before the first.
    """

    curve: tuple[float, ...] = ()
    best: Validation | None = None
    ended: str | None = None
    last: Validation | None = None

    def after(self, validation: Validation) -> History:
        """With one epoch more."""
        better = self.best is None or validation.performance > self.best.performance
        return History((*self.curve, validation.performance), validation if better else self.best, last=validation)


@dataclass(frozen=True)
class Clock:
    """When to stop, in `now`'s seconds: the candidate with its best epoch so far, or the search at once."""

    candidate: float = math.inf
    search: float = math.inf
    now: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Position:
    """Where an epoch under way stands: its steps and samples so far, and what its running figures are made of.

    Attributes:
        steps: training steps done.
        samples: in them.
        total: sum of their losses, each times its samples.
        losses: sum and weight of the running loss.
        accuracies: the same of the running accuracy.
    """

    steps: int = 0
    samples: int = 0
    total: float = 0.0
    losses: tuple[float, float] = (0.0, 0.0)
    accuracies: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class UnderWay:
    """An epoch that was begun earlier: where it stands, and the rest of its batches, trained as they are asked for."""

    position: Position
    rest: Iterator[Batch]


class _Running:
    """Bias-corrected exponential moving average; it goes on from a sum and a weight."""

    def __init__(self, keep: float, so_far: tuple[float, float]) -> None:
        self._keep = keep
        self._sum, self._weight = so_far

    def add(self, value: float) -> float:
        self._sum = self._keep * self._sum + (1 - self._keep) * value
        self._weight = self._keep * self._weight + (1 - self._keep)
        return self.value

    @property
    def so_far(self) -> tuple[float, float]:
        return self._sum, self._weight

    @property
    def value(self) -> float:
        return self._sum / self._weight if self._weight else math.nan


class Pass:
    """One network's pass over its training samples, held against the rules that look at batches.

    Args:
        stops: the rules.
        epoch: its number from 0.
        guess_loss: loss of guessing uniformly, nats.
        position: where an earlier part of the pass ended.
    """

    def __init__(self, stops: Stops, epoch: int, guess_loss: float, position: Position | None = None) -> None:
        position = position or Position()
        self._stops = stops
        self._epoch = epoch
        self._guess_loss = guess_loss
        self._losses = _Running(stops.smoothing, position.losses)
        self._accuracies = _Running(stops.smoothing, position.accuracies)
        self._steps, self._samples, self._total = position.steps, position.samples, position.total

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self._steps, self._samples, self._total, self._losses.so_far, self._accuracies.so_far)

    def add(self, batch: Batch) -> bool:
        """Count one training step; true when the epoch is to be left after it.

        Raises:
            TrainingError: its loss is NaN or infinite.
        """
        self._steps += 1
        if not math.isfinite(batch.loss):
            raise TrainingError(
                f"the training loss became {batch.loss} in epoch {self._epoch + 1}, batch {self._steps}"
            )
        self._samples += batch.samples
        self._total += batch.loss * batch.samples
        self._losses.add(batch.loss)
        return (
            batch.accuracy is not None
            and self._stops.accuracy is not None
            and self._accuracies.add(batch.accuracy) > self._stops.accuracy
        )

    def end(self) -> float:
        """The running training loss after the last step.

        Raises:
            TrainingError: the training diverged.
        """
        mean = self._total / self._samples if self._samples else 0.0
        if mean > self._stops.diverged_ratio * self._guess_loss:
            raise TrainingError(f"diverged: mean training loss {mean:.3g} in epoch {self._epoch + 1}")
        return self._losses.value


def advance(history: History, validation: Validation, stops: Stops, running_loss: float) -> History:
    """The history with one epoch more, which says so where an early stop ends it.

    Raises:
        TrainingError: the validation loss is NaN or infinite.
    """
    if not math.isfinite(validation.loss):
        raise TrainingError(f"the validation loss became {validation.loss} after epoch {len(history.curve) + 1}")
    history = history.after(validation)
    return replace(history, ended=_early_stop(stops, history, validation.loss, running_loss))


def conclude(history: History, stops: Stops, guess_loss: float) -> History:
    """The course of a training that is over, for whatever reason.

    Raises:
        TrainingError: its time was up within the first epoch, or it learned nothing.
    """
    if history.best is None:
        raise TrainingError("the time limit for a candidate was reached before its first epoch was done")
    if stops.worst is not None and history.best.performance < stops.worst:
        raise TrainingError(
            f"learned nothing: the best validation loss is {history.best.loss:.3g}, that of guessing {guess_loss:.3g}"
        )
    return replace(history, ended=history.ended or "all epochs")


def fit(
    learner: Learner,
    stops: Stops,
    *,
    history: History | None = None,
    under_way: UnderWay | None = None,
    clock: Clock | None = None,
    on_batch: Callable[[Batch], None] = lambda _: None,
    on_step: Callable[[Position], None] | None = None,
    on_epoch: Callable[[History], None] = lambda _: None,
) -> History:
    """Train until an early stop or the last epoch.

    Args:
        learner: what is trained.
        stops: when to end.
        history: an earlier part of the same training, to go on from; one that has ended is returned as it is.
        under_way: the epoch after that, where it was begun.
        clock: time limits.
        on_batch: called after every training step.
        on_step: called then with where the epoch stands; from there it can be gone on with.
        on_epoch: called after every epoch with the history so far, which says so where an early stop has ended it.

    Raises:
        TrainingError: the loss became NaN or diverged, or the candidate's time was up within the first epoch.
        DeadlineError: the search's deadline passed.
    """
    history, clock = history or History(), clock or Clock()
    while history.ended is None and len(history.curve) < stops.epochs:
        rules = Pass(stops, len(history.curve), learner.guess_loss, under_way.position if under_way else None)
        batches = under_way.rest if under_way else learner.epoch(len(history.curve))
        under_way = None
        running_loss = _epoch(rules, batches, clock=clock, on_batch=on_batch, on_step=on_step)
        if running_loss is None:
            history = replace(history, ended=TIME_LIMIT)
            break
        # What ended it is known before anybody is told: a training that is killed after its last epoch does not go on
        # with another.
        history = advance(history, learner.validate(), stops, running_loss)
        on_epoch(history)
    return conclude(history, stops, learner.guess_loss)


def _epoch(
    rules: Pass,
    batches: Iterator[Batch],
    *,
    clock: Clock,
    on_batch: Callable[[Batch], None],
    on_step: Callable[[Position], None] | None,
) -> float | None:
    """One pass: the running training loss at its end, or None when the candidate's time was up before."""
    while True:
        if clock.now() > clock.search:
            raise DeadlineError
        if clock.now() > clock.candidate:
            return None
        batch = next(batches, None)
        if batch is None:
            break
        on_batch(batch)
        if rules.add(batch):
            break
        if on_step is not None:
            on_step(rules.position)
    return rules.end()


def _early_stop(stops: Stops, history: History, loss: float, running_loss: float) -> str | None:
    """Why to stop after this epoch, by the released searches' rules, or None."""
    curve = history.curve
    since_best = len(curve) - 1 - curve.index(max(curve))
    if stops.patience is not None and since_best >= stops.patience:
        return f"no better for {formatting.count(stops.patience, 'epoch')}"
    if stops.floor is not None and len(curve) - 1 == stops.floor[0] and curve[-1] < stops.floor[1]:
        return f"accuracy {curve[-1]:.3f} below {stops.floor[1]:.3f} after epoch {len(curve)}"
    if stops.overfit_ratio is not None and not loss <= stops.overfit_ratio * running_loss:
        return f"validation loss above {stops.overfit_ratio:g} training losses"
    return None
