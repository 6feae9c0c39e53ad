"""Training for a table: one recipe for every row, the test data read once, at the end."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from autoshrink.architecture import Architecture, ConvArchitecture, LanguageModel
from autoshrink.config import ImageRecipe, TextSettings, resolve
from autoshrink.cost import count
from autoshrink.data import load_proxy, load_split, load_text_proxy, load_text_split
from autoshrink.errors import DataError
from autoshrink.networks import build
from autoshrink.seeding import derive_seed
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.device import choose_device, choose_precision, repeatable
from autoshrink.training.image_learner import ImageLearner, search_learner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.loop import Learner, TrainingError, fit
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import measure
from autoshrink_paper.study import Asked, Measurement, Outcome, Study

SETTLING = 8
"""Batches over which BN's statistics are taken anew at the end."""
SPEED_SECONDS = 3.0
"""How long the speed of this machine is measured for."""
TEST_STREAMS, TEST_CHUNK = 10, 256
"""The test text is read as ten streams, as the released training validates; the chunk does not change the result."""

Model = TypeVar("Model", bound=Architecture)


class Trial(ABC, Generic[Model]):
    """Data of one size on a device, on which architectures are trained and tested.

    Attributes:
        samples: images or tokens that an epoch trains on.
        epochs: of a training.
    """

    samples: int
    epochs: int

    def __init__(self, asked: Asked) -> None:
        self._device = choose_device(asked.device)
        self._threads = asked.threads or torch.get_num_threads()

    @abstractmethod
    def learner(self, architecture: Model, seed: int) -> Learner:
        """The training of an architecture, not begun."""

    @abstractmethod
    def tested(self, architecture: Model, seed: int) -> float:
        """Train, then the test data's accuracy in percent or perplexity.

        Raises:
            TrainingError: the training diverged, or learned nothing.
        """

    def spent(self, architecture: Model) -> int:
        """Multiply-adds of one training: a forward pass, and twice that backward."""
        return 3 * count(architecture).macs * self.samples * self.epochs

    def speed(self, architecture: Model) -> float:
        """Training multiply-adds a second on this machine as it is now."""
        with repeatable(self._threads):
            learner = self.learner(architecture, seed=0)
            batches = learner.epoch(0)
            next(batches)  # the first one also loads and compiles
            began, seen = time.monotonic(), learner.seen
            for _ in batches:
                if time.monotonic() - began > SPEED_SECONDS:
                    break
            return 3 * count(architecture).macs * max(1, learner.seen - seen) / (time.monotonic() - began)


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


class ImageTrial(Trial[ConvArchitecture]):
    """Images, of which the seed draws the training images.

    Raises:
        DataError: the data cannot be used, or have no test split.
    """

    def __init__(self, asked: Asked, size: ImageSize) -> None:
        super().__init__(asked)
        test = load_split(asked.data, "test", size=size.pixels)
        channels = test.data.images.shape[1]
        proxy = load_proxy(
            asked.data,
            train_per_class=-(-size.images // len(test.classes)),
            validation_per_class=1,
            size=size.pixels,
            channels=channels,
            seed=asked.seed,
        )
        if proxy.classes != test.classes:
            raise DataError(f"{asked.data}: its training and test splits name different classes")
        self.shape, self.classes = (channels, size.pixels, size.pixels), len(test.classes)
        self.samples, self.epochs = len(proxy.train), size.epochs
        norm = Normalisation.of(proxy.train.images)
        self._data = (
            DeviceImages(proxy.train.images, proxy.train.labels, norm, self._device),
            DeviceImages(test.data.images, test.data.labels, norm, self._device),
        )
        self._recipe = ImageRecipe(epochs=size.epochs, batch=64, augment=True)

    def learner(self, architecture: ConvArchitecture, seed: int) -> ImageLearner:
        """What it calls validation images are the test images here: `validate` is called once, at the end."""
        network = build(architecture, seed=seed).to(self._device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        precision = choose_precision("auto", self._device)
        return search_learner(network, self._recipe, self._data, classes=self.classes, seed=seed, precision=precision)

    def tested(self, architecture: ConvArchitecture, seed: int) -> float:
        """Test accuracy, %, after the last epoch: Adam, its rate falling to zero in a half cosine, flips and crops.

        Raises:
            TrainingError: the loss became NaN.
        """
        with repeatable(self._threads):
            learner = self.learner(architecture, seed)
            total, done = self.epochs * self.samples, 0
            for epoch in range(self.epochs):
                for batch in learner.epoch(epoch):
                    if not math.isfinite(batch.loss):
                        raise TrainingError(f"the training loss became {batch.loss} in epoch {epoch + 1}")
                    done += batch.samples
                    learner.scale_learning_rate((1 + math.cos(math.pi * done / total)) / 2)
            learner.recalibrate_statistics(SETTLING)
            return 100 * learner.validate().performance


@dataclass(frozen=True)
class TextSize:
    """How large a text experiment is.

    Attributes:
        sentences: of the training text.
        params: of every model in Table 3.
        width: of every model in Table 5.
        epochs: of training.
        draws: seeds.
    """

    sentences: int
    params: int
    width: int
    epochs: int
    draws: int


class TextTrial(Trial[LanguageModel]):
    """A text, of which the seed draws the training sentences; language models are trained by the search's recipe.

    Raises:
        DataError: the text cannot be used, or has no test split.
    """

    def __init__(self, asked: Asked, size: TextSize) -> None:
        super().__init__(asked)
        settings = resolve(
            {
                "task": "text",
                "data": {"spec": asked.data, "sentences": size.sentences},
                "recipe": {"epochs": size.epochs, "batch": 20, "patience": None},
            }
        )
        assert isinstance(settings, TextSettings)
        data = settings.data
        proxy = load_text_proxy(asked.data, **data.model_dump(exclude={"spec"}), seed=asked.seed)
        test = load_text_split(
            asked.data, "test", proxy.vocabulary, level=data.level, tokens=data.tokens, max_vocabulary=None, min_count=1
        )
        self.vocabulary = len(proxy.vocabulary)
        self.samples, self.epochs = len(proxy.train), size.epochs
        self._problem = TextProblem(settings, proxy, self._device)
        self._test = Streams.of(test.tokens, TEST_STREAMS, end=proxy.vocabulary.end, device=self._device)

    def learner(self, architecture: LanguageModel, seed: int) -> Any:
        """By the search's recipe."""
        return self._problem.learner(architecture, seed)

    def tested(self, architecture: LanguageModel, seed: int) -> float:
        """Perplexity of the test text, with the weights after the last epoch.

        Raises:
            TrainingError: the training diverged, or learned nothing.
        """
        with repeatable(self._threads), torch.no_grad():
            with torch.enable_grad():
                learner = self.learner(architecture, seed)
                fit(learner, self._problem.stops)
            return math.exp(min(measure(learner.evaluated, self._test, TEST_CHUNK).loss, 700.0))


class TrainedStudy(Study, Generic[Model]):
    """A study whose every row is trained and tested alike, several times.

    Attributes:
        trial: data and recipe.
    """

    trial: Trial[Model]

    def __init__(self, asked: Asked, size: Any, folder: Path) -> None:
        del folder
        self._asked, self._size = asked, size

    @abstractmethod
    def architecture(self, row: str, draw: int) -> Model:
        """The network of a row."""

    def measurements(self) -> Sequence[Measurement]:
        """Every row once, then again."""
        return [
            Measurement(row, draw, self.trial.spent(self.architecture(row, draw)))
            for draw in range(self._size.draws)
            for row in self.rows
        ]

    def measure(self, one: Measurement) -> Outcome:
        """Train once, test once; draws of all rows share the seed."""
        architecture = self.architecture(one.row, one.draw)
        cost, began = count(architecture), time.monotonic()
        value, reason = None, ""
        try:
            value = self.trial.tested(architecture, derive_seed(self._asked.seed, "training", one.draw))
        except TrainingError as error:
            reason = str(error)
        seconds = time.monotonic() - began
        return Outcome(one.row, one.draw, value, cost.macs, cost.params, one.macs, seconds, reason)

    def speed(self) -> float:
        """With the network that takes the most multiply-adds."""
        networks = [self.architecture(row, 0) for row in self.rows]
        return self.trial.speed(max(networks, key=lambda network: count(network).macs))
