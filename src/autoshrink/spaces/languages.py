"""The spaces of whole language models at a budget: moves change the cell, and the width gives back what they save.

Embedding, cell and decoder have one width, so that it is what scales a language model to a budget, and no move: a cell
of fewer edges is a wider one. Exchanges, as in `autoshrink.spaces.networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from random import Random

from autoshrink import zoo
from autoshrink.architecture import (
    AggregateName,
    LanguageModel,
    LibraryArchitecture,
    RecurrentArchitecture,
    language_model,
)
from autoshrink.budget import Budget, Use, binding
from autoshrink.cell import INPUT, Cell
from autoshrink.change import Change, Changed, ChangedOp, RemovedEdge
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.ops import DEFAULTS
from autoshrink.spaces.base import HeldSpace, refuse_unknown
from autoshrink.spaces.cells import in_a_row, is_chain

LEAST = 0.9
"""Share of a budget below which a model that cannot be scaled nearer is no candidate."""
STEPS = 6
"""Moves that a random model is away from a start, at most."""
MOST_NODES = 12
"""Nodes of a cell beyond which none comes."""

Found = Iterator[tuple[Change, RecurrentArchitecture]]

RNN = "recurrent"
STARTS: Mapping[str, Cell] = {
    "gated unit": Cell(RNN, (INPUT,), ()),
    "chain": in_a_row(RNN, ("tanh", "tanh")),
    "complete graph": Cell(RNN, (INPUT, *["tanh"] * 3), ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))),
}
"""Node 0 alone is a GRU without a reset gate; a chain of tanh is a recurrent highway network (Zilly et al. 2017)."""
PUBLISHED = {"ENAS": "enas-rnn", "DARTS": "darts-rnn", "ShrinkRNN": "shrinkrnn"}
"""Cells that other searches found, by their names in the zoo."""
LIBRARY = {"LSTM": "lstm", "GRU": "gru", "minGRU": "mingru"}
"""What people would otherwise take."""


def families(vocabulary: int) -> dict[str, RecurrentArchitecture]:
    """The models that a search begins with, by what they are; not scaled yet."""
    made = {name: RecurrentArchitecture(cell=cell, vocabulary=vocabulary, width=1) for name, cell in STARTS.items()}
    for name, known in PUBLISHED.items():
        found = language_model(zoo.get(known), vocabulary=vocabulary)
        assert isinstance(found, RecurrentArchitecture)
        made[name] = found
    return made


def library(vocabulary: int) -> dict[str, LibraryArchitecture]:
    """LSTM, GRU and minGRU, not scaled yet: no cells, and none of the space."""
    found = {}
    for name, known in LIBRARY.items():
        model = language_model(zoo.get(known), vocabulary=vocabulary)
        assert isinstance(model, LibraryArchitecture)
        found[name] = model
    return found


def use(model: LanguageModel, budget: Budget) -> Use:
    """What a model uses of the budget that binds."""
    found = binding(budget.uses(count(model)))
    assert found is not None, "there is a budget to fit into"
    return found


def widest_within(model: LanguageModel, budget: Budget) -> int:
    """The largest width with which a model keeps every budget; 0 where even 1 breaks one."""

    def fits(width: int) -> bool:
        return use(language_model(model, width=width), budget).share <= 1

    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def fitted(models: Mapping[str, LanguageModel], budget: Budget) -> dict[str, LanguageModel]:
    """Each as wide as the budget allows, without those that come to less than 90 % of it."""
    found = {}
    for name, model in models.items():
        scaled = _fitted(model, budget)
        if scaled is not None:
            found[name] = scaled
    return found


@lru_cache(maxsize=65536)
def _fitted(model: LanguageModel, budget: Budget) -> LanguageModel | None:
    width = widest_within(model, budget)
    scaled = language_model(model, width=width) if width else None
    return scaled if scaled is not None and use(scaled, budget).share >= LEAST else None


def neighbours(model: RecurrentArchitecture, allowed: frozenset[str], ops: Sequence[str] | None = None) -> Found:
    """Every change of one thing, with the model of the same width that it makes, in a fixed order.

    Args:
        model: to be changed.
        allowed: which moves there are, of `MOVES`.
        ops: the operations that nodes may come to have; None: those of AutoShrink.
    """
    for move, ways in MOVES.items():
        if move in allowed:
            yield from ways(model, ops or DEFAULTS[RNN])


def _edges(model: RecurrentArchitecture, ops: Sequence[str]) -> Found:
    """An edge less, or more."""
    del ops
    cell = model.cell
    for edge, less in cell.shrink_space():
        yield RemovedEdge(edge), _around(model, less)
    for i, j in combinations(cell.reachable, 2):
        if (i, j) not in cell.edges:
            more = Cell(cell.kind, cell.ops, (*cell.edges, (i, j)))
            yield Changed("edge", f"{i}-{j}", None, "present"), _around(model, more)


def _nodes(model: RecurrentArchitecture, ops: Sequence[str]) -> Found:
    """A node more, behind one of the others."""
    cell = model.cell
    # What is not reached is not there, and a new node is the last one.
    new = max(cell.reachable) + 1
    for i, op in product(cell.reachable if len(cell.reachable) < MOST_NODES else (), ops):
        more = Cell(cell.kind, (*cell.ops[:new], op), (*cell.edges, (i, new)))
        yield Changed("node", f"{new} behind {i}", None, op), _around(model, more)


def _ops(model: RecurrentArchitecture, ops: Sequence[str]) -> Found:
    """A node with another operation."""
    cell = model.cell
    for node, op in product(cell.reachable[1:], ops):
        if op != cell.ops[node]:
            other = Cell(cell.kind, (*cell.ops[:node], op, *cell.ops[node + 1 :]), cell.edges)
            yield ChangedOp(node, op), _around(model, other)


def _aggregates(model: RecurrentArchitecture, ops: Sequence[str]) -> Found:
    """Nodes that add what they read, or take its mean; where one reads several."""
    del ops
    if any(len(before) > 1 for before in model.cell.predecessors):
        other: AggregateName = "sum" if model.aggregate == "mean" else "mean"
        yield Changed("aggregate", "", model.aggregate, other), model.model_copy(update={"aggregate": other})


def _outputs(model: RecurrentArchitecture, ops: Sequence[str]) -> Found:
    """The mean of the leaves, or of all nodes after node 0; where these differ."""
    del ops
    everything = model.cell.reachable[1:] or (0,)
    if model.cell.leaves != everything:
        leaves = model.output == "leaves"
        ways = ("leaves", "all nodes") if leaves else ("all nodes", "leaves")
        yield Changed("output", "", *ways), model.model_copy(update={"output": everything if leaves else "leaves"})


MOVES: dict[str, Callable[[RecurrentArchitecture, Sequence[str]], Found]] = {
    "edges": _edges,
    "nodes": _nodes,
    "ops": _ops,
    "aggregate": _aggregates,
    "output": _outputs,
}
"""By name, from a model and the operations that nodes may come to have to its changes."""
ALL = frozenset(MOVES)


def _around(model: RecurrentArchitecture, cell: Cell) -> RecurrentArchitecture:
    """The same around another cell; where the output is no mean of the leaves, it is one of all nodes."""
    output = "leaves" if model.output == "leaves" or not cell.edges else cell.reachable[1:]
    return model.model_copy(update={"cell": cell, "output": output})


@dataclass(frozen=True)
class LanguagesAtBudget(HeldSpace[RecurrentArchitecture]):
    """The language models around a cell that cost a budget: 90 to 100 % of it, each as wide as it allows.

    Attributes:
        start: one model of the budget, by which a search begins.
        budget: what they cost: macs (of a token), params or memory.
        others: further models of the budget that a search measures before its first move.
        allowed: which moves there are, of `MOVES`.
        ops: the operations that nodes may come to have; None: those of AutoShrink.
        called: what the starts are called, the first one's name first.

    Raises:
        InputError: there is no such move, or a start breaks the budget or does not use it.
    """

    budget: Budget
    allowed: frozenset[str] = ALL
    ops: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        refuse_unknown(self.allowed, MOVES, "language models")
        for model in self.starts:
            used = use(model, self.budget).share
            if not LEAST <= used <= 1:
                raise InputError(f"a start uses {used:.1%} of the budget; between {LEAST:.0%} and 100 % is needed")

    @property
    def hand_made(self) -> Mapping[str, LanguageModel]:
        """See `Space.hand_made`."""
        return fitted(library(self.start.vocabulary), self.budget)

    def moves(self, design: RecurrentArchitecture) -> tuple[tuple[Change, RecurrentArchitecture], ...]:
        """Every exchange: what one change makes of a model, as wide as the budget allows."""
        found: dict[str, tuple[Change, RecurrentArchitecture]] = {}
        for change, changed in neighbours(design, self.allowed, self.ops):
            model = _fitted(changed, self.budget)
            if isinstance(model, RecurrentArchitecture) and model.key != design.key:
                found.setdefault(model.key, (change, model))
        return tuple(found.values())

    def chains(self, design: RecurrentArchitecture) -> tuple[RecurrentArchitecture, ...]:
        """The starts whose cells are chains."""
        del design
        return tuple(one for one in self.starts if is_chain(one.cell))

    def random(self, rng: Random) -> RecurrentArchitecture:
        """What up to 6 random exchanges make of a random start."""
        design = rng.choice(self.starts)
        for _ in range(rng.randint(1, STEPS)):
            design = self.mutated(design, rng)
        return design

    def mutated(self, design: RecurrentArchitecture, rng: Random) -> RecurrentArchitecture:
        """A random exchange."""
        found = list(neighbours(design, self.allowed, self.ops))
        for _, changed in rng.sample(found, len(found)):
            model = _fitted(changed, self.budget)
            if isinstance(model, RecurrentArchitecture) and model.key != design.key:
                return model
        return design
