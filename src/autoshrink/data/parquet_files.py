"""Parquet files on disk: which of a folder's files are which split, and how one is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.data.folder_layout import Ignored, entries, holds_class_folders, is_class_folder
from autoshrink.data.images import SPLITS, TRAIN, one_line, reason
from autoshrink.data.names import SPLIT_OF, listed, splits_named
from autoshrink.data.parquet_columns import Footer, features
from autoshrink.errors import DataError
from autoshrink.escaping import shown
from autoshrink.optional import optional

_SUFFIX = ".parquet"
_DEPTH = 2
"""Folders between the one that is given and a file: a configuration and a split (`default/train/0000.parquet`)."""
_ROWS_PER_BYTE = 100
"""No file of images has more rows than this for each of its bytes, and a damaged or hostile footer may say so."""


@dataclass(frozen=True)
class FoundParquet:
    """The files of each split, in the order of their paths, and sentences about what is ignored."""

    splits: dict[str, tuple[Path, ...]]
    notes: tuple[str, ...] = ()


def find_parquet(path: Path) -> FoundParquet:
    """Return the parquet files of each split at `path`, a file or a folder; none where there is none with images.

    A file is of the split that its name says, else of the one that a folder on its way says (see `names`); where no
    name says any, all are the train split. Files without columns for images and labels are ignored with a note.

    Raises DataError, naming the files, where a file with images says no split beside others that do, a name says two,
    files stand there as several data sets side by side, or one file is there twice.
    """
    if not path.is_dir():
        return FoundParquet({_split_of(path.parent, path) or _folder_of_numbered(path) or TRAIN: (path,)})
    said = {file: _split_of(path, file) for file in parquet_below(path)}
    strays = [file for file, split in said.items() if split is None and not footer_of(file).holds_images]
    kept = {file: split for file, split in said.items() if file not in strays}
    beside = bool(said) and holds_class_folders(path)
    first = next((file for file, split in kept.items() if split in (TRAIN, None)), None)
    if beside and first is not None and not footer_of(first).holds_images:
        strays, kept = [*said], {}
    known = [file for file, split in kept.items() if split is not None]
    others = [file for file in kept if file not in known]
    _refuse_several(path, kept)
    if known and others:
        raise DataError(
            f"{shown(path)}: {_names(path, others)} beside {_names(path, known)}: the name says no split "
            "(train, validation, test); rename it or move it out"
        )
    _refuse_twice(path, kept)
    notes = [f"parquet files without images and labels are ignored: {_names(path, strays)}"] if strays else []
    if beside and kept:
        notes.append("the parquet files are read, and the folders of image files beside them are not")
    splits = {split: tuple(file for file in kept if (kept[file] or TRAIN) == split) for split in SPLITS}
    return FoundParquet({split: files for split, files in splits.items() if files}, tuple(notes))


def is_parquet(path: Path) -> bool:
    """Whether a file's name, or a folder's content, is parquet."""
    return any(parquet_below(path)) if path.is_dir() else path.suffix.lower() == _SUFFIX


def parquet_below(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Yield the parquet files in a folder and in the folders in it; DataError for a pipe that is called so."""
    for entry in entries(folder):
        if entry.name.lower().endswith(_SUFFIX) and not entry.is_dir():
            if not entry.is_file():
                raise DataError(f"{shown(entry.path)}: a pipe, socket, device or broken link, and no file")
            yield Path(entry.path)
        elif depth and is_class_folder(entry, folder, Ignored()):
            yield from parquet_below(Path(entry.path), depth - 1)


def _split_of(root: Path, file: Path) -> str | None:
    """Return the split that a file's name says, else the one that the folders below `root` say."""
    folders = file.relative_to(root).parent.parts
    exact = {SPLIT_OF[folder.lower()] for folder in folders if folder.lower() in SPLIT_OF}
    own = set(splits_named(file.stem))
    said = (own | exact) if own else (exact or {split for folder in folders for split in splits_named(folder)})
    if len(said) > 1:
        words = " and ".join(split for split in SPLITS if split in said)
        raise DataError(f"{shown(file)}: the name says {words}; rename it so that it says one split, or move it out")
    return next(iter(said), None)


def _folder_of_numbered(file: Path) -> str | None:
    """Return the split whose folder holds a file that has a number for a name, as the Hub writes them."""
    numbered = not any(letter.isalpha() for letter in file.stem)
    return SPLIT_OF.get(file.resolve().parent.name.lower()) if numbered else None


def _configuration(root: Path, file: Path) -> tuple[str, ...]:
    """Return the folders on the way to a file that do not say its split."""
    folders = file.relative_to(root).parent.parts
    if splits_named(file.stem):
        return tuple(folder for folder in folders if folder.lower() not in SPLIT_OF)
    return tuple(folder for folder in folders if not splits_named(folder))


def _refuse_several(root: Path, files: Iterable[Path]) -> None:
    sets = {_configuration(root, file) for file in files}
    if len(sets) > 1:
        names = shown(listed("/".join(folders) or "the folder itself" for folders in sets))
        raise DataError(
            f"{shown(root)}: parquet files of several data sets side by side ({names}); give one of these folders"
        )


def _refuse_twice(root: Path, files: Iterable[Path]) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"{shown(file)}: cannot be read: {reason(error)}") from error
        first = seen.setdefault((status.st_dev, status.st_ino), file)
        if status.st_ino and first is not file:
            raise DataError(
                f"{shown(root)}: {_names(root, [first, file])} are one file (a link?), so its rows would count twice; "
                "delete one"
            )


def _names(root: Path, files: Iterable[Path]) -> str:
    return shown(listed(file.relative_to(root).as_posix() for file in files))


def footer_of(path: Path) -> Footer:
    """Return what a file's footer says of its columns; no column is read."""
    with parquet_file(path) as file:
        schema, rows, size = file.schema_arrow, file.metadata.num_rows, path.stat().st_size
        if rows > _ROWS_PER_BYTE * size:
            raise DataError(f"{shown(path)}: the footer declares {rows:,} rows in a file of {size:,} bytes")
        return Footer(path, schema, features(schema.metadata or {}, path))


@contextmanager
def parquet_file(path: Path, **options: Any) -> Iterator[Any]:
    """Open a file as a `pyarrow.parquet.ParquetFile`, every failure in use being a DataError that names the file."""
    place, install = shown(path), "pip install 'autoshrink[data]'"
    with optional("pyarrow", purpose=f"{place}: reading parquet", install=install, kind=DataError):
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    try:
        with pq.ParquetFile(path, **options) as file:
            yield file
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        raise DataError(f"{place}: not a readable parquet file ({one_line(error)})") from error
