"""The training loop of K networks that learn as one program, by the rules of `autoshrink.training.loop.fit`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from autoshrink.architecture import Architecture
from autoshrink.score import TIME_LIMIT
from autoshrink.training.loop import (
    Batch,
    Clock,
    DeadlineError,
    History,
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


Outcome = History | str
"""A finished training, or why it failed."""


def fit_population(
    population: Population,
    stops: Stops,
    *,
    clock: Clock | None = None,
    on_epoch: Callable[[int, History], None] = lambda _, __: None,
) -> Iterator[tuple[int, Outcome, int, int]]:
    """Train each until an early stop of its own or the last epoch.

    What a candidate gets is what `fit` gives it alone. Nothing waits for the device within an epoch, so no rule may
    look at its batches (`Stops.accuracy`).

    Args:
        population: what is trained.
        stops: when to end each.
        clock: time limits. The candidate's is for what one has used: those that live share the wall time equally.
        on_epoch: called after every epoch with each candidate's first position and its history so far.

    Yields:
        As each ends: its position in the population as it was given, its history or the reason of its failure, its
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
        sharing, epoch = len(live), len(live[0].history.curve)
        batches, in_time = _trained(population, epoch, clock, limit)
        # One transfer for the whole epoch: each is a wait for the device.
        losses = torch.stack([batch.losses for batch in batches], dim=1).tolist() if batches else [[]] * sharing
        for candidate, own in zip(live, losses, strict=True):
            taken = [Batch(loss, batch.samples) for loss, batch in zip(own, batches, strict=True)]
            candidate.learn(Pass(stops, epoch, population.guess_loss), taken, whole=in_time)
        live = yield from _ended(population, live)
        found = population.validate() if live and in_time else [None] * len(live)
        for candidate, validation in zip(live, found, strict=True):
            candidate.judge(validation, stops, population.guess_loss, on_epoch)
        now = clock.now()
        live = yield from _ended(population, live)
        limit = now + (limit - now) * len(live) / sharing


@dataclass
class _Candidate:
    """What the loop knows of one."""

    position: int
    history: History = field(default_factory=History)
    seen: int = 0
    running_loss: float = 0.0
    outcome: Outcome | None = None

    def learn(self, rules: Pass, batches: Sequence[Batch], *, whole: bool) -> None:
        """A pass, or the part of one for which there was time."""
        try:
            for batch in batches:
                self.seen += batch.samples
                rules.add(batch)
            if whole:
                self.running_loss = rules.end()
        except TrainingError as error:
            self.outcome = str(error)

    def judge(
        self,
        validation: Validation | None,
        stops: Stops,
        guess_loss: float,
        on_epoch: Callable[[int, History], None],
    ) -> None:
        """What the epoch has come to; None where time was up in it."""
        try:
            if validation is None:
                self.history = replace(self.history, ended=TIME_LIMIT)
            else:
                self.history = advance(self.history, validation, stops, self.running_loss)
                on_epoch(self.position, self.history)
            if self.history.ended is not None or len(self.history.curve) >= stops.epochs:
                self.outcome = conclude(self.history, stops, guess_loss)
        except TrainingError as error:
            self.outcome = str(error)


def _trained(population: Population, epoch: int, clock: Clock, limit: float) -> tuple[list[PopulationBatch], bool]:
    """The steps of one pass, and whether the candidates' time was enough for all of them."""
    steps, batches = population.epoch(epoch), list[PopulationBatch]()
    while True:
        now = clock.now()
        if now > clock.search:
            raise DeadlineError
        if now > limit:
            return batches, False
        batch = next(steps, None)
        if batch is None:
            return batches, True
        batches.append(batch)


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
