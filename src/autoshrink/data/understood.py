"""What was understood of a data set, in a few lines for a person, before anything long begins."""

from __future__ import annotations

import numpy as np

from autoshrink.data.carving import NOTHING_KEPT, Keeping
from autoshrink.data.images import TEST, TRAIN, ImageSource, Indices
from autoshrink.data.opening import open_images, splits_of
from autoshrink.escaping import printable

SHOWN = 10
"""Classes that are named."""


def images_understood(spec: str, keeping: Keeping = NOTHING_KEPT) -> tuple[str, ...]:
    """Lines about what a search or a training reads; nothing is decoded, and the test split is not opened.

    Raises:
        DataError: the data cannot be used.
    """
    source, splits = open_images(spec, split=TRAIN), splits_of(spec)
    found = f"splits: {', '.join(splits)}"
    if TEST in splits:
        return classes_understood(source, source.labels, TRAIN), f"{found}; test is opened by `evaluate` alone"
    if keeping.share is not None:
        return classes_understood(source, source.labels, TRAIN), f"{found}, and a test share of {keeping.share:.0%}"
    return (
        classes_understood(source, source.labels, TRAIN),
        f"{found}; no test split, so nothing to measure the result on that it has not seen: --test-share .2 keeps some "
        "images back, in search and train alike",
    )


def classes_understood(source: ImageSource, labels: Indices, split: str) -> str:
    """A line about images of a split: where, how many, of which classes, and how uneven."""
    counts = np.bincount(labels, minlength=len(source.classes))
    names = ", ".join(source.classes[:SHOWN]) + (f", … {source.classes[-1]}" if len(source.classes) > SHOWN else "")
    each = f"{counts.min():,} each" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,} each"
    size = f" of {source.natural_size}×{source.natural_size} pixels" if source.natural_size else ""
    kind = "training" if split == TRAIN else split
    return printable(
        f"data: {source.location}: {len(labels):,} {kind} image{'' if len(labels) == 1 else 's'}{size}, "
        f"{len(counts):,} class{'' if len(counts) == 1 else 'es'} ({each}): {names}"
    )


def has_test(spec: str, keeping: Keeping = NOTHING_KEPT) -> bool:
    """Whether `evaluate` finds test images of these data.

    Raises:
        DataError: the data cannot be used.
    """
    return keeping.share is not None or TEST in splits_of(spec)
