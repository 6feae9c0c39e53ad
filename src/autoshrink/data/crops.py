"""Parts of images: the centre, as measuring sees it, and boxes of random area and aspect, as training does."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from autoshrink.data.decoding import decode, opened, window_for
from autoshrink.data.images import Indices, Payload, Pixels
from autoshrink.data.picture import Window, flattened

TRIES = 10
DRAWS = 2 * TRIES + 2
"""Uniform numbers that one random box is made of."""

Draws = npt.NDArray[np.float64]
"""Uniform numbers in [0, 1)."""

Range = tuple[float, float]


@dataclass(frozen=True)
class RandomCrop:
    """The rule of random resized crops (Szegedy et al. 2015, as all frameworks have it): area and aspect are drawn up
    to ten times until the box fits; then the largest centred box of an aspect within range is taken.

    Attributes:
        scale: smallest and largest area, as a share of the image's; the area is uniform.
        ratio: smallest and largest width / height; its logarithm is uniform.
    """

    scale: Range
    ratio: Range

    def boxes(self, draws: Draws, height: int, width: int) -> Indices:
        """Return boxes (left, top, width, height) in whole pixels inside an image, int64 (n, 4), from draws (n, DRAWS).

        Areas and aspects are within range before they are rounded to pixels.
        """
        areas = height * width * _between(draws[:, :TRIES], *self.scale)
        ratios = np.exp(_between(draws[:, TRIES : 2 * TRIES], math.log(self.ratio[0]), math.log(self.ratio[1])))
        widths, heights = (np.rint(np.sqrt(sides)).astype(np.int64) for sides in (areas * ratios, areas / ratios))
        fits = np.asarray((widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height))
        first, every = fits.argmax(axis=1), np.arange(len(draws))
        some = np.asarray(fits.any(axis=1))
        spare_width, spare_height = self._largest(height, width)
        wide = np.where(some, widths[every, first], spare_width)
        high = np.where(some, heights[every, first], spare_height)
        places = np.where(some[:, np.newaxis], draws[:, 2 * TRIES :], 0.5)
        left = (places[:, 0] * (width - wide + 1)).astype(np.int64)
        top = (places[:, 1] * (height - high + 1)).astype(np.int64)
        return np.stack([left, top, wide, high], axis=1)

    def _largest(self, height: int, width: int) -> tuple[int, int]:
        low, high = self.ratio
        return min(width, max(1, round(height * high))), min(height, max(1, round(width / low)))

    def pixels(
        self, payload: Payload, draws: Draws, *, size: int, channels: int, window: Window | None = None
    ) -> Pixels:
        """Decode one image, cut the box that `draws` (DRAWS,) give, and scale it: uint8 (channels, size, size).

        Box and scaling work on the picture as it is seen (EXIF rotation applied), in full resolution. Raises one of
        the exceptions in `autoshrink.data.decoding.CORRUPT` for an image that cannot be decoded.
        """
        image = opened(payload)
        if image.format == "TIFF":
            # Recent Pillow says the size of a TIFF as it is seen, older Pillow as it is stored.
            image = ImageOps.exif_transpose(image)
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        width, height = reversed(image.size) if turned else image.size
        left, top, wide, high = self.boxes(draws[np.newaxis], height, width)[0].tolist()
        # JPEG is decoded at a half, a quarter or an eighth of its size where the box stays at least twice the target.
        least = math.ceil(2 * size * max(width / wide, height / high))
        image.draft(None, (least, least))
        image = flattened(ImageOps.exif_transpose(image), window_for(image, window))
        image = image.convert("L" if channels == 1 else "RGB")
        across, down = image.width / width, image.height / height
        # Rounding must not carry the box a hair beyond the image: Pillow would refuse it.
        right, bottom = min((left + wide) * across, image.width), min((top + high) * down, image.height)
        box = (left * across, top * down, right, bottom)
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
        return np.ascontiguousarray(pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1))


def centre(payload: Payload, *, size: int, scaled: int, channels: int | None, window: Window | None = None) -> Pixels:
    """Return the image as uint8 (c, size, size): its shorter side scaled to `scaled` pixels, and the centre cropped.

    Does what `Preprocessing.pixels` does, before mean and deviation are known; arguments and errors as in `decode`.
    """
    margin = (scaled - size) // 2
    image = decode(payload, size=scaled, channels=channels, window=window)
    return np.ascontiguousarray(image[:, margin : margin + size, margin : margin + size])


def _between(draws: Draws, low: float, high: float) -> Draws:
    return low + draws * (high - low)
