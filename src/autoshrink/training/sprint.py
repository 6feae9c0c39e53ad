"""A short training that gets as far as it can: small batches, a learning rate that falls to zero, fresh statistics.

A whole training cut short says little of its end: after a tenth of it small cells are ahead, since they learn faster,
and BN's running statistics lag behind. The same number of samples in smaller batches takes more steps, and a rate that
falls to zero by their end lets the weights settle (benchmarks/sprint.py has the rank correlations).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from autoshrink.training.loop import Batch, Clock, DeadlineError, TrainingError, Validation
from autoshrink.training.problem import SearchLearner

LAST_RATE = 0.02
"""The learning rate falls in a straight line to this share of the recipe's."""
CONSECUTIVE = 8
"""Batches after which the statistics are taken at the end of a sprint."""


def sprint(learner: SearchLearner, epochs: float, clock: Clock) -> int:
    """Train for some epochs, or a part of one, at a falling rate.

    Returns:
        The samples that were passed forward for statistics alone.

    Raises:
        TrainingError: the loss became NaN, or the candidate's time was up.
        DeadlineError: the search's deadline passed.
    """
    for _ in descent(learner, epochs, clock):
        pass
    return learner.recalibrate_statistics(CONSECUTIVE)


def descent(learner: SearchLearner, epochs: float, clock: Clock) -> Iterator[Batch]:
    """The training of a sprint, a step each time the iterator is asked for one.

    Raises:
        TrainingError: the loss became NaN, or the candidate's time was up.
        DeadlineError: the search's deadline passed.
    """
    wanted = max(1, round(epochs * learner.epoch_samples))
    began = learner.seen
    for batch in _batches(learner):
        if clock.now() > clock.search:
            raise DeadlineError
        if clock.now() > clock.candidate:
            raise TrainingError("the time limit for a candidate was reached in a short training")
        if not math.isfinite(batch.loss):
            raise TrainingError(f"the training loss became {batch.loss} in a short training")
        done = learner.seen - began
        learner.scale_learning_rate(max(LAST_RATE, 1 - done / wanted))
        yield batch
        if done >= wanted:
            break


def judged(learner: SearchLearner) -> Validation:
    """Measure on all validation samples after a sprint.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    validation = learner.validate_share(1.0)
    if not math.isfinite(validation.loss):
        raise TrainingError(f"the validation loss became {validation.loss} after a short training")
    return validation


def _batches(learner: SearchLearner) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from learner.epoch(epoch)
        epoch += 1


def limits(deadline: float | None, seconds: float | None) -> Clock:
    """The clock of a training that begins now."""
    return Clock(
        candidate=Clock.candidate if seconds is None else time.monotonic() + seconds,
        search=Clock.search if deadline is None else deadline,
    )
