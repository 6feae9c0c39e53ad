"""Images in parquet files in the Hugging Face layout: an image column (struct of bytes and path) and a label column.

Rows of a parquet file cannot be taken in any order at no cost: what can be read by itself is a row group, from its
start. An epoch's order therefore runs through several row groups at once, themselves in random order, and displaces
every row by a random distance, at most as many rows as `HELD_BYTES` hold. Whoever reads in such an order holds little
more than that. Rows of a file whose images are all together no larger are in perfectly random order.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.data import names
from autoshrink.data.folder import FOLDER
from autoshrink.data.images import TRAIN, FileImages, ImageSource, Indices, Payload, file_state
from autoshrink.data.names import SPLIT_OF, splits_named
from autoshrink.data.parquet_files import find_parquet, footer_of, is_parquet, parquet_file
from autoshrink.data.parquet_labels import classes_of, read_labels
from autoshrink.data.sources import ImageReader, Place
from autoshrink.errors import DataError
from autoshrink.escaping import printable, shown

HELD_BYTES = 256 * 2**20
"""Encoded images that wait for their turn; and about as much again for the row groups that are being read."""
_LANES = 8
_READ_BYTES = 16 * 2**20
_PAGE_ROWS = 1024
_BUFFER_BYTES = 2**20
_LOOKED_AT = 20
"""Paths of a column of paths that are tried at once, so that a file from another machine is told early."""


class ParquetReader(ImageReader):
    """Parquet files, one or a folder of them; a folder of images where these hold no images."""

    accepts = "a parquet file or folder"
    has_columns = True

    def recognises(self, path: Path) -> bool:
        """Files by their suffix, folders by such files in them."""
        return is_parquet(path)

    def splits(self, place: Place) -> tuple[str, ...]:
        """Those whose words stand in the names of files and folders."""
        return tuple(find_parquet(place.path).splits) or FOLDER.splits(place)

    def open(self, place: Place, split: str) -> ImageSource:
        """Open one split.

        Which columns are read is said in `Footer.choose`. Classes are matched by name: those that the metadata of the
        train split's files name, else its distinct labels; of one split alone, those of its files. Rows that hold paths
        and no images are read as files relative to the parquet file's folder, and never from outside it.

        Raises DataError without the extra `data`, without the split or the columns, for a label of no class of the
        train split, and for a damaged file.
        """
        found = find_parquet(place.path)
        if not found.splits:
            place.refuse_columns()
            source = FOLDER.open(place, split)
            return replace(source, notes=(*source.notes, *found.notes))
        if split not in found.splits:
            hint = "; give the folder that holds all splits" if place.path.is_file() else ""
            raise DataError(f"{shown(place.path)}: no {split} split here, only {', '.join(found.splits)}{hint}")
        files = found.splits[split]
        taught = files if place.alone else found.splits.get(TRAIN, files)
        footer = footer_of(taught[0])
        columns, notes = footer.choose(place.columns)
        image = str(columns.image)
        given = footer.names(str(columns.label))
        of_train = [read_labels(file, columns, given) for file in taught]
        classes = classes_of(of_train)
        parts = of_train if files is taught else [read_labels(file, columns, given) for file in files]
        notes = (*found.notes, *dict.fromkeys((*notes, *(note for part in parts for note in part.notes))))
        known: dict[str, Any] = {
            "name": place.name,
            "classes": tuple(map(printable, classes)),
            "labels": np.concatenate([part.within(classes) for part in parts]),
            "notes": tuple(map(shown, (*notes, *names.alike(classes)))),
        }
        paths = [_held_paths(file, image) for file in files]
        if sum(len(part.codes) for part in parts) and all(held is not None for held in paths):
            root = files[0].parent
            places = (_inside(file, image, held or [], root) for file, held in zip(files, paths, strict=True))
            inside = tuple(chain.from_iterable(places))
            return FileImages(**known, location=printable(str(root)), root=root, files=inside)
        return ParquetImages(
            **known,
            location=printable(str(place.path)),
            states_split=any(splits_named(one.stem) or one.parent.name.lower() in SPLIT_OF for one in files),
            files=files,
            ends=tuple(int(end) for end in np.cumsum([len(part.codes) for part in parts])),
            column=image,
        )


PARQUET = ParquetReader()


@dataclass(frozen=True, eq=False, kw_only=True)
class ParquetImages(ImageSource):
    """The rows of one or more parquet files, in the order of their names.

    `ends` says for every file the number of rows up to its end, those of the files before it included.
    """

    files: tuple[Path, ...]
    ends: tuple[int, ...]
    column: str

    def describe(self, index: int) -> str:
        """Return file name and row."""
        number = int(np.searchsorted(self.ends, index, side="right"))
        return f"{self.files[number].name}, row {index - (self.ends[number - 1] if number else 0)}"

    def identity(self, indices: Indices) -> str:
        """Return the state of all files, and the indices."""
        return "\n".join((*map(file_state, self.files), str(indices.tolist())))

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield encoded images in ascending order; only row groups that hold one of the indices are read."""
        indices = np.sort(indices)
        return zip(indices.tolist(), self.handles(indices), strict=True)

    def order(self, indices: Indices, seed: int) -> Indices:
        """Return an order that runs through several row groups at once."""
        return self._row_groups.order(indices, seed)

    def handles(self, wanted: Indices) -> Iterator[Payload]:
        """Yield encoded images; row groups are read side by side, a few rows at a time."""
        return self._row_groups.handles(wanted)

    @cached_property
    def _row_groups(self) -> _RowGroups:
        return _RowGroups(self)


class _RowGroups:
    def __init__(self, source: ParquetImages) -> None:
        self._source = source
        self._places: list[tuple[Path, int]] = []
        counts: list[int] = []
        size = 0
        for path in source.files:
            with parquet_file(path) as file:
                groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
            self._places.extend((path, number) for number in range(len(groups)))
            counts.extend(group.num_rows for group in groups)
            size += sum(group.total_byte_size for group in groups)
        self._ends = np.cumsum(counts)
        row = max(1, size // len(source.labels))
        self._held, self._read = (max(1, most // row) for most in (HELD_BYTES, _READ_BYTES))
        # A page, of up to so many rows as writers put into one, is in memory twice while it is unpacked.
        page = 2 * row * min(_PAGE_ROWS, max(counts))
        self._lanes = min(_LANES, max(2, HELD_BYTES // page))

    def order(self, indices: Indices, seed: int) -> Indices:
        generator = np.random.Generator(np.random.PCG64(seed))
        rank = generator.permutation(len(self._places))[self._group(indices)]
        lane = rank % self._lanes
        # Lane by lane, row groups in random order; then every row's place within its lane, and its turn over all lanes.
        rows = np.lexsort((indices, rank, lane))
        lengths = np.bincount(lane, minlength=self._lanes)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        turn = np.empty(len(rows), dtype=np.int64)
        turn[np.lexsort((lane[rows], place))] = np.arange(len(rows))
        late = self._held * generator.random(len(rows))
        return indices[rows][np.argsort(turn + late, kind="stable")]

    def handles(self, wanted: Indices) -> Iterator[Payload]:
        groups = self._group(wanted)
        waited = np.zeros(len(self._source.labels), dtype=np.bool_)
        waited[wanted] = True
        unread = np.bincount(groups, minlength=len(self._places))
        held: dict[int, Payload] = {}
        reading: dict[int, Generator[dict[int, Payload]]] = {}
        try:
            for index, group in zip(wanted.tolist(), groups.tolist(), strict=True):
                while index not in held:
                    if group not in reading:
                        reading[group] = self._rows(group, waited)
                    rows = next(reading[group], None)
                    if rows is None:
                        raise DataError(f"{self._source.describe(index)}: no longer there; was the file changed?")
                    held |= rows
                    unread[group] -= len(rows)
                    if not unread[group]:
                        reading.pop(group).close()
                yield held.pop(index)
        finally:
            for started in reading.values():
                started.close()

    def _group(self, indices: Indices) -> Indices:
        return np.searchsorted(self._ends, indices, side="right")

    def _rows(self, group: int, waited: npt.NDArray[np.bool_]) -> Generator[dict[int, Payload]]:
        """Yield those rows of a row group that are waited for, some at a time."""
        path, number = self._places[group]
        start = int(self._ends[group - 1]) if group else 0
        # With these options pages are read one after another; otherwise the whole row group first.
        with parquet_file(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            columns = [self._source.column]
            for batch in file.iter_batches(self._read, row_groups=[number], columns=columns, use_threads=False):
                images = batch.column(0)
                chosen = np.flatnonzero(waited[start : start + len(images)])
                yield {start + row: encoded_image(images[row].as_py()) for row in chosen.tolist()}
                start += len(images)


def encoded_image(cell: object) -> Payload:
    """Return the encoded image in a cell, empty where it holds nothing, an OSError where it holds a path only."""
    data, place = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(data, bytes):
        return data
    return OSError(errno.ENOENT, f"holds a path, not an image: {place}") if place else b""


def _held_paths(file: Path, column: str) -> list[str] | None:
    """Return the paths that the rows of a file hold in place of images; None where a row holds an image or nothing."""
    held: list[str] = []
    with parquet_file(file) as opened:
        # A few rows first: where these hold images, no more is read.
        for batch in opened.iter_batches(_LOOKED_AT, columns=[column]):
            for cell in batch.column(0).to_pylist():
                has_bytes = isinstance(cell, dict) and cell.get("bytes") is not None
                path = cell.get("path") if isinstance(cell, dict) else cell
                if has_bytes or not path or not isinstance(path, str):
                    return None
                held.append(path)
    return held


def _inside(file: Path, column: str, held: list[str], root: Path) -> list[str]:
    """Return paths relative to `root`.

    Raises DataError where one leads out of `root`, and where none of the first few is there.
    """
    inside, around = [], root.resolve()
    for row, place in enumerate(held):
        full = (root / place.replace("\0", "")).resolve()
        if not full.is_relative_to(around):
            raise DataError(
                f"{shown(file)}: row {row} holds a path, not an image: {shown(place)} is not in {shown(root)}, the "
                "only folder from which it would be read"
            )
        inside.append(full.relative_to(around).as_posix())
    if held and not any((root / place).is_file() for place in inside[:_LOOKED_AT]):
        raise DataError(
            f"{shown(file)}: column {column} holds paths, not images: {shown(held[0])} is not in {shown(root)}"
        )
    return inside
