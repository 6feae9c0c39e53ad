"""The label column of a parquet file: whatever it holds becomes class names and indices into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoshrink.data import names as naming
from autoshrink.data.images import Indices, checked_labels
from autoshrink.data.parquet_columns import held
from autoshrink.data.parquet_files import footer_of, parquet_file
from autoshrink.data.spec import Columns
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
    stated: bool = False
    numbers: bool = False
    notes: tuple[str, ...] = ()

    def within(self, classes: tuple[str, ...]) -> Indices:
        """Return the labels as indices into `classes`, matched by name: int64, one a row.

        Raises DataError where a row is of another class, or two classes have one name and the file's are others.
        """
        if self.names == classes:
            return self.codes
        for names in (classes, self.names):
            for name in names:
                if names.count(name) > 1:
                    raise _refused(self.path, f"two classes are called {name}, so they cannot be matched by name")
        position = {name: index for index, name in enumerate(classes)}
        for code in np.unique(self.codes).tolist():
            if (unknown := self.names[code]) not in position:
                hint = naming.hint(unknown, classes)
                raise _refused(self.path, f"class {unknown} is not among the {len(classes)} that are trained on{hint}")
        places = np.array([position.get(name, -1) for name in self.names], dtype=np.int64)
        found: Indices = places[self.codes]
        return found


def read_labels(path: Path, columns: Columns, names: tuple[str, ...] | None) -> FileLabels:
    """Read a file's labels: numbers are named by its own metadata, else by `names`, else by themselves.

    Raises DataError where one of the columns is not there, a row has no label or one that nothing names, or the labels
    are neither whole numbers, text nor true and false.
    """
    footer, column = footer_of(path), str(columns.label)
    there = footer.schema.names
    if missing := [one for one in (columns.image, column) if one not in there]:
        raise _refused(path, f"no column {missing[0]}, which the other files have; columns {', '.join(there)}")
    own = footer.names(column)
    with parquet_file(path) as file:
        # By its type before any of it is read.
        arrow = file.schema_arrow.field(column).type
        kind = held(arrow)
        if kind in ("", "bytes"):
            raise _refused(path, f"column {column} holds {arrow}; labels must be whole numbers, text or true and false")
        cells = file.read(columns=[column]).column(0).to_pylist()
    if empty := sum(cell is None or (kind == "text" and not cell.strip()) for cell in cells):
        raise _refused(path, f"{empty} of {len(cells)} rows have no label")
    if kind in ("text", "bool"):
        texts = [naming.composed(cell) if kind == "text" else str(cell).lower() for cell in cells]
        return _named_by_themselves(path, np.array(texts, dtype=object))
    notes: tuple[str, ...] = ()
    if kind == "float" and cells:
        _refuse_fractions(path, column, cells)
        notes = (f"column {column} holds floating-point numbers; all are whole, and read as such",)
    whole = np.array([int(cell) for cell in cells], dtype=object)
    if given := own or names:
        if not own:
            notes = (*notes, f"{path.name} names no classes: its numbers are taken as the others name")
        codes = checked_labels(whole, given, path)
        return FileLabels(path, given, codes, stated=own is not None, notes=notes)
    if len(whole) and whole.min() < 0:
        notes = (*notes, f"labels below 0 are classes like the others: {whole.min()}")
    return _named_by_themselves(path, whole, numbers=True, notes=notes)


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
    return tuple(sorted({name for file in files for name in file.names}, key=int if numbers else None))


def _named_by_themselves(path: Path, labels: Any, *, numbers: bool = False, notes: tuple[str, ...] = ()) -> FileLabels:
    distinct, codes = np.unique(labels, return_inverse=True)
    return FileLabels(path, tuple(map(str, distinct)), codes.astype(np.int64), numbers=numbers, notes=notes)


def _refuse_fractions(path: Path, column: str, cells: Sequence[float]) -> None:
    found = np.array(cells, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(found) | (np.trunc(found) != found) | (np.abs(found) >= _EXACT))
    if len(broken):
        row = int(broken[0])
        raise _refused(path, f"column {column} holds {found[row]} in row {row}; labels must be whole numbers or text")


def _refused(path: Path, why: str) -> DataError:
    return DataError(shown(f"{path}: {why}"))
