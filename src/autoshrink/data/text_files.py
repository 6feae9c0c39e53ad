"""Text on disk as people have it: one file, a file per split, a folder of files, or a zip archive of them."""

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autoshrink.data.documents import GZIP, Document, TextFile
from autoshrink.data.folder_layout import entries, listed
from autoshrink.data.formats import EXTENSIONS
from autoshrink.data.images import TRAIN, one_line
from autoshrink.data.split_names import SPLIT_OF, frame_of, splits_named
from autoshrink.errors import DataError
from autoshrink.escaping import printable
from autoshrink.quantity import counted

SUFFIXES = frozenset((".txt", ".text", ".md", ".rst", ".tokens", ".raw"))
ACCEPTED = "a UTF-8 text file, a folder with train.txt, valid.txt and test.txt, or a folder of text files"

_IMAGE_SUFFIXES = EXTENSIONS | {".parquet"}
_STRUCTURED = {
    ".json": "JSON",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".csv": "a table",
    ".tsv": "a table",
    ".html": "HTML",
    ".htm": "HTML",
    ".xml": "XML",
}
"""What is readable, but whose keys and tags would be learned as words."""

# What tells about a text and is none of it.
_ABOUT = frozenset(("readme", "license", "licence", "copying", "changelog", "contributing", "notice", "citation"))

_JUNK = frozenset(("__macosx", "@eadir"))


@dataclass(frozen=True)
class FoundText:
    """The files of each split; of the train split only where nothing says which file belongs to which."""

    files: Mapping[str, tuple[Document, ...]]
    divided: bool
    """Whether the files themselves say which split they belong to."""
    notes: tuple[str, ...] = ()


@dataclass
class _Listing:
    """What a folder or an archive holds: texts by their path in it, and what is passed over."""

    place: str
    texts: dict[PurePosixPath, TextFile] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)

    def add(self, name: PurePosixPath, file: TextFile) -> None:
        plain = _uncompressed(name)
        suffix = plain.suffix.lower()
        # A name without a suffix is a text only where it names a split: `train`, `ptb.train`.
        if suffix in SUFFIXES or (suffix.lstrip(".") in {"", *SPLIT_OF} and _split_of(plain)):
            self.texts[name] = file
        else:
            self.others[suffix] += 1

    def notes(self) -> Iterator[str]:
        if self.others:
            kinds = ", ".join(f"{count} {kind or 'without suffix'}" for kind, count in sorted(self.others.items()))
            yield f"{counted(self.others.total(), 'file')} ignored, not being text by the suffix: {kinds}"
        if self.links:
            yield f"links to folders are not followed: {listed(self.links)}"


def find_text(path: Path) -> FoundText:
    """Return the text files of a path that exists; nothing is read but a zip archive's table of contents.

    A file is of the train, validation or test split when a folder on its path is called so, or when such a word stands
    in its name (see `split_names`): `ptb.train.txt`, `wiki.valid.tokens`, `test.txt`. Files that differ by numbers
    alone (`train-00000-of-00003.txt`) are one split. Without splits, all texts are one, in the order of their names; a
    README or a licence beside others is none of it. A file may be compressed with gzip (`.txt.gz`).

    Raises DataError when there is no text, when a train file is missing beside others, when two files claim one split
    or one file two, when files beside the splits make it doubtful that they are splits, and for a file of JSON, HTML or
    a table.
    """
    if path.is_dir():
        listing = _folder(path)
        archives = [entry for entry in entries(path) if entry.name.lower().endswith(".zip")]
        if not listing.texts and len(archives) == 1:
            return find_text(Path(archives[0].path))
        return _arranged(listing)
    if not path.is_file():
        raise DataError(f"{printable(str(path))} is no regular file; give {ACCEPTED}")
    if path.suffix.lower() in _IMAGE_SUFFIXES:
        raise DataError(f"{printable(str(path))} holds images, not text; use --task image, or give {ACCEPTED}")
    if path.suffix.lower() == ".zip":
        return _arranged(_archive(path))
    kind = _STRUCTURED.get(_uncompressed(PurePosixPath(path.name)).suffix.lower())
    if kind is not None:
        raise DataError(
            f"{printable(str(path))} holds {kind}, whose keys or tags would be learned as words; write its text to a "
            ".txt file (or, where its lines are the text, rename it)"
        )
    return FoundText({TRAIN: (TextFile(path),)}, divided=False)


def is_text(path: Path) -> bool:
    """Tell a text file by its suffix, and a folder by holding such files and no folders, as no image folder does."""
    if not path.is_dir():
        return _is_named_text(path.name)
    inside = entries(path)
    return any(_is_named_text(entry.name) for entry in inside) and not any(
        entry.is_dir() or Path(entry.name).suffix.lower() in EXTENSIONS for entry in inside
    )


def _is_named_text(name: str) -> bool:
    return _uncompressed(PurePosixPath(name)).suffix.lower() in SUFFIXES


def _uncompressed(name: PurePosixPath) -> PurePosixPath:
    """Return the name without gzip's suffix."""
    return name.with_suffix("") if name.suffix.lower() == GZIP else name


def _folder(root: Path) -> _Listing:
    listing = _Listing(printable(str(root)))
    _list_below(root, PurePosixPath(), listing)
    return listing


def _list_below(folder: Path, relative: PurePosixPath, listing: _Listing) -> None:
    for entry in entries(folder):
        name = relative / entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.lower() not in _JUNK:
                _list_below(Path(entry.path), name, listing)
        elif entry.is_dir():
            # A link may lead back up, and its text would count twice.
            listing.links.append(str(name))
        elif entry.is_file() or not os.path.exists(entry.path):  # noqa: PTH110 - a dangling link is reported when read
            listing.add(name, TextFile(Path(entry.path)))


def _archive(path: Path) -> _Listing:
    listing = _Listing(printable(str(path)))
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member.filename for member in archive.infolist() if not member.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{listing.place}: damaged or truncated archive ({one_line(error)}); fetch it again") from error
    for member in sorted(members):
        name = PurePosixPath(member)
        if not any(part.startswith(".") or part.lower() in _JUNK for part in name.parts):
            listing.add(name, TextFile(path, member))
    return listing


def _arranged(listing: _Listing) -> FoundText:
    if not listing.texts:
        images = sum(listing.others[suffix] for suffix in _IMAGE_SUFFIXES)
        hint = "it holds images: use --task image, or give" if images else "give"
        raise DataError(f"{listing.place}: no text files in it; {hint} {ACCEPTED}")
    splits: dict[str, list[PurePosixPath]] = {}
    for name in listing.texts:
        splits.setdefault(_split_of(name), []).append(name)
    rest = splits.pop("", [])
    if splits and TRAIN not in splits and not rest:
        raise DataError(f"{listing.place}: a {next(iter(splits))} file but no train file; call it train.txt")
    if TRAIN in splits and (len(splits) > 1 or not rest):
        _refuse_rivals(splits, listing)
        _refuse_chance(splits, rest, listing)
        notes = [f"files beside the splits are ignored: {listed(list(map(str, rest)))}"] if rest else []
        notes += [
            f"{len(names)} files are the {split} text: {listed(list(map(str, names)))}"
            for split, names in splits.items()
            if len(names) > 1
        ]
        files = {split: tuple(listing.texts[name] for name in names) for split, names in splits.items()}
        return FoundText(files, divided=True, notes=tuple(map(printable, (*notes, *listing.notes()))))
    named = [str(name) for names in splits.values() for name in names]
    notes = [f"no complete set of split files, so all files are one text, also {listed(named)}"] if named else []
    about = [name for name in listing.texts if _uncompressed(name).stem.lower() in _ABOUT]
    texts = {name: text for name, text in listing.texts.items() if name not in about} or listing.texts
    if len(texts) < len(listing.texts):
        notes.append(f"not part of the text: {listed(list(map(str, about)))}")
    if len(texts) > 1:
        notes.append(f"the text is {len(texts)} files, one after the other: {listed(list(map(str, texts)))}")
    whole = {TRAIN: tuple(texts.values())}
    return FoundText(whole, divided=False, notes=tuple(map(printable, (*notes, *listing.notes()))))


def _refuse_rivals(splits: Mapping[str, list[PurePosixPath]], listing: _Listing) -> None:
    """Raise where a split has two files that are no shards and that no folder of the split's name holds together."""
    for split, names in splits.items():
        shards = len({(name.parent, re.sub(r"\d+", "0", name.name)) for name in names}) == 1
        if not shards and not all(_split_of_folders(name) for name in names):
            raise DataError(
                printable(f"{listing.place}: {len(names)} {split} files: {listed(list(map(str, names)))}")
                + "; give a folder that holds one for each split"
            )


def _refuse_chance(splits: Mapping[str, list[PurePosixPath]], rest: list[PurePosixPath], listing: _Listing) -> None:
    """Raise where texts stand beside files that are called like splits but not like one another (`how-to-test.md`)."""
    named = [name for names in splits.values() for name in names if not _split_of_folders(name)]
    if rest and len({frame_of(name.name) for name in named}) > 1:
        raise DataError(
            printable(
                f"{listing.place}: {listed(list(map(str, named)))} are called like splits, others ("
                f"{listed(list(map(str, rest)))}) are not"
            )
            + "; give a folder with train.txt, valid.txt and test.txt, or rename the files if they are one text"
        )


def _split_of(name: PurePosixPath) -> str:
    """Return the split that the folders or the name say, or nothing.

    Raises DataError where the name says two.
    """
    by_folder = _split_of_folders(name)
    if by_folder:
        return by_folder
    said = splits_named(name.name)
    if len(said) > 1:
        raise DataError(f"{printable(str(name))}: the name says {' and '.join(said)}; rename it so that it says one")
    return said[0] if said else ""


def _split_of_folders(name: PurePosixPath) -> str:
    return next((SPLIT_OF[part.lower()] for part in name.parent.parts if part.lower() in SPLIT_OF), "")
