"""Searches for whole networks at a budget, with made-up trainings: the loop, what is named, and what is left behind."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoshrink import findings
from autoshrink.architecture import Architecture
from autoshrink.cli.result import print_result
from autoshrink.config import resolve
from autoshrink.cost.latency import operations
from autoshrink.errors import InputError, RunError
from autoshrink.evaluation import Job
from autoshrink.latency.predicting import LatencyModel
from autoshrink.latency.table import LatencyTable
from autoshrink.loading import load
from autoshrink.record import RunRecord
from autoshrink.replaying import replay
from autoshrink.report import render, summary_svg
from autoshrink.results import summary, write_results
from autoshrink.run import Loop
from autoshrink.score import Evaluation
from autoshrink.spaces import space_of
from autoshrink.spaces.families import families
from autoshrink.store import Store, opening, read_record
from autoshrink.watching import Progress, Watcher
from fakes import FakeEvaluator, story

DATA = {
    "name": "made up",
    "train": 100,
    "validation": 200,
    "input": [1, 8, 8],
    "classes": list("0123456789"),
    "fingerprint": "",
    "notes": [],
    "chance": {"performance": 0.1, "error": 0.01},
}
BUDGET = 60_000


def new_store(folder: Path, **overrides: Any) -> Store:
    asked = {"budget": {"macs": BUDGET}, "candidates": 3, "finalists": 2, "repeats": 2, "patience": 2, "epochs": 1}
    asked = {"recipe": {"epochs": asked.pop("epochs")}} | asked | overrides
    settings = resolve(asked)
    space = space_of(settings, None, DATA)
    created = {"settings": settings.to_json(), "environment": {}, "start": space.start.to_json(), "names": space.names}
    store = Store.create(folder, created)
    store.append("opened", opening())
    store.append("data", DATA)
    return store


def searched(folder: Path, **overrides: Any) -> RunRecord:
    with new_store(folder, **overrides) as store:
        return Loop(store, FakeEvaluator()).run()


def test_a_search_at_a_budget_goes_uphill_from_the_best_start(tmp_path: Path) -> None:
    record = searched(tmp_path / "r", seed=3)
    assert record.finished
    assert record.settings.strategy == "exchange"
    first = record.of_step(0)
    assert len(first) == len(record.names) > 3
    for one in record.candidates:
        assert 0.9 * BUDGET <= one.evaluation.resources.macs <= BUDGET
    parent = record.chosen()[1].design
    for decision in record.decisions[2:]:
        group = record.of_step(decision.step)
        if decision.step % 2:
            assert [one.design for one in group[:1]] == [parent], "the parent is compared with its best children"
            assert len(group) <= 3
            assert all(one.same_as is None for one in group), "with figures that were not chosen"
            parent = record.chosen()[decision.step].design
        else:
            assert len(group) <= 3
            assert parent.key not in {one.design.key for one in group}
    assert record.stopped == "2 steps without an improvement"


def test_every_start_and_finalist_has_fresh_seeds_and_the_best_of_them_is_named(tmp_path: Path) -> None:
    found = []
    for seed in range(6):
        record = searched(tmp_path / str(seed), seed=seed, beside=())
        best, reference = record.best(), record.complete()
        assert best is not None
        assert reference is not None
        starts = {one.design.key for one in record.starts()}
        assert len(starts & set(record.remeasured)) >= record.settings.finalists
        beside = [figures for _, figures in record.beside_figures()]
        assert best.score == max(one.score for one in (*record.measured_again(), *beside))
        assert reference.score == max(one.score for one in record.measured_again() if one.design.key in starts)
        assert best.score >= reference.score
        headline = findings.headline(record)
        if record.is_start(best.design):
            assert headline == f"The search found nothing better than the hand-made {record.names[best.design.key]}"
        else:
            assert headline.startswith(str(best.design))
        found.append(record.is_start(best.design))
    assert True in found


def test_the_starts_measured_again_are_the_best_by_all_their_figures(tmp_path: Path) -> None:
    record = searched(tmp_path / "r", seed=3)
    means = {}
    for start in record.starts():
        own = [one.evaluation for one in record.candidates if one.design.key == start.design.key and not one.same_as]
        means[start.design.key] = sum(map(record.settings.score, own)) / len(own)
    chosen = [one.design.key for one in record.rival_starts()]
    assert chosen == sorted(means, key=lambda key: -means[key])[: record.settings.finalists]
    assert set(chosen) <= set(record.remeasured)


def test_a_search_that_got_no_further_than_its_starts_says_so(tmp_path: Path) -> None:
    record = searched(tmp_path / "r", seed=3, stop={"evaluations": 8}, repeats=0)
    assert len(record.names) == 8
    best = record.best()
    assert best is not None
    assert best.score == max(record.settings.score(one.evaluation) for one in record.candidates)
    name = record.names[best.design.key]
    said = f"starts was measured, of which the hand-made {name} is the best: "
    assert findings.headline(record).startswith(f"Nothing but the {said}")
    place = next(one.index for one in record.candidates if one.design.key == best.design.key)
    fewer = replace(record, candidates=tuple(one for one in record.candidates if one.index in (0, 1, place)))
    assert findings.headline(fewer).startswith(f"Nothing but {len(fewer.candidates)} of the 8 {said}")


def test_a_network_is_left_as_an_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "r"
    record = searched(folder, seed=3)
    write_results(folder, record)
    best = record.best()
    assert best is not None
    said = json.loads(json.dumps(summary(record, run=folder)))
    assert said["best"]["architecture"] == best.design.to_json()
    assert "cell" not in said["best"]
    assert load(folder) == load(folder / "best.arch.json") == best.design
    assert isinstance(load(folder), Architecture)
    assert not (folder / "best.cell.json").exists()
    print_result(record, folder, front=True)
    shown = capsys.readouterr().out
    assert "autoshrink train" in shown
    assert "best.arch.json" in shown
    assert "edges" not in shown
    for page in (render(record, name="r"), summary_svg(record, name="r")):
        assert "None" not in page.split("<h2>Behind the figures")[0]
    assert "step →" in render(record, name="r")
    assert re.search(r"1×8×8, \d\d\.\dK MACs", render(record, name="r"))
    assert "network 1×8×8" in shown
    assert render(record, name="r").count("mean, then classes") == 2, "a picture of the best, and of the hand-made"


@pytest.mark.parametrize("strategy", ["exchange", "evolution"])
def test_killed_at_any_event_it_ends_as_if_undisturbed(tmp_path: Path, strategy: str) -> None:
    more: dict[str, Any] = {"strategy": strategy, "stop": {"evaluations": 20}}
    searched(tmp_path / "whole", **more)
    whole = story(tmp_path / "whole")
    for stop in range(4, len(whole) - 3, 7):
        folder = tmp_path / str(stop)
        with new_store(folder, **more) as store:
            _stopping(store, stop)
            loop = Loop(store, FakeEvaluator())
            with pytest.raises(KeyboardInterrupt):
                loop.run()
        with Store.open(folder) as store:
            Loop(store, FakeEvaluator()).run()
        assert story(folder) == whole


def test_a_log_of_other_hand_made_networks_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stop in (6, 16):
        folder = tmp_path / str(stop)
        with new_store(folder) as store:
            _stopping(store, stop)
            with pytest.raises(KeyboardInterrupt):
                Loop(store, FakeEvaluator()).run()
        known = families((1, 8, 8), 10)
        for others in (dict(reversed(known.items())), dict(list(known.items())[1:])):
            with monkeypatch.context() as patched, Store.open(folder) as store:
                patched.setattr("autoshrink.spaces.networks.families", lambda *_, found=others, **__: found)
                with pytest.raises(
                    RunError, match=r"in step 0 the log has other candidates.*resume it with the version"
                ):
                    Loop(store, FakeEvaluator()).run()


def test_the_time_left_is_that_of_confirmations_and_finals_too(tmp_path: Path) -> None:
    """Where nothing is better than the start, every training that is left can be foreseen."""
    told: list[tuple[int, float | None]] = []

    class Watch(Watcher):
        def progress(self, progress: Progress) -> None:
            told.append((len(evaluator.jobs), progress.seconds_left))

    class Flat(FakeEvaluator):
        def _measure(self, job: Job) -> Evaluation:
            worth = 0.9 if job.design == first else 0.5
            return replace(super()._measure(job), performance=worth, correct=None)

    evaluator = Flat()
    with new_store(tmp_path / "r", beside="none") as store:
        first = replay(store.events()).start
        Loop(store, evaluator, watcher=Watch()).run()
    known = [(done, left) for done, left in told if left is not None]
    assert len(known) > 20
    for done, left in known:
        assert left == pytest.approx(0.01 * (len(evaluator.jobs) - done))


def _stopping(store: Store, after: int) -> None:
    """Let a store be interrupted before it has more events than so many."""
    append, left = store.append, [after]

    def limited(kind: str, body: dict[str, Any]) -> Any:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return append(kind, body)

    store.append = limited  # type: ignore[method-assign]


def test_a_budget_that_no_network_can_use_is_refused() -> None:
    with pytest.raises(InputError, match=r"--macs 10: no hand-made network for 1×8×8 uses 90") as refused:
        space_of(resolve({"budget": {"macs": 10}}), None, DATA)
    said = re.search(r"the smallest takes ([\d,]+) MACs: allow more", str(refused.value))
    assert said is not None
    least = int(said[1].replace(",", ""))
    assert len(space_of(resolve({"budget": {"macs": least}}), None, DATA).starts) == 1
    with pytest.raises(InputError, match="the smallest takes"):
        space_of(resolve({"budget": {"macs": least - 1}}), None, DATA)


def test_what_cannot_be_searched_at_a_budget_is_refused_before_any_data_are_read() -> None:
    with pytest.raises(InputError, match="goes down"):
        resolve({"strategy": "autoshrink", "budget": {"macs": BUDGET}})


def test_a_predicted_latency_is_a_budget(tmp_path: Path) -> None:
    """By a table in which an operation takes 200 ns, and 2 ns for each channel that it reads or writes."""
    with pytest.raises(InputError, match=r"--latency: a search predicts it.*give it --latency-table FILE"):
        space_of(resolve({"budget": {"latency": 50_000}}), None, DATA)
    known = {
        one.key: 200 + 2 * (sum(one.reads) + one.writes)
        for network in families((1, 8, 8), 10).values()
        for one in operations(network)
    }
    file = tmp_path / "table.json"
    file.write_text(json.dumps(LatencyTable({"name": "made up"}, known).to_json()))
    limit = 6_000
    space = space_of(resolve({"budget": {"latency": limit}, "latency_table": str(file)}), None, DATA)
    predicted = LatencyModel.fitted(LatencyTable.read(file))
    assert len(space.names) > 2
    for network in (*space.starts, *(made for _, made in space.moves(space.start)[:4])):
        assert 0.9 * limit <= 1e9 * predicted(network) <= limit


def test_the_paper_searches_cells() -> None:
    with pytest.raises(InputError, match="--macs and --mode paper, which searches cells, contradict each other"):
        resolve({"mode": "paper", "budget": {"macs": BUDGET}})


def test_a_log_says_what_its_starts_are_called(tmp_path: Path) -> None:
    with new_store(tmp_path / "r") as store:
        record = replay(store.events())
    assert record.names == space_of(record.settings, None, DATA).names
    assert read_record(tmp_path / "r").names == record.names
