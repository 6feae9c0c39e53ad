"""An image classifier measured on one split of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from autoshrink.classification import ClassifierEvaluation, ClassifierFigures, Mistake, Outcomes
from autoshrink.data import ImageSource, SkippedFile
from autoshrink.data.batches import Batches
from autoshrink.data.carving import Digests, Ledger
from autoshrink.data.decoding import Progress
from autoshrink.data.images import TRAIN, VALIDATION, Indices, Pixels
from autoshrink.data.opening import same_data
from autoshrink.data.understood import classes_understood
from autoshrink.errors import InputError
from autoshrink.evaluating.models import ImageModel
from autoshrink.evaluating.reading import labels_for, lacking, open_split
from autoshrink.machine import refuse_beyond_memory
from autoshrink.quantity import counted

DEFAULT_BATCH = 128
"""Images that go through the network at once; the figures do not depend on it."""

_BYTES_A_PIXEL = 5
"""As it was decoded, and normalised in float32."""


def evaluate_images(
    model: ImageModel,
    *,
    data: str | None = None,
    split: str = "test",
    batch: int = DEFAULT_BATCH,
    mistakes: int = 0,
    progress: Progress | None = None,
    understood: Callable[[str], None] = lambda _: None,
) -> ClassifierEvaluation:
    """Measure an image classifier on a whole split.

    Classes of the data and of the model are matched by name. Images that cannot be decoded are skipped.

    Args:
        model: what is measured.
        data: name or path of the data set; None is what the model was trained on.
        split: ``test``, ``validation`` or ``train``.
        batch: images at once: only so many are in memory.
        mistakes: how many of the most confident mistakes to keep, pixels included.
        progress: told (images tried, images to try) after each batch.
        understood: told, in a line, what is going to be measured.

    Raises:
        InputError: nothing says what it was trained on, or a logit is not finite.
        DataError: the data cannot be used, has no such split, or has classes that the model does not know.
    """
    if batch < 1:
        raise InputError(f"batch {batch}: at least one image goes through the network at once")
    spec = data or model.trained_on
    if spec is None:
        raise InputError(f"{model.name}: does not say what it was trained on; name a data set with --data")
    own = same_data(spec, model.trained_on)
    part, notes = open_split(spec, split, model.carving, own=own)
    source, labels = part.source, labels_for(part, model.classes, model.name)
    batch = min(batch, len(part.indices))
    refuse_beyond_memory(
        batch * (model.activation_bytes + _BYTES_A_PIXEL * model.preprocessing.channels * model.preprocessing.size**2),
        f"--batch {batch:,}: so many images at once",
        "try a smaller one",
    )
    understood(classes_understood(source, part.labels, split))
    batches = Batches(part, model.preprocessing, batch, progress)
    kept = _Mistakes(mistakes, source)
    outcomes = Outcomes.joined(_asked(model, source, labels, batches, kept))
    return ClassifierEvaluation(
        figures=ClassifierFigures.of(outcomes, model.classes),
        model=model.name,
        data=spec,
        split=split,
        params=model.params,
        macs=model.macs,
        skipped=batches.skipped,
        notes=(
            *notes,
            *lacking(outcomes.labels, model.classes),
            *_skipped(batches.skipped),
            *_known(model, split, batches.digests),
            *_cautions(model, source, split if own else None),
        ),
        mistakes=kept.found(),
    )


def _asked(
    model: ImageModel, source: ImageSource, labels: Indices, batches: Batches, kept: _Mistakes
) -> Iterator[Outcomes]:
    for indices, pixels in batches:
        logits = model.logits(model.preprocessing.normalised(pixels))
        outcomes = Outcomes.of(logits, labels[indices], indices, source.describe)
        kept.add(outcomes, pixels)
        yield outcomes


class _Mistakes:
    """The most confident mistakes so far; of equal confidence, those that stand first in the source."""

    def __init__(self, most: int, source: ImageSource) -> None:
        self._most = most
        self._source = source
        self._kept: list[tuple[float, int, Mistake]] = []

    def add(self, outcomes: Outcomes, pixels: Pixels) -> None:
        """Look through a batch."""
        wrong = np.flatnonzero(outcomes.ranks)
        order = wrong[np.lexsort((outcomes.images[wrong], -outcomes.confidence[wrong]))]
        for row in order[: self._most].tolist():
            image, confidence = int(outcomes.images[row]), float(outcomes.confidence[row])
            mistake = Mistake(
                place=self._source.describe(image),
                true=int(outcomes.labels[row]),
                predicted=int(outcomes.predicted[row]),
                confidence=confidence,
                pixels=pixels[row].copy(),
            )
            self._kept.append((-confidence, image, mistake))
        self._kept = sorted(self._kept, key=lambda one: one[:2])[: self._most]

    def found(self) -> tuple[Mistake, ...]:
        """The most confident first."""
        return tuple(mistake for *_, mistake in self._kept)


def _skipped(skipped: tuple[SkippedFile, ...]) -> tuple[str, ...]:
    if not skipped:
        return ()
    named = "; ".join(f"{one.path}: {one.reason}" for one in skipped[:3])
    return (
        f"left out of all figures: {counted(len(skipped), 'image')} that cannot be decoded "
        f"({named}{'; …' if skipped[3:] else ''})",
    )


def _ledger(model: ImageModel) -> Ledger | None:
    return model.carving.ledger if model.carving else None


def _known(model: ImageModel, split: str, digests: Digests) -> tuple[str, ...]:
    """How many images the model's list of what it was trained on has, unless it should have all of them."""
    ledger = _ledger(model)
    learned = 0 if ledger is None else int(ledger.learned(digests).sum())
    if not learned:
        return ()
    those = f"{learned:,} of {counted(len(digests), f'{split} image')}"
    if split == TRAIN:
        return (f"the model was trained on {those}",)
    return (
        f"{those} {'is' if learned == 1 else 'are'} byte-identical with images that the model was trained on: the "
        "figures flatter",
    )


def _cautions(model: ImageModel, source: ImageSource, own: str | None) -> tuple[str, ...]:
    """What the figures are not; `own` is the split, if it is of the data that the model was trained on."""
    scaled = model.preprocessing.scaled
    sentences = (
        (
            own == TRAIN and _ledger(model) is None,
            "the model was trained on these images: what it is worth on others is less",
        ),
        (
            own == VALIDATION,
            "the model's best epoch was chosen by the validation images: the figures flatter it a little",
        ),
        (
            source.natural_size not in (None, scaled),
            f"images of {source.natural_size}×{source.natural_size} pixels are scaled to the model's {scaled}×{scaled}",
        ),
    )
    return tuple(sentence for applies, sentence in sentences if applies)
