"""Feeds of a search: few images that lie on the device, drawn as the searches of every version drew them."""

from __future__ import annotations

import torch
from torch import Tensor

from autoshrink.data import SkippedFile
from autoshrink.seeding import derive_seed
from autoshrink.training.feeds.base import Batches
from autoshrink.training.images import DeviceImages, augment

VALIDATION_BATCH = 1000


class ProxyTraining:
    """A `TrainingFeed` of a proxy's images; one generator an epoch draws their order and then how they are varied."""

    skipped: tuple[SkippedFile, ...] = ()

    def __init__(self, images: DeviceImages, batch: int, seed: int, *, augmented: bool) -> None:
        self._images, self._batch, self._seed, self._augmented = images, batch, seed, augmented

    def __len__(self) -> int:
        return len(self._images)

    @property
    def batches(self) -> int:
        """Near-equal ones of at least the size asked for: none is so small that BN has nothing to average."""
        return max(1, len(self) // self._batch)

    def epoch(self, epoch: int, *, start: int = 0) -> Batches:
        """All images in an order of the epoch's own."""
        assert start == 0, "a search does an epoch again"
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
        for indices in self._order(generator).tensor_split(self.batches):
            images, labels = self._images.batch(indices)
            yield augment(images, generator) if self._augmented else images, labels

    def for_statistics(self, batches: int) -> Batches:
        """Some batches, as they are, in an order of their own."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "settle"))
        wanted = min(len(self), batches * self._batch)
        for indices in self._order(generator)[:wanted].tensor_split(max(1, wanted // self._batch)):
            yield self._images.batch(indices)

    def _order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator).to(self._images.device)


class ProxyMeasuring:
    """A `MeasuringFeed` of a proxy's images."""

    skipped: tuple[SkippedFile, ...] = ()

    def __init__(self, images: DeviceImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def batches(self) -> Batches:
        """All of them."""
        return self._at(torch.arange(len(self)))

    def share(self, share: float) -> Batches:
        """So many of them: always the same ones, in the same order."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        return self._at(order[: max(1, round(share * len(self)))])

    def _at(self, order: Tensor) -> Batches:
        for indices in order.to(self._images.device).tensor_split(-(-len(order) // VALIDATION_BATCH)):
            yield self._images.batch(indices)
