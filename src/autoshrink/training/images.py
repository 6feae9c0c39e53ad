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


class Normaliser:
    """Applies a normalisation to pixels 0..255 (B, C, H, W) of any type, on one device."""

    def __init__(self, norm: Normalisation, device: torch.device) -> None:
        shape = (1, len(norm.mean), 1, 1)
        self.mean = torch.tensor(norm.mean, device=device).view(shape) * 255.0
        """What is subtracted, (1, C, 1, 1)."""
        self._scale = 1.0 / (torch.tensor(norm.std, device=device).view(shape) * 255.0)

    def __call__(self, images: Tensor) -> Tensor:
        """Float images (B, C, H, W), channels last in memory."""
        return ((images.float() - self.mean) * self._scale).contiguous(memory_format=torch.channels_last)


class DeviceImages:
    """Images (n, C, H, W) uint8 and labels (n,) int64 on one device."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, norm: Normalisation, device: torch.device) -> None:
        self._images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self._images = self._images.contiguous(memory_format=torch.channels_last)
        self._labels = torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        self._normalised = Normaliser(norm, device)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self._images.device

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised float images (B, C, H, W), channels last in memory, and labels (B,)."""
        return self._normalised(self._images[indices]), self._labels[indices]


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image with probability ½ and crop it from itself padded with zeros by an eighth of its height.

    Args:
        images: (B, C, H, W).
        generator: on the CPU, so that every device draws the same.
    """
    batch, _, height, _ = images.shape
    flip = torch.rand(batch, generator=generator) < 0.5
    offsets = torch.randint(0, 2 * padding(height) + 1, (2, batch), generator=generator)
    return shifted(flipped(images, flip), offsets)


def padding(height: int) -> int:
    """Pixels by which an image of this height is padded on every side before a shifted crop is cut from it."""
    return max(1, height // 8)


def flipped(images: Tensor, flip: Tensor) -> Tensor:
    """Images (B, C, H, W), mirrored left to right where `flip` (B,), bool, says so."""
    return torch.where(flip.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)


def shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Images (B, C, H, W), cropped from themselves padded with zeros, channels last in memory.

    Args:
        images: of any number type.
        offsets: first row and first column of each crop, whole numbers (2, B) from 0 to twice the padding.
    """
    batch, _, height, width = images.shape
    pad, offsets = padding(height), offsets.to(images.device)
    padded = functional.pad(images, (pad, pad, pad, pad))
    rows = offsets[0].view(-1, 1, 1) + torch.arange(height, device=images.device).view(1, -1, 1)
    columns = offsets[1].view(-1, 1, 1) + torch.arange(width, device=images.device).view(1, 1, -1)
    everyone = torch.arange(batch, device=images.device).view(-1, 1, 1)
    cropped = padded.permute(0, 2, 3, 1)[everyone, rows, columns].permute(0, 3, 1, 2)
    return cropped.contiguous(memory_format=torch.channels_last)


def resampled(images: Tensor, rows: tuple[Tensor, Tensor], size: tuple[int, int], *, mode: str, border: str) -> Tensor:
    """Images looked up anew at places that are a linear function of the pixel.

    Args:
        images: float (B, C, H, W).
        rows: for the horizontal and the vertical place, (B, 3) each: its change with the column, with the row, and what
            it is in the middle, where −1 and 1 are the image's edges, for columns and rows as well as for places.
        size: height and width of what is returned.
        mode: bilinear or bicubic.
        border: what lies outside: ``zeros``, or ``border`` for the nearest pixel.

    Returns:
        (B, C, *size).
    """
    # Made by hand: torch's affine_grid multiplies matrices, which is less exact where TF32 or autocast is on.
    down, across = ((2 * torch.arange(length, device=images.device) + 1) / length - 1 for length in size)
    places = [
        row[:, 0].view(-1, 1, 1) * across.view(1, 1, -1)
        + row[:, 1].view(-1, 1, 1) * down.view(1, -1, 1)
        + row[:, 2].view(-1, 1, 1)
        for row in rows
    ]
    grid = torch.stack(places, dim=3)
    return functional.grid_sample(images, grid, mode=mode, padding_mode=border, align_corners=False)
