"""The run loop: what is trained, what is shared, when it stops, what it names, and that a killed run ends the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from autoshrink.cell import Cell
from autoshrink.errors import RunError, SearchError
from autoshrink.evaluation import Job
from autoshrink.events import Event
from autoshrink.record import RunRecord
from autoshrink.run import Loop
from autoshrink.score import Evaluation
from autoshrink.store import Store, opening, read_record
from autoshrink.watching import Progress, Watcher
from fakes import FakeEvaluator, created, new_store, story


class KilledError(Exception):
    """Stands for the death of the process."""


class DyingStore(Store):
    """Dies right after its n-th event is on disk."""

    events_to_live = 0

    def append(self, kind: str, body: dict[str, Any]) -> Event:
        event = super().append(kind, body)
        self.events_to_live -= 1
        if self.events_to_live == 0:
            raise KilledError
        return event


def search(folder: Path, evaluator: FakeEvaluator | None = None, **overrides: Any) -> RunRecord:
    with new_store(folder, **overrides) as store:
        return Loop(store, evaluator or FakeEvaluator()).run()


def resume(folder: Path, evaluator: FakeEvaluator) -> RunRecord:
    with Store.open(folder) as store:
        store.append("opened", opening())
        return Loop(store, evaluator).run()


def die_after(folder: Path, events: int) -> FakeEvaluator:
    evaluator = FakeEvaluator()
    with DyingStore.open(folder) as store:
        store.events_to_live = events
        store.append("opened", opening())
        Loop(store, evaluator).run()
    return evaluator


def test_killed_after_every_event_and_resumed_it_ends_the_same(tmp_path: Path) -> None:
    search(tmp_path / "whole")
    whole = story(tmp_path / "whole")
    for events in range(1, len(whole) + 1):
        folder = tmp_path / f"killed{events}"
        new_store(folder).close()
        with pytest.raises(KilledError):
            die_after(folder, events)
        before = read_record(folder)
        evaluator = FakeEvaluator()
        resume(folder, evaluator)
        assert story(folder) == whole
        done = {one.cell.key for one in before.candidates}
        first = [job for job in evaluator.jobs if job.seed not in fresh_seeds(folder)]
        assert not done & {job.cell.key for job in first}, "a finished evaluation was repeated"


def fresh_seeds(folder: Path) -> set[int]:
    return {one.seed for repeats in read_record(folder).remeasured.values() for one in repeats}


def test_killed_again_and_again_it_still_ends_the_same(tmp_path: Path) -> None:
    search(tmp_path / "whole")
    new_store(tmp_path / "worn").close()
    deaths = 0
    while not read_record(tmp_path / "worn").finished:
        try:
            # Three events a life: opened, and two steps forward.
            die_after(tmp_path / "worn", 3)
        except KilledError:
            deaths += 1
    assert deaths > 10
    assert story(tmp_path / "worn") == story(tmp_path / "whole")


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    first = search(tmp_path / "run")
    evaluator = FakeEvaluator()
    again = resume(tmp_path / "run", evaluator)
    assert evaluator.jobs == []
    assert (again.best(), again.front()) == (first.best(), first.front())


def test_same_seed_same_search_other_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(tmp_path / name, seed=seed)
    assert story(tmp_path / "a") == story(tmp_path / "b")
    trajectories = [[one.cell for one in read_record(tmp_path / name).chosen()] for name in "ac"]
    assert trajectories[0] != trajectories[1]


def test_it_trains_what_algorithm_1_allows_and_isomorphic_cells_once(tmp_path: Path) -> None:
    evaluator = FakeEvaluator()
    record = search(tmp_path / "run", evaluator, nodes=6, candidates=4)
    searched = [job for job in evaluator.jobs if job.seed not in fresh_seeds(tmp_path / "run")]
    allowed = 1 + sum(min(4, edges) for edges in range(1, 16))
    assert len(searched) <= allowed
    keys = [job.cell.key for job in searched]
    assert len(keys) == len(set(keys))
    shared = [one for one in record.candidates if one.same_as is not None]
    assert shared, "six nodes of two operations have isomorphic children"
    by_place = {(one.step, one.index): one for one in record.candidates}
    for one in shared:
        assert one.same_as is not None
        assert by_place[one.same_as].cell.key == one.cell.key
        assert by_place[one.same_as].evaluation.performance == one.evaluation.performance


def test_the_starting_cell_comes_first_and_the_last_step_is_empty(tmp_path: Path) -> None:
    record = search(tmp_path / "run")
    trajectory = record.chosen()
    assert trajectory[0].cell == record.start
    assert trajectory[-1].cell.edges == ()
    edges = [len(one.cell.edges) for one in trajectory]
    assert edges == sorted(set(edges), reverse=True)


def test_the_best_is_named_from_fresh_seeds(tmp_path: Path) -> None:
    record = search(tmp_path / "run", nodes=5, finalists=3, repeats=4)
    best, complete = record.best(), record.complete()
    assert best is not None
    assert complete is not None
    assert len(best.repeats) == len(complete.repeats) == 4
    recorded = {one.evaluation.seed for one in record.candidates}
    assert not recorded & {one.seed for one in best.repeats}
    assert best.score == max(complete.score, *(record.figures(one).score for one in record.finalists()))
    assert record.best_key == best.cell.key


def test_paper_mode_names_the_highest_recorded_score(tmp_path: Path) -> None:
    record = search(tmp_path / "run", nodes=5, mode="paper", seed=3)
    best = record.best()
    assert best is not None
    assert record.settings.score(best.recorded) == max(record.settings.score(one) for one in record.usable())
    seeds = [one.evaluation.seed for one in record.of_step(1)]
    assert len(set(seeds)) == len(seeds), "a seed for each candidate"


def test_sound_mode_pairs_the_candidates_of_a_step(tmp_path: Path) -> None:
    record = search(tmp_path / "run", nodes=5)
    for step in range(1, len(record.decisions)):
        assert len({one.evaluation.seed for one in record.of_step(step) if one.same_as is None}) <= 1
    decided = [decision for decision in record.decisions if decision.runner_up is not None]
    assert decided
    assert all(decision.comparison and decision.comparison.standard_error is not None for decision in decided)


def test_limits_hold_for_the_best_and_spare_training(tmp_path: Path) -> None:
    evaluator = FakeEvaluator()
    start = Cell.from_json(created({"nodes": 6})[1]["start"])
    limit = evaluator.resources(start).macs // 2
    record = search(tmp_path / "run", evaluator, nodes=6, limits={"max_macs": limit})
    best = record.best()
    assert best is not None
    assert best.recorded.resources.macs <= limit
    assert all(one.recorded.resources.macs <= limit for one in record.front())
    for step in range(1, len(record.decisions)):
        candidates = record.of_step(step)
        above = [one for one in candidates if one.evaluation.resources.macs > limit]
        parent = record.chosen()[step - 1].cell
        inside = [cell for _, cell in parent.shrink_space() if evaluator.resources(cell).macs <= limit]
        assert not above or not inside, "a cell above the limit was trained although the path could avoid it"


@pytest.mark.parametrize(
    ("stop", "reason", "law"),
    [
        ({"edges": 3}, "3 edges are left", lambda record: len(record.chosen()[-1].cell.edges) == 3),
        ({"evaluations": 7}, "would exceed 7 evaluations", lambda record: len(record.candidates) <= 7),
        ({"macs": 12_000}, "MACs", lambda record: record.chosen()[-1].evaluation.resources.macs <= 12_000),
    ],
)
def test_it_stops_where_it_is_told(tmp_path: Path, stop: dict[str, int], reason: str, law: Any) -> None:
    record = search(tmp_path / "run", stop=stop)
    assert record.finished
    assert reason in str(record.stopped)
    assert law(record)


class SlowEvaluator(FakeEvaluator):
    """Takes ten seconds of a clock that it moves itself, and respects the deadline."""

    now = 1000.0

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        for position, evaluation in super().evaluate(jobs):
            self.now += 10
            if deadline is not None and self.now > deadline:
                return
            yield position, evaluation


def test_a_time_limit_ends_it_with_the_best_so_far(tmp_path: Path) -> None:
    evaluator = SlowEvaluator()
    with new_store(tmp_path / "run", nodes=6, stop={"seconds": 205}) as store:
        record = Loop(store, evaluator, clock=lambda: evaluator.now).run()
    assert record.finished
    assert record.stopped == "the time limit is reached"
    assert record.best() is not None
    # The stand-in notices a deadline only after its ten seconds: once in the search, once in the fresh seeds.
    assert evaluator.now <= 1000 + 205 + 2 * 10
    again = FakeEvaluator()
    resume(tmp_path / "run", again)
    assert again.jobs == []


def test_failed_candidates_lose_and_the_search_goes_on(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole")
    doomed = frozenset(one.cell.key for one in whole.of_step(2))
    record = search(tmp_path / "run", FakeEvaluator(failing=doomed))
    best = record.best()
    assert best is not None
    assert best.cell.key not in doomed
    assert any(one.evaluation.reason == "made to fail" for one in record.candidates)
    assert record.chosen()[-1].cell.edges == ()


class AlwaysFailing(FakeEvaluator):
    def _measure(self, job: Job) -> Evaluation:
        return Evaluation(job.cell, self.resources(job.cell), job.seed, "fake", None, reason="the loss became nan")


def test_when_everything_fails_it_says_why(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"all \d+ candidates failed, the first with: the loss became nan"):
        search(tmp_path / "run", AlwaysFailing())


def test_when_no_cell_kept_the_limits_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no cell within the limits was reached"):
        search(tmp_path / "run", limits={"max_macs": 6_000}, stop={"edges": 4})


def test_a_log_that_decided_otherwise_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    new_store(folder).close()
    with pytest.raises(KilledError):
        die_after(folder, 5)
    record = read_record(folder)
    step = len(record.decisions)
    others = [one for one in record.of_step(step) if not one.evaluation.failed]
    index = min(others, key=lambda one: record.settings.score(one.evaluation)).index
    worse = {"step": step, "index": index, "runner_up": None, "difference": None, "standard_error": None}
    with Store.open(folder) as store:
        store.append("decided", worse)
    with pytest.raises(RunError, match="resume it with the version that began it"):
        resume(folder, FakeEvaluator())


class Listening(Watcher):
    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)


def test_watchers_hear_of_every_evaluation_and_an_estimate(tmp_path: Path) -> None:
    watcher = Listening()
    with new_store(tmp_path / "run") as store:
        record = Loop(store, FakeEvaluator(), watcher=watcher).run()
    heard = [one.latest for one in watcher.seen if one.latest is not None]
    fresh = sum(len(repeats) for repeats in record.remeasured.values())
    assert len(heard) == sum(one.same_as is None for one in record.candidates) + fresh
    best = [one.best_score for one in watcher.seen if one.best_score is not None]
    assert best == sorted(best)
    assert all(one.seconds_left is not None and one.seconds_left >= 0 for one in watcher.seen[2:])
    assert all(0 <= one.done <= one.expected and (one.edges or 0) <= (one.total_edges or 0) for one in watcher.seen)
