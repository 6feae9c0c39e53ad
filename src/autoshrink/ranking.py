"""Rank correlation: how far two ways of measuring agree about the order of things.

Ties get the mean of the ranks they share. A constant input orders nothing, and its correlation is 0.0 here, where other
libraries say NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.float64]


def average_ranks(values: Values) -> npt.NDArray[np.float64]:
    """(n,) ranks from 1, ascending; equal values share the mean of their ranks."""
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = ((last - counts + 1 + last) / 2.0)[inverse]
    return ranks


def spearman(x: Values, y: Values) -> float:
    """Spearman's ρ, in [−1, 1]: Pearson's correlation of the average ranks of x (n,) and y (n,).

    0.0 where x or y is constant.

    Raises:
        ValueError: the lengths differ, there are fewer than three pairs, or a value is NaN.
    """
    first, second = _paired_ranks(x, y)
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    # Rounding may leave a perfect correlation an ulp outside its bounds.
    return 0.0 if norm == 0 else float(np.clip((first * second).sum() / norm, -1.0, 1.0))


def kendall(x: Values, y: Values) -> float:
    """Kendall's τ-b, in [−1, 1]: concordant minus discordant pairs of x (n,) and y (n,), corrected for ties.

    (C − D) / √((P − T_x)(P − T_y)) with P = n(n − 1)/2 pairs, of which T_x and T_y are tied (Kendall, "The treatment of
    ties in ranking problems", Biometrika 1945). 0.0 where x or y is constant. Takes O(n²) time and memory.

    Raises:
        ValueError: the lengths differ, there are fewer than three pairs, or a value is NaN.
    """
    # Ranks and not values: the difference of two infinite values has no sign.
    first, second = (np.sign(ranks[:, None] - ranks[None, :]) for ranks in _paired_ranks(x, y))
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return 0.0 if norm == 0 else float(np.clip((first * second).sum() / norm, -1.0, 1.0))


def _paired_ranks(x: Values, y: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if len(x) != len(y):
        raise ValueError(f"a rank correlation takes pairs: there are {len(x)} and {len(y)} values")
    if len(x) < 3:
        raise ValueError(f"{len(x)} pairs are too few for a rank correlation; it takes three")
    if np.isnan(x).any() or np.isnan(y).any():
        raise ValueError("a rank correlation takes no NaN; leave failed candidates out, or give them −infinity")
    return average_ranks(x), average_ranks(y)
