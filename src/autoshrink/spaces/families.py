"""Hand-made networks for a size of input, each scaled to a budget: where a search for whole networks begins.

They differ in what is worth most at a budget: where to pool, what a block is, how wide and how deep to be. How often
they halve the picture follows its size, and scaling to a small budget takes blocks away as well as channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    ActivationName,
    ConvArchitecture,
    Head,
    MobileArchitecture,
    MobileStage,
    Stem,
)
from autoshrink.budget import NEAR, Budget, shown
from autoshrink.cell import INPUT as CELL_INPUT
from autoshrink.cell import Cell
from autoshrink.errors import InputError
from autoshrink.spaces.fitting import Fitting, Seconds, share, used
from autoshrink.spaces.sizes import Scalable

INPUT, CLASSES = (3, 32, 32), 10
"""Of a cell whose file names neither: the paper's proxy (Table 1)."""
SMALLEST_MAP = 4
"""Height and width, in pixels, below which a default skeleton does not pool."""
FEW_PIXELS = 64
"""Largest height or width for which it has the paper's proxy network rather than ShrinkCNN's."""
SHRINKCNN = ((1, 12), (3, 24), (4, 44), (6, 88), (4, 180))
"""Cells and width of each stage (AutoShrink, released ShrinkCNN-A and -B at 224×224)."""


def default_skeleton(cell: Cell, shape: tuple[int, int, int] = INPUT, classes: int = CLASSES) -> ConvArchitecture:
    """A skeleton for a size of input, (channels, height, width).

    Up to 64 pixels it is the paper's proxy network (Table 1, T = 1): widths 16, 32, …, doubled and pooled until the map
    has 8 pixels or fewer, in two stages at least. Above that it is ShrinkCNN's: 1, 3, 4, 6, 4 cells, a stem of stride 2
    and a head. No stage pools to less than 4 pixels.

    Raises:
        InputError: the cell is not convolutional, or a number is out of range.
    """
    if min(shape) < 1:
        raise InputError(f"input: channels, height and width, each above zero, not {shape}")
    if max(shape[1:]) <= FEW_PIXELS:
        count = 2
        while _after(shape, count - 1) > 2 * SMALLEST_MAP:
            count += 1
        parts = [(1, 16 * 2**stage) for stage in range(count)]
        around: dict[str, Any] = {"stem": {"channels": 32, "stride": 1}, "head": None}
        size = min(shape[1:])
    else:
        parts, around = list(SHRINKCNN), {"stem": {"channels": 44, "stride": 2}, "head": {"channels": 1280}}
        size = -(-min(shape[1:]) // 2)
    stages = []
    for number, (cells, width) in enumerate(parts):
        pool = 2 if number > 0 and -(-size // 2) >= SMALLEST_MAP else 1
        size = -(-size // pool)
        stages.append({"cells": cells, "width": width, "pool": pool})
    value = {"format": ARCHITECTURE_FORMAT, "kind": "conv", "cell": cell, "input": list(shape), "classes": classes}
    return ConvArchitecture.from_json(value | {"stages": stages} | around)


CHAIN = Cell("conv", (CELL_INPUT, "sepconv3x3", "sepconv3x3"), ((0, 1), (1, 2)))
"""Two separable convolutions in a row, and the cell's shortcut around them."""
COMPLETE = Cell("conv", (CELL_INPUT, *["sepconv3x3"] * 3), ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)))
"""Four nodes, each of which reads all before it."""
DIVISORS = (4, 2, 1)
FAST_DIVISORS = (8, 4)
"""ONNX Runtime computes 8 channels at once on CPUs with AVX2: a depthwise 3×3 convolution of 16×16 pixels takes 7.1 µs
with 12 channels and 4.3 µs with 16, a dense one as long with 12 as with 16."""
SMALL_STEM = 12
"""Height and width, in pixels, below which no stem is strided."""
MOBILE = ((24, 2), (40, 3), (80, 3), (160, 3), (256, 2), (384, 2))
"""Channels and blocks at each size of the picture after the first, about as MobileNetV3-Large has them (Howard et al.
2019, Table 1)."""


def families(
    shape: tuple[int, int, int] = INPUT, classes: int = CLASSES, *, complete: Cell = COMPLETE, read: int | None = None
) -> dict[str, Scalable]:
    """Hand-made networks for a size of input, (channels, height, width), by what they are; not scaled yet.

    Those of blocks are like MobileNetV2 (Sandler et al. 2018), MobileNetV3 (Howard et al. 2019: squeeze and excitation,
    5×5, hard swish), EfficientNetV2 (Tan and Le 2021: fused blocks first) and ResNet-8 (He et al. 2016, in the size of
    MLPerf Tiny), or do not widen and are all the wider themselves; those of cells a chain of separable convolutions,
    and `complete`. `squeezed` is what a search of this package left on CIFAR-10 at 1M MACs (docs/beside.md): squeezed
    blocks throughout, larger kernels where the picture is small, no head. A stem of stride 2 leaves more to be spent on
    channels, so some are there with both; from 64 pixels on every stem is strided.

    Args:
        shape: of the input.
        classes: to tell apart.
        complete: a cell.
        read: height and width, in pixels, by which it is decided which there are; None: those of the input.
    """
    side = read or min(shape[1:])
    found: dict[str, Scalable] = {}
    for stride in (1, 2):
        if (stride == 1 and side >= FEW_PIXELS) or (stride == 2 and side < SMALL_STEM):
            continue
        small = stride == 1 and side >= SMALL_STEM
        stem = f"stem of stride {stride}"
        found[f"MobileNetV2, {stem}"] = _mobile(shape, classes, stride)
        found[f"separable residual, {stem}"] = _separable(shape, classes, stride)
        found[f"squeezed, {stem}"] = _squeezed(shape, classes, stride)
        found[f"chain, {stem}"] = _pooled(default_skeleton(CHAIN, shape, classes), stride)
        if not small:
            found[f"MobileNetV3, {stem}"] = _mobile(
                shape, classes, stride, expansion=4, squeeze=0.25, kernels=(3, 5, 3, 5), activation="hardswish"
            )
            found[f"EfficientNetV2, {stem}"] = _mobile(
                shape, classes, stride, expansion=4, fused=2, squeeze=0.25, activation="swish"
            )
        if stride == 1 or side >= FEW_PIXELS:
            found[f"ResNet, {stem}"] = _residual(shape, classes, stride)
            found[f"complete graph, {stem}"] = _pooled(default_skeleton(complete, shape, classes), stride)
    return found


def at_budget(
    networks: Mapping[str, Scalable],
    budget: Budget,
    *,
    seconds: Seconds | None = None,
    divisors: Sequence[int] | None = None,
    deepens: bool = True,
) -> dict[str, Scalable]:
    """Each network scaled to a budget, in width and depth.

    Args:
        networks: by name.
        budget: what they may cost.
        seconds: what one takes, as predicted; needed with a budget of latency.
        divisors: widths are multiples of the first of these that lets a network use 97 % of the budget, or of the last
            one; a network that is too large even so is left out. None: `divisors_for` the budget.
        deepens: whether the number of cells or blocks is scaled too.
    """
    found = {}
    for name, network in networks.items():
        for divisor in divisors or divisors_for(budget):
            try:
                fitted = Fitting(network, budget, deepens=deepens, divisor=divisor, seconds=seconds).fit()
            except InputError:  # even its smallest is too large, and the others go on without it
                continue
            found[name] = fitted
            if share(fitted, budget, seconds) >= NEAR:
                break
    return found


def smallest(networks: Mapping[str, Scalable], budget: Budget, seconds: Seconds | None = None) -> tuple[str, ...]:
    """What the smallest that scaling makes of any network takes of each budget that it breaks: ``1,234 MACs``."""
    divisor = divisors_for(budget)[-1]
    fitting = (Fitting(one, budget, deepens=True, divisor=divisor, seconds=seconds) for one in networks.values())
    uses = [used(one.smallest, budget, seconds) for one in fitting]
    least = [min(same, key=lambda use: use.used) for same in zip(*uses, strict=True)]
    return tuple(shown(use.used, use.name) for use in least if use.share > 1)


def divisors_for(budget: Budget) -> tuple[int, ...]:
    """What widths are multiples of, where that comes near enough to a budget."""
    return DIVISORS if budget.latency is None else FAST_DIVISORS


def _mobile(
    shape: tuple[int, int, int],
    classes: int,
    stride: int,
    *,
    expansion: int = 6,
    fused: int = 0,
    squeeze: float | None = None,
    kernels: Sequence[Literal[3, 5]] = (3,),
    activation: ActivationName = "relu6",
) -> MobileArchitecture:
    """Blocks at every size of the picture until it has fewer than 8 pixels, the first `fused` sizes of fused ones."""
    size = -(-min(shape[1:]) // stride)
    stages = [MobileStage(block="fused" if fused else "inverted", width=16, expansion=1)]
    for number, (width, blocks) in enumerate(MOBILE):
        if size < 2 * SMALLEST_MAP:
            break
        size = -(-size // 2)
        stages.append(
            MobileStage(
                block="fused" if number + 1 < fused else "inverted",
                blocks=blocks,
                width=width,
                expansion=expansion,
                kernel=kernels[number % len(kernels)],
                stride=2,
                # The first sizes have the most pixels, where it is not worth its time (Howard et al. 2019, §5.2).
                squeeze=squeeze if number else None,
                squeeze_of="expanded",
            )
        )
    return MobileArchitecture(
        input=shape,
        classes=classes,
        stem=Stem(channels=16, stride=stride),
        stages=tuple(stages),
        head=Head(channels=4 * stages[-1].width),
        activation=activation,
    )


def _separable(shape: tuple[int, int, int], classes: int, stride: int) -> MobileArchitecture:
    """Two blocks that do not widen at every size of the picture until it has fewer than 8 pixels, without a head.

    Residual blocks of a depthwise and a linear 1×1 convolution leave most of a small budget to be spent on channels.
    """
    size, stages = -(-min(shape[1:]) // stride), [MobileStage(blocks=2, width=32, expansion=1)]
    while size >= 2 * SMALLEST_MAP:
        size = -(-size // 2)
        stages.append(MobileStage(blocks=2, width=2 * stages[-1].width, expansion=1, stride=2))
    return MobileArchitecture(
        input=shape, classes=classes, stem=Stem(channels=32, stride=stride), stages=tuple(stages), activation="relu"
    )


def _squeezed(shape: tuple[int, int, int], classes: int, stride: int) -> MobileArchitecture:
    """Inverted residual blocks at every size of the picture until it has fewer than 8 pixels, a block each and two at
    the last: every one squeezed, the first not widened, the next three times and by a kernel of 5×5, all others four
    times and by 7×7; without a head."""
    size = -(-min(shape[1:]) // stride)
    stages = [MobileStage(width=16, expansion=1, squeeze=0.25, squeeze_of="expanded")]
    while size >= 2 * SMALLEST_MAP:
        size, second = -(-size // 2), len(stages) == 1
        stages.append(
            MobileStage(
                blocks=1 if size >= 2 * SMALLEST_MAP else 2,
                width=24 if second else stages[-1].width * 4 // 3,
                expansion=3 if second else 4,
                kernel=5 if second else 7,
                stride=2,
                squeeze=0.25,
                squeeze_of="expanded",
            )
        )
    return MobileArchitecture(
        input=shape,
        classes=classes,
        stem=Stem(channels=8, stride=stride),
        stages=tuple(stages),
        activation="hardswish",
    )


def _residual(shape: tuple[int, int, int], classes: int, stride: int) -> MobileArchitecture:
    """A block of two convolutions at every size of the picture, two at least, until it has 8 pixels or fewer."""
    size, stages = -(-min(shape[1:]) // stride), [MobileStage(block="basic", width=16)]
    while size > 2 * SMALLEST_MAP or (len(stages) == 1 and size == 2 * SMALLEST_MAP):
        size = -(-size // 2)
        stages.append(MobileStage(block="basic", width=2 * stages[-1].width, stride=2))
    return MobileArchitecture(
        input=shape, classes=classes, stem=Stem(channels=16, stride=stride), stages=tuple(stages), activation="relu"
    )


def _pooled(network: ConvArchitecture, stride: int) -> ConvArchitecture:
    """With a stem of another stride, and without the last poolings where they would leave less than 4 pixels."""
    network = network.model_copy(update={"stem": network.stem.model_copy(update={"stride": stride})})
    stages = list(network.stages)
    while min(network.plan().final_size) < SMALLEST_MAP and any(stage.pool > 1 for stage in stages):
        last = max(number for number, stage in enumerate(stages) if stage.pool > 1)
        stages[last] = stages[last].model_copy(update={"pool": 1})
        network = network.model_copy(update={"stages": tuple(stages)})
    return network


def _after(shape: tuple[int, int, int], pools: int) -> int:
    """The smaller side after so many poolings by 2."""
    side: int = min(shape[1:])
    return -(-side // (1 << pools))
