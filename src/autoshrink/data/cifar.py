"""CIFAR-10 as its authors publish it: the binary or the Python version, as an archive or extracted.

Source of both layouts: A. Krizhevsky, the page named in `HOMEPAGE`.
"""

import pickletools
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from autoshrink.data.images import TEST, TRAIN, ArrayImages, Indices, Pixels, checked_labels, file_state, one_line
from autoshrink.data.sources import ImageReader, Place
from autoshrink.errors import DataError
from autoshrink.quantity import counted

HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")

_BATCHES = {TRAIN: tuple(f"data_batch_{number}" for number in range(1, 6)), TEST: ("test_batch",)}
_BINARY_SUFFIX = ".bin"

_LARGEST_BATCH, _LARGEST_ARCHIVE = 64_000_000, 1_000_000_000
"""Bytes, unpacked; published ones have 31 and 186 million. What unpacks to more is an attack on our memory."""

_PIXEL_COUNT = 3 * 32 * 32
_LONGEST_KEY = 20
"""Characters of a key in a pickled batch, at most; other strings are file names and pixels."""


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


def _parse_python(data: bytes, place: str) -> tuple[Pixels, Indices]:
    """Read one pickled dictionary: "data", an array uint8 (n, 3072), and "labels", a list of n integers.

    The pickle is not run, for a pickle can do anything: of its opcodes, the longest string is the array's content, and
    the labels are the whole numbers between the key "labels" and the next key.
    """
    content, labels, key = b"", [], ""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if isinstance(argument, str | bytes | bytearray):
                text = argument.encode("latin-1", "replace") if isinstance(argument, str) else bytes(argument)
                content = max(content, text, key=len)
                key = text.decode("latin-1") if len(text) < _LONGEST_KEY else ""
            elif key == "labels" and opcode.name.startswith("BININT"):
                labels.append(argument)
    except (ValueError, EOFError, IndexError, OverflowError, MemoryError) as error:
        raise DataError(f"{place}: not a CIFAR-10 batch ({one_line(error)})") from error
    if not labels or len(content) != len(labels) * _PIXEL_COUNT:
        held = f"{len(content):,} bytes of pixels for {counted(len(labels), 'label')}"
        raise DataError(f"{place}: not a CIFAR-10 batch ({held}; each has {_PIXEL_COUNT:,})")
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)
