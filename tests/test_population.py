"""Candidates trained as one program: each ends as it does alone. Figures are made up here; networks are compared in
`test_text_population.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.training.loop import Batch, Clock, DeadlineError, History, Stops, TrainingError, Validation, fit
from autoshrink.training.population import Outcome, PopulationBatch, fit_population

Result = tuple[Outcome, int, int]


def _fitted(learner: Any, stops: Stops, clock: Clock | None = None) -> Result:
    try:
        outcome: Outcome = fit(learner, stops, clock=clock)
    except TrainingError as error:
        outcome = str(error)
    return outcome, learner.seen, learner.validated


Figures = list[list[tuple[float, float]]]
"""Loss and validation loss: an epoch of batches of them, the last batch's for validation."""


class _Watch:
    """A clock that training moves on."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class _MadeUp:
    """One candidate with made-up figures, alone; a batch costs a second."""

    def __init__(self, figures: Figures, watch: _Watch | None = None) -> None:
        self._watch = watch or _Watch()
        self.figures = figures
        self.seen = self.validated = self._epoch = 0
        self.epoch_samples, self.guess_loss = 30, 5.0

    def epoch(self, epoch: int) -> Iterator[Batch]:
        self._epoch = epoch
        for loss, _ in self.figures[epoch]:
            self.seen += 10
            self._watch.time += 1
            yield Batch(loss, 10)

    def validate(self) -> Validation:
        self.validated += 7
        loss = self.figures[self._epoch][-1][1]
        return Validation(1 / (1 + loss), loss)


class _Together:
    """The same as a population; it notes what it was told. A batch costs a second for each that lives."""

    def __init__(self, every: list[Figures], watch: _Watch | None = None) -> None:
        self._watch = watch or _Watch()
        self.live = list(enumerate(every))
        self.size, self.epoch_samples, self.guess_loss = len(every), 30, 5.0
        self.seen = self.validated = self._epoch = 0
        self.trained: list[tuple[int, int]] = []

    def epoch(self, epoch: int) -> Iterator[PopulationBatch]:
        self._epoch = epoch
        for figures in zip(*(figures[epoch] for _, figures in self.live), strict=True):
            self._watch.time += self.size
            self.trained += [(position, epoch) for position, _ in self.live]
            columns = torch.tensor(figures, dtype=torch.float64).T
            yield PopulationBatch(columns[0], 10)

    def validate(self) -> list[Validation]:
        self.validated += 7
        losses = [figures[self._epoch][-1][1] for _, figures in self.live]
        return [Validation(1 / (1 + loss), loss) for loss in losses]

    def keep(self, positions: Sequence[int]) -> None:
        assert positions, "there is no population of none"
        self.live = [self.live[k] for k in positions]
        self.size = len(self.live)


POSITIVE = st.floats(0.1, 60) | st.just(math.nan) | st.floats(0.1, 4)
FIGURES = st.lists(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=3, max_size=3), min_size=5, max_size=5)


SHARE = st.none() | st.floats(0.1, 0.9)
STOPS = st.builds(
    Stops,
    epochs=st.just(5),
    patience=st.none() | st.integers(1, 3),
    overfit_ratio=st.none() | st.floats(0.5, 4),
    floor=st.none() | st.tuples(st.just(1), st.floats(0.1, 0.9)),
    worst=SHARE,
)


@given(st.lists(FIGURES, min_size=1, max_size=4), STOPS)
@settings(max_examples=150, deadline=None)
def test_each_ends_as_it_does_alone(every: list[Figures], stops: Stops) -> None:
    told: list[tuple[int, History]] = []
    together = _Together(every)
    courses_of = fit_population(together, stops, on_epoch=lambda position, history: told.append((position, history)))
    found = {position: (outcome, seen, validated) for position, outcome, seen, validated in courses_of}
    assert len(found) == len(every)
    for position, figures in enumerate(every):
        alone, courses = _MadeUp(figures), list[History]()
        assert repr(found[position]) == repr(_fitted(alone, stops)), "repr, since NaN is not itself"
        with suppress(TrainingError):
            fit(_MadeUp(figures), stops, on_epoch=courses.append)
        assert repr([history for told_to, history in told if told_to == position]) == repr(courses)


def _calm(epochs: int, *, nan_in: int | None = None) -> Figures:
    return [[(math.nan if epoch == nan_in else 1.0, 1.0)] * 3 for epoch in range(epochs)]


def test_who_has_ended_is_trained_no_more() -> None:
    together = _Together([_calm(3), _calm(3, nan_in=1)])
    order = [position for position, *_ in fit_population(together, Stops(epochs=3))]
    assert order == [1, 0]
    assert {epoch for position, epoch in together.trained if position == 1} == {0, 1}


@pytest.mark.parametrize("limit", [0.5, 2.5, 3.5, 4.5, 7.5, 13.5, 99.0])
def test_those_that_live_share_the_time(limit: float) -> None:
    """A batch costs a second for each live candidate: everyone gets as many in its time as alone."""
    every = [_calm(5), _calm(5, nan_in=1), _calm(5), _calm(5, nan_in=0)]
    watch = _Watch()
    together = fit_population(_Together(every, watch), Stops(epochs=5), clock=Clock(limit, now=watch))
    found = {position: (outcome, seen, validated) for position, outcome, seen, validated in together}
    for position in (0, 2):
        alone = _Watch()
        assert found[position] == _fitted(_MadeUp(every[position], alone), Stops(epochs=5), Clock(limit, now=alone))


def test_nan_is_named_also_where_time_was_up() -> None:
    watch = _Watch()
    together = _Together([_calm(2, nan_in=0)], watch)
    found = list(fit_population(together, Stops(epochs=2), clock=Clock(1.5, now=watch)))
    assert found == [(0, "the training loss became nan in epoch 1, batch 1", 10, 0)]


def test_at_the_deadline_of_the_search_it_stops() -> None:
    watch = _Watch()
    courses = fit_population(_Together([_calm(2)], watch), Stops(epochs=2), clock=Clock(search=4.5, now=watch))
    with pytest.raises(DeadlineError):
        next(courses)
    assert watch.time == 5
