"""The random numbers of augmentation: they depend on (seed, epoch, batch) alone, never on what came before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoshrink.data.crops import Draws
from autoshrink.seeding import derive_seed


@dataclass(frozen=True)
class BatchDraws:
    """The random numbers of one batch, or of the part of it that one of several processes works on.

    Each purpose has its own numbers: what is switched on or off changes nothing else. They are drawn on the CPU, so
    that every device gets the same.

    Attributes:
        seed: of the training.
        epoch: from 0.
        batch: its number within the epoch.
        size: images of the whole batch.
        part: those that this process works on.
    """

    seed: int
    epoch: int
    batch: int
    size: int
    part: slice

    def uniform(self, purpose: str, columns: int) -> Draws:
        """Numbers in [0, 1) for each image of the part, (B, columns)."""
        return self._generator(purpose).random((self.size, columns))[self.part]

    def order(self, purpose: str, count: int) -> list[int]:
        """A permutation of 0..count − 1, the same for all images of the batch."""
        order: list[int] = self._generator(purpose).permutation(count).tolist()
        return order

    def noise(self, purpose: str, row: int, shape: tuple[int, int, int]) -> Tensor:
        """Normal numbers for one image of the part."""
        place = self.part.indices(self.size)[0] + row
        noise = self._generator(f"{purpose}/{place}").standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(noise)

    def _generator(self, purpose: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(derive_seed(self.seed, purpose, self.epoch, self.batch)))
