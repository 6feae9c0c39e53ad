"""Which folders of an image folder are splits, which are classes, and what is neither."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from autoshrink.data.formats import EXTENSIONS, to_read
from autoshrink.data.images import SPLITS, TRAIN, reason
from autoshrink.data.names import listed, splits_named, words_for
from autoshrink.errors import DataError
from autoshrink.escaping import shown

# What operating systems and annotation tools leave behind; it is not worth a note. So are all hidden files.
JUNK_FILES = frozenset(("thumbs.db", "desktop.ini"))
JUNK_FOLDERS = frozenset(("__macosx", "@eadir"))

# A day, month or year: folders called so part a class, and are none.
_DATE = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}")

EMPTY = "class folders without images are not counted"
LINKS = "links to folders are not followed"
IRREGULAR = "pipes, sockets and devices are not read"
_BESIDE = "folders beside the splits, without images, are ignored"


@dataclass
class Ignored:
    """What a listing left out or took in a way that is not the only one, gathered for the notes."""

    wanted: str = "images"
    extensions: Counter[str] = field(default_factory=Counter)
    misplaced: int = 0
    named: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By what is said of them, `EMPTY` and so on."""
    taken: list[str] = field(default_factory=list)

    def notes(self, root: Path) -> tuple[str, ...]:
        """Return one sentence per kind of thing ignored."""
        misplaced = f"{self.misplaced} image{' is' if self.misplaced == 1 else 's are'} ignored, in no class folder of"
        sentences = (
            self.by_extension,
            f"{misplaced} {root}" if self.misplaced else "",
            *(f"{said}: {listed(self.named[said])}" for said in (EMPTY, LINKS, IRREGULAR, _BESIDE) if self.named[said]),
            *self.taken,
        )
        return tuple(map(shown, filter(None, sentences)))

    @property
    def by_extension(self) -> str:
        """A sentence on files that are not what is wanted by their names, '' where there are none."""
        kinds = ", ".join(f"{count} {kind or 'without extension'}" for kind, count in sorted(self.extensions.items()))
        total, way = self.extensions.total(), to_read(self.extensions.keys())
        verb = "file is" if total == 1 else "files are"
        return f"{total} {verb} ignored by extension, as no {self.wanted}: {kinds}{way}" if kinds else ""

    @property
    def instead(self) -> str:
        """The same for the end of a message that says that there are no images."""
        return f"\n{shown(self.by_extension)}" if self.extensions else ""


def split_folders(root: Path, ignored: Ignored, *, alone: bool = False) -> dict[str, Path]:
    """Return the folder of each split of an image folder: `root` itself where classes stand directly in it.

    A folder is a split when a split's word stands in its name (see `names`) and its images stand in folders of their
    own; where they stand directly in it, it is a class like its neighbours (`train` beside `bus` and `car`).

    Raises DataError, naming the folders, where a folder with images that is no split stands beside splits, a name says
    two splits, two folders are one split, there is no train split (but with `alone` none is needed), or splits are one
    folder by a link.
    """
    folders = {entry.name: Path(entry.path) for entry in entries(root) if is_class_folder(entry, root, ignored)}
    said = {name: named for name in folders if (named := splits_named(name))}
    flat = {name for name in said if any(map(is_image, entries(folders[name])))}
    parents = {name for name in said if name not in flat and _filled_inside(folders[name])}
    others = [name for name in folders if name not in said and _filled(folders[name])] if said else []
    if not said or (others and not parents):
        if flat:
            ignored.taken.append(f"{listed(flat)} counts as a class, not as a split: its images stand directly in it")
        return {TRAIN: root}
    claims = {name: named for name, named in said.items() if name in flat | parents} or said
    place = shown(root)
    _refuse_doubtful(place, claims, others)
    splits = {split: folders[name] for name, (split,) in claims.items()}
    # An empty folder of a split's name is that split, so that using it says that it is empty.
    empty = {named[0]: folders[name] for name, named in said.items() if name not in claims and len(named) == 1}
    splits = empty | splits
    if TRAIN not in splits and not alone:
        name = next(path.name for path in splits.values())
        raise DataError(f"{place}: a {shown(name)} folder but no train folder (called {words_for(TRAIN)})")
    _refuse_one_place(place, splits)
    ignored.named[_BESIDE].extend(folders.keys() - {path.name for path in splits.values()})
    ignored.misplaced += sum(is_image(entry) for entry in entries(root))
    return {split: splits[split] for split in SPLITS if split in splits}


def _refuse_doubtful(place: str, found: Mapping[str, tuple[str, ...]], others: Sequence[str]) -> None:
    two = next((name for name in found if len(found[name]) > 1), None)
    if two is not None:
        raise DataError(f"{place}: the name {shown(two)} says {' and '.join(found[two])}; rename it or move it out")
    if others:
        raise DataError(
            f"{place}: {shown(listed(others))} beside {shown(listed(found))}: the name says no split "
            "(train, validation, test), and images stand there\nmove it out; or, if all of these are classes, put the "
            "images of each directly into its folder"
        )
    for split in SPLITS:
        names = [name for name, (one,) in found.items() if one == split]
        if len(names) > 1:
            raise DataError(
                f"{place}: {' and '.join(map(shown, names))} are both the {split} split by their names; "
                "leave one, or rename or move the others"
            )


def _refuse_one_place(place: str, splits: Mapping[str, Path]) -> None:
    """Raise where the folder of one split is that of another or stands in it, by a link or by a mount."""
    for split, folder in splits.items():
        for other, around in splits.items():
            if split != other and (folder.resolve().is_relative_to(around.resolve()) or folder.samefile(around)):
                first, second = sorted((folder, around), key=lambda path: path.is_symlink(), reverse=True)
                raise DataError(
                    f"{place}: {shown(first.name)} and {shown(second.name)} are one folder or one inside the other "
                    "(a link?), so what is learnt and what is measured would be the same images"
                )


def refuse_deeper_classes(root: Path, files: Mapping[str, Sequence[str]], ignored: Ignored) -> None:
    """Raise where the classes seem to stand one level deeper than the folders that would be classes.

    `files` are each such folder's images, as POSIX paths relative to `root`. A folder may hold its images in folders
    (dates, sources), and a note says so; but where most hold none directly and several such folders, the inner ones
    are as likely the classes.
    """
    forks = {name: _forks([file.split("/") for file in held]) for name, held in files.items()}
    forked = [name for name, inner in forks.items() if not all(_DATE.fullmatch(PurePath(one).name) for one in inner)]
    if 2 * len(forked) > len(files):
        inner = listed(fork for name in forked for fork in forks[name])
        raise DataError(
            f"{shown(root)}: {shown(listed(forked))} hold no images but folders of them ({shown(inner)}): which are "
            "the classes?\ngive the folder that holds the classes, or the splits "
            f"({shown(root / PurePath(forks[forked[0]][0]).parent)}); or put the images of each class directly into "
            "one folder"
        )
    deep = [file.rpartition("/")[0] for held in files.values() for file in held if file.count("/") > 1]
    if deep:
        ignored.taken.append(f"images in folders inside a class are the class's: {listed(deep)}")


def _forks(files: Sequence[Sequence[str]]) -> list[str]:
    """Return the folders into which a class first parts, none where images stand before it does."""
    for depth in range(2, min(map(len, files), default=0)):
        inner = sorted({"/".join(parts[:depth]) for parts in files})
        if len(inner) > 1:
            return inner
    return []


def _has_image_name(path: PurePath) -> bool:
    return path.suffix.lower() in EXTENSIONS


def files_below(
    folder: Path, relative: PurePath, ignored: Ignored, wanted: Callable[[PurePath], bool] = _has_image_name
) -> Iterator[str]:
    """Yield the files in and below a folder that are wanted by name, as POSIX paths that begin with `relative`."""
    for entry in entries(folder):
        path = relative / entry.name
        if entry.is_dir(follow_symlinks=False):
            if entry.name.lower() not in JUNK_FOLDERS:
                yield from files_below(Path(entry.path), path, ignored, wanted)
        elif entry.is_dir():
            # A link may lead back up, and what is there would count twice.
            ignored.named[LINKS].append(path.as_posix())
        elif _is_file(entry) and wanted(path):
            yield path.as_posix()
        elif not (entry.is_file() or entry.is_symlink()):
            ignored.named[IRREGULAR].append(path.as_posix())
        elif entry.name.lower() not in JUNK_FILES:
            ignored.extensions[path.suffix.lower()] += 1


def is_class_folder(entry: os.DirEntry[str], root: Path, ignored: Ignored) -> bool:
    """Tell a folder that may be a class or a split; one linked to is, unless the link leads back to `root`."""
    if not entry.is_dir() or entry.name.lower() in JUNK_FOLDERS:
        return False
    if entry.is_symlink() and root.resolve().is_relative_to(Path(entry.path).resolve()):
        ignored.named[LINKS].append(entry.name)
        return False
    return True


def is_image(entry: os.DirEntry[str]) -> bool:
    """Tell an image by its extension."""
    return _is_file(entry) and _has_image_name(PurePath(entry.name))


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Tell a file; a dangling link counts, so that it is reported and not passed over."""
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())


def holds_class_folders(root: Path) -> bool:
    """Tell whether images stand in folders of a folder, however deep."""
    return any(_filled(Path(entry.path)) for entry in entries(root) if is_class_folder(entry, root, Ignored()))


def _filled(folder: Path) -> bool:
    return any(map(is_image, entries(folder))) or _filled_inside(folder)


def _filled_inside(folder: Path) -> bool:
    inside = (Path(entry.path) for entry in entries(folder) if is_class_folder(entry, folder, Ignored()))
    return any(next(files_below(path, PurePath(), Ignored()), None) is not None for path in inside)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the visible entries of a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be listed: {reason(error)}") from error
