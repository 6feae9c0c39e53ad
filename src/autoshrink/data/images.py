"""The values of this package: labelled images in memory, and image sources that decode nothing until asked.

Letters used in shapes: n images, c channels (1 grey or 3 RGB), h height and w width in pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from autoshrink.errors import DataError
from autoshrink.escaping import shown

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

Payload = bytes | Pixels | OSError
"""One image as its source holds it: an encoded file, pixels (c, h, w), or why the file could not be read."""

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Decoded images of one size: `images` uint8 (n, c, h, w), values 0..255; `labels` int64 (n,), class indices."""

    images: Pixels
    labels: Indices

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together (our own mistake, never a user's)."""
        assert self.images.dtype == np.uint8
        assert self.images.ndim == 4
        assert self.labels.dtype == np.int64
        assert self.labels.shape == (len(self.images),)

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)


@dataclass(frozen=True)
class SkippedFile:
    """An image that was asked for and could not be decoded: where it stands, and why, for a person to read."""

    path: str
    reason: str


class ImageSource(Protocol):
    """One split of one data set. Its labels and file names are known; no image is decoded yet.

    The order of the images depends only on the content of the data set, never on the order in which a file system
    lists it (image folders: sorted by relative POSIX path).
    """

    @property
    def name(self) -> str:
        """The known name, or the last part of the path."""

    @property
    def location(self) -> str:
        """Where the data stands, for messages and for the cache key."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them. The same for every split of a data set."""

    @property
    def labels(self) -> Indices:
        """One class index per image, int64 (n,)."""

    @property
    def natural_size(self) -> int | None:
        """Height = width in pixels of every image, or None where sizes differ or are unknown."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was ignored while listing the data."""

    def describe(self, index: int) -> str:
        """Return where the image stands, printable: a relative path, or file and row."""

    def identity(self, indices: Indices) -> str:
        """Return a text that changes when one of these images changes (by file name, size and modification time)."""

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield each of these (distinct) images with its index, in whatever order is cheapest to read.

        Raises DataError when the container they are in (an archive, a parquet file) cannot be read.
        """


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """An `ImageSource` whose pixels, uint8 (n, c, h, w) with h = w, are in memory already."""

    name: str
    location: str
    classes: tuple[str, ...]
    labels: Indices
    pixels: Pixels
    natural_size: int
    state: str
    notes: tuple[str, ...] = ()

    def describe(self, index: int) -> str:
        """Return location and image number."""
        return f"{self.location}, image {index}"

    def identity(self, indices: Indices) -> str:
        """Return the state of the files the pixels came from, and the indices."""
        return f"{self.state}\n{indices.tolist()}"

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield pixels (c, h, w)."""
        for index in indices.tolist():
            yield index, self.pixels[index]


def one_line(error: BaseException) -> str:
    """Return what an exception says, on one line; its kind where it says nothing."""
    return shown(" ".join(str(error).split()) or type(error).__name__, 300)


def reason(error: BaseException) -> str:
    """Return why a file cannot be read, on one line: the system's own words where it is the system that refuses."""
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)


def file_state(path: Path) -> str:
    """Return name, size in bytes and modification time in nanoseconds; of an unreadable file, the reason."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} {error.strerror}"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def checked_labels(labels: Indices, classes: tuple[str, ...], location: str) -> Indices:
    """Return the labels, all of them valid class indices, or raise DataError naming the first that is not."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            f"{location}: image {wrong[0]} has label {labels[wrong[0]]}, outside 0..{len(classes) - 1} "
            f"({len(wrong)} of {len(labels)} labels are); is this split published without labels?"
        )
    return labels
