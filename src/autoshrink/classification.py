"""What an image classifier's predictions are worth: figures from logits and true classes. No torch in here.

Letters used in shapes: n images, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from autoshrink.data import SkippedFile
from autoshrink.errors import InputError

Indices = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

TOP = 5
"""The k of top-k accuracy. It is given from k + 1 classes on: among k classes everything is in the top k."""

BINS = 15
"""Equal-width bins of confidence (C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, §2)."""

_Z = NormalDist().inv_cdf(0.975)
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a classifier said of n images, one entry an image.

    Attributes:
        images: int64 (n,), where each image stands in its source.
        labels: int64 (n,), the true class.
        predicted: int64 (n,), the class of the largest logit, the first of equal ones.
        ranks: int64 (n,), how many classes come before the true one, by logit, then by index; 0 is a correct answer.
        confidence: float64 (n,), softmax probability of the predicted class.
        losses: float64 (n,), −ln of the softmax probability of the true class, nats.
    """

    images: Indices
    labels: Indices
    predicted: Indices
    ranks: Indices
    confidence: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        logits: npt.NDArray[np.floating[Any]],
        labels: Indices,
        images: Indices | None = None,
        describe: Callable[[int], str] = "image {}".format,
    ) -> Self:
        """From logits (n, k) and true classes (n,).

        Args:
            logits: worked on in float64, so that an exported model's float32 loses nothing more.
            labels: class indices.
            images: where the images stand in their source; None is 0 … n − 1.
            describe: names an image for the message.

        Raises:
            InputError: a logit is NaN or infinite; the message names the image.
        """
        images = np.arange(len(labels), dtype=np.int64) if images is None else images
        wrong = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(wrong):
            raise InputError(
                f"the model's output for {describe(int(images[wrong[0]]))} is not finite: its weights are damaged, or "
                "its training diverged"
            )
        values = logits.astype(np.float64)
        rows = np.arange(len(values))
        predicted = values.argmax(axis=1)
        truth = values[rows, labels][:, np.newaxis]
        before = (values > truth) | ((values == truth) & (np.arange(values.shape[1]) < labels[:, np.newaxis]))
        largest = values[rows, predicted]
        spread = np.log(np.exp(values - largest[:, np.newaxis]).sum(axis=1))
        return cls(
            images=images,
            labels=labels,
            predicted=predicted,
            ranks=before.sum(axis=1),
            confidence=np.exp(-spread),
            losses=spread + (largest - truth[:, 0]),
        )

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Those of several batches, of which there is at least one, as one."""
        listed = list(parts)
        names = ("images", "labels", "predicted", "ranks", "confidence", "losses")
        return cls(**{name: np.concatenate([getattr(part, name) for part in listed]) for name in names})

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)


@dataclass(frozen=True)
class Share:
    """`hits` of `of` images."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, in [0, 1]; None of no images."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share that the images are a sample of (Wilson's score interval, JASA 1927).

        Of no images it is [0, 1].
        """
        if not self.of:
            return 0.0, 1.0
        share, weight = self.hits / self.of, _Z**2 / self.of
        centre = (share + weight / 2) / (1 + weight)
        half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / self.of + weight / (4 * self.of))
        # Rounding must not leave the interval short of a share of exactly 0 or 1.
        return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


@dataclass(frozen=True)
class ClassFigures:
    """One class.

    Attributes:
        name: as the model calls it.
        images: of this class.
        predicted: images that the model takes for this class.
        correct: images of which both is true.
    """

    name: str
    images: int
    predicted: int
    correct: int

    @property
    def accuracy(self) -> Share:
        """Of the class's images, those recognised: recall."""
        return Share(self.correct, self.images)

    @property
    def precision(self) -> Share:
        """Of the images taken for this class, those that are."""
        return Share(self.correct, self.predicted)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both, 2·correct / (images + predicted); None where there is neither."""
        both = self.images + self.predicted
        return 2 * self.correct / both if both else None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; what cannot be known is null."""
        return {
            "class": self.name,
            "images": self.images,
            "predicted": self.predicted,
            "correct": self.correct,
            "accuracy": self.accuracy.value,
            "precision": self.precision.value,
            "f1": self.f1,
        }


@dataclass(frozen=True)
class Macro:
    """Means over the classes that have images, each counted alike.

    Attributes:
        accuracy: also called balanced accuracy, or macro recall.
        precision: a class that is never predicted counts 0.
        f1: mean of the classes' F1.
    """

    accuracy: float
    precision: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Images whose confidence is in (low, high].

    Attributes:
        low: exclusive.
        high: inclusive.
        images: how many.
        accuracy: of them; None where there are none.
        confidence: their mean; likewise.
    """

    low: float
    high: float
    images: int
    accuracy: float | None
    confidence: float | None


@dataclass(frozen=True)
class Calibration:
    """Whether confidence is what it says: of answers given with 80 %, are 80 % right?

    Attributes:
        error: expected calibration error, Σ |bin|/n · |accuracy − confidence| (Guo et al. 2017, Eq. 3), in [0, 1].
        confidence: mean over all images; above the accuracy, the model is overconfident.
        bins: by confidence, of equal width.
    """

    error: float
    confidence: float
    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, outcomes: Outcomes, bins: int = BINS) -> Self:
        """Of at least one image."""
        edges = np.arange(1, bins + 1) / bins
        # The sum of a softmax may round to a little more than 1.
        number = np.minimum(np.searchsorted(edges, outcomes.confidence, side="left"), bins - 1)
        found = tuple(
            _bin(outcomes, number == i, low, high)
            for i, (low, high) in enumerate(zip([0.0, *edges.tolist()], edges.tolist(), strict=False))
        )
        gaps = (one.images * abs((one.accuracy or 0.0) - (one.confidence or 0.0)) for one in found)
        return cls(math.fsum(gaps) / len(outcomes), _mean(outcomes.confidence), found)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"error": self.error, "confidence": self.confidence, "bins": [vars(one) for one in self.bins]}


@dataclass(frozen=True)
class Confusion:
    """`images` of class `true` that are taken for class `predicted`; both are indices."""

    true: int
    predicted: int
    images: int


@dataclass(frozen=True, eq=False)
class ClassifierFigures:
    """What a classifier is worth on labelled images. None of it depends on the order of the images.

    Attributes:
        classes: k names.
        confusion: int64 (k, k), images by true class (rows) and predicted class (columns).
        loss: mean cross-entropy, nats.
        top: share of images whose true class is among the `TOP` likeliest; None for `TOP` classes or fewer.
        calibration: how much confidence can be trusted.
    """

    classes: tuple[str, ...]
    confusion: Indices
    loss: float
    top: Share | None
    calibration: Calibration

    @classmethod
    def of(cls, outcomes: Outcomes, classes: tuple[str, ...]) -> Self:
        """Of at least one image."""
        count = len(classes)
        cells = np.bincount(outcomes.labels * count + outcomes.predicted, minlength=count * count)
        top = Share(int((outcomes.ranks < TOP).sum()), len(outcomes)) if count > TOP else None
        matrix = cells.reshape(count, count).astype(np.int64)
        return cls(classes, matrix, _mean(outcomes.losses), top, Calibration.of(outcomes))

    @property
    def images(self) -> int:
        """N."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> Share:
        """Top-1."""
        return Share(int(self.confusion.trace()), self.images)

    @cached_property
    def per_class(self) -> tuple[ClassFigures, ...]:
        """Every class, in the model's order."""
        columns = (self.confusion.sum(axis=1), self.confusion.sum(axis=0), self.confusion.diagonal())
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        return tuple(ClassFigures(name, *found) for name, found in zip(self.classes, numbers, strict=True))

    @property
    def macro(self) -> Macro:
        """Means over the classes that have images."""
        found = [one for one in self.per_class if one.images]
        means = (
            math.fsum(values) / len(found)
            for values in (
                [one.accuracy.value or 0.0 for one in found],
                [one.precision.value or 0.0 for one in found],
                [one.f1 or 0.0 for one in found],
            )
        )
        return Macro(*means)

    def worst(self, most: int) -> tuple[ClassFigures, ...]:
        """The classes with the lowest accuracy, those without images left out; of equal ones the larger first."""
        found = [one for one in self.per_class if one.images]
        return tuple(sorted(found, key=lambda one: (one.correct / one.images, -one.images))[:most])

    def confusions(self, most: int) -> tuple[Confusion, ...]:
        """What is taken for what most often, the most frequent first; each direction by itself, none of 0 images."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        rows, columns = np.nonzero(wrong)
        order = np.argsort(-wrong[rows, columns], kind="stable")[:most]
        return tuple(Confusion(int(rows[i]), int(columns[i]), int(wrong[rows[i], columns[i]])) for i in order)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; shares are in [0, 1], `confusion` has a row for each true class."""
        return {
            "accuracy": self.accuracy.value,
            "interval": list(self.accuracy.interval),
            f"top{TOP}": None if self.top is None else self.top.value,
            "loss": self.loss,
            "images": self.images,
            "macro": vars(self.macro),
            "calibration": self.calibration.to_json(),
            "per_class": [one.to_json() for one in self.per_class],
            "confusions": [
                {"true": self.classes[one.true], "predicted": self.classes[one.predicted], "images": one.images}
                for one in self.confusions(20)
            ],
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Mistake:
    """An image that a classifier got wrong.

    Attributes:
        place: where it stands in its source.
        true: its class, an index.
        predicted: what it was taken for, an index.
        confidence: in the wrong answer, in [0, 1].
        pixels: uint8 (channels, height, width), as the model saw it before normalisation.
    """

    place: str
    true: int
    predicted: int
    confidence: float
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class ClassifierEvaluation:
    """A trained or exported image classifier measured on one split of a data set.

    Attributes:
        figures: what it is worth.
        model: the file or folder, as it was given.
        data: the data set, a name or a path.
        split: ``test``, ``validation`` or ``train``.
        params: of the model; None where the file does not say.
        macs: of one image; likewise.
        skipped: images that could not be decoded; they are in no figure.
        notes: sentences for a person about data and model.
        mistakes: the most confident ones, as many as were asked for.
    """

    figures: ClassifierFigures
    model: str
    data: str
    split: str
    params: int | None
    macs: int | None
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    mistakes: tuple[Mistake, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that `autoshrink evaluate --json` prints."""
        return {
            "model": self.model,
            "data": self.data,
            "split": self.split,
            **self.figures.to_json(),
            "skipped": len(self.skipped),
            "params": self.params,
            "macs": self.macs,
            "notes": list(self.notes),
        }


def _bin(outcomes: Outcomes, inside: npt.NDArray[np.bool_], low: float, high: float) -> Bin:
    images = int(inside.sum())
    if not images:
        return Bin(low, high, 0, None, None)
    right = int((outcomes.ranks[inside] == 0).sum())
    return Bin(low, high, images, right / images, _mean(outcomes.confidence[inside]))


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Exactly rounded, so that the order of the images cannot change the last digit."""
    return math.fsum(values.tolist()) / len(values)
