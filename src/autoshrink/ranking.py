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
