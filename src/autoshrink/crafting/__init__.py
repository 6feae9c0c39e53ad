"""Crafting: a cell stacked into stages, or a hand-made network, scaled to budgets before anything is trained."""

from autoshrink.crafting.budget import Budget, Use
from autoshrink.crafting.crafting import craft
from autoshrink.crafting.fitting import Larger
from autoshrink.crafting.result import Crafted, Part
from autoshrink.crafting.sizes import Scalable, Sizes, deepened, divisible, scaled
from autoshrink.crafting.skeleton import default_skeleton

__all__ = [
    "Budget",
    "Crafted",
    "Larger",
    "Part",
    "Scalable",
    "Sizes",
    "Use",
    "craft",
    "deepened",
    "default_skeleton",
    "divisible",
    "scaled",
]
