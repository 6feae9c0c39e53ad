"""Search spaces: where a search starts, and what may be made of a design. Pure values: no I/O, no torch."""

from autoshrink.spaces.base import Decision, Space
from autoshrink.spaces.cells import CellSpace
from autoshrink.spaces.choosing import space_of
from autoshrink.spaces.networks import AtBudget, NetworkSpace

__all__ = ["AtBudget", "CellSpace", "Decision", "NetworkSpace", "Space", "space_of"]
