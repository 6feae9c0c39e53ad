"""Which images a final training learns from and which it is watched on: the validation split, or a share."""

from dataclasses import dataclass

import numpy as np

from autoshrink.data.images import TRAIN, VALIDATION, ImageSource, Indices
from autoshrink.data.opening import open_images, splits_of
from autoshrink.errors import DataError, InputError
from autoshrink.seeding import derive_seed


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a source: their `indices`, int64, ascending and distinct."""

    source: ImageSource
    indices: Indices

    def __len__(self) -> int:
        """Return how many."""
        return len(self.indices)

    @property
    def labels(self) -> Indices:
        """One class index per image, int64 (n,)."""
        return self.source.labels[self.indices]

    def identity(self) -> str:
        """Return a text that changes when an image changes (by file name, size and modification time)."""
        return self.source.identity(self.indices)


@dataclass(frozen=True, eq=False)
class TrainingSplits:
    """Disjoint training and validation images. `notes` are sentences for a person."""

    training: Part
    validation: Part
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.training.source.classes


def training_splits(spec: str, *, validation_share: float, seed: int) -> TrainingSplits:
    """Open the training split of `spec` and its own validation split, or carve that from it. Nothing is decoded.

    A carved validation set takes `validation_share` of each class, rounded, at least one image of a class that has
    two, and none of a class with one; which, depends on the seed and the class's images alone. The test split is never
    opened.

    Raises:
        InputError: the share is not between 0 and 1.
        DataError: the data cannot be used, or have less than two classes to learn or nothing to validate on.
    """
    if not 0 < validation_share < 1:
        raise InputError(f"validation_share is {validation_share}; it must be above 0 and below 1")
    source = open_images(spec, split=TRAIN)
    if VALIDATION in splits_of(spec):
        own = open_images(spec, split=VALIDATION)
        training, validation = (Part(one, np.arange(len(one.labels))) for one in (source, own))
        notes = (*source.notes, *own.notes)
    else:
        training, validation = _carved(source, validation_share, seed)
        share = f"{len(validation):,} of the {len(source.labels):,} training images"
        notes = (*source.notes, f"no validation split: {share} are kept for validation, drawn class by class")
    learnt = np.unique(training.labels)
    if len(learnt) < 2 or not len(validation):
        raise DataError(
            f"{source.location}: {len(training)} images of {len(learnt)} classes for training and {len(validation)} "
            "for validation; needed are two classes with images, one of them with two images"
        )
    return TrainingSplits(training, validation, (*notes, *_class_notes(training, validation)))


def _carved(source: ImageSource, share: float, seed: int) -> tuple[Part, Part]:
    kept = np.zeros(len(source.labels), dtype=np.bool_)
    for label in range(len(source.classes)):
        images = np.flatnonzero(source.labels == label)
        count = min(max(round(share * len(images)), 1), len(images) - 1) if len(images) else 0
        # A generator of its own for each class: images added to one do not change what is drawn of another.
        generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "validation", label)))
        kept[generator.permutation(images)[:count]] = True
    return Part(source, np.flatnonzero(~kept)), Part(source, np.flatnonzero(kept))


def _class_notes(training: Part, validation: Part) -> tuple[str, ...]:
    classes = training.source.classes
    learnt, checked = (np.bincount(part.labels, minlength=len(classes)) for part in (training, validation))
    largest, smallest = int(learnt.argmax()), int(learnt.argmin())
    unchecked = [classes[label] for label in np.flatnonzero(checked == 0)]
    more = f" and {len(unchecked) - 5} more" if len(unchecked) > 5 else ""
    sentences = (
        (unchecked, f"classes without an image for validation: {', '.join(unchecked[:5])}{more}"),
        (
            learnt[largest] >= 2 * learnt[smallest],
            f"classes are uneven: from {learnt[smallest]} training images ({classes[smallest]}) "
            f"to {learnt[largest]} ({classes[largest]})",
        ),
    )
    return tuple(sentence for there, sentence in sentences if there)
