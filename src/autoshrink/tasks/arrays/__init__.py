"""Tasks whose samples are rows of arrays: what is theirs alone is how arrays are read, what a network is, and a loss.

Search, final training, evaluation, export and prediction come from here. docs/tasks.md has an example.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt

from autoshrink.architecture import Architecture
from autoshrink.bundle import TrainedModel
from autoshrink.config import DataSettings, Overrides, SearchSettings
from autoshrink.config.base import Recipe
from autoshrink.escaping import word
from autoshrink.record import RunRecord
from autoshrink.tasks.base import Command, Prepared, Task
from autoshrink.watching import Observer

if TYPE_CHECKING:
    from torch import Tensor

    from autoshrink.tasks.arrays.training import ArrayEvaluation, ArrayTraining

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Arrays:
    """A split: inputs (n, …) and what a network should make of them, targets (n, …)."""

    inputs: Floats
    targets: Floats

    def __len__(self) -> int:
        return len(self.inputs)


class ArrayRecipe(Recipe):
    """How a network is trained: by Adam, with a learning rate that falls to zero in a final training."""

    epochs: PositiveInt = 20
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 3e-3


class ArrayData(DataSettings):
    """Which data; a task that has more settings for them has a class of its own."""

    spec: str = "data"


class ArraySettings(SearchSettings):
    """Settings of a search; a task has its own class, whose `task` is its name."""

    data: ArrayData = ArrayData()
    recipe: ArrayRecipe = ArrayRecipe()
    nodes: Annotated[int, Field(ge=2, le=64)] = 5
    candidates: PositiveInt | Literal["all"] = "all"
    resource: str = "macs"


@dataclass(frozen=True)
class ArrayInterface:
    """What a trained network reads: rows of this shape."""

    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Under ``shape``."""
        return {"shape": list(self.shape)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], architecture: Architecture) -> Self:
        """What `to_json` gave."""
        del architecture
        return cls(tuple(map(int, values["shape"])))


@dataclass(frozen=True)
class TrainedOnArrays(TrainedModel):
    """A network that turns rows (n, …) into outputs (n, …)."""

    interface_type = ArrayInterface
    interface: ArrayInterface


class ArrayTask(Task):
    """A task on rows of arrays.

    A subclass names itself, its kinds, its metric and its settings, and says how its data are read, what the network
    around a cell is, and what is learned.
    """

    trained = TrainedOnArrays
    sound: ClassVar[Overrides] = {}
    """Small networks on arrays train from scratch in no time."""

    @abstractmethod
    def read(self, spec: str, split: str) -> Arrays:
        """The ``train``, ``validation`` or ``test`` split of data.

        Raises:
            DataError: they cannot be used, or have no such split.
        """

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is made small: a loss a sample, (n,), of a network's outputs (n, …)."""

    @abstractmethod
    def performance(self, outputs: Floats, targets: Floats) -> float:
        """How good outputs (n, …) are, higher is better; `metric` writes it."""

    @abstractmethod
    def guess(self, targets: Floats) -> Floats:
        """The best outputs (n, …) of a network that looks at no input: what a trained one has to be better than."""

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        from autoshrink.tasks.arrays.problem import prepare  # noqa: PLC0415 - torch takes seconds to import

        return prepare(self, settings, observer)

    def next_commands(self, record: RunRecord, folder: Path) -> list[Command]:
        run, architecture, trained = (word(folder / name) for name in ("", "best.arch.json", "trained"))
        spec = word(record.settings.data.spec)
        return [
            (f"autoshrink craft {run} -o {architecture}", "the network around it, as a file"),
            (f"autoshrink train {architecture} --data {spec} -o {trained}", "train that in full"),
        ]

    def training(self) -> ArrayTraining:
        from autoshrink.tasks.arrays.training import ArrayTraining  # noqa: PLC0415 - torch takes seconds to import

        return ArrayTraining(self)

    def evaluate(self, model: Any, *, data: str | None, split: str, **_: Any) -> ArrayEvaluation:
        from autoshrink.tasks.arrays.training import evaluate  # noqa: PLC0415 - torch takes seconds to import

        return evaluate(self, model, data=data, split=split)

    def after_training(self, folder: Path, *, tested: bool) -> list[Command]:
        name = word(folder)
        kept = (f"autoshrink evaluate {name} --split validation", f"its {self.metric.name} on the validation data")
        return [
            (f"autoshrink evaluate {name}", f"its {self.metric.name} on the test split") if tested else kept,
            (f"autoshrink export {name} -o model.onnx", "a file for other programs"),
        ]

    def samples(self, model: TrainedOnArrays, *, data: str | None, count: int, seed: int) -> Floats:
        rows = self.read(data or model.facts.data.spec, "train").inputs
        chosen: Floats = rows[np.random.Generator(np.random.PCG64(seed)).permutation(len(rows))[:count]]
        return chosen


def event_of(task: ArrayTask, spec: str, train: Arrays, validation: Arrays, fingerprint: str) -> dict[str, Any]:
    """The body of a run's `data` event."""
    guessed = task.performance(task.guess(validation.targets), validation.targets)
    return {
        "name": Path(spec).stem,
        "train": len(train),
        "validation": len(validation),
        "chance": {"performance": guessed, "error": 0.0},
        "shape": list(train.inputs.shape[1:]),
        "outputs": list(train.targets.shape[1:]),
        "fingerprint": fingerprint,
        "notes": [],
    }


def shape_of(data: Mapping[str, Any]) -> tuple[int, ...]:
    """Of an input, from a run's `data` event."""
    return tuple(data["shape"])
