"""Which images a final training learns from and which it is watched on: the validation split, or a share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from autoshrink.data.carving import (
    NOTHING_KEPT,
    Digests,
    Draw,
    Keeping,
    Ledger,
    Marks,
    carved,
    content_digests,
    group_units,
    held_out,
    never_parted,
)
from autoshrink.data.decoding import Progress
from autoshrink.data.images import TEST, TRAIN, VALIDATION, ImageSource, Indices
from autoshrink.data.names import few
from autoshrink.data.opening import open_images, splits_of
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown
from autoshrink.quantity import counted


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a source: their `indices`, int64, ascending and distinct."""

    source: ImageSource
    indices: Indices

    @classmethod
    def all_of(cls, source: ImageSource) -> Self:
        """Every image of a source."""
        return cls(source, np.arange(len(source.labels), dtype=np.int64))

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
    """Disjoint training and validation images. `notes` are sentences for a person.

    `ledger` is what a training on them knows of images afterwards; None where images are known by their position only,
    as they were before there were ledgers.
    """

    training: Part
    validation: Part
    notes: tuple[str, ...]
    ledger: Ledger | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.training.source.classes


@dataclass(frozen=True)
class Past:
    """What was learned from images before this training.

    Attributes:
        ledger: of the weights that it starts from, or of its own beginning; None for fresh weights.
        by_position: whether validation images are drawn by their position alone, as trainings without a ledger did.
    """

    ledger: Ledger | None = None
    by_position: bool = False


NO_PAST = Past()


def training_splits(
    spec: str,
    *,
    validation_share: float,
    seed: int,
    keeping: Keeping = NOTHING_KEPT,
    past: Past = NO_PAST,
    progress: Progress | None = None,
) -> TrainingSplits:
    """Open the training split of `spec` and its own validation split, or carve that from it. Nothing is decoded.

    A carved validation set takes `validation_share` of each class, rounded, at least one image of a class that has
    two, and none of a class with one; which, depends on the seed and the class's images alone. Images that the past
    learned from are never validated on, and those that it kept back are not trained on. Every image is read once for
    its digest (`progress` is called). The test split is never opened.

    Raises:
        InputError: the share is not between 0 and 1, or what is to be kept back cannot be.
        DataError: the data cannot be used, or have less than two classes to learn or nothing to validate on.
    """
    if not 0 < validation_share < 1:
        raise InputError(f"validation_share is {validation_share}; it must be above 0 and below 1")
    learning = train_part(spec, keeping, progress)
    if VALIDATION in splits_of(spec):
        parts = _given(learning, Part.all_of(open_images(spec, split=VALIDATION)), past, progress)
    else:
        parts = _carved(learning, Draw(validation_share, seed), past)
    training, validation = parts.training, parts.validation
    learnt = np.unique(training.labels)
    if len(learnt) < 2 or not len(validation):
        raise DataError(
            f"{training.source.location}: {counted(len(training), 'image')} of {counted(len(learnt), 'class')} for "
            f"training and {len(validation)} for validation; needed are two classes with images, one of them with two "
            f"images{never_parted(training.labels, len(validation), keeping)}"
        )
    checked = np.bincount(validation.labels, minlength=len(parts.classes))
    unchecked = [shown(parts.classes[label]) for label in np.flatnonzero(checked == 0)]
    missing = (f"classes without an image for validation: {few(unchecked)}",) if unchecked else ()
    uneven = uneven_classes(parts.classes, training.labels, "training image")
    return replace(parts, notes=(*parts.notes, *missing, *uneven))


def drawn_ledger(spec: str, *, validation_share: float, seed: int) -> Ledger:
    """The ledger of a training that wrote none, if its data are still what they were.

    Raises:
        DataError: the data cannot be used.
    """
    then = training_splits(spec, validation_share=validation_share, seed=seed, past=Past(by_position=True))
    return Ledger.of(*(content_digests(part.source, part.indices) for part in (then.training, then.validation)))


@dataclass(frozen=True, eq=False)
class Learning:
    """The images of the training split that may be learned from: all, or all but the test images.

    `units` say which belong together, uint64 (n,); `digests` which are equal, uint64 (n,).
    """

    part: Part
    units: Digests
    digests: Digests
    notes: tuple[str, ...]


def train_part(spec: str, keeping: Keeping, progress: Progress | None = None) -> Learning:
    """Open the training split without the test images that are kept back from it.

    Raises:
        InputError: what is to be kept back cannot be.
        DataError: the data cannot be used.
    """
    if keeping.share is not None and TEST in splits_of(spec):
        raise InputError(f"{spec} has a test split of its own, and that is what counts: leave out --test-share")
    whole = Part.all_of(open_images(spec, split=TRAIN))
    digests = content_digests(whole.source, whole.indices, progress)
    units, kept = _kept_for_test(whole.source, keeping, digests)
    notes = whole.source.notes
    if keeping.share is not None:
        rule = "by their content" if keeping.group is None else f"by group, {keeping.group}"
        back = f"{int(kept.sum()):,} of the {len(kept):,} images are kept back for the test"
        notes = (*notes, f"{back} (about {keeping.share:.0%}, {rule}: always the same ones)")
    return Learning(Part(whole.source, whole.indices[~kept]), units[~kept], digests[~kept], notes)


def held_part(spec: str, keeping: Keeping, progress: Progress | None = None) -> Part:
    """Open the test images that are kept back from the training split: the counterpart of `train_part`.

    Raises:
        InputError: they cannot be, or none were asked for.
        DataError: the data cannot be used.
    """
    whole = Part.all_of(open_images(spec, split=TRAIN))
    digests = whole.indices if keeping.group else content_digests(whole.source, whole.indices, progress)
    _, kept = _kept_for_test(whole.source, keeping, digests.astype(np.uint64))
    return Part(whole.source, whole.indices[kept])


def tested_part(spec: str, keeping: Keeping) -> Part:
    """Open the test split, or what a training kept back for it.

    Raises:
        InputError: that cannot be found again.
        DataError: the data cannot be used, or have no test split.
    """
    if TEST in splits_of(spec):
        return Part.all_of(open_images(spec, split=TEST))
    if keeping.share is None:
        raise DataError(f"{spec}: no test split: give data with one, or train with --test-share .2 to keep some back")
    return held_part(spec, keeping)


def _kept_for_test(source: ImageSource, keeping: Keeping, digests: Digests) -> tuple[Digests, Marks]:
    """What belongs together, and which images are test images."""
    units = digests
    if keeping.group is not None:
        if source.paths is None:
            raise InputError(f"--group {keeping.group}: groups are read from file names; {source.location} has none")
        units = group_units(source.paths, keeping.group)
    if keeping.share is None:
        return units, np.zeros(len(units), dtype=np.bool_)
    kept = held_out(units, keeping.share)
    if not kept.any() or kept.all():
        groups = "images" if keeping.group is None else "groups"
        raise InputError(
            f"--test-share {keeping.share}: of {len(np.unique(units)):,} {groups} it would keep back "
            f"{'none' if not kept.any() else 'all'}; choose another share"
        )
    return units, kept


def _given(learning: Learning, part: Part, past: Past, progress: Progress | None) -> TrainingSplits:
    """The data's own validation split, without what the weights at the start have learned from."""
    notes = (*learning.notes, *part.source.notes)
    if past.by_position:
        return TrainingSplits(learning.part, part, notes, None)
    digests, earlier = content_digests(part.source, part.indices, progress), past.ledger
    if earlier is not None and (known := earlier.learned(digests)).any():
        if known.all():
            raise DataError(
                f"{part.source.location}: the weights to start from were trained on every image of the validation "
                "split; give other images to validate on, or leave the weights out"
            )
        notes = (
            *notes,
            f"{known.sum():,} of {len(known):,} validation images are left out: the weights to start from were trained "
            "on them",
        )
        part, digests = Part(part.source, part.indices[~known]), digests[~known]
    ledger = Ledger.of(learning.digests, digests).after(earlier)
    return TrainingSplits(learning.part, part, (*notes, *_equal_notes(learning, learning.digests, digests)), ledger)


def _carved(learning: Learning, draw: Draw, past: Past) -> TrainingSplits:
    part, digests, earlier = learning.part, learning.digests, past.ledger
    units, classes = learning.units, len(part.source.classes)
    known: tuple[tuple[Marks, bool], ...] = ()
    notes: tuple[str, ...] = ()
    if past.by_position:
        units = np.arange(len(part), dtype=np.uint64)
    elif earlier is not None:
        known = ((earlier.learned(digests), False), (earlier.kept_back(digests), True))
    kept = carved(part.labels, classes, units, known, draw)
    if known:
        learned, kept_then = (int(marks.sum()) for marks, _ in known)
        if learned and not kept.any():
            raise DataError(
                f"{part.source.location}: the weights to start from were trained on {learned:,} of the {len(part):,} "
                "images and kept none of them back, so there is nothing left to validate on; give a validation split "
                "of other images, or leave the weights out"
            )
        if learned or kept_then:
            notes = (
                f"of these images the weights to start from were trained on {learned:,} and had {kept_then:,} kept "
                "back: that stays so",
            )
    training, validation = (Part(part.source, part.indices[marks]) for marks in (~kept, kept))
    share = f"{len(validation):,} of the {len(part):,} training images"
    notes = (f"no validation split: {share} are kept for validation, drawn class by class", *notes)
    if past.by_position:
        return TrainingSplits(training, validation, (*learning.notes, *notes), None)
    ledger = Ledger.of(digests[~kept], digests[kept]).after(earlier)
    notes = (*learning.notes, *notes, *_equal_notes(learning, digests[~kept], digests[kept]))
    return TrainingSplits(training, validation, notes, ledger)


def _equal_notes(learning: Learning, training: Digests, validation: Digests) -> tuple[str, ...]:
    """Sentences about byte-identical images on both sides, and under two labels."""
    shared = int(np.isin(validation, training).sum())
    sentence = (
        f"{shared:,} of {len(validation):,} validation images are byte-identical with training images: "
        "validation accuracy flatters"
    )
    return (*([sentence] if shared else []), *_two_labels(learning))


def _two_labels(learning: Learning) -> tuple[str, ...]:
    """A sentence about byte-identical images that stand in several classes, if there are any."""
    order = np.argsort(learning.digests, kind="stable")
    digests, labels = learning.digests[order], learning.part.labels[order]
    clash = np.flatnonzero((digests[1:] == digests[:-1]) & (labels[1:] != labels[:-1]))
    if not len(clash):
        return ()
    one, other = (learning.part.source.describe(int(learning.part.indices[order[clash[0] + step]])) for step in (0, 1))
    images = len(np.unique(digests[clash]))
    return (
        f"{images:,} image{'s stand' if images > 1 else ' stands'} in more than one class, byte for byte the same: "
        f"{one} and {other}{', …' if images > 1 else ''}",
    )


def uneven_classes(classes: tuple[str, ...], labels: Indices, what: str) -> tuple[str, ...]:
    """A sentence where the largest class has at least twice the images of the smallest."""
    counts = np.bincount(labels, minlength=len(classes))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if counts[largest] < 2 * counts[smallest]:
        return ()
    least = f"{counted(int(counts[smallest]), what)} ({shown(classes[smallest])})"
    return (f"classes are uneven: from {least} to {counts[largest]} ({shown(classes[largest])})",)
