"""Which column of a parquet file holds the images and which the labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autoshrink.data.class_names import composed
from autoshrink.data.spec import Columns
from autoshrink.errors import DataError
from autoshrink.escaping import printable

_IMAGE_NAMES = ("img", "image")
_LABEL_NAMES = ("label",)
_LABEL_WORDS = frozenset(("label", "labels", "class", "classes", "category", "target"))


@dataclass(frozen=True)
class ChosenColumns:
    """The columns that are read, and sentences about others that could be meant."""

    image: str
    label: str
    notes: tuple[str, ...] = ()


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

    def choose(self, wanted: Columns) -> ChosenColumns:
        """Return the columns to read.

        Among several columns that the metadata call an Image (a ClassLabel), or, without metadata, that can hold one,
        the one called `image` or `img` (`label`) is read, and a note names the others.

        Raises DataError where a wanted column is not there or holds something else, none is to be found, or several
        are and none has that name.
        """
        image, image_notes = self._chosen(wanted.image, self._images, _IMAGE_NAMES, "image")
        label, label_notes = self._chosen(wanted.label, [c for c in self._labels if c != image], _LABEL_NAMES, "label")
        if not (self._has_bytes(image) or self.has_text(image)):
            raise self._refused(
                f"column {image} holds {self._type(image)}; images are encoded bytes, a struct with bytes, or paths"
            )
        return ChosenColumns(image, label, (*image_notes, *label_notes))

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
        stated = [column for column, kind in self._kinds if kind == "Image"]
        paths = [column for column in _IMAGE_NAMES if column in self.schema.names and self.has_text(column)]
        return stated or [column for column in self.schema.names if self._has_bytes(column)] or paths

    @cached_property
    def _labels(self) -> list[str]:
        stated = [column for column, kind in self._kinds if kind == "ClassLabel"]
        words = [c for c in self.schema.names if _LABEL_WORDS & set(re.split(r"[\W\d_]+", c.lower()))]
        return stated or [column for column in words if column not in self._images]

    @property
    def _kinds(self) -> list[tuple[str, Any]]:
        return [(c, feature.get("_type")) for c, feature in self.features.items() if c in self.schema.names]

    def _chosen(
        self, wanted: str | None, found: Sequence[str], preferred: Sequence[str], what: str
    ) -> tuple[str, tuple[str, ...]]:
        if wanted is not None:
            if wanted not in self.schema.names:
                raise self._refused(f"no column {printable(wanted)} (--{what}-column); {self._all()}")
            return wanted, ()
        best = [column for column in found if column in preferred] if len(found) > 1 else list(found)
        if not found:
            needed = "an image column (img or image: bytes, or a struct with bytes) and label"
            raise self._refused(f"{self._all()}; needed are {needed}; --image-column and --label-column name others")
        if len(best) != 1:
            raise self._refused(f"columns {' and '.join(found)} can hold the {what}; choose with --{what}-column")
        others = [column for column in found if column != best[0]]
        usual = best[0] in preferred
        if others:
            said = f"column {best[0]} is read as the {what}, not {', '.join(others)} (--{what}-column names another)"
            return best[0], (said,)
        return best[0], (() if usual else (f"column {best[0]} is read as the {what}",))

    def _all(self) -> str:
        return f"columns {', '.join(map(printable, self.schema.names))}"

    def _refused(self, why: str) -> DataError:
        return DataError(f"{printable(str(self.path))}: {why}")

    def _type(self, column: str) -> Any:
        return self.schema.field(column).type

    def _has_bytes(self, column: str) -> bool:
        import pyarrow as pa  # noqa: PLC0415 - an extra

        kind = self._type(column)
        if pa.types.is_struct(kind):
            return bool(kind.get_field_index("bytes") >= 0)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))

    def has_text(self, column: str) -> bool:
        """Tell whether a column holds texts, which are paths where images are wanted."""
        import pyarrow as pa  # noqa: PLC0415 - an extra

        kind = self._type(column)
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
