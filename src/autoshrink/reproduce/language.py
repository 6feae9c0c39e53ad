"""Tables 3 and 5: recurrent cells as language models on Penn Treebank, at equal size or equal width."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from autoshrink import zoo
from autoshrink.architecture import LanguageModel, language_model, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.config import TextSettings, resolve
from autoshrink.cost import count, widest
from autoshrink.data import load_text_proxy, load_text_split
from autoshrink.reproduce.published import TABLE_3, TABLE_5, Published
from autoshrink.reproduce.study import Outcome, Result, Work, direction
from autoshrink.seeding import derive_seed
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import TrainingError, fit
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import measure

TEST_STREAMS, TEST_CHUNK = 10, 256
"""The test text is read as ten streams, as the released training validates; the chunk does not change the result."""
TRIAL_SECONDS = 3.0
WORDS_A_SENTENCE = 22
"""Of Penn Treebank, the end of the sentence included; for estimates of the cost only."""


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


LADDER = (
    TextSize(1_000, 100_000, 40, 4, 2),
    TextSize(4_000, 460_000, 64, 6, 2),
    TextSize(10_000, 1_000_000, 100, 8, 3),
    TextSize(42_068, 2_500_000, 200, 12, 3),
    TextSize(42_068, 10_000_000, 400, 20, 3),
)
"""Sizes to choose from, by what they cost."""


class TextTrial:
    """A text of one size on a device, on which language models are trained by the search's recipe and tested.

    Args:
        spec: a text with a test split.
        size: how much of it, for how long.
        seed: decides which sentences are drawn.
        device: a name; ``auto`` is CUDA, then MPS, then the CPU.
        threads: CPU threads; None for torch's choice.

    Raises:
        DataError: the text cannot be used, or has no test split.
    """

    def __init__(self, spec: str, size: TextSize, *, seed: int, device: str, threads: int | None) -> None:
        self.size = size
        self._threads = threads or torch.get_num_threads()
        asked = {
            "task": "text",
            "data": {"spec": spec, "sentences": size.sentences},
            "recipe": {"epochs": size.epochs, "batch": 20, "patience": None},
        }
        settings = resolve(asked)
        assert isinstance(settings, TextSettings)
        data, place = settings.data, choose_device(device)
        proxy = load_text_proxy(
            spec,
            level=data.level,
            tokens=data.tokens,
            sentences=data.sentences,
            validation_sentences=data.validation_sentences,
            max_vocabulary=data.max_vocabulary,
            min_count=data.min_count,
            sample=data.sample,
            shared_vocabulary=data.shared_vocabulary,
            seed=seed,
        )
        test = load_text_split(
            spec, "test", proxy.vocabulary, level=data.level, tokens=data.tokens, max_vocabulary=None, min_count=1
        )
        self.vocabulary = len(proxy.vocabulary)
        self.tokens = len(proxy.train)
        self._problem = TextProblem(settings, proxy, place)
        self._test = Streams.of(test.tokens, TEST_STREAMS, end=proxy.vocabulary.end, device=place)

    def spent(self, model: LanguageModel) -> int:
        """Multiply-adds of one training."""
        return 3 * count(model).macs * self.tokens * self.size.epochs

    def perplexity(self, model: LanguageModel, seed: int) -> float:
        """Of the test text, with the weights after the last epoch.

        Raises:
            TrainingError: the training diverged, or learned nothing.
        """
        with repeatable(self._threads), torch.no_grad():
            with torch.enable_grad():
                learner = self._problem.learner(model, seed)
                fit(learner, self._problem.stops)
            return math.exp(min(measure(learner.evaluated, self._test, TEST_CHUNK).loss, 700.0))

    def speed(self, model: LanguageModel) -> float:
        """Training multiply-adds a second on this machine as it is now."""
        with repeatable(self._threads):
            learner = self._problem.learner(model, 0)
            batches = learner.epoch(0)
            next(batches)
            began, seen = time.monotonic(), learner.seen
            for _ in batches:
                if time.monotonic() - began > TRIAL_SECONDS:
                    break
            return 3 * count(model).macs * max(1, learner.seen - seen) / (time.monotonic() - began)


class LanguageStudy:
    """See `autoshrink.reproduce.study.Study`.

    Args:
        trial: text and recipe.
        models: what is trained, by row.
        published: the paper's rows.
        seed: decides every draw.
    """

    unit = "test perplexity"

    def __init__(
        self, trial: TextTrial, models: Mapping[str, LanguageModel], *, published: dict[str, Published], seed: int
    ) -> None:
        self._trial, self.models, self._seed = trial, dict(models), seed
        self.published = published
        self.rows = {row: published[row].name if row in published else row for row in models}

    def works(self) -> tuple[Work, ...]:
        """Every model once, then again."""
        return tuple(
            Work(row, draw, self._trial.spent(model))
            for draw in range(self._trial.size.draws)
            for row, model in self.models.items()
        )

    def measure(self, work: Work) -> Outcome:
        """Train once, test once; draws of all rows share the seed."""
        model = self.models[work.row]
        cost, began = count(model), time.monotonic()
        value, reason = None, ""
        try:
            value = self._trial.perplexity(model, derive_seed(self._seed, "training", work.draw))
        except TrainingError as error:
            reason = str(error)
        seconds = time.monotonic() - began
        return Outcome(work.row, work.draw, value, cost.macs, cost.params, work.macs, seconds, reason)

    def _against(self, results: Sequence[Result], mine: str) -> tuple[str, ...]:
        by_row = {one.row: one for one in results}
        return tuple(
            direction(by_row[mine], other, higher=False, digits=1) for row, other in by_row.items() if row != mine
        )


class Table3(LanguageStudy):
    """Recurrent cells at an equal number of parameters."""

    name = "table3"
    title = "Table 3: language models on Penn Treebank at equal size"

    def __init__(self, trial: TextTrial, cells: Mapping[str, Cell], *, seed: int) -> None:
        found: dict[str, LanguageModel] = {row: _zoo(row) for row in TABLE_3}
        found |= {f"searched: {name}": recurrent_proxy(cell, vocabulary=2, width=1) for name, cell in cells.items()}
        sized = {
            row: widest(language_model(model, vocabulary=trial.vocabulary), trial.size.params)
            for row, model in found.items()
        }
        super().__init__(trial, sized, published=TABLE_3, seed=seed)
        self.differences = (
            f"size: {trial.size.params:,} parameters at most, {trial.tokens:,} training tokens, {trial.size.epochs} "
            f"epochs, a vocabulary of {trial.vocabulary:,} (the paper: about 23M, 929,589, up to 3,000, 10,000)",
            "recipe: the search's, without dropout and averaging, one for all rows (the paper quotes the others' own)",
            "the budget decides this table: deep cells need longer training and dropout to show what they have",
            "ShrinkRNN is the released cell of 12 edges; the paper's has 8, its operations are unpublished",
        )

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        """The paper's claim: ShrinkRNN is better than LSTM and RHN, a little behind ENAS and DARTS."""
        return self._against(results, "shrinkrnn")


class Table5(LanguageStudy):
    """The complete graph against the shrunk one at one width."""

    name = "table5"
    title = "Table 5: complete graph against ShrinkRNN on Penn Treebank, N = 6"

    def __init__(self, trial: TextTrial, cells: Mapping[str, Cell], *, seed: int) -> None:
        found: dict[str, LanguageModel] = {row: _zoo(row) for row in TABLE_5}
        found |= {f"searched: {name}": recurrent_proxy(cell, vocabulary=2, width=1) for name, cell in cells.items()}
        sized = {
            row: language_model(model, vocabulary=trial.vocabulary, width=trial.size.width)
            for row, model in found.items()
        }
        super().__init__(trial, sized, published=TABLE_5, seed=seed)
        self.differences = (
            f"size: width {trial.size.width}, {trial.tokens:,} training tokens, {trial.size.epochs} epochs, a "
            f"vocabulary of {trial.vocabulary:,} (the paper: width 850, 929,589 tokens, up to 3,000 epochs, 10,000)",
            "recipe: the search's, without dropout and averaging, one for both rows",
            "ShrinkRNN is the released cell of 12 edges; the paper's has 8, its operations are unpublished",
            "the complete graph's operations are ours (each at least once); those of the paper's are unpublished",
        )

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        """The paper's claim: ShrinkRNN has the lower perplexity with fewer parameters."""
        return self._against(results, "shrinkrnn")


def costs(study: str, ladder: Sequence[TextSize]) -> list[int]:
    """About how many multiply-adds a whole table takes at each size."""
    found = []
    for size in ladder:
        vocabulary = min(10_000, round(5_000 * (size.sentences / 4_000) ** 0.5))
        total = 0
        for row in TABLE_3 if study == "table3" else TABLE_5:
            model = language_model(_zoo(row), vocabulary=vocabulary, width=size.width)
            total += count(widest(model, size.params) if study == "table3" else model).macs
        found.append(3 * total * WORDS_A_SENTENCE * size.sentences * size.epochs * size.draws)
    return found


def _zoo(name: str) -> LanguageModel:
    found = zoo.get(name)
    assert isinstance(found, LanguageModel), f"{name} is a language model"
    return found


LANGUAGE: dict[str, Callable[..., Table3 | Table5]] = {"table3": Table3, "table5": Table5}
