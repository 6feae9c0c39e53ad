"""Search strategies: they propose cells and learn from evaluations. Pure: no I/O, no torch, no clock."""

from autoshrink.strategies.autoshrink import AutoShrink
from autoshrink.strategies.base import Choice, Proposal, Strategy
from autoshrink.strategies.halving import SuccessiveHalving, entrants

__all__ = ["AutoShrink", "Choice", "Proposal", "Strategy", "SuccessiveHalving", "entrants"]
