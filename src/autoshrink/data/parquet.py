"""Images in parquet files in the Hugging Face layout: an image column (struct of bytes and path) and a label column."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from autoshrink.data import class_names
from autoshrink.data.folder import FolderImages
from autoshrink.data.images import TRAIN, Indices, Payload, file_state
from autoshrink.data.parquet_columns import ChosenColumns
from autoshrink.data.parquet_files import FoundParquet, footer_of, parquet_file
from autoshrink.data.parquet_labels import FileLabels, classes_of, read_labels
from autoshrink.data.spec import ANY_COLUMNS, Columns
from autoshrink.errors import DataError
from autoshrink.escaping import printable, shown

_LOOKED_AT = 20
"""Paths of a column of paths that are tried at once, so that a file from another machine is told early."""


@dataclass(frozen=True, eq=False)
class ParquetImages:
    """An `ImageSource` over the rows of one or more parquet files, in the order of their names."""

    name: str
    location: str
    classes: tuple[str, ...]
    labels: Indices
    files: tuple[Path, ...]
    ends: tuple[int, ...]
    """Per file, the number of rows up to its end, those of the files before it included."""
    column: str
    natural_size: int | None = None
    notes: tuple[str, ...] = ()

    def describe(self, index: int) -> str:
        """Return file name and row."""
        number = int(np.searchsorted(self.ends, index, side="right"))
        return f"{self.files[number].name}, row {index - self._start(number)}"

    def identity(self, indices: Indices) -> str:
        """Return the state of all files, and the indices."""
        return "\n".join((*map(file_state, self.files), str(indices.tolist())))

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield encoded images; only row groups that hold one of the indices are read."""
        indices = np.sort(indices)
        for number, path in enumerate(self.files):
            start, end = self._start(number), self.ends[number]
            rows = indices[(indices >= start) & (indices < end)] - start
            if len(rows):
                for row, data in _encoded(path, self.column, rows):
                    yield start + row, data

    def _start(self, number: int) -> int:
        return self.ends[number - 1] if number else 0


def open_parquet(
    path: Path, found: FoundParquet, split: str, *, name: str, columns: Columns = ANY_COLUMNS, alone: bool = False
) -> ParquetImages | FolderImages:
    """Open one split of a parquet file or of a folder of them, which `find_parquet` found.

    Which columns are read is said in `Footer.choose`. Classes are matched by name: those that the metadata of the train
    split's files name, else its distinct labels; with `alone`, those of this split's files. Rows that hold paths and no
    images are read as files relative to the parquet file's folder, and never from outside it.

    Raises DataError without the extra `data`, without the split or the columns, for a label of no class of the train
    split, and for a damaged file.
    """
    if split not in found.splits:
        held = ", ".join(found.splits)
        hint = "; give the folder that holds all splits" if path.is_file() else ""
        raise DataError(f"{printable(str(path))}: no {split} split here, only {held}{hint}")
    files = found.splits[split]
    taught = files if alone else found.splits.get(TRAIN, files)
    chosen = footer_of(taught[0]).choose(columns)
    stated = footer_of(taught[0]).names(chosen.label)
    of_train = [_labels(file, chosen, stated) for file in taught]
    classes = classes_of(of_train)
    parts = of_train if files is taught else [_labels(file, chosen, stated) for file in files]
    labels = np.concatenate([part.within(classes) for part in parts])
    notes = (
        *found.notes,
        *dict.fromkeys((*chosen.notes, *(note for part in parts for note in part.notes))),
        *class_names.alike(classes),
    )
    notes, classes = tuple(map(shown, notes)), tuple(map(printable, classes))
    paths = [_held_paths(file, chosen.image) for file in files]
    if len(labels) and all(held is not None for held in paths):
        root = files[0].parent
        places = (_inside_all(file, chosen.image, held or [], root) for file, held in zip(files, paths, strict=True))
        return FolderImages(name, root, classes, labels, tuple(chain.from_iterable(places)), notes)
    if found.beside_images:
        notes = (*notes, "the parquet files are read, and the folders of image files beside them are not")
    return ParquetImages(
        name=name,
        location=printable(str(path)),
        classes=classes,
        labels=labels,
        files=files,
        ends=tuple(int(end) for end in np.cumsum([len(part.codes) for part in parts])),
        column=chosen.image,
        notes=notes,
    )


def _labels(file: Path, chosen: ChosenColumns, names: tuple[str, ...] | None) -> FileLabels:
    available = footer_of(file).schema.names
    for column in (chosen.image, chosen.label):
        if column not in available:
            raise DataError(
                f"{printable(str(file))}: no column {column}, which the other files have; "
                f"columns {', '.join(map(printable, available))}"
            )
    return read_labels(file, chosen.label, names=names)


def _held_paths(file: Path, column: str) -> list[object] | None:
    """Return the paths that the rows of a file hold in place of images; None where a row holds an image or nothing."""
    held: list[object] = []
    with parquet_file(file) as opened:
        # A few rows first: where these hold images, no more is read.
        for batch in opened.iter_batches(_LOOKED_AT, columns=[column]):
            for cell in batch.column(0).to_pylist():
                if isinstance(cell, dict) and (cell.get("bytes") is not None or not cell.get("path")):
                    return None
                if not isinstance(cell, dict | str):
                    return None
                held.append(cell["path"] if isinstance(cell, dict) else cell)
    return held


def _inside_all(file: Path, column: str, held: list[object], root: Path) -> list[str]:
    """Return paths relative to `root`.

    Raises DataError where one leads out of `root`, and where none of the first few is there.
    """
    inside = [_inside(place, file, row, root) for row, place in enumerate(held)]
    some = inside[:_LOOKED_AT]
    if some and not any((root / place).is_file() for place in some):
        raise DataError(
            f"{printable(str(file))}: column {column} holds paths, not images: {printable(str(held[0]))} is not in "
            f"{printable(str(root))}"
        )
    return inside


def _inside(place: object, file: Path, row: int, root: Path) -> str:
    if not isinstance(place, str) or not place or "\0" in place:
        raise DataError(f"{printable(str(file))}: row {row} holds neither an image nor the path of one")
    full = (root / place).resolve()
    if not full.is_relative_to(root.resolve()):
        raise DataError(
            f"{printable(str(file))}: row {row} holds a path, not an image: {printable(place)} is not in "
            f"{printable(str(root))}, the only folder from which it would be read"
        )
    return full.relative_to(root.resolve()).as_posix()


def _encoded(path: Path, column: str, rows: Indices) -> Iterator[tuple[int, Payload]]:
    """Yield (row, encoded image) of one file for these rows, which ascend."""
    with parquet_file(path) as file:
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            inside = rows[(rows >= start) & (rows < end)]
            if len(inside):
                images = file.read_row_group(group, columns=[column]).column(0).take(inside - start)
                for row, image in zip(inside.tolist(), images, strict=True):
                    yield row, encoded_image(image.as_py())
            start = end


def encoded_image(cell: object) -> Payload:
    """Return the encoded image in a cell, empty where it holds nothing, an OSError where it holds a path only."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(data, bytes):
        return data
    place = cell.get("path") if isinstance(cell, dict) else None
    return OSError(errno.ENOENT, f"holds a path, not an image: {place}") if place else b""
