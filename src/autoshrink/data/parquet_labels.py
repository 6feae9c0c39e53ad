"""The label column of a parquet file: whatever it holds becomes class names and indices into them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoshrink.data import class_names
from autoshrink.data.images import Indices
from autoshrink.data.parquet_files import footer_of, parquet_file
from autoshrink.errors import DataError
from autoshrink.escaping import shown

_EXACT = 2**53
"""Floating-point numbers below this are whole numbers exactly."""


@dataclass(frozen=True, eq=False)
class FileLabels:
    """One file's labels: `codes`, int64, one a row, are indices into `names`.

    `stated`: the names are those of the file's metadata, in their order; else they are the distinct labels, ascending.
    `numbers`: the labels are numbers that no metadata name.
    """

    path: Path
    names: tuple[str, ...]
    codes: Indices
    stated: bool
    numbers: bool
    notes: tuple[str, ...] = ()

    def within(self, classes: tuple[str, ...]) -> Indices:
        """Return the labels as indices into `classes`, matched by name: int64, one a row.

        Raises DataError where a row is of another class, or two classes have one name and the file's are others.
        """
        if self.names == classes:
            return self.codes
        position = {name: index for index, name in enumerate(classes)}
        for names in (classes, self.names):
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise _refused(self.path, f"two classes are called {twice}, so the files' classes cannot be matched")
        used = np.unique(self.codes).tolist()
        unknown = next((self.names[code] for code in used if self.names[code] not in position), None)
        if unknown is not None:
            hint = class_names.hint(unknown, classes)
            raise _refused(self.path, f"class {unknown} is not among the {len(classes)} that are trained on{hint}")
        if not len(self.codes):
            return self.codes
        places = np.array([position.get(name, -1) for name in self.names], dtype=np.int64)
        found: Indices = places[self.codes]
        return found


def read_labels(path: Path, column: str, *, names: tuple[str, ...] | None = None) -> FileLabels:
    """Read a file's labels: numbers are named by its own metadata, else by `names`, else by themselves.

    Raises DataError where a row has no label or one that nothing names, or the column holds neither whole numbers,
    text nor true and false.
    """
    own = footer_of(path).names(column)
    with parquet_file(path) as file:
        # By its type before any of it is read.
        kind, empty = _kind(file.schema_arrow.field(column).type)
        if kind is None:
            raise _refused(path, f"column {column} holds {empty}; labels must be whole numbers, text or true and false")
        values = file.read(columns=[column]).column(0)
    if values.null_count:
        raise _refused(path, f"{values.null_count} of {len(values)} rows have no label")
    if kind == "text" and len(values):
        return _texts(path, values)
    whole, notes = _whole(path, column, values, kind) if len(values) else (np.empty(0, dtype=np.int64), ())
    given = own or names
    if given:
        taken = (*notes, *(() if own else (f"{path.name} names no classes: its numbers are taken as the others name",)))
        codes = _checked(path, whole, given)
        return FileLabels(path, given, codes, stated=own is not None, numbers=False, notes=taken)
    distinct, codes = np.unique(whole, return_inverse=True)
    if len(distinct) and distinct[0] < 0:
        notes = (*notes, f"labels below 0 are classes like the others: {distinct[0]}")
    said = ("false", "true") if kind == "bool" else None
    found = tuple(said[int(number)] if said else str(number) for number in distinct.tolist())
    return FileLabels(path, found, codes.astype(np.int64), stated=False, numbers=True, notes=notes)


def classes_of(files: Sequence[FileLabels]) -> tuple[str, ...]:
    """Return the classes of a split that is trained on: as the metadata order them, else ascending.

    Raises DataError where some files hold numbers without names and others texts.
    """
    stated = list(dict.fromkeys(file.names for file in files if file.stated))
    if len(stated) == 1 and all(set(file.names) <= set(stated[0]) for file in files):
        return stated[0]
    if stated:
        return tuple(dict.fromkeys(name for file in files for name in file.names))
    numbers = [file for file in files if file.numbers and len(file.codes)]
    texts = [file for file in files if not file.numbers and len(file.codes)]
    if numbers and texts:
        raise _refused(numbers[0].path, f"its labels are numbers, those of {texts[0].path.name} are text")
    distinct = {name for file in files for name in file.names}
    if numbers and not distinct & {"false", "true"}:
        return tuple(sorted(distinct, key=int))
    return tuple(sorted(distinct))


def _kind(arrow: Any) -> tuple[str | None, Any]:
    """Return what a column of this type holds (text, whole, float, bool), None for anything else; and the type."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = pa.types
    held = arrow.value_type if types.is_dictionary(arrow) else arrow
    if types.is_string(held) or types.is_large_string(held) or types.is_string_view(held) or types.is_null(held):
        return "text", arrow
    tests = (("bool", types.is_boolean), ("whole", types.is_integer), ("float", types.is_floating))
    return next((kind for kind, test in tests if test(held)), None), arrow


def _texts(path: Path, values: Any) -> FileLabels:
    encoded = values.combine_chunks().dictionary_encode() if not _is_dictionary(values) else values.unify_dictionaries()
    if _is_dictionary(values):
        encoded = encoded.combine_chunks()
    chunk = encoded.chunk(0) if hasattr(encoded, "chunk") else encoded
    names = [None if name is None else class_names.composed(name) for name in chunk.dictionary.to_pylist()]
    codes = chunk.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    used = {names[code] for code in np.unique(codes).tolist()}
    missing = sum(int((codes == code).sum()) for code, name in enumerate(names) if not (name or "").strip())
    if missing:
        raise _refused(path, f"{missing} of {len(codes)} rows have no label")
    distinct = tuple(sorted(name for name in used if name is not None))
    position = {name: index for index, name in enumerate(distinct)}
    places = np.array([position.get(name or "", -1) for name in names], dtype=np.int64)
    return FileLabels(path, distinct, places[codes] if len(codes) else codes, stated=False, numbers=False)


def _is_dictionary(values: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    return bool(pa.types.is_dictionary(values.type))


def _whole(path: Path, column: str, values: Any, kind: str) -> tuple[Any, tuple[str, ...]]:
    """Return the column as an array of integers, and a sentence where they are written as floating-point numbers."""
    if _is_dictionary(values):
        values = values.cast(values.type.value_type)
    found = values.to_numpy()
    if kind == "bool":
        return found.astype(np.int64), ()
    if kind == "whole":
        return found, ()
    found = found.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(found) | (np.trunc(found) != found) | (np.abs(found) >= _EXACT))
    if len(broken):
        row = int(broken[0])
        raise _refused(path, f"column {column} holds {found[row]} in row {row}; labels must be whole numbers or text")
    return found.astype(np.int64), (f"column {column} holds floating-point numbers; all are whole, and read as such",)


def _checked(path: Path, labels: Any, classes: tuple[str, ...]) -> Indices:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise _refused(
            path,
            f"image {wrong[0]} has label {labels[wrong[0]]}, outside 0..{len(classes) - 1} ({len(wrong)} of "
            f"{len(labels)} labels are); is this split published without labels?",
        )
    found: Indices = labels.astype(np.int64)
    return found


def _refused(path: Path, why: str) -> DataError:
    return DataError(shown(f"{path}: {why}"))
