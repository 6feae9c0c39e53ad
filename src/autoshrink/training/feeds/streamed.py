"""Images that are read and decoded anew in every epoch; memory holds a few batches, whatever the data set's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from autoshrink.data import SkippedFile
from autoshrink.data.decoding import CorruptImages
from autoshrink.data.images import Indices
from autoshrink.data.split_choice import Part
from autoshrink.errors import DataError
from autoshrink.training.augmentation import crop_draws
from autoshrink.training.draws import BatchDraws
from autoshrink.training.feeds.base import Batches
from autoshrink.training.feeds.decoding import Decoded, DecodingPool, Request


class StreamedImages:
    """See `Images`.

    An image that cannot be decoded is left out; where batches are trained on, it is replaced by the one before it in
    this process's part of the batch (the first, by the last), so that batches keep their size; what is then done to it
    has its own random numbers.

    Args:
        part: the images.
        corrupt: counts those that cannot be decoded.
        pool: decodes them.
        device: where batches go.
    """

    def __init__(self, part: Part, corrupt: CorruptImages, pool: DecodingPool, device: torch.device) -> None:
        self.part, self.corrupt, self.pool, self._device = part, corrupt, pool, device
        self.indices, self.cuts = part.indices, pool.crops

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Found so far."""
        return self.corrupt.skipped

    def order(self, seed: int) -> Indices:
        """One in which little is read at a time."""
        return self.part.source.order(self.indices, seed)

    def taken(self, wanted: Sequence[Indices], draws: Sequence[BatchDraws] | None = None) -> Batches:
        """Decoded ahead of need."""
        for number, batch in enumerate(self.decoded(wanted, draws)):
            if draws is None:
                images, indices = batch.images, batch.indices[batch.places]
            elif len(batch.places):
                images, indices = _filled(batch)
            else:
                place = self.part.source.location
                raise DataError(f"{place}: not one image of batch {draws[number].batch} is usable")
            labels = torch.from_numpy(self.part.source.labels[indices.numpy()])
            yield images.to(self._device, non_blocking=True), labels.to(self._device)

    def decoded(self, wanted: Sequence[Indices], draws: Sequence[BatchDraws] | None = None) -> Iterator[Decoded]:
        """What comes of each batch of images; the corrupt ones are counted."""
        for batch in self.pool.run(self._requests(wanted, draws)):
            self.corrupt.add(batch.failures)
            yield batch

    def _requests(self, wanted: Sequence[Indices], draws: Sequence[BatchDraws] | None) -> Iterator[Request]:
        handles = self.part.source.handles(np.concatenate(wanted) if wanted else self.indices[:0])
        for number, indices in enumerate(wanted):
            cut = crop_draws(draws[number]) if draws is not None and self.cuts else None
            yield Request(indices, list(islice(handles, len(indices))), cut)


def _filled(batch: Decoded) -> tuple[Tensor, Tensor]:
    """Images and indices, each corrupt image replaced by the usable one before it, the first ones by the last."""
    if len(batch.places) == len(batch.indices):
        return batch.images, batch.indices
    nearest = torch.searchsorted(batch.places, torch.arange(len(batch.indices)), right=True) - 1
    return batch.images[nearest], batch.indices[batch.places[nearest]]
