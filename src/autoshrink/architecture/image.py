"""Image classifiers: pixels, a first convolution, stages of cells or blocks, and classes to tell apart.

Nothing here knows tensors. `ImageArchitecture.plan` works out every shape once; costs are counted from the plan and
networks are built from it, so neither can disagree with the other about what the network is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from autoshrink.architecture.base import MOST_PARTS, Architecture, Frozen, Names, Size
from autoshrink.cell import Cell
from autoshrink.errors import InputError
from autoshrink.ops import ActivationName

Shape = Annotated[
    tuple[Size, Size, Size],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
]

Stage = TypeVar("Stage")


def _as_stages(value: object) -> object:
    """A list as a tuple, unless it is too long for even one part a stage."""
    if isinstance(value, list | tuple):
        if len(value) > MOST_PARTS:
            raise ValueError(f"{len(value):,} stages; at most {MOST_PARTS:,} can be built")
        return tuple(value)
    return value


Stages = Annotated[tuple[Stage, ...], BeforeValidator(_as_stages), Field(min_length=1)]


MOST_KERNEL = 31
"""Pixels: a larger kernel than was ever trained."""


class Stem(Frozen):
    """What stands before the first cell or block: a convolution with BN and activation, and what may follow it.

    Attributes:
        channels: of the convolution.
        stride: of it.
        kernel: of it, pixels; odd.
        separable: channels of a 3×3 separable convolution after it, each half with BN and activation; None for none.
        pool: max-pooling at the end; 1 for none.
    """

    channels: Size = 32
    stride: Size = 1
    kernel: Annotated[Size, Field(le=MOST_KERNEL)] = 3
    separable: Size | None = None
    pool: Size = 1

    @field_validator("kernel")
    @classmethod
    def _centred(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("a kernel has a middle: an odd number of pixels")
        return kernel

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what a file that lacks it would mean."""
        usual = {"kernel": 3, "separable": None, "pool": 1}
        return {name: value for name, value in dump(self).items() if name not in usual or value != usual[name]}

    def sized(self, channels: int) -> Stem:
        """With so many channels; those after its separable convolution go with them."""
        separable = self.separable and max(1, round(self.separable * channels / self.channels))
        return self.model_copy(update={"channels": channels, "separable": separable})

    @property
    def out_channels(self) -> int:
        """Channels of what it gives."""
        return self.separable or self.channels

    @property
    def reduction(self) -> int:
        """Pixels of the image for one of what it gives, in each direction."""
        return self.stride * self.pool

    @property
    def words(self) -> str:
        """What stands there: ``conv7x7 16/4, sepconv3x3 32, maxpool 2``, channels and strides."""
        parts = [f"conv{self.kernel}x{self.kernel} {self.channels}" + (f"/{self.stride}" if self.stride > 1 else "")]
        parts += [f"sepconv3x3 {self.separable}"] if self.separable else []
        return ", ".join(parts + ([f"maxpool {self.pool}"] if self.pool > 1 else []))


class Head(Frozen):
    """A 1×1 convolution, BN, activation before the global pooling."""

    channels: Size


class PartPlan(Protocol):
    """A cell or a block, with its shapes: channels, and (height, width) in pixels."""

    @property
    def name(self) -> str:
        """``stage1.cell1`` and so on."""

    @property
    def out_channels(self) -> int:
        """Channels of its output."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its output, pixels."""

    @property
    def stride(self) -> int:
        """Pixels of its input for one of its output, in each direction."""


Part_co = TypeVar("Part_co", bound=PartPlan, covariant=True)


@dataclass(frozen=True)
class NetworkPlan(Generic[Part_co]):
    """Every shape of an image network: channels, and (height, width) in pixels; `parts` are its cells or blocks.

    `stem_size` is that of the stem's convolutions, before it pools.
    """

    input: tuple[int, int, int]
    stem: Stem
    stem_size: tuple[int, int]
    parts: tuple[Part_co, ...]
    head: Head | None
    features: int
    classes: int
    activation: ActivationName

    @property
    def first_size(self) -> tuple[int, int]:
        """Height and width that the first part reads, pixels."""
        return reduced(self.stem_size, self.stem.pool)

    @property
    def final_size(self) -> tuple[int, int]:
        """Height and width where the global pooling happens, pixels."""
        return self.parts[-1].size


class ImageArchitecture(Architecture):
    """What every image classifier has: `input` is (channels, height, width), `classes` how many it tells apart.

    `part` is what its stages count: ``cells`` or ``blocks``.
    """

    part: ClassVar[str]

    input: Shape
    classes: Names
    stem: Stem = Stem()
    stages: Stages[Any]
    head: Head | None = None
    activation: ActivationName = "relu"

    @field_validator("stages")
    @classmethod
    def _can_be_built(cls, stages: tuple[Any, ...]) -> tuple[Any, ...]:
        parts = sum(getattr(stage, cls.part) for stage in stages)
        if parts > MOST_PARTS:
            raise ValueError(f"{parts:,} {cls.part} in all stages; at most {MOST_PARTS:,} can be built")
        return stages

    @property
    def sizes(self) -> str:
        """The input's shape, for example ``3×224×224``."""
        return "×".join(map(str, self.input))

    def __str__(self) -> str:
        """Input, stem and stages (parts, width, stride): ``mobile network 3×32×32, 16/2, 1x16, 2x24/2``."""
        first = f"{self.stem.channels}" + (f"/{self.stem.stride}" if self.stem.stride > 1 else "")
        stem = first if self.stem == Stem(channels=self.stem.channels, stride=self.stem.stride) else self.stem.words
        strides = [getattr(stage, "pool", 0) or stage.stride for stage in self.stages]
        stages = [
            f"{getattr(stage, self.part)}x{stage.width}" + (f"/{stride}" if stride > 1 else "")
            for stage, stride in zip(self.stages, strides, strict=True)
        ]
        return f"{self.kind} network {', '.join((self.sizes, stem, *stages))}"

    @abstractmethod
    def plan(self) -> NetworkPlan[PartPlan]:
        """Every shape of the network, worked out once."""

    def _planned(self, parts: Callable[[int, tuple[int, int]], Iterator[Part_co]]) -> NetworkPlan[Part_co]:
        """The plan; `parts` are made from the channels and the size that the first of them reads."""
        _, height, width = self.input
        stem_size = reduced((height, width), self.stem.stride)
        planned = tuple(parts(self.stem.out_channels, reduced(stem_size, self.stem.pool)))
        features = self.head.channels if self.head else planned[-1].out_channels
        return NetworkPlan(
            self.input, self.stem, stem_size, planned, self.head, features, self.classes, self.activation
        )


def reduced(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width after a stride, rounded up, pixels."""
    return -(-size[0] // stride), -(-size[1] // stride)


def image_architecture(model: Cell | Architecture, what: str) -> ImageArchitecture:
    """An architecture as one of images.

    Args:
        model: what should be one.
        what: its name, and who asks: ``shrinkrnn: timm``.

    Raises:
        InputError: it is none; the message begins with `what`.
    """
    if isinstance(model, ImageArchitecture):
        return model
    word = "cell" if isinstance(model, Cell) else "architecture"
    raise InputError(f"{what} takes image architectures, and this is a {model.kind} {word}")
