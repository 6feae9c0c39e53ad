"""Networks trained again by the whole recipe, and judged on samples that no search saw. Imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.registry import TASKS
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import History, TrainingError, fit
from autoshrink.training.problem import SearchLearner
from autoshrink.watching import Observer


@dataclass(frozen=True)
class Trained:
    """One network trained by the whole recipe.

    Attributes:
        performance: of its best epoch by the search's own validation samples, on the unseen ones; None when it failed.
        ended: why the training ended.
        training_macs: MACs of all passes, those of the judging among them.
    """

    performance: float | None
    ended: str
    training_macs: int


class Judge:
    """The samples of one seed: those of its searches to train on, and others to judge by.

    Args:
        settings: of a search with this seed.

    Raises:
        DataError: no samples are left that the searches do not see.
        InputError: the task has none.
    """

    def __init__(self, settings: SearchSettings) -> None:
        task, device = TASKS[settings.task], choose_device(settings.device)
        unseen = task.unseen(settings, Observer())
        self.words = unseen.words
        self._problem, self._judging = task.prepare(settings, Observer()).problem(device), unseen.problem(device)
        self._threads = settings.threads
        self.resources = DesignCosts(self._problem.architecture)

    def train(self, design: Design, seed: int) -> Trained:
        """Train a network and judge it; the seed decides weights and batches."""
        architecture = self._problem.architecture(design)
        learner: SearchLearner = self._problem.learner(architecture, seed)
        judge: Any = self._judging.learner(architecture, seed)
        performance = math.nan

        def on_epoch(history: History) -> None:
            nonlocal performance
            *before, last = history.curve
            if last > max(before, default=-math.inf):
                judge.network.load_state_dict(learner.evaluated.state_dict())
                performance = judge.validate().performance

        with repeatable(self._threads):
            try:
                ended = fit(learner, self._problem.stops, on_epoch=on_epoch).ended
            except TrainingError as error:
                performance, ended = math.nan, str(error)
        passes = 3 * learner.seen + learner.validated + judge.validated
        macs = self.resources(design).macs * passes
        return Trained(None if math.isnan(performance) else performance, ended or "", macs)
