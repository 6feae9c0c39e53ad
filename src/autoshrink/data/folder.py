"""Image folders as people have them: `ROOT/train/CLASS/**` beside `val/` and `test/`, or `ROOT/CLASS/**`."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from autoshrink.data import names
from autoshrink.data.folder_layout import (
    EMPTY,
    IRREGULAR,
    Ignored,
    entries,
    files_below,
    is_class_folder,
    is_image,
    refuse_deeper_classes,
    split_folders,
)
from autoshrink.data.images import TRAIN, FileImages
from autoshrink.data.sources import ImageReader, Place, accepted
from autoshrink.data.text_files import is_text
from autoshrink.errors import DataError
from autoshrink.escaping import printable, shown


class FolderReader(ImageReader):
    """Folders of images in folders of classes; and whatever path nothing else recognises, to say what it is not."""

    accepts = "an image folder"

    def recognises(self, path: Path) -> bool:  # noqa: ARG002 - the last resort
        """Everything, as the last resort."""
        return True

    def splits(self, place: Place) -> tuple[str, ...]:
        """Those whose words stand in the names of folders."""
        _refuse_others(place.path)
        return tuple(split_folders(place.path, Ignored(), alone=True))

    def open(self, place: Place, split: str) -> FileImages:
        """Open one split; classes are the sorted names of the class folders of the train split, or of this one alone.

        Hidden files and what operating systems leave behind are passed over; other files that are no images by
        extension, images outside any class, empty class folders and links to folders inside a class are ignored with a
        note. Raises DataError, naming the folder, when it holds no class folders, not this split, a class that the
        train split lacks, or folders that can be understood in two ways.
        """
        root = place.path
        _refuse_others(root)
        ignored = Ignored()
        folders = split_folders(root, ignored, alone=place.alone)
        if split not in folders:
            raise DataError(_no_split(root, split, folders))
        home = split if place.alone else TRAIN
        held = _class_files(folders[home], at_home := ignored if split == home else Ignored())
        refuse_deeper_classes(folders[home], held, at_home)
        classes = tuple(sorted(held))
        if split != home:
            held = _class_files(folders[split], ignored)
            for unknown in sorted(held.keys() - set(classes)):
                hint = names.hint(unknown, classes)
                raise DataError(shown(f"{folders[split]}: class {unknown} has no folder in {folders[home]}{hint}"))
        rows = sorted((file, label) for label, folder in enumerate(classes) for file in held.get(folder, ()))
        if not rows:
            raise DataError(
                f"{printable(str(folders[split]))}: no images in class folders; expected CLASS/*.png (or .jpg, …)"
                f"{ignored.instead}"
            )
        files = tuple(file for file, _ in rows)
        if named := names.said_by_files(files):
            ignored.taken.append(named)
        return FileImages(
            name=place.name,
            location=printable(str(folders[split])),
            root=folders[split],
            classes=tuple(map(printable, classes)),
            labels=np.array([label for _, label in rows], dtype=np.int64),
            files=files,
            notes=(*ignored.notes(folders[split]), *map(shown, names.alike(classes))),
            states_split=folders[split] != root,
        )


FOLDER = FolderReader()


def _refuse_others(path: Path) -> None:
    place, ways = printable(str(path)), accepted("image")
    if is_text(path):
        raise DataError(f"{place} holds text, which is for the task text, not images; give {ways}")
    if not path.is_dir():
        hint = "extract it and give the folder" if path.suffix == ".zip" else f"give {ways}"
        raise DataError(f"{place} is not data of a kind that is read here; {hint}, or a source for it with --plugin")


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
            files = list(files_below(Path(entry.path), PurePath(entry.name), ignored))
            name = names.composed(entry.name)
            if name in held:
                ignored.taken.append(f"two folders called {name}, by two spellings of one letter, are one class")
            if files:
                held.setdefault(name, []).extend(files)
            else:
                ignored.named[EMPTY].append(entry.name)
        elif is_image(entry):
            ignored.misplaced += 1
        elif not (entry.is_file() or entry.is_dir() or entry.is_symlink()):
            ignored.named[IRREGULAR].append(entry.name)
    return held
