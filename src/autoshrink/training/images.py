"""A labelled image set held on the device: raw bytes there, normalised and augmented a batch at a time.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of every channel, of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: np.ndarray) -> Normalisation:
        """Measured on uint8 images (n, C, H, W); a constant channel gets the deviation of one grey level."""
        pixels = images.astype(np.float64) / 255.0
        mean, std = pixels.mean(axis=(0, 2, 3)), np.maximum(pixels.std(axis=(0, 2, 3)), 1 / 255)
        return cls(tuple(round(float(value), 6) for value in mean), tuple(round(float(value), 6) for value in std))


class DeviceImages:
    """Images (n, C, H, W) uint8 and labels (n,) int64 on one device."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, norm: Normalisation, device: torch.device) -> None:
        self._images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self._images = self._images.contiguous(memory_format=torch.channels_last)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        shape = (1, len(norm.mean), 1, 1)
        self._mean = torch.tensor(norm.mean, device=device).view(shape) * 255.0
        self._scale = 1.0 / (torch.tensor(norm.std, device=device).view(shape) * 255.0)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self._images.device

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised float images (B, C, H, W), channels last in memory, and labels (B,)."""
        images = (self._images[indices].float() - self._mean) * self._scale
        return images.contiguous(memory_format=torch.channels_last), self._labels[indices]


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image with probability ½ and crop it from itself padded with zeros by an eighth of its height.

    Args:
        images: (B, C, H, W).
        generator: on the CPU, so that every device draws the same.
    """
    batch, _, height, width = images.shape
    pad = max(1, height // 8)
    flip = (torch.rand(batch, generator=generator) < 0.5).to(images.device)
    offsets = torch.randint(0, 2 * pad + 1, (2, batch), generator=generator).to(images.device)
    images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
    padded = functional.pad(images, (pad, pad, pad, pad))
    rows = offsets[0].view(-1, 1, 1) + torch.arange(height, device=images.device).view(1, -1, 1)
    columns = offsets[1].view(-1, 1, 1) + torch.arange(width, device=images.device).view(1, 1, -1)
    everyone = torch.arange(batch, device=images.device).view(-1, 1, 1)
    cropped = padded.permute(0, 2, 3, 1)[everyone, rows, columns].permute(0, 3, 1, 2)
    return cropped.contiguous(memory_format=torch.channels_last)
