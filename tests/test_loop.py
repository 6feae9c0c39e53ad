"""The loop that every training goes through, with a learner whose figures are made up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink import formatting
from autoshrink.training.loop import Batch, Clock, History, Stops, TrainingError, Validation, fit

BATCHES = 4
FIGURES = st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=12)


class MadeUp:
    """Epoch e has batches of the e-th training loss and is validated with the e-th validation loss."""

    def __init__(self, losses: list[tuple[float, float]], *, epoch: int = 0, guess: float = 5.0) -> None:
        self.seen = self.validated = 0
        self.epoch_samples = 10 * BATCHES
        self.guess_loss = guess
        self.epochs: list[int] = []
        self._losses = losses
        self._epoch = epoch

    def epoch(self, epoch: int) -> Iterator[Batch]:
        self.epochs.append(epoch)
        self._epoch = epoch
        for _ in range(BATCHES):
            self.seen += 10
            yield Batch(self._losses[epoch][0], 10)

    def validate(self) -> Validation:
        self.validated += 7
        loss = self._losses[self._epoch][1]
        return Validation(-loss, loss, parts=(-loss - 1, -loss + 1))


def stops_of(losses: list[tuple[float, float]], **changes: Any) -> Stops:
    return replace(Stops(epochs=len(losses)), **changes)


@given(FIGURES, st.none() | st.integers(1, 3), st.none() | st.floats(0.5, 4), st.none() | st.floats(-9, 0))
@settings(max_examples=200, deadline=None)
def test_going_on_from_any_epoch_is_the_uninterrupted_training(
    losses: list[tuple[float, float]], patience: int | None, ratio: float | None, floor: float | None
) -> None:
    """Whatever ends it, also when the process died right after the epoch that ended it."""
    stops = stops_of(losses, patience=patience, overfit_ratio=ratio, floor=None if floor is None else (1, floor))
    told: list[History] = []
    first = MadeUp(losses)
    whole = fit(first, stops, on_epoch=told.append)
    assert [len(history.curve) for history in told] == list(range(1, len(whole.curve) + 1))
    for history in (History(), *told, whole):
        later: list[History] = []
        second = MadeUp(losses)
        assert fit(second, stops, history=history, on_epoch=later.append) == whole
        assert later == told[len(history.curve) :]
        assert second.epochs == first.epochs[len(history.curve) :]


@given(FIGURES, st.none() | st.integers(1, 3))
@settings(deadline=None)
def test_the_course_is_told_by_hand(losses: list[tuple[float, float]], patience: int | None) -> None:
    """The first of the best epochs is kept; patience counts the epochs since."""
    learner = MadeUp(losses)
    history = fit(learner, stops_of(losses, patience=patience))
    curve = [-validation for _, validation in losses]
    ends = [n for n in range(1, len(curve) + 1) if patience and n - 1 - curve.index(max(curve[:n])) >= patience]
    epochs = min([*ends, len(curve)])
    assert history.curve == tuple(curve[:epochs])
    assert history.ended == (f"no better for {formatting.count(patience or 0, 'epoch')}" if ends else "all epochs")
    best = max(history.curve)
    assert history.best == Validation(best, -best, parts=(best - 1, best + 1))
    assert (learner.seen, learner.validated) == (epochs * 10 * BATCHES, epochs * 7)


def test_every_batch_is_told_once_and_before_its_epoch() -> None:
    losses = [(3.0, 2.0), (2.0, 1.0), (1.0, 0.5)]
    told: list[Batch | History] = []
    fit(MadeUp(losses), stops_of(losses), on_batch=told.append, on_epoch=told.append)
    assert [type(one) for one in told] == ([Batch] * BATCHES + [History]) * 3
    assert [one.loss for one in told if isinstance(one, Batch)] == [loss for loss, _ in losses for _ in range(BATCHES)]


def test_a_running_course_has_not_ended_and_the_last_one_says_why() -> None:
    losses = [(1.0, 1.0)] * 5
    told: list[History] = []
    history = fit(MadeUp(losses), stops_of(losses, patience=2), on_epoch=told.append)
    assert [one.ended for one in told] == [None, None, "no better for 2 epochs"]
    assert history == told[-1]


@pytest.mark.parametrize(("worst", "fails"), [(None, False), (-2.0, False), (-1.999, True)])
def test_a_best_performance_below_the_worst_is_a_failure(worst: float | None, fails: bool) -> None:
    """The best of the epochs counts, and one exactly at the line has learned something."""
    losses = [(2.0, 3.0), (2.0, 2.0), (2.0, 2.5)]
    stops = stops_of(losses, worst=worst)
    if not fails:
        assert fit(MadeUp(losses), stops).curve == (-3.0, -2.0, -2.5)
        return
    with pytest.raises(TrainingError, match=r"learned nothing: the best validation loss is 2, that of guessing 5"):
        fit(MadeUp(losses), stops)


def test_the_worst_counts_where_an_early_stop_or_a_time_limit_ended_it() -> None:
    losses = [(2.0, 3.0)] * 6
    for clock in (Clock(), Clock(candidate=25, now=iter(range(999)).__next__)):
        with pytest.raises(TrainingError, match="learned nothing"):
            fit(MadeUp(losses), stops_of(losses, patience=3, worst=-2.0), clock=clock)


@pytest.mark.parametrize(
    ("ratio", "ended"), [(2.01, "all epochs"), (1.99, "validation loss above 1.99 training losses")]
)
def test_overfitting_is_measured_against_the_running_training_loss(ratio: float, ended: str) -> None:
    losses = [(1.0, 2.0), (1.0, 2.0)]
    history = fit(MadeUp(losses), stops_of(losses, overfit_ratio=ratio))
    assert (history.ended, len(history.curve)) == (ended, 1 if "above" in ended else 2)


def test_the_running_loss_forgets_as_fast_as_it_is_told() -> None:
    """Losses 4 and 1: with smoothing s the running mean is (4·s + 1)/(s + 1), each of weight s and 1."""

    class Falling(MadeUp):
        def epoch(self, epoch: int) -> Iterator[Batch]:
            yield from (Batch(4.0, 1), Batch(1.0, 1))

    for smoothing in (0.0, 0.5, 0.9):
        mean = (4 * smoothing + 1) / (smoothing + 1)
        for factor, ended in ((0.999, "all epochs"), (1.001, "validation loss above 1 training losses")):
            learner = Falling([(0.0, factor * mean)])
            assert fit(learner, Stops(epochs=1, smoothing=smoothing, overfit_ratio=1.0)).ended == ended


@pytest.mark.parametrize("ratio", [3.0, 10.0])
def test_a_mean_loss_of_too_many_guesses_is_a_divergence(ratio: float) -> None:
    """Weighed by samples: a small last batch counts for little."""

    class Uneven(MadeUp):
        def epoch(self, epoch: int) -> Iterator[Batch]:
            yield from (Batch(self._losses[epoch][0], 9), Batch(0.0, 1))

    line = ratio * 5.0 / 0.9
    assert fit(Uneven([(0.999 * line, 1.0)]), Stops(epochs=1, diverged_ratio=ratio)).curve == (-1.0,)
    with pytest.raises(TrainingError, match=rf"diverged: mean training loss {1.001 * ratio * 5:.3g} in epoch 1"):
        fit(Uneven([(1.001 * line, 1.0)]), Stops(epochs=1, diverged_ratio=ratio))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_ends_a_training_by_name(value: float) -> None:
    with pytest.raises(TrainingError, match=f"the training loss became {value} in epoch 2, batch 1"):
        fit(MadeUp([(1.0, 1.0), (value, 1.0)]), Stops(epochs=2))
    with pytest.raises(TrainingError, match=f"the validation loss became {value} after epoch 2"):
        fit(MadeUp([(1.0, 1.0), (1.0, value)]), Stops(epochs=2))
