"""What single operations take in ONNX Runtime.

One operation alone in a file says little about the same operation inside a network: calling the runtime and changing
the layout of what goes in and comes out takes longer than most operations. So each is measured by a difference: a file
with one copy and a file with several take turns, and what a further copy adds is the operation. Copies read what a
convolution wrote, in the layout in which operations hand tensors on, and end in a pooling that takes one pixel of each
channel, so that nothing large has to leave; what such poolings add is measured in the same way and taken off.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.errors import InputError
from autoshrink.latency.measuring import Session, conditions
from autoshrink.onnx.session import onnx_library
from autoshrink.steps import RuntimeOperation

COPIES = 9
"""Of the longer file."""
PAIRS, PAIRS_SECONDS = 40, 0.02
"""How often the two files take turns at least, and for how long."""
LEAVE_COPIES = ("CommonSubexpressionElimination",)
"""The runtime's optimisation that would make one of equal copies."""
OPSET, IR_VERSION = 20, 9
POOLED = UNSHARED = ("average", "squeeze")
"""Operations that leave one pixel, and take tensors out of the layout that convolutions use: in a network each does so
for itself."""
_SQUARE = re.compile(r"(conv|dense|depthwise|avgpool|maxpool)(\d+)x\2(?:d(\d+))?")
"""What has a kernel: its kind, the kernel's side, and the distance of its taps."""


def device_facts(threads: int = 1) -> dict[str, str | int]:
    """What a table measured here, now, says of its device.

    Raises:
        InputError: ONNX Runtime is not installed.
    """
    found = conditions(threads)
    return {"cpu": found.cpu, "runtime": found.runtime, "provider": found.provider, "threads": threads}


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
            InputError: onnx or ONNX Runtime is missing, or nothing is known of how such an operation is computed.
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
    shared = None if operation.name in UNSHARED else _sources(graph, operation)
    ends = [_built(graph, operation, shared or _sources(graph, operation)) for _ in range(copies)]
    size = (1, 1) if operation.name in POOLED else operation.size
    return graph.serialised([_one_pixel(graph, end, size) for end in ends])


def surroundings_model(channels: int, size: tuple[int, int], copies: int, *, unshared: bool = False) -> bytes:
    """The same without the operation: poolings of one tensor, or of one tensor each."""
    graph = _Graph()
    shared = None if unshared else graph.tensor(channels, size)
    return graph.serialised([_one_pixel(graph, shared or graph.tensor(channels, size), size) for _ in range(copies)])


class _Graph:
    """An ONNX graph in the making. Its methods give the names of tensors."""

    def __init__(self) -> None:
        self._onnx = onnx_library(exporting=False)
        self._nodes: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._constants: list[Any] = []
        self._rng = np.random.default_rng(0)

    def node(self, op: str, *reads: str, **attributes: Any) -> str:
        """What a node writes."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, list(reads), [name], **attributes))
        return name

    def given(self, *shape: int) -> str:
        """The input of a shape, one for all who ask."""
        name = "x" + "x".join(map(str, shape))
        self._inputs[name] = self._value(name, shape)
        return name

    def tensor(self, channels: int, size: tuple[int, int]) -> str:
        """(1, channels, height, width), written by a convolution of its own."""
        return self.convolution(self.given(1, 1, *size), (1, channels), _sides(1))

    def convolution(
        self, source: str, channels: tuple[int, int], sides: Mapping[str, Sequence[int]], *, groups: int = 1
    ) -> str:
        """From so many channels to so many, with a bias; `sides` are those of `_sides`."""
        reads, writes = channels
        weight = self.weights(writes, reads // groups, *sides["kernel_shape"])
        return self.node("Conv", source, weight, self.weights(writes), group=groups, **sides)

    def weights(self, *shape: int) -> str:
        """Random numbers."""
        return self.constant((self._rng.standard_normal(shape) * 0.1).astype(np.float32))

    def constant(self, values: npt.ArrayLike) -> str:
        """Numbers as they are: whole ones, such as axes, or float32."""
        array = np.asarray(values)
        name = f"w{len(self._constants)}"
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        self._constants.append(self._onnx.numpy_helper.from_array(array.astype(kind), name))
        return name

    def serialised(self, outputs: Sequence[str]) -> bytes:
        """The model whose one output is all these together."""
        helper = self._onnx.helper
        output = outputs[0] if len(outputs) == 1 else self.node("Concat", *outputs, axis=1)
        inputs = list(self._inputs.values())
        graph = helper.make_graph(self._nodes, "operation", inputs, [self._value(output, None)], self._constants)
        opset = helper.make_opsetid("", OPSET)
        found: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString()
        return found

    def _value(self, name: str, shape: Sequence[int] | None) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)


def _in_size(operation: RuntimeOperation) -> tuple[int, int]:
    return operation.size[0] * operation.stride, operation.size[1] * operation.stride


def _sources(graph: _Graph, operation: RuntimeOperation) -> tuple[str, ...]:
    """What an operation reads."""
    if operation.name == "linear":
        return (graph.given(1, operation.reads[0]),)
    if re.fullmatch(r"conv([3-9]|\d\d)x\1", operation.name):
        # The first convolution reads the image itself.
        return (graph.given(1, operation.reads[0], *_in_size(operation)),)
    sizes = [_in_size(operation)] * len(operation.reads)
    if operation.name in _SECOND:
        sizes[1] = _SECOND[operation.name](operation)
    return tuple(graph.tensor(channels, size) for channels, size in zip(operation.reads, sizes, strict=True))


def _built(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    """An operation, and the activation after it."""
    square = _SQUARE.fullmatch(operation.name)
    if square and square[1] in _POOLS:
        return graph.node(_POOLS[square[1]], sources[0], **_sides(int(square[2]), 1, operation.stride))
    if square:
        groups = operation.reads[0] if square[1] == "depthwise" else 1
        sides = _sides(int(square[2]), int(square[3] or 1), operation.stride)
        found = graph.convolution(sources[0], (operation.reads[0], operation.writes), sides, groups=groups)
    elif operation.name in _OTHERS:
        found = _OTHERS[operation.name](graph, operation, sources)
    else:
        raise InputError(f"no way is known to measure the operation {operation.key!r}")
    return _ACTIVATIONS[operation.activation](graph, found) if operation.activation else found


def _sides(kernel: int, dilation: int = 1, stride: int = 1) -> dict[str, list[int]]:
    """ONNX's attributes of what has a kernel and keeps the size, but for the stride."""
    return {
        "kernel_shape": [kernel] * 2,
        "pads": [dilation * (kernel // 2)] * 4,
        "dilations": [dilation] * 2,
        "strides": [stride] * 2,
    }


def _one_pixel(graph: _Graph, tensor: str, size: tuple[int, int]) -> str:
    """The first pixel of each channel."""
    return tensor if size == (1, 1) else graph.node("MaxPool", tensor, kernel_shape=[1, 1], strides=list(size))


def _shortcut(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    channels = operation.reads[0], operation.writes
    return graph.node("Add", graph.convolution(sources[0], channels, _sides(1, stride=operation.stride)), sources[1])


def _squeeze(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    pooled = graph.node("ReduceMean", sources[0], graph.constant([2, 3]), keepdims=1)
    return graph.convolution(pooled, (operation.reads[0], operation.writes), _sides(1))


def _excite(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    gate = graph.convolution(sources[1], (operation.reads[1], operation.writes), _sides(1))
    return graph.node("Mul", sources[0], graph.node("Sigmoid", gate))


def _maxpool(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    sides = [operation.stride, operation.stride]
    return graph.node("MaxPool", sources[0], kernel_shape=sides, strides=sides, ceil_mode=1)


def _linear(graph: _Graph, operation: RuntimeOperation, sources: Sequence[str]) -> str:
    weight = graph.weights(operation.writes, operation.reads[0])
    return graph.node("Gemm", sources[0], weight, graph.weights(operation.writes), transB=1)


_SECOND: dict[str, Callable[[RuntimeOperation], tuple[int, int]]] = {
    "shortcut": lambda operation: operation.size,
    "excite": lambda _: (1, 1),
}
"""The size of the second tensor that an operation reads, where it is not the first one's."""
_POOLS = {"avgpool": "AveragePool", "maxpool": "MaxPool"}
_OTHERS: dict[str, Callable[[_Graph, RuntimeOperation, Sequence[str]], str]] = {
    "shortcut": _shortcut,
    "squeeze": _squeeze,
    "excite": _excite,
    "maxpool": _maxpool,
    "concat": lambda graph, _, sources: graph.node("Concat", *sources, axis=1),
    "add": lambda graph, _, sources: graph.node("Add", *sources),
    "average": lambda graph, _, sources: graph.node("ReduceMean", sources[0], graph.constant([2, 3]), keepdims=0),
    "linear": _linear,
}
"""What has no kernel, by the operation's name."""

_ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "relu": lambda graph, tensor: graph.node("Relu", tensor),
    "relu6": lambda graph, tensor: graph.node("Clip", tensor, graph.constant(0.0), graph.constant(6.0)),
    "swish": lambda graph, tensor: graph.node("Mul", tensor, graph.node("Sigmoid", tensor)),
    "hardswish": lambda graph, tensor: graph.node("HardSwish", tensor),
    "gelu": lambda graph, tensor: graph.node("Gelu", tensor),
    "leaky_relu": lambda graph, tensor: graph.node("LeakyRelu", tensor, alpha=0.1),
}
