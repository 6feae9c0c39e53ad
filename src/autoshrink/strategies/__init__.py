"""Search strategies: they propose cells and learn from evaluations. Pure: no I/O, no torch, no clock.

They are made by name (`autoshrink.registry.STRATEGIES`). To add one, register what makes it from a `StrategyContext`.
"""

from autoshrink.strategies.autoshrink import AutoShrink
from autoshrink.strategies.base import Choice, Proposal, Strategy, StrategyContext, best_first, choice, refuse_others
from autoshrink.strategies.halving import SuccessiveHalving, entrants, spread

__all__ = [
    "AutoShrink",
    "Choice",
    "Proposal",
    "Strategy",
    "StrategyContext",
    "SuccessiveHalving",
    "best_first",
    "choice",
    "entrants",
    "refuse_others",
    "spread",
]
