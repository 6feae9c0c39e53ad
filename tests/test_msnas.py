"""The meta-graph search: what its weights learn, the wiring that it draws, what it prunes to, and what it passes on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import Cell, cell_of
from autoshrink.cli import run
from autoshrink.config import resolve
from autoshrink.errors import InputError
from autoshrink.launch import _meta_graph
from autoshrink.replaying import replay
from autoshrink.resources import Resources
from autoshrink.results import summary, write_results
from autoshrink.run import Loop
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.spaces import CellSpace
from autoshrink.store import Store, read_record
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.meta_graph import MetaGraph, weights_from_json
from autoshrink.strategies.msnas import MetaGraphSearch
from autoshrink.testing.strategies import _evaluation, check_strategy, context
from fakes import FakeEvaluator, new_store, story

Objective = Callable[[Cell], float]


def given_context(nodes: int, seed: int = 0, *, ops: bool = False, **changes: Any) -> StrategyContext:
    made = context(nodes=nodes, seed=seed)
    start = made.space.start
    if ops:
        start = Cell(start.kind, ("input", *("sepconv3x3",) * (nodes - 1)), start.edges)
    space = CellSpace(start, frozenset({"edges", "ops"} if ops else {"edges"}))
    return replace(made, space=space, settings=made.settings.changed({"penalty": 0.0} | changes))


def measured(cell: Cell, performance: float) -> Evaluation:
    edges = len(cell.edges)
    return Evaluation(cell, Resources(1000 + 10 * edges, 100 + edges, 100 + 7 * edges), 0, "planted", performance)


def searched(made: StrategyContext, objective: Objective, *, until: float | None = None) -> tuple[MetaGraphSearch, int]:
    """To its end, or until a draw is worth so much: and how many were measured."""
    strategy, count = MetaGraphSearch(made), 0
    while asked := strategy.ask():
        told = [measured(cell_of(one.design), objective(cell_of(one.design))) for one in asked]
        if asked[0].step:
            for number, one in enumerate(told, start=1):
                if until is not None and (one.performance or 0.0) >= until:
                    return strategy, count + number
            count += len(asked)
        strategy.tell(told)
    return strategy, count


def hidden_edges(graph: MetaGraph, seed: int) -> tuple[set[str], set[str]]:
    """One or two edges of every node that has a choice, and all others that there may be."""
    rng = random.Random(derive_seed(seed, "hidden"))
    free = [[graph.decisions[place].name for place in column] for column in graph.columns]
    hidden = {name for names in free for name in rng.sample(names, min(len(names), rng.choice((1, 2))))}
    return hidden, {name for names in free for name in names} - hidden


def overlap(hidden: set[str], others: set[str]) -> Objective:
    """The share of hidden edges that are present, of all that are present or hidden (Jaccard): strays count against."""

    def worth(cell: Cell) -> float:
        present = {f"{i}-{j}" for i, j in cell.edges} & (hidden | others)
        return len(present & hidden) / len(present | hidden)

    return worth


def weight(graph: MetaGraph, name: str) -> float:
    place = next(place for place, one in enumerate(graph.decisions) if one.name == name)
    return graph.weights[place][graph.present(place)]


# What is learned


def test_hidden_edges_are_found_in_six_sweeps() -> None:
    """Mean weight above .8 of the hidden ones, below .3 of the others, at the defaults; eight nodes."""
    hidden_weights, other_weights = [], []
    for seed in range(3):
        made = given_context(8, seed)
        hidden, others = hidden_edges(MetaGraphSearch(made).meta_graph, seed)
        graph = searched(made, overlap(hidden, others))[0].meta_graph
        hidden_weights.append(fmean(weight(graph, name) for name in hidden))
        other_weights.append(fmean(weight(graph, name) for name in others))
    assert min(hidden_weights) > 0.8
    assert fmean(other_weights) < 0.3


def test_an_update_by_hand() -> None:
    made = given_context(3)
    graph = MetaGraph.begun(made.space.decisions, levels=4, inputs=4)
    assert [one.name for one in graph.decisions] == ["0-1", "0-2", "1-2"]
    assert graph.columns == ((1, 2),), "node 1 reads the input, whatever is drawn"
    better = graph.learned((1, 1, 0), (1, 2), 2.0)
    assert better.weights[0] == (0.5, 0.5)
    assert better.weights[1] == pytest.approx((0.4, 0.6))
    assert better.weights[2] == pytest.approx((0.6, 0.4))
    assert better.change(graph) == pytest.approx(0.1)
    for _ in range(99):
        better = better.learned((1, 1, 0), (1, 2), 2.0)
    assert better.weights[1] == pytest.approx((0.02, 0.98))
    assert better.weights[2] == pytest.approx((0.98, 0.02))


@given(st.integers(3, 9), st.integers(0, 99), st.integers(1, 5), st.integers(1, 4), st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_draw_keeps_levels_and_in_degrees(nodes: int, seed: int, levels: int, inputs: int, ops: bool) -> None:
    """No path longer than there are levels, no node that reads more than it may, nor none; pruned networks too."""
    changes = {"sweeps": 2, "samples": 2, "levels": levels, "inputs": inputs}
    made = given_context(nodes, seed, ops=ops, msnas=changes)
    strategy = MetaGraphSearch(made)
    rng = random.Random(seed)
    while asked := strategy.ask():
        for one in asked if asked[0].step else ():
            cell = cell_of(one.design)
            longest = networkx.dag_longest_path_length(networkx.DiGraph(cell.edges)) if cell.edges else 0
            assert longest <= levels
            assert max(map(len, cell.predecessors)) <= inputs
        strategy.tell([measured(cell_of(one.design), rng.random()) for one in asked])


def test_all_nodes_of_a_draw_read_another() -> None:
    made = given_context(6, msnas={"sweeps": 2})
    strategy = MetaGraphSearch(made)
    while not strategy._walk.over:
        asked = strategy.ask()
        if asked[0].step:
            assert all(cell_of(one.design).reachable == tuple(range(6)) for one in asked)
        strategy.tell([_evaluation(one.design, failed=False) for one in asked])


@pytest.mark.parametrize("ops", [False, True])
@pytest.mark.parametrize("nodes", [2, 5])
def test_it_keeps_the_contract(nodes: int, ops: bool) -> None:
    check_strategy(MetaGraphSearch, given_context(nodes, ops=ops, msnas={"sweeps": 2, "samples": 3}))


def test_weights_at_rest_end_it() -> None:
    """Where everything is worth the same, no draw is ahead of any other."""
    strategy, count = searched(given_context(6), lambda _: 0.5)
    assert count < 40
    assert strategy.over() == "the weights have come to rest after 1 sweep"


def test_what_exceeds_a_limit_is_worth_less() -> None:
    made = given_context(5, limits={"max_memory": 121}, msnas={"excess": 2.0})
    strategy = MetaGraphSearch(made)
    cell = Cell("conv", ("input", "conv1x1", "conv1x1", "conv1x1"), ((0, 1), (0, 2), (0, 3)))
    assert strategy._walk.reward(measured(cell, 0.5)) == 0.5
    wider = replace(cell, edges=((0, 1), (0, 2), (0, 3), (1, 2)))
    assert strategy._walk.reward(measured(wider, 0.5)) == pytest.approx(0.5 - 2.0 * (128 / 121 - 1))


# Pruning


@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_pruned_networks_never_exceed_a_budget(seed: int, macs: int, params: int, memory: int) -> None:
    """Whatever is asked of MACs, parameters and memory, of those that one edge at least can keep."""
    limits = {"max_macs": 1000 + 10 * macs, "max_params": 100 + params, "max_memory": 100 + 7 * memory}
    made = given_context(7, seed, msnas={"sweeps": 1, "samples": 2}, limits=limits)
    kept = replace(
        made,
        resources=lambda design: measured(cell_of(design), 0.0).resources,
        allowed=lambda design: made.settings.limits.broken_by(measured(cell_of(design), 0.0).resources) is None,
    )
    strategy, _ = searched(kept, lambda cell: random.Random(f"{seed}{cell.edges}").random())
    networks = [cell_of(one) for one in strategy.pruned()]
    assert all(kept.allowed(one) for one in networks)
    assert max(len(one.edges) for one in networks) <= min(macs, params, memory)
    for smaller, larger in pairwise(networks):
        assert set(smaller.edges) < set(larger.edges)


# What is passed on


def test_a_second_search_needs_fewer_evaluations_to_the_same_reward() -> None:
    """Begun with what a first one learned, of another seed, whose objective is the same but for a noise of its own."""
    cold, warm = [], []
    for seed in range(4):
        made = given_context(7, seed)
        hidden, others = hidden_edges(MetaGraphSearch(made).meta_graph, seed)
        objective = overlap(hidden, others)
        first, _ = searched(made, objective)
        learned = weights_from_json(first.meta_graph.to_json())
        again = given_context(7, seed + 50)
        cold.append(searched(again, objective, until=0.9)[1])
        begun = replace(again, settings=again.settings.changed({"msnas": {"meta_graph": learned}}))
        warm.append(searched(begun, objective, until=0.9)[1])
    assert all(second < first for first, second in zip(cold, warm, strict=True))
    assert sum(warm) <= sum(cold) / 2


def test_a_meta_graph_survives_its_file() -> None:
    made = given_context(6, ops=True, msnas={"sweeps": 2})
    graph = searched(made, lambda cell: len(cell.edges) / 15)[0].meta_graph
    known = weights_from_json(json.loads(json.dumps(graph.to_json())))
    again = MetaGraph.begun(made.space.decisions, levels=4, inputs=4, known=known)
    for mine, other in zip(graph.weights, again.weights, strict=True):
        assert mine == pytest.approx(other)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], 'a meta-graph has "format": "autoshrink.meta-graph/1", not \\[\\]'),
        ({"format": "autoshrink.cell/1"}, "not 'autoshrink.cell/1'"),
        ({"format": "autoshrink.meta-graph/1"}, "weights: None are not those of decisions"),
        (
            {"format": "autoshrink.meta-graph/1", "weights": {"0-1": {"present": 2}}},
            "'0-1': .* not numbers from 0 to 1",
        ),
        ({"format": "autoshrink.meta-graph/1", "weights": {"0-1": {}}}, "not numbers from 0 to 1"),
    ],
)
def test_what_is_no_meta_graph_is_refused(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        weights_from_json(value)


def test_a_meta_graph_of_something_else_is_refused() -> None:
    made = given_context(3, msnas={"meta_graph": {"block 0": {"absent": 0.1, "present": 0.9}}})
    with pytest.raises(InputError, match=r"knows none of the decisions here \(0-1, 0-2, 1-2 …\)"):
        MetaGraphSearch(made)


# A whole run


MORE: dict[str, Any] = {"strategy": "msnas", "nodes": 5, "msnas": {"sweeps": 2, "samples": 3}}


def test_killed_at_any_event_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    with new_store(tmp_path / "whole", **MORE) as store:
        Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
    whole = story(tmp_path / "whole")
    for stop in range(4, len(whole) - 3, 9):
        folder = tmp_path / str(stop)
        with new_store(folder, **MORE) as store:
            append, left = store.append, [stop]

            def dying(kind: str, body: Any, append: Any = append, left: list[int] = left) -> Any:
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
                return append(kind, body)

            store.append = dying  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
        with Store.open(folder) as store:
            Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
        assert story(folder) == whole


def test_a_run_leaves_its_meta_graph_and_another_begins_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with new_store(folder, **MORE) as store:
        loop = Loop(store, FakeEvaluator(), fresh=FakeEvaluator())
        loop.run()
        graph = loop._strategy.meta_graph.to_json()  # type: ignore[attr-defined]
    record = read_record(folder)
    write_results(folder, record)
    assert summary(record, run=folder)["meta_graph"] == graph
    assert json.loads((folder / "meta-graph.json").read_text()) == graph
    assert "The meta-graph" in (folder / "report.html").read_text()
    assert run(["show", str(folder)]) == 0
    assert "edge or operation" in capsys.readouterr().out
    of_file = _meta_graph(resolve({"msnas": {"meta_graph": str(folder / "meta-graph.json")}}))
    of_run = _meta_graph(resolve({"msnas": {"from_run": str(folder)}}))
    assert of_file is not None
    assert of_run == {**of_file, "from_run": str(folder)}
    assert of_file["meta_graph"] == graph["weights"]
    with new_store(tmp_path / "second", **MORE | {"msnas": {"sweeps": 1, "samples": 2} | of_run}) as store:
        Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
        assert replay(store.events()).settings.msnas.known() == graph["weights"]


def test_what_to_begin_with_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        _meta_graph(resolve({"msnas": {"meta_graph": str(tmp_path / "none.json")}}))
    with new_store(tmp_path / "other") as store:
        Loop(store, FakeEvaluator()).run()
    with pytest.raises(InputError, match="has no meta-graph"):
        _meta_graph(resolve({"msnas": {"from_run": str(tmp_path / "other")}}))
    with pytest.raises(InputError, match="meta_graph and from_run both say what to begin with"):
        resolve({"msnas": {"meta_graph": "a", "from_run": "b"}})
    with pytest.raises(InputError, match="a was not read"):
        MetaGraphSearch(given_context(4, msnas={"meta_graph": "a"}))
