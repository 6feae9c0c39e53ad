"""Tables of what single operations take in ONNX Runtime, measured once each and kept.

One operation alone in a file says little about the same operation inside a network: calling the runtime and changing
the layout of what goes in and comes out takes longer than most operations. So each is measured by a difference: a file
with one copy and a file with several take turns, and what a further copy adds is the operation. Copies read what a
convolution wrote, in the layout in which operations hand tensors on, and end in a pooling that takes one pixel of each
channel, so that nothing large has to leave; what such poolings add is measured in the same way and taken off.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.architecture import Architecture
from autoshrink.cost.latency import LatencyTable
from autoshrink.deploy.latency import Session, conditions
from autoshrink.deploy.onnx_file import INSTALL
from autoshrink.errors import InputError, RunError
from autoshrink.files import write_text
from autoshrink.optional import optional
from autoshrink.quantity import counted
from autoshrink.results import pretty
from autoshrink.steps import RuntimeOperation

COPIES = 9
"""Of the longer file."""
PAIRS, PAIRS_SECONDS = 40, 0.02
"""How often the two files take turns at least, and for how long."""
LEAVE_COPIES = ("CommonSubexpressionElimination",)
"""The runtime's optimisation that would make one of equal copies."""
OPSET, IR_VERSION = 20, 9
TABLE_FILE = "latency.json"
"""In the run folder."""
UNSHARED = ("average",)
"""Operations that take tensors out of the layout that convolutions use: in a network each does so for itself."""


def device_facts(threads: int = 1) -> dict[str, str | int]:
    """What a table measured here, now, says of its device.

    Raises:
        InputError: ONNX Runtime is not installed.
    """
    found = conditions(threads)
    return {"cpu": found.cpu, "runtime": found.runtime, "provider": found.provider, "threads": threads}


class Latencies:
    """What networks take, by a table that grows as they need operations that it lacks.

    What was measured is in the run's folder before anybody hears of it, so that a run that was killed goes on with the
    figures it began with.

    Args:
        table: what is known.
        timer: measures an operation; None: the table is all there is.
        refusal: why it is all there is, and the way out, as the end of a message.
    """

    def __init__(
        self, table: LatencyTable, timer: Callable[[RuntimeOperation], int] | None = None, *, refusal: str = ""
    ) -> None:
        self.table = table
        self._timer = timer
        self._refusal = refusal
        self._file: Path | None = None

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.table.device.items())
        return f"{counted(len(self.table.nanoseconds), 'operation')} known ({facts})"

    def __call__(self, architecture: Architecture) -> int:
        """Nanoseconds of one sample.

        Raises:
            InputError: an operation is unknown and cannot be measured here.
            RunError: the table cannot be written.
        """
        self.learn(self.table.missing(architecture))
        return self.table.of(architecture)

    def learn(self, wanted: Sequence[RuntimeOperation]) -> None:
        """Measure operations that are unknown, and keep them."""
        if not wanted:
            return
        if self._timer is None:
            raise InputError(f"no latency is known of the operation {wanted[0].key!r}: {self._refusal}")
        self.table = self.table.extended({one.key: self._timer(one) for one in wanted})
        self._write()

    def keep(self, folder: Path) -> None:
        """Write the table to the run's folder now, and whenever it grows.

        Raises:
            RunError: it cannot be written.
        """
        self._file = folder / TABLE_FILE
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            write_text(self._file, pretty(self.table.to_json()), own=True)


def begin_latencies(file: str | None) -> Latencies:
    """For a new run: by a table in a file, or by what is measured here as it is needed.

    Raises:
        InputError: the file is no table, or nothing can be measured here since a package is missing.
    """
    if file is not None:
        return Latencies(LatencyTable.read(Path(file)), refusal=_INCOMPLETE.format(file=file))
    _onnx()
    return Latencies(LatencyTable(device_facts(), {}), OperationTimer())


def resume_latencies(folder: Path, file: str | None, *, fresh: bool) -> Latencies:
    """For a run that goes on: by the table in its folder, which grows only on the device that it was measured on.

    Args:
        folder: the run's.
        file: the table that the run was given, if any.
        fresh: whether nothing has been evaluated yet, so that a missing table may be begun anew.

    Raises:
        RunError: the table is gone.
        InputError: it is damaged.
    """
    path = folder / TABLE_FILE
    if not path.exists():
        if not fresh:
            raise RunError(f"{path}: the run's latencies are gone; put the file back, or start a new run")
        latencies = begin_latencies(file)
    else:
        table = LatencyTable.read(path)
        if file is not None:
            latencies = Latencies(table, refusal=_INCOMPLETE.format(file=file))
        else:
            here = _here()
            changed = [
                f"{name} {table.device.get(name)} there, {value} here"
                for name, value in here.items()
                if table.device.get(name) != value
            ]
            other = f"{path} was measured on another device ({'; '.join(changed)}); resume the run there"
            latencies = Latencies(table, None if changed else OperationTimer(), refusal=other)
    latencies.keep(folder)
    return latencies


def _here() -> dict[str, str | int]:
    """This device's facts; without ONNX Runtime it is not the one where anything was measured."""
    try:
        return device_facts()
    except InputError:
        return {"runtime": "none"}


class OperationTimer:
    """Measures operations on this machine.

    Args:
        threads: inside an operation.
        pairs: how often the two files of an operation take turns at least; the median of their differences counts.
    """

    def __init__(self, threads: int = 1, *, pairs: int = PAIRS) -> None:
        self._threads = threads
        self._pairs = pairs
        self._around: dict[tuple[int, tuple[int, int], bool], float] = {}

    def __call__(self, operation: RuntimeOperation) -> int:
        """Nanoseconds, one at least.

        Raises:
            InputError: onnx or ONNX Runtime is missing.
        """
        if operation.name == "call":
            seconds = self._call()
        else:
            unshared = operation.name in UNSHARED
            source = (operation.reads[0], _in_size(operation)) if unshared else (operation.writes, operation.size)
            seconds = self._added(lambda copies: operation_model(operation, copies)) - self._surroundings(
                *source, unshared=unshared
            )
        return max(1, round(1e9 * seconds))

    def _call(self) -> float:
        """Seconds of a file that does next to nothing."""
        session = self._session(surroundings_model(1, (1, 1), 1))
        session.warm_up()
        return statistics.median(self._seconds(session) for _ in range(10 * self._pairs))

    def _surroundings(self, channels: int, size: tuple[int, int], *, unshared: bool) -> float:
        """Seconds of what stands around a copy."""
        key = (channels, size, unshared)
        if key not in self._around:
            self._around[key] = self._added(
                lambda copies: surroundings_model(channels, size, copies, unshared=unshared)
            )
        return self._around[key]

    def _added(self, model: Callable[[int], bytes]) -> float:
        """Seconds that a further copy adds."""
        one, many = (self._session(model(copies)) for copies in (1, COPIES))
        for session in (one, many):
            session.warm_up(seconds=0.0)
        differences: list[float] = []
        until = time.monotonic() + PAIRS_SECONDS
        while len(differences) < self._pairs or time.monotonic() < until:
            differences.append(self._seconds(many) - self._seconds(one))
        return statistics.median(differences) / (COPIES - 1)

    def _seconds(self, session: Session) -> float:
        """Of one run: on the core, which others' work does not lengthen; by the clock where there are more threads."""
        run = session.timed()
        return run.core if self._threads == 1 else run.wall

    def _session(self, model: bytes) -> Session:
        return Session(model, threads=self._threads, disabled=LEAVE_COPIES)


def operation_model(operation: RuntimeOperation, copies: int) -> bytes:
    """A serialised ONNX model with so many copies of an operation, each followed by a pooling to one pixel."""
    graph = _Graph()
    build = _BUILD[operation.name]
    shared = None if operation.name in UNSHARED else _sources(graph, operation)
    ends = [build(graph, operation, shared or _sources(graph, operation)) for _ in range(copies)]
    size = (1, 1) if operation.name == "average" else operation.size
    return graph.serialised([_one_pixel(graph, end, size) for end in ends])


def surroundings_model(channels: int, size: tuple[int, int], copies: int, *, unshared: bool = False) -> bytes:
    """The same without the operation: poolings of one tensor, or of one tensor each."""
    graph = _Graph()
    shared = None if unshared else graph.tensor(channels, size)
    return graph.serialised([_one_pixel(graph, shared or graph.tensor(channels, size), size) for _ in range(copies)])


class _Graph:
    """An ONNX graph in the making. Its methods give the names of tensors."""

    def __init__(self) -> None:
        self._onnx = _onnx()
        self._nodes: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._weights: dict[str, Any] = {}
        self._rng = np.random.default_rng(0)

    def node(self, op: str, *reads: str, **attributes: Any) -> str:
        """What a node writes."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, list(reads), [name], **attributes))
        return name

    def given(self, *shape: int) -> str:
        """The input of a shape, one for all who ask."""
        name = "x" + "x".join(map(str, shape))
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        self._inputs[name] = helper.make_tensor_value_info(name, kind, list(shape))
        return name

    def tensor(self, channels: int, size: tuple[int, int]) -> str:
        """(1, channels, height, width), written by a convolution of its own."""
        return self.convolution(self.given(1, 1, *size), 1, channels)

    def convolution(
        self, source: str, reads: int, writes: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """With a bias; what is written has the size of what is read, divided by the stride."""
        weight = self.weights(writes, reads // groups, kernel, kernel)
        sides = {"kernel_shape": [kernel, kernel], "pads": [kernel // 2] * 4, "strides": [stride, stride]}
        return self.node("Conv", source, weight, self.weights(writes), group=groups, **sides)

    def weights(self, *shape: int) -> str:
        """Random numbers."""
        return self._constant((self._rng.standard_normal(shape) * 0.1).astype(np.float32))

    def numbers(self, *values: int) -> str:
        """Whole numbers, such as axes."""
        return self._constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """One number."""
        return self._constant(np.array(value, dtype=np.float32))

    def _constant(self, values: npt.NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights[name] = self._onnx.numpy_helper.from_array(values, name)
        return name

    def serialised(self, outputs: Sequence[str]) -> bytes:
        """The model whose one output is all these together."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        output = outputs[0] if len(outputs) == 1 else self.node("Concat", *outputs, axis=1)
        graph = helper.make_graph(
            self._nodes,
            "operation",
            list(self._inputs.values()),
            [helper.make_tensor_value_info(output, kind, None)],
            list(self._weights.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        found: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString()
        return found


def _in_size(operation: RuntimeOperation) -> tuple[int, int]:
    return operation.size[0] * operation.stride, operation.size[1] * operation.stride


def _sources(graph: _Graph, operation: RuntimeOperation) -> tuple[str, ...]:
    """What an operation reads."""
    if operation.name == "linear":
        return (graph.given(1, operation.reads[0]),)
    if operation.name == "conv3x3":
        # The first convolution reads the image itself.
        return (graph.given(1, operation.reads[0], *_in_size(operation)),)
    if operation.name == "shortcut":
        return tuple(
            graph.tensor(channels, size)
            for channels, size in zip(operation.reads, (_in_size(operation), operation.size), strict=True)
        )
    return tuple(graph.tensor(channels, _in_size(operation)) for channels in operation.reads)


def _one_pixel(graph: _Graph, tensor: str, size: tuple[int, int]) -> str:
    """The first pixel of each channel."""
    if size == (1, 1):
        return tensor
    return graph.node("MaxPool", tensor, kernel_shape=[1, 1], strides=list(size))


_INCOMPLETE = "make {file} for this search's sizes, with `autoshrink latency --make-table` on its device"

Builder = Callable[[_Graph, RuntimeOperation, Sequence[str]], str]


def _conv3x3(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    (reads,), stride = operation.reads, operation.stride
    return _activated(
        graph, graph.convolution(sources[0], reads, operation.writes, kernel=3, stride=stride), operation.activation
    )


def _conv1x1(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    (reads,) = operation.reads
    return _activated(graph, graph.convolution(sources[0], reads, operation.writes), operation.activation)


def _depthwise(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    (reads,) = operation.reads
    return _activated(graph, graph.convolution(sources[0], reads, reads, kernel=3, groups=reads), operation.activation)


def _shortcut(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    projected = graph.convolution(sources[0], operation.reads[0], operation.writes, stride=operation.stride)
    return graph.node("Add", projected, sources[1])


def _maxpool(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    sides = [operation.stride, operation.stride]
    return graph.node("MaxPool", sources[0], kernel_shape=sides, strides=sides, ceil_mode=1)


def _concat(graph: _Graph, _: RuntimeOperation, sources: Sequence[str]) -> str:
    return graph.node("Concat", *sources, axis=1)


def _add(graph: _Graph, _: RuntimeOperation, sources: Sequence[str]) -> str:
    return graph.node("Add", *sources)


def _average(graph: _Graph, _: RuntimeOperation, sources: Sequence[str]) -> str:
    return graph.node("ReduceMean", sources[0], graph.numbers(2, 3), keepdims=0)


def _linear(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    weight = graph.weights(operation.writes, operation.reads[0])
    return graph.node("Gemm", sources[0], weight, graph.weights(operation.writes), transB=1)


_BUILD: dict[str, Builder] = {
    "conv3x3": _conv3x3,
    "conv1x1": _conv1x1,
    "depthwise3x3": _depthwise,
    "shortcut": _shortcut,
    "maxpool": _maxpool,
    "concat": _concat,
    "add": _add,
    "average": _average,
    "linear": _linear,
}
"""By the operation's name."""


_ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "relu": lambda graph, tensor: graph.node("Relu", tensor),
    "relu6": lambda graph, tensor: graph.node("Clip", tensor, graph.scalar(0.0), graph.scalar(6.0)),
    "swish": lambda graph, tensor: graph.node("Mul", tensor, graph.node("Sigmoid", tensor)),
    "hardswish": lambda graph, tensor: graph.node("HardSwish", tensor),
    "gelu": lambda graph, tensor: graph.node("Gelu", tensor),
    "leaky_relu": lambda graph, tensor: graph.node("LeakyRelu", tensor, alpha=0.1),
}


def _activated(graph: _Graph, tensor: str, activation: str | None) -> str:
    return _ACTIVATIONS[activation](graph, tensor) if activation else tensor


def _onnx() -> Any:
    with optional("onnx", purpose="measuring latency", install=INSTALL):
        import onnx  # noqa: PLC0415 - optional, and not needed to search by other costs
        import onnx.helper  # noqa: PLC0415 - as above
        import onnx.numpy_helper  # noqa: PLC0415 - as above
    return onnx
