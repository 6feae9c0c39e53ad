"""What was understood of a data set, in a few lines for a person, before anything long begins."""

from __future__ import annotations

import numpy as np

from autoshrink.data.carving import NOTHING_KEPT, Keeping
from autoshrink.data.images import TEST, TRAIN, ImageSource, Indices
from autoshrink.data.opening import open_images, splits_of
from autoshrink.escaping import printable
from autoshrink.quantity import counted

SHOWN = 10
"""Classes that are named."""


def images_understood(spec: str, keeping: Keeping = NOTHING_KEPT) -> tuple[str, ...]:
    """Lines about what a search or a training reads; nothing is decoded, and the test split is not opened.

    Raises:
        DataError: the data cannot be used.
    """
    source, splits = open_images(spec, split=TRAIN), splits_of(spec)
    if TEST in splits:
        test = "; test is opened by `evaluate` alone"
    elif keeping.share is not None:
        test = f", and a test share of {keeping.share:.0%}"
    else:
        test = (
            "; no test split, so nothing to measure the result on that it has not seen: --test-share .2 keeps some "
            "images back, in search and train alike"
        )
    return classes_understood(source, source.labels, TRAIN), f"splits: {', '.join(splits)}{test}"


def classes_understood(source: ImageSource, labels: Indices, split: str) -> str:
    """A line about images of a split: where, how many, of which classes, and how uneven."""
    counts = np.bincount(labels, minlength=len(source.classes))
    names = ", ".join(source.classes[:SHOWN]) + (f", … {source.classes[-1]}" if len(source.classes) > SHOWN else "")
    each = f"{counts.min():,} each" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,} each"
    size = f" of {source.natural_size}×{source.natural_size} pixels" if source.natural_size else ""
    images = counted(len(labels), f"{'training' if split == TRAIN else split} image")
    return printable(f"data: {source.location}: {images}{size}, {counted(len(counts), 'class')} ({each}): {names}")


def has_test(spec: str, keeping: Keeping = NOTHING_KEPT) -> bool:
    """Whether `evaluate` finds test images of these data.

    Raises:
        DataError: the data cannot be used.
    """
    return keeping.share is not None or TEST in splits_of(spec)
