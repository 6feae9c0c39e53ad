"""What a task is: the cells it searches, its data, its metric, and how its networks are trained, read and exported.

Nothing here imports torch, and whatever a task needs of it it imports where it needs it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from autoshrink.cell import Cell
from autoshrink.errors import DataError, InputError
from autoshrink.registry import BY_PLUGIN, TASKS

if TYPE_CHECKING:
    import torch
    from rich.console import RenderableType

    from autoshrink.architecture import Architecture
    from autoshrink.budget import Budget
    from autoshrink.bundle import TrainedModel
    from autoshrink.config import Overrides, SearchSettings
    from autoshrink.crafting import Measure, Scaling, Source
    from autoshrink.design import Design
    from autoshrink.drawing import Part
    from autoshrink.metrics import Metric
    from autoshrink.record import RunRecord
    from autoshrink.spaces import Space
    from autoshrink.training.problem import Problem
    from autoshrink.watching import Observer

Command = tuple[str, str]
"""A command, and what it is good for."""
Shape = tuple[int | None, int | None, tuple[int, int] | None, int | None]
"""Of a part of a network: its cells or blocks, their width, height and width of its output, channels of that."""


WIDEST = 7
"""Doublings of a width, of which the last one is tried, at most."""


@dataclass(frozen=True)
class Option:
    """An option of a command, and the setting whose value it is.

    Attributes:
        flag: ``--lr``; of a switch that can be said both ways ``--augment/--no-augment``.
        setting: ``recipe.learning_rate``.
        read: how its text is read: a type, the name of a grammar in `autoshrink.cli.quantities` (``count``), or a
            function that raises `InputError`.
        help: one line.
        number: whether a function reads a number in plain digits, perhaps with a unit.
        scales: of ``craft``: whether only a network that is scaled to a budget reads it.
    """

    flag: str
    setting: str
    read: type | str | Callable[[str], object]
    help: str
    number: bool = False
    scales: bool = False


@dataclass(frozen=True)
class Prepared:
    """A task's data, read and ready.

    Attributes:
        name: of the data set, for the run folder's name.
        event: the body of the run's `data` event.
        problem: what candidates are trained on, made on a device.
        settings: with what the data decide; None where they decide nothing.
    """

    name: str
    event: dict[str, Any]
    problem: Callable[[torch.device], Problem]
    settings: SearchSettings | None = None


@dataclass(frozen=True)
class Unseen:
    """Samples of the training split that no search with some settings reads, to judge by what searches found.

    Attributes:
        words: what they are: ``520 images …``.
        problem: `Prepared.problem` with them in the place of the validation samples.
    """

    words: str
    problem: Callable[[torch.device], Problem]


class Drawn(NamedTuple):
    """What pictures show of a design: the arguments of `autoshrink.drawing.cells_svg` and `cells_text`.

    Attributes:
        cells: by where they stand; with no words where there is one for all; none at all where a design has none.
        outputs: the nodes that make the output, where that is not for the cell to say.
        aggregate: how nodes join what they read, where a network says it.
    """

    cells: Mapping[str, Cell]
    outputs: tuple[int, ...] | None = None
    aggregate: str | None = None


class Task(ABC):
    """One of the tasks that `SearchSettings.task` names; `autoshrink.registry.TASKS` has them.

    What is not abstract has a default, or is refused by name: ``task toy has no int8``.

    Attributes:
        name: as in ``--task``.
        about: what is learned, in a few words, for ``--task``'s help: ``classify``.
        model: what a training makes, in words: ``image classifier``.
        cell_kind: of the cells that are searched.
        architecture_kinds: of the networks that are trained for it.
        trained: the class of its trained models.
        metric: what a performance is called and how it is shown.
        settings: of a search.
        built_in: the data that are searched when none are named; None where there are none.
        quick: settings with which a search on these is a matter of minutes.
        paper: what ``--mode paper`` does otherwise.
        sound: what any other search does otherwise than the defaults.
        at_budget: what a search of whole networks at a budget does otherwise, besides.
        search_options: the options of ``search`` that this task's settings have beyond those of every task.
        searches_networks: whether it has a space of whole networks at a budget (`space`, `space_after`).
        compared: what a comparison of searches on these does otherwise, so that it has samples that none of them sees.
        sizes: the options that make the smallest network smaller.
        shorter: options that make a search a matter of minutes.
        data: what it learns from, in a word: ``images``.
        on_own_data: the options of ``search`` for data of one's own.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    model: ClassVar[str]
    cell_kind: ClassVar[str]
    architecture_kinds: ClassVar[tuple[str, ...]]
    trained: ClassVar[type[TrainedModel]]
    metric: ClassVar[Metric]
    settings: ClassVar[type[SearchSettings]]
    built_in: ClassVar[str | None] = None
    quick: ClassVar[Overrides] = {}
    paper: ClassVar[Overrides] = {}
    at_budget: ClassVar[Overrides] = {}
    sound: ClassVar[Overrides] = {"evaluator": "inherited", "finalists": 3}
    """Neither the paper's search nor one on built-in data, which are small enough to train every candidate.

    At equal training MACs it finds as good cells and the better front (docs/evaluators.md). Fewer finalists, since
    a playoff has come before."""
    search_options: ClassVar[tuple[Option, ...]] = ()
    searches_networks: ClassVar[bool] = False
    compared: ClassVar[Overrides] = {}
    sizes: ClassVar[str] = "the network"
    shorter: ClassVar[str] = "--epochs 3"
    data: ClassVar[str] = "data"
    on_own_data: ClassVar[str] = "--data path/to/data"

    @property
    def a_model(self) -> str:
        """`model` with its article."""
        return f"{'an' if self.model[0] in 'aeiou' else 'a'} {self.model}"

    # --- search ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        """Read the data; the observer is told what a person should know.

        Raises:
            DataError: they cannot be used.
        """

    def unseen(self, settings: SearchSettings, observer: Observer) -> Unseen:
        """Samples of the training split that no search with these settings and this seed reads.

        Raises:
            DataError: none are left.
            InputError: the task has none.
        """
        del settings, observer
        self.refuse("samples that no search saw, by which a comparison judges")

    @abstractmethod
    def proxy(self, cell: Cell, settings: SearchSettings, data: Mapping[str, Any]) -> Architecture:
        """The network around a cell in which a search compares.

        Args:
            cell: of this task's kind.
            settings: of the search.
            data: its `data` event, as `prepare` made it.

        Raises:
            KeyError: the event lacks what is needed, as those of early versions do.
        """

    @abstractmethod
    def default_network(self, cell: Cell, **sizes: int) -> Architecture:
        """The network around a cell of which nothing else is known; `sizes` (``width=``) where somebody names some.

        Raises:
            InputError: a size means nothing here.
        """

    def space(self, settings: SearchSettings, start: Design | None, data: Mapping[str, Any]) -> Space[Any] | None:
        """What a search may propose; None: the cells that moves make of a start.

        Args:
            settings: of the search.
            start: where it begins: drawn or read, or what the log has; None where the space says it.
            data: its `data` event.

        Raises:
            InputError: the space has not the moves that are asked for.
        """
        del settings, start, data
        return None

    def space_after(
        self, settings: SearchSettings, data: Mapping[str, Any], found: Sequence[Design], without: Collection[str]
    ) -> Space[Any]:
        """What a search at a budget may propose that follows one at another budget.

        Args:
            settings: of the search, with its own budget.
            data: its `data` event.
            found: designs of the other budget, to be scaled to this one.
            without: hand-made networks that it does not begin with, by name.

        Raises:
            InputError: there is no space of networks at a budget, or nothing in it that uses this one.
        """
        del settings, data, found, without
        self.refuse("space of networks at a budget")

    def scaled(self, network: Architecture, cost: Callable[[Architecture], int], limit: int) -> Architecture | None:
        """A network of a search as wide as it may be to cost a limit at most, and nothing else changed; None where it
        cannot be.

        Unless a task says otherwise, `sized` sets the ``width`` that `sizes_of` names; without one there is no way.

        Args:
            network: as `proxy` made it.
            cost: of such a network, which rises with its width.
            limit: in units of the cost.
        """
        width = self.sizes_of(network).get("width")
        if width is None:
            return None

        def breaks(width: int) -> bool:
            return cost(self.sized(network, width=width)) > limit

        most = next((width << doubled for doubled in range(WIDEST) if breaks(width << doubled)), None)
        # A cost that does not rise has no width at which it is met.
        widest = 0 if most is None else bisect_left(range(1, most), True, key=breaks)
        return self.sized(network, width=widest) if widest else None

    def hand_made(
        self, data: Mapping[str, Any], cost: Callable[[Architecture], int], limit: int
    ) -> Mapping[str, Architecture]:
        """Networks that people would otherwise take, scaled to cost a limit at most, by what they are called.

        Args:
            data: the `data` event of a search.
            cost: of a network.
            limit: in units of the cost.
        """
        del data, cost, limit
        return {}

    def next_commands(self, record: RunRecord, folder: Path) -> list[Command]:
        """What to do with the best cell of a finished search."""
        del record, folder
        return []

    # --- architectures ---------------------------------------------------------------------------------------------

    def sized(self, architecture: Architecture, **sizes: int) -> Architecture:
        """The same architecture with other sizes.

        Raises:
            InputError: a size means nothing here.
        """
        for name in sizes:
            self.refuse(f"{name} to set")
        return architecture

    cost_options: ClassVar[tuple[Option, ...]] = ()
    """The options of ``cost`` that this task has: the sizes that `sized` sets."""
    craft_options: ClassVar[tuple[Option, ...]] = ()
    """The options of ``craft`` that this task has beyond those of every task."""

    def skeleton(self, begin: Source, said: Mapping[str, Any]) -> Architecture:
        """The network that `craft` scales.

        Args:
            begin: where crafting begins.
            said: what was said about it, without what was not: the arguments of `autoshrink.craft` by name.

        Raises:
            InputError: something that was said means nothing here.
        """
        for name in said:
            self.refuse(f"{name} to craft with")
        return self.default_network(begin.found) if isinstance(begin.found, Cell) else begin.found

    def scaling(
        self, skeleton: Architecture, budget: Budget, said: Mapping[str, Any], measure: Measure | None
    ) -> Scaling:
        """How a skeleton is scaled to a budget; `measure` times a network.

        Raises:
            InputError: there is no way to.
        """
        del skeleton, budget, said, measure
        self.refuse("way to scale a network to a budget; leave the budget out")

    def reading_options(self, settings: SearchSettings, data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """The options by which ``train`` reads the data as a search did, and their values."""
        del settings, data
        return ()

    def part_shapes(self, architecture: Architecture) -> Mapping[str, Shape]:
        """The shapes of a network's parts, by the names before the first point of its layers' names."""
        del architecture
        return {}

    def sizes_of(self, architecture: Architecture) -> dict[str, int]:
        """The sizes that `sized` sets, by name; empty where there are none."""
        del architecture
        return {}

    def described(self, architecture: Architecture) -> tuple[str, list[tuple[str, ...]]]:
        """What the cell's picture does not say, and perhaps a table, whose first row is its head."""
        del architecture
        return "", []

    def drawn(self, design: Design) -> Drawn:
        """The cells that a picture of a design shows: itself, or those of a network."""
        if isinstance(design, Cell):
            return Drawn({"": design})
        # Who imports architectures stands further up.
        network: Any = design
        cells = getattr(network, "cells", {})
        return Drawn(cells, self.output_nodes(network), network.joins) if cells else Drawn({})

    def outline(self, design: Any) -> tuple[Part, ...]:
        """The parts that a picture of a network without cells shows; none where nobody has said."""
        del design
        return ()

    def picture(self, design: Design) -> Cell | None:
        """The one cell that shows a design; None where there is none, or where a network has several."""
        cells = self.drawn(design).cells
        return next(iter(cells.values())) if len(cells) == 1 else None

    def output_nodes(self, architecture: Architecture) -> tuple[int, ...] | None:
        """The nodes that make the cell's output where that is not for the cell to say."""
        del architecture
        return None

    def parts_word(self, architecture: Architecture) -> str:
        """What a stage of a network has several of."""
        del architecture
        return "cells"

    def size_options(self, architecture: Architecture) -> str:
        """What crafting turns, as options have it: ``--stem 44/2 --stages 1x12,3x24``."""
        return architecture.sizes

    # --- final training --------------------------------------------------------------------------------------------

    train_options: ClassVar[tuple[Option, ...]] = ()
    """The options of ``train`` that this task has beyond those of every task; ``width`` and other sizes of the network
    are no settings."""
    unnamed: ClassVar[str | None] = None
    """What ``train`` says where no data are named; None where it takes those that are built in."""

    def training(self) -> Any:
        """How its networks are trained in full: an `autoshrink.final.TaskTraining`.

        Raises:
            InputError: they are not.
        """
        self.refuse("final training")

    def after_training(self, folder: Path, *, tested: bool) -> list[Command]:
        """What to do with a trained model; `tested` where there are test data."""
        del tested
        return [(f"autoshrink evaluate {folder}", f"its {self.metric.name}")]

    # --- what it is worth, and elsewhere ---------------------------------------------------------------------------

    evaluate_options: ClassVar[tuple[Option, ...]] = ()
    """The options of ``evaluate`` beyond those of every task."""

    def evaluate(
        self,
        model: Any,
        *,
        name: str,
        data: str | None,
        split: str,
        said: Mapping[str, Any],
        progress: Callable[[int, int], None] | None,
        understood: Callable[[str], None],
    ) -> Any:
        """Measure a model on a split: a value with ``notes`` (sentences for a person) and ``to_json()``.

        Args:
            model: of this task's class, or what `open_exported` gave.
            name: its file or folder, as it was given.
            data: by name or path; None is what it was trained on.
            split: ``test``, ``validation`` or ``train``.
            said: what the options of `evaluate_options` say, by setting.
            progress: called with (samples tried, samples to try).
            understood: called with a line about what is going to be measured.

        Raises:
            InputError: it cannot be measured, or an option means nothing here.
            DataError: the data cannot be used.
        """
        del model, name, data, split, said, progress, understood
        self.refuse("evaluation")

    def evaluation_shown(self, found: Any) -> Iterable[RenderableType]:
        """What a person reads of what `evaluate` found."""
        return [f"{name}: {value}" for name, value in found.to_json().items() if isinstance(value, int | float | str)]

    def evaluation_page(self, found: Any) -> str:
        """The same as an HTML page."""
        del found
        self.refuse("page about an evaluation")

    predict_options: ClassVar[tuple[Option, ...]] = ()
    """The options of ``predict`` beyond those of every task."""

    input_name: ClassVar[str] = "inputs"
    output_name: ClassVar[str] = "outputs"
    """In exported files of networks that make one tensor of another."""

    def exporter(self) -> Any:
        """How its networks leave PyTorch (`autoshrink.deploy.exporter.Exporter`).

        None: as networks that make one tensor of another, without int8 and plain source.
        """
        return None

    def form(self, architecture: Architecture, network: Any) -> Any:
        """What exporters take of a network (`autoshrink.onnx.export.Form`); None: one tensor, in `example`'s shape."""
        del architecture, network
        return None

    def example(self, architecture: Architecture) -> tuple[int, ...]:
        """The shape of one sample, for a network that takes one tensor: its architecture's ``input``.

        Raises:
            InputError: it has none.
        """
        shape = getattr(architecture, "input", None)
        if shape is None:
            self.refuse(f"exported form of {architecture.kind} networks: they name no input")
        return tuple(shape)

    def samples(self, model: Any, *, data: str | None, count: int, seed: int) -> Any:
        """Training samples as a network reads them, float32 (n, …), n at most `count`, to compare exported files on.

        Raises:
            DataError: there are none; the message says how to do without.
        """
        del model, data, count, seed
        raise DataError(f"task {self.name} has no samples of its training data")

    def open_exported(self, session: Any, card: Any) -> Any:
        """The model in an ONNX file that was exported for this task, ready to predict; None: the general one."""
        del session, card
        return None

    def refuse(self, what: str) -> NoReturn:
        """Say that this task does not do something.

        Raises:
            InputError: always.
        """
        raise InputError(f"task {self.name} has no {what}")


def task_of(thing: Cell | Architecture | str) -> Task:
    """The task of an architecture, a cell, or the kind of one.

    Raises:
        InputError: no task has it.
    """
    kind = thing if isinstance(thing, str) else thing.kind
    for name in TASKS:
        task = TASKS[name]
        if kind == task.cell_kind or kind in task.architecture_kinds:
            return task
    raise InputError(f"no task has {kind} networks; install one, {BY_PLUGIN}")
