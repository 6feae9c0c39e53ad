"""The final training of a network on arrays, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from autoshrink import formatting
from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.config import FinalSettings, merge
from autoshrink.data.carving import Ledger
from autoshrink.deploy.predict import OnnxModel
from autoshrink.final.base import FinalProblem, Request, TaskTraining, TrainingWatcher
from autoshrink.networks import build
from autoshrink.tasks.arrays import ArrayData, ArrayInterface, ArrayRecipe, Arrays, ArrayTask, TrainedOnArrays, event_of
from autoshrink.tasks.arrays.problem import ArrayLearner, fingerprint, read
from autoshrink.training.loop import Stops

EPOCHS = 100
"""Of a final training where nothing is said."""


class ArrayFinalSettings(FinalSettings):
    """Everything that decides a final training."""

    data: ArrayData = ArrayData()
    recipe: ArrayRecipe = ArrayRecipe(epochs=EPOCHS)


class ArrayTraining(TaskTraining):
    """See `TaskTraining`."""

    settings = ArrayFinalSettings

    def __init__(self, task: ArrayTask) -> None:
        self._task = task

    def begin(self, request: Request, watcher: TrainingWatcher) -> FinalProblem:
        """A lone cell becomes the network of a search with default settings."""
        settings = ArrayFinalSettings.model_validate(merge({"recipe": {"epochs": EPOCHS}}, request.overrides))
        settings = settings.model_copy(update={"threads": settings.threads or torch.get_num_threads()})
        data = read(self._task, settings.data.spec)
        watcher.on_data(
            f"data: {settings.data.spec}: {formatting.count(len(data[0]), f'training {self._task.metric.sample}')}, "
            f"{len(data[1]):,} for validation"
        )
        target = request.target
        if isinstance(target, Cell):
            event = event_of(self._task, settings.data.spec, *data, "")
            target = self._task.proxy(target, self._task.settings.model_validate({}), event)
        assert target is not None, "only images have weights to start from"
        return self._problem(target, settings, data)

    def again(
        self,
        architecture: Architecture,
        settings: ArrayFinalSettings,
        interface: ArrayInterface,
        ledger: Ledger | None,
        watcher: TrainingWatcher,
    ) -> FinalProblem:
        """See `TaskTraining`."""
        del interface, ledger, watcher
        return self._problem(architecture, settings, read(self._task, settings.data.spec))

    def _problem(
        self, architecture: Architecture, settings: ArrayFinalSettings, data: tuple[Arrays, Arrays]
    ) -> FinalProblem:
        network = build(architecture, seed=settings.seed).to(self.device(settings.device))
        recipe = settings.recipe
        return FinalProblem(
            architecture=architecture,
            settings=settings,
            interface=ArrayInterface(data[0].inputs.shape[1:]),
            learner=ArrayLearner(self._task, network, data, recipe, seed=settings.seed, falls=True),
            stops=Stops(epochs=recipe.epochs),
            fingerprint=[fingerprint(*data)],
            validation_samples=len(data[1]),
            save_every=settings.save_every,
        )


@dataclass(frozen=True)
class ArrayEvaluation:
    """What a model is worth on a split, by name: the metric's, ``loss``, how many samples, ``split``, ``data``."""

    figures: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return self.figures


def evaluate(task: ArrayTask, model: TrainedOnArrays | OnnxModel, *, data: str | None, split: str) -> ArrayEvaluation:
    """Measure a model on a split.

    Raises:
        DataError: there is no such split.
    """
    spec = data or (model.card if isinstance(model, OnnxModel) else model).facts.data.spec
    read = task.read(spec, split)
    if isinstance(model, OnnxModel):
        (outputs,) = model.run(read.inputs).values()
    else:
        with torch.no_grad():
            outputs = model.network.cpu().eval()(torch.from_numpy(read.inputs)).numpy()
    performance = task.performance(outputs, read.targets)
    loss = float(task.losses(torch.from_numpy(outputs), torch.from_numpy(read.targets)).mean())
    figures = {task.metric.name: task.metric.value(performance), "loss": loss, f"{task.metric.sample}s": len(read)}
    return ArrayEvaluation(figures | {"split": split, "data": spec})
