"""From one encoded image, of any kind people have, to uint8 pixels of one size; and a whole batch of them.

The rules: EXIF rotation is applied; transparency is composited on white; deep values (16 or 32 bits, floating point)
are scaled to 8 bits from the window that the training images fill; the first frame of an animation counts; the shorter
side is scaled to the target with an antialiased bicubic filter and the centre is cropped (`autoshrink.data.picture`).
"""

import io
import math
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from autoshrink.data.formats import formats, unread
from autoshrink.data.images import ImageSource, Payload, Pixels, SkippedFile, reason
from autoshrink.data.picture import Window, prepared
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown
from autoshrink.quantity import counted

Progress = Callable[[int, int], None]
"""Called with (images tried, images to try) after each image."""

Scaling = Window | Literal["own"] | None
"""How deep images become ones of 8 bits: from a window, each from its own range, or from all that its mode can hold."""

# What Pillow raises on corrupt bytes; tests/test_data_decoding.py damages files of these formats at random.
CORRUPT = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


MOST_PIXELS = 250_000_000
"""Of an image, unless AUTOSHRINK_MAX_PIXELS says otherwise; a phone's panorama has 100 million, and 250 million take
750 MB while they are decoded (JPEG far less: it is read at an eighth of its size)."""
LIMIT_VARIABLE = "AUTOSHRINK_MAX_PIXELS"


def most_pixels() -> int:
    """Return how many pixels an image may have: the environment's AUTOSHRINK_MAX_PIXELS, or `MOST_PIXELS`.

    Raises InputError where that is no whole number above zero.
    """
    said = os.environ.get(LIMIT_VARIABLE, "")
    if not said:
        return MOST_PIXELS
    digits = said.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15 and int(digits)):
        raise InputError(f"{LIMIT_VARIABLE}={shown(said, 40)}: a whole number of pixels, such as 400000000")
    return int(digits)


@contextmanager
def reading_images() -> Iterator[None]:
    """Inside, Pillow is silent on harmless oddities, and `opened` alone says which images are too large to be read.

    Raises InputError where the environment's limit is no number.
    """
    most_pixels()
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode(payload: Payload, *, size: int, channels: int | None, window: Scaling = None) -> Pixels:
    """Return the image as uint8 (c, size, size).

    `channels` forces 1 or 3; with None the image keeps its kind: 1 for grey modes (also with alpha, 1-bit or deep),
    else 3. `window` scales deep images; "own" takes the range of each for itself. Raises one of the exceptions in
    `CORRUPT` for an image that cannot be decoded.
    """
    image = opened(payload)
    scaled = window_for(image, window)
    mode = None if channels is None else "L" if channels == 1 else "RGB"
    pixels = np.asarray(prepared(image, size, mode, scaled))
    return np.ascontiguousarray(pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def resized(images: Pixels, size: int) -> Pixels:
    """Square images in memory, uint8 (n, c, h, h), brought to uint8 (n, c, size, size) by what `decode` scales with.

    Of images that were scaled once already it makes nearly, not exactly, what decoding them at this size does.
    """
    return np.stack([decode(image, size=size, channels=images.shape[1]) for image in images])


def opened(payload: Payload) -> Image.Image:
    """Return the image; the pixels of an encoded one are not read yet.

    Raises one of the exceptions in `CORRUPT` for what is no image, and a payload that is an exception itself.
    """
    if isinstance(payload, OSError):
        raise payload
    if not isinstance(payload, bytes):
        return from_pixels(payload)
    if not payload:
        raise ValueError("empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(payload), formats=formats())
    except UnidentifiedImageError as error:
        # Pillow's own message shows the address of a buffer.
        why = unread(payload) or f"not an image in any of these formats: {', '.join(formats())}"
        raise ValueError(why) from error
    if image.width * image.height > most_pixels():
        raise ValueError(
            f"{image.width:,} × {image.height:,} pixels, above the limit of {most_pixels():,}; "
            f"{LIMIT_VARIABLE}={image.width * image.height} in the environment allows it"
        )
    return image


def from_pixels(pixels: Pixels) -> Image.Image:
    """Return pixels uint8 (c, h, w) as an image in mode L or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def is_deep(image: Image.Image) -> bool:
    """Tell a grey image of more than 8 bits a pixel: 16 or 32, signed or not, or floating point."""
    return image.mode.startswith("I") or image.mode == "F"


def window_for(image: Image.Image, window: Scaling) -> Window | None:
    """Return what scales this image: nothing for one of 8 bits.

    Raises ValueError for a deep image with values that are no numbers, or, where no window is known, with values
    outside of what its mode is usually made for: 0..65535 in whole numbers, 0..1 in floating point.
    """
    if not is_deep(image):
        return None
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low + high):
        raise ValueError(f"pixel values that are no numbers (mode {image.mode}): their range is unknown")
    if window == "own":
        return (low, high) if high > low else (low, low + 1)
    # Pillow opens 16-bit grey as "I;16" or "I" depending on format and version, so "I" is taken to be 16 bits wide.
    full = 1 if image.mode == "F" else 65535
    if window is None and not (low >= 0 and high <= full):
        raise ValueError(f"pixel values outside 0..{full} (mode {image.mode}): their range is unknown")
    return window


LARGEST_SIZE = 4096
"""Height = width, pixels, that images are brought to at most: 50 MB each in colour, before a network sees them."""


def check_images(*, size: int, channels: int | None, max_corrupt: float) -> None:
    """Raise InputError for a size in pixels, a number of channels or a share of corrupt images that cannot be."""
    if not 1 <= size <= LARGEST_SIZE:
        raise InputError(f"image size is {shown(size, 40)} pixels; it must be at least 1 and at most {LARGEST_SIZE:,}")
    if channels not in (None, 1, 3):
        raise InputError(f"channels is {channels}; it must be 1 (grey) or 3 (RGB), or left out")
    if not 0 <= max_corrupt <= 1:
        raise InputError(f"max_corrupt is {max_corrupt}; it is a share between 0 and 1")


class CorruptImages:
    """The images of one source that cannot be decoded, of `total`; more than the share `most` are refused."""

    def __init__(
        self, source: ImageSource, total: int, most: float, way: str = ", or allow more: --set data.max_corrupt=0.2"
    ) -> None:
        self.total = total
        self.reasons: dict[int, str] = {}
        """Why each of these images cannot be decoded, by index."""
        self._source, self._most, self._way = source, most, way

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What could not be decoded, ascending by index."""
        return tuple(SkippedFile(self._source.describe(i), self.reasons[i]) for i in sorted(self.reasons))

    def add(self, failures: Mapping[int, str]) -> None:
        """Note images by index, with the reason; DataError, naming the first three, where they are too many."""
        self.reasons |= failures
        bad = len(self.reasons)
        if failures and bad > self._most * self.total:
            named = "; ".join(f"{skipped.path}: {skipped.reason}" for skipped in self.skipped[:3])
            raise DataError(
                f"{self._source.location}: {bad} of {self.total} images cannot be decoded, more than the allowed "
                f"{self._most:.0%} ({named}{'; …' if bad > 3 else ''})\nmend or delete them{self._way}"
            )

    def note(self) -> str | None:
        """A sentence about them, or None."""
        if not self.reasons:
            return None
        named = ", ".join(skipped.path for skipped in self.skipped[:3])
        many = counted(len(self.reasons), "image")
        verb = "is" if len(self.reasons) == 1 else "are"
        return f"{many} cannot be decoded and {verb} left out: {named}{', …' if len(self.reasons) > 3 else ''}"


class Reading:
    """Decodes images of one source on demand, remembers every one, and stops when too many are corrupt."""

    def __init__(
        self,
        source: ImageSource,
        *,
        size: int,
        channels: int | None,
        max_corrupt: float,
        window: Window | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Deep images are scaled from `window`; InputError for a setting out of range."""
        check_images(size=size, channels=channels, max_corrupt=max_corrupt)
        self._source, self._progress = source, progress
        self._size, self._channels, self._window = size, channels, window
        self.corrupt = CorruptImages(source, 0, max_corrupt)
        self.pictures: dict[int, Pixels] = {}
        """The decoded images by index, uint8 (c, size, size) each."""

    @property
    def attempted(self) -> list[int]:
        """The indices tried so far, ascending."""
        return sorted((*self.pictures, *self.corrupt.reasons))

    def attempt(self, indices: Iterable[int]) -> None:
        """Decode those of the indices not tried before. Raises DataError when too many of all tried are corrupt."""
        tried = self.attempted
        new = np.array(sorted(set(indices).difference(tried)), dtype=np.int64)
        self.corrupt.total = len(tried) + len(new)
        failures = {}
        with reading_images():
            for done, (index, payload) in enumerate(self._source.payloads(new), start=len(tried) + 1):
                try:
                    picture = decode(payload, size=self._size, channels=self._channels, window=self._window)
                    self.pictures[index] = picture
                except CORRUPT as error:
                    failures[index] = reason(error)
                if self._progress is not None:
                    self._progress(done, self.corrupt.total)
        self.corrupt.add(failures)

    def stacked(self, indices: Iterable[int]) -> Pixels:
        """Return these decoded images as (n, c, size, size); c is 1 if every image decoded so far is grey, else 3."""
        depth = max(len(picture) for picture in self.pictures.values())
        shape = (depth, self._size, self._size)
        chosen = [np.broadcast_to(self.pictures[index], shape) for index in indices]
        return np.stack(chosen) if chosen else np.empty((0, *shape), dtype=np.uint8)
