"""Image folders as people have them: `ROOT/train/CLASS/**` beside `val/` and `test/`, or `ROOT/CLASS/**`."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from autoshrink.data.images import SPLITS, TEST, TRAIN, VALIDATION, Indices, Payload, file_state, one_line
from autoshrink.errors import DataError
from autoshrink.escaping import printable

EXTENSIONS = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
)
SPLIT_FOLDERS = {TRAIN: ("train",), VALIDATION: ("val", "valid", "validation"), TEST: ("test",)}

# What operating systems and annotation tools leave behind; it is not worth a note. So are all hidden files.
_JUNK_FILES = frozenset(("thumbs.db", "desktop.ini"))
_JUNK_FOLDERS = frozenset(("__macosx", "@eadir"))


@dataclass(frozen=True, eq=False)
class FolderImages:
    """An `ImageSource` over image files: `files` are relative to `root` and sorted."""

    name: str
    root: Path
    classes: tuple[str, ...]
    labels: Indices
    files: tuple[str, ...]
    notes: tuple[str, ...]
    natural_size: int | None = None

    @property
    def location(self) -> str:
        """The folder that was given or its split's folder."""
        return printable(str(self.root))

    def describe(self, index: int) -> str:
        """Return the path relative to the folder that holds the classes."""
        return printable(self.files[index])

    def identity(self, indices: Indices) -> str:
        """Return path, size and modification time of each file."""
        return "\n".join(file_state(self.root / self.files[index]) for index in indices.tolist())

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield the bytes of each file, or the OSError that reading it raised."""
        for index in indices.tolist():
            try:
                yield index, (self.root / self.files[index]).read_bytes()
            except OSError as error:
                yield index, error


@dataclass
class _Ignored:
    """What a listing left out, gathered for the notes."""

    extensions: Counter[str] = field(default_factory=Counter)
    misplaced: int = 0
    empty_classes: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def notes(self, root: Path) -> tuple[str, ...]:
        """Return one sentence per kind of thing ignored."""
        kinds = ", ".join(f"{count} {kind or 'without extension'}" for kind, count in sorted(self.extensions.items()))
        sentences = (
            (kinds, f"{self.extensions.total()} files are ignored, not being images by their extension: {kinds}"),
            (self.misplaced, f"{self.misplaced} images are ignored because they stand in no class folder of {root}"),
            (self.empty_classes, f"class folders without images are not counted: {listed(self.empty_classes)}"),
            (self.links, f"links to folders are not followed: {listed(self.links)}"),
            (self.folders, f"folders beside the splits are ignored: {listed(self.folders)}"),
        )
        return tuple(printable(sentence) for there, sentence in sentences if there)


def open_folder(root: Path, split: str, *, name: str) -> FolderImages:
    """Open one split of an image folder; classes are the sorted names of the train split's class folders.

    Hidden files and what operating systems leave behind are passed over; other files that are no images by extension,
    images outside any class, empty class folders and links to folders inside a class are ignored with a note. Raises
    DataError, naming the folder, when it holds no class folders, not this split, or a class that the train split lacks.
    """
    ignored = _Ignored()
    folders = _split_roots(root, ignored)
    if split not in folders:
        raise DataError(_no_split(root, split, folders))
    held = _class_files(folders[TRAIN], ignored if split == TRAIN else _Ignored())
    classes = tuple(sorted(held))
    if split != TRAIN:
        held = _class_files(folders[split], ignored)
        unknown = sorted(held.keys() - set(classes))
        if unknown:
            raise DataError(f"{folders[split]}: class {printable(unknown[0])} has no folder in {folders[TRAIN]}")
    rows = sorted((file, label) for label, folder in enumerate(classes) for file in held.get(folder, ()))
    if not rows:
        raise DataError(
            f"{printable(str(folders[split]))}: no images in class folders; expected CLASS/*.png (or .jpg, …)"
        )
    return FolderImages(
        name=name,
        root=folders[split],
        classes=tuple(map(printable, classes)),
        labels=np.array([label for _, label in rows], dtype=np.int64),
        files=tuple(file for file, _ in rows),
        notes=ignored.notes(folders[split]),
    )


def _no_split(root: Path, split: str, folders: dict[str, Path]) -> str:
    place = printable(str(root))
    if folders == {TRAIN: root}:
        return (
            f"{place}: no {split} split, its classes stand directly in it; use {TRAIN}/CLASS and {split}/CLASS folders"
        )
    return f"{place}: no {split} folder, only {', '.join(path.name for path in folders.values())}"


def _split_roots(root: Path, ignored: _Ignored) -> dict[str, Path]:
    """Return the folder of each split; `root` itself is the train split when classes stand directly in it."""
    folders = {entry.name: Path(entry.path) for entry in entries(root) if _is_class_folder(entry, root, ignored)}
    splits = {split: folders[name] for split in SPLITS for name in folders if name.lower() in SPLIT_FOLDERS[split]}
    others = sorted(folders.keys() - {path.name for path in splits.values()})
    # A folder called "train" among others is a class (beside "bus" and "car") if its images stand directly in it.
    if TRAIN in splits and not (others and _has_images(splits[TRAIN])):
        ignored.folders.extend(others)
        ignored.misplaced += sum(_is_image(entry) for entry in entries(root))
        return splits
    if splits and not others:
        raise DataError(f"{printable(str(root))}: a {next(iter(splits))} folder but no train folder")
    return {TRAIN: root}


def _class_files(root: Path, ignored: _Ignored) -> dict[str, list[str]]:
    """Return, per class folder that holds any, its image files' POSIX paths relative to `root`."""
    held = {}
    for entry in entries(root):
        if _is_class_folder(entry, root, ignored):
            files = list(_images_below(Path(entry.path), PurePath(entry.name), ignored))
            if files:
                held[entry.name] = files
            else:
                ignored.empty_classes.append(entry.name)
        elif _is_image(entry):
            ignored.misplaced += 1
    return held


def _images_below(folder: Path, relative: PurePath, ignored: _Ignored) -> Iterator[str]:
    for entry in entries(folder):
        path = relative / entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.lower() not in _JUNK_FOLDERS:
                yield from _images_below(Path(entry.path), path, ignored)
        elif entry.is_dir():
            # A link may lead back up, and its images would get a second label.
            ignored.links.append(path.as_posix())
        elif _is_image(entry):
            yield path.as_posix()
        elif entry.name.lower() not in _JUNK_FILES:
            ignored.extensions[path.suffix.lower()] += 1


def _is_class_folder(entry: os.DirEntry[str], root: Path, ignored: _Ignored) -> bool:
    if not entry.is_dir() or entry.name.lower() in _JUNK_FOLDERS:
        return False
    # A linked class folder is fine, unless the link leads back to the data set that it stands in.
    if entry.is_symlink() and root.resolve().is_relative_to(Path(entry.path).resolve()):
        ignored.links.append(entry.name)
        return False
    return True


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Tell an image by its extension; a dangling link counts, so that it is reported and not passed over."""
    named = PurePath(entry.name).suffix.lower() in EXTENSIONS
    return named and (entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists()))


def _has_images(folder: Path) -> bool:
    return any(_is_image(entry) for entry in entries(folder))


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the visible entries of a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{printable(str(folder))}: cannot be listed: {error.strerror or one_line(error)}") from error


def listed(names: list[str]) -> str:
    """Return the distinct names, sorted, for a person: the first five and how many more."""
    distinct = sorted(set(names))
    more = f" and {len(distinct) - 5} more" if len(distinct) > 5 else ""
    return ", ".join(distinct[:5]) + more
