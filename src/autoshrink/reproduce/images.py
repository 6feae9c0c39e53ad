"""Training image classifiers for a table: one recipe for every row, the test images looked at once, at the end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from autoshrink.architecture import ConvArchitecture
from autoshrink.config import ImageRecipe
from autoshrink.cost import count
from autoshrink.data import load_proxy, load_split
from autoshrink.errors import DataError
from autoshrink.networks import build
from autoshrink.training.device import choose_device, choose_precision, repeatable
from autoshrink.training.image_learner import ImageLearner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.loop import TrainingError

SETTLING = 8
"""Batches over which BN's statistics are taken anew at the end."""
TRIAL_SECONDS = 3.0
"""How long the speed of this machine is measured for."""


@dataclass(frozen=True)
class ImageSize:
    """How large an image experiment is: pixels, training images, epochs, draws, and cells a stage (Table 1's T)."""

    pixels: int
    images: int
    epochs: int
    draws: int
    cells: int

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.pixels}×{self.pixels} pixels, {self.images:,} training images, {self.epochs} epochs, "
            f"{self.draws} draws, T = {self.cells}"
        )


class ImageTrial:
    """A data set of one size on a device, on which architectures are trained and tested.

    Args:
        spec: a data set with a test split.
        size: how much of it, for how long.
        seed: decides which training images are drawn.
        device: a name; ``auto`` is CUDA, then MPS, then the CPU.
        threads: CPU threads; None for torch's choice.

    Raises:
        DataError: the data cannot be used, or have no test split.
    """

    def __init__(self, spec: str, size: ImageSize, *, seed: int, device: str, threads: int | None) -> None:
        self.size = size
        self._device = choose_device(device)
        self._threads = threads or torch.get_num_threads()
        test = load_split(spec, "test", size=size.pixels)
        self.classes = len(test.classes)
        each = -(-size.images // self.classes)
        channels = test.data.images.shape[1]
        proxy = load_proxy(
            spec, train_per_class=each, validation_per_class=1, size=size.pixels, channels=channels, seed=seed
        )
        if proxy.classes != test.classes:
            raise DataError(f"{spec}: its training and test splits name different classes")
        self.shape = (channels, size.pixels, size.pixels)
        self.images = len(proxy.train)
        norm = Normalisation.of(proxy.train.images)
        self._data = (
            DeviceImages(proxy.train.images, proxy.train.labels, norm, self._device),
            DeviceImages(test.data.images, test.data.labels, norm, self._device),
        )
        self._recipe = ImageRecipe(epochs=size.epochs, batch=64, augment=True)

    def architecture(self, architecture: ConvArchitecture) -> ConvArchitecture:
        """The same stages for these images."""
        value = architecture.to_json() | {"input": list(self.shape), "classes": self.classes}
        return ConvArchitecture.from_json(value)

    def spent(self, architecture: ConvArchitecture) -> int:
        """Multiply-adds of one training: a forward pass, and twice that backward."""
        return 3 * count(architecture).macs * self.images * self.size.epochs

    def accuracy(self, architecture: ConvArchitecture, seed: int) -> float:
        """Test accuracy, %, after the last epoch: Adam, its rate falling to zero in a half cosine, flips and crops.

        Raises:
            TrainingError: the loss became NaN.
        """
        with repeatable(self._threads):
            learner = self._learner(architecture, seed)
            total, done = self.size.epochs * self.images, 0
            for epoch in range(self.size.epochs):
                for batch in learner.epoch(epoch):
                    if not math.isfinite(batch.loss):
                        raise TrainingError(f"the training loss became {batch.loss} in epoch {epoch + 1}")
                    done += batch.samples
                    learner.pace((1 + math.cos(math.pi * done / total)) / 2)
            learner.settle(SETTLING)
            return 100 * learner.validate().performance

    def speed(self, architecture: ConvArchitecture) -> float:
        """Training multiply-adds a second on this machine as it is now."""
        with repeatable(self._threads):
            learner = self._learner(architecture, seed=0)
            batches = learner.epoch(0)
            next(batches)  # the first one also loads and compiles
            began, seen = time.monotonic(), learner.seen
            for _ in batches:
                if time.monotonic() - began > TRIAL_SECONDS:
                    break
            return 3 * count(architecture).macs * (learner.seen - seen) / (time.monotonic() - began)

    def _learner(self, architecture: ConvArchitecture, seed: int) -> ImageLearner:
        network = build(architecture, seed=seed).to(self._device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # What the learner calls validation images are the test images here: `validate` is called once, at the end.
        return ImageLearner(
            network,
            self._recipe,
            self._data,
            classes=self.classes,
            seed=seed,
            precision=choose_precision("auto", self._device),
        )
