"""A made-up image source: an ``.npz`` file with arrays such as ``train_images`` and ``train_labels``.

Images are uint8 (n, h, w) or (n, h, w, 3), h = w; labels are any values, whose texts are the classes' names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoshrink.data.images import SPLITS, TRAIN, ArrayImages, file_state
from autoshrink.data.sources import SOURCES, ImageReader, Place
from autoshrink.errors import DataError


class NpzReader(ImageReader):
    accepts = "an .npz file of images and labels"

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".npz"

    def splits(self, place: Place) -> tuple[str, ...]:
        with np.load(place.path) as held:
            return tuple(split for split in SPLITS if f"{split}_images" in held)

    def open(self, place: Place, split: str) -> ArrayImages:
        with np.load(place.path) as held:
            if f"{split}_images" not in held:
                raise DataError(f"{place.path}: no array {split}_images")
            pixels, labels = held[f"{split}_images"], held[f"{split}_labels"]
            classes = np.unique(held[f"{split if place.alone else TRAIN}_labels"])
        pixels = pixels[:, np.newaxis] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
        return ArrayImages(
            name=place.name,
            location=str(place.path),
            classes=tuple(map(str, classes)),
            labels=np.searchsorted(classes, labels).astype(np.int64),
            pixels=pixels,
            natural_size=pixels.shape[-1],
            state=f"{split} of {file_state(place.path)}",
        )


SOURCES.register("npz", NpzReader())
