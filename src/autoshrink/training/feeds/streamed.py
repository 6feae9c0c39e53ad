"""Feeds that read and decode images anew in every epoch; memory holds a few batches, whatever the data set's size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from autoshrink.data import SkippedFile
from autoshrink.data.decoding import CorruptImages
from autoshrink.data.images import Indices
from autoshrink.data.split_choice import Part
from autoshrink.errors import DataError
from autoshrink.seeding import derive_seed
from autoshrink.training.augmentation import Augmentation, crop_draws
from autoshrink.training.draws import BatchDraws
from autoshrink.training.feeds.base import Batches, Loading, Schedule, pieces
from autoshrink.training.feeds.decoding import Decoded, DecodingPool, Framing, Request
from autoshrink.training.images import Normaliser


@dataclass(frozen=True, eq=False)
class Stream:
    """Some images of a source, and a count of the corrupt ones."""

    part: Part
    corrupt: CorruptImages

    def labels(self, indices: Tensor, device: torch.device) -> Tensor:
        """Class indices of these images, on the device."""
        return torch.from_numpy(self.part.source.labels[indices.numpy()]).to(device)


class StreamedTraining:
    """A `TrainingFeed` that streams.

    An image that cannot be decoded is replaced by the one before it in this process's part of the batch (the first, by
    the last), so that batches keep their size; what is then done to it has its own random numbers.
    """

    def __init__(
        self, stream: Stream, pool: DecodingPool, augmentation: Augmentation, loading: Loading, *, seed: int
    ) -> None:
        self._stream, self._augmentation, self._device = stream, augmentation, loading.device
        self._pool, self._cuts = pool, pool.crops
        self._schedule = Schedule(len(stream.part), loading.batch, seed, loading.share)

    def __len__(self) -> int:
        return len(self._stream.part)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return self._schedule.batches

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Found so far."""
        return self._stream.corrupt.skipped

    def for_statistics(self, batches: int) -> Batches:
        """See `TrainingFeed`."""
        return islice(self.epoch(0), batches)

    def epoch(self, epoch: int, *, start: int = 0) -> Batches:
        """See `TrainingFeed`."""
        order = self._stream.part.source.order(
            self._stream.part.indices, derive_seed(self._schedule.seed, "order", epoch)
        )
        parts = list(self._schedule.parts(epoch, start))
        decoded = self._pool.run(self._requests(order, parts))
        for (_, draws), batch in zip(parts, decoded, strict=True):
            self._stream.corrupt.add(batch.failures)
            if not len(batch.places):
                raise DataError(f"{self._stream.part.source.location}: not one image of batch {draws.batch} is usable")
            images, indices = _filled(batch)
            images = images.to(self._device, non_blocking=True)
            yield self._augmentation(images, draws, cut=self._cuts), self._stream.labels(indices, self._device)

    def _requests(self, order: Indices, parts: list[tuple[slice, BatchDraws]]) -> Iterator[Request]:
        wanted = [order[places] for places, _ in parts]
        everything = torch.cat([torch.from_numpy(indices) for indices in wanted]).numpy() if wanted else order[:0]
        handles = self._stream.part.source.handles(everything)
        for indices, (_, draws) in zip(wanted, parts, strict=True):
            chosen = list(islice(handles, len(indices)))
            yield Request(indices, chosen, crop_draws(draws) if self._cuts else None)


class StreamedMeasuring:
    """A `MeasuringFeed` that streams."""

    def __init__(self, stream: Stream, framing: Framing, normaliser: Normaliser, loading: Loading) -> None:
        mine = replace(stream.part, indices=stream.part.indices[loading.share.of(len(stream.part))])
        self._stream = replace(stream, part=mine)
        self._normaliser, self._device = normaliser, loading.device
        self._size = max(1, loading.batch // loading.share.processes)
        # Measuring alternates with training, whose workers wait meanwhile: half as many will do.
        self._pool = DecodingPool(framing, workers=(loading.workers + 1) // 2, pinned=loading.device.type == "cuda")

    def __len__(self) -> int:
        return len(self._stream.part)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Found so far."""
        return self._stream.corrupt.skipped

    def batches(self) -> Batches:
        """See `MeasuringFeed`."""
        for batch in self._pool.run(in_order(self._stream, self._size)):
            self._stream.corrupt.add(batch.failures)
            if len(batch.places):
                images = batch.images.to(self._device, non_blocking=True)
                yield self._normaliser(images), self._stream.labels(batch.indices[batch.places], self._device)


def in_order(stream: Stream, size: int) -> Iterator[Request]:
    """Requests for all images of a stream, ascending, `size` at a time."""
    indices = stream.part.indices
    handles = stream.part.source.handles(indices)
    for places in pieces(len(indices), -(-len(indices) // size)) if len(indices) else []:
        chosen = indices[places]
        yield Request(chosen, list(islice(handles, len(chosen))), None)


def _filled(batch: Decoded) -> tuple[Tensor, Tensor]:
    """Images and indices, each corrupt image replaced by the usable one before it, the first ones by the last."""
    if len(batch.places) == len(batch.indices):
        return batch.images, batch.indices
    nearest = torch.searchsorted(batch.places, torch.arange(len(batch.indices)), right=True) - 1
    return batch.images[nearest], batch.indices[batch.places[nearest]]
