"""Crafting: a cell stacked into stages, or a hand-made network, scaled to budgets before anything is trained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from autoshrink.architecture import Architecture, Stage, Stem, network_of
from autoshrink.budget import NEAR, Budget, Larger, Use, binding, shown
from autoshrink.bundle import MODEL_FILE
from autoshrink.cell import Cell
from autoshrink.cost import Cost, count
from autoshrink.design import Design
from autoshrink.errors import InputError, RunError
from autoshrink.files import named
from autoshrink.findings import best_file, headline, noun
from autoshrink.loading import load
from autoshrink.ops import ActivationName
from autoshrink.record import RunRecord
from autoshrink.registry import TASKS
from autoshrink.resources import registered_amounts
from autoshrink.store import read_record
from autoshrink.tasks import task_of

Measure = Callable[[Any], float]
"""Seconds of one forward pass of an architecture."""
NETWORKS = 8
"""Networks whose latency is measured at most, the smallest one left out."""


class Scaling(Protocol):
    """How a task scales a network to budgets."""

    def fit(self) -> tuple[Architecture, tuple[Use, ...]]:
        """The largest network found that keeps all budgets, and what it uses of those that are measured.

        Raises:
            InputError: even the smallest one breaks a budget; the message has its figure.
        """
        ...

    def larger(self, architecture: Any) -> Larger | None:
        """The cheapest single step up from a network that breaks a budget; None where none does."""
        ...


Target = Cell | Architecture | str | os.PathLike[str]


@dataclass(frozen=True)
class Source:
    """Where the crafting begins.

    Attributes:
        found: a cell alone, or a cell in a network.
        proxy: whether the network is only the one that a search compared cells in, made for its size of image.
        data: what the cell was found on, as `--data` takes it; None where nothing says so.
        reading: options and their values by which `train` reads these data as the search did.
    """

    found: Cell | Architecture
    proxy: bool = False
    data: str | None = None
    reading: tuple[tuple[str, str], ...] = ()


def source_of(target: Target, *, pick: int | None = None) -> Source:
    """What is in a file, a run's folder or the zoo; a value is taken as it is.

    Args:
        target: the value, path or name.
        pick: of a run, the cell at this place of the Pareto front, from 1, in place of the best.

    Raises:
        InputError: it cannot be read, is none of these, or has no such place; the message names it.
        RunError: the folder holds no run that can be read.
    """
    if not isinstance(target, Cell | Architecture) and _may_be_run(named(target)):
        return _of_run(Path(target), pick)
    if pick is not None:
        raise InputError(f"pick {pick}: only a run's folder has a Pareto front to pick from")
    return Source(target if isinstance(target, Cell | Architecture) else load(target))


def _may_be_run(path: Path) -> bool:
    return path.is_dir() and not (path / MODEL_FILE).exists()


def _of_run(folder: Path, pick: int | None) -> Source:
    record = read_record(folder)
    design, settings = _design(record, folder, pick), record.settings
    task = TASKS[settings.task]
    try:
        found = network_of(design, lambda cell: task.proxy(cell, settings, record.data))
    except KeyError as error:
        raise RunError(
            f"{folder}: its log says nothing of its data's {error.args[0]}; go on with `autoshrink resume {folder}`, "
            f"or craft from {folder / best_file(design)}"
        ) from error
    return Source(
        found, proxy=found is not design, data=settings.data.spec, reading=task.reading_options(settings, record.data)
    )


def _design(record: RunRecord, folder: Path, pick: int | None) -> Design:
    if pick is None:
        best = record.best()
        if best is None:
            why = headline(record) if record.finished else "nothing usable was measured yet"
            raise RunError(f"{folder}: {why}, so it has no best {noun(record)}")
        return best.design
    front = record.front()
    if not 1 <= pick <= len(front):
        has = f"its Pareto front has places 1 to {len(front)}" if front else "it has no Pareto front yet"
        raise InputError(f"{folder}: there is no cell {pick} to pick; {has} (autoshrink show lists it)")
    return front[pick - 1].design


@dataclass(frozen=True)
class Part:
    """A stage, or what stands before or after the stages; None for what a part does not have.

    Attributes:
        name: ``stem``, ``stage1``, …, ``head``, ``classifier``; of a language model ``embedding``, ``cell`` and
            ``decoder``.
        cells: how many, or how many blocks.
        width: channels of every node, or of every block's output.
        size: height and width of the output, pixels.
        channels: of the output.
        params: without BN's.
        macs: of one image, or one token.
        share: of the network's MACs.
    """

    name: str
    cells: int | None
    width: int | None
    size: tuple[int, int] | None
    channels: int | None
    params: int
    macs: int
    share: float


@dataclass(frozen=True)
class Crafted:
    """An architecture within its budgets.

    Attributes:
        architecture: the result.
        cost: what it costs.
        uses: what it uses of every budget; empty where there was none.
        larger: the next step up, where the binding budget is used to less than 97 %; None else.
        skeleton: what was scaled.
        data: what the cell was found on, as `--data` takes it; None where nothing says so.
        reading: options and their values by which `train` reads these data as the search did.
    """

    architecture: Architecture
    cost: Cost
    uses: tuple[Use, ...]
    larger: Larger | None
    skeleton: Architecture
    data: str | None = None
    reading: tuple[tuple[str, str], ...] = ()

    @property
    def binding(self) -> Use | None:
        """The budget that is used most; None where there was none."""
        return binding(self.uses)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The network from input to output; their parameters and MACs add up to the whole's."""
        params, macs = Counter[str](), Counter[str]()
        for layer in self.cost.layers:
            name = layer.name.partition(".")[0]
            params[name] += layer.params
            macs[name] += layer.macs
        shapes = task_of(self.architecture).part_shapes(self.architecture)
        total = max(self.cost.macs, 1)
        return tuple(
            Part(name, *shapes.get(name, (None,) * 4), params[name], macs[name], macs[name] / total) for name in params
        )

    @property
    def remark(self) -> str | None:
        """Why the binding budget is used to less than 97 %, in words; None where it is not, or there was none."""
        use = self.binding
        if use is None or use.share >= NEAR:
            return None
        below = f"{100 * (1 - use.share):.1f} % below the budget"
        if use.name == "latency":
            return f"{below}: no larger network among at most {NETWORKS} measured keeps the latency"
        if self.larger is None:
            return f"{below}: no single width uses more of it"
        step = self.larger
        return f"{below}: the next step up, {step.change}, has {shown(step.use.used, step.use.name)}"

    def to_json(self, *, file: Path | None = None) -> dict[str, Any]:
        """The object that ``craft --json`` prints; `file` is where the architecture was written."""
        return {
            "architecture": self.architecture.to_json(),
            "file": file and str(file),
            "params": self.cost.params,
            "params_with_bn": self.cost.params_with_bn,
            "macs": self.cost.macs,
            "peak_activation_bytes": self.cost.peak_activation_bytes,
            **{one.key: one.json(amount) for one, amount in registered_amounts(self.architecture, self.cost)},
            "budgets": {use.name: {"limit": use.limit, "used": use.used, "share": use.share} for use in self.uses},
            "stages": [asdict(part) for part in self.parts],
            "remark": self.remark,
        }


def craft(  # noqa: PLR0913 - the parts of four values, as a person says them
    source: Target,
    *,
    macs: int | None = None,
    params: int | None = None,
    memory: int | None = None,
    latency: float | None = None,
    measure: Measure | None = None,
    pick: int | None = None,
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    stages: Sequence[Stage] | None = None,
    stem: Stem | None = None,
    head: int | Literal["none"] | None = None,
    activation: ActivationName | None = None,
    vocabulary: int | None = None,
    depth: Literal["auto", "fixed"] | None = None,
    divisor: int | None = None,
) -> Crafted:
    """Stack a cell into a network and scale it to budgets: never above one, close below the one that binds.

    A network of inverted residual blocks (MobileNetV2 and its kin) is scaled alike, blocks in place of cells, so that a
    found cell can be put beside a hand-made network of the same cost.

    Without a budget the network is the skeleton as it is: the architecture's own, the one a run compared cells in, or
    one made for the input's size (`default_skeleton`). With budgets, widths and depths are scaled until a budget is
    used to 97 % and more, or no width can be a step wider; `Crafted.remark` says which. Nothing is trained, and
    nothing built unless a latency is asked for.

    Args:
        source: a cell or architecture, its file, a name in the zoo, or the folder of a search (its best cell).
        macs: multiply-adds of one image, or one token.
        params: parameters, BN's not counted.
        memory: peak activation memory in bytes (float32, batch 1).
        latency: seconds of one forward pass, as `measure` has it; image networks only.
        measure: an architecture's seconds; called a few times, needed with `latency`.
        pick: of a run, the cell at this place of its Pareto front, from 1.
        shape: the input's (channels, height, width).
        classes: to tell apart.
        stages: cells, width and pooling of every stage.
        stem: channels and stride of the first convolution.
        head: channels of the 1×1 convolution before the global pooling, or ``"none"``.
        activation: the activation's name.
        vocabulary: of a language model.
        depth: ``"auto"`` scales the number of cells too, ``"fixed"`` keeps it; None is fixed where `stages` are given.
        divisor: widths are multiples of it, 4 where nothing is said; not so without a budget.

    Raises:
        InputError: the source or a number cannot be used, or even the smallest network breaks a budget.
        RunError: the folder holds no run, or no cell yet.
    """
    said = {
        "shape": shape,
        "classes": classes,
        "stages": stages,
        "stem": stem,
        "head": head,
        "activation": activation,
        "vocabulary": vocabulary,
        "depth": depth,
        "divisor": divisor,
    }
    budget = Budget(macs, params, memory, latency)
    return crafted(source, budget, {name: value for name, value in said.items() if value is not None}, pick, measure)


def crafted(
    source: Target, budget: Budget, said: Mapping[str, Any], pick: int | None = None, measure: Measure | None = None
) -> Crafted:
    """As `craft`, with what is said of the network by name, without what is not said."""
    begin = source_of(source, pick=pick)
    task = task_of(begin.found)
    skeleton = architecture = task.skeleton(begin, said)
    uses: tuple[Use, ...] = ()
    if budget == Budget():
        return Crafted(skeleton, count(skeleton), uses, None, skeleton, begin.data, begin.reading)
    scaling = task.scaling(skeleton, budget, said, measure)
    architecture, uses = scaling.fit()
    cost = count(architecture)
    uses = (*budget.uses(cost), *uses)
    used = binding(uses)
    short = used is not None and used.share < NEAR and used.name != "latency"
    larger = scaling.larger(architecture) if short else None
    return Crafted(architecture, cost, uses, larger, skeleton, begin.data, begin.reading)
