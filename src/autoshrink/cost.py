"""Parameters, MACs and peak activation memory of an architecture, by shape arithmetic alone.

What is counted (the convention that gives ShrinkCNN-A 3,600,981 parameters and 383,677,672 MACs to the unit, as the
released network's own counter does): one MAC is one multiply-add; convolutions, depthwise and shortcut projections
included, and the classifier. No BN, bias, pooling or addition. Parameters leave BN out; with its scale and shift they
stand beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoshrink.architecture import Architecture, CellPlan, NetworkPlan, NodePlan

BYTES_PER_ACTIVATION = 4
"""float32."""


@dataclass(frozen=True)
class Layer:
    """One convolution or the classifier: channels, output size in pixels, and what it costs for one image."""

    name: str
    op: str
    in_channels: int
    out_channels: int
    size: tuple[int, int]
    params: int
    bn_params: int
    macs: int


@dataclass(frozen=True)
class Cost:
    """What one image costs in one architecture.

    Attributes:
        params: weights and the classifier's bias, BN left out.
        params_with_bn: `params` with BN's scale and shift: what PyTorch reports as trainable.
        macs: multiply-adds of a forward pass.
        peak_activation_bytes: the largest, over execution steps, of all tensors that must be alive at once; float32,
            batch 1. BN, activations and the shortcut's addition work in place; a concatenation is a tensor of its own.
        layers: the parts, in execution order.
    """

    params: int
    params_with_bn: int
    macs: int
    peak_activation_bytes: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class _Step:
    """One tensor made from others; `layer` is what that costs, `in_place` says that it overwrites the first read."""

    reads: tuple[str, ...]
    writes: str
    elements: int
    layer: Layer | None = None
    in_place: bool = False


def count(architecture: Architecture) -> Cost:
    """Count an architecture without building it."""
    plan = architecture.plan()
    steps = tuple(_network_steps(plan))
    layers = tuple(step.layer for step in steps if step.layer)
    params = sum(layer.params for layer in layers)
    channels, height, width = plan.input
    return Cost(
        params=params,
        params_with_bn=params + sum(layer.bn_params for layer in layers),
        macs=sum(layer.macs for layer in layers),
        peak_activation_bytes=BYTES_PER_ACTIVATION * _peak_elements(steps, {"input": channels * height * width}),
        layers=layers,
    )


def _convolution(name: str, op: str, channels: tuple[int, int], size: tuple[int, int], weights: int) -> Layer:
    """A bias-free convolution with BN; `weights` is how many it has."""
    return Layer(name, op, channels[0], channels[1], size, weights, 2 * channels[1], weights * size[0] * size[1])


def _network_steps(plan: NetworkPlan) -> Iterator[_Step]:
    channels, size = plan.input[0], plan.stem_size
    stem = _convolution("stem", "conv3x3", (channels, plan.stem.channels), size, 9 * channels * plan.stem.channels)
    yield _Step(("input",), "stem", plan.stem.channels * size[0] * size[1], stem)
    tensor = "stem"
    for cell in plan.cells:
        yield from _cell_steps(cell, tensor)
        tensor = cell.name
    area = plan.final_size[0] * plan.final_size[1]
    if plan.head:
        channels = plan.cells[-1].out_channels
        head = _convolution("head", "conv1x1", (channels, plan.features), plan.final_size, channels * plan.features)
        yield _Step((tensor,), "head", plan.features * area, head)
        tensor = "head"
    yield _Step((tensor,), "pooled", plan.features)
    weights = plan.features * plan.classes
    classifier = Layer("classifier", "linear", plan.features, plan.classes, (1, 1), weights + plan.classes, 0, weights)
    yield _Step(("pooled",), "classifier", plan.classes, classifier)


def _cell_steps(cell: CellPlan, source: str) -> Iterator[_Step]:
    area = cell.size[0] * cell.size[1]
    tensors = {0: source}
    if cell.pool > 1:
        tensors[0] = f"{cell.name}.pool"
        yield _Step((source,), tensors[0], cell.in_channels * area)
    for node in cell.nodes:
        yield from _node_steps(node, cell, tensors)
    output = tensors[cell.leaves[0]]
    if len(cell.leaves) > 1:
        output = f"{cell.name}.leaves"
        yield _Step(tuple(tensors[leaf] for leaf in cell.leaves), output, cell.out_channels * area)
    shortcut = source
    if cell.projects:
        shortcut = f"{cell.name}.shortcut"
        layer = _convolution(
            shortcut, "conv1x1", (cell.in_channels, cell.out_channels), cell.size, cell.in_channels * cell.out_channels
        )
        yield _Step((source,), shortcut, cell.out_channels * area, layer)
    yield _Step((output, shortcut), cell.name, cell.out_channels * area, in_place=True)


def _node_steps(node: NodePlan, cell: CellPlan, tensors: dict[int, str]) -> Iterator[_Step]:
    name, area = f"{cell.name}.node{node.node}", cell.size[0] * cell.size[1]
    tensor = tensors[node.inputs[0]]
    if len(node.inputs) > 1:
        yield _Step(tuple(tensors[i] for i in node.inputs), f"{name}.concat", node.in_channels * area)
        tensor = f"{name}.concat"
    if node.op == "sepconv3x3":
        depthwise = _convolution(
            f"{name}.depthwise", "depthwise3x3", (node.in_channels, node.in_channels), cell.size, 9 * node.in_channels
        )
        yield _Step((tensor,), depthwise.name, node.in_channels * area, depthwise)
        tensor = depthwise.name
    pointwise = _convolution(
        f"{name}.pointwise",
        "conv1x1",
        (node.in_channels, node.out_channels),
        cell.size,
        node.in_channels * node.out_channels,
    )
    yield _Step((tensor,), pointwise.name, node.out_channels * area, pointwise)
    tensors[node.node] = pointwise.name


def _peak_elements(steps: tuple[_Step, ...], inputs: dict[str, int]) -> int:
    """Largest sum of live tensors: a tensor lives from the step that writes it to the last step that reads it."""
    last_read = {name: position for position, step in enumerate(steps) for name in step.reads}
    alive, peak = dict(inputs), 0
    for position, step in enumerate(steps):
        if step.in_place:
            alive.pop(step.reads[0])
        alive[step.writes] = step.elements
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last_read.get(name, -1) > position}
    return peak
