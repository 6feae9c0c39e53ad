"""Image classifiers: an input of pixels, classes to tell apart, and between them whatever the kind says."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from autoshrink.architecture.base import Architecture, Names, Size
from autoshrink.cell import Cell
from autoshrink.errors import InputError

Shape = Annotated[
    tuple[Size, Size, Size],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
]


class ImageArchitecture(Architecture):
    """What every image classifier has: `input` is (channels, height, width), `classes` how many it tells apart."""

    input: Shape
    classes: Names

    @property
    def sizes(self) -> str:
        """The input's shape, for example ``3×224×224``."""
        return "×".join(map(str, self.input))


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
