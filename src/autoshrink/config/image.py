"""Settings of a search for image classification."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from autoshrink.architecture import ActivationName
from autoshrink.config.base import (
    ImageDataSettings,
    Overrides,
    Recipe,
    ResourceName,
    SearchSettings,
    Section,
    Share,
    batch_for,
)
from autoshrink.score import JudgeName


class ImageData(ImageDataSettings):
    """Which images the candidates are compared on."""

    spec: str = "digits"
    size: PositiveInt | None = None
    """Height and width in pixels; None is the data set's own size, 32 for image folders."""
    channels: Literal[1, 3] | None = None
    """None: 1 where every image is grey, else 3."""
    train_per_class: PositiveInt = 500
    validation_per_class: PositiveInt = 250
    """At most; never more than a third of a class."""
    max_corrupt: Share = 0.05
    """Share of unreadable files above which the data set is refused."""
    replacement: bool = False
    """Draw with replacement, as the released proxy script does."""


class ImageNetwork(Section):
    """The proxy network around the cell (AutoShrink, Table 1)."""

    stem: PositiveInt = 32
    widths: Annotated[
        tuple[PositiveInt, ...],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(min_length=1),
    ] = (16, 32, 64)
    """Channels of every node, a number a stage; stages after the first start with a 2×2 max-pooling."""
    activation: ActivationName = "relu"


STEPS = 14
"""Of an epoch, at least, where the batch follows the number of images: as many as 900 of the built-in digits make."""
SMALLEST_BATCH, LARGEST_BATCH = 8, 64
"""Then; BN takes its statistics of a batch."""


class ImageRecipe(Recipe):
    """How one candidate is trained. The defaults are those of the released CNN search, but for two early
    stops."""

    epochs: PositiveInt = 20
    batch: Annotated[int, Field(ge=2)] | None = 128
    """None, the default at a budget: by the number of training images (`for_images`)."""
    learning_rate: PositiveFloat = 4e-3
    """Of Adam; of a cosine its peak."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Of the learning rate: constant, as released; or a climb over the first twentieth of the steps, then half a cosine
    to zero, at whose end the weights have settled."""
    l2: NonNegativeFloat = 1e-5
    """Strength of Σw² (without ½) on dense convolutions and the classifier; depthwise kernels have none."""
    shortcut_l2: NonNegativeFloat = 4e-5
    """The same for the shortcut's projections."""
    augment: bool = False
    """Random horizontal flips and crops padded by an eighth; off in the paper's proxy."""
    stop_accuracy: Share | None = None
    """Leave an epoch when the running training accuracy (EMA .99, restarted each epoch) passes this; .98 in the
    released search. Off by default for the same reason as `overfit_ratio`."""
    patience: PositiveInt | None = 5
    """Stop after so many epochs in a row without a new best validation accuracy."""
    floor_epoch: NonNegativeInt | None = 3
    """Stop at this epoch (from 0) when the accuracy is below twice chance, or, for few classes, a ninth of the way from
    chance to perfect: .20 for ten classes, the released threshold."""
    overfit_ratio: PositiveFloat | None = None
    """Stop when the validation loss exceeds this many running training losses; 3 in the released search. Off by
    default: where an epoch has few batches, BN's running statistics lag, and the rule ends large cells after two
    epochs (benchmarks/early_stops.py)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast on CUDA devices that have it, float32 elsewhere."""

    @property
    def images_a_step(self) -> int:
        """The batch, once it is known."""
        assert self.batch is not None, "the images decide it where nobody does"
        return self.batch

    def for_images(self, images: int) -> Self:
        """With a batch: what was asked for, or the largest power of two, from 8 to 64, that makes `STEPS` steps of an
        epoch."""
        if self.batch is not None:
            return self
        return self.model_copy(update={"batch": batch_for(images, STEPS, least=SMALLEST_BATCH, most=LARGEST_BATCH)})


class ImageSettings(SearchSettings):
    """Everything that decides what a search on images does."""

    task: Literal["image"] = "image"
    data: ImageData = ImageData()
    network: ImageNetwork = ImageNetwork()
    recipe: ImageRecipe = ImageRecipe()
    nodes: Annotated[int, Field(ge=2, le=64)] = 8
    candidates: PositiveInt | Literal["all"] = 10
    resource: ResourceName = "macs"
    judge: JudgeName = "probability"
    formula: Literal["paper"] = "paper"


PAPER: Overrides = {
    "paired": False,
    "reselect": False,
    "choice": "finalists",
    "beside": (),
    "judge": "performance",
    "data": {"validation_per_class": 100, "replacement": True},
    "recipe": {"stop_accuracy": 0.98, "overfit_ratio": 3.0},
}
"""What the released search does otherwise: subsets drawn with replacement, 100 validation images a class, a seed for
each candidate, all of its early stops, and the highest recorded S named best."""

AT_BUDGET: Overrides = {
    "recipe": {"schedule": "cosine", "learning_rate": 1e-2, "batch": None, "patience": None, "floor_epoch": None},
}
"""Networks of equal cost are close to one another, and a rate that stays high to the end tells more of the last batches
than of them (benchmarks/short_recipes.py). Of a folder of 300 photographs batches of 64 would make three steps an
epoch; and some networks are still at chance after four epochs that come to 80 % after twenty (200 spectrograms)."""

DIGITS: Overrides = {
    "nodes": 6,
    "candidates": 5,
    "data": {"train_per_class": 90, "validation_per_class": 45},
    "network": {"stem": 16, "widths": [8, 16, 32]},
    "recipe": {"epochs": 8, "batch": 64},
    "penalty": 0.02,
}
"""The built-in 8×8 digits: a search of minutes on two CPU cores. They are so easy that even a cell of one operation
gets 96 %; λ = .02 makes a decade of MACs worth two points of accuracy, not ten."""

DIGITS_COMPARED: Overrides = {"data": {"train_per_class": 60, "validation_per_class": 30}}
"""Fewer of the digits, so that a comparison has fifty a class that no search sees."""
