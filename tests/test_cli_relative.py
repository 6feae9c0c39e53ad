"""Real small searches with other evaluators and the filter: everything a person sees of them is true."""

from __future__ import annotations

import io
import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import autoshrink
from autoshrink import formatting
from autoshrink.cli import run
from autoshrink.cli.result import print_front, print_result
from autoshrink.config import resolve
from autoshrink.progress import observed, step_line
from autoshrink.ranking import spearman
from autoshrink.record import RunRecord
from autoshrink.report import agreement, render, steps, summary_svg
from autoshrink.results import front, summary
from autoshrink.score import Spent
from autoshrink.watching import Observer, Progress
from html_fixtures import Page
from test_report import FakeRun, complete
from text_fixtures import corpus

DIGITS: dict[str, Any] = {
    "nodes": 4,
    "candidates": 3,
    "finalists": 2,
    "repeats": 1,
    "threads": 1,
    "data": {"train_per_class": 16, "validation_per_class": 12},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 8, "widths": [4, 8, 8]},
    "short_steps": 0,
    "playoff": {"cells": 4, "rounds": [0.5, 1.0]},
}
KINDS: dict[str, dict[str, Any]] = {
    "inherited": {"evaluator": "inherited"},
    "zico": {"evaluator": "zico"},
    "filter": {"filter": "zico"},
}


def watched(settings: dict[str, Any], folder: Path) -> tuple[RunRecord, str]:
    """A run, and what it said on the way."""
    console = Console(file=io.StringIO(), width=200, color_system=None)
    with observed(console, lambda _: None, resolve(settings)) as observer:
        record = autoshrink.search(settings, run=folder, observer=observer)
    assert isinstance(console.file, io.StringIO)
    return record, console.file.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RunRecord, str]]:
    folder = tmp_path_factory.mktemp("relative")
    found = {name: watched(DIGITS | changes, folder / name) for name, changes in KINDS.items()}
    text = {
        "task": "text", "evaluator": "zico", "nodes": 3, "candidates": 2, "finalists": 1, "repeats": 1, "threads": 1,
        "data": {"spec": str(corpus(folder / "corpus")), "sentences": 50, "validation_sentences": 15, "min_count": 1},
        "recipe": {"epochs": 1, "batch": 4, "bptt": 15, "learning_rate": 4.0, "drops": []},
        "network": {"width": 6}, "short_steps": 0, "playoff": {"cells": 3, "rounds": [1.0]},
    }  # fmt: skip
    found["text, zico"] = watched(text, folder / "text")
    return found


@pytest.fixture(scope="module", params=[*KINDS, "text, zico"])
def made(request: pytest.FixtureRequest, runs: dict[str, tuple[RunRecord, str]]) -> tuple[RunRecord, str]:
    return runs[request.param]


def seen(record: RunRecord) -> str:
    return Page(render(record, name="x")).text


def told(record: RunRecord, capsys: pytest.CaptureFixture[str]) -> str:
    print_front(record)
    print_result(record, Path("runs/it"))
    return capsys.readouterr().out


def states(record: RunRecord) -> dict[str, RunRecord]:
    """The record as it was on the way: after the steps, in the playoff, before the fresh seeds, cut short."""
    steps = replace(record, finished=False, remeasured={}, retrained=(), best_key=None)
    return {
        "steps": steps,
        "playoff": replace(steps, retrained=record.retrained[:2]),
        "no fresh seeds": replace(record, remeasured={}),
        "no playoff": replace(record, remeasured={}, retrained=()),
    }


# --- what is said on the way -----------------------------------------------------------------------------------------


def test_a_step_says_what_its_figures_are(made: tuple[RunRecord, str]) -> None:
    record, said = made
    lines = [line for line in said.splitlines() if re.match(r"step +\d+ .* edges? +S ", line)]
    assert len(lines) == len(record.decisions)
    name = {
        "inherited": "   estimated accuracy ", "zico": "   scaled ZiCo ", "trained": "   accuracy ",
    }[record.settings.evaluator]  # fmt: skip
    assert all(name in line for line in lines)
    if record.settings.evaluator == "zico":
        assert "accuracy" not in said
        assert "perplexity" not in said
        assert "%" not in "".join(lines)


def test_without_settings_a_step_is_one_of_a_trained_run(runs: dict[str, tuple[RunRecord, str]]) -> None:
    candidate = runs["inherited"][0].candidates[0]
    assert "   accuracy " in step_line(candidate, 0.5, None)
    assert "   estimated accuracy " in step_line(candidate, 0.5, None, runs["inherited"][0].settings)


@pytest.mark.parametrize(
    ("evaluator", "phase", "seconds", "wanted"),
    [
        ("inherited", "search", 90.0, "about 1 min 30 s left"),
        ("inherited", "playoff", 30.0, "playoff, round 2, short trainings from scratch: 1 of 4 cells"),
        ("inherited", "fresh seeds", 30.0, "measuring the finalists again, fresh seed 2: 1 of 4 candidates"),
        ("zico", "search", 90.0, "about 1 min 30 s left of the steps"),
        ("zico", "playoff", 0.0, "time left not known yet"),
        ("zico", "fresh seeds", 0.0, "time left not known yet"),
    ],
)
def test_the_live_display_names_the_phase_and_no_best_estimate(
    evaluator: str, phase: str, seconds: float, wanted: str
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    cell = complete(4)
    progress = Progress(phase, 1, 5, 6, 1, 4, None, 0.93, cell, seconds)
    with observed(console, lambda _: None, resolve({"evaluator": evaluator})) as observer:
        observer.watcher.progress(progress)
    assert isinstance(console.file, io.StringIO)
    shown = formatting.plain(console.file.getvalue())
    assert wanted in shown
    assert "best so far" not in shown
    assert "about 0.0 s" not in shown


# --- results ---------------------------------------------------------------------------------------------------------


def test_the_table_counts_estimates_trainings_and_what_each_part_cost(
    made: tuple[RunRecord, str], capsys: pytest.CaptureFixture[str]
) -> None:
    record, output = made[0], formatting.plain(told(made[0], capsys))
    spent = {"search": Spent(), "playoff": Spent(), "fresh seeds": Spent(), "ZiCo filter": record.screening}
    for one in record.candidates:
        spent["search"] += one.evaluation.spent if one.same_as is None else Spent()
    for retrained in record.retrained:
        spent["playoff"] += retrained.evaluation.spent
    spent["beside"] = sum((one.evaluation.spent for one in record.beside), Spent())
    for repeats in record.remeasured.values():
        spent["fresh seeds"] += sum((one.spent for one in repeats), Spent())
    assert sum(one.training_macs for one in spent.values()) == record.spent().training_macs
    for name, cost in spent.items():
        assert (f"{name} {formatting.quantity(cost.training_macs)}" in output) == (cost.training_macs > 0), name
    scratch = {one.evaluation.cell.key for one in record.retrained} | set(record.remeasured)
    count = len(record.candidates) - (record.settings.evaluator == "inherited")
    wanted = {
        "inherited": f"{count} candidates were estimated with inherited weights; {len(scratch | {record.start.key})} ",
        "zico": f"{count} candidates were scored by ZiCo without training; {len(scratch)} ",
        "trained": f"{sum(one.same_as is None for one in record.candidates)} candidates trained in ",
    }[record.settings.evaluator]
    assert wanted in output
    if record.settings.relative:
        best = record.best()
        assert best is not None
        assert f"(mean of 1 fresh seed, {best.repeats[0].fidelity})." in output
        assert f"one measurement with 1 fresh seed, {best.repeats[0].fidelity}" in seen(record)
        assert wanted in formatting.plain(seen(record))
        assert "cells were trained from scratch in " in output
        assert "numbered as craft --pick counts (one measurement with 1 fresh seed" in output


def test_json_keeps_its_keys_and_lists_the_playoff(made: tuple[RunRecord, str]) -> None:
    record, value = made[0], summary(made[0], run=Path("x"))
    assert set(value["cost"]) == {"training_macs", {"image": "images", "text": "tokens"}[record.settings.task]}
    assert value["cost"]["training_macs"] == record.spent().training_macs
    assert [(one["round"], one["performance"]) for one in value["playoff"]] == [
        (one.round, one.evaluation.performance) for one in record.retrained
    ]
    for one, told_ in zip(record.retrained, value["playoff"], strict=True):
        assert told_["score"] == record.settings.score(one.evaluation)
        assert told_["cell"] == one.evaluation.cell.to_json()
    assert value["best"]["repeats"] == value["complete"]["repeats"] == 1
    assert json.dumps([value, front(record)], allow_nan=False)


@pytest.mark.parametrize("name", ["inherited", "zico", "text, zico"])
def test_no_estimate_is_ever_a_result(
    runs: dict[str, tuple[RunRecord, str]], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = runs[name]
    # Its starting cell is at chance after half an epoch: another test's subject.
    record = replace(record, data={key: value for key, value in record.data.items() if key != "chance"})
    known = states(record)
    for state in ("steps", "no playoff"):
        value = summary(known[state], run=Path("x"))
        assert front(known[state]) == []
        if name == "inherited":
            # Its starting cell was trained, and is the only one that was.
            start = record.candidates[0].evaluation
            assert value["complete"]["performance"] == start.performance
            assert value["best"] in (None, value["complete"])
            continue
        assert value["complete"] is None
        if value["best"] is not None:
            assert value["best"]["performance"] is value["best"]["score"] is value["best"][value["metric"]] is None
    assert summary(known["steps"], run=Path("x"))["best"] is None
    assert "no best cell yet: " in told(known["steps"], capsys)
    assert "Estimates only so far: no cell was trained from scratch" in seen(known["steps"])
    alone = known["no playoff"].best()
    assert alone is not None
    assert alone.cell == record.start, "estimates of different steps choose nothing"
    nothing = {"inherited": "Nothing but the complete graph was", "zico": "Nothing was"}[record.settings.evaluator]
    assert f"{nothing} trained from scratch: " in told(known["no playoff"], capsys)
    assert f"{nothing} trained from scratch: " in seen(known["no playoff"])
    best = known["no fresh seeds"].best()
    assert best is not None
    assert f"one seed, {best.recorded.fidelity}" in told(known["no fresh seeds"], capsys)


def test_a_start_without_fresh_seeds_is_that_of_the_playoff_or_none(runs: dict[str, tuple[RunRecord, str]]) -> None:
    for name in ("inherited", "zico"):
        record = states(runs[name][0])["no fresh seeds"]
        again = [one.evaluation for one in record.retrained if one.evaluation.cell.key == record.start.key]
        found, best = record.complete(), record.best()
        assert best is not None
        trained = again[-1] if again else record.candidates[0].evaluation if name == "inherited" else None
        if trained is not None and trained.fidelity == best.recorded.fidelity:
            assert found is not None
            assert found.recorded == trained
        else:
            assert found is None
            assert "was not measured alike" in seen(record)


@pytest.mark.parametrize("state", ["steps", "playoff", "no fresh seeds", "no playoff"])
def test_every_state_has_a_page_and_a_picture(made: tuple[RunRecord, str], state: str) -> None:
    record = states(made[0])[state]
    page = Page(render(record, name="x"))
    assert page.wrong == page.open == []
    ET.fromstring(summary_svg(record, name="x"))
    for bad in ("nan", "inf", "None"):
        assert not re.search(rf"\b{bad}\b", page.text), bad


# --- the report ------------------------------------------------------------------------------------------------------


def test_every_candidate_is_listed_with_its_difference_to_the_chosen(made: tuple[RunRecord, str]) -> None:
    record, page = made[0], seen(made[0])
    score, listed = record.settings.score, steps.step_rivals(made[0])
    assert sum(map(len, listed.values())) == len(record.candidates) - 1
    for step, rivals in listed.items():
        chosen = record.of_step(step)[record.decisions[step].index]
        assert rivals[0].candidate == chosen
        assert [one.candidate.evaluation.rung for one in rivals[1:]] == sorted(
            (one.candidate.evaluation.rung for one in rivals[1:]), reverse=True
        )
        for one in rivals[1:]:
            mine, theirs = one.candidate.evaluation, chosen.evaluation
            if mine.outcomes is None or theirs.outcomes is None:
                assert one.error is None
                assert one.verdict in ("error unknown", "same cell")
                continue
            gap = mine.outcomes - theirs.outcomes[: len(mine.outcomes)]
            costs = score.penalty * math.log10(score.cost(mine.resources) / score.cost(theirs.resources))
            assert one.lead == pytest.approx(gap.mean() - costs)
            assert one.error == pytest.approx(gap.std() / math.sqrt(len(gap)))
            assert one.samples == len(gap)
            if not one.same:
                assert one.verdict == (
                    "clear" if abs(gap.mean() - costs) > 2 * gap.std() / len(gap) ** 0.5 else "noise"
                )
            assert (
                f"{formatting.signed(one.lead or 0.0, 4)} ± {formatting.number(one.error or 0.0, 4)}{one.verdict}"
                in page
            )


def test_a_text_run_never_speaks_of_accuracy(
    runs: dict[str, tuple[RunRecord, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    record = runs["text, zico"][0]
    for state in (record, *states(record).values()):
        poster = summary_svg(state, name="x").partition("</style>")[2]
        for shown in (seen(state), poster, told(state, capsys)):
            assert "accuracy" not in shown.replace("stop_accuracy", "")


def test_candidates_left_behind_say_how_far_they_came(runs: dict[str, tuple[RunRecord, str]]) -> None:
    record = runs["inherited"][0]
    samples = {
        one.candidate.evaluation.rung: one.samples for rivals in steps.step_rivals(record).values() for one in rivals
    }
    assert len(samples) > 1
    assert "survived" in seen(record)
    assert "survived" not in seen(runs["filter"][0]).split("Behind the figures")[0]


def test_the_filter_s_ranks_stand_beside_the_candidates(runs: dict[str, tuple[RunRecord, str]]) -> None:
    record = runs["filter"][0]
    rivals = [one for rivals in steps.step_rivals(record).values() for one in rivals]
    assert [one.rank for one in rivals] == [record.ranks[one.candidate.cell.key] for one in rivals]
    assert "ZiCo: S with scaled ZiCo as the performance, by which the candidates were chosen" in seen(record)
    assert f"{len(record.ranks)} cells scored" in seen(record)


def test_the_playoff_is_told_round_by_round(made: tuple[RunRecord, str]) -> None:
    record, page = made[0], seen(made[0])
    assert ("The playoff" in page) == bool(record.retrained) == record.settings.relative
    if not record.retrained:
        return
    table = page[page.index("The playoff") : page.index("Behind the figures")]
    longest = max(one.round for one in record.retrained)
    survivors = {one.evaluation.cell.key for one in record.retrained if one.round == 1}
    for one in record.retrained:
        then = "trained longer" if one.round < longest and one.evaluation.cell.key in survivors else ""
        then = then or ("fresh seeds" if one.evaluation.cell.key in record.remeasured else "")
        score = formatting.number(record.settings.score(one.evaluation), 4)
        assert f"{one.round + 1}{one.evaluation.fidelity}{len(one.evaluation.cell.edges)}" in table
        assert f"{score}{then}" in table


def test_rank_correlations_are_those_of_the_record(runs: dict[str, tuple[RunRecord, str]]) -> None:
    inherited, zico, filtered = (runs[name][0] for name in ("inherited", "zico", "filter"))
    trained = {one.cell.key: one.evaluation for one in reversed(filtered.candidates)}
    keys = [key for key in trained if key in filtered.ranks]
    score = filtered.settings.score
    by_score = spearman([filtered.ranks[key] for key in keys], [score(trained[key]) for key in keys])
    penalty = [score.penalty * math.log10(score.cost(trained[key].resources) / 1e6) for key in keys]
    truth = [trained[key].performance or 0.0 for key in keys]
    scaled = [filtered.ranks[key] + part for key, part in zip(keys, penalty, strict=True)]
    rows = {(one.where, one.predictor): one for one in agreement.agreements(filtered)}
    found = rows["candidates of the steps", "ZiCo"]
    assert found.cells == len(keys) >= 3
    assert found.score == pytest.approx(by_score)
    assert found.performance == pytest.approx(spearman(scaled, truth))
    macs = [trained[key].resources.macs for key in keys]
    assert rows["candidates of the steps", "MACs"].performance == pytest.approx(spearman(macs, truth))
    shown = ""
    for value, interval in ((found.performance, found.performance_interval), (by_score, found.score_interval)):
        assert value is not None
        assert interval is not None
        assert interval[0] <= value <= interval[1]
        low, high = (formatting.signed(end, 2) for end in interval)
        shown += f"{formatting.signed(value, 2)} ({low} … {high})"
    assert f"n = {len(keys)}{shown}" in seen(filtered)
    assert "never assumed" in seen(filtered)

    for record, predictor in ((inherited, "estimate with inherited weights"), (zico, "ZiCo")):
        begun = {one.evaluation.cell.key: one.evaluation for one in record.retrained if one.round == 0}
        known: dict[str, float] = {}
        for one in record.candidates[record.settings.evaluator == "inherited" :]:
            value = record.settings.score(one.evaluation)
            known[one.cell.key] = max(value, known.get(one.cell.key, value))
        both = [key for key in begun if key in known]
        pairs = [known[key] for key in both], [record.settings.score(begun[key]) for key in both]
        agreed = {(one.where, one.predictor): one for one in agreement.agreements(record)}
        assert agreed["playoff, round 1", predictor].cells == len(both)
        if len(both) < agreement.FEWEST:
            assert agreed["playoff, round 1", predictor].score is None
            assert f"n = {len(both)}too few" in seen(record)
            assert summary(record, run=Path("x"))["agreement"][0]["score_rho"] is None
        else:
            assert agreed["playoff, round 1", predictor].score == pytest.approx(spearman(*pairs))


def test_charts_do_not_pass_estimates_for_trainings(runs: dict[str, tuple[RunRecord, str]]) -> None:
    cells = {one.evaluation.cell.key: one for one in runs["inherited"][0].retrained}
    for name, panels in (("inherited", 4), ("zico", 2)):
        record = runs[name][0]
        source = render(record, name="x")
        keys = re.findall(r'<(?:circle|path) class="([^"]*)"[^>]*data-key="([^"]*)"', source)
        last = {one.evaluation.cell.key: f"playoff.{one.round}.{one.index}" for one in record.retrained}
        for mark in last.values():
            # S, performance, and performance against cost; failed ones would be crosses.
            assert [kind.split()[:2] for kind, key in keys if key == mark] == [["dot", "scratch"]] * 3
        for one in record.candidates[1:]:
            kinds = [kind for kind, key in keys if key == f"{one.step}.{one.index}"]
            assert len(kinds) == panels
            assert all(kind.startswith("dot estimate") for kind in kinds)
    assert cells
    assert "estimate with inherited weights" in summary_svg(runs["inherited"][0], name="x")
    assert "estimate with inherited weights" in seen(runs["inherited"][0])
    assert "inherited weights" not in seen(runs["zico"][0])
    assert "S with scaled ZiCo as the performance, nothing trained" in seen(runs["zico"][0])


def test_a_trained_run_says_nothing_of_estimates(runs: dict[str, tuple[RunRecord, str]]) -> None:
    plain = FakeRun(complete(5)).opened().read_data().search().finish().record()
    assert agreement.agreements(plain) == ()
    for record in (plain, runs["filter"][0]):
        page = seen(record).split("Behind the figures")[0]
        assert "estimated" not in page
        assert "playoff" not in page.lower()
    assert "ZiCo" not in seen(plain).split("Settings")[0]
    assert summary(plain, run=Path("x"))["playoff"] == []


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_options_reach_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = (
        "--nodes 4 --candidates 2 --epochs 2 --finalists 1 --repeats 1 --train-per-class 8 --validation-per-class 8 "
        "--threads 1 --stem 8 --widths 8,8 --batch 8 --lr 0.02 --beside none --json"
    )
    asked = ["search", "--evaluator", "inherited", "--filter", "zico", "--run", str(tmp_path / "run"), *quick.split()]
    assert run(asked) == 0
    output, progress = capsys.readouterr()
    result = json.loads(output)
    assert (result["settings"]["evaluator"], result["settings"]["filter"]) == ("inherited", "zico")
    assert result["playoff"]
    assert "estimated accuracy" in progress
    assert run(["resume", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("search --evaluator luck", "there is no such evaluator; choose from trained, inherited, shared, grown, zico"),
        ("search --filter luck", "there is no such filter; choose from none, zico"),
    ],
)
def test_unknown_names_are_refused(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments.split()) == 2
    assert message in capsys.readouterr().err


def test_observers_need_no_settings() -> None:
    with observed(Console(file=io.StringIO()), lambda _: None) as observer:
        assert isinstance(observer, Observer)
