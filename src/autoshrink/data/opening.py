"""From a data SPEC (a name or a path) to an image source."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from autoshrink.data import catalogue
from autoshrink.data.images import SPLITS, TRAIN, ImageSource
from autoshrink.data.sources import ImageReader, Place, Reader, accepted, opening, readers
from autoshrink.data.spec import parted
from autoshrink.errors import DataError, MissingDataError
from autoshrink.escaping import printable
from autoshrink.files import named


def find(spec: str, task: str, *, alone: bool = False) -> tuple[Reader, Place]:
    """Return what reads the data that `spec` names for a task, and what is to be read; only a path is looked at.

    `spec` is the name of a source that needs no path (`digits`), a known name (`cifar10`: looked up in the folder named
    by AUTOSHRINK_DATA, then in the user's data folder), or a path. A name wins over a file of the same name in the
    working directory (write `./digits` for that). It may say which columns of parquet files are read (`data/spec.py`).

    Raises DataError when nothing is there, when it is no data of the task, or has no such columns.
    """
    name, columns = parted(spec)
    known = readers(task)
    if name in known and known[name].description:
        reader, place = known[name], Place(name, Path(name), columns, alone)
    else:
        folder = catalogue.located(name, task)
        path = folder or named(name).expanduser()
        if not path.exists():
            raise MissingDataError(catalogue.nothing_there(name, path, task))
        if not (path.is_dir() or path.is_file()):
            where = printable(str(path))
            raise DataError(f"{where} is a pipe, a socket or a device and no file; give {accepted(task)}")
        found = next((one for one in known.values() if one.recognises(path)), None)
        if found is None:
            raise DataError(f"{printable(str(path))} is not data of a kind that is read here; give {accepted(task)}")
        reader, place = found, Place(name if folder else printable(path.resolve().name), path, columns, alone)
    if not reader.has_columns:
        place.refuse_columns()
    return reader, place


def open_images(spec: str, *, split: str = TRAIN, alone: bool = False) -> ImageSource:
    """Open one split ("train", "validation" or "test") of the images that `spec` names (see `find`); nothing is
    decoded.

    With `alone`, the classes are those of this split, one or more, and no training split is needed: a model knows them
    already. Raises DataError when nothing is there, when it is no image data, or has fewer than two classes.
    """
    if split not in SPLITS:
        raise DataError(f"no split is called {split!r}; there are {', '.join(SPLITS)}")
    with opening(spec):
        reader, place = find(spec, "image", alone=alone)
        source = cast("ImageReader", reader).open(place, split)
    size = next((data.image_size for data in catalogue.known_data() if data.name == place.name), None)
    if size is not None and place.name == parted(spec)[0]:
        source = replace(source, natural_size=size)
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
    with opening(spec):
        reader, place = find(parted(spec)[0], "image", alone=True)
        return cast("ImageReader", reader).splits(place)


def same_data(spec: str, other: object) -> bool:
    """Whether both are the same data: one name, or one place however it is written."""
    if not isinstance(other, str) or spec == other:
        return spec == other
    return Path(spec).expanduser().resolve() == Path(other).expanduser().resolve()
