"""What stands beside what a search found: measured at equal cost with equal seeds, and named where it is better."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink import findings
from autoshrink.architecture import Architecture, ConvArchitecture, proxy_architecture, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.cli.result import print_result
from autoshrink.config import resolve, stored_settings
from autoshrink.cost import count
from autoshrink.design import Design
from autoshrink.evaluation import Job
from autoshrink.loading import load
from autoshrink.record import RunRecord
from autoshrink.report import render, summary_svg
from autoshrink.results import front, summary, write_results
from autoshrink.run import Loop
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.spaces import AtBudget, CellSpace, space_of
from autoshrink.spaces.cells import in_a_row, is_chain
from autoshrink.store import Store, opening, read_record
from autoshrink.tasks import TASKS
from fakes import FakeEvaluator, new_store, story
from html_fixtures import Page
from test_at_budget import DATA
from test_at_budget import new_store as new_budget_store
from test_run import DyingStore, KilledError

NETWORK = {"stem": 8, "widths": [8, 8]}
"""Of the proxy networks in which `FakeEvaluator` counts."""
TEXT_DATA = {"name": "made up", "train": 100, "validation": 100, "vocabulary": 50, "notes": []}
ROLES = ("start", "chain", "random", "hand-made")


class Worth(FakeEvaluator):
    """What a network is worth is drawn from its key; `favoured` designs are better than all others."""

    def __init__(self, seed: int, favoured: Callable[[Design], float] = lambda _: 0.0) -> None:
        super().__init__()
        self._seed, self._favoured = seed, favoured

    def _measure(self, job: Job) -> Evaluation:
        found = super()._measure(job)
        rng = random.Random(derive_seed(self._seed, job.design.key, job.seed))
        worth = random.Random(derive_seed(self._seed, job.design.key)).uniform(0.3, 0.6)
        worth += 0.3 * self._favoured(job.design) + rng.uniform(-0.03, 0.03)
        if job.design.kind == "recurrent":
            return Evaluation(job.design, found.resources, job.seed, found.fidelity, worth - 5, spent=found.spent)
        return Evaluation(job.design, found.resources, job.seed, found.fidelity, worth, spent=found.spent)


def begun(folder: Path, *, task: str = "image", budget: bool = False, **overrides: Any) -> Store:
    if budget:
        return new_budget_store(folder, **overrides)
    network = NETWORK if task == "image" else {"width": 8}
    store = new_store(folder, **{"task": task, "network": network, "penalty": 0.02} | overrides)
    store.append("data", DATA if task == "image" else TEXT_DATA)
    return store


def searched(measures: FakeEvaluator, /, **overrides: Any) -> RunRecord:
    with TemporaryDirectory() as folder, begun(Path(folder) / "run", **overrides) as store:
        return Loop(store, measures).run()


KINDS: dict[str, dict[str, Any]] = {
    "cells": {"nodes": 4},
    "estimates": {"nodes": 4, "evaluator": "inherited"},
    "operations": {"nodes": 3, "moves": "edges,ops"},
    "text": {"task": "text", "nodes": 4},
    "networks": {"budget": True, "stop": {"evaluations": 16}},
}


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 10**6), repeats=st.integers(1, 3))
def test_no_run_names_a_network_that_is_worse_by_its_own_measure_than_its_start_or_the_chain(
    kind: str, seed: int, repeats: int
) -> None:
    record = searched(Worth(seed), seed=seed, repeats=repeats, **KINDS[kind])
    best, complete, found = record.best(), record.complete(), record.found()
    assert best is not None
    assert complete is not None
    assert found is not None
    beside = record.beside_figures()
    assert all(one.alike(best) for one in (complete, found, *(figures for _, figures in beside)))
    assert best.score == max(complete.score, found.score, *(figures.score for _, figures in beside))
    limit = record.settings.score.cost(found.recorded.resources)
    assert all(record.settings.score.cost(figures.recorded.resources) <= limit for _, figures in beside) or (
        kind == "networks"
    )
    # Where a role is not there, it is what the search named, or measured, itself.
    roles = {one.role for one, _ in beside}
    if kind == "networks":
        again = set(record.remeasured) | {figures.design.key for _, figures in beside}
        chains = space_of(record.settings, None, DATA).chains(record.start)
        assert chains
        assert again & {one.key for one in chains}
    else:
        assert "start" in roles or record.is_start(found.design)
        assert "chain" in roles or is_chain(found.cell)
    rival = record.role(best.design)
    headline = findings.headline(record)
    worse = rival is not None or record.is_start(best.design)
    assert headline.startswith("The search found nothing better than ") == worse
    value = summary(record, run=Path("x"))
    assert value["found"]["role"] == ("start" if record.is_start(best.design) else rival.role if rival else "found")
    assert [row["score"] for row in value["beside"] if row["best"]] == [best.score] * bool(value["beside"])


FAVOURED: dict[str, Callable[[Design], bool]] = {
    "start": lambda one: isinstance(one, ConvArchitecture) and len(one.cell.edges) == 6,
    "chain": lambda one: isinstance(one, ConvArchitecture) and is_chain(one.cell),
    "random": lambda one: isinstance(one, ConvArchitecture) and not is_chain(one.cell) and len(one.cell.edges) < 6,
    "hand-made": lambda one: one.kind == "mobile",
}
"""Networks of a role in a search of cells of four nodes; the search's own are cells."""
SAID = {
    "start": "the complete graph at the same cost",
    "chain": "a plain chain of ",
    "random": "the best of 3 random cells",
    "hand-made": "the hand-made ",
}


@pytest.mark.parametrize("role", ROLES)
def test_whoever_is_better_is_named_written_and_said_first(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"

    def worth(design: Design) -> float:
        # Cells of four edges are better than the start as it was, which then has to be scaled.
        return 2.0 * FAVOURED[role](design) + 0.5 * (isinstance(design, Cell) and len(design.edges) == 4)

    with begun(folder, nodes=4, beside=role) as store:
        record = Loop(store, Worth(2, worth)).run()
    write_results(folder, record)
    best = record.best()
    assert best is not None
    one = record.role(best.design)
    assert one is not None
    assert one.role == role
    said = f"The search found nothing better than {SAID[role]}"
    assert findings.headline(record).startswith(said)
    print_result(record, folder, front=True)
    told = capsys.readouterr().out
    assert told.startswith(said)
    assert said in Page(render(record, name="x")).text
    assert "Beside it, at equal cost" in render(record, name="x")
    assert said in summary_svg(record, name="x")
    value = json.loads(json.dumps(summary(record, run=folder)))
    assert value["found"]["headline"].startswith(said)
    assert value["found"]["role"] == role
    assert value["best"]["architecture"] == best.design.to_json()
    assert load(folder / "best.arch.json") == best.design
    own = [row for row in value["beside"] if row["best"]]
    assert [row["role"] for row in own] == [role]
    assert {"performance_standard_error", "score_standard_error", "score_difference"} <= own[0].keys()
    # Who reads cells finds the cell, where there is one.
    if role == "hand-made":
        assert not (folder / "best.cell.json").exists()
    else:
        assert Cell.read(folder / "best.cell.json") == best.cell == Cell.from_json(value["best"]["cell"])
    assert all("cell" in row for row in front(record)), "the front is the search's own"


def test_killed_after_every_event_it_ends_the_same(tmp_path: Path) -> None:
    joint = {"cells": 0, "estimates": 0, "text": 0}
    for number, kind in enumerate(joint):
        with begun(tmp_path / kind, **KINDS[kind]) as store:
            Loop(store, Worth(number)).run()
        whole = story(tmp_path / kind)
        first = next(place for place, (event, _) in enumerate(whole) if event == "beside")
        # Two events are there before the loop begins, and one is `opened`.
        for events in range(first - 3, len(whole) - 1, 2):
            folder = tmp_path / f"{kind}-{events}"
            begun(folder, **KINDS[kind]).close()
            with DyingStore.open(folder) as dying:
                dying.events_to_live = events
                dying.append("opened", opening())
                with pytest.raises(KilledError):
                    Loop(dying, Worth(number)).run()
            evaluator = Worth(number)
            with Store.open(folder) as store:
                Loop(store, evaluator).run()
            assert story(folder) == whole
            assert len(evaluator.jobs) <= len(whole) - events + joint[kind], "what is in the log is not done again"


def test_without_fresh_seeds_nothing_is_compared_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    record = searched(Worth(0), nodes=3, repeats=0)
    assert record.beside == ()
    assert summary(record, run=Path("x"))["beside"] == []
    print_result(record, Path("x"))
    assert "there are no fresh seeds (--repeats 0)" in capsys.readouterr().out
    assert "there are no fresh seeds" in Page(render(record, name="x")).text


@pytest.mark.parametrize("overrides", [{"mode": "paper"}, {"beside": "none"}, {"task": "text", "mode": "paper"}])
def test_nothing_is_beside_where_nobody_asks(overrides: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    record = searched(Worth(0), nodes=4, **overrides)
    assert record.beside == ()
    assert "equal cost" not in render(record, name="x")
    print_result(record, Path("x"))
    assert "equal cost" not in capsys.readouterr().out


def test_a_log_of_before_means_what_it_meant() -> None:
    before = resolve({}).to_json()
    del before["beside"]
    assert stored_settings(before).beside == ()


def test_random_designs_are_as_many_as_the_search_would_have_trained() -> None:
    record = searched(Worth(0), nodes=4, draws="compute", beside="random")
    trained = sum(one.same_as is None for one in record.candidates) + sum(map(len, record.remeasured.values()))
    once = [one for one in record.beside if one.repeat is None]
    # Those that would be twice the same network are left out; each training costs 1,000 MACs here.
    assert 0.5 * trained < len(once) <= trained
    best = max(once, key=lambda one: record.settings.score.preference(one.evaluation))
    assert {one.index for one in record.beside if one.repeat is not None} == {best.index}


def test_what_breaks_a_limit_is_not_measured() -> None:
    free = searched(Worth(0), nodes=4)
    sizes = [one.evaluation.resources.params for one in free.beside if one.repeat == 0]
    limit = sorted(sizes)[-1] - 1
    record = searched(Worth(0), nodes=4, limits={"max_params": limit})
    assert record.beside
    assert all(one.evaluation.resources.params <= limit for one in record.beside)


class Ended(Worth):
    """Has no time after so many trainings."""

    def __init__(self, trainings: int) -> None:
        super().__init__(0)
        self._left = trainings

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        for found in super().evaluate(jobs):
            self._left -= 1
            if self._left < 0:
                return
            yield found


def test_what_time_ran_out_for_takes_no_part() -> None:
    whole = searched(Worth(0), nodes=3)
    trained = sum(one.same_as is None for one in whole.candidates) + sum(map(len, whole.remeasured.values()))
    for more in range(len(whole.beside)):
        record = searched(Ended(trained + more), nodes=3, stop={"seconds": 10**6})
        best = record.best()
        assert best is not None
        figures = record.beside_figures()
        assert all(len(one.repeats) == record.settings.repeats for _, one in figures)
        if not figures:
            assert findings.why_alone(record).endswith("time ran out")


# --- chains, and equal costs -----------------------------------------------------------------------------------------


def test_a_chain_has_the_operations_of_what_was_found() -> None:
    a, b = "sepconv3x3", "conv1x1"
    start = Cell("conv", ("input", b, a, b, a), tuple(combinations(range(5), 2)))
    space = CellSpace(start)
    wide = Cell("conv", start.ops, ((0, 1), (0, 2), (0, 4)))
    assert space.chains(wide) == (in_a_row("conv", (b, a, a)),)
    row = in_a_row("conv", (b, a))
    assert space.chains(row) == (in_a_row("conv", (a, a)),), "what is a chain itself has to beat one of the dearest"
    assert space.chains(in_a_row("conv", (a, a))) == (), "and that nothing"
    assert space.chains(Cell("conv", start.ops, ())) == (in_a_row("conv", (a,)),)
    recurrent = Cell("recurrent", ("input", "relu", "tanh"), ((0, 1), (1, 2)))
    assert CellSpace(recurrent).chains(recurrent) == (in_a_row("recurrent", ("tanh", "tanh")),)
    assert not is_chain(Cell("conv", start.ops, ()))


def test_at_a_budget_the_chains_are_among_the_starts() -> None:
    space = space_of(resolve({"budget": {"macs": 60_000}}), None, DATA)
    assert isinstance(space, AtBudget)
    names = {space.names[one.key] for one in space.chains(space.start)}
    assert names == {name for name in space.names.values() if name.startswith("chain")} != set()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 1.0))
def test_a_scaled_network_costs_as_much_as_its_widths_allow(seed: int, share: float) -> None:
    rng = random.Random(seed)
    start = Cell("conv", ("input", *rng.choices(("conv1x1", "sepconv3x3"), k=4)), tuple(combinations(range(5), 2)))
    cell = CellSpace(start).random(rng)
    network = proxy_architecture(cell, shape=(1, 8, 8), stem=16, widths=(8, 16, 32))
    limit = int(share * count(network).macs)
    scaled = TASKS["image"].scaled(network, lambda one: count(one).macs, limit)
    if scaled is None:
        return
    assert isinstance(scaled, ConvArchitecture)
    assert scaled.cell == cell
    assert [stage.cells for stage in scaled.stages] == [1, 1, 1]
    assert 0.9 * limit <= count(scaled).macs <= limit or limit < 20_000


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.1, 3.0))
def test_a_scaled_language_model_is_the_widest_of_its_cost(seed: int, share: float) -> None:
    start = Cell("recurrent", ("input", "relu", "tanh", "sigmoid"), tuple(combinations(range(4), 2)))
    network = recurrent_proxy(CellSpace(start).random(random.Random(seed)), vocabulary=50, width=20)

    def cost(one: Architecture) -> int:
        return count(one).cell_params

    limit = int(share * cost(network))
    scaled = TASKS["text"].scaled(network, cost, limit)
    assert scaled is not None
    task = TASKS["text"]
    width = task.sizes_of(scaled)["width"]
    assert cost(scaled) <= limit < cost(task.sized(scaled, width=width + 1))
    assert task.scaled(network, lambda _: 1, limit) is None, "a cost that does not rise is met by no width"
    assert task.scaled(network, cost, 0) is None


def test_a_log_says_the_roles(tmp_path: Path) -> None:
    with begun(tmp_path / "run", nodes=4) as store:
        record = Loop(store, Worth(3)).run()
    assert read_record(tmp_path / "run").beside == record.beside
    assert {one.role for one in record.beside} <= set(ROLES)
    spent = findings.phases(record)
    assert spent["beside"].training_macs == 1000 * len(record.beside)
    assert sum(one.training_macs for one in spent.values()) == record.spent().training_macs
