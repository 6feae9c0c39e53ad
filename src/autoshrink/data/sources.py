"""Data sources: what images and texts are read from, each a reader in a registry, with an entry point group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from autoshrink.data.documents import Document
from autoshrink.data.images import ImageSource, one_line
from autoshrink.data.spec import ANY_COLUMNS, Columns
from autoshrink.errors import DataError
from autoshrink.escaping import printable
from autoshrink.registry import Registry


@dataclass(frozen=True)
class Place:
    """What a data SPEC names.

    Attributes:
        name: of the data set: the known name, or the last part of the path.
        path: where it stands; of a set that is part of a package, its name.
        columns: of parquet files, as far as the SPEC names them.
        alone: whether the classes are those of the split that is opened, and no training split is needed.
    """

    name: str
    path: Path
    columns: Columns = ANY_COLUMNS
    alone: bool = False

    def refuse_columns(self) -> None:
        """Raise DataError where the SPEC names columns, for data that have none."""
        if self.columns != ANY_COLUMNS:
            raise DataError(
                f"{printable(str(self.path))}: --image-column and --label-column are for parquet files; leave them out"
            )


class Reader(ABC):
    """One kind of data. Of those that recognise a path, the one that was registered last reads it."""

    task: ClassVar[str]
    """``image`` or ``text``."""
    description: ClassVar[str] = ""
    """Of a set that needs no path, whose SPEC is the name that it is registered under; a line of `data list`."""
    accepts: ClassVar[str] = ""
    """What is read, for messages: ``an image folder``."""
    has_columns: ClassVar[bool] = False
    """Whether a SPEC may name columns."""

    def recognises(self, path: Path) -> bool:  # noqa: ARG002 - sets that need no path recognise none
        """Whether what stands at a path, a file or a folder, is of this kind. Cheap: no content is read."""
        return False


class ImageReader(Reader):
    """One kind of image data."""

    task = "image"

    @abstractmethod
    def splits(self, place: Place) -> tuple[str, ...]:
        """Which of `SPLITS` there are, by what folders and files are called; no label is read."""

    @abstractmethod
    def open(self, place: Place, split: str) -> ImageSource:
        """Open one split; no image is decoded. Raises DataError, naming what is wrong, where it cannot be."""


@dataclass(frozen=True)
class FoundText:
    """The documents of each split; of the train split only where nothing says which one belongs to which."""

    files: Mapping[str, tuple[Document, ...]]
    divided: bool
    """Whether the documents themselves say which split they belong to."""
    notes: tuple[str, ...] = ()


class TextReader(Reader):
    """One kind of text."""

    task = "text"

    @abstractmethod
    def open(self, place: Place) -> FoundText:
        """Find the documents; none is read. Raises DataError, naming what is wrong, where there is none."""


SOURCES: Registry[Reader] = Registry(
    "autoshrink.sources",
    "data source",
    {
        "folder": "autoshrink.data.folder:FOLDER",
        "parquet": "autoshrink.data.parquet:PARQUET",
        "cifar": "autoshrink.data.cifar:CIFAR",
        "digits": "autoshrink.data.digits:DIGITS",
        "texts": "autoshrink.data.text_files:TEXTS",
        "pydocs": "autoshrink.data.pydocs:PYDOCS",
    },
)


def readers(task: str) -> dict[str, Reader]:
    """Those of a task by name, the one that was registered last first."""
    found = {name: SOURCES[name] for name in reversed(tuple(SOURCES))}
    return {name: reader for name, reader in found.items() if reader.task == task}


def accepted(task: str) -> str:
    """What can be given for a task, for messages."""
    kinds = [reader.accepts for reader in reversed(readers(task).values()) if reader.accepts]
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if kinds[1:] else kinds)


@contextmanager
def opening(spec: str) -> Iterator[None]:
    """Whatever the system refuses inside is a DataError that names the SPEC."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{printable(spec)}: cannot be opened: {one_line(error)}") from error
