"""What stands around a cell, or around blocks, before it is scaled: given, or made for the size of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    ActivationName,
    ConvArchitecture,
    MobileArchitecture,
    Stage,
    Stem,
)
from autoshrink.cell import Cell
from autoshrink.crafting.sizes import Scalable
from autoshrink.errors import InputError

INPUT, CLASSES = (3, 32, 32), 10
"""Of a cell whose file names neither: the paper's proxy (Table 1)."""
SMALLEST_MAP = 4
"""Height and width, in pixels, below which a default skeleton does not pool."""
FEWEST_PIXELS = 3
"""Height and width, in pixels, below which no network of inverted residual blocks is strided for another input."""
FEW_PIXELS = 64
"""Largest height or width for which it has the paper's proxy network rather than ShrinkCNN's."""
SHRINKCNN = ((1, 12), (3, 24), (4, 44), (6, 88), (4, 180))
"""Cells and width of each stage (AutoShrink, released ShrinkCNN-A and -B at 224×224)."""


@dataclass(frozen=True)
class Surroundings:
    """What a person says about the network around the cell; None for what the skeleton has.

    Attributes:
        shape: the input's channels, height, width.
        classes: to tell apart.
        stages: in order.
        stem: channels and stride of the first convolution.
        head: channels of the 1×1 convolution before the pooling, or ``none``.
        activation: after every convolution but the leaves'.
    """

    shape: tuple[int, int, int] | None = None
    classes: int | None = None
    stages: tuple[Stage, ...] | None = None
    stem: Stem | None = None
    head: int | Literal["none"] | None = None
    activation: ActivationName | None = None

    def around(self, skeleton: Scalable) -> Scalable:
        """The skeleton with what was said; strides that are too many for another input are taken out.

        Raises:
            InputError: a value is out of range, or stages are given to a network without cells; the message names it.
        """
        if self.stages and isinstance(skeleton, MobileArchitecture):
            raise InputError(
                "stages: cells and widths for a network of cells; one of inverted residual blocks has its own, "
                "which budgets scale"
            )
        said: dict[str, Any] = {
            "input": self.shape and list(self.shape),
            "classes": self.classes,
            "stages": self.stages and [stage.model_dump() for stage in self.stages],
            "stem": self.stem and self.stem.model_dump(),
            "activation": self.activation,
        }
        value = skeleton.to_json() | {name: entry for name, entry in said.items() if entry is not None}
        if self.head is not None:
            value["head"] = None if self.head == "none" else {"channels": self.head}
        found = type(skeleton).from_json(value)
        assert isinstance(found, ConvArchitecture | MobileArchitecture), "as the skeleton is"
        if isinstance(found, MobileArchitecture) and found.input[1:] != skeleton.input[1:]:
            return strided(found, stem=self.stem is not None)
        return found


def strided(network: MobileArchitecture, *, stem: bool = False) -> MobileArchitecture:
    """A network of inverted residual blocks without the strides that leave fewer than 3 pixels at its end.

    MobileNetV2 has five, for 224 pixels. At 32 the first two go, the stem's and the second stage's, as in the versions
    for CIFAR that people use; at 48 and 64 the stem's goes, and at 96 none.

    Args:
        network: with its input.
        stem: keep the stem's stride whatever follows.
    """
    first, stages = network.stem, list(network.stages)
    place = 0 if stem else -1
    while min(network.plan().final_size) < FEWEST_PIXELS and place < len(stages):
        if place < 0:
            first = Stem(channels=first.channels, stride=1)
        else:
            stages[place] = stages[place].model_copy(update={"stride": 1})
        network = network.model_copy(update={"stem": first, "stages": tuple(stages)})
        place += 1
    return network


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


def _after(shape: tuple[int, int, int], pools: int) -> int:
    """The smaller side after so many poolings by 2."""
    side: int = min(shape[1:])
    return -(-side // (1 << pools))
