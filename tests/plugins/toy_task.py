"""A task that this package does not know: a number for each row of numbers, from an .npz file, by dense cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autoshrink.architecture import Architecture
from autoshrink.architecture.base import CellField, Size
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings
from autoshrink.errors import DataError
from autoshrink.metrics import Metric
from autoshrink.ops import Operation, register
from autoshrink.registry import TASKS
from autoshrink.steps import Layer, Step
from autoshrink.tasks import Option
from autoshrink.tasks.arrays import Arrays, ArraySettings, ArrayTask, Floats, shape_of

if TYPE_CHECKING:
    from torch import Tensor, nn


class DenseOperation(Operation):
    """A matrix and a function of `torch`."""

    kind = "dense"

    def provides(self, part: str) -> bool:
        return False


for name in ("tanh", "relu"):
    register(DenseOperation(name))


class DenseArchitecture(Architecture):
    """A matrix in, a cell whose every node multiplies what it reads by a matrix, a matrix out."""

    kind: Literal["dense"] = "dense"
    cell: CellField
    inputs: Size
    width: Size

    @property
    def sizes(self) -> str:
        return f"{self.inputs} numbers, width {self.width}"

    def steps(self) -> Iterable[Step]:
        yield self._matrix("stem", ("input",), self.inputs, self.width)
        for node in self.cell.reachable[1:]:
            reads = tuple(f"cell.{i}" if i else "stem" for i in self.cell.predecessors[node])
            yield self._matrix(f"cell.{node}", reads, self.width * len(reads), self.width)
        last = tuple(f"cell.{i}" if i else "stem" for i in self.cell.leaves)
        yield self._matrix("head", last, self.width * len(last), 1)

    def _matrix(self, name: str, reads: tuple[str, ...], inputs: int, outputs: int) -> Step:
        weights = inputs * outputs
        return Step(reads, name, outputs, Layer(name, "linear", inputs, outputs, (1, 1), weights + outputs, 0, weights))

    def network(self) -> nn.Module:
        import torch  # noqa: PLC0415 - torch takes seconds to import
        from torch import nn  # noqa: PLC0415

        cell, layers = self.cell, {step.writes: step.layer for step in self.steps()}

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.ModuleDict(
                    {
                        name.replace(".", "_"): nn.Linear(of.in_channels, of.out_channels)
                        for name, of in layers.items()
                        if of
                    }
                )

            def forward(self, inputs: Tensor) -> Tensor:
                nodes = {0: self.layers["stem"](inputs)}
                for node in cell.reachable[1:]:
                    read = torch.cat([nodes[i] for i in cell.predecessors[node]], dim=1)
                    nodes[node] = getattr(torch, cell.ops[node])(self.layers[f"cell_{node}"](read))
                made: Tensor = self.layers["head"](torch.cat([nodes[i] for i in cell.leaves], dim=1))
                return made.squeeze(1)

        return Network()


class ToySettings(ArraySettings):
    task: Literal["toy"] = "toy"
    width: Size = 8


class ToyTask(ArrayTask):
    name, about, model = "toy", "predict a number", "regression network"
    cell_kind, architecture_kinds = "dense", ("dense",)
    metric = Metric("R²", sample="row", validation="validation rows", piece="row", resources=("macs", "params"))
    settings = ToySettings
    search_options = (Option("--hidden", "width", int, "Toy: numbers that every node gives."),)

    def read(self, spec: str, split: str) -> Arrays:
        try:
            with np.load(spec) as file:
                return Arrays(file[f"{split}_x"].astype(np.float32), file[f"{split}_y"].astype(np.float32))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{spec}: no .npz file with {split}_x and {split}_y ({error})") from error

    def proxy(self, cell: Cell, settings: SearchSettings, data: Mapping[str, Any]) -> DenseArchitecture:
        assert isinstance(settings, ToySettings)
        return DenseArchitecture(cell=cell, inputs=shape_of(data)[0], width=settings.width)

    def default_network(self, cell: Cell, **sizes: int) -> DenseArchitecture:
        return DenseArchitecture(cell=cell, inputs=sizes.get("inputs", 8), width=sizes.get("width", 8))

    def sizes_of(self, architecture: Architecture) -> dict[str, int]:
        assert isinstance(architecture, DenseArchitecture)
        return {"width": architecture.width}

    def sized(self, architecture: Architecture, **sizes: int) -> Architecture:
        return architecture.from_json(architecture.to_json() | sizes)

    def example(self, architecture: Architecture) -> tuple[int, ...]:
        assert isinstance(architecture, DenseArchitecture)
        return (architecture.inputs,)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets) ** 2

    def performance(self, outputs: Floats, targets: Floats) -> float:
        return float(1 - np.square(outputs - targets).mean() / targets.var())

    def guess(self, targets: Floats) -> Floats:
        return np.full_like(targets, targets.mean())


TASKS.register("toy", ToyTask())
