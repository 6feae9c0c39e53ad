"""What stands between an image file and a network: one value, stored with every trained model and exported file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from autoshrink.data.crops import centre
from autoshrink.data.images import Payload, Pixels
from autoshrink.data.picture import Window
from autoshrink.errors import InputError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """From an image of any kind to what a network reads.

    Images of more than 8 bits a pixel are scaled to 8 from the values that those of the training images fill. EXIF
    rotation is applied, transparency composited on white, the shorter side scaled with an antialiased bicubic
    filter to size / crop, the centre of `size` cropped, and every channel normalised: (pixel / 255 − mean) / std.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        size: height = width of the network's input, pixels.
        mean: of each channel, of pixels in [0, 1].
        std: of each channel, likewise.
        crop: share of the shorter side that the centre crop keeps, in (0, 1]; .875 is usual at 224 pixels.
        window: values of images of more than 8 bits that become 0 and 255; None for all that their kind can hold (0 to
            65,535; 0 to 1 in floating point).
    """

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float = 1.0
    window: Window | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be applied.

        Raises:
            InputError: a value is out of range; the message names it.
        """
        if self.channels not in (1, 3):
            raise InputError(f"preprocessing: channels is {self.channels}; it must be 1 or 3")
        if self.size < 1 or not 0 < self.crop <= 1:
            raise InputError(f"preprocessing: size {self.size} and crop {self.crop}: at least 1, and within (0, 1]")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise InputError(f"preprocessing: mean and std need {self.channels} values, std above 0")
        if self.window is not None and not (math.isfinite(sum(self.window)) and self.window[0] < self.window[1]):
            raise InputError(f"preprocessing: window {self.window}: two numbers, the first below the second")

    @property
    def scaled(self) -> int:
        """The shorter side before the centre crop, pixels."""
        return round(self.size / self.crop)

    def pixels(self, payload: Payload) -> Pixels:
        """One image, encoded or as pixels, as uint8 (channels, size, size).

        Raises whatever decoding raises for an image that is none (`autoshrink.data.decoding.CORRUPT`).
        """
        return centre(payload, size=self.size, scaled=self.scaled, channels=self.channels, window=self.window)

    def normalised(self, images: Pixels) -> Floats:
        """uint8 (n, channels, size, size) as the float32 of the same shape that the network reads."""
        shape = (1, self.channels, 1, 1)
        mean = np.asarray(self.mean, dtype=np.float32).reshape(shape) * np.float32(255)
        scale = np.float32(1) / (np.asarray(self.std, dtype=np.float32).reshape(shape) * np.float32(255))
        normalised: Floats = (images.astype(np.float32) - mean) * scale
        return normalised

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        value = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        # Earlier versions refuse a field that they do not know, and need it for deep images only.
        window = value.pop("window")
        return value if window is None else value | {"window": list(window)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From such an object.

        Raises:
            InputError: a field is missing, unknown or out of range.
        """
        if not isinstance(value, dict):
            raise InputError(f"preprocessing: a JSON object is needed (got {value!r})")
        try:
            fields = dict(value) | {name: tuple(map(float, value[name])) for name in ("mean", "std")}
            if fields.get("window") is not None:
                low, high = map(float, fields["window"])
                fields["window"] = (low, high)
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"preprocessing: {error}") from error
