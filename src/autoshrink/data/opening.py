"""From a data SPEC (a name or a path) to an image source."""

from dataclasses import replace
from pathlib import Path

from autoshrink.data import catalogue
from autoshrink.data.cifar import ARCHIVES, FOLDERS, is_cifar_folder, open_cifar
from autoshrink.data.digits import open_digits
from autoshrink.data.folder import FolderImages, open_folder
from autoshrink.data.folder_layout import Ignored, split_folders
from autoshrink.data.images import SPLITS, TEST, TRAIN, ArrayImages, ImageSource, one_line
from autoshrink.data.parquet import ParquetImages, open_parquet
from autoshrink.data.parquet_files import FoundParquet, find_parquet
from autoshrink.data.spec import ANY_COLUMNS, Columns, parted
from autoshrink.data.split_names import SPLIT_OF, splits_named
from autoshrink.data.text_files import is_text
from autoshrink.errors import DataError
from autoshrink.escaping import printable
from autoshrink.files import named

_Source = ArrayImages | FolderImages | ParquetImages

ACCEPTED = "an image folder, a parquet file or folder, or CIFAR-10's archive (.tar.gz) or extracted folder"


def open_images(spec: str, *, split: str = TRAIN, alone: bool = False) -> ImageSource:
    """Open one split ("train", "validation" or "test") of the images that `spec` names; nothing is decoded.

    `spec` is `digits`, a known name (`cifar10`: looked up in the folder named by AUTOSHRINK_DATA, then in the user's
    data folder), or a path. A name wins over a file of the same name in the working directory (write `./digits` for
    that). It may say which columns of parquet files are read (see `data/spec.py`). With `alone`, the classes are those
    of this split, one or more, and no training split is needed: a model knows them already. Raises DataError when
    nothing is there, when it is no image data, when it has fewer than two classes, or no such columns.
    """
    if split not in SPLITS:
        raise DataError(f"no split is called {split!r}; there are {', '.join(SPLITS)}")
    try:
        source = _opened(*parted(spec), split, alone=alone)
    except OSError as error:
        raise DataError(f"{printable(spec)}: cannot be opened: {one_line(error)}") from error
    if len(source.classes) < 2 and not alone:
        held = f"only one class ({source.classes[0]})" if source.classes else "no classes"
        raise DataError(f"{source.location}: {held}; a classifier needs at least two")
    if not len(source.labels):
        raise DataError(f"{source.location}: no images in the {split} split")
    return source


def splits_of(spec: str) -> tuple[str, ...]:
    """Return the splits that a data set has, by what its folders and files are called; no label is read.

    Raises DataError as `open_images` does.
    """
    spec, _ = parted(spec)
    if spec == "digits":
        return (TRAIN, TEST)
    place = catalogue.located(spec, "image") or named(spec).expanduser()
    try:
        if not place.is_dir():
            return tuple(find_parquet(place).splits) if _is_parquet(place) else (TRAIN, TEST)
        if _cifar_in(place) is not None:
            return (TRAIN, TEST)
        return tuple(find_parquet(place).splits) or tuple(split_folders(place, Ignored(), alone=True))
    except OSError as error:
        raise DataError(f"{printable(spec)}: cannot be opened: {one_line(error)}") from error


def names_its_split(source: ImageSource, spec: str) -> bool:
    """Whether folders or files say that these are training images, or whether they are just images in classes."""
    if isinstance(source, ParquetImages):
        return any(splits_named(path.stem) or path.parent.name.lower() in SPLIT_OF for path in source.files)
    return not isinstance(source, FolderImages) or source.root != Path(parted(spec)[0]).expanduser()


def same_data(spec: str, other: object) -> bool:
    """Whether both are the same data: one name, or one place however it is written."""
    if not isinstance(other, str) or spec == other:
        return spec == other
    return Path(spec).expanduser().resolve() == Path(other).expanduser().resolve()


def _opened(spec: str, columns: Columns, split: str, *, alone: bool) -> _Source:
    if spec == "digits":
        _refuse_columns(columns, spec)
        return open_digits(split)
    folder = catalogue.located(spec, "image")
    if folder is not None:
        source = _open_path(folder, split, columns, name=spec, alone=alone)
        size = next(data.image_size for data in catalogue.known_data() if data.name == spec)
        return source if size is None else replace(source, natural_size=size)
    path = named(spec).expanduser()
    if not path.exists():
        raise DataError(catalogue.nothing_there(spec, path, "image", ACCEPTED))
    return _open_path(path, split, columns, name=printable(path.resolve().name), alone=alone)


def _open_path(path: Path, split: str, columns: Columns, *, name: str, alone: bool) -> _Source:
    if path.is_dir():
        return _open_folder(path, split, columns, name=name, alone=alone)
    if not path.is_file():
        raise DataError(f"{printable(str(path))} is a pipe, a socket or a device and no file; give {ACCEPTED}")
    if _is_parquet(path):
        return open_parquet(path, find_parquet(path), split, name=name, columns=columns, alone=alone)
    _refuse_columns(columns, str(path))
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return open_cifar(path, split, name=name)
    _refuse_text(path)
    hint = "extract it and give the folder" if path.suffix == ".zip" else f"give {ACCEPTED}"
    raise DataError(f"{printable(str(path))} is not data of a kind that is read here; {hint}")


def _open_folder(path: Path, split: str, columns: Columns, *, name: str, alone: bool) -> _Source:
    cifar = _cifar_in(path)
    found = FoundParquet({}) if cifar else find_parquet(path)
    if found.splits:
        return open_parquet(path, found, split, name=name, columns=columns, alone=alone)
    _refuse_columns(columns, str(path))
    if cifar is not None:
        return open_cifar(cifar, split, name=name)
    _refuse_text(path)
    source = open_folder(path, split, name=name, alone=alone)
    return replace(source, notes=(*source.notes, *found.notes))


def _cifar_in(folder: Path) -> Path | None:
    """Return the folder of batches or the archive that a folder is or holds, or None."""
    places = (folder, *(folder / inside for inside in FOLDERS))
    archives = (folder / archive for archive in ARCHIVES)
    return next(
        (place for place in places if is_cifar_folder(place)), next((file for file in archives if file.is_file()), None)
    )


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _refuse_columns(columns: Columns, place: str) -> None:
    if columns != ANY_COLUMNS:
        raise DataError(f"{printable(place)}: --image-column and --label-column are for parquet files; leave them out")


def _refuse_text(path: Path) -> None:
    if is_text(path):
        raise DataError(f"{printable(str(path))} holds text, not images; use --task text, or give {ACCEPTED}")
