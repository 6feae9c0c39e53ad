"""Training images varied a batch at a time on the device, by numbers that depend on (seed, epoch, batch) alone.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.data.crops import DRAWS, Draws, RandomCrop
from autoshrink.training.colour import ColourAugmentation
from autoshrink.training.draws import BatchDraws
from autoshrink.training.images import Normalisation, Normaliser, flipped, padding, resampled, shifted

ERASED = RandomCrop(scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3))
"""Area and aspect of erased rectangles (Zhong et al. 2020, Random Erasing, section 4.2)."""


def crop_rule(settings: AugmentSettings) -> RandomCrop | None:
    """How random parts are cut out, where that is asked for."""
    return RandomCrop(settings.scale, settings.ratio) if settings.crop == "resized" else None


def crop_draws(draws: BatchDraws) -> Draws:
    """What the random parts of a batch are cut by, (B, DRAWS): the same whether they are cut in memory or from disk."""
    return draws.uniform("crop", DRAWS)


class Augmentation:
    """What happens to a batch between its pixels and the network.

    Parts are cut out and scaled; colours (jitter, RandAugment) are changed in [0, 1]; the batch is normalised, flipped,
    shifted, erased. Every step is deterministic, also on CUDA devices.

    Args:
        settings: which of these.
        norm: mean and standard deviation of the channels.
        size: height = width of the network's input, pixels.
        device: of the batches.

    Raises:
        InputError: the settings need kornia, which is not installed.
    """

    def __init__(self, settings: AugmentSettings, norm: Normalisation, size: int, device: torch.device) -> None:
        self._settings = settings
        self._size = size
        self._normalised = Normaliser(norm, device)
        self._rule = crop_rule(settings)
        self._colour = ColourAugmentation(settings, self._normalised.mean / 255) if settings.changes_colours else None

    def __call__(self, images: Tensor, draws: BatchDraws, *, cut: bool) -> Tensor:
        """Augmented and normalised float32 images (B, C, size, size), channels last in memory.

        Args:
            images: pixels 0..255 (B, C, H, W).
            draws: of this batch.
            cut: whether random parts, if asked for, are cut out already (as by workers that decode).
        """
        # Whatever surrounds the loop over batches: colours are not for half precision.
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            if self._rule is not None and not cut:
                boxes = self._rule.boxes(crop_draws(draws), *images.shape[2:])
                images = resized_parts(images, torch.from_numpy(boxes), self._size)
            if self._colour is not None:
                images = self._colour(images.float() / 255, draws) * 255
            return self._moved(self._normalised(images), draws)

    def _moved(self, images: Tensor, draws: BatchDraws) -> Tensor:
        settings = self._settings
        if settings.flip:
            images = flipped(images, torch.from_numpy(draws.uniform("flip", 1)[:, 0] < settings.flip))
        if settings.crop == "pad":
            places = draws.uniform("shift", 2).T * (2 * padding(images.shape[2]) + 1)
            images = shifted(images, torch.from_numpy(places.astype(np.int64)))
        if settings.erasing:
            images = erased(images, draws, settings.erasing)
        return images.contiguous(memory_format=torch.channels_last)


def resized_parts(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Parts of images, scaled to size × size pixels by bicubic interpolation.

    Args:
        images: pixels 0..255 (B, C, H, W).
        boxes: left, top, width, height of each part, pixels, (B, 4); at most a little larger than `size`, since
            nothing is averaged.
        size: height = width of what is returned.

    Returns:
        Float (B, C, size, size) within 0..255.
    """
    height, width = images.shape[2:]
    left, top, wide, high = boxes.to(images.device, torch.float32).unbind(1)
    nothing = torch.zeros_like(left)
    across = torch.stack([wide / width, nothing, (2 * left + wide) / width - 1], dim=1)
    down = torch.stack([nothing, high / height, (2 * top + high) / height - 1], dim=1)
    parts = resampled(images.float(), (across, down), (size, size), mode="bicubic", border="border")
    return parts.clamp(0, 255)


def erased(images: Tensor, draws: BatchDraws, probability: float) -> Tensor:
    """Images in some of which a random rectangle is filled with normal noise, pixel by pixel (as many means and
    deviations as the normalised images have: 0 and 1)."""
    numbers = draws.uniform("erasing", 1 + DRAWS)
    boxes = ERASED.boxes(numbers[:, 1:], *images.shape[2:])
    images = images.clone()
    for row in np.flatnonzero(numbers[:, 0] < probability).tolist():
        left, top, wide, high = boxes[row].tolist()
        noise = draws.noise("erasing", row, (images.shape[1], high, wide))
        images[row, :, top : top + high, left : left + wide] = noise.to(images.device)
    return images
