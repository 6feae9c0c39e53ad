"""The training loop of K networks that learn as one program, by the rules of `autoshrink.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from autoshrink.architecture import Architecture
from autoshrink.score import TIME_LIMIT
from autoshrink.training.loop import (
    Batch,
    Clock,
    Course,
    DeadlineError,
    Pass,
    Stops,
    TrainingError,
    Validation,
    advance,
    conclude,
)


@dataclass(frozen=True)
class PopulationBatch:
    """One training step of every live candidate, on the device and not waited for.

    Attributes:
        losses: mean loss of each, before the step, nats; shape (K,), detached.
        samples: how many training samples each saw.
    """

    losses: Tensor
    samples: int


class Population(Protocol):
    """K networks that learn as one program; like `Learner`, with a leading axis of live candidates.

    Every candidate learns as it would alone: nothing that becomes of one (NaN included) reaches another.

    Attributes:
        size: K, the live candidates.
        seen: training samples so far of a live candidate, repeats counted.
        validated: validation samples so far of each live candidate.
        epoch_samples: training samples of one epoch, of each.
        guess_loss: loss of guessing uniformly, nats.
    """

    size: int
    seen: int
    validated: int
    epoch_samples: int
    guess_loss: float

    def epoch(self, epoch: int) -> Iterator[PopulationBatch]:
        """Train one pass, a step of all each time the iterator is asked for one; epochs are numbered from 0."""
        ...

    def validate(self) -> list[Validation]:
        """Measure each without training."""
        ...

    def keep(self, positions: Sequence[int]) -> None:
        """Between two epochs: go on with these only (ascending, at least one); the others cost nothing any more."""
        ...


@runtime_checkable
class Populations(Protocol):
    """A problem that can train candidates together, which is a thing that problems need not be able to."""

    def groups(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> list[list[int]]:
        """Positions of those that can be one population; each position once."""
        ...

    def population(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> Population:
        """The learners of one group, or of some of it, as one program."""
        ...


Outcome = Course | str
"""A finished training, or why it failed."""


def fit_population(
    population: Population,
    stops: Stops,
    *,
    clock: Clock | None = None,
    on_epoch: Callable[[int, Course], None] = lambda _, __: None,
) -> Iterator[tuple[int, Outcome, int, int]]:
    """Train each until an early stop of its own or the last epoch.

    What a candidate gets is what `fit` gives it alone. Nothing waits for the device within an epoch, so no rule may
    look at its batches (`Stops.accuracy`).

    Args:
        population: what is trained.
        stops: when to end each.
        clock: time limits. The candidate's is for what one has used: those that live share the wall time equally.
        on_epoch: called after every epoch with each candidate's first position and its course so far.

    Yields:
        As each ends: its position in the population as it was given, its course or the reason of its failure, its
        training samples, and its validation samples. Samples count as they do alone: to the batch that failed.

    Raises:
        DeadlineError: the search's deadline passed.
    """
    assert stops.accuracy is None, "batches are read at the end of an epoch"
    clock = clock or Clock()
    live = [_Candidate(position) for position in range(population.size)]
    began = clock.now()
    limit = began + (clock.candidate - began) * len(live)
    while live:
        sharing = len(live)
        in_time = _train(population, live, stops, clock=clock, limit=limit)
        live = yield from _ended(population, live)
        if live and in_time:
            _validate(population, live, stops, on_epoch)
        elif live:
            for candidate in live:
                candidate.course = replace(candidate.course, ended=TIME_LIMIT)
                candidate.conclude(stops, population.guess_loss)
        now = clock.now()
        live = yield from _ended(population, live)
        limit = now + (limit - now) * len(live) / sharing


class _Candidate:
    """What the loop knows of one."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.course = Course()
        self.outcome: Outcome | None = None
        self.seen = 0
        self.learning = False
        self.running_loss = 0.0
        self._pass: Pass | None = None

    def begin(self, stops: Stops, guess_loss: float) -> None:
        """The next epoch."""
        self._pass = Pass(stops, len(self.course.curve), guess_loss)
        self.learning = True

    def add(self, batch: Batch) -> None:
        """One training step, unless the candidate has left the epoch."""
        if not self.learning:
            return
        assert self._pass is not None
        self.seen += batch.samples
        try:
            self.learning = not self._pass.add(batch)
        except TrainingError as error:
            self.outcome, self.learning = str(error), False

    def end(self) -> None:
        """The epoch is over."""
        assert self._pass is not None
        self.learning = False
        try:
            self.running_loss = self._pass.end()
        except TrainingError as error:
            self.outcome = self.outcome or str(error)

    def validated(self, validation: Validation, stops: Stops) -> bool:
        """What the epoch has come to; false when it is a failure."""
        try:
            self.course = advance(self.course, validation, stops, self.running_loss)
        except TrainingError as error:
            self.outcome = str(error)
        return self.outcome is None

    def conclude(self, stops: Stops, guess_loss: float) -> None:
        """No epoch more."""
        try:
            self.outcome = conclude(self.course, stops, guess_loss)
        except TrainingError as error:
            self.outcome = str(error)


def _train(population: Population, live: list[_Candidate], stops: Stops, *, clock: Clock, limit: float) -> bool:
    """One pass; false when the candidates' time was up before its end."""
    for candidate in live:
        candidate.begin(stops, population.guess_loss)
    batches = population.epoch(len(live[0].course.curve))
    unread: list[PopulationBatch] = []
    while True:
        now = clock.now()
        if now > clock.search:
            raise DeadlineError
        if now > limit:
            _read(unread, live)
            return False
        batch = next(batches, None)
        if batch is None:
            break
        unread.append(batch)
    _read(unread, live)
    for candidate in live:
        candidate.end()
    return True


def _read(batches: list[PopulationBatch], live: list[_Candidate]) -> None:
    """Fetch what the device has found, in one transfer."""
    if not batches:
        return
    losses = torch.stack([batch.losses for batch in batches]).tolist()
    for batch, values in zip(batches, losses, strict=True):
        for candidate, loss in zip(live, values, strict=True):
            candidate.add(Batch(loss, batch.samples))


def _validate(
    population: Population, live: list[_Candidate], stops: Stops, on_epoch: Callable[[int, Course], None]
) -> None:
    for candidate, validation in zip(live, population.validate(), strict=True):
        if not candidate.validated(validation, stops):
            continue
        on_epoch(candidate.position, candidate.course)
        if candidate.course.ended is not None or len(candidate.course.curve) >= stops.epochs:
            candidate.conclude(stops, population.guess_loss)


def _ended(
    population: Population, live: list[_Candidate]
) -> Generator[tuple[int, Outcome, int, int], None, list[_Candidate]]:
    """Yield those that have an outcome; the others, to which the population is cut down."""
    going_on = [place for place, candidate in enumerate(live) if candidate.outcome is None]
    validated = population.validated
    # Cut down first: whoever takes an outcome may let time pass.
    if going_on and len(going_on) < len(live):
        population.keep(going_on)
    for candidate in live:
        if candidate.outcome is not None:
            yield candidate.position, candidate.outcome, candidate.seen, validated
    return [live[place] for place in going_on]
