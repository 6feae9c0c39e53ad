"""The image data sets that are known by name: what they are, where they stand on this machine, where they come from."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from autoshrink.data.cifar import HOMEPAGE


@dataclass(frozen=True)
class KnownData:
    """A data set that `fetch` can download: one file of `bytes` bytes whose checksum is `sha256` (hexadecimal)."""

    name: str
    description: str
    homepage: str
    licence: str
    url: str
    sha256: str
    bytes: int
    image_size: int
    """Height = width in pixels of every image."""


@dataclass(frozen=True)
class ListedData:
    """One row of `data list`: `where` is None for a set that is not on this machine."""

    name: str
    where: str | None
    description: str


BUILT_IN = {"digits": "1,797 handwritten digits, 1×8×8, 10 classes (part of scikit-learn)"}

_KNOWN = (
    KnownData(
        name="cifar10",
        description="50,000 + 10,000 photographs, 3×32×32, 10 classes (170 MB)",
        homepage=HOMEPAGE,
        licence="none stated; the authors ask to cite Krizhevsky, Learning Multiple Layers of Features, 2009",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        bytes=170_052_171,
        image_size=32,
    ),
)


def known_data() -> tuple[KnownData, ...]:
    """Return the image data sets that `fetch` can download."""
    return _KNOWN


def list_data() -> tuple[ListedData, ...]:
    """Return every image data set with a name, and where it was found."""
    built_in = (ListedData(name, "built in", description) for name, description in BUILT_IN.items())
    known = ((data, locate(data.name)) for data in _KNOWN)
    return (*built_in, *(ListedData(data.name, str(path) if path else None, data.description) for data, path in known))


def own_folder() -> Path:
    """Return the user's data folder for autoshrink, into which `fetch` writes."""
    return platformdirs.user_data_path("autoshrink")


def data_folders() -> tuple[Path, ...]:
    """Return the folders in which a known name is looked up, in order: AUTOSHRINK_DATA if set, then the user's own."""
    named = os.environ.get("AUTOSHRINK_DATA")
    return (*([Path(named)] if named else []), own_folder())


def locate(name: str) -> Path | None:
    """Return the first folder `name` in one of `data_folders` that holds more than an unfinished download."""
    for folder in (root / name for root in data_folders()):
        if folder.is_dir() and any(path.suffix not in {".part", ".lock"} for path in folder.iterdir()):
            return folder
    return None


def near(word: str, names: Iterable[str]) -> str:
    """Return "; did you mean X?" for the name most like `word`, or nothing when none is."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""
