"""Which column of a parquet file holds the images and which the labels, by its schema and by what the footer says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoshrink.data.images import one_line
from autoshrink.data.names import composed
from autoshrink.data.spec import Columns
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown
from autoshrink.untrusted import parse_json

_IMAGE_NAMES, _LABEL_NAMES = ("img", "image"), ("label",)
_LABEL_WORDS = frozenset(("label", "labels", "class", "classes", "category", "target"))


def held(kind: Any) -> str:
    """What a column of an arrow type holds: bytes, text, whole, float, bool, or '' for anything else."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = pa.types
    if types.is_struct(kind):
        return "bytes" if kind.get_field_index("bytes") >= 0 else ""
    kind = kind.value_type if types.is_dictionary(kind) else kind
    tests = {
        "text": (types.is_string, types.is_large_string, types.is_string_view, types.is_null),
        "bytes": (types.is_binary, types.is_large_binary, types.is_binary_view),
        "bool": (types.is_boolean,),
        "whole": (types.is_integer,),
        "float": (types.is_floating,),
    }
    return next((name for name, some in tests.items() if any(test(kind) for test in some)), "")


def features(metadata: dict[bytes, bytes], path: Path) -> dict[str, Any]:
    """What the `datasets` library wrote of each column; DataError where that is not as the library writes it."""
    try:
        found = parse_json(metadata.get(b"huggingface", b"{}"))
        for key in ("info", "features"):
            found = found.get(key, {}) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise InputError("no info.features that are an object")
    except InputError as error:
        why = one_line(error)
        raise DataError(f"{shown(path)}: the schema's huggingface metadata are not as expected: {why}") from error
    return {column: feature for column, feature in found.items() if isinstance(feature, dict)}


@dataclass(frozen=True, eq=False)
class Footer:
    """What one file says of its columns: its arrow `schema`, and the `datasets` library's `features`."""

    path: Path
    schema: Any
    features: dict[str, Any]

    @property
    def holds_images(self) -> bool:
        """Whether columns for images and for labels are there."""
        return bool(self._images and self._labels)

    def choose(self, wanted: Columns) -> tuple[Columns, tuple[str, ...]]:
        """Return the columns to read, and sentences about others that could be meant.

        Among several columns that the metadata call an Image (a ClassLabel), or, without metadata, that can hold one,
        the one called `image` or `img` (`label`) is read, and a note names the others.

        Raises DataError where a wanted column is not there or holds something else, none is to be found, or several
        are and none has that name.
        """
        image, notes = self._chosen(wanted.image, self._images, _IMAGE_NAMES, "image")
        labels = [column for column in self._labels if column != image]
        label, more = self._chosen(wanted.label, labels, _LABEL_NAMES, "label")
        if held(self.schema.field(image).type) not in ("bytes", "text"):
            kind = self.schema.field(image).type
            raise self._refused(f"column {image} holds {kind}; images are encoded bytes, a struct with bytes, or paths")
        return Columns(image, label), (*notes, *more)

    def names(self, label: str) -> tuple[str, ...] | None:
        """Return the class names that the metadata give a label column, or None; DataError for no list of texts."""
        names = self.features.get(label, {}).get("names")
        if not names:
            return None
        if not (isinstance(names, list) and all(isinstance(name, str | int) for name in names)):
            raise self._refused(f"the metadata's names of column {label} are no list of texts")
        return tuple(composed(str(name)) for name in names)

    @cached_property
    def _images(self) -> list[str]:
        kinds = {column: held(self.schema.field(column).type) for column in self.schema.names}
        paths = [column for column in _IMAGE_NAMES if kinds.get(column) == "text"]
        return self._stated("Image") or [column for column in kinds if kinds[column] == "bytes"] or paths

    @cached_property
    def _labels(self) -> list[str]:
        words = [c for c in self.schema.names if _LABEL_WORDS & set(re.split(r"[\W\d_]+", c.lower()))]
        return self._stated("ClassLabel") or [column for column in words if column not in self._images]

    def _stated(self, kind: str) -> list[str]:
        return [c for c, feature in self.features.items() if c in self.schema.names and feature.get("_type") == kind]

    def _chosen(
        self, wanted: str | None, found: Sequence[str], usual: Sequence[str], what: str
    ) -> tuple[str, tuple[str, ...]]:
        everything = f"columns {', '.join(map(shown, self.schema.names))}"
        if wanted is not None:
            if wanted not in self.schema.names:
                raise self._refused(f"no column {shown(wanted)} (--{what}-column); {everything}")
            return wanted, ()
        if not found:
            needed = "an image column (img or image: bytes, or a struct with bytes) and label"
            raise self._refused(f"{everything}; needed are {needed}; --image-column and --label-column name others")
        best, *more = [column for column in found if column in usual or len(found) == 1] or found
        if more:
            raise self._refused(f"columns {' and '.join(found)} can hold the {what}; choose with --{what}-column")
        others = ", ".join(column for column in found if column != best)
        if others:
            return best, (f"column {best} is read as the {what}, not {others} (--{what}-column names another)",)
        return best, (() if best in usual else (f"column {best} is read as the {what}",))

    def _refused(self, why: str) -> DataError:
        return DataError(f"{shown(self.path)}: {why}")
