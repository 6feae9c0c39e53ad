"""Rank correlations: by hand, laws, and what is refused."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.ranking import kendall, spearman, spearman_interval

Correlation = Callable[[Sequence[float], Sequence[float]], float]
PAIRS = st.integers(3, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-4, 4).map(float), min_size=n, max_size=n)] * 2)
)
"""Few values, so that most have ties."""


def test_by_hand() -> None:
    """Ranks 1 2 3 4 against 2 1 4 3: ρ = 1 − 6·4/(4·15), four of six pairs concordant."""
    x, y = [1.0, 2.0, 3.0, 4.0], [5.0, 1.0, 80.0, 7.0]
    assert spearman(x, y) == pytest.approx(0.6)
    assert kendall(x, y) == pytest.approx((4 - 2) / 6)


def test_by_hand_with_a_tie() -> None:
    """x ties one of three pairs; the other two are concordant: τ-b = 2/√(2·3), ρ = 1.5/√(1.5·2)."""
    x, y = [1.0, 1.0, 2.0], [1.0, 2.0, 3.0]
    assert kendall(x, y) == pytest.approx(2 / math.sqrt(6))
    assert spearman(x, y) == pytest.approx(1.5 / math.sqrt(3))


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_what_is_constant_orders_nothing(correlation: Correlation) -> None:
    assert correlation([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == correlation([1.0, 2.0, 3.0], [-math.inf] * 3) == 0.0


@given(PAIRS)
@settings(deadline=None)
def test_only_the_order_matters(pairs: tuple[list[float], list[float]]) -> None:
    x, y = (np.array(values) for values in pairs)
    for correlation in (spearman, kendall):
        value = correlation(x, y)
        assert -1 <= value <= 1
        assert correlation(np.exp(x), y) == pytest.approx(value)
        assert correlation(-x, y) == pytest.approx(-value)
        assert correlation(y, x) == pytest.approx(value)
        assert correlation(x[::-1], y[::-1]) == pytest.approx(value)
        if len(set(pairs[0])) > 1:
            assert correlation(x, x) == pytest.approx(1.0)


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_a_failed_candidate_ranks_last(correlation: Correlation) -> None:
    assert correlation([-math.inf, 1.0, 2.0, -math.inf], [0.0, 1.0, 2.0, 0.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_what_cannot_be_ranked_is_refused(correlation: Correlation) -> None:
    with pytest.raises(ValueError, match="2 pairs are too few"):
        correlation([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="3 and 4 values"):
        correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    for x, y in (([1.0, math.nan, 2.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [math.nan] * 3)):
        with pytest.raises(ValueError, match="no NaN"):
            correlation(x, y)


def test_an_interval_is_that_of_draws_of_pairs() -> None:
    """A second way to it: every draw by `spearman` itself."""
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 6, 12).astype(float), rng.normal(size=12)
    chosen = np.random.default_rng(3).integers(12, size=(200, 12))
    wanted = np.percentile([spearman(x[draw], y[draw]) for draw in chosen], [2.5, 97.5])
    assert spearman_interval(x, y, draws=200, seed=3) == pytest.approx(tuple(wanted))
    assert spearman_interval([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == (0.0, 0.0)
    low, high = spearman_interval(np.arange(30.0), np.arange(30.0))
    assert (low, high) == (1.0, 1.0)
