"""A small classifier, made-up images, and short trainings on the digits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import ClassifierRecipe
from autoshrink.data import SkippedFile
from autoshrink.networks import build
from autoshrink.training.distributed import Processes
from autoshrink.training.image_learner import ImageLearner

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
SMALL = proxy_architecture(CELL, shape=(1, 8, 8), classes=10, stem=4, widths=(4, 8))


def asked(**recipe: Any) -> dict[str, Any]:
    """Settings of a training of a second or two."""
    base = {"epochs": 3, "batch": 128}
    return {"data": {"spec": "digits"}, "recipe": base | recipe, "threads": 1, "device": "cpu", "save_every": 1e-6}


class MadeUp:
    """Both feeds over random images: the same batches in every epoch, this process's part of each."""

    skipped: tuple[SkippedFile, ...] = ()

    def __init__(
        self,
        images: int = 64,
        batches: int = 2,
        *,
        processes: Processes | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        self.pictures = torch.randn(images, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
        self.labels = torch.randint(10, (images,), generator=generator)
        self._batches = batches
        self._processes = processes or Processes()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def _all(self) -> list[tuple[Tensor, Tensor]]:
        return list(
            zip(self.pictures.tensor_split(self._batches), self.labels.tensor_split(self._batches), strict=True)
        )

    def part(self, tensor: Tensor) -> Tensor:
        return tensor.tensor_split(self._processes.count)[self._processes.rank]


class MadeUpTraining(MadeUp):
    @property
    def batches(self) -> int:
        return self._batches

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._all[start:]:
            yield self.part(images), self.part(labels)

    def for_statistics(self, batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        return islice(self.epoch(0), batches)


class MadeUpValidation(MadeUp):
    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._all:
            yield self.part(images), self.part(labels)


def recipe_of(**changes: Any) -> ClassifierRecipe:
    base = {"epochs": 4, "batch": 32, "learning_rate": 0.05, "warmup": 1.0, "ema": None, "label_smoothing": 0.0}
    return ClassifierRecipe.model_validate(base | changes)


def learner_of(
    recipe: ClassifierRecipe,
    *,
    network: nn.Module | None = None,
    architecture: ConvArchitecture = SMALL,
    processes: Processes | None = None,
    dtype: torch.dtype = torch.float32,
    precision: torch.dtype = torch.float32,
) -> ImageLearner:
    """A learner on made-up images."""
    network = build(architecture, seed=0).to(dtype) if network is None else network
    data = (MadeUpTraining(processes=processes, dtype=dtype), MadeUpValidation(processes=processes, dtype=dtype))
    return ImageLearner(network, recipe, data, classes=10, processes=processes, precision=precision)


class StillNormalised(nn.Module):
    """A network whose BN never leaves evaluation mode, so that an image's gradient knows nothing of its batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> StillNormalised:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def two_classes(folder: Path) -> Path:
    """An image folder of two classes in colour."""
    generator = torch.Generator().manual_seed(0)
    for label, name in enumerate(("dark", "light")):
        for number in range(12):
            place = folder / "train" / name / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            pixels = (torch.rand(8, 8, 3, generator=generator) * 90 + 130 * label).byte().numpy()
            Image.fromarray(pixels).save(place)
    return folder
