"""What is known of each edge of the cell that a search goes on from: exact costs, and what was seen without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell, Edge
from autoshrink.cost import count
from autoshrink.design import Design
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.formatting import number, signed
from autoshrink.learned import learned
from autoshrink.metrics import judge_of, shown_resources
from autoshrink.record import CLEAR, RunRecord
from autoshrink.registry import TASKS
from autoshrink.resources import RESOURCES, Resources
from autoshrink.score import compare


@dataclass(frozen=True)
class Loss:
    """What removing an edge was measured to cost.

    Attributes:
        value: judged with the edge minus judged without it; of a search of blocks a difference of mean S.
        error: its standard error; None where unknown.
        words: what was measured, for people.
    """

    value: float
    error: float | None
    words: str

    @property
    def noise(self) -> bool:
        """Whether it is within two standard errors."""
        return self.error is not None and abs(self.value) <= CLEAR * self.error


def current(record: RunRecord) -> Design:
    """The design that the search goes on from; of a finished one the best that it found."""
    best = record.found() if record.finished else None
    if best is not None:
        return best.design
    chosen = record.chosen()
    return chosen[-1].design if chosen else record.start


def losses(record: RunRecord) -> dict[Edge, Loss]:
    """The last that was measured of every edge, by a step that removed it or by the blocks of the designs so far."""
    found = {}
    chosen = {decision.step: decision.index for decision in record.decisions}
    by_place = {(one.step, one.index): one for one in record.candidates}
    for one in sorted(record.candidates, key=lambda one: (one.step, one.index)):
        parent = by_place.get((one.step - 1, chosen.get(one.step - 1, -1)))
        if one.edge is None or parent is None or one.evaluation.failed or parent.evaluation.failed:
            continue
        against, judge = compare(parent.evaluation, one.evaluation), judge_of(record.settings, one.evaluation)
        error = None if against.standard_error is None else CLEAR * against.standard_error
        before, after = parent.evaluation.judged or 0.0, one.evaluation.judged or 0.0
        said = judge.difference(after, before, error, fine=True)
        words = f"measured in step {one.step} without it: {judge.name} {said}"
        words += " (± 2 standard errors)" if error is not None else " (standard error unknown)"
        found[one.edge] = Loss(against.difference, against.standard_error, words)
    return found | _of_blocks(record)


def _of_blocks(record: RunRecord) -> dict[Edge, Loss]:
    found = {}
    for block in learned(record).get("blocks", ()):
        edge = edge_named(block["name"])
        if edge is None or block["difference"] is None:
            continue
        error = block["error"]
        words = f"mean S of the {block['count']} designs with it minus that of the others: "
        words += signed(block["difference"], 4)
        words += "" if error is None else f" ± {number(CLEAR * error, 4)} (± 2 standard errors)"
        found[edge] = Loss(block["difference"], error, words)
    return found


def edge_named(name: str) -> Edge | None:
    """The edge that is called ``0-3``; None where that is no edge's name."""
    first, _, second = name.partition("-")
    short = len(name) < 9 and name.isascii()
    return (int(first), int(second)) if short and first.isdigit() and second.isdigit() else None


@dataclass(frozen=True)
class Without:
    """What taking an edge away, or back, does to the costs, counted exactly and without training.

    Attributes:
        there: whether the cell has it.
        macs: how many MACs more (or fewer, below zero) the cell would have.
        words: every resource, and the limits that it would break.
    """

    there: bool
    macs: int
    words: tuple[str, ...]


def changes(record: RunRecord, cell: Cell, edges: tuple[Edge, ...]) -> dict[Edge, Without]:
    """Of every edge that can go or come; nothing where the costs of cells cannot be counted yet."""
    own = resources_of(record, cell)
    if own is None:
        return {}
    found = {}
    for edge in edges:
        other = toggled(cell, edge)
        after = None if other is None else resources_of(record, other)
        if after is not None:
            found[edge] = Without(edge in cell.edges, after.macs - own.macs, _words(record, own, after))
    return found


def toggled(cell: Cell, edge: Edge) -> Cell | None:
    """The cell without an edge that it has, or with one that it has not; None where nothing would reach that."""
    if edge in cell.edges:
        return cell.without(edge)
    if edge[0] not in cell.reachable:
        return None
    return Cell(cell.kind, cell.ops, tuple(sorted((*cell.edges, edge))))


def what_if(record: RunRecord, edge: Edge) -> dict[str, object]:
    """Exactly what the cell that the search goes on from would cost without an edge, or with it.

    Raises:
        InputError: the search is not one of cells, or there is no such edge.
    """
    cell = current(record)
    if not isinstance(cell, Cell):
        raise InputError("this search is not one of cells")
    edge_words = f"{edge[0]}-{edge[1]}"
    if not 0 <= edge[0] < edge[1] < len(cell.ops):
        raise InputError(f"edge {edge_words} is not in the cell")
    other = toggled(cell, edge)
    own, after = resources_of(record, cell), None if other is None else resources_of(record, other)
    if own is None or after is None:
        raise InputError(f"the cost of edge {edge_words} cannot be counted")
    limits = record.settings.limits.given()
    return {
        "edge": list(edge),
        "there": edge in cell.edges,
        "change": {name: after[name] - own[name] for name in ("macs", "params", "memory")},
        "broken": [name for name, limit in limits.items() if name != "latency" and after[name] > limit],
    }


def resources_of(record: RunRecord, design: Design) -> Resources | None:
    """What a design costs as the candidates of the run do; None where that cannot be counted."""
    if not record.data:
        return None
    try:
        network = (
            TASKS[record.settings.task].proxy(design, record.settings, record.data)
            if isinstance(design, Cell)
            else design
        )
        return _counted(network) if isinstance(network, Architecture) else None
    except AutoshrinkError:
        return None


@lru_cache(maxsize=4096)
def _counted(network: Architecture) -> Resources:
    return Resources.of(network, count(network))


def _words(record: RunRecord, own: Resources, after: Resources) -> tuple[str, ...]:
    names = dict.fromkeys(("macs", "params", "memory", *shown_resources(record.settings)))
    found = []
    for name in names:
        resource, change = RESOURCES[name], after[name] - own[name]
        if resource.count is not None:
            sign = "±" if change == 0 else "−" if change < 0 else "+"
            found.append(f"{sign}{resource.unit.exact(abs(change))} {resource.title}")
    limits = record.settings.limits.given()
    broken = [RESOURCES[name] for name, limit in limits.items() if name != "latency" and after[name] > limit]
    found += [f"breaks the limit of {one.unit.limit(limits[one.name])} {one.title}" for one in broken]
    return tuple(found)
