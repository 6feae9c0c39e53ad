"""CIFAR-10 as its authors publish it: the binary or the Python version, as an archive or extracted.

Source of both layouts: A. Krizhevsky, the page named in `HOMEPAGE`.
"""

import io
import pickle
import struct
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from autoshrink.data.images import TEST, TRAIN, ArrayImages, Indices, Pixels, checked_labels, file_state, one_line
from autoshrink.data.sources import ImageReader, Place
from autoshrink.errors import DataError

HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")

_BATCHES = {TRAIN: tuple(f"data_batch_{number}" for number in range(1, 6)), TEST: ("test_batch",)}
_BINARY_SUFFIX = ".bin"

_LARGEST_BATCH, _LARGEST_ARCHIVE = 64_000_000, 1_000_000_000
"""Bytes, unpacked; published ones have 31 and 186 million. What unpacks to more is an attack on our memory."""

_PIXEL_COUNT = 3 * 32 * 32


class CifarReader(ImageReader):
    """CIFAR-10 from an extracted folder or a tar archive, which is read in place and never extracted."""

    accepts = "CIFAR-10's archive (.tar.gz) or extracted folder"

    def recognises(self, path: Path) -> bool:
        """Folders of batches, archives, and folders that hold one of these under its usual name."""
        return path.name.endswith((".tar.gz", ".tgz", ".tar")) or (path.is_dir() and _batches_in(path) is not None)

    def splits(self, place: Place) -> tuple[str, ...]:  # noqa: ARG002 - always the same
        """Train and test."""
        return tuple(_BATCHES)

    def open(self, place: Place, split: str) -> ArrayImages:
        """Open a split.

        Raises DataError, naming the file, for a missing, truncated or foreign batch, and for the validation split,
        which CIFAR-10 does not have.
        """
        path = _batches_in(place.path) or place.path
        if split not in _BATCHES:
            raise DataError(f"{path}: CIFAR-10 has no {split} split; it has train and test")
        batches = _BATCHES[split]
        wanted = {batch + suffix for batch in batches for suffix in ("", _BINARY_SUFFIX)}
        found = _from_folder(path, wanted) if path.is_dir() else _from_archive(path, wanted)
        suffix = _BINARY_SUFFIX if any(key.endswith(_BINARY_SUFFIX) for key in found) else ""
        missing = [batch + suffix for batch in batches if batch + suffix not in found]
        if missing:
            raise DataError(f"{path}: no {', '.join(missing)} inside; fetch the archive again from {HOMEPAGE}")
        parse = _parse_binary if suffix else _parse_python
        parts = [parse(found[batch + suffix], f"{path}: {batch + suffix}") for batch in batches]
        files = [path / (batch + suffix) for batch in batches] if path.is_dir() else [path]
        return ArrayImages(
            name=place.name,
            location=str(path),
            classes=CLASSES,
            labels=checked_labels(np.concatenate([labels for _, labels in parts]), CLASSES, path),
            pixels=np.concatenate([pixels for pixels, _ in parts]),
            natural_size=32,
            state="\n".join((split, *map(file_state, files))),
        )


CIFAR = CifarReader()


def _batches_in(folder: Path) -> Path | None:
    """The folder of batches or the archive that a folder is or holds, or None."""
    first = [f"data_batch_1{suffix}" for suffix in ("", _BINARY_SUFFIX)]
    folders = (one for one in (folder, *(folder / name for name in FOLDERS)) if any((one / f).is_file() for f in first))
    archives = (folder / name for name in ARCHIVES if (folder / name).is_file())
    return next(folders, None) or next(archives, None)


def _from_folder(folder: Path, wanted: set[str]) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {one_line(error)}") from error


def _from_archive(path: Path, wanted: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    too_large = DataError(f"{path}: unpacks to more than {_LARGEST_ARCHIVE:,} bytes; CIFAR-10 has 186 million")
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                # Only the last part of a member's path is looked at, and nothing is written: "../" can do no harm.
                name = PurePosixPath(member.name).name
                if member.size > _LARGEST_ARCHIVE:
                    raise too_large
                if name not in wanted or not member.isfile():
                    continue
                if member.size > _LARGEST_BATCH:
                    raise DataError(f"{path}: {name} has {member.size:,} bytes; a CIFAR-10 batch has 31 million")
                content = archive.extractfile(member)
                assert content is not None, "a regular member has content"
                found[name] = content.read()
            assert archive.fileobj is not None, "the archive is open"
            # Damage can look like the end of the archive; gzip's checksum, at the very end of the file, tells.
            while archive.fileobj.read(1 << 20):
                if archive.fileobj.tell() > _LARGEST_ARCHIVE:
                    raise too_large
    except (tarfile.TarError, OSError, EOFError, zlib.error, MemoryError, ValueError) as error:
        raise DataError(f"{path}: damaged or truncated archive ({one_line(error)}); fetch it again") from error
    return found


def _parse_binary(data: bytes, place: str) -> tuple[Pixels, Indices]:
    """Split records of one label byte and 3,072 pixel bytes (red plane, green, blue; rows from the top)."""
    record = 1 + _PIXEL_COUNT
    if not data or len(data) % record:
        raise DataError(f"{place}: {len(data):,} bytes are not a whole number of {record}-byte records; truncated?")
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


_UNREADABLE = (
    *(pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, RecursionError, struct.error),
)
"""What unpickling raises on bytes that are no pickle, or one of another kind."""


def _parse_python(data: bytes, place: str) -> tuple[Pixels, Indices]:
    """Unpack one pickled dictionary: b"data" uint8 (n, 3072) and b"labels", a list of n integers."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        pixels, listed = batch[b"data"], batch[b"labels"]
        if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8):
            raise TypeError("b'data' is not an array of bytes")
        # Checked before they are an array: lists in lists, each twice the same, would fill the memory.
        if not isinstance(listed, list | np.ndarray) or not all(isinstance(one, int | np.integer) for one in listed):
            raise TypeError("b'labels' is not a list of whole numbers")
        labels = np.array(listed, dtype=np.int64)
        if pixels.shape != (*labels.shape, _PIXEL_COUNT):
            raise ValueError(f"b'data' has shape {pixels.shape} for {labels.size} labels")
    except _UNREADABLE as error:
        why = "cut off" if isinstance(error, EOFError) else one_line(error)
        raise DataError(f"{place}: not a CIFAR-10 batch ({why})") from error
    return pixels.reshape(-1, 3, 32, 32), labels


def _empty_array(*_: object) -> npt.NDArray[np.uint8]:
    """Return the array that a pickle then gives its content: of no size, whatever size the pickle asks for.

    numpy's own function takes the memory first; content of another size than the shape that goes with it is refused.
    """
    return np.empty(0, dtype=np.uint8)


def _number_type(name: object, *_: object) -> np.dtype[Any]:
    """Return a type of numbers. Arrays of objects take memory for as many as they say, before there are any."""
    said = name.decode("latin-1") if isinstance(name, bytes) else name
    kind = np.dtype(said if isinstance(said, str) else "O")
    if kind.kind not in "iu":
        raise pickle.UnpicklingError(f"refused: an array of {kind}, not of whole numbers")
    return kind


# The one in Python: the one in C takes memory for as much as a few bytes may claim.
class _ArrayUnpickler(pickle._Unpickler):
    """Unpickles plain values and numpy arrays; anything else is refused before it is even imported.

    A pickle can run any code when it is read. It is read here all the same because it is the form in which most people
    have CIFAR-10 on disk; we write none.
    """

    # Taken from live arrays because their modules' names differ between numpy 1 and 2, and both stand in old pickles.
    _FROM_BUFFER = np.empty(0).__reduce_ex__(5)[0]
    _ALLOWED: ClassVar[dict[tuple[str, str], object]] = {
        ("numpy", "ndarray"): "numpy.ndarray",
        ("numpy", "dtype"): _number_type,
        ("numpy.core.multiarray", "_reconstruct"): _empty_array,
        ("numpy._core.multiarray", "_reconstruct"): _empty_array,
        ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
        ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    }

    def find_class(self, module_name: str, global_name: str, /) -> object:
        """Return the few things that an array is made of, and refuse the rest with UnpicklingError."""
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused: it asks for {module_name}.{global_name}") from None
