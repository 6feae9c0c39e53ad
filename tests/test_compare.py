"""Comparisons: their arithmetic by hand, equal budgets, what no search saw, what is refused, and that a killed one ends
the same."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cli import run
from autoshrink.comparing import Comparison, Plan, compare, variants
from autoshrink.comparing.comparison import Judged, Outcome, Row, _course
from autoshrink.comparing.figures import Figure, Paired, band, hypervolume
from autoshrink.comparing.page import columns, headline, page
from autoshrink.config import resolve
from autoshrink.data import load_proxy
from autoshrink.design import design_from_json
from autoshrink.errors import InputError, RunError
from autoshrink.registry import TASKS
from autoshrink.store import read_record
from autoshrink.watching import Observer

TINY: dict[str, Any] = {
    "data": {"spec": "digits", "size": 8, "train_per_class": 12, "validation_per_class": 8},
    "network": {"stem": 8, "widths": [8]},
    "recipe": {"epochs": 3, "batch": 8, "learning_rate": 0.03, "floor_epoch": None},
    "nodes": 3,
    "candidates": 2,
    "threads": 1,
}
OPTIONS = [
    *("--train-per-class", "12", "--validation-per-class", "8", "--stem", "8", "--widths", "8", "--epochs", "3"),
    *("--batch", "8", "--lr", "0.03", "--nodes", "3", "--candidates", "2", "--threads", "1"),
    *("--set", "recipe.floor_epoch=null"),
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def plan(names: str = "autoshrink,random", **changes: Any) -> Plan:
    return Plan(variants(names), TINY, **{"budget": 10**9, "seeds": 2, "retrained": 1, "front": 2} | changes)


# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([(100, 0.6)], 0.5),
        ([(100, 0.6), (10, 0.3)], 2 * 0.2 + 1 * 0.3),
        ([(100, 0.6), (200, 0.5)], 0.5),
        ([(1000, 0.6), (5000, 0.9), (1, 0.05)], 0.0),
        ([(0, 1.1)], 3.0),
    ],
    ids=["nothing", "one", "two", "dominated", "too dear or no better than guessing", "a cost of none is one"],
)
def test_hypervolume_by_hand(points: list[tuple[float, float]], area: float) -> None:
    assert hypervolume(points, (1000, 0.1)) == pytest.approx(area)


@given(st.lists(st.tuples(st.floats(1, 3000), st.floats(0, 1)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_hypervolume_is_the_area_below_the_best_within_each_cost(points: list[tuple[float, float]]) -> None:
    costs = sorted({*(cost for cost, _ in points if cost < 1000), 1000.0})
    area = 0.0
    for left, right in pairwise(costs):
        best = max((performance for cost, performance in points if cost <= left), default=0.0)
        area += math.log10(right / left) * max(0.0, best - 0.1)
    assert hypervolume(points, (1000, 0.1)) == pytest.approx(area, abs=1e-9)


values = st.dictionaries(st.integers(0, 6), st.floats(-1, 1), min_size=1)


@given(values, values)
@settings(deadline=None)
def test_paired_differences_by_numpy(first: dict[int, float], second: dict[int, float]) -> None:
    shared = sorted(first.keys() & second.keys())
    found = Paired.of(first, second)
    if not shared:
        assert found is None
        return
    gaps = np.array([first[seed] for seed in shared]) - np.array([second[seed] for seed in shared])
    assert found is not None
    assert found.difference.mean == pytest.approx(gaps.mean(), abs=1e-12)
    assert found.wins == int((gaps > 0).sum())
    error = gaps.std(ddof=1) / math.sqrt(len(gaps)) if len(gaps) > 1 else None
    assert found.difference.error == (None if error is None else pytest.approx(error, abs=1e-12))


def test_a_band_is_the_mean_of_what_each_had_by_then() -> None:
    found = band([[(1, 0.2), (3, 0.4)], [(2, 0.3), (4, 0.5)], []])
    assert [at for at, _ in found] == [2, 3, 4]
    assert [figure.mean for _, figure in found] == pytest.approx([0.25, 0.35, 0.45])
    assert band([[], []]) == []


# --- the table -------------------------------------------------------------------------------------------------------


def made_up(scores: dict[str, list[float | None]]) -> Comparison:
    rows = []
    for name, own in scores.items():
        outcomes = {
            seed: Outcome(Judged(score + 0.1, score, 1000, 500, 7), (), 0.5, 1.0, 10**6, 3, 0.5, ((10.0, score),))
            for seed, score in enumerate(own)
            if score is not None
        }
        rows.append(Row(name, outcomes, {seed: "made to fail" for seed, one in enumerate(own) if one is None}))
    return Comparison(resolve(TINY), 10**6, 3, 1, "12 images", tuple(rows))


def test_the_table_of_made_up_runs() -> None:
    comparison = made_up({"one": [0.1, 0.2, 0.3], "two": [0.2, 0.1, None], "three": [None, None, None]})
    table = columns(comparison)
    assert table["strategy"] == ["one", "two", "three"]
    assert table["S"] == ["0.2000 ± 0.0577", "0.1500 ± 0.0500", ""]
    assert table["S − one's"] == ["", "±0.0000 ± 0.1000", ""]
    assert table["better"] == ["", "1 of 2", ""]
    assert table["failed"] == ["", "1", "3"]
    assert "have the same S" in headline(comparison), "the mean of two is lower, but not in the seeds that both have"
    assert headline(made_up({"one": [0.1, 0.2, 0.3], "two": [0.2, 0.31, 0.39]})).endswith(
        "by 0.1000 ± 0.0058: more than two standard errors"
    )
    assert headline(made_up({"one": [0.1, 0.2, 0.3], "two": [0.3, 0.1, 0.3]})).endswith("within two standard errors")
    value = json.loads(json.dumps(comparison.to_json()))
    assert value["rows"][1]["against_first"]["difference"]["mean"] == pytest.approx(0)
    assert value["rows"][2]["failures"] == {"0": "made to fail", "1": "made to fail", "2": "made to fail"}


def test_a_page_needs_nothing_from_elsewhere_and_escapes_names() -> None:
    text = page(made_up({"a<b>": [0.1, 0.2, 0.3], "two": [0.2, 0.1, None]}), name="<folder>")
    assert "<folder>" not in text
    assert "a<b>" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "made to fail" in text


# --- what is compared ------------------------------------------------------------------------------------------------


def test_variants_as_they_are_typed() -> None:
    found = variants('autoshrink, autoshrink:evaluator=inherited:inherit.start=0.1,autoshrink:moves=["edges","ops"]')
    assert [one.strategy for one in found] == ["autoshrink"] * 3
    assert found[1].changes == {"evaluator": "inherited", "inherit": {"start": 0.1}}
    assert found[2].changes == {"moves": ["edges", "ops"]}
    assert len({one.folder for one in found}) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--strategies", "autoshrunk"], "'autoshrunk' is unknown; did you mean autoshrink"),
        (["--strategies", "random,autoshrink,random"], "random is there twice"),
        (["--strategies", "random:seeds"], "'seeds' is no setting"),
        (["--strategies", "random,autoshrink:penalty=0.5"], "autoshrink:penalty=0.5 has penalty 0.5"),
        (["--strategies", "random", "--seeds", "0"], "--seeds 0: at least one"),
        (["--strategies", "autoshrink:walk=besst"], "walk"),
        (["--strategies", "random", "--budget", "none"], "--budget"),
        (["--strategies", "random,autoshrink", "--budget", "1k", *OPTIONS], "took"),
    ],
    ids=["unknown", "twice", "no setting", "unlike", "no seeds", "no such value", "no budget", "too small a budget"],
)
def test_what_is_refused(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    budget = [] if "--budget" in words else ["--budget", "1e9"]
    assert run(["compare", *words, *budget, "-o", str(tmp_path / "made")]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert said in message
    assert "Traceback" not in message


def test_folders_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no comparison"):
        compare(plan(), tmp_path)
    file = tmp_path / "notes.txt"
    with pytest.raises(RunError):
        compare(plan(), file)


def test_no_search_sees_what_judges(tmp_path: Path) -> None:
    """The samples themselves, by their content: neither training nor validation of any search, whatever the seed."""
    for seed in (0, 3):
        chosen = plan().settings(plan().variants[0], seed)
        task = TASKS["image"]
        problem: Any = task.unseen(chosen, Observer()).problem(torch.device("cpu"))
        own: Any = task.prepare(chosen, Observer()).problem(torch.device("cpu"))
        judging = {image.tobytes() for image in problem._read[1].images}
        seen = {image.tobytes() for part in own._read for image in part.images}
        assert len(judging) > 100
        assert not judging & seen
        whole = load_proxy("digits", train_per_class=10**4, validation_per_class=1, size=8, seed=seed)
        train_split = {image.tobytes() for part in (whole.train, whole.validation) for image in part.images}
        assert judging <= train_split, "never of the test split"
    greedy = plan().settings(plan().variants[0], 0).changed({"data": {"train_per_class": 10**4}})
    with pytest.raises(InputError, match="lower --train-per-class"):
        TASKS["image"].unseen(greedy, Observer())


# --- all of it -------------------------------------------------------------------------------------------------------


def test_two_strategies_and_two_seeds_at_equal_budgets(tmp_path: Path) -> None:
    budget = 90_000_000
    asked = plan("autoshrink,random,evolution:evaluator=inherited", budget=budget)
    lines: list[str] = []
    found = compare(asked, tmp_path / "all", say=lines.append)
    by_name = {row.name: row for row in found.rows}
    assert set(by_name) >= {"autoshrink", "random", "start"}
    # It cannot compare estimates: a row with its reason, and the others went on.
    failing = by_name["evolution:evaluator=inherited"]
    assert not failing.outcomes
    assert "add --evaluator trained" in failing.failures[0]
    records = {one: read_record(tmp_path / "all" / "runs" / one) for one in ("autoshrink-1", "random-1")}
    assert len({record.data["fingerprint"] for record in records.values()}) == 1
    assert {record.settings.seed for record in records.values()} == {1}
    ended: set[str] = set()
    for name in ("autoshrink", "random"):
        for seed, outcome in by_name[name].outcomes.items():
            record = read_record(tmp_path / "all" / "runs" / f"{name}-{seed}")
            assert outcome.training_macs == record.spent().training_macs <= budget
            ended.add(str(record.stopped))
            best = record.best()
            assert best is not None
            kept = [json.loads(path.read_text()) for path in (tmp_path / "all" / "judged").glob(f"{seed}-*.json")]
            own = [one["performance"] for one in kept if design_from_json(one["design"]).key == best.design.key]
            assert own == [outcome.named.performance]
            assert outcome.named.score == pytest.approx(
                own[0] - record.settings.penalty * math.log10(outcome.named.cost / 1e6)
            )
            assert outcome.course[-1][0] <= outcome.training_macs
            assert list(outcome.course) == list(_course(record))
    assert "another step would exceed 90.0M training MACs" in ended
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "all" / "judged").iterdir()}
    again = compare(asked, tmp_path / "all")
    assert again.to_json() == found.to_json()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "all" / "judged").iterdir()} == before
    with pytest.raises(InputError, match=r"budget 90000000, and not 95000000"):
        compare(plan("autoshrink,random,evolution:evaluator=inherited", budget=95_000_000), tmp_path / "all")


def test_text_is_compared_too(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "task": "text",
        "data": {"spec": "pydocs", "sentences": 60, "validation_sentences": 20, "max_vocabulary": 100},
        "network": {"width": 8},
        "recipe": {"epochs": 1},
        "nodes": 3,
        "candidates": 2,
        "threads": 1,
    }
    found = compare(Plan(variants("autoshrink,random"), asked, 10**8, 1, 1, 1), tmp_path / "text")
    assert [row.name for row in found.rows][:3] == ["autoshrink", "random", "start"]
    assert "sentences" in found.judged_on
    assert all(row.outcomes[0].named.performance < 0 for row in found.rows)
    assert "perplexity" in columns(found)


@pytest.mark.slow
def test_killed_at_some_moments_it_ends_the_same(tmp_path: Path) -> None:
    words = ["compare", "--strategies", "autoshrink,random", "--budget", "9e7", "--seeds", "1", *OPTIONS]
    words += ["--retrain-seeds", "1", "--retrain-front", "2", "--json", "-o"]
    command = [sys.executable, "-m", "autoshrink", *words]
    whole = _compared([*command, str(tmp_path / "whole")])
    killed = tmp_path / "killed"
    for wanted in ("runs/autoshrink-0/run.sqlite", "judged"):
        process = subprocess.Popen(
            [*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
        )
        while not (killed / wanted).exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert _compared([*command, str(killed)]) == whole


def _compared(command: list[str]) -> Any:
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=os.environ)
    value = json.loads(done.stdout)
    del value["comparison"]
    return value


def test_a_figure_of_one_seed_has_no_error() -> None:
    assert Figure.of([None, 3.0]) == Figure(3.0, None, 1)
    assert Figure.of([None]) is None
