"""How training images are varied."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from autoshrink.config.base import Section, Share

MAX_MAGNITUDE = 30
"""Of RandAugment's operations (Cubuk et al. 2020, whose scale this is)."""


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 - what pydantic makes a message of
            f"a probability between 0 and 1 is needed, not {str(value).lower()}"
        )
    return value


Probability = Annotated[Share, BeforeValidator(_no_switch)]


class AugmentSettings(Section):
    """What is done to each training image, anew in every epoch; each can be switched off."""

    crop: Literal["none", "pad", "resized"] = "pad"
    """pad: the image, shifted by up to an eighth of its height, the mean colour moving in. resized: a part of random
    area and aspect, scaled to the network's size (Szegedy et al. 2015)."""
    scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)
    """Smallest and largest area of resized crops, as a share of the image's; .75 to 1 in AutoShrink's released
    training."""
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 4 / 3)
    """Smallest and largest width / height of resized crops."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    jitter: (
        tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat, Annotated[float, Field(ge=0, le=0.5)]] | None
    ) = None
    """Brightness, contrast and saturation are each multiplied by a factor within 1 ± these; the hue is turned by up
    to ± the fourth, as a share of the colour circle. Needs kornia."""
    randaugment: tuple[PositiveInt, Annotated[float, Field(ge=0, le=MAX_MAGNITUDE)]] | None = None
    """How many random operations are applied to each image, and how strongly (0 to 30). Needs kornia."""
    erasing: Probability = 0.0
    """Probability that a random rectangle is filled with noise (Zhong et al. 2020)."""

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not low <= high < math.inf:
                raise ValueError(f"{name}: the smaller value comes first (got {low}, {high})")
        return self

    @property
    def changes_colours(self) -> bool:
        """Whether an operation is asked for that kornia does."""
        return self.jitter is not None or self.randaugment is not None
