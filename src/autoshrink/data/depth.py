"""What the files of a data set hold before anything is scaled: deep images, and the window of values that they fill.

A camera's 12 bits stored in 16 fill a sixteenth of what the file could hold; a scan of one material, a few hundred
values around some thousand. Scaled from all that 16 bits can hold they would become a handful of grey levels, or one.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from autoshrink.data.decoding import CORRUPT, is_deep, opened, reading_images, window_for
from autoshrink.data.images import ImageSource, Indices, Payload, Pixels, payload_of, sample
from autoshrink.data.picture import Window
from autoshrink.quantity import counted
from autoshrink.seeding import derive_seed

LOOKED_AT = 500
"""Images that are looked at, where a set has more."""
MOST_DEEP = 250
"""Deep images whose values are read for a window."""
VALUES = 4096
"""Values of an image that count, drawn at random where it has more."""

TAIL = 0.001
"""Share of the values at each end that may be far off: hot and dead pixels."""
MARGIN = 0.5
"""How far the window goes beyond the others, as a share of their range; what is further out is clipped."""
APART = 4
"""A single value at an end, background or a mark for no data, is let go where the others' range is so many times less.
It stays apart from them, in the margin."""

FEW_LEVELS = 16
"""Of 256: pixels that use no more have lost nearly all that there was to see."""

_Values = npt.NDArray[np.float64]


@dataclass
class Depth:
    """What was seen in the files so far."""

    looked: int = 0
    cut_colours: int = 0
    """Images of 16 bits in each colour, of which Pillow reads the upper 8."""
    stacks: int = 0
    """Files of several pictures."""
    deep: int = 0
    """Images of more than 8 bits a pixel."""
    _values: list[_Values] = field(default_factory=list)

    def look(self, index: int, payload: Payload) -> None:
        """Look at one more image; what cannot be read is passed over, for whoever decodes it to report."""
        if not isinstance(payload, bytes):
            return
        try:
            image = opened(payload)
            self.looked += 1
            self.cut_colours += cuts_colours(image, payload)
            self.stacks += bool(getattr(image, "is_animated", False))
            if is_deep(image):
                self.deep += 1
                if len(self._values) < MOST_DEEP:
                    window_for(image, "own")  # which refuses values that are no numbers
                    self._values.append(_some(np.asarray(image), index))
        except CORRUPT:
            return

    def window(self) -> Window | None:
        """Return the window that the deep images fill; None where none is deep."""
        return window_of(np.concatenate(self._values)) if self._values else None

    def notes(self, window: Window | None) -> tuple[str, ...]:
        """Return sentences for a person."""
        images, found = f"{counted(self.looked, 'image')} looked at", []
        if window:
            values = " to ".join(f"{value:,.6g}" for value in window)
            others = "" if self.deep == self.looked else "; the others stay as they are"
            found.append(
                f"{_share(self.deep, images)} more than 8 bits a pixel: values {values} become 0 to 255, and what is "
                f"beyond is clipped{others}"
            )
        if self.cut_colours:
            found.append(f"{_share(self.cut_colours, images)} 16 bits in each colour: only the upper 8 are read")
        if self.stacks:
            found.append(f"{_share(self.stacks, images)} several pictures: the first one counts")
        return tuple(found)


def look_through(source: ImageSource, indices: Indices) -> Depth:
    """Look at up to `LOOKED_AT` of these images of a source, drawn always alike.

    Raises DataError when the container they are in cannot be read.
    """
    depth = Depth()
    chosen = sample(source, indices, LOOKED_AT, derive_seed(0, "depth"))
    with reading_images():
        for index, handle in zip(chosen.tolist(), source.handles(chosen), strict=True):
            depth.look(index, payload_of(handle))
    return depth


def window_of(values: _Values) -> Window:
    """Return the smallest window that holds all values but those far off from all others.

    It is the range of the values, cut where they go on for more than half of the range that 99.8 % of them are in. A
    value by itself at an end (0 around a scan, −32768 for no data) counts as far off if the others are close together.
    """
    low, high = float(values.min()), float(values.max())
    bulk = values
    for end in (low, high):
        others = bulk[bulk != end]
        if others.size and 0 < np.ptp(others) < np.ptp(bulk) / APART:
            bulk = others
    first, last = (float(value) for value in np.quantile(bulk, (TAIL, 1 - TAIL)))
    if last > first:
        margin = MARGIN * (last - first)
        low, high = max(low, first - margin), min(high, last + margin)
    return (low, high) if high > low else (low, low + 1)


def cuts_colours(image: Image.Image, payload: bytes) -> bool:
    """Tell an image of 16 bits in each of several channels."""
    if image.format == "PNG":
        return payload[24:26] in {b"\x10\x02", b"\x10\x04", b"\x10\x06"}  # IHDR: depth, and a colour type with several
    bits = getattr(image, "tag_v2", {}).get(258, ()) if image.format == "TIFF" else ()
    return isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8


def pixel_notes(images: Pixels) -> tuple[str, ...]:
    """Return sentences about decoded images (n, …) that are one constant colour, or use few of the 256 levels."""
    if not images.size:
        return ()
    flat = images.reshape(len(images), -1)
    constant = int((flat.max(axis=1) == flat.min(axis=1)).sum())
    seen = np.flatnonzero(np.bincount(flat.ravel(), minlength=256) > TAIL * flat.size)
    low, high = (int(seen[0]), int(seen[-1])) if len(seen) else (0, 255)
    sentences = (
        (constant, f"{_share(constant, f'{len(images):,} training images')} one constant grey level in every pixel"),
        (
            high - low < FEW_LEVELS,
            f"nearly all pixels are between {low} and {high} of 0 to 255: too few levels to tell much by; images of "
            "more than 8 bits are better kept in 16-bit grey files, whose own range is used",
        ),
    )
    return tuple(sentence for there, sentence in sentences if there)


def _some(values: npt.NDArray[np.generic], index: int) -> _Values:
    flat = values.ravel()
    if flat.size > VALUES:
        flat = flat[np.random.Generator(np.random.PCG64(index)).integers(0, flat.size, VALUES)]
    return flat.astype(np.float64)


def _share(count: int, of: str) -> str:
    return f"{count:,} of {of} {'has' if count == 1 else 'have'}"
