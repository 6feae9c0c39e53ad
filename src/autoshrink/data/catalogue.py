"""The data sets that are known by name: what they are, where they stand on this machine, where they come from."""

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import platformdirs

from autoshrink.data.sources import SOURCES, Reader, accepted
from autoshrink.data.spec import parted, with_columns
from autoshrink.errors import DataError
from autoshrink.escaping import printable
from autoshrink.registry import near


@dataclass(frozen=True)
class KnownFile:
    """One file of a known set: its address, its size in bytes, and its checksum `sha256` (hexadecimal)."""

    url: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address, which is also the file's name on disk."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class KnownData:
    """A data set that `fetch` can download: one file or several."""

    name: str
    task: str
    description: str
    homepage: str
    licence: str
    files: tuple[KnownFile, ...]
    image_size: int | None = None
    """Height = width in pixels of every image."""


@dataclass(frozen=True)
class ListedData:
    """One row of `data list`: `where` is None for a set that is not on this machine."""

    name: str
    task: str
    where: str | None
    description: str


@cache
def known_data() -> tuple[KnownData, ...]:
    """Return the data sets that `fetch` can download."""
    table = tomllib.loads(Path(__file__).with_name("known.toml").read_text(encoding="utf-8"))
    return tuple(
        KnownData(name, **{**row, "files": tuple(KnownFile(**file) for file in row["files"])})
        for name, row in table.items()
    )


def list_data() -> tuple[ListedData, ...]:
    """Return every data set with a name, and where it was found."""
    built_in = (ListedData(name, one.task, "built in", one.description) for name, one in _built_in().items())
    found = ((data, locate(data.name)) for data in known_data())
    known = (ListedData(data.name, data.task, str(path) if path else None, data.description) for data, path in found)
    return (*built_in, *known)


def _built_in() -> dict[str, Reader]:
    return {name: SOURCES[name] for name in SOURCES if SOURCES[name].description}


def _tasks() -> dict[str, str]:
    """The task of every set that has a name."""
    return {name: one.task for name, one in _built_in().items()} | {data.name: data.task for data in known_data()}


def names(task: str) -> list[str]:
    """Return the names of all sets for a task, built in or known."""
    return [name for name, its in _tasks().items() if its == task]


def anchored(spec: str) -> str:
    """A data SPEC that means the same from any folder: a path in full, a name as it is."""
    place, columns = parted(spec)
    path = Path(place).expanduser()
    if place in _tasks() or not path.exists():
        return spec
    return with_columns(str(path.resolve()), columns)


def own_folder() -> Path:
    """Return the user's data folder for autoshrink, into which `fetch` writes."""
    return platformdirs.user_data_path("autoshrink")


def data_folders() -> tuple[Path, ...]:
    """Return the folders in which a known name is looked up, in order: AUTOSHRINK_DATA if set, then the user's own."""
    named = os.environ.get("AUTOSHRINK_DATA")
    return (Path(named), own_folder()) if named else (own_folder(),)


def locate(name: str) -> Path | None:
    """Return the first folder `name` in one of `data_folders` that holds more than an unfinished download."""
    for folder in (root / name for root in data_folders()):
        if folder.is_dir() and any(path.suffix not in {".part", ".lock"} for path in folder.iterdir()):
            return folder
    return None


def located(spec: str, task: str) -> Path | None:
    """Return the folder of the known set called `spec`, or None when no known set is called so.

    Raises DataError when the set is for another task, is not on this machine, or has only some of its files, as after
    an interrupted download.
    """
    other = _tasks().get(spec, task)
    if other != task:
        raise DataError(f"{spec} is for --task {other}; for --task {task} there is {_all(names(task))}")
    known = next((data for data in known_data() if data.name == spec), None)
    if known is None:
        return None
    folder = locate(spec)
    if folder is None:
        places = " or ".join(str(root / spec) for root in data_folders())
        raise DataError(f"{spec} is not on this machine; run: autoshrink data fetch {spec}\nor put it into {places}")
    missing = [file.name for file in known.files if not (folder / file.name).exists()]
    if 0 < len(missing) < len(known.files):
        raise DataError(f"{folder}: {_all(missing)} is missing; run: autoshrink data fetch {spec}")
    return folder


def nothing_there(spec: str, path: Path, task: str) -> str:
    """Return what to say of a spec that is no name and no path, with the nearest of those that are."""
    known = names(task)
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return (
        f"no data set and no path is called {printable(spec)}{near(path.name, known + siblings)}\n"
        f"names: {', '.join(known)}; or give the path of {accepted(task)}"
    )


def _all(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
