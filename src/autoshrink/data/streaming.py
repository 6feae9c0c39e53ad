"""Reading images in another order every epoch without holding them: one by one, or through parquet's row groups.

Rows of a parquet file cannot be taken in any order at no cost: what can be read by itself is a row group, from its
start. An epoch's order therefore runs through several row groups at once, themselves in random order, and displaces
every row by a random distance, at most as many rows as `HELD_BYTES` hold. Whoever reads in such an order holds little
more than that. Rows of a file whose images are all together no larger are in perfectly random order.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from autoshrink.data.folder import FolderImages
from autoshrink.data.images import ImageSource, Indices, Payload
from autoshrink.data.parquet import ParquetImages, encoded_image
from autoshrink.data.parquet_files import parquet_file
from autoshrink.errors import DataError

HELD_BYTES = 256 * 2**20
"""Encoded images that wait for their turn; and about as much again for the row groups that are being read."""
_LANES = 8
_READ_BYTES = 16 * 2**20
_PAGE_ROWS = 1024
_BUFFER_BYTES = 2**20

Handle = Payload | Path
"""An image as it is passed to the process that decodes it: its content, or the file to read it from."""


def payload_of(handle: Handle) -> Payload:
    """Return what a handle stands for; a file that cannot be read is an OSError, as in `ImageSource.payloads`."""
    if not isinstance(handle, Path):
        return handle
    try:
        return handle.read_bytes()
    except OSError as error:
        return error


class Reader(Protocol):
    """Reads images of one source in a random order of its own making."""

    def order(self, indices: Indices, seed: int) -> Indices:
        """Return the images in an order that depends on them and the seed alone."""

    def handles(self, wanted: Indices) -> Iterator[Handle]:
        """Yield a handle for each of these distinct images, in this order.

        It may be any order, but memory is bounded only for what `order` returns, parts of it, and ascending ones.
        Raises DataError when the container they are in cannot be read.
        """


def reader_of(source: ImageSource) -> Reader:
    """Return how this source is read; DataError for a damaged parquet file."""
    return _RowGroups(source) if isinstance(source, ParquetImages) else _OneByOne(source)


def sample(reader: Reader, indices: Indices, count: int, seed: int) -> Indices:
    """Return up to `count` of the images, ascending, drawn so that few row groups need to be read."""
    return np.sort(reader.order(indices, seed)[:count])


class _OneByOne:
    def __init__(self, source: ImageSource) -> None:
        self._source = source

    def order(self, indices: Indices, seed: int) -> Indices:
        return np.random.Generator(np.random.PCG64(seed)).permutation(indices)

    def handles(self, wanted: Indices) -> Iterator[Handle]:
        if isinstance(self._source, FolderImages):
            # The files are read where they are decoded.
            root, files = self._source.root, self._source.files
            yield from (root / files[index] for index in wanted.tolist())
        else:
            for place in range(len(wanted)):
                yield from (payload for _, payload in self._source.payloads(wanted[place : place + 1]))


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

    def handles(self, wanted: Indices) -> Iterator[Handle]:
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
        with parquet_file(path):  # whose errors name the file
            import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

            # With these options pages are read one after another; otherwise the whole row group first.
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
                columns = [self._source.column]
                for batch in file.iter_batches(self._read, row_groups=[number], columns=columns, use_threads=False):
                    images = batch.column(0)
                    chosen = np.flatnonzero(waited[start : start + len(images)])
                    yield {start + row: encoded_image(images[row].as_py()) for row in chosen.tolist()}
                    start += len(images)
