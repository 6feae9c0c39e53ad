"""From a data SPEC (a name or a path) to an image source."""

from dataclasses import replace
from pathlib import Path

from autoshrink.data import catalogue
from autoshrink.data.cifar import ARCHIVES, FOLDERS, is_cifar_folder, open_cifar
from autoshrink.data.digits import open_digits
from autoshrink.data.folder import FolderImages, open_folder
from autoshrink.data.images import SPLITS, TRAIN, ArrayImages, ImageSource, one_line
from autoshrink.data.parquet import ParquetImages, open_parquet, split_files
from autoshrink.data.text_files import is_text
from autoshrink.errors import DataError
from autoshrink.escaping import printable

_Source = ArrayImages | FolderImages | ParquetImages

ACCEPTED = "an image folder, a parquet file or folder, or CIFAR-10's archive (.tar.gz) or extracted folder"


def open_images(spec: str, *, split: str = TRAIN) -> ImageSource:
    """Open one split ("train", "validation" or "test") of the images that `spec` names; nothing is decoded.

    `spec` is `digits`, a known name (`cifar10`: looked up in the folder named by AUTOSHRINK_DATA, then in the user's
    data folder), or a path. A name wins over a file of the same name in the working directory (write `./digits` for
    that). Raises DataError when nothing is there, when it is no image data, or when it has fewer than two classes.
    """
    if split not in SPLITS:
        raise DataError(f"no split is called {split!r}; there are {', '.join(SPLITS)}")
    try:
        source = _opened(spec, split)
    except OSError as error:
        raise DataError(f"{printable(spec)}: cannot be opened: {one_line(error)}") from error
    if len(source.classes) < 2:
        held = f"only one class ({source.classes[0]})" if source.classes else "no classes"
        raise DataError(f"{source.location}: {held}; a classifier needs at least two")
    if not len(source.labels):
        raise DataError(f"{source.location}: no images in the {split} split")
    return source


def _opened(spec: str, split: str) -> _Source:
    if spec == "digits":
        return open_digits(split)
    folder = catalogue.located(spec, "image")
    if folder is not None:
        source = _open_path(folder, split, name=spec)
        size = next(data.image_size for data in catalogue.known_data() if data.name == spec)
        return source if size is None else replace(source, natural_size=size)
    path = Path(spec).expanduser()
    if not path.exists():
        raise DataError(catalogue.nothing_there(spec, path, "image", ACCEPTED))
    return _open_path(path, split, name=printable(path.resolve().name))


def _open_path(path: Path, split: str, *, name: str) -> _Source:
    if path.is_dir():
        return _open_folder(path, split, name=name)
    if path.suffix == ".parquet":
        return open_parquet(path, split, name=name)
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return open_cifar(path, split, name=name)
    _refuse_text(path)
    hint = "extract it and give the folder" if path.suffix == ".zip" else f"give {ACCEPTED}"
    raise DataError(f"{printable(str(path))} is not data of a kind that is read here; {hint}")


def _open_folder(path: Path, split: str, *, name: str) -> _Source:
    for cifar in (path, *(path / inside for inside in FOLDERS)):
        if is_cifar_folder(cifar):
            return open_cifar(cifar, split, name=name)
    for archive in ARCHIVES:
        if (path / archive).is_file():
            return open_cifar(path / archive, split, name=name)
    if split_files(path):
        return open_parquet(path, split, name=name)
    _refuse_text(path)
    return open_folder(path, split, name=name)


def _refuse_text(path: Path) -> None:
    if is_text(path):
        raise DataError(f"{printable(str(path))} holds text, not images; use --task text, or give {ACCEPTED}")
