"""What holds for every test: no door keeps what a module of tests put into it, laws draw alike, Ctrl-C is heard."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from autoshrink import registry
from autoshrink.architecture import Architecture, base
from autoshrink.bundle import TrainedModel
from autoshrink.data.sources import SOURCES
from autoshrink.deploy import exporter
from autoshrink.design import DESIGNS
from autoshrink.ops import OPERATIONS
from autoshrink.registry import EVALUATORS, EXECUTORS, FILTERS, STRATEGIES, TASKS
from autoshrink.resources import RESOURCES

# A suite that passed passes again, however busy the machine is; `make fuzz` draws anew.
hypothesis.settings.register_profile(
    "alike",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
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


_GRAPHS: dict[tuple[object, ...], Any] = {}


@pytest.fixture(scope="module")
def graphs_once() -> Iterator[None]:
    """Where it is not the graph that is tested: each network leaves PyTorch once a process, which takes a second."""
    honest = exporter.exporter_of

    def exporter_of(architecture: Architecture) -> exporter.Exporter:
        found = copy.copy(honest(architecture))
        proto = found.proto

        def once(model: TrainedModel, part: str, opset: int) -> Any:
            weights = ((name, tensor.numpy().tobytes()) for name, tensor in model.network.state_dict().items())
            key = (json.dumps(model.architecture.to_json()), *weights, part, opset)
            if key not in _GRAPHS:
                _GRAPHS[key] = proto(model, part, opset)
            return copy.deepcopy(_GRAPHS[key])

        found.proto = once  # type: ignore[method-assign]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "exporter_of", exporter_of)
        yield
