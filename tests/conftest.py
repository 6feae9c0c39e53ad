"""What a module of tests registers, and the plug-ins that it loads, are gone when it ends: a run records them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from autoshrink import registry
from autoshrink.architecture import base
from autoshrink.data.sources import SOURCES
from autoshrink.design import DESIGNS
from autoshrink.ops import OPERATIONS
from autoshrink.registry import EVALUATORS, EXECUTORS, FILTERS, STRATEGIES, TASKS
from autoshrink.resources import RESOURCES

DOORS = (DESIGNS, EVALUATORS, EXECUTORS, FILTERS, OPERATIONS, RESOURCES, SOURCES, STRATEGIES, TASKS)


@pytest.fixture(autouse=True, scope="module")
def only_own_parts() -> Iterator[None]:
    """Every door as it was, afterwards."""
    # Kinds of architectures come with the classes that have them.
    tables: list[dict[Any, Any]] = [*(door._parts for door in DOORS), registry._LOADED, base._CLASSES]
    before = [dict(table) for table in tables]
    yield
    for table, parts in zip(tables, before, strict=True):
        table.clear()
        table.update(parts)
