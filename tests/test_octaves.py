"""Searches over a range of budgets, with made-up trainings: one log, and at every budget what a search there does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from autoshrink import findings
from autoshrink.budget import octaves
from autoshrink.cli import run as command
from autoshrink.cli.quantities import amounts
from autoshrink.config import resolve
from autoshrink.errors import InputError, SearchError
from autoshrink.evaluation import Job
from autoshrink.loading import budgets as budgets_in
from autoshrink.loading import load
from autoshrink.octaves import FAMILIES, OctaveLog, best_found, first_space, search_octaves, space_at
from autoshrink.record import RunRecord
from autoshrink.replaying import replay
from autoshrink.report import render, summary_svg
from autoshrink.resources import COUNT, RESOURCES
from autoshrink.results import front, summary, write_results
from autoshrink.run import Loop
from autoshrink.score import Evaluation
from autoshrink.spaces import AtBudget, Space, space_of
from autoshrink.store import Log, Store, opening, read_events, read_record
from fakes import FakeEvaluator, story
from test_at_budget import DATA

RANGE = [15_000, 60_000]
ASKED: dict[str, Any] = {
    "beside": "none",
    "candidates": 2,
    "finalists": 2,
    "repeats": 2,
    "patience": 1,
    "recipe": {"epochs": 1},
}


def new_store(folder: Path, clock: Callable[[], float] | None = None, **overrides: Any) -> Store:
    settings = resolve({"budget": {"macs": RANGE}} | ASKED | overrides)
    ranged = settings.budget.ranged
    space = first_space(settings, DATA) if ranged else space_of(settings, None, DATA)
    created = {"settings": settings.to_json(), "environment": {}, "start": space.start.to_json(), "names": space.names}
    store = Store.create(folder, created, **({} if clock is None else {"clock": clock}))
    store.append("opened", opening())
    store.append("data", DATA)
    return store


def search(
    store: Store, evaluator: FakeEvaluator | None = None, done: Callable[[RunRecord], None] = lambda _: None
) -> RunRecord:
    trains = evaluator or FakeEvaluator()

    def make(log: Log, space: Space[Any], later: Callable[[float], float]) -> Loop:
        return Loop(log, trains, space=space, later=later)

    return search_octaves(store, make, done=done)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    """One search over three budgets, and what it left; read by many tests."""
    folder = tmp_path_factory.mktemp("octaves") / "r"
    with new_store(folder, seed=1) as store:
        record = search(store)
    write_results(folder, record)
    return folder, record


# --- which budgets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("least", "most", "found"),
    [
        (500, 4000, (500, 1000, 2000, 4000)),
        (500, 3000, (500, 1000, 2000, 3000)),
        (500, 2500, (500, 1000, 2500)),
        (500, 710, (500, 710)),
        (1000, 1999, (1000, 1999)),
    ],
)
def test_the_budgets_of_a_range(least: int, most: int, found: tuple[int, ...]) -> None:
    assert octaves(least, most) == found


@given(st.integers(1, 10**9), st.floats(1.5, 10**5))
def test_neighbouring_budgets_are_half_an_octave_to_one_and_a_half_apart(least: int, times: float) -> None:
    most = math.ceil(least * times)
    found = octaves(least, most)
    assert (found[0], found[-1]) == (least, most)
    for one, other in pairwise(found):
        assert 2 * one * one <= other * other <= 8 * one * one


def test_a_range_that_is_none_is_refused() -> None:
    for asked in ([60_000, 15_000], [15_000, 15_000], [15_000, 16_000]):
        with pytest.raises(
            InputError,
            match=r"budget: .*macs: (from .* is less than half an octave|its ends are .*; the smaller one comes first)",
        ):
            resolve({"budget": {"macs": asked}})
    with pytest.raises(InputError, match="macs: a range goes with no other budget; limit params with --max-params"):
        resolve({"budget": {"macs": RANGE, "params": 9000}})
    with pytest.raises(InputError, match=r"--macs 10: no hand-made network .* the smallest takes"):
        first_space(resolve({"budget": {"macs": [10, 60_000]}}), DATA)


def test_a_range_as_it_is_typed_and_named() -> None:
    assert amounts(COUNT, "15k..0.06M") == (15_000, 60_000)
    assert amounts(COUNT, "1M") == 1_000_000
    with pytest.raises(
        typer.BadParameter, match=r"'4M..1M' is no range of budgets: its ends are 4,000,000 and 1,000,000; the smaller"
    ):
        amounts(COUNT, "4M..1M")
    for half in ("1M..", "..1M", ".."):
        with pytest.raises(typer.BadParameter, match=r"it takes both ends, as 500k\.\.4M does"):
            amounts(COUNT, half)
    names = {"macs": (500_000, "500k"), "memory": (1536, "1.5KiB"), "latency": (2_000_000, "2ms")}
    for name, (value, said) in names.items():
        assert RESOURCES[name].unit.named(value) == said


# --- the search ------------------------------------------------------------------------------------------------------


def test_every_budget_is_searched_once_and_kept(run: tuple[Path, RunRecord]) -> None:
    _, record = run
    assert record.finished
    budgets = [15_000, 30_000, 60_000]
    assert [one.settings.budget.given()["macs"] for one in record.octaves] == budgets
    for octave, budget in zip(record.octaves, budgets, strict=True):
        assert octave.finished
        assert all(0.9 * budget <= one.evaluation.resources.macs <= budget for one in octave.candidates)
        best, start = octave.best(), octave.complete()
        assert best is not None
        assert start is not None
        assert start.design.key in octave.names, "what is compared with is hand-made"
        assert best.score == max(one.score for one in octave.measured_again())
        assert len([one for one in octave.rival_starts() if one.design.key in octave.remeasured]) == 2


def test_the_first_budget_is_searched_as_if_it_were_the_only_one(tmp_path: Path) -> None:
    with new_store(tmp_path / "range") as store:
        search(store)
    with new_store(tmp_path / "alone", budget={"macs": RANGE[0]}) as store:
        Loop(store, FakeEvaluator()).run()
    alone = [event for event in story(tmp_path / "alone") if event[0] not in ("created", "data")]
    whole = story(tmp_path / "range")
    first = next(place for place, (kind, _) in enumerate(whole) if kind == "octave") + 1
    assert whole[first : first + len(alone)] == alone


def test_a_budget_begins_with_what_was_found_and_the_best_hand_made_ones(run: tuple[Path, RunRecord]) -> None:
    _, record = run
    for place, octave in enumerate(record.octaves[1:], start=1):
        before = record.octaves[place - 1]
        space = space_at(record, place)
        assert isinstance(space, AtBudget)
        assert [one.design for one in octave.of_step(0)] == list(space.starts)
        assert len(octave.names) == FAMILIES
        unnamed = [one for one in space.starts if one.key not in octave.names]
        assert len(unnamed) == (best_found(before) is not None)
        scores = before.start_scores()
        best = max(scores, key=lambda key: scores[key])
        assert before.names[best] in octave.names.values(), "the best of the last budget goes on"


def test_a_hand_made_network_that_turned_out_bad_gives_its_place_to_another(tmp_path: Path) -> None:
    """ResNet is the best at the first budget and the worst at the second, so that the third begins without it."""

    class Turning(FakeEvaluator):
        def _measure(self, job: Job) -> Evaluation:
            found = super()._measure(job)
            blocks = [stage for stage in getattr(job.design, "stages", ()) if getattr(stage, "block", "") == "basic"]
            worth = 0.8 if not blocks else 0.9 if found.resources.macs <= RANGE[0] else 0.2
            return replace(found, performance=worth, correct=None)

    with new_store(tmp_path / "r") as store:
        record = search(store, Turning())
    names = [set(one.names.values()) for one in record.octaves]
    assert len(names[0]) == 8
    assert [any("ResNet" in name for name in some) for some in names] == [True, True, False]


def test_killed_at_any_event_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    two: dict[str, Any] = {"budget": {"macs": [15_000, 30_000]}}
    with new_store(tmp_path / "whole", **two) as store:
        search(store)
    whole = story(tmp_path / "whole")
    for stop in (0, 1, *range(3, len(whole) - 3, 9), len(whole) - 3):
        folder = tmp_path / str(stop)
        with new_store(folder, **two) as store:
            append, left = store.append, [stop]

            def limited(kind: str, body: dict[str, Any], append: Any = append, left: list[int] = left) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return append(kind, body)

            store.append = limited  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                search(store)
        with Store.open(folder) as store:
            search(store)
        assert story(folder) == whole


def test_a_log_replays_to_the_same_record_at_every_event(run: tuple[Path, RunRecord]) -> None:
    folder, record = run
    assert read_record(folder) == record
    events = list(read_events(folder))
    for stop in range(1, len(events), 7):
        so_far = replay(events[:stop])
        assert not so_far.finished
        assert len(so_far.octaves) <= len(record.octaves)
        assert so_far.spent().training_macs <= record.spent().training_macs
        assert summary(so_far, run=folder)["status"] == "unfinished"
        assert isinstance(render(so_far, name="r"), str)
        assert [one for one in so_far.octaves if one.finished] == list(record.octaves[: len(so_far.front())])


def test_evaluations_are_shared_out_and_never_exceeded(tmp_path: Path) -> None:
    for most in (20, 40):
        with new_store(tmp_path / str(most), stop={"evaluations": most}) as store:
            record = search(store)
        used = [sum(one.same_as is None for one in octave.candidates) for octave in record.octaves]
        assert sum(used) <= most
        assert len(used) == 3
        assert all(used)
    with new_store(tmp_path / "few", stop={"evaluations": 9}) as store:
        record = search(store)
    assert len(record.octaves) == 1
    assert record.finished
    assert record.stopped == "another budget would exceed 9 evaluations"
    with new_store(tmp_path / "none", stop={"evaluations": 3}) as store, pytest.raises(SearchError, match="allow it"):
        search(store)


def test_time_is_shared_out_and_its_end_leaves_what_is_done(tmp_path: Path) -> None:
    """A clock that goes on by a second with every event."""
    now = iter(range(1_000_000, 2_000_000))
    with new_store(tmp_path / "r", lambda: float(next(now)), stop={"seconds": 100.0}) as store:
        record = search(store)
    shares = [one.settings.stop.seconds or 0 for one in record.octaves]
    # Two of a hundred seconds went before; of 1, √2 and 2 the first is 1.
    assert shares[0] == pytest.approx(98 / (3 + math.sqrt(2)), rel=0.02)
    assert sum(shares[:1]) < 100
    with new_store(tmp_path / "short", lambda: float(next(now)), stop={"seconds": 20.0}) as store:
        record = search(store)
    assert record.finished
    assert len(record.octaves) < 3
    assert record.stopped == "the time limit is reached"
    assert record.best() is not None


def test_a_budget_at_which_nothing_can_be_trained_is_passed_over(tmp_path: Path) -> None:
    class Failing(FakeEvaluator):
        def _measure(self, job: Job) -> Evaluation:
            found = super()._measure(job)
            return replace(found, performance=None, reason="no") if found.resources.macs in self.bad else found

        def __init__(self, bad: range) -> None:
            super().__init__()
            self.bad = bad

    with new_store(tmp_path / "middle") as store:
        record = search(store, Failing(range(20_000, 30_001)))
    assert record.finished
    assert [one.best() is None for one in record.octaves] == [False, True, False]
    assert [one["budget"]["macs"] for one in front(record)] == [15_000, 60_000]
    with new_store(tmp_path / "first") as store, pytest.raises(SearchError, match="failed, the first with: no"):
        search(store, Failing(range(15_001)))


# --- what is left behind ---------------------------------------------------------------------------------------------


def test_every_budget_leaves_a_network_and_a_row(run: tuple[Path, RunRecord]) -> None:
    folder, record = run
    rows = json.loads((folder / "front.json").read_text())
    assert [one["file"] for one in rows] == ["best-15k.arch.json", "best-30k.arch.json", "best-60k.arch.json"]
    before = -math.inf
    for row, octave in zip(rows, record.octaves, strict=True):
        best = octave.best()
        assert best is not None
        assert load(folder / row["file"]) == best.design == load(folder, budget=findings.budget_name(octave).upper())
        assert row["architecture"] == best.design.to_json()
        assert row["repeats"] == 2
        assert row["budget"] == octave.settings.budget.given()
        assert row["hand_made"] in octave.names.values()
        assert row["complete"]["score"] <= row["score"]
        assert row["dominated"] == (best.judged <= before)
        before = max(before, best.judged)
    assert load(folder) == load(folder / "best-60k.arch.json")
    assert list(budgets_in(folder)) == ["15k", "30k", "60k"]
    with pytest.raises(InputError, match=r"--budget 1M: .* has no network of that budget; there is 15k, 30k, 60k"):
        load(folder, budget="1M")


def test_the_summary_has_every_budget_and_counts_them_all(run: tuple[Path, RunRecord]) -> None:
    folder, record = run
    said = json.loads(json.dumps(summary(record, run=folder)))
    assert [one["budget"]["macs"] for one in said["octaves"]] == [15_000, 30_000, 60_000]
    for key in ("evaluations", "remeasured", "steps"):
        assert said[key] == sum(one[key] for one in said["octaves"])
    assert said["cost"]["training_macs"] == sum(one["cost"]["training_macs"] for one in said["octaves"])
    assert said["best"] == said["octaves"][-1]["best"]
    assert said["settings"]["budget"]["macs"] == RANGE
    assert "octaves" not in summary(record.octaves[0], run=folder)


def test_what_is_left_after_an_interruption_is_that_of_the_budgets_done(tmp_path: Path) -> None:
    def stop(record: RunRecord) -> None:
        write_results(tmp_path / "r", record)
        if len(record.octaves) == 2:
            raise KeyboardInterrupt

    with new_store(tmp_path / "r") as store, pytest.raises(KeyboardInterrupt):
        search(store, done=stop)
    left = sorted(path.name for path in (tmp_path / "r").glob("*.json"))
    assert left == ["best-15k.arch.json", "best-30k.arch.json", "best.arch.json", "front.json"]
    record = read_record(tmp_path / "r")
    assert findings.status(record) == "unfinished: 2 of 3 budgets are done"
    assert len(record.front()) == 2


def test_terminal_and_page_show_every_budget(
    run: tuple[Path, RunRecord], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, record = run
    assert command(["show", str(folder)]) == 0
    shown = capsys.readouterr().out
    for octave in record.octaves:
        assert f"\n{findings.budget_name(octave)}: " in shown
    assert f"autoshrink train {folder} --budget 60k" in shown
    assert command(["show", str(folder), "--budget", "30k"]) == 0
    assert "next:" not in capsys.readouterr().out
    assert command(["show", str(folder), "--budget", "31k"]) == 2
    assert "those so far are 15k, 30k, 60k" in capsys.readouterr().err
    page = render(record, name="r")
    assert page.count("What it began with") == 3
    assert "None" not in page.split("<h2>Behind the figures")[0]
    assert page.count("found at a smaller budget") == sum(best_found(one) is not None for one in record.octaves[:-1])
    assert "<svg" in summary_svg(record, name="r")
    assert command(["report", str(folder), "--budget", "30k", "-o", str(tmp_path / "one.html")]) == 0
    assert "All " in (tmp_path / "one.html").read_text()


def test_the_log_of_a_budget_is_that_of_a_run(run: tuple[Path, RunRecord]) -> None:
    folder, record = run
    with Store.open(folder) as store:
        assert replay(OctaveLog(store).events()) == record.octaves[-1]


def test_digits_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two budgets, trained in truth though shortly: the range is read, kept and shown, and one of them is trained."""
    few = (
        "--candidates 2 --epochs 3 --batch 16 --train-per-class 40 --validation-per-class 20 --finalists 1 --repeats 1"
    )
    folder, model = tmp_path / "r", tmp_path / "model"
    words = ["search", "--macs", "20k..40k", *few.split(), "--max-evaluations", "12", "--threads", "1", "--json"]
    assert command([*words, "--run", str(folder)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["budget"]["macs"] for one in said["octaves"]] == [20_000, 40_000]
    assert said["evaluations"] <= 12
    assert command(["resume", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == said
    train = ["train", str(folder), "--budget", "20k", "--data", "digits", "--epochs", "1", "--threads", "1"]
    assert command([*train, "-o", str(model)]) == 0
    assert "its network at 20k" in capsys.readouterr().err
    assert (model / "model.safetensors").exists()
