"""Images in parquet files in the Hugging Face layout: an image column (struct of bytes and path) and a label column."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.data.images import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Indices,
    Payload,
    checked_labels,
    file_state,
    one_line,
)
from autoshrink.errors import DataError, InputError
from autoshrink.untrusted import parse_json

_SPLIT_NAMES = {"train": TRAIN, "test": TEST, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION}


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


def split_files(path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the parquet files of each split at `path`, a parquet file or a folder; empty where there is none.

    In a folder they stand directly or one folder down (`data/`, a configuration, a split); the file name begins
    with the split, or the folder is called so; all others are the train split.
    Raises DataError when two configurations stand side by side.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet")) or sorted(path.glob("*/*.parquet"))
    splits: dict[str, tuple[Path, ...]] = {}
    configurations = set()
    for file in files:
        by_folder = _SPLIT_NAMES.get(file.parent.name.lower()) if file.parent.parent == path else None
        split = _split_named(file.stem) or by_folder or TRAIN
        configurations.add(None if by_folder else file.parent)
        splits[split] = (*splits.get(split, ()), file)
    if len(configurations) > 1:
        names = ", ".join(sorted(folder.name for folder in configurations if folder))
        raise DataError(f"{path}: parquet files of several data sets side by side ({names}); give one of these folders")
    return splits


def open_parquet(path: Path, split: str, *, name: str) -> ParquetImages:
    """Open one split of a parquet file or of a folder of them.

    The image column is the one that the `huggingface` metadata call an Image, else `img` or `image`; the label column
    is their ClassLabel, else `label`. Where the metadata name no classes, the names are the train split's own labels.
    Raises DataError without the extra `data`, without the split or the columns, or for a damaged file.
    """
    splits = split_files(path)
    if split not in splits:
        held = ", ".join(sorted(splits, key=SPLITS.index))
        hint = "; give the folder that holds all splits" if path.is_file() else ""
        raise DataError(f"{path}: no {split} split here, only {held}{hint}")
    files = splits[split]
    image, label, stated = _columns(files[0])
    parts = [_labels(file, label) for file in files]
    classes = stated or _classes(splits.get(TRAIN, files), label)
    return ParquetImages(
        name=name,
        location=str(path),
        classes=classes,
        labels=checked_labels(_as_indices(np.concatenate(parts), classes), classes, str(path)),
        files=files,
        ends=tuple(int(end) for end in np.cumsum([len(part) for part in parts])),
        column=image,
    )


def _split_named(text: str) -> str | None:
    """Return the split that a file name begins with ("train-00000-of-00001", "valid", …)."""
    word = text.lower().replace("_", "-").replace(".", "-").split("-")[0]
    return _SPLIT_NAMES.get(word)


def _columns(path: Path) -> tuple[str, str, tuple[str, ...] | None]:
    """Return the names of the image and label columns, and the class names if the file states them."""
    with parquet_file(path) as file:
        schema = file.schema_arrow
    features = _features(schema.metadata or {}, path)
    kinds = {column: feature.get("_type") for column, feature in features.items() if isinstance(feature, dict)}
    image = _first(schema.names, [column for column, kind in kinds.items() if kind == "Image"] + ["img", "image"])
    label = _first(schema.names, [column for column, kind in kinds.items() if kind == "ClassLabel"] + ["label"])
    if image is None or label is None:
        raise DataError(
            f"{path}: columns {', '.join(schema.names)}; needed are an image column (img or image: bytes, or a struct "
            "with bytes) and label"
        )
    names = features[label].get("names") if isinstance(features.get(label), dict) else None
    return image, label, tuple(map(str, names)) if names else None


def _features(metadata: dict[bytes, bytes], path: Path) -> dict[str, Any]:
    try:
        stated = parse_json(metadata.get(b"huggingface", b"{}"))
        features = stated.get("info", {}).get("features", {})
        return dict(features)
    except (InputError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: the schema's huggingface metadata are not as expected: {one_line(error)}") from error


def _first(available: list[str], wanted: list[str]) -> str | None:
    return next((column for column in wanted if column in available), None)


def _labels(path: Path, column: str) -> npt.NDArray[Any]:
    """Return the label column of one file: an array of integers or of text."""
    with parquet_file(path) as file:
        values = file.read(columns=[column]).column(0)
        if values.null_count:
            raise DataError(f"{path}: {values.null_count} of {len(values)} rows have no label")
        labels = np.array(values.to_pylist())
    if len(labels) and labels.dtype.kind not in "iuU":
        raise DataError(f"{path}: column {column} holds {values.type}; labels must be integers or text")
    return labels


def _classes(files: tuple[Path, ...], column: str) -> tuple[str, ...]:
    """Return the class names of a data set that states none: its distinct texts, or the integers up to the highest."""
    labels = np.concatenate([_labels(file, column) for file in files])
    if labels.dtype.kind == "U":
        return tuple(np.unique(labels).tolist())
    return tuple(str(number) for number in range(int(labels.max(initial=-1)) + 1))


def _as_indices(labels: npt.NDArray[Any], classes: tuple[str, ...]) -> Indices:
    if labels.dtype.kind != "U":
        return labels.astype(np.int64)
    position = {name: index for index, name in enumerate(classes)}
    return np.array([position.get(label, -1) for label in labels.tolist()], dtype=np.int64)


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
                    yield row, encoded_bytes(image.as_py())
            start = end


def encoded_bytes(cell: object) -> bytes:
    """Return the encoded image in a cell, empty where it holds none (only a path to somebody's disk, or nothing)."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return data if isinstance(data, bytes) else b""


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """Open a file as a `pyarrow.parquet.ParquetFile`, every failure in use being a DataError that names the file."""
    try:
        # Imported here: pyarrow is an extra.
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install 'autoshrink[data]'") from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({one_line(error)})") from error
