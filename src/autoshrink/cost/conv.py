"""Steps of convolutional networks, for one image.

What is counted (the convention that gives ShrinkCNN-A 3,600,981 parameters and 383,677,672 MACs to the unit, as the
released network's own counter does): convolutions, depthwise and shortcut projections included, and the classifier.
BN, activations and the shortcut's addition work in place; a concatenation is a tensor of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoshrink.architecture import CellPlan, NetworkPlan, NodePlan
from autoshrink.ops import conv
from autoshrink.steps import Step, classification, convolution


def conv_steps(plan: NetworkPlan) -> Iterator[Step]:
    """One image through a convolutional network, from tensor ``input``."""
    channels, size = plan.input[0], plan.stem_size
    stem = convolution("stem", "conv3x3", (channels, plan.stem.channels), size, 9 * channels * plan.stem.channels)
    yield Step(("input",), "stem", plan.stem.channels * size[0] * size[1], stem)
    tensor = "stem"
    for cell in plan.cells:
        yield from _cell_steps(cell, tensor)
        tensor = cell.name
    area = plan.final_size[0] * plan.final_size[1]
    if plan.head:
        channels = plan.cells[-1].out_channels
        head = convolution("head", "conv1x1", (channels, plan.features), plan.final_size, channels * plan.features)
        yield Step((tensor,), "head", plan.features * area, head)
        tensor = "head"
    yield from classification(tensor, plan.features, plan.classes)


def _cell_steps(cell: CellPlan, source: str) -> Iterator[Step]:
    area = cell.size[0] * cell.size[1]
    tensors = {0: source}
    if cell.pool > 1:
        tensors[0] = f"{cell.name}.pool"
        yield Step((source,), tensors[0], cell.in_channels * area)
    for node in cell.nodes:
        yield from _node_steps(node, cell, tensors)
    output = tensors[cell.leaves[0]]
    if len(cell.leaves) > 1:
        output = f"{cell.name}.leaves"
        yield Step(tuple(tensors[leaf] for leaf in cell.leaves), output, cell.out_channels * area)
    shortcut = source
    if cell.projects:
        shortcut = f"{cell.name}.shortcut"
        layer = convolution(
            shortcut, "conv1x1", (cell.in_channels, cell.out_channels), cell.size, cell.in_channels * cell.out_channels
        )
        yield Step((source,), shortcut, cell.out_channels * area, layer)
    yield Step((output, shortcut), cell.name, cell.out_channels * area, in_place=True)


def _node_steps(node: NodePlan, cell: CellPlan, tensors: dict[int, str]) -> Iterator[Step]:
    name, area = f"{cell.name}.node{node.node}", cell.size[0] * cell.size[1]
    tensor = tensors[node.inputs[0]]
    if len(node.inputs) > 1:
        yield Step(tuple(tensors[i] for i in node.inputs), f"{name}.concat", node.in_channels * area)
        tensor = f"{name}.concat"
    for step in conv(node.op).steps(node, name, tensor, cell.size):
        yield step
        tensor = step.writes
    tensors[node.node] = tensor
