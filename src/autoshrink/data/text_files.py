"""Text on disk as people have it: one file, a file per split, a folder of files, or a zip archive of them."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from autoshrink.data.documents import GZIP, TextFile
from autoshrink.data.folder_layout import JUNK_FOLDERS, Ignored, entries, files_below
from autoshrink.data.formats import EXTENSIONS
from autoshrink.data.images import TRAIN, one_line
from autoshrink.data.names import SPLIT_OF, frame_of, listed, splits_named
from autoshrink.data.sources import FoundText, Place, TextReader
from autoshrink.errors import DataError
from autoshrink.escaping import printable

SUFFIXES = frozenset((".txt", ".text", ".md", ".rst", ".tokens", ".raw"))

_IMAGE_SUFFIXES = EXTENSIONS | {".parquet"}
_STRUCTURED = {
    **dict.fromkeys((".csv", ".tsv"), "a table"),
    **dict.fromkeys((".jsonl", ".ndjson"), "JSON lines"),
    **dict.fromkeys((".html", ".htm"), "HTML"),
    **{".json": "JSON", ".xml": "XML"},
}
"""What is readable, but whose keys and tags would be learned as words."""

# What tells about a text and is none of it.
_ABOUT = frozenset(("readme", "license", "licence", "copying", "changelog", "contributing", "notice", "citation"))


class TextsReader(TextReader):
    """Text files: one, a folder, or a zip archive.

    A file is of the train, validation or test split when a folder on its path is called so, or when such a word stands
    in its name (see `names`): `ptb.train.txt`, `wiki.valid.tokens`, `test.txt`. Files that differ by numbers alone
    (`train-00000-of-00003.txt`) are one split. Without splits, all texts are one, in the order of their names; a README
    or a licence beside others is none of it. A file may be compressed with gzip (`.txt.gz`).
    """

    accepts = "a UTF-8 text file, a folder with train.txt, valid.txt and test.txt, or a folder of text files"

    def recognises(self, path: Path) -> bool:  # noqa: ARG002 - the last resort
        """Everything, as the last resort."""
        return True

    def open(self, place: Place) -> FoundText:
        """Find the text files; nothing is read but a zip archive's table of contents.

        Raises DataError when there is no text, when a train file is missing beside others, when two files claim one
        split or one file two, when files beside the splits make it doubtful that they are splits, and for a file of
        JSON, HTML or a table.
        """
        path = place.path
        if path.is_dir():
            listing = _folder(path)
            archives = [entry for entry in entries(path) if entry.name.lower().endswith(".zip")]
            if listing.texts or len(archives) != 1:
                return _arranged(listing)
            path = Path(archives[0].path)
        suffix = _uncompressed(PurePath(path.name)).suffix.lower()
        if suffix == ".zip":
            return _arranged(_archive(path))
        if suffix in _IMAGE_SUFFIXES:
            raise _refused(path, f" holds images, which are for the task image, not text; give {self.accepts}")
        if suffix in _STRUCTURED:
            raise _refused(
                path,
                f" holds {_STRUCTURED[suffix]}, whose keys or tags would be learned as words; write its text to a .txt "
                "file (or, where its lines are the text, rename it)",
            )
        return FoundText({TRAIN: (TextFile(path),)}, divided=False)


TEXTS = TextsReader()


@dataclass(frozen=True)
class _Listing:
    """What a folder or an archive holds: texts by their path in it, and what is passed over."""

    place: Path
    texts: Mapping[PurePosixPath, TextFile]
    ignored: Ignored

    def found(self, files: Mapping[str, Iterable[PurePosixPath]], notes: Iterable[str], *, divided: bool) -> FoundText:
        """These files of the listing, with what is to be said of them and of the rest."""
        texts = {split: tuple(self.texts[name] for name in names) for split, names in files.items()}
        notes = (*notes, *self.ignored.notes(self.place))
        return FoundText(texts, divided=divided, notes=tuple(map(printable, notes)))


def is_text(path: Path) -> bool:
    """Tell a text file by its suffix, and a folder by holding such files and no folders, as no image folder does."""
    if not path.is_dir():
        return _is_named_text(path.name)
    inside = entries(path)
    return any(_is_named_text(entry.name) for entry in inside) and not any(
        entry.is_dir() or Path(entry.name).suffix.lower() in EXTENSIONS for entry in inside
    )


def _is_named_text(name: str) -> bool:
    return _uncompressed(PurePath(name)).suffix.lower() in SUFFIXES


def _uncompressed(name: PurePath) -> PurePath:
    return name.with_suffix("") if name.suffix.lower() == GZIP else name


def _wanted(name: PurePath) -> bool:
    """A name without a suffix is a text only where it names a split: `train`, `ptb.train`."""
    plain = _uncompressed(name)
    suffix = plain.suffix.lower()
    return suffix in SUFFIXES or (suffix.lstrip(".") in {"", *SPLIT_OF} and bool(_split_of(plain)))


def _folder(root: Path) -> _Listing:
    ignored = Ignored("text")
    names = map(PurePosixPath, files_below(root, PurePosixPath(), ignored, _wanted))
    return _Listing(root, {name: TextFile(root / name) for name in names}, ignored)


def _archive(path: Path) -> _Listing:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(member.filename for member in archive.infolist() if not member.is_dir())
    except (OSError, zipfile.BadZipFile) as error:
        raise _refused(path, f": damaged or truncated archive ({one_line(error)}); fetch it again") from error
    names = {PurePosixPath(member): member for member in members}
    seen = [one for one in names if not any(p.startswith(".") or p.lower() in JUNK_FOLDERS for p in one.parts)]
    texts = {name: TextFile(path, names[name]) for name in seen if _wanted(name)}
    ignored = Ignored("text", Counter(name.suffix.lower() for name in seen if name not in texts))
    return _Listing(path, texts, ignored)


def _arranged(listing: _Listing) -> FoundText:
    if not listing.texts:
        images = any(listing.ignored.extensions[suffix] for suffix in _IMAGE_SUFFIXES)
        hint = "it holds images, which are for the task image; give" if images else "give"
        raise _refused(listing.place, f": no text files in it; {hint} {TEXTS.accepts}")
    splits: dict[str, list[PurePosixPath]] = {}
    for name in listing.texts:
        splits.setdefault(_split_of(name), []).append(name)
    rest = splits.pop("", [])
    if splits and TRAIN not in splits and not rest:
        raise _refused(listing.place, f": a {next(iter(splits))} file but no train file; call it train.txt")
    if TRAIN in splits and (len(splits) > 1 or not rest):
        _refuse_rivals(splits, rest, listing)
        notes = [f"files beside the splits are ignored: {_listed(rest)}"] if rest else []
        shards = {split: names for split, names in splits.items() if len(names) > 1}
        notes += [f"{len(names)} files are the {split} text: {_listed(names)}" for split, names in shards.items()]
        return listing.found(splits, notes, divided=True)
    named = [name for names in splits.values() for name in names]
    about = [name for name in listing.texts if _uncompressed(name).stem.lower() in _ABOUT]
    texts = [name for name in listing.texts if name not in about] or about
    notes = [f"no complete set of split files, so all files are one text, also {_listed(named)}"] if named else []
    if len(texts) < len(listing.texts):
        notes.append(f"not part of the text: {_listed(about)}")
    if len(texts) > 1:
        notes.append(f"the text is {len(texts)} files, one after the other: {_listed(texts)}")
    return listing.found({TRAIN: texts}, notes, divided=False)


def _refuse_rivals(splits: Mapping[str, list[PurePosixPath]], rest: list[PurePosixPath], listing: _Listing) -> None:
    """Raise where a split has two files that are no shards and that no folder of the split's name holds together; and
    where texts stand beside files that are called like splits but not like one another (`how-to-test.md`)."""
    for split, names in splits.items():
        shards = len({(name.parent, re.sub(r"\d+", "0", name.name)) for name in names}) == 1
        if not shards and not all(map(_split_of_folders, names)):
            what = f"{len(names)} {split} files: {_listed(names)}"
            raise _refused(listing.place, f": {what}; give a folder that holds one for each split")
    named = [name for names in splits.values() for name in names if not _split_of_folders(name)]
    if rest and len({frame_of(name.name) for name in named}) > 1:
        raise _refused(
            listing.place,
            f": {_listed(named)} are called like splits, others ({_listed(rest)}) are not; give a folder with "
            "train.txt, valid.txt and test.txt, or rename the files if they are one text",
        )


def _split_of(name: PurePath) -> str:
    """Return the split that the folders or the name say, or nothing; DataError where the name says two."""
    if by_folder := _split_of_folders(name):
        return by_folder
    said = splits_named(name.name)
    if len(said) > 1:
        raise _refused(name, f": the name says {' and '.join(said)}; rename it so that it says one")
    return said[0] if said else ""


def _split_of_folders(name: PurePath) -> str:
    return next((SPLIT_OF[part.lower()] for part in name.parent.parts if part.lower() in SPLIT_OF), "")


def _listed(names: Iterable[PurePosixPath]) -> str:
    return listed(map(str, names))


def _refused(place: object, why: str) -> DataError:
    return DataError(printable(f"{place}{why}"))
