"""Crafting: a cell stacked into stages, or a hand-made network, scaled to budgets before anything is trained."""

from autoshrink.crafting.budget import Budget, Larger, Measure, Scaling, Use
from autoshrink.crafting.crafting import Crafted, Part, Source, craft, crafted

__all__ = ["Budget", "Crafted", "Larger", "Measure", "Part", "Scaling", "Source", "Use", "craft", "crafted"]
