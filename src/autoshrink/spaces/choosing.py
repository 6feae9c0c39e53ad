"""The space that a search's settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoshrink.cell import Cell
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.registry import TASKS
from autoshrink.spaces.base import Space
from autoshrink.spaces.cells import CellSpace

if TYPE_CHECKING:
    from autoshrink.config import SearchSettings


def space_of(settings: SearchSettings, start: Design | None, data: Mapping[str, Any]) -> Space[Any]:
    """The task's own space, or the cells that moves make of a start.

    Args:
        settings: of the search.
        start: where it begins: drawn or read, or what the log has; None where the task's space says it.
        data: its `data` event.

    Raises:
        InputError: there is no such space, or it has not the moves that are asked for.
    """
    own = TASKS[settings.task].space(settings, start, data)
    if own is not None:
        return own
    if not isinstance(start, Cell):
        raise InputError(f"task {settings.task} has no space of {'networks' if start is None else start.kind} designs")
    return CellSpace(start, frozenset(settings.moves or ("edges",)), settings.ops)
