"""Language models at a budget: what moves make of them, and that width gives back what they save."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.architecture import LanguageModel, RecurrentArchitecture, recurrent_proxy
from autoshrink.budget import Budget
from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.spaces import space_of
from autoshrink.spaces.languages import ALL, MOVES, LanguagesAtBudget, families, fitted, neighbours, use, widest_within
from autoshrink.tasks import TASKS

DATA = {"name": "made up", "train": 100, "validation": 100, "vocabulary": 500, "notes": []}
BUDGETS = {"params": 60_000, "macs": 55_000, "memory": 2_400}


@cache
def space(name: str = "params") -> LanguagesAtBudget:
    found = space_of(resolve({"task": "text", "budget": {name: BUDGETS[name]}}), None, DATA)
    assert isinstance(found, LanguagesAtBudget)
    return found


def test_the_moves_of_a_small_cell_by_hand() -> None:
    """Nodes 1 and 2 read node 0; 0 and 1 are no pair without an edge, 1 and 2 are."""
    model = recurrent_proxy(Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2))), vocabulary=9, width=4)
    found = {change.label: str(other.cell) for change, other in neighbours(model, ALL, ("tanh", "relu"))}
    assert found == {
        "−(0,1)": "2:relu<0",
        "−(0,2)": "1:tanh<0",
        "1-2 edge none → present": "1:tanh<0 2:relu<0,1",
        "3 behind 0 node none → tanh": "1:tanh<0 2:relu<0 3:tanh<0",
        "3 behind 0 node none → relu": "1:tanh<0 2:relu<0 3:relu<0",
        "3 behind 1 node none → tanh": "1:tanh<0 2:relu<0 3:tanh<1",
        "3 behind 1 node none → relu": "1:tanh<0 2:relu<0 3:relu<1",
        "3 behind 2 node none → tanh": "1:tanh<0 2:relu<0 3:tanh<2",
        "3 behind 2 node none → relu": "1:tanh<0 2:relu<0 3:relu<2",
        "1: relu": "1:relu<0 2:relu<0",
        "2: tanh": "1:tanh<0 2:tanh<0",
    }


def test_sums_and_outputs_change_where_that_says_something() -> None:
    joined = Cell("recurrent", ("input", "tanh", "tanh"), ((0, 1), (0, 2), (1, 2)))
    model = recurrent_proxy(joined, vocabulary=9, width=4)
    (_, summed), (_, everything) = neighbours(model, frozenset({"aggregate", "output"}))
    assert (summed.aggregate, everything.output) == ("sum", (1, 2))
    assert {one.output for _, one in neighbours(everything, frozenset({"output"}))} == {"leaves"}
    # An edge that goes leaves the output the mean of all nodes that are left.
    assert {one.output for _, one in neighbours(everything, frozenset({"edges"}))} == {(1, 2), (2,)}


@pytest.mark.parametrize("name", BUDGETS)
def test_every_design_is_as_wide_as_the_budget_allows(name: str) -> None:
    one, rng = space(name), random.Random(0)
    designs: list[LanguageModel] = [
        *one.starts,
        *(other for _, other in one.moves(one.start)),
        *(one.random(rng) for _ in range(5)),
    ]
    designs += list(one.hand_made.values())
    for design in designs:
        assert 0.9 <= use(design, one.budget).share <= 1
        wider = design.model_copy(update={"width": design.width + 1})
        assert use(wider, one.budget).share > 1
    assert {"LSTM", "GRU", "minGRU"} == set(one.hand_made)
    assert {"gated unit", "chain", "complete graph"} <= set(one.names.values())


def test_fewer_edges_are_more_width() -> None:
    widths = {space().names[model.key]: model.width for model in space().starts}
    assert widths["gated unit"] > widths["chain"] > widths["complete graph"]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=3, deadline=None)
def test_moves_are_other_networks_of_the_space_and_there_is_a_way_back(seed: int) -> None:
    one, rng = space(), random.Random(seed)
    design = one.random(rng)
    moved = one.moves(design)
    keys = [other.key for _, other in moved]
    assert design.key not in keys
    assert len(set(keys)) == len(keys)
    change, other = rng.choice(moved)
    # What an edge takes with it, and what stands beside a node that comes, is not given back by one move.
    if len(other.cell.reachable) >= len(design.cell.reachable) and isinstance(other.output, str):
        assert design.key in {back.key for _, back in one.moves(other)} or "node" in change.label


def test_random_models_are_decided_by_the_generator() -> None:
    drawn = [[space().random(random.Random(seed)).key for seed in range(6)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 3


@given(vocabulary=st.integers(2, 3000), limit=st.integers(10, 10**6), name=st.sampled_from(sorted(BUDGETS)))
@settings(max_examples=20, deadline=None)
def test_the_widest_is_found(vocabulary: int, limit: int, name: str) -> None:
    budget = Budget(**{name: limit})
    for model in list(families(vocabulary).values())[:3]:
        width = widest_within(model, budget)
        shares = [use(model.model_copy(update={"width": n}), budget).share for n in (max(1, width), width + 1)]
        assert shares[1] > 1
        assert width == 0 or shares[0] <= 1


def test_a_budget_that_no_vocabulary_leaves_room_for_is_refused() -> None:
    """Of width 1: 500 words, as many biases, and node 0's four weights."""
    settings_ = resolve({"task": "text", "budget": {"params": 1003}})
    with pytest.raises(
        InputError, match=r"--params 1,003: no language model of 500 words .* 1,004 parameters: allow more"
    ):
        space_of(settings_, None, DATA)


def test_what_texts_have_not_is_refused() -> None:
    with pytest.raises(InputError, match="moves of language models are edges, nodes, ops, aggregate, output, not w"):
        space_of(resolve({"task": "text", "moves": ["width"], "budget": {"params": 60_000}}), None, DATA)
    with pytest.raises(InputError, match=r"no table predicts .*--params or --memory"):
        resolve({"task": "text", "budget": {"latency": 1000}})
    with pytest.raises(InputError, match="between 90% and 100 % is needed"):
        LanguagesAtBudget(families(500)["chain"], Budget(params=60_000))


def test_another_budget_begins_with_what_was_found() -> None:
    found = space().moves(space().start)[0][1]
    asked = resolve({"task": "text", "budget": {"params": 120_000}})
    after = TASKS["text"].space_after(asked, DATA, [found], ["chain"])
    assert "chain" not in after.names.values()
    assert found.cell in {one.cell for one in after.starts}


def test_cells_have_hand_made_networks_of_their_cost_beside_them() -> None:
    made = TASKS["text"].hand_made(DATA, lambda one: count(one).cell_params, 20_000)
    assert set(made) == {"LSTM", "GRU", "minGRU"}
    for one in made.values():
        assert 0.9 * 20_000 < count(one).cell_params <= 20_000


def test_the_best_cells_of_others_are_among_the_starts() -> None:
    made = fitted(families(500), Budget(params=60_000))
    assert all(isinstance(one, RecurrentArchitecture) for one in made.values())
    assert set(made) == {"gated unit", "chain", "complete graph", "ENAS", "DARTS", "ShrinkRNN"}
    assert set(MOVES) == ALL
