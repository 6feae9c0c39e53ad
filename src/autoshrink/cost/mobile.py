"""Steps of networks of inverted residual blocks, for one image.

Counted as elsewhere: every convolution, squeeze and excitation's two 1×1 convolutions included (they have biases, which
are parameters but no MACs), and the classifier. BN, activations, the excitation's gate and the addition of a block's
input work in place; what squeeze and excitation pool is a tensor of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoshrink.architecture import BlockPlan, MobilePlan
from autoshrink.steps import Layer, Step, classification, convolution


def mobile_steps(plan: MobilePlan) -> Iterator[Step]:
    """One image through a network of inverted residual blocks, from tensor ``input``."""
    channels = (plan.input[0], plan.stem.channels)
    stem = convolution("stem", "conv3x3", channels, plan.stem_size, 9 * channels[0] * channels[1])
    yield Step(("input",), "stem", _elements(channels[1], plan.stem_size), stem)
    tensor = "stem"
    for block in plan.blocks:
        yield from _block_steps(block, tensor)
        tensor = block.name if block.adds else f"{block.name}.project"
    if plan.head:
        channels = (plan.blocks[-1].out_channels, plan.features)
        yield _pointwise(tensor, "head", channels, plan.final_size)
        tensor = "head"
    yield from classification(tensor, plan.features, plan.classes)


def _block_steps(block: BlockPlan, source: str) -> Iterator[Step]:
    name, tensor, expanded = block.name, source, block.expanded
    if block.expands:
        yield _pointwise(source, f"{name}.expand", (block.in_channels, expanded), block.in_size)
        tensor = f"{name}.expand"
    op, weights = f"depthwise{block.kernel}x{block.kernel}", block.kernel**2 * expanded
    depthwise = convolution(f"{name}.depthwise", op, (expanded, expanded), block.size, weights)
    yield Step((tensor,), depthwise.name, _elements(expanded, block.size), depthwise)
    tensor = depthwise.name
    if block.squeezed is not None:
        yield from _excitation_steps(block, tensor, block.squeezed)
        tensor = f"{name}.excited"
    yield _pointwise(tensor, f"{name}.project", (expanded, block.out_channels), block.size)
    if block.adds:
        yield Step((f"{name}.project", source), name, _elements(block.out_channels, block.size), in_place=True)


def _excitation_steps(block: BlockPlan, source: str, squeezed: int) -> Iterator[Step]:
    name, expanded = block.name, block.expanded
    yield Step((source,), f"{name}.pooled", expanded)
    for reads, part, inputs, outputs in (
        ("pooled", "squeeze", expanded, squeezed),
        ("squeeze", "excite", squeezed, expanded),
    ):
        weights = inputs * outputs
        layer = Layer(f"{name}.{part}", "conv1x1, bias", inputs, outputs, (1, 1), weights + outputs, 0, weights)
        yield Step((f"{name}.{reads}",), layer.name, outputs, layer)
    yield Step((source, f"{name}.excite"), f"{name}.excited", _elements(expanded, block.size), in_place=True)


def _pointwise(source: str, name: str, channels: tuple[int, int], size: tuple[int, int]) -> Step:
    layer = convolution(name, "conv1x1", channels, size, channels[0] * channels[1])
    return Step((source,), name, _elements(channels[1], size), layer)


def _elements(channels: int, size: tuple[int, int]) -> int:
    return channels * size[0] * size[1]
