"""What holds for every test: no door keeps what a module of tests put into it, laws draw alike, Ctrl-C is heard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from autoshrink import registry
from autoshrink.architecture import base
from autoshrink.data.sources import SOURCES
from autoshrink.design import DESIGNS
from autoshrink.ops import OPERATIONS
from autoshrink.registry import EVALUATORS, EXECUTORS, FILTERS, STRATEGIES, TASKS
from autoshrink.resources import RESOURCES

# A suite that passed passes again; `make fuzz` draws anew.
hypothesis.settings.register_profile("alike", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("alike")
DOORS = (DESIGNS, EVALUATORS, EXECUTORS, FILTERS, OPERATIONS, RESOURCES, SOURCES, STRATEGIES, TASKS)


def pytest_configure() -> None:
    """A job in a shell's background ignores Ctrl-C, and so would each process that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def only_own_parts() -> Iterator[None]:
    """Every door as it was, afterwards: a run records what is registered, and the plug-ins that were loaded."""
    # Kinds of architectures come with the classes that have them.
    tables: list[dict[Any, Any]] = [*(door._parts for door in DOORS), registry._LOADED, base._CLASSES]
    before = [dict(table) for table in tables]
    yield
    for table, parts in zip(tables, before, strict=True):
        table.clear()
        table.update(parts)
