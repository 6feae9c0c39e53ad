"""One split of a data set as a classifier of known classes reads it: the same names, and a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from autoshrink.data import Preprocessing, SkippedFile, open_images
from autoshrink.data.decoding import CORRUPT, Progress, bombs_only
from autoshrink.data.images import SPLITS, TRAIN, VALIDATION, Indices, Payload, Pixels, reason
from autoshrink.data.split_choice import Part, training_splits
from autoshrink.errors import DataError, InputError
from autoshrink.evaluating.models import Carving

MAX_CORRUPT = 0.05
"""Share of images that may be undecodable. More are no accident, and the figures would be those of another set."""


def open_split(spec: str, split: str, carving: Carving | None = None) -> tuple[Part, tuple[str, ...]]:
    """One split of a data set, and sentences about it; nothing is decoded.

    Args:
        spec: name or path of the data set.
        split: ``test``, ``validation`` or ``train``.
        carving: how validation images were kept back, if the data have no such split; None where nothing says.

    Raises:
        DataError: there is no such data or split; where the data has another split, the message says so.
    """
    try:
        source = open_images(spec, split=split)
    except DataError as error:
        if split == VALIDATION and carving is not None and _there(spec, TRAIN, None):
            return _carved(spec, carving)
        others = [other for other in reversed(SPLITS) if other != split and _there(spec, other, carving)]
        if split not in SPLITS or not others:
            raise
        raise DataError(f"{error}\nwhat it has: {' or '.join(f'--split {other}' for other in others)}") from error
    return Part(source, np.arange(len(source.labels), dtype=np.int64)), source.notes


def _carved(spec: str, carving: Carving) -> tuple[Part, tuple[str, ...]]:
    """The images that a training kept back, drawn again as it drew them."""
    part = training_splits(spec, validation_share=carving.share, seed=carving.seed).validation
    return part, ("no validation split: these are the training images that the training kept back for validation",)


def _there(spec: str, split: str, carving: Carving | None) -> bool:
    try:
        open_images(spec, split=split)
    except DataError:
        return split == VALIDATION and carving is not None and _there(spec, TRAIN, None)
    return True


def labels_for(part: Part, classes: tuple[str, ...], model: str) -> Indices:
    """The labels of a source's images as indices into a model's classes, matched by name: int64, one an image.

    An image that is not in the part has −1 where the model does not know its class.

    Raises:
        DataError: images of the part are of classes that the model does not know.
        InputError: the model calls two classes the same, and the data's classes are not exactly its own.
    """
    source = part.source
    # Published sets call two classes by one name (ImageNet has two cranes), so equal lists are equal by position.
    if source.classes == classes:
        return source.labels
    position = {name: index for index, name in enumerate(classes)}
    if len(position) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise InputError(f"{model}: two of its classes are called {twice!r}, so other data cannot be matched by name")
    used = np.unique(part.labels).tolist()
    unknown = [source.classes[label] for label in used if source.classes[label] not in position]
    if unknown:
        raise DataError(
            f"{source.location}: {_named(unknown)} not among the {len(classes)} classes of {model} ({_few(classes)})\n"
            "classes are matched by name: rename or leave out what does not belong, or train on this data"
        )
    translated = np.array([position.get(name, -1) for name in source.classes], dtype=np.int64)
    labels: Indices = translated[source.labels]
    return labels


def _named(names: list[str]) -> str:
    return f"class {names[0]} is" if len(names) == 1 else f"classes {_few(names)} are"


def _few(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def lacking(labels: Indices, classes: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence about the classes that no image is of, if there are any."""
    missing = [classes[i] for i in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)]
    if not missing:
        return ()
    return (f"no image of {len(missing)} of the model's {len(classes)} classes: {_few(missing)}",)


class Batches:
    """The decoded images of a split, a batch at a time; only one batch is in memory.

    Args:
        part: what is read, in the order that is cheapest for its source.
        preprocessing: applied to every image, normalisation left out.
        size: images a batch.
        progress: told (images tried, images to try) after each batch.
    """

    def __init__(self, part: Part, preprocessing: Preprocessing, size: int, progress: Progress | None = None) -> None:
        self._source = part.source
        self._indices = part.indices
        self._preprocessing = preprocessing
        self._size = size
        self._progress = progress
        self._failures: dict[int, str] = {}

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What could not be decoded so far."""
        return tuple(SkippedFile(self._source.describe(i), self._failures[i]) for i in sorted(self._failures))

    def __iter__(self) -> Iterator[tuple[Indices, Pixels]]:
        """Yield indices int64 (n,) and pixels uint8 (n, channels, size, size); n is never 0.

        Raises:
            DataError: more than 5 % of the images cannot be decoded, or what they are in cannot be read.
        """
        total = len(self._indices)
        payloads = self._source.payloads(self._indices)
        done = 0
        while group := list(islice(payloads, self._size)):
            pictures = self._decoded(group)
            self._refuse_too_many(total)
            done += len(group)
            if self._progress is not None:
                self._progress(done, total)
            if pictures:
                yield np.array(list(pictures), dtype=np.int64), np.stack(list(pictures.values()))

    def _decoded(self, group: list[tuple[int, Payload]]) -> dict[int, Pixels]:
        pictures = {}
        with bombs_only():
            for index, payload in group:
                try:
                    pictures[index] = self._preprocessing.pixels(payload)
                except CORRUPT as error:
                    self._failures[index] = reason(error)
        return pictures

    def _refuse_too_many(self, total: int) -> None:
        """Stop as soon as it is certain; the sum of what is there yet decides nothing."""
        bad = len(self._failures)
        if bad > MAX_CORRUPT * total:
            named = "; ".join(f"{one.path}: {one.reason}" for one in self.skipped[:3])
            raise DataError(
                f"{self._source.location}: {bad} of {total} images or more cannot be decoded, and at most "
                f"{MAX_CORRUPT:.0%} are put up with ({named}{'; …' if bad > 3 else ''})\nmend or delete them"
            )
