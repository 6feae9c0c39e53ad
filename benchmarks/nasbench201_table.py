"""NAS-Bench-201 (Dong and Yang, ICLR 2020) as a space of this package: its cells, their moves, and a table that says
what each is worth. A plug-in: ``autoshrink show RUN --plugin benchmarks/nasbench201_table.py`` reads what
``nasbench201.py --run RUN`` wrote.

A cell has four nodes and an operation on each of its six edges. The network around it has three stages of five cells,
16, 32 and 64 channels wide, for images of 32×32.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal, NoReturn

from pydantic import PositiveInt

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.change import Change, Changed
from autoshrink.config import DataSettings, SearchSettings
from autoshrink.config.base import Recipe, ResourceName
from autoshrink.design import DESIGNS, Design
from autoshrink.errors import InputError
from autoshrink.evaluation import Job
from autoshrink.metrics import ACCURACY
from autoshrink.registry import TASKS
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.spaces import Decision, Space
from autoshrink.tasks.base import Prepared, Task
from autoshrink.untrusted import brief
from autoshrink.watching import Observer

FORMAT = "nasbench201.cell/1"
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPS = ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none")
"""From the dearest to the cheapest."""
CONV3X3, CONV1X1, _, IDENTITY, NOTHING = OPS

MOVES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "edges": dict.fromkeys(OPS[:-1], (NOTHING,)),
    "identity": dict.fromkeys(OPS[:3], (IDENTITY, NOTHING)),
    "ops": {op: OPS[place + 1 :] for place, op in enumerate(OPS)},
    "both": {op: tuple(other for other in OPS if other != op) for op in OPS},
}
"""What an edge's operation may become: ``edges``, nothing (an edge removed); ``identity``, identity or nothing, once an
edge; ``ops``, any cheaper one; ``both``, any other one, dearer ones too."""

_WEIGHTS = {CONV3X3: 9, CONV1X1: 1}
_STAGES = ((16, 32), (32, 16), (64, 8))
"""Channels, and height and width."""
_CELLS = 5


@dataclass(frozen=True)
class TableCell:
    """A cell: the operation of each of `EDGES`."""

    ops: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.ops) != len(EDGES) or not set(self.ops) <= set(OPS):
            raise InputError(f"ops: {brief(self.ops)} are not {len(EDGES)} of {', '.join(OPS)}")

    @property
    def kind(self) -> str:
        """``nasbench201``."""
        return "nasbench201"

    @property
    def key(self) -> str:
        """A spelling that isomorphic cells share: what arrives at the last node, as a sum of what it comes from."""
        return _key(self.ops)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Those that carry something."""
        return tuple(edge for edge, op in zip(EDGES, self.ops, strict=True) if op != NOTHING)

    def __str__(self) -> str:
        """The table's own spelling: ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|…|``."""
        nodes: dict[int, str] = {}
        for (source, node), op in zip(EDGES, self.ops, strict=True):
            nodes[node] = f"{nodes.get(node, '|')}{op}~{source}|"
        return "+".join(nodes.values())

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return {"format": FORMAT, "arch": str(self)}

    @classmethod
    def from_json(cls, value: object) -> TableCell:
        """The cell that `to_json` wrote."""
        return cls.read(value.get("arch") if isinstance(value, dict) else value)

    @classmethod
    def read(cls, text: object) -> TableCell:
        """The cell of a table's spelling.

        Raises:
            InputError: it is none.
        """
        parts = str(text).replace("+", "").strip("|").split("|")
        sources = [f"~{source}" for source, _ in EDGES]
        flat = [part for part in parts if part]
        if [part[-2:] for part in flat] != sources:
            raise InputError(f"arch: {brief(text)} is no cell; one reads |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
        return cls(tuple(part[:-2] for part in flat))

    def changed(self, place: int, op: str) -> TableCell:
        """The cell with another operation on one edge."""
        return TableCell((*self.ops[:place], op, *self.ops[place + 1 :]))

    def resources(self, cost: float | None = None) -> Resources:
        """MACs and parameters of the network's convolutions and its classifier for ten classes, and perhaps a cost of
        the table's, in millionths of its unit (of milliseconds: nanoseconds)."""
        per_pixel = [sum(_WEIGHTS.get(op, 0) for op in self.ops) * _CELLS * width**2 for width, _ in _STAGES]
        params, macs = 3 * 9 * 16 + 64 * 10, 3 * 9 * 16 * 32**2 + 64 * 10
        for weights, (_, side) in zip(per_pixel, _STAGES, strict=True):
            params, macs = params + weights, macs + weights * side**2
        for (narrow, _), (wide, side) in itertools.pairwise(_STAGES):
            weights = 9 * wide * (narrow + wide) + narrow * wide
            params, macs = params + weights, macs + weights * side**2
        return Resources(macs, params, 0, **({} if cost is None else {"latency": round(1e6 * cost)}))


@cache
def _key(ops: tuple[str, ...]) -> str:
    """As the table's column ``unique`` has it: a node is the sorted sum of what its edges bring."""
    sums: dict[int, list[str]] = {}
    nodes = {0: "0"}
    for (source, node), op in zip(EDGES, ops, strict=True):
        brought = nodes[source] if op == IDENTITY else f"({nodes[source]})@{op}"
        sums.setdefault(node, []).append("#" if op == NOTHING or nodes[source] == "#" else brought)
        nodes[node] = "+".join(sorted(sums[node]))
    return nodes[3]


@dataclass(frozen=True)
class TableSpace(Space[TableCell]):
    """All cells, and one of the sets of `MOVES`."""

    start: TableCell = TableCell((CONV3X3,) * len(EDGES))
    allowed: str = "ops"

    def moves(self, design: TableCell) -> tuple[tuple[Change, TableCell], ...]:
        """Edge by edge, and for each from the dearest operation to the cheapest."""
        return _moves(design, self.allowed)

    def random(self, rng: Random) -> TableCell:
        """Every edge's operation drawn by itself."""
        return TableCell(tuple(rng.choice(OPS) for _ in EDGES))

    def mutated(self, design: TableCell, rng: Random) -> TableCell:
        """Another operation on one edge."""
        return rng.choice(_moves(design, "both"))[1]

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The operation of every edge, ``0-3``, whatever moves there are."""
        return tuple(Decision(f"{source}-{node}", OPS) for source, node in EDGES)

    def choices(self, design: TableCell) -> tuple[int, ...]:
        """The place of every edge's operation in `OPS`."""
        return tuple(map(OPS.index, design.ops))

    def chosen(self, choices: Sequence[int]) -> TableCell:
        """Any choices are a cell of the table."""
        return TableCell(tuple(self.options(choices).values()))

    def outlook(self, design: TableCell) -> tuple[int, ...]:
        """Of moves in both directions there is no end before all cells are known."""
        count = len(self.moves(design))
        return (count,) * len(OPS) ** len(EDGES) if self.allowed == "both" else tuple(range(count, 0, -1))


@cache
def _moves(cell: TableCell, allowed: str) -> tuple[tuple[Change, TableCell], ...]:
    return tuple(
        (Changed("op", f"{source}→{node}", op, other), cell.changed(place, other))
        for place, ((source, node), op) in enumerate(zip(EDGES, cell.ops, strict=True))
        for other in MOVES[allowed].get(op, ())
    )


class Table:
    """What cells are worth, from a CSV file that may be compressed: a row a cell, its spelling in the column ``arch``.

    Args:
        file: the table.
        columns: those that are read, accuracies in percent or a cost. No finite number is no value.

    Raises:
        InputError: there is no such file or column, or a row is no cell, or its value no number.
    """

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self.values: dict[str, dict[Design, float]] = {column: {} for column in columns}
        try:
            with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
                rows = csv.DictReader(lines)
                missing = [column for column in ("arch", *columns) if column not in (rows.fieldnames or ())]
                if missing:
                    raise InputError(
                        f"{file}: there is no column {missing[0]!r}; it has {', '.join(rows.fieldnames or ('none',))}"
                    )
                for number, row in enumerate(rows, start=2):
                    self._read(f"{file}, line {number}", row)
        except (OSError, UnicodeError, csv.Error) as error:
            raise InputError(f"{file}: no table can be read from it ({error})") from error

    def _read(self, place: str, row: Mapping[str, str]) -> None:
        try:
            cell = TableCell.read(row["arch"])
            for column, values in self.values.items():
                value = float((row[column] or "").strip() or "nan")
                if math.isfinite(value):
                    values[cell] = value
        except (ValueError, InputError) as error:
            raise InputError(f"{place}: {error}") from error

    def gaps(self, column: str) -> int:
        """How many cells of the space have no value."""
        cells: int = len(OPS) ** len(EDGES)
        return cells - len(self.values[column])


class TableEvaluator:
    """Evaluations read from a table. A cell without a validation accuracy, or without a cost where one is asked for, is
    a failed candidate.

    Args:
        table: that has the columns.
        validation: the accuracies by which a search chooses, in percent.
        cost: what the score weighs; None: MACs.
    """

    joint, grace = False, 0.0

    def __init__(self, table: Table, validation: str, cost: str | None = None) -> None:
        self._column, self._values = validation, table.values[validation]
        self._costs = None if cost is None else table.values[cost]

    def resources(self, design: Design) -> Resources:
        """MACs and parameters; the table's cost where there is one."""
        return table_cell(design).resources(None if self._costs is None else self._costs.get(design, 0.0))

    def measured(self, design: Design, seed: int = 0) -> Evaluation:
        """What the table says of a cell."""
        cell = table_cell(design)
        found = self._values.get(cell)
        reason = None if found is not None else f"the table has no {self._column} of it"
        if self._costs is not None and self._costs.get(cell, 0.0) <= 0:
            found, reason = None, "the table has no cost of it"
        performance = None if found is None else found / 100
        return Evaluation(cell, self.resources(cell), seed, f"column {self._column}", performance, reason)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """At once."""
        del deadline
        for position, job in enumerate(jobs):
            yield position, self.measured(job.design, job.seed)


def table_cell(design: Design) -> TableCell:
    """The design itself, which has to be a cell of this table."""
    if not isinstance(design, TableCell):
        raise InputError(f"a {design.kind} design is no cell of NAS-Bench-201")
    return design


class TableRecipe(Recipe):
    """Nothing is trained here."""

    epochs: PositiveInt = 1
    batch: PositiveInt = 1


class TableSettings(SearchSettings):
    """Of a search in a table: the moves of one of `MOVES`, and no finals, since a table has one seed."""

    task: Literal["nasbench201"] = "nasbench201"
    data: DataSettings
    recipe: TableRecipe = TableRecipe()
    nodes: Literal[4] = 4
    moves: tuple[str, ...] = ("ops",)
    candidates: PositiveInt | Literal["all"] = "all"
    penalty: float = 0.0
    resource: ResourceName = "macs"
    repeats: Literal[0] = 0


class TableTask(Task):
    """What a log of a search in a table needs to be shown; whatever trains a network is refused."""

    name, about, model = "nasbench201", "look accuracies up", "image classifier"
    cell_kind, architecture_kinds = "nasbench201", ()
    metric = ACCURACY
    settings = TableSettings

    def space(self, settings: SearchSettings, start: Design | None, data: Mapping[str, Any]) -> TableSpace:
        """The table's cells with the settings' moves."""
        del data
        allowed, *others = settings.moves or ("ops",)
        if allowed not in MOVES or others:
            raise InputError(f"moves: {brief(settings.moves)} are not one of {', '.join(MOVES)}")
        return TableSpace(allowed=allowed) if start is None else TableSpace(table_cell(start), allowed)

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        """Refused: `nasbench201.py` reads the table."""
        del settings, observer
        self._refuse()

    def proxy(self, cell: Cell, settings: SearchSettings, data: Mapping[str, Any]) -> Architecture:
        """Refused."""
        del cell, settings, data
        self._refuse()

    def default_network(self, cell: Cell, **sizes: int) -> Architecture:
        """Refused."""
        del cell, sizes
        self._refuse()

    def _refuse(self) -> NoReturn:
        self.refuse("network to train: python benchmarks/nasbench201.py goes on with its runs")


DESIGNS.register(FORMAT, TableCell)
TASKS.register("nasbench201", TableTask())
