"""Search small, accurate neural networks by shrinking the wiring of a cell.

    run = autoshrink.search({"data": {"spec": "photos/", "size": 32}}, run="runs/photos")
    print(run.best())

Everything is imported when it is first asked for, so that a command starts, and can be stopped, at once.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from autoshrink.version import __version__

if TYPE_CHECKING:
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
    from autoshrink.crafting import Crafted, craft
    from autoshrink.deploy.exporting import export, export_source
    from autoshrink.deploy.predict import OnnxClassifier, OnnxLanguageModel
    from autoshrink.errors import AutoshrinkError, DataError, InputError, RunError, SearchError
    from autoshrink.evaluating import evaluate
    from autoshrink.final import resume_training, train
    from autoshrink.generation import generate
    from autoshrink.launch import resume, search
    from autoshrink.live.process import watch
    from autoshrink.loading import load
    from autoshrink.networks import build
    from autoshrink.record import RunRecord
    from autoshrink.score import Evaluation, Score
    from autoshrink.spaces.families import default_skeleton
    from autoshrink.store import read_record
    from autoshrink.telling import tell
    from autoshrink.watching import Observer, Watcher

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
    "tell",
    "train",
    "watch",
    "widest",
]

_LAZY = {
    "Architecture": "autoshrink.architecture",
    "AutoshrinkError": "autoshrink.errors",
    "Cell": "autoshrink.cell",
    "ConvArchitecture": "autoshrink.architecture",
    "Cost": "autoshrink.cost",
    "Crafted": "autoshrink.crafting",
    "DataError": "autoshrink.errors",
    "Evaluation": "autoshrink.score",
    "ImageArchitecture": "autoshrink.architecture",
    "InputError": "autoshrink.errors",
    "LibraryArchitecture": "autoshrink.architecture",
    "MobileArchitecture": "autoshrink.architecture",
    "Observer": "autoshrink.watching",
    "OnnxClassifier": "autoshrink.deploy.predict",
    "OnnxLanguageModel": "autoshrink.deploy.predict",
    "RecurrentArchitecture": "autoshrink.architecture",
    "RunError": "autoshrink.errors",
    "RunRecord": "autoshrink.record",
    "Score": "autoshrink.score",
    "SearchError": "autoshrink.errors",
    "SearchSettings": "autoshrink.config",
    "Watcher": "autoshrink.watching",
    "build": "autoshrink.networks",
    "count": "autoshrink.cost",
    "craft": "autoshrink.crafting",
    "default_skeleton": "autoshrink.spaces.families",
    "evaluate": "autoshrink.evaluating",
    "export": "autoshrink.deploy.exporting",
    "export_source": "autoshrink.deploy.exporting",
    "generate": "autoshrink.generation",
    "load": "autoshrink.loading",
    "proxy_architecture": "autoshrink.architecture",
    "read_record": "autoshrink.store",
    "recurrent_proxy": "autoshrink.architecture",
    "resume": "autoshrink.launch",
    "resume_training": "autoshrink.final",
    "search": "autoshrink.launch",
    "tell": "autoshrink.telling",
    "train": "autoshrink.final",
    "watch": "autoshrink.live.process",
    "widest": "autoshrink.cost",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
