"""Pictures to train on, in folders and in Parquet files, and the feeds over them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.training.feeds import ImageData, Loading, Pictures, open_training_data
from data_fixtures import encoded, parquet

CPU = torch.device("cpu")
PLAIN = AugmentSettings(crop="none", flip=0.0)
ALL = AugmentSettings(crop="resized", scale=(0.3, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), erasing=0.5)


def uneven(folder: Path) -> Path:
    """Write uneven classes of 30, 12 and 1 pictures, of different sizes and kinds, every one with a colour gradient."""
    rng = np.random.default_rng(0)
    for name, count in {"many": 30, "few": 12, "one": 1}.items():
        for number in range(count):
            width, height = rng.integers(9, 40, 2).tolist()
            pixels = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
            path = folder / name / f"{number:02}.{('png', 'jpg', 'bmp')[number % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.convert("L" if number % 5 == 0 else "RGB").save(path)
    return folder


def row_groups(folder: Path) -> Path:
    """Write Parquet files with 11 row groups in all, of 7 pictures each but for the last of either file."""
    rng = np.random.default_rng(1)
    images = [encoded(Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))) for _ in range(72)]
    labels = [number * number % 2 for number in range(72)]
    for part, chosen in enumerate((slice(0, 40), slice(40, 72))):
        path = folder / f"train-0000{part}-of-00002.parquet"
        parquet(path, images[chosen], labels[chosen], row_group_size=7)
    return folder


def opened(
    spec: object,
    *,
    size: int = 8,
    augment: AugmentSettings = ALL,
    seed: int = 3,
    pictures: dict[str, Any] | None = None,
    **loading: Any,
) -> ImageData:
    settings: dict[str, Any] = {"batch": 8, "device": CPU} | loading
    how = Loading(**settings)
    return open_training_data(str(spec), Pictures(size, **pictures or {}), how, augment=augment, seed=seed)


def same(one: Iterable[tuple[Tensor, Tensor]], other: Iterable[tuple[Tensor, Tensor]]) -> bool:
    return all(
        torch.equal(images, others) and torch.equal(labels, other_labels)
        for (images, labels), (others, other_labels) in zip(one, other, strict=True)
    )


def joined(parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(labels)
