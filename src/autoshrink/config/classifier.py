"""Settings of the final training of an image classifier: data, recipe, and the recipes that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.config.base import ImageDataSettings, Overrides, Section, Share, batch_for, merge
from autoshrink.config.explaining import explained
from autoshrink.config.training import FinalSettings
from autoshrink.errors import InputError

RecipeName = Literal["small", "large", "published", "adamw"]
SMALL_PIXELS = 64
"""Inputs of at most so many pixels in height get the small recipe by default, larger ones the large."""
REFERENCE_BATCH = 256
"""Default learning rates are given for this batch, and scale with it."""
FEW_STEPS = 40
"""Smaller data sets get smaller batches, for about so many steps an epoch."""
TUNING = 0.1
"""Share of the learning rate that training goes on with from given weights."""


class ClassifierData(ImageDataSettings):
    """Which images a classifier is trained on, in full, and how they reach it."""

    spec: str = "digits"
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the training images, drawn class by class, where the data have no validation split of their own."""
    max_corrupt: Share = 0.05
    """Share of unreadable files above which the data set is refused."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the shorter side that the centre crop keeps in validation and later use."""
    pixels: Literal["measured", "symmetric"] = "measured"
    """How pixels are normalised: by mean and deviation of the training images, or to [−1, 1]."""
    stream: bool | None = None
    """Read images from disk in every epoch instead of holding them in memory; None: where they would not fit."""
    workers: NonNegativeInt | None = None
    """Processes that decode streamed images; None: one a spare CPU, eight at most."""


class ClassifierRecipe(Section):
    """How a classifier is trained."""

    epochs: PositiveInt
    batch: Annotated[int, Field(ge=2)]
    """Images a step, over all processes and micro-batches."""
    accumulation: PositiveInt = 1
    """Micro-batches that a step's batch is cut into: as many times less memory, the same step (but for BN's
    statistics, which are those of a micro-batch)."""
    optimiser: Literal["sgd", "rmsprop", "adam", "adamw"] = "sgd"
    learning_rate: PositiveFloat
    final_rate: NonNegativeFloat = 0.0
    """At the end of the cosine."""
    warmup: NonNegativeFloat = 5.0
    """Epochs in which the learning rate climbs to its peak, by the same amount a step."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    """For sgd."""
    l2: NonNegativeFloat = 0.0
    """Strength of Σw² (without ½) on dense convolutions and the classifier, for sgd and rmsprop; depthwise kernels, BN
    and biases have none."""
    shortcut_l2: NonNegativeFloat | None = None
    """The same for the projections in shortcuts; None for `l2`."""
    weight_decay: NonNegativeFloat = 0.0
    """AdamW's decoupled decay, of the same weights."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    ema: Annotated[float, Field(ge=0, lt=1)] | None = 0.999
    """What the average of the weights keeps a step; the average is measured and kept. None for none."""
    clip: PositiveFloat | None = None
    """Largest norm of the gradient."""
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Weight of a new batch in BN's running statistics."""
    bn_epsilon: PositiveFloat = 1e-5
    sync_bn: bool = False
    """BN over the batches of all processes (CUDA)."""
    augment: AugmentSettings = AugmentSettings()
    patience: PositiveInt | None = None
    """Stop after so many epochs in a row without a new best validation accuracy."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 autocast on CUDA devices that have it, float32 elsewhere. float16 is for CUDA alone."""
    compile: bool = False
    """torch.compile: worth its minutes in long trainings on CUDA."""

    @field_validator("ema", mode="before")
    @classmethod
    def _zero_is_none(cls, kept: Any) -> Any:
        return None if kept == 0 else kept

    @field_validator("accumulation")
    @classmethod
    def _cuts_the_batch(cls, pieces: int, info: ValidationInfo) -> int:
        batch = info.data.get("batch")
        if batch is not None and 2 * pieces > max(batch, 2):
            raise ValueError(f"a batch of {batch} is cut into pieces of two images at least")
        return pieces

    @field_validator("l2", "weight_decay")
    @classmethod
    def _is_the_optimisers(cls, strength: float, info: ValidationInfo) -> float:
        optimiser = info.data.get("optimiser")
        if strength and optimiser is not None and (optimiser == "adamw") != (info.field_name == "weight_decay"):
            raise ValueError("l2 is for sgd and rmsprop, weight_decay for adamw")
        return strength


class ClassifierSettings(FinalSettings):
    """Of a classifier."""

    preset: RecipeName
    """The recipe whose defaults these are."""
    start: str | None = None
    """The trained classifier that it starts from; None for fresh weights."""
    data: ClassifierData
    recipe: ClassifierRecipe


@dataclass(frozen=True)
class TrainingContext:
    """What default settings depend on.

    Attributes:
        size: height and width of the input, pixels.
        channels: 1 or 3.
        images: in the training split.
        start: what trained weights bring with them, where it starts from some: their crop, their BN's epsilon.
        built_in: whether the data are the built-in digits, with which one tries things out.
    """

    size: int
    channels: int
    images: int
    start: Overrides | None = None
    built_in: bool = False


_CROPS: dict[bool, Overrides] = {True: {"crop": "pad"}, False: {"crop": "resized"}}

_PUBLISHED: Overrides = {
    "data": {"crop": 0.875, "pixels": "symmetric"},
    "recipe": {
        "epochs": 300,
        "batch": 256,
        "warmup": 10.0,
        "bn_momentum": 0.001,
        "bn_epsilon": 1e-3,
        "augment": {
            "crop": "resized",
            "scale": [0.75, 1.0],
            "ratio": [0.75, 1.33],
            "jitter": [0.4, 0.4, 0.4, 0.1],
            "erasing": 0.5,
        },
    },
}

_PRESETS: tuple[RecipeName, ...] = ("small", "large", "published", "adamw")


def classifier_settings(overrides: Overrides, context: TrainingContext) -> ClassifierSettings:
    """Settings of a final training: those asked for, over the defaults of a recipe.

    The recipe is ``preset``, by default ``small`` for inputs of at most 64 pixels and ``large`` above; ``published`` is
    how AutoShrink's networks were trained on ImageNet. Grey images are not flipped by default: most are characters, and
    a mirrored one is another or none.

    Raises:
        InputError: a setting is unknown or out of range; the message names it.
    """
    small = context.size <= SMALL_PIXELS
    preset = overrides.get("preset") or ("small" if small else "large")
    if preset not in _PRESETS:
        raise InputError(f"setting preset: no recipe is called {preset!r}; choose from {', '.join(_PRESETS)}")
    recipe = overrides.get("recipe")
    given = recipe if isinstance(recipe, Mapping) else {}
    optimiser = given.get("optimiser") or {"published": "rmsprop", "adamw": "adamw"}.get(preset, "sgd")
    defaults = merge(_defaults(preset, context), {"preset": preset, "recipe": _forces(optimiser, preset, small)})
    learned = defaults["recipe"]
    # No step sees more images than there are.
    batch = min(given["batch"], context.images) if isinstance(given.get("batch"), int) else learned["batch"]
    rate = learned["learning_rate"] * batch / REFERENCE_BATCH * (1.0 if context.start is None else TUNING)
    learned["learning_rate"] = float(f"{rate:.3g}")
    if isinstance(given.get("epochs"), int):
        # A short training does not spend half of itself on getting up to speed.
        learned["warmup"] = min(learned["warmup"], given["epochs"] / 10)
    return _validated(merge(defaults, overrides))


def _forces(optimiser: str, preset: RecipeName, small: bool) -> dict[str, Any]:
    """What goes with an optimiser: its learning rate for the reference batch, and what holds the weights small."""
    if optimiser == "adamw":
        return {"optimiser": optimiser, "learning_rate": 1e-3, "weight_decay": 0.05, "clip": 1.0}
    if optimiser == "adam":
        return {"optimiser": optimiser, "learning_rate": 4e-3, "l2": 1e-5}
    small = small and preset != "published"
    l2 = 4e-5 if preset == "published" else 2.5e-4 if small else 2e-5
    return {"optimiser": optimiser, "learning_rate": 0.2 if small else 0.1, "l2": l2}


def _defaults(preset: RecipeName, context: TrainingContext) -> dict[str, Any]:
    small = context.size <= SMALL_PIXELS
    always = merge({"recipe": {"augment": {"flip": 0.5 if context.channels == 3 else 0.0}}}, context.start or {})
    if preset == "published":
        return merge(_PUBLISHED, always)
    recipe: dict[str, Any] = {
        "epochs": 100,
        "batch": batch_for(context.images, FEW_STEPS, least=16, most=128 if small else 256),
        "warmup": 5.0,
        "augment": _CROPS[small],
    }
    if context.built_in:
        recipe |= {"epochs": 15, "warmup": 1.0}
    return merge({"data": {"crop": 1.0 if small else 0.875}, "recipe": recipe}, always)


def _validated(value: Mapping[str, Any]) -> ClassifierSettings:
    try:
        return ClassifierSettings.model_validate(value)
    except ValidationError as error:
        raise InputError(explained(error, ClassifierSettings)) from error
