"""Feeds whose images are decoded once and stay on the device as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from autoshrink.data import SkippedFile
from autoshrink.data.decoding import CORRUPT, CorruptImages, Progress, reading_images
from autoshrink.data.images import Indices, Pixels, reason
from autoshrink.data.split_choice import Part
from autoshrink.seeding import derive_seed
from autoshrink.training.augmentation import Augmentation
from autoshrink.training.feeds.base import Batches, Loading, Schedule, pieces
from autoshrink.training.feeds.decoding import Framing
from autoshrink.training.images import Normaliser


@dataclass(frozen=True, eq=False)
class Held:
    """Decoded images: `pixels` uint8 (n, size, size, C), their `labels` (n,), and what could not be decoded."""

    pixels: Pixels
    labels: Indices
    skipped: tuple[SkippedFile, ...]
    note: str | None

    def digest(self) -> bytes:
        """A sha256 of pixels and labels."""
        digest = hashlib.sha256(f"{self.pixels.shape}".encode())
        digest.update(self.pixels.data)
        digest.update(self.labels.tobytes())
        return digest.digest()


def held(part: Part, framing: Framing, *, max_corrupt: float, progress: Progress | None, of: int | None = None) -> Held:
    """Decode images into memory, once each; where `framing` leaves the channels open, 1 if every image is grey, else 3.

    Of `of` images (default: the part's own) the share `max_corrupt` may be corrupt.

    Raises:
        DataError: too many cannot be decoded, or the container they are in cannot be read.
    """
    corrupt = CorruptImages(part.source, of or len(part), max_corrupt)
    channels = framing.channels or 3
    pixels = np.empty((len(part), framing.size, framing.size, channels), dtype=np.uint8)
    place = {index: number for number, index in enumerate(part.indices.tolist())}
    failures: dict[int, str] = {}
    coloured = framing.channels == 3
    with reading_images():
        for done, (index, payload) in enumerate(part.source.payloads(part.indices), start=1):
            try:
                image = framing.pixels(payload, None)
            except CORRUPT as error:
                failures[index] = reason(error)
            else:
                coloured = coloured or len(image) == 3
                pixels[place[index]] = image.transpose(1, 2, 0)
            if progress is not None:
                progress(done, len(part))
    corrupt.add(failures)
    labels = part.labels
    if failures:
        usable = ~np.isin(part.indices, list(failures))
        pixels, labels = pixels[usable], labels[usable]
    # Grey images were repeated into all channels; one of them is enough.
    return Held(pixels if coloured else np.ascontiguousarray(pixels[..., :1]), labels, corrupt.skipped, corrupt.note())


class _OnDevice:
    def __init__(self, images: Held, device: torch.device) -> None:
        # (n, C, H, W), channels last in memory: no copy is made on the CPU.
        self.images = torch.from_numpy(images.pixels).to(device).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(images.labels).to(device)
        self.skipped = images.skipped

    def at(self, indices: Indices) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(indices).to(self.images.device)
        return self.images[chosen], self.labels[chosen]


class MemoryTraining:
    """A `TrainingFeed` from memory. Every process holds all images."""

    def __init__(self, images: Held, augmentation: Augmentation, loading: Loading, *, seed: int) -> None:
        self._data, self._augmentation = _OnDevice(images, loading.device), augmentation
        self._schedule = Schedule(len(images.labels), loading.batch, seed, loading.share)

    def __len__(self) -> int:
        return len(self._data.labels)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return self._schedule.batches

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """All there are."""
        return self._data.skipped

    def for_statistics(self, batches: int) -> Batches:
        """See `TrainingFeed`."""
        return islice(self.epoch(0), batches)

    def epoch(self, epoch: int, *, start: int = 0) -> Batches:
        """See `TrainingFeed`."""
        seed = derive_seed(self._schedule.seed, "order", epoch)
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(self))
        for places, draws in self._schedule.parts(epoch, start):
            images, labels = self._data.at(order[places])
            yield self._augmentation(images, draws, cut=False), labels


class MemoryMeasuring:
    """A `MeasuringFeed` from memory."""

    def __init__(self, images: Held, normaliser: Normaliser, loading: Loading) -> None:
        mine = loading.share.of(len(images.labels))
        part = replace(images, pixels=images.pixels[mine], labels=images.labels[mine])
        self._data, self._normaliser = _OnDevice(part, loading.device), normaliser
        self._size = max(1, loading.batch // loading.share.processes)

    def __len__(self) -> int:
        return len(self._data.labels)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """All there are, also in other processes' parts."""
        return self._data.skipped

    def batches(self) -> Batches:
        """See `MeasuringFeed`."""
        for places in pieces(len(self), -(-len(self) // self._size)) if len(self) else []:
            yield self._normaliser(self._data.images[places]), self._data.labels[places]
