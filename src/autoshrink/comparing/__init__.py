"""Strategies held against each other: equal training MACs, paired seeds, what they find judged on samples none saw."""

from autoshrink.comparing.comparison import Comparison, compare
from autoshrink.comparing.plan import Plan, Variant, variants

__all__ = ["Comparison", "Plan", "Variant", "compare", "variants"]
