"""Which images a final training learns from and which it is watched on: the validation split, or a share."""

from collections.abc import Iterator
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
from autoshrink.data.images import TEST, TRAIN, VALIDATION, ImageSource, Indices, Payload
from autoshrink.data.opening import open_images, splits_of
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown
from autoshrink.quantity import counted


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


@dataclass(frozen=True, eq=False, kw_only=True)
class ChosenImages(ImageSource):
    """The images of a part as an `ImageSource` of their own, numbered from 0."""

    part: Part

    @classmethod
    def of(cls, part: Part, notes: tuple[str, ...]) -> Self:
        """From a part, and sentences about it."""
        whole = part.source
        return cls(
            name=whole.name,
            location=whole.location,
            classes=whole.classes,
            labels=part.labels,
            natural_size=whole.natural_size,
            notes=notes,
            part=part,
        )

    def describe(self, index: int) -> str:
        """Return where the image stands."""
        return self.part.source.describe(int(self.part.indices[index]))

    def identity(self, indices: Indices) -> str:
        """Return a text that changes when one of these images changes, or becomes another."""
        return self.part.source.identity(self.part.indices[indices])

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        """Yield these images."""
        own = {int(self.part.indices[index]): index for index in indices.tolist()}
        for index, payload in self.part.source.payloads(self.part.indices[indices]):
            yield own[index], payload


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
    its digest (`progress` is told). The test split is never opened.

    Raises:
        InputError: the share is not between 0 and 1, or what is to be kept back cannot be.
        DataError: the data cannot be used, or have less than two classes to learn or nothing to validate on.
    """
    if not 0 < validation_share < 1:
        raise InputError(f"validation_share is {validation_share}; it must be above 0 and below 1")
    learning = train_part(spec, keeping, progress)
    draw = Draw(validation_share, seed)
    if VALIDATION in splits_of(spec):
        parts = _given(learning, open_images(spec, split=VALIDATION), past, progress)
    else:
        parts = _carved(learning, draw, past)
    training, validation = parts.training, parts.validation
    learnt = np.unique(training.labels)
    if len(learnt) < 2 or not len(validation):
        raise DataError(
            f"{training.source.location}: {counted(len(training), 'image')} of {counted(len(learnt), 'class')} for "
            f"training and {len(validation)} for validation; needed are two classes with images, one of them with two "
            "images"
            f"{never_parted(training.labels, len(validation), keeping)}"
        )
    return replace(parts, notes=(*parts.notes, *_class_notes(training, validation)))


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
    source = open_images(spec, split=TRAIN)
    everything = np.arange(len(source.labels), dtype=np.int64)
    digests = content_digests(source, everything, progress)
    units, kept = _kept_for_test(source, keeping, digests)
    notes = source.notes
    if keeping.share is not None:
        notes = (
            *notes,
            f"{int(kept.sum()):,} of the {len(kept):,} images are kept back for the test ({_rule(keeping)})",
        )
    return Learning(Part(source, everything[~kept]), units[~kept], digests[~kept], notes)


def held_part(spec: str, keeping: Keeping, progress: Progress | None = None) -> Part:
    """Open the test images that are kept back from the training split: the counterpart of `train_part`.

    Raises:
        InputError: they cannot be, or none were asked for.
        DataError: the data cannot be used.
    """
    source = open_images(spec, split=TRAIN)
    everything = np.arange(len(source.labels), dtype=np.int64)
    digests = everything if keeping.group else content_digests(source, everything, progress)
    _, kept = _kept_for_test(source, keeping, digests.astype(np.uint64))
    return Part(source, everything[kept])


def tested_part(spec: str, keeping: Keeping) -> Part:
    """Open the test split, or what a training kept back for it.

    Raises:
        InputError: that cannot be found again.
        DataError: the data cannot be used, or have no test split.
    """
    if keeping.share is not None and TEST not in splits_of(spec):
        return held_part(spec, keeping)
    source = open_images(spec, split=TEST)
    return Part(source, np.arange(len(source.labels), dtype=np.int64))


def _rule(keeping: Keeping) -> str:
    by = "by their content" if keeping.group is None else f"by group, {keeping.group}"
    return f"about {keeping.share:.0%}, {by}: always the same ones"


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


def _given(learning: Learning, own: ImageSource, past: Past, progress: Progress | None) -> TrainingSplits:
    """The data's own validation split, without what the weights at the start have learned from."""
    part = Part(own, np.arange(len(own.labels), dtype=np.int64))
    notes = (*learning.notes, *own.notes)
    if past.by_position:
        return TrainingSplits(learning.part, part, notes, None)
    digests, earlier = content_digests(own, part.indices, progress), past.ledger
    if earlier is not None and (known := earlier.learned(digests)).any():
        if known.all():
            raise DataError(
                f"{own.location}: the weights to start from were trained on every image of the validation split; "
                "give other images to validate on, or leave the weights out"
            )
        notes = (
            *notes,
            f"{known.sum():,} of {len(known):,} validation images are left out: the weights to start from were trained "
            "on them",
        )
        part, digests = Part(own, part.indices[~known]), digests[~known]
    notes = (*notes, *_equal_notes(learning, learning.digests, digests))
    ledger = Ledger.of(learning.digests, digests).after(earlier)
    return TrainingSplits(learning.part, part, notes, ledger)


def _carved(learning: Learning, draw: Draw, past: Past) -> TrainingSplits:
    part, digests, earlier = learning.part, learning.digests, past.ledger
    if past.by_position:
        places = np.arange(len(part), dtype=np.uint64)
        kept = carved(part.labels, len(part.source.classes), places, (), draw)
        return _cut(learning, kept, None, ())
    known = () if earlier is None else ((earlier.learned(digests), False), (earlier.kept_back(digests), True))
    kept = carved(part.labels, len(part.source.classes), learning.units, known, draw)
    notes: tuple[str, ...] = ()
    if earlier is not None and known:
        learned, kept_then = int(known[0][0].sum()), int(known[1][0].sum())
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
    ledger = Ledger.of(digests[~kept], digests[kept]).after(earlier)
    return _cut(learning, kept, ledger, (*notes, *_equal_notes(learning, digests[~kept], digests[kept])))


def _cut(learning: Learning, kept: Marks, ledger: Ledger | None, notes: tuple[str, ...]) -> TrainingSplits:
    part = learning.part
    training, validation = (Part(part.source, part.indices[marks]) for marks in (~kept, kept))
    share = f"{len(validation):,} of the {len(part):,} training images"
    said = f"no validation split: {share} are kept for validation, drawn class by class"
    return TrainingSplits(training, validation, (*learning.notes, said, *notes), ledger)


def _equal_notes(learning: Learning, training: Digests, validation: Digests) -> tuple[str, ...]:
    """Sentences about byte-identical images on both sides, and under two labels."""
    shared = int(np.isin(validation, training).sum())
    sentences = (
        (
            shared,
            f"{shared:,} of {len(validation):,} validation images are byte-identical with training images: "
            "validation accuracy flatters",
        ),
        (True, two_labels(learning) or ""),
    )
    return tuple(sentence for there, sentence in sentences if there and sentence)


def two_labels(learning: Learning) -> str | None:
    """A sentence about byte-identical images that stand in several classes, or None."""
    order = np.argsort(learning.digests, kind="stable")
    digests, labels = learning.digests[order], learning.part.labels[order]
    clash = np.flatnonzero((digests[1:] == digests[:-1]) & (labels[1:] != labels[:-1]))
    if not len(clash):
        return None
    one, other = (learning.part.source.describe(int(learning.part.indices[order[clash[0] + step]])) for step in (0, 1))
    images = len(np.unique(digests[clash]))
    return (
        f"{images:,} image{'s stand' if images > 1 else ' stands'} in more than one class, byte for byte the same: "
        f"{one} and {other}{', …' if images > 1 else ''}"
    )


def _class_notes(training: Part, validation: Part) -> tuple[str, ...]:
    classes = training.source.classes
    learnt, checked = (np.bincount(part.labels, minlength=len(classes)) for part in (training, validation))
    largest, smallest = int(learnt.argmax()), int(learnt.argmin())
    unchecked = [shown(classes[label]) for label in np.flatnonzero(checked == 0)]
    more = f" and {len(unchecked) - 5} more" if len(unchecked) > 5 else ""
    sentences = (
        (unchecked, f"classes without an image for validation: {', '.join(unchecked[:5])}{more}"),
        (
            learnt[largest] >= 2 * learnt[smallest],
            f"classes are uneven: from {counted(int(learnt[smallest]), 'training image')} ({shown(classes[smallest])}) "
            f"to {learnt[largest]} ({shown(classes[largest])})",
        ),
    )
    return tuple(sentence for there, sentence in sentences if there)
