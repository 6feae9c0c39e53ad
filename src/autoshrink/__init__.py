"""Search small, accurate neural networks by shrinking the wiring of a cell.

    run = autoshrink.search({"data": {"spec": "photos/", "size": 32}}, run="runs/photos")
    print(run.best())

What needs torch is imported when it is first asked for, so that looking at a run starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoshrink.architecture import (
    Architecture,
    ConvArchitecture,
    ImageArchitecture,
    LibraryArchitecture,
    MobileArchitecture,
    RecurrentArchitecture,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings
from autoshrink.cost import Cost, count, widest
from autoshrink.crafting import Crafted, craft, default_skeleton
from autoshrink.errors import AutoshrinkError, DataError, InputError, RunError, SearchError
from autoshrink.loading import load
from autoshrink.record import RunRecord
from autoshrink.score import Evaluation, Score
from autoshrink.store import read_record
from autoshrink.version import __version__
from autoshrink.watching import Observer, Watcher

if TYPE_CHECKING:
    from autoshrink.deploy.exporting import export, export_source
    from autoshrink.deploy.predict import OnnxClassifier, OnnxLanguageModel
    from autoshrink.evaluating import evaluate
    from autoshrink.final import resume_training, train
    from autoshrink.generation import generate
    from autoshrink.launch import resume, search
    from autoshrink.networks import build

__all__ = [
    "Architecture",
    "AutoshrinkError",
    "Cell",
    "ConvArchitecture",
    "Cost",
    "Crafted",
    "DataError",
    "Evaluation",
    "ImageArchitecture",
    "InputError",
    "LibraryArchitecture",
    "MobileArchitecture",
    "Observer",
    "OnnxClassifier",
    "OnnxLanguageModel",
    "RecurrentArchitecture",
    "RunError",
    "RunRecord",
    "Score",
    "SearchError",
    "SearchSettings",
    "Watcher",
    "__version__",
    "build",
    "count",
    "craft",
    "default_skeleton",
    "evaluate",
    "export",
    "export_source",
    "generate",
    "load",
    "proxy_architecture",
    "read_record",
    "recurrent_proxy",
    "resume",
    "resume_training",
    "search",
    "train",
    "widest",
]

_LAZY = {
    "OnnxClassifier": "autoshrink.deploy.predict",
    "OnnxLanguageModel": "autoshrink.deploy.predict",
    "build": "autoshrink.networks",
    "evaluate": "autoshrink.evaluating",
    "export": "autoshrink.deploy.exporting",
    "export_source": "autoshrink.deploy.exporting",
    "generate": "autoshrink.generation",
    "resume": "autoshrink.launch",
    "resume_training": "autoshrink.final",
    "search": "autoshrink.launch",
    "train": "autoshrink.final",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
