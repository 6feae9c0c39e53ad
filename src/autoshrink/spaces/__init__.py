"""Search spaces: where a search starts, and what may be made of a design. Pure values: no I/O, no torch."""

from autoshrink.spaces.base import Space
from autoshrink.spaces.cells import CellSpace

__all__ = ["CellSpace", "Space"]
