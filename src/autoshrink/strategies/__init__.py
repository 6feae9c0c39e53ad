"""Search strategies: they propose cells and learn from evaluations. Pure: no I/O, no torch, no clock."""

from autoshrink.strategies.autoshrink import AutoShrink
from autoshrink.strategies.base import Choice, Proposal, Strategy

__all__ = ["AutoShrink", "Choice", "Proposal", "Strategy"]
