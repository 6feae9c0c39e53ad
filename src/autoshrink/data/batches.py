"""Some images as a trained network reads them, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from autoshrink.data.carving import Digests, content_digest
from autoshrink.data.decoding import CORRUPT, CorruptImages, Progress, reading_images
from autoshrink.data.images import Indices, Payload, Pixels, SkippedFile, reason
from autoshrink.data.preprocessing import Preprocessing
from autoshrink.data.split_choice import Part

MAX_CORRUPT = 0.05
"""Share of images that may be undecodable, and one always may. More are no accident, and the figures would be those of
another set."""


class Batches:
    """The decoded images of a split, a batch at a time; only one batch is in memory.

    Args:
        part: what is read, in the order that is cheapest for its source.
        preprocessing: applied to every image, normalisation left out.
        size: images a batch.
        progress: told (images tried, images to try) after each batch.
    """

    def __init__(self, part: Part, preprocessing: Preprocessing, size: int, progress: Progress | None = None) -> None:
        self._part, self._preprocessing, self._size, self._progress = part, preprocessing, size, progress
        self._corrupt = CorruptImages(part.source, len(part), max(MAX_CORRUPT, 1 / max(1, len(part))), "")
        self._digests: list[int] = []

    @property
    def digests(self) -> Digests:
        """Of the images that could be decoded so far, uint64 (n,)."""
        return np.array(self._digests, dtype=np.uint64)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What could not be decoded so far."""
        return self._corrupt.skipped

    def __iter__(self) -> Iterator[tuple[Indices, Pixels]]:
        """Yield indices int64 (n,) and pixels uint8 (n, channels, size, size); n is never 0.

        Raises:
            DataError: more than 5 % of the images, and more than one, cannot be decoded, or what they are in cannot be
                read.
        """
        payloads = self._part.source.payloads(self._part.indices)
        done = 0
        while group := list(islice(payloads, self._size)):
            pictures = self._decoded(group)
            done += len(group)
            if self._progress is not None:
                self._progress(done, len(self._part))
            if pictures:
                yield np.array(list(pictures), dtype=np.int64), np.stack(list(pictures.values()))

    def _decoded(self, group: list[tuple[int, Payload]]) -> dict[int, Pixels]:
        pictures, failures = {}, {}
        with reading_images():
            for index, payload in group:
                try:
                    pictures[index] = self._preprocessing.pixels(payload)
                except CORRUPT as error:
                    failures[index] = reason(error)
                else:
                    self._digests.append(content_digest(payload, ""))
        self._corrupt.add(failures)  # as soon as it is certain that they are too many
        return pictures
