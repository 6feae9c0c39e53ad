"""Image classifiers: pixels, a first convolution, stages of cells or blocks, and classes to tell apart.

Nothing here knows tensors. `ImageArchitecture.plan` works out every shape once; costs are counted from the plan and
networks are built from it, so neither can disagree with the other about what the network is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BeforeValidator, Field, field_validator

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


class Stem(Frozen):
    """The first convolution: 3×3, BN, activation."""

    channels: Size = 32
    stride: Size = 1


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
    """Every shape of an image network: channels, and (height, width) in pixels; `parts` are its cells or blocks."""

    input: tuple[int, int, int]
    stem: Stem
    stem_size: tuple[int, int]
    parts: tuple[Part_co, ...]
    head: Head | None
    features: int
    classes: int
    activation: ActivationName

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
        stem = f"{self.stem.channels}" + (f"/{self.stem.stride}" if self.stem.stride > 1 else "")
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
        planned = tuple(parts(self.stem.channels, stem_size))
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
