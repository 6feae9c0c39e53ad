"""Networks of blocks: MobileNetV1 to V3, MnasNet, EfficientNet-B0 and V2, ResNet; what a found cell is compared with.

A block is one of four (`BlockName`), each with its shortcut where it has one:

- ``inverted`` widens its input by `expansion` with a 1×1 convolution, filters every channel by itself (depthwise),
  narrows to `width` with a 1×1 convolution without activation, and adds its input where channels and size agree
  (MobileNetV2: Sandler et al. 2018, Fig. 3 and Table 1). Expansion 1 has no widening convolution.
- ``fused`` widens with a dense k×k convolution, which filters too (EfficientNetV2: Tan and Le 2021, Fig. 2): more MACs,
  and less time for each. Expansion 1 is that convolution alone, to `width`.
- ``basic`` is two dense k×k convolutions and a shortcut, which is a 1×1 convolution where channels or size differ, and
  an activation after the addition (ResNet: He et al. 2016, Fig. 2 and §4.2).
- ``separable`` is a depthwise convolution and a 1×1 one, both with activation and without shortcut (MobileNetV1: Howard
  et al. 2017, Fig. 3).

MnasNet-A1 (Tan et al. 2019, Fig. 7), EfficientNet (Tan and Le 2019, Table 1) and MobileNetV3 (Howard et al. 2019,
Fig. 4) squeeze and excite (Hu et al. 2018) after the k×k convolution.

Channels stand as they are after the published rounding (to a multiple of 8, never below 90 %). The paddings are
symmetric, kernel // 2, as in PyTorch; TensorFlow's "SAME" pads strided convolutions at one side, with equal counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from autoshrink.architecture.base import Depth, Frozen, Size
from autoshrink.architecture.image import ImageArchitecture, NetworkPlan, Stages, Stem, reduced
from autoshrink.ops import ActivationName, Convolution

BlockName = Literal["inverted", "fused", "basic", "separable"]
WIDENING: tuple[BlockName, ...] = ("inverted", "fused")
"""The blocks that an expansion goes with."""


class MobileStage(Frozen):
    """Equal blocks in a row; the first one has the stride, and takes the channels of whatever comes before.

    Args:
        block: what they are; the module says it.
        blocks: how many.
        width: channels of each block's output.
        expansion: channels within the block, in multiples of its input's, rounded down; 1 where the block does not
            widen.
        kernel: of the depthwise or dense convolutions.
        stride: of the first block's first one.
        squeeze: channels between squeeze and excitation, as a share of the block's input channels (rounded down, at
            least 1); None for a block without.
        squeeze_of: ``"input"``, or ``"expanded"`` for a share of the channels that are squeezed instead.
        activation: of these blocks; None for the network's.
    """

    block: BlockName = "inverted"
    blocks: Depth = 1
    width: Size
    expansion: Annotated[int | float, Field(gt=0, le=10**6)] = 6
    kernel: Literal[3, 5, 7] = 3
    stride: Size = 1
    squeeze: Annotated[float, Field(gt=0, le=1)] | None = None
    squeeze_of: Literal["input", "expanded"] = "input"
    activation: ActivationName | None = None

    @model_validator(mode="before")
    @classmethod
    def _expands(cls, value: Any) -> Any:
        """A block that does not widen needs no expansion."""
        if isinstance(value, dict) and value.get("block", "inverted") not in WIDENING:
            return {"expansion": 1} | value
        return value

    @field_validator("expansion")
    @classmethod
    def _of_this_block(cls, expansion: float, info: ValidationInfo) -> float:
        block = info.data.get("block")
        if block is not None and block not in WIDENING and expansion != 1:
            raise ValueError(f"a {block} block does not widen; {' and '.join(WIDENING)} ones do")
        return int(expansion) if expansion == int(expansion) else expansion

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `block` and `activation` where a file that has none would mean the same."""
        return {
            name: value
            for name, value in dump(self).items()
            if (name, value) not in (("block", "inverted"), ("activation", None))
        }


@dataclass(frozen=True)
class LayerPlan:
    """One convolution of a block, BN, and an activation or none.

    Attributes:
        name: within its block: ``expand``, ``depthwise``, ``project``; ``dense`` and ``dense2``; ``shortcut``.
        form: what it is.
        channels: of its input and of its output.
        size: height and width of its output, pixels.
        stride: pixels of its input for one of its output.
        activation: what follows BN; None for nothing.
    """

    name: str
    form: Convolution
    channels: tuple[int, int]
    size: tuple[int, int]
    stride: int = 1
    activation: ActivationName | None = None


@dataclass(frozen=True)
class BlockPlan:
    """One block, with its shapes.

    Attributes:
        name: ``stage1.block1`` and so on.
        block: what it is.
        in_channels: channels of its input.
        in_size: height and width of its input, pixels.
        expanded: channels of what the depthwise, or the first dense convolution makes.
        kernel: of the depthwise or dense convolutions.
        stride: of the first of these.
        squeezed: channels between squeeze and excitation; None without.
        size: height and width of its output, pixels: ceil(in_size / stride).
        out_channels: channels of its output.
        activation: of its layers.
        layers: its convolutions in order, the shortcut's left out.
    """

    name: str
    block: BlockName
    in_channels: int
    in_size: tuple[int, int]
    expanded: int
    kernel: int
    stride: int
    squeezed: int | None
    size: tuple[int, int]
    out_channels: int
    activation: ActivationName
    layers: tuple[LayerPlan, ...]

    @property
    def expands(self) -> bool:
        """Whether there is a 1×1 convolution before the depthwise one."""
        return self.layers[0].name == "expand"

    @property
    def adds(self) -> bool:
        """Whether the input, or what a 1×1 convolution made of it, is added to the output."""
        return self.block == "basic" or (self._fits and self.block != "separable")

    @property
    def shortcut(self) -> LayerPlan | None:
        """The 1×1 convolution that gives a ``basic`` block's input the output's shape; None where none is needed."""
        if self.block != "basic" or self._fits:
            return None
        return LayerPlan("shortcut", Convolution(), (self.in_channels, self.out_channels), self.size, self.stride)

    @property
    def last_activation(self) -> ActivationName | None:
        """What follows the addition; None for nothing."""
        return self.activation if self.block == "basic" else None

    @property
    def excited(self) -> str | None:
        """The layer whose output is squeezed and excited; None without."""
        filters = [layer.name for layer in self.layers if layer.form.kernel > 1]
        return None if self.squeezed is None else filters[-1]

    @property
    def _fits(self) -> bool:
        return self.stride == 1 and self.in_channels == self.out_channels


class MobileArchitecture(ImageArchitecture):
    """A whole network of blocks as a value; it has no cell."""

    part: ClassVar[str] = "blocks"

    kind: Literal["mobile"] = "mobile"
    cell: None = Field(default=None, exclude=True)
    stem: Stem = Stem(stride=2)
    stages: Stages[MobileStage]
    activation: ActivationName = "relu6"

    def plan(self) -> NetworkPlan[BlockPlan]:
        """Every shape of the network, worked out once."""
        return self._planned(self._blocks)

    def identity(self) -> dict[str, Any]:
        """See `Architecture.identity`; how blocks are put into stages makes no difference."""
        blocks = [vars(block) | {"name": "", "layers": len(block.layers)} for block in self.plan().parts]
        return self.to_json() | {"stages": blocks}

    def _blocks(self, channels: int, size: tuple[int, int]) -> Iterator[BlockPlan]:
        for number, stage in enumerate(self.stages, start=1):
            activation = stage.activation or self.activation
            for position in range(stage.blocks):
                stride, in_size = stage.stride if position == 0 else 1, size
                size = reduced(size, stride)
                layers = tuple(_layers(stage, activation, channels, (in_size, size), stride))
                expanded = next(layer for layer in layers if layer.form.kernel > 1).channels[1]
                yield BlockPlan(
                    name=f"stage{number}.block{position + 1}",
                    block=stage.block,
                    in_channels=channels,
                    in_size=in_size,
                    expanded=expanded,
                    kernel=stage.kernel,
                    stride=stride,
                    squeezed=_squeezed(stage, channels, expanded),
                    size=size,
                    out_channels=stage.width,
                    activation=activation,
                    layers=layers,
                )
                channels = stage.width


def _layers(
    stage: MobileStage,
    activation: ActivationName,
    reads: int,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    stride: int,
) -> Iterator[LayerPlan]:
    """The convolutions of a block that reads so many channels; `sizes` are those of its input and output."""
    before, size = sizes
    width, inner, kernel = stage.width, max(1, int(reads * stage.expansion)), stage.kernel
    match stage.block:
        case "basic":
            yield LayerPlan("dense", Convolution(kernel), (reads, width), size, stride, activation)
            yield LayerPlan("dense2", Convolution(kernel), (width, width), size)
            return
        case "fused":
            inner = width if stage.expansion == 1 else inner
            yield LayerPlan("dense", Convolution(kernel), (reads, inner), size, stride, activation)
            if stage.expansion == 1:
                return
        case _:
            if inner != reads:
                yield LayerPlan("expand", Convolution(), (reads, inner), before, 1, activation)
            form = Convolution(kernel, depthwise=True)
            yield LayerPlan("depthwise", form, (inner, inner), size, stride, activation)
    ends = activation if stage.block == "separable" else None
    yield LayerPlan("project", Convolution(), (inner, width), size, 1, ends)


def _squeezed(stage: MobileStage, channels: int, expanded: int) -> int | None:
    if stage.squeeze is None:
        return None
    return max(1, int(stage.squeeze * (channels if stage.squeeze_of == "input" else expanded)))
