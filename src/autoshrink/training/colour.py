"""Colour jitter and RandAugment: whole batches on the device, each image by its own random numbers.

Most single operations are kornia's; which of them, how strongly and in which order is decided here, image by image
(kornia's own RandAugment takes the same operations for a whole batch).

Shape letters: B batch, C channels, H height, W width. Images are floats in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoshrink.config.augmentation import MAX_MAGNITUDE, AugmentSettings
from autoshrink.data.crops import Draws
from autoshrink.optional import optional
from autoshrink.training.draws import BatchDraws
from autoshrink.training.images import resampled

Operation = Callable[[Tensor, Tensor], Tensor]
"""Images (B, C, H, W) and a value for each (B,), to images."""


class ColourAugmentation:
    """Jitter, then RandAugment, as far as the settings ask for them.

    Args:
        settings: which.
        fill: colour in [0, 1] of what is moved in by rotations and shifts, (1, C, 1, 1), on the device.

    Raises:
        InputError: kornia is not installed.
    """

    def __init__(self, settings: AugmentSettings, fill: Tensor) -> None:
        self._jitter, self._randaugment = settings.jitter, settings.randaugment
        kornia = _kornia_enhance()
        self._factors: list[Operation] = [
            kornia.adjust_brightness_accumulative,
            kornia.adjust_contrast_with_mean_subtraction,
            kornia.adjust_saturation_with_gray_subtraction,
            lambda images, turns: kornia.adjust_hue(images, 2 * math.pi * turns) if images.shape[1] == 3 else images,
        ]
        self._operations = _operations(kornia, fill)

    def __call__(self, images: Tensor, draws: BatchDraws) -> Tensor:
        """Images (B, C, H, W) of the same shape. Grey ones have no saturation and no hue to change."""
        if self._jitter is not None:
            images = self._jittered(images, self._jitter, draws)
        if self._randaugment is not None:
            images = self._augmented(images, self._randaugment, draws)
        return images

    def _jittered(self, images: Tensor, most: tuple[float, ...], draws: BatchDraws) -> Tensor:
        numbers = 2 * draws.uniform("jitter", 4) - 1
        # The order differs from batch to batch; the factors, from image to image.
        for number in draws.order("jitter order", 4):
            middle = 1.0 if number < 3 else 0.0
            values = np.maximum(0 if number < 3 else -0.5, middle + most[number] * numbers[:, number])
            if most[number]:
                images = self._factors[number](images, _on(images, values))
        return images

    def _augmented(self, images: Tensor, asked: tuple[int, float], draws: BatchDraws) -> Tensor:
        rounds, magnitude = asked
        numbers = draws.uniform("randaugment", 2 * rounds)
        for number in range(rounds):
            chosen = (numbers[:, 2 * number] * len(self._operations)).astype(np.int64)
            strengths = np.where(numbers[:, 2 * number + 1] < 0.5, -1, 1) * magnitude / MAX_MAGNITUDE
            for place, operation in enumerate(self._operations):
                rows = np.flatnonzero(chosen == place)
                if len(rows):
                    index = torch.from_numpy(rows).to(images.device)
                    changed = operation(images[index], _on(images, strengths[rows])).clamp(0, 1)
                    images = images.index_copy(0, index, changed)
        return images


def _operations(kornia: Any, fill: Tensor) -> list[Operation]:
    """The fourteen of RandAugment (Cubuk et al. 2020); each takes strengths in [−1, 1], whose sign not all heed."""

    def enhanced(operation: Operation) -> Operation:
        return lambda images, strengths: operation(images, 1 + 0.9 * strengths)

    return [
        lambda images, _: images,
        lambda images, _: stretched(images),
        lambda images, _: equalised(images),
        lambda images, strengths: warped(images, fill, angle=math.pi / 6 * strengths),
        lambda images, strengths: kornia.solarize(images, 1 - strengths.abs()),
        lambda images, strengths: kornia.posterize(images, (8 - 4 * strengths.abs()).round().int()),
        enhanced(kornia.adjust_saturation_with_gray_subtraction),
        enhanced(kornia.adjust_contrast_with_mean_subtraction),
        enhanced(kornia.adjust_brightness_accumulative),
        enhanced(kornia.sharpness),
        lambda images, strengths: warped(images, fill, shear_x=0.3 * strengths),
        lambda images, strengths: warped(images, fill, shear_y=0.3 * strengths),
        lambda images, strengths: warped(images, fill, move_x=0.45 * strengths),
        lambda images, strengths: warped(images, fill, move_y=0.45 * strengths),
    ]


def stretched(images: Tensor) -> Tensor:
    """Every channel of every image spread over [0, 1] (Pillow's autocontrast); a constant one stays as it is."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = high <= low
    return torch.where(flat, images, (images - low) / (high - low).masked_fill(flat, 1))


def equalised(images: Tensor) -> Tensor:
    """Every channel of every image with an even histogram of its 256 levels, as Pillow's equalize.

    kornia's sums in floats, for which CUDA has no deterministic way; these are whole numbers.
    """
    levels = (images * 255).round().long().flatten(0, 1).flatten(1)
    planes = torch.arange(len(levels), device=images.device).view(-1, 1)
    counts = torch.bincount((levels + 256 * planes).flatten(), minlength=256 * len(levels)).view(-1, 256)
    # Pillow: all pixels but those of the highest level, shared out over 255 steps.
    top = levels.amax(dim=1, keepdim=True)
    step = (levels.shape[1] - counts.gather(1, top)) // 255
    below = counts.cumsum(dim=1) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    even = torch.where(step == 0, levels, table.gather(1, levels))
    return even.view(images.shape).to(images.dtype) / 255


def warped(images: Tensor, fill: Tensor, **by: Tensor) -> Tensor:
    """Images rotated, sheared and moved about their centre, bilinear; `fill` moves in.

    Args:
        images: (B, C, H, W).
        fill: (1, C, 1, 1).
        by: angle (radians), shear_x, shear_y, move_x, move_y (share of width or height), each (B,); 0 where absent.
    """
    nothing = images.new_zeros(len(images))
    angle, shear_x, shear_y, move_x, move_y = (
        by.get(name, nothing) for name in ("angle", "shear_x", "shear_y", "move_x", "move_y")
    )
    height, width = images.shape[2:]
    # From each pixel of the result to where it comes from, in units of half the width and half the height.
    across = torch.stack([angle.cos(), (shear_x - angle.sin()) * (height / width), 2 * move_x], dim=1)
    down = torch.stack([(shear_y + angle.sin()) * (width / height), angle.cos(), 2 * move_y], dim=1)
    return resampled(images - fill, (across, down), (height, width), mode="bilinear", border="zeros") + fill


def _kornia_enhance() -> Any:
    without = "or train without (augment.jitter and augment.randaugment null)"
    with optional(
        "kornia", purpose="colour jitter or RandAugment", install="pip install 'autoshrink[train]'", instead=without
    ):
        from kornia import enhance  # noqa: PLC0415 - an extra, and slow to import
    return enhance


def _on(images: Tensor, values: Draws) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(images.device)
