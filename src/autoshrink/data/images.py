"""The values of this package: labelled images in memory, and image sources that decode nothing until asked.

Letters used in shapes: n images, c channels (1 grey or 3 RGB), h height and w width in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoshrink.errors import DataError
from autoshrink.escaping import printable, shown

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

Payload = bytes | Pixels | OSError
"""One image as its source holds it: an encoded file, pixels (c, h, w), or why the file could not be read."""

Handle = Payload | Path
"""An image as it is passed to the process that decodes it: its content, or the file to read it from."""

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


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSource(ABC):
    """One split of one data set. Its labels are known; no image is decoded yet.

    The order of the images depends only on the content of the data set, never on the order in which a file system
    lists it.

    Attributes:
        name: the known name, or the last part of the path.
        location: where the data stands, for messages and for the cache key.
        classes: their names; a label is an index into them. The same for every split of a data set.
        labels: one class index per image, int64 (n,).
        natural_size: height = width in pixels of every image, or None where sizes differ or are unknown.
        notes: sentences about what was ignored while listing the data.
        states_split: whether a name of a folder or a file says which split this is.
    """

    name: str
    location: str
    classes: tuple[str, ...]
    labels: Indices
    natural_size: int | None = None
    notes: tuple[str, ...] = ()
    states_split: bool = True

    @abstractmethod
    def describe(self, index: int) -> str:
        """Return where the image stands, printable: a relative path, or file and row."""

    @abstractmethod
    def identity(self, indices: Indices) -> str:
        """Return a text that changes when one of these images changes (by file name, size and modification time)."""

    @abstractmethod
    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield each of these (distinct) images with its index, in whatever order is cheapest to read.

        Raises DataError when the container they are in (an archive, a parquet file) cannot be read.
        """

    @property
    def paths(self) -> tuple[str, ...] | None:
        """The file of each image, relative, or None where images are no files. Groups are read from these."""
        return None

    def order(self, indices: Indices, seed: int) -> Indices:
        """Return these images in a random order that depends on them and the seed alone."""
        return np.random.Generator(np.random.PCG64(seed)).permutation(indices)

    def handles(self, wanted: Indices) -> Iterator[Handle]:
        """Yield a handle for each of these distinct images, in this order.

        It may be any order, but memory is bounded only for what `order` returns, parts of it, and ascending ones.
        Raises DataError when the container they are in cannot be read.
        """
        for place in range(len(wanted)):
            yield from (payload for _, payload in self.payloads(wanted[place : place + 1]))


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayImages(ImageSource):
    """Pixels, uint8 (n, c, h, w) with h = w, that are in memory already; `state` says what they came from."""

    pixels: Pixels
    state: str

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


@dataclass(frozen=True, eq=False, kw_only=True)
class FileImages(ImageSource):
    """Image files: `files` are POSIX paths relative to `root`."""

    root: Path
    files: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Those relative to the folder that holds the classes."""
        return tuple(map(self.describe, range(len(self.files))))

    def describe(self, index: int) -> str:
        """Return the path relative to the folder that holds the classes."""
        return printable(self.files[index])

    def identity(self, indices: Indices) -> str:
        """Return path, size and modification time of each file."""
        return "\n".join(file_state(self.root / self.files[index]) for index in indices.tolist())

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield the bytes of each file, or the OSError that reading it raised."""
        return zip(indices.tolist(), map(payload_of, self.handles(indices)), strict=True)

    def handles(self, wanted: Indices) -> Iterator[Path]:
        """Yield paths: files are read where they are decoded."""
        return (self.root / self.files[index] for index in wanted.tolist())


def payload_of(handle: Handle) -> Payload:
    """Return what a handle stands for; a file that cannot be read is an OSError, as in `ImageSource.payloads`."""
    if not isinstance(handle, Path):
        return handle
    try:
        return handle.read_bytes()
    except OSError as error:
        return error


def sample(source: ImageSource, indices: Indices, count: int, seed: int) -> Indices:
    """Return up to `count` of the images, ascending, drawn so that little needs to be read."""
    return np.sort(source.order(indices, seed)[:count])


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


def checked_labels(labels: Indices, classes: tuple[str, ...], location: object) -> Indices:
    """Return the labels as int64, all of them class indices; DataError names the first that is not."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            f"{shown(location)}: image {wrong[0]} has label {labels[wrong[0]]}, outside 0..{len(classes) - 1} "
            f"({len(wrong)} of {len(labels)} labels are); is this split published without labels?"
        )
    return labels.astype(np.int64)
