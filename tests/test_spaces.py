"""Search spaces as values: what moves make, what is drawn, and what is one network."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.architecture import Architecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.change import Changed, ChangedOp, RemovedEdge, change_from_json
from autoshrink.cost import count
from autoshrink.design import DESIGNS, design_from_json
from autoshrink.errors import InputError
from autoshrink.ops import conv, names
from autoshrink.spaces import CellSpace, NetworkSpace
from autoshrink.spaces.cells import cheaper, dearest
from autoshrink.spaces.families import families

BOTH = frozenset({"edges", "ops"})


def complete(nodes: int, op: str = "sepconv3x3") -> Cell:
    return Cell("conv", ("input", *[op] * (nodes - 1)), tuple(combinations(range(nodes), 2)))


def test_moves_of_edges_are_the_shrink_space() -> None:
    cell = complete(5)
    assert CellSpace(cell).moves(cell) == tuple((RemovedEdge(edge), child) for edge, child in cell.shrink_space())


def test_moves_of_operations_by_hand() -> None:
    cell = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (1, 2)))
    found = dict(CellSpace(cell, BOTH).moves(cell))
    for op in cheaper("conv", "sepconv3x3"):
        assert found[ChangedOp(1, op)].ops == ("input", op, "conv1x1")
    assert "conv1x1" in cheaper("conv", "sepconv3x3")


@given(seed=st.integers(0, 10**6), nodes=st.integers(2, 6))
def test_every_move_leaves_fewer_and_cheaper_operations_cost_less(seed: int, nodes: int) -> None:
    space = CellSpace(complete(nodes), BOTH)
    cell = space.random(random.Random(seed))
    macs, moves = count(proxy_architecture(cell)).macs, space.moves(cell)
    for change, child in moves:
        assert len(space.moves(child)) < len(moves)
        # An edge that goes may open a leaf, and what mixes no channels keeps all that it reads: both widen the output.
        if isinstance(change, ChangedOp) and conv(change.op).mixes:
            assert count(proxy_architecture(child)).macs < macs
    assert space.outlook(cell) == tuple(range(len(moves), 0, -1))


@given(seed=st.integers(0, 10**6), moves=st.sampled_from([frozenset({"edges"}), frozenset({"ops"}), BOTH]))
def test_what_is_drawn_and_mutated_stays_in_the_space(seed: int, moves: frozenset[str]) -> None:
    space, rng = CellSpace(complete(5), moves), random.Random(seed)
    cell = space.random(rng)
    for _ in range(8):
        other = space.mutated(cell, rng)
        assert other != cell
        assert set(other.edges) <= set(space.start.edges)
        for node in range(1, 5):
            assert other.ops[node] in (space.start.ops[node], *cheaper("conv", space.start.ops[node]))
        assert ("edges" in moves) or other.edges == space.start.edges
        assert ("ops" in moves) or other.ops == space.start.ops
        cell = other


def test_what_is_drawn_depends_on_the_generator_alone() -> None:
    space = CellSpace(complete(6), BOTH)
    assert space.random(random.Random(3)) == space.random(random.Random(3))
    assert len({space.random(random.Random(seed)) for seed in range(20)}) > 10


def test_a_search_that_changes_operations_begins_with_the_dearest() -> None:
    assert dearest("conv", ("conv1x1", "sepconv3x3")) == ("sepconv3x3",)
    best = dearest("conv")
    assert best is not None
    assert set(cheaper("conv", best[0])) >= {"sepconv3x3", "conv1x1"}
    assert dearest("recurrent", ("tanh", "relu")) in {("tanh", "relu"), ("tanh",), ("relu",)}


def test_nodes_get_no_operation_that_is_not_among_those_there_may_be() -> None:
    cell = complete(4)
    space = CellSpace(cell, frozenset({"ops"}), ("sepconv3x3", "conv1x1"))
    assert {change.op for change, _ in space.moves(cell) if isinstance(change, ChangedOp)} == {"conv1x1"}


def test_there_is_no_other_move() -> None:
    with pytest.raises(InputError, match="moves of cells are edges, ops, not width"):
        CellSpace(complete(3), frozenset({"edges", "width"}))


def test_changes_are_read_as_they_were_written() -> None:
    for change in (RemovedEdge((0, 2)), ChangedOp(3, "conv1x1"), Changed("width", "stage2", 32, 28)):
        assert change_from_json(change.to_json()) == change
    assert Changed("width", "stage2", 32, 28).label == "stage2 width 32 → 28"
    assert Changed("size", "", 32, None).label == "size 32 → none"


# --- decisions -------------------------------------------------------------------------------------------------------


@st.composite
def spaces(draw: st.DrawFn) -> CellSpace:
    """Of cells of either kind, from starts that need not be complete, with either move or both."""
    nodes, kind = draw(st.integers(2, 6)), draw(st.sampled_from(["conv", "recurrent"]))
    ops = draw(st.lists(st.sampled_from(names(kind)), min_size=nodes - 1, max_size=nodes - 1))
    edges = draw(st.lists(st.sampled_from(list(combinations(range(nodes), 2))), min_size=1, unique=True))
    moves = draw(st.sampled_from([frozenset({"edges"}), frozenset({"ops"}), BOTH]))
    return CellSpace(Cell(kind, ("input", *ops), tuple(edges)), moves)


@given(space=spaces(), seed=st.integers(0, 10**6))
def test_a_design_is_the_options_that_it_has(space: CellSpace, seed: int) -> None:
    rng = random.Random(seed)
    drawn = space.random(rng)
    moved = [child for _, child in space.moves(drawn)]
    for cell in (space.start, drawn, space.mutated(drawn, rng), *moved):
        assert space.chosen(space.choices(cell)) == cell


@given(space=spaces(), data=st.data())
def test_any_options_make_a_design_of_the_space(space: CellSpace, data: st.DataObject) -> None:
    choices = [data.draw(st.integers(0, len(one.options) - 1)) for one in space.decisions]
    cell = space.chosen(choices)
    options, kept = space.options(choices), dict(zip(space.options(choices), space.choices(cell), strict=True))
    assert set(cell.edges) <= set(space.start.edges)
    for (name, option), choice in zip(options.items(), choices, strict=True):
        if name.startswith("node"):
            assert option == cell.ops[int(name.split()[1])]
            assert kept[name] == choice
        else:
            i, j = map(int, name.split("-"))
            # Only what nothing reaches is forgotten.
            assert ((i, j) in cell.edges) == (option == "present" and i in cell.reachable)
    assert space.chosen(space.choices(cell)) == cell


def test_every_option_is_had_by_a_design_that_moves_make() -> None:
    space = CellSpace(complete(4, "conv3x3"), BOTH)
    assert [one.name for one in space.decisions] == [
        *("0-1", "0-2", "0-3", "1-2", "1-3", "2-3"),
        *("node 1", "node 2", "node 3"),
    ]
    assert space.decisions[-1].options == ("conv3x3", *cheaper("conv", "conv3x3"))
    start, made = space.choices(space.start), {cell for _, cell in space.moves(space.start)}
    for place, decision in enumerate(space.decisions):
        for option in range(len(decision.options)):
            cell = space.chosen((*start[:place], option, *start[place + 1 :]))
            assert space.choices(cell)[place] == option
            assert cell == space.start or cell in made


def test_without_an_edge_of_the_input_the_cell_is_empty() -> None:
    space = CellSpace(complete(3))
    assert space.chosen((0, 0, 1)) == Cell("conv", space.start.ops, ())
    assert space.choices(space.chosen((0, 0, 1))) == (0, 0, 0)
    assert space.chosen((0, 1, 1)).edges == ((0, 2),), "node 1 reads nothing, so nobody reads it"


def test_what_is_none_of_the_space_is_refused() -> None:
    space = CellSpace(complete(3), BOTH, ("sepconv3x3", "conv1x1"))
    wrong = (complete(4), complete(3, "identity"), Cell("recurrent", ("input", "tanh"), ((0, 1),)))
    for cell in wrong:
        with pytest.raises(InputError, match=r"is not among those that moves make of 1:sepconv3x3<0 2:sepconv3x3<0,1"):
            space.choices(cell)
    with pytest.raises(InputError, match="5 choices are needed, one of each decision, not 2"):
        space.chosen((0, 1))
    with pytest.raises(InputError, match="decision 0-1 has options 0 … 1, not 2"):
        space.chosen((2, 0, 0, 0, 0))
    whole = NetworkSpace(next(iter(families().values())))
    for ask in (lambda: whole.decisions, lambda: whole.choices(whole.start), lambda: whole.chosen(())):
        with pytest.raises(InputError, match=r"not of decisions .* --strategy autoshrink, exchange, evol"):
            ask()


# --- designs ---------------------------------------------------------------------------------------------------------


def test_a_design_is_read_by_its_format() -> None:
    cell = complete(4)
    network = proxy_architecture(cell)
    assert design_from_json(cell.to_json()) == cell
    assert design_from_json(network.to_json()) == network
    with pytest.raises(InputError, match=r"design 'nobody.knows/1' is unknown; choose from autoshrink.cell/1"):
        design_from_json({"format": "nobody.knows/1"})
    wrong: tuple[object, ...] = ([], {}, {"format": 3})
    for value in wrong:
        with pytest.raises(InputError, match="a design"):
            design_from_json(value)


@dataclass(frozen=True)
class Point:
    """A point of a table."""

    row: int
    kind: str = "point"

    @property
    def key(self) -> str:
        return str(self.row)

    def to_json(self) -> dict[str, Any]:
        return {"format": "test.point/1", "row": self.row}

    @classmethod
    def from_json(cls, value: Any) -> Point:
        return cls(value["row"])


def test_others_register_a_format() -> None:
    DESIGNS.register("test.point/1", Point)
    assert design_from_json(Point(3).to_json()) == Point(3)


def test_isomorphic_cells_make_one_network() -> None:
    first = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2)))
    second = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2)))
    assert first != second
    assert proxy_architecture(first).key == proxy_architecture(second).key
    assert proxy_architecture(first).key != proxy_architecture(first, widths=(16, 32, 60)).key
    assert proxy_architecture(first).key != proxy_architecture(complete(3)).key


def test_named_output_nodes_mean_this_numbering() -> None:
    cells = [Cell("recurrent", ("input", *ops), ((0, 1), (0, 2))) for ops in (("relu", "tanh"), ("tanh", "relu"))]
    networks = [
        Architecture.from_json(
            {
                "format": "autoshrink.architecture/1",
                "kind": "recurrent",
                "cell": cell.to_json(),
                "vocabulary": 10,
                "width": 4,
                "output": output,
            }
        )
        for output in ("leaves", [1])
        for cell in cells
    ]
    assert networks[0].key == networks[1].key
    assert networks[2].key != networks[3].key
