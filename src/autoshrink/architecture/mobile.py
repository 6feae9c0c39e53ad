"""Networks of inverted residual blocks: MobileNetV2, MnasNet, EfficientNet-B0; what a found cell is compared with.

A block widens its input by `expansion` with a 1×1 convolution, filters every channel by itself (depthwise), narrows to
`width` with a 1×1 convolution without activation, and adds its input where channels and size agree (MobileNetV2:
Sandler et al. 2018, Fig. 3 and Table 1). MnasNet-A1 (Tan et al. 2019, Fig. 7) and EfficientNet (Tan and Le 2019,
Table 1) squeeze and excite (Hu et al. 2018) between the depthwise and the narrowing convolution. Expansion 1 has no
widening convolution: a depthwise separable block, the first one of all three.

Channels stand as they are after the published rounding (to a multiple of 8, never below 90 %). The paddings are
symmetric, kernel // 2, as in PyTorch; TensorFlow's "SAME" pads strided convolutions at one side, with equal counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autoshrink.architecture.base import Depth, Frozen, Size
from autoshrink.architecture.image import ImageArchitecture, NetworkPlan, Stages, Stem, reduced
from autoshrink.ops import ActivationName


class MobileStage(Frozen):
    """Equal blocks in a row; the first one has the stride, and takes the channels of whatever comes before.

    Args:
        blocks: how many.
        width: channels of each block's output.
        expansion: the depthwise convolution's channels, in multiples of the block's input channels.
        kernel: of the depthwise convolution.
        stride: of the first block's depthwise convolution.
        squeeze: channels between squeeze and excitation, as a share of the block's input channels (rounded down, at
            least 1); None for a block without.
        squeeze_of: ``"input"``, or ``"expanded"`` for a share of the depthwise convolution's channels instead.
    """

    blocks: Depth = 1
    width: Size
    expansion: Size = 6
    kernel: Literal[3, 5, 7] = 3
    stride: Size = 1
    squeeze: Annotated[float, Field(gt=0, le=1)] | None = None
    squeeze_of: Literal["input", "expanded"] = "input"


@dataclass(frozen=True)
class BlockPlan:
    """One block, with its shapes.

    Attributes:
        name: ``stage1.block1`` and so on.
        in_channels: channels of its input.
        in_size: height and width of its input, pixels.
        expanded: channels of the depthwise convolution.
        kernel: of the depthwise convolution.
        stride: likewise.
        squeezed: channels between squeeze and excitation; None without.
        size: height and width of its output, pixels: ceil(in_size / stride).
        out_channels: channels of its output.
    """

    name: str
    in_channels: int
    in_size: tuple[int, int]
    expanded: int
    kernel: int
    stride: int
    squeezed: int | None
    size: tuple[int, int]
    out_channels: int

    @property
    def expands(self) -> bool:
        """Whether there is a 1×1 convolution before the depthwise one."""
        return self.expanded != self.in_channels

    @property
    def adds(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.in_channels == self.out_channels


class MobileArchitecture(ImageArchitecture):
    """A whole network of inverted residual blocks as a value; it has no cell."""

    part: ClassVar[str] = "blocks"

    kind: Literal["mobile"] = "mobile"
    cell: None = Field(default=None, exclude=True)
    stem: Stem = Stem(stride=2)
    stages: Stages[MobileStage]
    activation: ActivationName = "relu6"

    def plan(self) -> NetworkPlan[BlockPlan]:
        """Every shape of the network, worked out once."""
        return self._planned(self._blocks)

    def _blocks(self, channels: int, size: tuple[int, int]) -> Iterator[BlockPlan]:
        for number, stage in enumerate(self.stages, start=1):
            for position in range(stage.blocks):
                stride, expanded = stage.stride if position == 0 else 1, channels * stage.expansion
                block = BlockPlan(
                    name=f"stage{number}.block{position + 1}",
                    in_channels=channels,
                    in_size=size,
                    expanded=expanded,
                    kernel=stage.kernel,
                    stride=stride,
                    squeezed=_squeezed(stage, channels, expanded),
                    size=reduced(size, stride),
                    out_channels=stage.width,
                )
                yield block
                channels, size = block.out_channels, block.size


def _squeezed(stage: MobileStage, channels: int, expanded: int) -> int | None:
    if stage.squeeze is None:
        return None
    return max(1, int(stage.squeeze * (channels if stage.squeeze_of == "input" else expanded)))
