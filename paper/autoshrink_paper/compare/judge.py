"""What retrained cells are judged on: samples that no search saw, drawn beside the run's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from autoshrink.cell import Cell
from autoshrink.config import ImageSettings, SearchSettings, TextSettings
from autoshrink.data import Proxy, load_proxy, load_text_proxy
from autoshrink.data.images import LabelledImages
from autoshrink.seeding import derive_seed
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.training.image_learner import ImageLearner
from autoshrink.training.loop import Learner
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, measure

FRESH_PER_CLASS = 200
"""Images of each class that judge the retrained cells, at most."""
FRESH_SENTENCES = 2
"""Times the run's validation sentences: what judges retrained language models, at most."""


@dataclass(frozen=True)
class Judge:
    """Measures a trained network.

    Attributes:
        name: for keys.
        words: on what, for a person.
        measure: performance of the learner's network.
    """

    name: str
    words: str
    measure: Callable[[Learner, Cell], float]

    def __call__(self, learner: Learner, cell: Cell) -> float:
        """The performance."""
        return self.measure(learner, cell)


def _own(samples: str) -> Judge:
    """The run's own validation samples, where there are no others."""

    def again(learner: Learner, _: Cell) -> float:
        return learner.validate().performance

    return Judge("own", f"the search's own {samples} (there are no others); the seeds are fresh", again)


def make_judge(settings: SearchSettings, device: torch.device) -> Judge:
    """The judge for a seed of a task; where there are no fresh samples, the run's own, and its words say so."""
    if isinstance(settings, ImageSettings):
        return image_judge(settings, device)
    assert isinstance(settings, TextSettings)
    return text_judge(settings, device)


def fresh_images(settings: ImageSettings) -> tuple[Proxy, LabelledImages | None]:
    """The run's own proxy, and images of the training split that no search saw; None where a class has none.

    A proxy draws each class's images in an order that its seed alone decides, validation first and training next. So
    one with more training images begins with the run's own, which is checked, and goes on with images that are neither
    in its training nor in its validation set. Draws with replacement have no such order.
    """
    data = settings.data
    own, more = (
        load_proxy(
            data.spec,
            train_per_class=data.train_per_class + extra,
            validation_per_class=data.validation_per_class,
            size=data.size,
            channels=data.channels,
            replacement=data.replacement,
            max_corrupt=data.max_corrupt,
            seed=derive_seed(settings.seed, "data"),
        )
        for extra in (0, FRESH_PER_CLASS)
    )
    if data.replacement:
        return own, None
    used = np.bincount(own.train.labels, minlength=len(own.classes))
    # Images lie class by class.
    rank = np.concatenate([np.arange(count) for count in np.bincount(more.train.labels)])
    fresh = rank >= used[more.train.labels]
    if not (
        np.array_equal(more.train.images[~fresh], own.train.images)
        and np.array_equal(more.validation.images, own.validation.images)
    ):
        raise AssertionError("a proxy with more training images is another draw: fresh images cannot be told")
    if len(np.unique(more.train.labels[fresh])) < len(own.classes):
        return own, None
    return own, LabelledImages(more.train.images[fresh], more.train.labels[fresh])


def image_judge(settings: ImageSettings, device: torch.device) -> Judge:
    """Fresh images, normalised as the run's own are."""
    own, images = fresh_images(settings)
    if images is None:
        return _own("validation images")
    judging = ImageProblem(settings, replace(own, validation=images), device)

    def measured(learner: Learner, cell: Cell) -> float:
        other = judging.learner(judging.architecture(cell), 0)
        assert isinstance(learner, ImageLearner)
        other.network = learner.network
        return other.validate().performance

    words = f"{len(images):,} images of the training split in neither the search's training nor its validation set"
    return Judge(f"fresh-{len(images)}", words, measured)


def text_judge(settings: TextSettings, device: torch.device) -> Judge:
    """Sentences of the validation split that no search saw: a larger draw by the same seed, less the run's own."""
    data = settings.data
    if data.sample != "random" or data.shared_vocabulary:
        return _own("validation text")
    own, more = (
        load_text_proxy(
            data.spec,
            level=data.level,
            tokens=data.tokens,
            sentences=data.sentences,
            validation_sentences=data.validation_sentences * times,
            max_vocabulary=data.max_vocabulary,
            min_count=data.min_count,
            seed=derive_seed(settings.seed, "data"),
        )
        for times in (1, 1 + FRESH_SENTENCES)
    )
    end = own.vocabulary.end
    assert own.vocabulary == more.vocabulary, "the training sentences do not depend on the validation's"
    rest = left_over(sentences(more.validation, end), sentences(own.validation, end))
    if not rest:
        return _own("validation text")
    fresh = np.concatenate(rest)
    streams = Streams.of(fresh, settings.recipe.validation_batch, end=end, device=device)

    def measured(learner: Learner, _: Cell) -> float:
        assert isinstance(learner, TextLearner)
        return measure(learner.evaluated, streams, settings.recipe.bptt).performance

    words = f"{len(rest):,} sentences ({len(fresh):,} tokens) of the validation split that are not the search's own"
    return Judge(f"fresh-{len(fresh)}", words, measured)


def sentences(ids: np.ndarray, end: int) -> list[np.ndarray]:
    """A text cut after every `<eos>`."""
    return [part for part in np.split(ids, np.flatnonzero(ids == end) + 1) if len(part)]


def left_over(many: list[np.ndarray], few: list[np.ndarray]) -> list[np.ndarray]:
    """The sentences of a text without those of another that it holds in the same order; none where it does not."""
    rest, waiting = [], iter(few)
    wanted = next(waiting, None)
    for sentence in many:
        if wanted is not None and np.array_equal(sentence, wanted):
            wanted = next(waiting, None)
        else:
            rest.append(sentence)
    return [] if wanted is not None else rest
