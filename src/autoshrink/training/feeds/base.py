"""What a training asks of its images and what it gets: requests, feeds, and how an epoch is cut into batches.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from autoshrink.data import Preprocessing, SkippedFile
from autoshrink.data.carving import NOTHING_KEPT, Keeping, Ledger
from autoshrink.data.decoding import check_images
from autoshrink.data.images import Indices
from autoshrink.data.picture import Window
from autoshrink.errors import DataError, InputError
from autoshrink.machine import refuse_too_many
from autoshrink.quantity import counted
from autoshrink.seeding import derive_seed
from autoshrink.training.augmentation import Augmentation
from autoshrink.training.draws import BatchDraws
from autoshrink.training.images import Normalisation, Normaliser

Batches = Iterator[tuple[Tensor, Tensor]]
"""Normalised float32 images (B, C, H, W), channels last in memory, and labels int64 (B,), both on the device."""


@dataclass(frozen=True)
class Share:
    """Which part of each batch this process works on, where several train together."""

    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse a rank that no process has (our own mistake, never a user's)."""
        assert 0 <= self.rank < self.processes

    def of(self, count: int) -> slice:
        """This process's part of `count` things in a row; parts differ by one thing at most."""
        return pieces(count, self.processes)[self.rank]


@dataclass(frozen=True)
class Pictures:
    """What the network reads, and which images are there to be read.

    Attributes:
        size: height = width, pixels.
        channels: 1 or 3; None for 1 where every training image (of a sample of them, when streamed) is grey, else 3.
        crop: share of the shorter side that the centre crop of measured images keeps, as in `Preprocessing`.
        norm: how pixels are normalised; None to measure it on the training images.
        window: values of deep images that become 0 and 255, as in `Preprocessing`; None for those that the training
            images fill, if any of them is deep.
        validation_share: of the training images, where the data have no validation split of their own.
        max_corrupt: share of undecodable images above which the data are refused.
        keeping: what is kept back as test images, and what belongs together.
    """

    size: int
    channels: int | None = None
    crop: float = 1.0
    norm: Normalisation | None = None
    window: Window | None = None
    validation_share: float = 0.1
    max_corrupt: float = 0.05
    keeping: Keeping = NOTHING_KEPT

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: a value is out of range; the message names it.
        """
        check_images(size=self.size, channels=self.channels, max_corrupt=self.max_corrupt)
        if not 0 < self.crop <= 1:
            raise InputError(f"image crop {self.crop}: a share above 0, at most 1")
        if self.norm is not None and self.channels not in (None, len(self.norm.mean)):
            raise InputError(f"channels is {self.channels}, but pixels are normalised in {len(self.norm.mean)}")

    @property
    def depth(self) -> int | None:
        """The channels, as far as they are settled."""
        return self.channels or (len(self.norm.mean) if self.norm else None)

    @property
    def scaled(self) -> int:
        """The shorter side of measured images before their centre is cropped, pixels."""
        return round(self.size / self.crop)


@dataclass(frozen=True)
class Loading:
    """How images come to the device.

    Attributes:
        batch: images of a batch, over all processes.
        device: where batches go.
        stream: whether images are read anew in every epoch; None: if decoded they are larger than `memory`.
        memory: bytes.
        workers: processes that decode streamed images; 0 to decode in this one.
        share: this process's part of each batch.
    """

    batch: int
    device: torch.device
    stream: bool | None = None
    memory: int = 2 * 2**30
    workers: int = 0
    share: Share = Share()

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: a value is out of range; the message names it.
        """
        refuse_too_many(self.workers, "processes that decode")
        if self.batch < 1 or self.workers < 0:
            raise InputError(f"batch {self.batch} and workers {self.workers}: at least 1, and not negative")

    def streams(self, size: int) -> bool:
        """Whether images of so many bytes, decoded, are streamed."""
        return size > self.memory if self.stream is None else self.stream


class TrainingFeed(Protocol):
    """Training images, in another order and augmented anew in every epoch."""

    def __len__(self) -> int:
        """Images of an epoch, over all processes."""

    @property
    def batches(self) -> int:
        """Batches of an epoch: near-equal ones, none smaller than was asked for (unless all images are fewer)."""

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Images that could not be decoded; while streaming, those found so far."""

    def epoch(self, epoch: int, *, start: int = 0) -> Batches:
        """This process's part of the batches of an epoch, from batch number `start` on.

        Every batch is a function of (seed, epoch, batch number) and the data alone. One epoch at a time: a second call
        ends the first.

        Raises:
            DataError: too many images turn out to be corrupt, or the data changed on disk.
            RunError: a loading process died.
        """

    def for_statistics(self, batches: int) -> Batches:
        """Some batches, always the same ones, to take BN's statistics on."""


class MeasuringFeed(Protocol):
    """Images as measuring sees them: their centre, normalised, not augmented, in the source's order."""

    def __len__(self) -> int:
        """Images of this process's part."""

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Images that could not be decoded; while streaming, those found so far."""

    def batches(self) -> Batches:
        """All of this process's part; undecodable images are left out. Raises as `TrainingFeed.epoch` does."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """What a classifier is trained on and watched on.

    Attributes:
        classes: class names; a label is an index into them.
        preprocessing: what stands between an image file and the trained network.
        training: augmented training images.
        validation: images that are not trained on.
        fingerprint: another one when the images change: a sha256 of their pixels and labels, or, when streamed, of
            their names, sizes and modification times.
        notes: sentences for a person.
        streamed: whether images are read anew in every epoch.
        ledger: what a training on these knows of images afterwards; None for one that began before there were ledgers.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    training: TrainingFeed
    validation: MeasuringFeed
    fingerprint: str
    notes: tuple[str, ...]
    streamed: bool
    ledger: Ledger | None = None


@dataclass(frozen=True)
class Schedule:
    """How an epoch is cut into batches, and batches into the parts of the processes.

    Attributes:
        images: of an epoch.
        batch: images of a batch that were asked for.
        seed: of the training.
        share: this process's.
    """

    images: int
    batch: int
    seed: int
    share: Share

    def __post_init__(self) -> None:
        """Refuse batches too small to share out.

        Raises:
            InputError: a process would get less than two images of a batch.
            DataError: there are fewer images than that.
        """
        least = 2 * self.share.processes
        if self.batch < least:
            raise InputError(f"a batch of {self.batch} over {self.share.processes} processes: at least {least} needed")
        if self.images < least:
            raise DataError(f"{counted(self.images, 'training image')}: at least {least} are needed to make a batch")

    @property
    def batches(self) -> int:
        """Of an epoch; near-equal ones of at least the size asked for, none too small for BN."""
        return max(1, self.images // self.batch)

    def parts(self, epoch: int, start: int) -> Iterator[tuple[slice, BatchDraws]]:
        """This process's part of each batch from `start` on, as places in the epoch's order, and its random numbers."""
        for number, batch in enumerate(pieces(self.images, self.batches)[start:], start=start):
            size = batch.stop - batch.start
            part = self.share.of(size)
            draws = BatchDraws(self.seed, epoch, number, size, part)
            yield slice(batch.start + part.start, batch.start + part.stop), draws


class Images(Protocol):
    """Images of a training, in memory or on disk, from which batches are taken.

    Attributes:
        indices: all of them, int64 (n,), ascending.
        cuts: whether random parts are cut out where images are decoded.
    """

    indices: Indices
    cuts: bool

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Those that could not be decoded, as far as that is known."""

    def order(self, seed: int) -> Indices:
        """All of them in a random order, which the seed decides."""

    def taken(self, wanted: Sequence[Indices], draws: Sequence[BatchDraws] | None = None) -> Batches:
        """Pixels, uint8 (B, C, H, W), channels last, and labels of each of these lots; `draws` are for training."""


class Training:
    """A `TrainingFeed` of images."""

    def __init__(self, images: Images, augmentation: Augmentation, loading: Loading, *, seed: int) -> None:
        self._images, self._augmentation = images, augmentation
        self._schedule = Schedule(len(images.indices), loading.batch, seed, loading.share)

    def __len__(self) -> int:
        return len(self._images.indices)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return self._schedule.batches

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """See `Images`."""
        return self._images.skipped

    def for_statistics(self, batches: int) -> Batches:
        """The first ones of the first epoch."""
        return islice(self.epoch(0), batches)

    def epoch(self, epoch: int, *, start: int = 0) -> Batches:
        """See `TrainingFeed`."""
        order = self._images.order(derive_seed(self._schedule.seed, "order", epoch))
        parts = list(self._schedule.parts(epoch, start))
        taken = self._images.taken([order[places] for places, _ in parts], [draws for _, draws in parts])
        for (_, draws), (pixels, labels) in zip(parts, taken, strict=True):
            yield self._augmentation(pixels, draws, cut=self._images.cuts), labels


class Measuring:
    """A `MeasuringFeed` of images."""

    def __init__(self, images: Images, normaliser: Normaliser, loading: Loading) -> None:
        self._images, self._normaliser = images, normaliser
        self._mine = images.indices[loading.share.of(len(images.indices))]
        self._size = max(1, loading.batch // loading.share.processes)

    def __len__(self) -> int:
        return len(self._mine)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """See `Images`."""
        return self._images.skipped

    def batches(self) -> Batches:
        """See `MeasuringFeed`."""
        for pixels, labels in self._images.taken(lots(self._mine, self._size)):
            if len(labels):
                yield self._normaliser(pixels), labels


def lots(indices: Indices, size: int) -> list[Indices]:
    """Cut indices into near-equal lots of at most `size`."""
    return [indices[places] for places in pieces(len(indices), -(-len(indices) // size))] if len(indices) else []


def pieces(count: int, number: int) -> list[slice]:
    """Cut a row of `count` things into so many near-equal ones, the larger first, as `numpy.array_split` does."""
    ends = np.cumsum([count // number + (place < count % number) for place in range(number)]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
