"""Rank correlation: how far two ways of measuring agree about the order of things.

Ties get the mean of the ranks they share. A constant input orders nothing, and its correlation is 0.0 here, where SciPy
says NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.float64]


def spearman(x: Values, y: Values) -> float:
    """Spearman's ρ, in [−1, 1]: Pearson's correlation of the ranks of x (n,) and y (n,); 0.0 where one is constant.

    Raises:
        ValueError: the lengths differ, there are fewer than three pairs, or a value is NaN.
    """
    return _correlation("spearmanr", x, y)


def kendall(x: Values, y: Values) -> float:
    """Kendall's τ-b, in [−1, 1]: concordant minus discordant pairs of x (n,) and y (n,), corrected for ties; 0.0 where
    one is constant.

    Raises:
        ValueError: the lengths differ, there are fewer than three pairs, or a value is NaN.
    """
    return _correlation("kendalltau", x, y)


def _correlation(name: str, x: Values, y: Values) -> float:
    if len(x) != len(y):
        raise ValueError(f"a rank correlation takes pairs: there are {len(x)} and {len(y)} values")
    if len(x) < 3:
        raise ValueError(f"{len(x)} pairs are too few for a rank correlation; it takes three")
    if np.isnan(x).any() or np.isnan(y).any():
        raise ValueError("a rank correlation takes no NaN; leave failed candidates out, or give them −infinity")
    if len(np.unique(x)) == 1 or len(np.unique(y)) == 1:
        return 0.0
    from scipy import stats  # noqa: PLC0415 - takes a second to import

    # Rounding may leave a perfect correlation an ulp outside its bounds.
    return float(np.clip(getattr(stats, name)(x, y).statistic, -1.0, 1.0))


def spearman_interval(x: Values, y: Values, *, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of Spearman's ρ: of so many draws of the pairs (n,), with replacement, the 2.5th and
    the 97.5th percentile (Efron 1979). A draw that is constant counts as 0.

    Raises:
        ValueError: as for `spearman`.
    """
    spearman(x, y)
    from scipy import stats  # noqa: PLC0415 - takes a second to import

    chosen = np.random.default_rng(seed).integers(len(x), size=(draws, len(x)))
    ranks = [stats.rankdata(np.asarray(values, dtype=float)[chosen], axis=1) for values in (x, y)]
    first, second = (one - one.mean(axis=1, keepdims=True) for one in ranks)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    found = np.divide((first * second).sum(axis=1), scale, out=np.zeros(draws), where=scale > 0)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
