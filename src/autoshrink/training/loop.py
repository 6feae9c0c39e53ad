"""The training loop of one network, whatever the task: epochs, early stops, time limits, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol


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
        parts: for text, what each part adds to the performance; their mean is the performance.
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
class Course:
    """What a training has given so far.

    Attributes:
        curve: performance after every epoch.
        best: the validation of the best epoch; None before the first.
        ended: why it stopped; None while it goes on.
    """

    curve: tuple[float, ...] = ()
    best: Validation | None = None
    ended: str | None = None

    def after(self, validation: Validation) -> Course:
        """With one epoch more."""
        better = self.best is None or validation.performance > self.best.performance
        return Course((*self.curve, validation.performance), validation if better else self.best)


@dataclass(frozen=True)
class Clock:
    """When to stop, in `now`'s seconds: the candidate with its best epoch so far, or the search at once."""

    candidate: float = math.inf
    search: float = math.inf
    now: Callable[[], float] = time.monotonic


class _Running:
    """Bias-corrected exponential moving average."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        self._sum = self._keep * self._sum + (1 - self._keep) * value
        self._weight = self._keep * self._weight + (1 - self._keep)
        return self._sum / self._weight


def fit(
    learner: Learner,
    stops: Stops,
    *,
    course: Course | None = None,
    clock: Clock | None = None,
    on_batch: Callable[[Batch], None] = lambda _: None,
    on_epoch: Callable[[Course], None] = lambda _: None,
) -> Course:
    """Train until an early stop or the last epoch.

    Args:
        learner: what is trained.
        stops: when to end.
        course: an earlier part of the same training, to go on from; one that has ended is returned as it is.
        clock: time limits.
        on_batch: called after every training step.
        on_epoch: called after every epoch with the course so far, which says so where an early stop has ended it.

    Raises:
        TrainingError: the loss became NaN or diverged, or the candidate's time was up within the first epoch.
        DeadlineError: the search's deadline passed.
    """
    course, clock = course or Course(), clock or Clock()
    while course.ended is None and len(course.curve) < stops.epochs:
        epoch = len(course.curve)
        running_loss = _epoch(learner, stops, epoch, clock=clock, on_batch=on_batch)
        if running_loss is None:
            course = replace(course, ended="time limit")
            break
        validation = learner.validate()
        if not math.isfinite(validation.loss):
            raise TrainingError(f"the validation loss became {validation.loss} after epoch {epoch + 1}")
        course = course.after(validation)
        # Known before anybody is told: a training that is killed after its last epoch does not go on with another.
        course = replace(course, ended=_early_stop(stops, course, validation.loss, running_loss))
        on_epoch(course)
    if course.best is None:
        raise TrainingError("the time limit for a candidate was reached before its first epoch was done")
    if stops.worst is not None and course.best.performance < stops.worst:
        raise TrainingError(
            f"learned nothing: the best validation loss is {course.best.loss:.3g}, that of guessing "
            f"{learner.guess_loss:.3g}"
        )
    return replace(course, ended=course.ended or "all epochs")


def _epoch(
    learner: Learner, stops: Stops, epoch: int, *, clock: Clock, on_batch: Callable[[Batch], None]
) -> float | None:
    """One pass: the running training loss at its end, or None when the candidate's time was up before."""
    losses, accuracies = _Running(stops.smoothing), _Running(stops.smoothing)
    seen, total, running_loss, step = 0, 0.0, math.nan, 0
    batches = learner.epoch(epoch)
    while True:
        if clock.now() > clock.search:
            raise DeadlineError
        if clock.now() > clock.candidate:
            return None
        batch = next(batches, None)
        if batch is None:
            break
        step += 1
        on_batch(batch)
        if not math.isfinite(batch.loss):
            raise TrainingError(f"the training loss became {batch.loss} in epoch {epoch + 1}, batch {step}")
        seen += batch.samples
        total += batch.loss * batch.samples
        running_loss = losses.add(batch.loss)
        if (
            batch.accuracy is not None
            and stops.accuracy is not None
            and accuracies.add(batch.accuracy) > stops.accuracy
        ):
            break
    if seen and total / seen > stops.diverged_ratio * learner.guess_loss:
        raise TrainingError(f"diverged: mean training loss {total / seen:.3g} in epoch {epoch + 1}")
    return running_loss


def _early_stop(stops: Stops, course: Course, loss: float, running_loss: float) -> str | None:
    """Why to stop after this epoch, by the released searches' rules, or None."""
    curve = course.curve
    since_best = len(curve) - 1 - curve.index(max(curve))
    if stops.patience is not None and since_best >= stops.patience:
        return f"no better for {stops.patience} epochs"
    if stops.floor is not None and len(curve) - 1 == stops.floor[0] and curve[-1] < stops.floor[1]:
        return f"accuracy {curve[-1]:.3f} below {stops.floor[1]:.3f} after epoch {len(curve)}"
    if stops.overfit_ratio is not None and not loss <= stops.overfit_ratio * running_loss:
        return f"validation loss above {stops.overfit_ratio:g} training losses"
    return None
