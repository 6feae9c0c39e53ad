"""Steps of image networks, for one image.

What is counted (the convention that gives ShrinkCNN-A 3,600,981 parameters and 383,677,672 MACs to the unit, as the
released network's own counter does): convolutions, depthwise and shortcut projections included, and the classifier.
BN, activations, gates and the additions of shortcuts work in place; a concatenation is a tensor of its own, so is a sum
of nodes, and so is what squeeze and excitation pool. The two convolutions of squeeze and excitation have biases, which
are no MACs.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoshrink.architecture import BlockPlan, CellPlan, NetworkPlan, NodePlan, PartPlan
from autoshrink.ops import Convolution, conv
from autoshrink.steps import Step, classification, convolution, excitation


def image_steps(plan: NetworkPlan[PartPlan]) -> Iterator[Step]:
    """One image through a network of cells or blocks, from tensor ``input``."""
    tensor = "input"
    for step in _stem_steps(plan):
        yield step
        tensor = step.writes
    for part in plan.parts:
        assert isinstance(part, CellPlan | BlockPlan), "the parts of image networks"
        for step in _cell_steps(part, tensor) if isinstance(part, CellPlan) else _block_steps(part, tensor):
            yield step
        tensor = step.writes
    if plan.head:
        yield _convolved(tensor, "head", (plan.parts[-1].out_channels, plan.features), plan.final_size)
        tensor = "head"
    yield from classification(tensor, plan.features, plan.classes)


def _stem_steps(plan: NetworkPlan[PartPlan]) -> Iterator[Step]:
    stem, size = plan.stem, plan.stem_size
    yield _convolved("input", "stem", (plan.input[0], stem.channels), size, Convolution(stem.kernel))
    tensor = "stem"
    if stem.separable:
        depthwise = Convolution(3, depthwise=True)
        yield _convolved(tensor, "stem.depthwise", (stem.channels, stem.channels), size, depthwise)
        yield _convolved("stem.depthwise", "stem.pointwise", (stem.channels, stem.separable), size)
        tensor = "stem.pointwise"
    if stem.pool > 1:
        height, width = plan.first_size
        yield Step((tensor,), "stem.pool", stem.out_channels * height * width)


def _cell_steps(cell: CellPlan, source: str) -> Iterator[Step]:
    area = cell.size[0] * cell.size[1]
    tensors = {0: source}
    if cell.pool > 1:
        tensors[0] = f"{cell.name}.pool"
        yield Step((source,), tensors[0], cell.in_channels * area)
    if cell.enters:
        entry = f"{cell.name}.entry"
        yield _convolved(tensors[0], entry, (cell.in_channels, cell.first_channels), cell.size)
        tensors[0] = entry
    for node in cell.nodes:
        yield from _node_steps(node, cell, tensors)
    output = tensors[cell.leaves[0]]
    if len(cell.leaves) > 1:
        output = f"{cell.name}.leaves"
        yield Step(tuple(tensors[leaf] for leaf in cell.leaves), output, cell.leaf_channels * area)
    if cell.merges:
        leaves, output = output, f"{cell.name}.merge"
        yield _convolved(leaves, output, (cell.leaf_channels, cell.out_channels), cell.size)
    shortcut = beside = tensors[0] if cell.adds or cell.merges else source
    if cell.projects:
        shortcut = f"{cell.name}.shortcut"
        yield _convolved(beside, shortcut, (cell.in_channels, cell.out_channels), cell.size)
    yield Step((output, shortcut), cell.name, cell.out_channels * area, in_place=True)


def _node_steps(node: NodePlan, cell: CellPlan, tensors: dict[int, str]) -> Iterator[Step]:
    name, area = f"{cell.name}.node{node.node}", cell.size[0] * cell.size[1]
    tensor = tensors[node.inputs[0]]
    if len(node.inputs) > 1:
        tensor = f"{name}.joined"
        yield Step(tuple(tensors[i] for i in node.inputs), tensor, node.in_channels * area)
    for step in conv(node.op).steps(node, name, tensor, cell.size):
        yield step
        tensor = step.writes
    tensors[node.node] = tensor


def _block_steps(block: BlockPlan, source: str) -> Iterator[Step]:
    tensor = source
    for layer in block.layers:
        name = f"{block.name}.{layer.name}"
        yield _convolved(tensor, name, layer.channels, layer.size, layer.form)
        tensor = name
        if layer.name == block.excited:
            assert block.squeezed is not None, "what is excited was squeezed"
            yield from excitation(block.name, tensor, layer.channels[1], block.squeezed, layer.size)
            tensor = f"{block.name}.excited"
    shortcut = source
    if block.shortcut is not None:
        shortcut = f"{block.name}.shortcut"
        yield _convolved(source, shortcut, block.shortcut.channels, block.size)
    if block.adds:
        elements = block.out_channels * block.size[0] * block.size[1]
        yield Step((tensor, shortcut), block.name, elements, in_place=True)


def _convolved(
    source: str, name: str, channels: tuple[int, int], size: tuple[int, int], form: Convolution | None = None
) -> Step:
    """A convolution with BN, 1×1 unless said otherwise: (in, out) channels, and its output's size in pixels."""
    form = form or Convolution()
    weights = form.kernel**2 * channels[1] * (1 if form.depthwise else channels[0])
    layer = convolution(name, form.what, channels, size, weights)
    return Step((source,), name, channels[1] * size[0] * size[1], layer)
