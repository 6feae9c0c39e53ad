"""Image folders as people have them: `ROOT/train/CLASS/**` beside `val/` and `test/`, or `ROOT/CLASS/**`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from autoshrink.data import class_names
from autoshrink.data.folder_layout import (
    Ignored,
    entries,
    images_below,
    is_class_folder,
    is_image,
    refuse_deeper_classes,
    split_folders,
)
from autoshrink.data.images import TRAIN, Indices, Payload, file_state
from autoshrink.data.split_names import said_by_files
from autoshrink.errors import DataError
from autoshrink.escaping import printable, shown


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


def open_folder(root: Path, split: str, *, name: str, alone: bool = False) -> FolderImages:
    """Open one split of an image folder; classes are the sorted names of the train split's class folders.

    With `alone` they are those of this split's, and no train split is needed.

    Hidden files and what operating systems leave behind are passed over; other files that are no images by extension,
    images outside any class, empty class folders and links to folders inside a class are ignored with a note. Raises
    DataError, naming the folder, when it holds no class folders, not this split, a class that the train split lacks, or
    folders that can be understood in two ways.
    """
    ignored = Ignored()
    folders = split_folders(root, ignored, alone=alone)
    if split not in folders:
        raise DataError(_no_split(root, split, folders))
    home = split if alone else TRAIN
    at_home = ignored if split == home else Ignored()
    held = _class_files(folders[home], at_home)
    refuse_deeper_classes(folders[home], held, at_home)
    classes = tuple(sorted(held))
    if split != home:
        held = _class_files(folders[split], ignored)
        unknown = sorted(held.keys() - set(classes))
        if unknown:
            raise DataError(
                shown(
                    f"{folders[split]}: class {unknown[0]} has no folder in {folders[TRAIN]}"
                    f"{class_names.hint(unknown[0], classes)}"
                )
            )
    rows = sorted((file, label) for label, folder in enumerate(classes) for file in held.get(folder, ()))
    if not rows:
        raise DataError(
            f"{printable(str(folders[split]))}: no images in class folders; expected CLASS/*.png (or .jpg, …)"
            f"{(ignored if split != home else at_home).instead}"
        )
    files = tuple(file for file, _ in rows)
    if named := said_by_files(files):
        ignored.taken.append(named)
    return FolderImages(
        name=name,
        root=folders[split],
        classes=tuple(map(printable, classes)),
        labels=np.array([label for _, label in rows], dtype=np.int64),
        files=files,
        notes=(*ignored.notes(folders[split]), *map(shown, class_names.alike(classes))),
    )


def _no_split(root: Path, split: str, folders: dict[str, Path]) -> str:
    place = printable(str(root))
    if folders == {TRAIN: root}:
        return (
            f"{place}: no {split} split, its classes stand directly in it; use {TRAIN}/CLASS and {split}/CLASS folders"
        )
    return f"{place}: no {split} folder, only {', '.join(printable(path.name) for path in folders.values())}"


def _class_files(root: Path, ignored: Ignored) -> dict[str, list[str]]:
    """Return, per class that holds any, its image files' POSIX paths relative to `root`."""
    held: dict[str, list[str]] = {}
    for entry in entries(root):
        if is_class_folder(entry, root, ignored):
            files = list(images_below(Path(entry.path), PurePath(entry.name), ignored))
            name = class_names.composed(entry.name)
            if name in held:
                ignored.taken.append(f"two folders called {name}, by two spellings of one letter, are one class")
            if files:
                held.setdefault(name, []).extend(files)
            else:
                ignored.empty_classes.append(entry.name)
        elif is_image(entry):
            ignored.misplaced += 1
        elif not (entry.is_file() or entry.is_dir() or entry.is_symlink()):
            ignored.irregular.append(entry.name)
    return held
