"""Search small, accurate neural networks by shrinking the wiring of a cell.

    run = autoshrink.search({"data": {"spec": "photos/", "size": 32}}, run="runs/photos")
    print(run.best())

What needs torch is imported when it is first asked for, so that looking at a run starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoshrink.architecture import Architecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings
from autoshrink.cost import Cost, count
from autoshrink.errors import AutoshrinkError, DataError, InputError, RunError, SearchError
from autoshrink.loading import load
from autoshrink.record import RunRecord
from autoshrink.score import Evaluation, Score
from autoshrink.store import read_record
from autoshrink.version import __version__
from autoshrink.watching import Observer, Watcher

if TYPE_CHECKING:
    from autoshrink.launch import resume, search
    from autoshrink.networks import build

__all__ = [
    "Architecture",
    "AutoshrinkError",
    "Cell",
    "Cost",
    "DataError",
    "Evaluation",
    "InputError",
    "Observer",
    "RunError",
    "RunRecord",
    "Score",
    "SearchError",
    "SearchSettings",
    "Watcher",
    "__version__",
    "build",
    "count",
    "load",
    "proxy_architecture",
    "read_record",
    "resume",
    "search",
]

_NEED_TORCH = {"build": "autoshrink.networks", "resume": "autoshrink.launch", "search": "autoshrink.launch"}


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(import_module(_NEED_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
