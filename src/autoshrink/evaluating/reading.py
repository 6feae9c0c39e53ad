"""One split of a data set as a classifier of known classes reads it: the same names, and a batch at a time."""

from __future__ import annotations

import numpy as np

from autoshrink.data import open_images
from autoshrink.data.carving import NOTHING_KEPT, Marks, content_digests
from autoshrink.data.images import SPLITS, TEST, TRAIN, VALIDATION, Indices
from autoshrink.data.names import few
from autoshrink.data.opening import splits_of
from autoshrink.data.split_choice import Part, Past, held_part, train_part, training_splits
from autoshrink.errors import DataError, InputError
from autoshrink.evaluating.models import Carving

RECOGNISED = 0.5
"""Share of images in a training's list above which a data set is the one that it was trained on, wherever it lies."""


def open_split(
    spec: str, split: str, carving: Carving | None = None, *, own: bool = False
) -> tuple[Part, tuple[str, ...]]:
    """One split of a data set, and sentences about it; nothing is decoded.

    Args:
        spec: name or path of the data set.
        split: ``test``, ``validation`` or ``train``.
        carving: how the training kept images back; None where nothing says.
        own: whether these are the data that it was trained on; they are also where its list knows half of them.

    Raises:
        DataError: there is no such data or split; where the data has another split, the message says so.
        InputError: what was kept back as test images cannot be found again.
    """
    there = splits_of(spec)
    if split in there or split not in SPLITS:
        source = open_images(spec, split=split, alone=True)
        return Part.all_of(source), source.notes
    keeping = NOTHING_KEPT if carving is None else carving.keeping
    if there == (TRAIN,):
        source = open_images(spec, alone=True)
        everything = Part.all_of(source)
        known = _known(everything, carving)
        own = own or known.mean() >= RECOGNISED
        if split == VALIDATION and carving is not None and own:
            return _kept_back(spec, carving)
        if split == TEST and own and keeping.share is not None:
            said = f"no test split: these are the images that the training kept back for it ({keeping.share:.0%})"
            return held_part(spec, keeping), (said,)
        if split == TEST and not own and not source.states_split:
            said = f"no folders of splits in {source.location}: all of its images are measured, as new test images"
            return everything, (*source.notes, said)
    elif split == VALIDATION and carving is not None and own and TRAIN in there:
        return _kept_back(spec, carving)
    raise DataError(_no_such(spec, split, there, carving, own=own))


def _known(part: Part, carving: Carving | None) -> Marks:
    """Which images a training's list knows, bool (n,)."""
    if carving is None or carving.ledger is None:
        return np.zeros(len(part), dtype=np.bool_)
    digests = content_digests(part.source, part.indices)
    return carving.ledger.learned(digests) | carving.ledger.kept_back(digests)


def _kept_back(spec: str, carving: Carving) -> tuple[Part, tuple[str, ...]]:
    """The training images that a training kept back for validation, by its list, or drawn again as it drew them.

    Raises:
        DataError: none of them is there, or it cannot be known which they are.
    """
    said = "no validation split: these are the training images that the training kept back for validation"
    if carving.ledger is not None:
        learning = train_part(spec, NOTHING_KEPT)
        kept = carving.ledger.kept_back(learning.digests)
        new = int((~kept & ~carving.ledger.learned(learning.digests)).sum())
        if not kept.any():
            raise DataError(
                f"{spec}: none of the {len(kept):,} images is one of those that the training kept back for validation"
            )
        more = (f"{new:,} of the {len(kept):,} images are in neither list of the training, and not measured",)
        return Part(learning.part.source, learning.part.indices[kept]), (said, *(more if new else ()))
    past = Past(by_position=carving.seal is None)
    again = training_splits(
        spec, validation_share=carving.draw.share, seed=carving.draw.seed, keeping=carving.keeping, past=past
    )
    if carving.seal is None:
        return again.validation, (
            said,
            "an earlier version trained the model and left no list of them: they are right if no image was added, "
            "removed or renamed since",
        )
    if again.ledger is None or again.ledger.seal != carving.seal:
        raise DataError(
            f"{spec}: which images the training kept back cannot be told from this file, for the images have changed "
            "since, or the weights began as those of another training; evaluate the folder that `autoshrink train` "
            "left, which has the list"
        )
    return again.validation, (said,)


def _no_such(spec: str, split: str, there: tuple[str, ...], carving: Carving | None, *, own: bool) -> str:
    """Why a split cannot be measured, and which can."""
    found = {*there} | ({VALIDATION} if own and carving is not None and TRAIN in there else set())
    ways = " or ".join(f"--split {other}" for other in reversed(SPLITS) if other in found)
    kept = ""
    if split == TEST and own:
        kept = (
            "\na test split is a test/ folder beside train/, or, from the next training on, a share that it keeps back:"
            " `autoshrink train … --test-share .2`; new images in class folders of their own can be given with --data"
        )
    return f"{spec}: no {split} split here\nwhat it has: {ways}{kept}"


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
            f"{source.location}: {_named(unknown)} not among the {len(classes)} classes of {model} ({few(classes)})\n"
            "classes are matched by name: rename or leave out what does not belong, or train on this data"
        )
    translated = np.array([position.get(name, -1) for name in source.classes], dtype=np.int64)
    labels: Indices = translated[source.labels]
    return labels


def _named(names: list[str]) -> str:
    return f"class {names[0]} is" if len(names) == 1 else f"classes {few(names)} are"


def lacking(labels: Indices, classes: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence about the classes that no image is of, if there are any."""
    missing = [classes[i] for i in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)]
    if not missing:
        return ()
    return (f"no image of {len(missing)} of the model's {len(classes)} classes: {few(missing)}",)
