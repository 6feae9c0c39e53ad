"""From one encoded image, of any kind people have, to uint8 pixels of one size; and a whole batch of them.

The rules: EXIF rotation is applied; transparency is composited on white; 16-bit values are scaled to 8 bits, not
clipped; the first frame of an animation counts; the shorter side is scaled to the target with an antialiased bicubic
filter and the centre is cropped.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from autoshrink.data.images import ImageSource, Payload, Pixels, SkippedFile, reason
from autoshrink.errors import DataError, InputError

# Only these decoders of Pillow are used: some others (EPS) run external programs on what they are given.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

Progress = Callable[[int, int], None]
"""Told (images tried, images to try) after each image."""

# What Pillow raises on corrupt bytes; tests/test_data_decoding.py damages files of these formats at random.
CORRUPT = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@contextmanager
def bombs_only() -> Iterator[None]:
    """Inside, Pillow is silent on harmless oddities and raises on images so large that they are meant to harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(payload: Payload, *, size: int, channels: int | None) -> Pixels:
    """Return the image as uint8 (c, size, size).

    `channels` forces 1 or 3; with None the image keeps its kind: 1 for grey modes (also with alpha, 1-bit or 16-bit),
    else 3. Raises one of the exceptions in `CORRUPT` for an image that cannot be decoded.
    """
    image = opened(payload)
    # JPEG decodes many times faster at 1/2, 1/4 or 1/8 scale; twice the target leaves the filter enough to average.
    image.draft(None, (2 * size, 2 * size))
    image.load()
    image = flattened(ImageOps.exif_transpose(image))
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


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
        return Image.open(io.BytesIO(payload), formats=FORMATS)
    except UnidentifiedImageError as error:
        # Pillow's own message shows the address of a buffer.
        raise ValueError(f"not an image in any of these formats: {', '.join(FORMATS)}") from error


def from_pixels(pixels: Pixels) -> Image.Image:
    """Return pixels uint8 (c, h, w) as an image in mode L or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def flattened(image: Image.Image) -> Image.Image:
    """Return the image in mode L or RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return _to_eight_bits(image)
    grey = image.mode in {"1", "L", "LA"}
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if grey else "RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    # Pillow opens 16-bit grey as "I;16" or "I" depending on format and version, so "I" is taken to be 16 bits wide.
    pixels = np.asarray(image)
    full = 1 if image.mode == "F" else 65535
    if not (pixels.min() >= 0 and pixels.max() <= full):  # NaN must not pass either
        raise ValueError(f"pixel values outside 0..{full} (mode {image.mode}): their range is unknown")
    return Image.fromarray(np.rint(pixels * (255 / full)).astype(np.uint8))


class Reading:
    """Decodes images of one source on demand, remembers every one, and stops when too many are corrupt."""

    def __init__(
        self,
        source: ImageSource,
        *,
        size: int,
        channels: int | None,
        max_corrupt: float,
        progress: Progress | None = None,
    ) -> None:
        """Read from `source`; more than the share `max_corrupt` (0..1) of undecodable images is an error.

        Raises InputError for a setting out of range.
        """
        if size < 1:
            raise InputError(f"image size is {size} pixels; it must be at least 1")
        if channels not in (None, 1, 3):
            raise InputError(f"channels is {channels}; it must be 1 (grey) or 3 (RGB), or left out")
        if not 0 <= max_corrupt <= 1:
            raise InputError(f"max_corrupt is {max_corrupt}; it is a share between 0 and 1")
        self._source = source
        self._size, self._channels = size, channels
        self._max_corrupt = max_corrupt
        self._progress = progress
        self._failures: dict[int, str] = {}
        self.pictures: dict[int, Pixels] = {}
        """The decoded images by index, uint8 (c, size, size) each."""

    @property
    def attempted(self) -> list[int]:
        """The indices tried so far, ascending."""
        return sorted((*self.pictures, *self._failures))

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What could not be decoded, ascending by index."""
        return tuple(SkippedFile(self._source.describe(i), self._failures[i]) for i in sorted(self._failures))

    def attempt(self, indices: Iterable[int]) -> None:
        """Decode those of the indices not tried before. Raises DataError when too many of all tried are corrupt."""
        tried = {*self.pictures, *self._failures}
        new = np.array(sorted(set(indices) - tried), dtype=np.int64)
        total = len(tried) + len(new)
        with bombs_only():
            for done, (index, payload) in enumerate(self._source.payloads(new), start=len(tried) + 1):
                try:
                    self.pictures[index] = decode(payload, size=self._size, channels=self._channels)
                except CORRUPT as error:
                    self._failures[index] = reason(error)
                if self._progress is not None:
                    self._progress(done, total)
        self._check_share()

    def stacked(self, indices: Iterable[int]) -> Pixels:
        """Return these decoded images as (n, c, size, size); c is 1 if every image decoded so far is grey, else 3."""
        depth = max(len(picture) for picture in self.pictures.values())
        shape = (depth, self._size, self._size)
        chosen = [np.broadcast_to(self.pictures[index], shape) for index in indices]
        return np.stack(chosen) if chosen else np.empty((0, *shape), dtype=np.uint8)

    def _check_share(self) -> None:
        bad, total = len(self._failures), len(self.pictures) + len(self._failures)
        if bad > self._max_corrupt * total:
            named = "; ".join(f"{skipped.path}: {skipped.reason}" for skipped in self.skipped[:3])
            raise DataError(
                f"{self._source.location}: {bad} of {total} images cannot be decoded, more than the allowed "
                f"{self._max_corrupt:.0%} ({named}{'; …' if bad > 3 else ''})\n"
                "mend or delete them, or allow a larger share with --max-corrupt"
            )
