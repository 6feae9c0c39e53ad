"""What a search names best: everything measured alike takes part, the start too, and nothing else is compared."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoshrink import findings, formatting
from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.cli.result import print_result
from autoshrink.config import resolve, stored_settings
from autoshrink.evaluation import Job
from autoshrink.findings import Gain
from autoshrink.record import Figures, RunRecord
from autoshrink.report import render, summary_svg
from autoshrink.resources import Resources
from autoshrink.results import front, summary
from autoshrink.run import Loop
from autoshrink.score import TIME_LIMIT, Evaluation
from autoshrink.store import read_record
from fakes import FakeEvaluator, loop, new_store
from html_fixtures import Page
from test_report import FakeRun, complete, text, usual

GOLDEN = Path(__file__).parent / "golden"


def made(seed: int, **overrides: Any) -> RunRecord:
    """A finished run with made-up figures, of a kind that the seed chooses."""
    image = seed % 3 < 2
    settings = {"penalty": (0.0, 0.005, 0.02, 0.1)[seed % 4], "finalists": 1 + seed % 5} | overrides
    fail = 0.1 * (seed % 2)
    begun = FakeRun(complete(5), settings, seed=seed, fail=fail).opened().read_data() if image else text(**settings)
    return begun.search(candidates=4).finish(repeats=seed % 4).record()


def cost(record: RunRecord, figures: Figures) -> int:
    return record.settings.score.cost(figures.recorded.resources)


@pytest.mark.parametrize("seed", range(24))
def test_no_search_names_a_cell_that_is_worse_than_its_start(seed: int) -> None:
    record = made(seed)
    best, start = record.best(), record.complete()
    assert best is not None
    if best.cell.key != record.start.key:
        assert cost(record, best) < record.settings.score.cost(record.candidates[0].evaluation.resources)
    assert start is not None, "both had the same fresh seeds"
    assert best.alike(start)
    assert best.score >= start.score
    found = summary(record, run=Path("x"))
    assert found["found"]["better_than_start"] == (best.score > start.score)
    assert found["found"]["headline"] == formatting.plain(findings.headline(record))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("evaluator", ["trained", "inherited"])
def test_nor_does_the_loop(seed: int, evaluator: str, tmp_path: Path) -> None:
    overrides = {"seed": seed, "evaluator": evaluator, "penalty": 0.02, "repeats": seed % 3, "finalists": 2}
    with new_store(tmp_path / "run", nodes=4, **overrides) as store:
        record = loop(store, FakeEvaluator()).run()
    best, start = record.best(), record.complete()
    assert best is not None
    assert record.best_key == best.cell.key
    assert start is None or best.score >= start.score
    if record.settings.repeats:
        assert start is not None


@pytest.mark.parametrize("seed", range(12))
def test_the_front_holds_what_was_measured_alike_and_is_not_dominated(seed: int) -> None:
    record = made(seed)
    shown, rows = record.front(), front(record)
    assert shown
    assert all(one.alike(shown[0]) for one in shown)
    assert [row["performance"] for row in rows] == [one.performance for one in shown]
    for one in shown:
        for other in shown:
            assert other is one or cost(record, other) > cost(record, one) or other.performance < one.performance


def hopeless_children() -> RunRecord:
    """Whose start is better than everything else."""
    begun = FakeRun(complete(5), {"penalty": 0.001}).opened().read_data()
    measure = begun.measure

    def measured(cell: Cell, *, failing: bool) -> Evaluation:
        found = measure(cell, failing=failing)
        right = tuple(bool(one) for one in begun.noise.random(600) < (0.9 if cell == begun.start else 0.4))
        return replace(found, correct=right, performance=float(np.mean(right)))

    begun.measure = measured  # type: ignore[method-assign]
    return begun.search(candidates=3).finish().record()


def test_where_nothing_beats_the_start_the_first_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    record = hopeless_children()
    best = record.best()
    assert best is not None
    assert best.cell == record.start
    said = "The search found nothing better than the complete graph"
    print_result(record, Path("runs/it"), front=True)
    told = capsys.readouterr().out
    assert told.splitlines()[0] == said
    assert "best cell " not in told
    assert said in Page(render(record, name="x")).text
    assert said in summary_svg(record, name="x")
    result = summary(record, run=Path("x"))
    assert result["best"] == result["complete"]
    assert result["found"]["better_than_start"] is False


def test_the_front_is_numbered_as_pick_counts(capsys: pytest.CaptureFixture[str]) -> None:
    record = usual().search(candidates=5).finish().record()
    print_result(record, Path("runs/it"), front=True)
    told = capsys.readouterr().out
    lines = told[told.index("numbered as craft --pick counts") :].splitlines()
    rows = [line for line in lines if line.strip()[:1].isdigit() and " % " in line]
    for place, (line, one) in enumerate(zip(rows, record.front(), strict=False), start=1):
        assert line.split()[:2] == [str(place), str(len(one.cell.edges))]
        assert f"{one.recorded.resources.macs:,}" in line


@pytest.mark.parametrize(("choice", "dearer"), [("all", False), ("finalists", True)])
def test_what_costs_as_much_as_the_start_is_named_only_where_that_is_asked_for(choice: str, dearer: bool) -> None:
    begun = FakeRun(complete(5), {"penalty": 0.0, "choice": choice}).opened().read_data()
    measure = begun.measure

    def dear(cell: Cell, *, failing: bool) -> Evaluation:
        found = measure(cell, failing=failing)
        more = Resources(**found.resources.to_json() | {"macs": 10_000_000 - found.resources.macs})
        right = tuple(bool(one) for one in begun.noise.random(600) < (0.6 if cell == begun.start else 0.9))
        return replace(found, resources=more, correct=right, performance=float(np.mean(right)))

    begun.measure = dear  # type: ignore[method-assign]
    record = begun.search(candidates=3).finish().record()
    best = record.best()
    assert best is not None
    assert (best.cell != record.start) == dearer
    if dearer:
        assert "more MACs" in findings.headline(record)


# --- lengths ---------------------------------------------------------------------------------------------------------


class Cut(FakeEvaluator):
    """Has time for so many epochs of a cell as it has few edges."""

    def _measure(self, job: Job) -> Evaluation:
        found = super()._measure(job)
        edges = len(job.cell.edges)
        ended = TIME_LIMIT if edges > 3 else "all epochs"
        return replace(found, ended=ended, curve=(0.5,) * max(1, 8 - edges))


def test_trainings_of_unlike_length_are_never_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with new_store(tmp_path / "run", nodes=4) as store:
        record = Loop(store, Cut()).run()
    best = record.best()
    assert best is not None
    assert len(best.cell.edges) <= 3, "those that were trained in full"
    assert record.complete() is None
    assert {math.inf} == {one.fullness for figures in record.front() for one in figures.trainings}
    assert "was not measured alike, so they are not compared" in findings.headline(record)
    result = summary(record, run=tmp_path)
    assert result["complete"] is None
    assert result["found"]["better_than_start"] is None
    print_result(record, tmp_path)
    told = capsys.readouterr().out
    assert "nothing to compare with" in told
    assert "points" not in told.split("next:")[0]


class Slow(FakeEvaluator):
    """Takes ten seconds of a clock that it moves itself."""

    now = 0.0

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        for position, evaluation in super().evaluate(jobs):
            self.now += 10
            if deadline is not None and self.now > deadline:
                return
            yield position, evaluation


@pytest.mark.parametrize("seconds", [16, 45, 75, 95, 115, 125, 145, 205])
def test_under_a_time_limit_only_rounds_that_all_had_count(seconds: int, tmp_path: Path) -> None:
    evaluator = Slow()
    with new_store(tmp_path / "run", nodes=4, stop={"seconds": seconds}) as store:
        record = Loop(store, evaluator, clock=lambda: evaluator.now).run()
    best, start = record.best(), record.complete()
    assert best is not None
    assert start is not None
    assert best.alike(start)
    assert best.score >= start.score
    assert all(one.alike(record.front()[0]) for one in record.front())
    if len({one.cell.key for one in record.candidates}) == 1:
        assert findings.headline(record) == "Nothing but the complete graph was measured: time ran out"


def test_estimates_are_compared_with_nothing(tmp_path: Path) -> None:
    evaluator = FakeEvaluator()
    with new_store(tmp_path / "run", nodes=4, evaluator="inherited", stop={"seconds": 1000.0}) as store:
        clock = iter([0.0, *([1.0] * 8), *([5000.0] * 1000)])
        fresh = Slow()
        fresh.now = 5000.0
        record = Loop(store, evaluator, fresh=fresh, clock=lambda: next(clock)).run()
    assert len(record.candidates) > 1
    assert not record.retrained
    assert record.best_key == record.start.key
    assert findings.headline(record) == "Nothing but the complete graph was trained from scratch: time ran out"


def test_short_trainings_have_a_floor() -> None:
    settings = resolve({"data": {"spec": "photos"}, "recipe": {"epochs": 8}})
    floor = settings.short_steps * settings.sprint_batch
    for share in (settings.inherit.start, *settings.playoff.rounds, settings.playoff.fresh):
        assert settings.short_epochs(share, 2000) == max(8 * share, floor / 2000)
    assert settings.short_epochs(0.05, 90) == 8, "never longer than the recipe"
    assert settings.short_epochs(0.2, 10**7) == 0.2 * 8
    before = settings.to_json()
    del before["short_steps"], before["choice"], before["judge"]
    old = stored_settings(before)
    found = (old.short_steps, old.choice, old.judge)
    assert found == (0, "finalists", "performance"), "a log that lacks a setting means what it meant"
    assert old.short_epochs(0.05, 90) == 0.4


# --- noise -----------------------------------------------------------------------------------------------------------


def test_a_difference_is_given_with_its_error_and_not_called_the_same() -> None:
    for seed in range(6):
        record = made(3 * seed + 4)
        best, start = record.best(), record.complete()
        assert best is not None
        assert start is not None
        if len(best.repeats) < 2 or best.cell.key == start.cell.key:
            continue
        assert "within noise" not in findings.headline(record)
        assert " ± " in findings.headline(record)
    assert Gain(0.0, None, 0.009, 0.005).clear is False
    assert Gain(0.0, None, 0.011, 0.005).score_words() == "S +0.0110 ± 0.0050, more than noise"
    assert Gain(0.0, None, 0.011).clear is None


# --- chance ----------------------------------------------------------------------------------------------------------

TINY = (
    "--nodes 3 --candidates 2 --epochs 1 --finalists 1 --repeats 1 --train-per-class 8 --validation-per-class 8 "
    "--threads 1 --stem 4 --widths 2,2,2 --beside none"
)


def test_a_search_that_learned_nothing_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(["search", *TINY.split(), "--lr", "1e9", "--run", str(folder)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "Nothing was learned: no cell can be told from guessing (accuracy" in told or "failed" in told
    assert not (folder / "best.cell.json").exists()
    if (folder / "report.html").exists():
        assert run(["show", str(folder)]) == 0
        assert capsys.readouterr().out.startswith("Nothing was learned: ")
        assert run(["show", str(folder), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["best"] is None
        assert result["found"]["at_chance"] is True
        assert run(["resume", str(folder)]) == 2


def test_cells_at_chance_are_not_chosen() -> None:
    begun = FakeRun(complete(4), {"penalty": 10.0}).opened().read_data(chance={"performance": 0.5, "error": 0.02})
    begun.search(candidates=3)
    measure = begun.measure

    def measured(cell: Cell, *, failing: bool) -> Evaluation:
        found = measure(cell, failing=failing)
        return replace(found, performance=0.53 if len(cell.edges) < 6 else 0.6, correct=None)

    begun.measure = measured  # type: ignore[method-assign]
    record = begun.finish().record()
    best = record.best()
    assert best is not None
    assert best.cell == record.start, "S prefers the small ones, which may be guessing"


# --- logs of before --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store-v2-text", "store-v3", "store-v3-text"])
def test_an_old_log_shows_what_it_named_and_that_the_start_was_better(name: str) -> None:
    record = read_record(GOLDEN / name)
    best, start = record.best(), record.complete()
    assert best is not None
    assert start is not None
    assert best.cell.to_json() == json.loads((GOLDEN / name / "best.cell.json").read_text())
    assert best.score < start.score
    assert findings.headline(record).startswith("Nothing better than the complete graph was found: ")
    assert summary(record, run=Path("x"))["found"]["better_than_start"] is False


def test_the_environment_says_the_threads_of_the_trainings() -> None:
    record = FakeRun(complete(4), {"threads": 1}).opened(threads=2).read_data().search().finish().record()
    assert "threads1" in Page(render(record, name="x")).text.replace(" ", "")
