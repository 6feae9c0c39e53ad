"""Rebuilding published tables: the arithmetic by hand, a folder that is gone on with, and the tables at a tiny size."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.errors import InputError, RunError
from autoshrink.reproduce import Asked, Outcome, Progress, Result, figure6, language, picture, read, reproduce, table4
from autoshrink.reproduce.conduct import conduct
from autoshrink.reproduce.images import ImageSize
from autoshrink.reproduce.journal import OUTCOMES_FILE, PLAN_FILE, Journal, opened
from autoshrink.reproduce.published import Published
from autoshrink.reproduce.report import Reproduction
from autoshrink.reproduce.study import Work, difference, direction, largest_rung, results

TINY_IMAGES = (ImageSize(8, 40, 1, 2, 1), ImageSize(8, 1_000_000, 9, 9, 1))
TINY_TEXT = (language.TextSize(60, 20_000, 8, 1, 2), language.TextSize(10**9, 200_000, 8, 1, 2))
CHAIN = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (1, 2)))


class Dice:
    """A study whose values are known."""

    name, title, unit = "dice", "Dice", "pips"
    rows: ClassVar = {"a": "first", "b": "second"}
    published: ClassVar = {"a": Published("first", 3.0)}
    differences = ("nobody threw",)

    def __init__(self, fails_at: int | None = None) -> None:
        self.measured: list[Work] = []
        self._fails_at = fails_at

    def works(self) -> tuple[Work, ...]:
        return tuple(Work(row, draw, 10) for draw in range(2) for row in self.rows)

    def measure(self, work: Work) -> Outcome:
        if len(self.measured) == self._fails_at:
            raise KeyboardInterrupt
        self.measured.append(work)
        value = 1.0 + work.draw + (2.0 if work.row == "b" else 0.0)
        return Outcome(work.row, work.draw, value, 100, 7, work.macs, 0.5)

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        return (direction(results[0], results[1], higher=True, digits=1),)


def _result(*values: float, row: str = "a", macs: float = 10.0) -> Result:
    return Result(row, row, None, values, macs, 1.0)


def test_rows_by_hand() -> None:
    study = Dice()
    first, second = results(study, [study.measure(work) for work in study.works()])
    assert (first.values, first.mean, first.macs, first.failed) == ((1.0, 2.0), 1.5, 100.0, 0)
    assert second.deviation == pytest.approx(math.sqrt(0.5))
    assert first.paper == Published("first", 3.0)
    assert second.paper is None
    lost = Outcome("a", 0, None, 100, 7, 10, 0.5, "diverged")
    assert results(study, [lost])[0].failed == 1


def test_a_difference_has_welch_error() -> None:
    found = difference(_result(1.0, 3.0), _result(0.0, 0.0, 3.0))
    assert found is not None
    assert found[0] == 1.0
    assert found[1] == pytest.approx(math.sqrt(2 / 2 + 3 / 3))
    assert difference(_result(1.0), _result(2.0)) == (-1.0, None)
    assert difference(_result(), _result(1.0)) is None


@pytest.mark.parametrize(
    ("first", "second", "higher", "said"),
    [
        ((5.0, 5.2), (3.0, 3.2), True, "a is better than b by 2.0 ± 0.1 (standard error)"),
        ((5.0, 5.2), (3.0, 3.2), False, "a is worse than b by 2.0 ± 0.1 (standard error)"),
        ((1.0, 3.0), (1.5, 3.5), True, "a and b differ by 0.5 ± 1.4 (standard error), which is noise"),
        ((1.0,), (2.0,), False, "a is better than b by 1.0, one draw each: noise unknown"),
        ((), (2.0,), False, "a against b: not measured"),
    ],
)
def test_direction(first: tuple[float, ...], second: tuple[float, ...], higher: bool, said: str) -> None:
    found = direction(_result(*first), _result(*second, row="b"), higher=higher, digits=1)
    assert found == said


def test_the_size_is_the_largest_that_fits() -> None:
    assert [largest_rung([10, 100, 1000], 1.0, budget) for budget in (1, 10, 99, 100, 5000)] == [0, 0, 0, 1, 2]


def test_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    first = Dice(fails_at=3)
    with opened(tmp_path) as journal, pytest.raises(KeyboardInterrupt):
        conduct(first, journal, on_progress=lambda _: None)
    second, told = Dice(), list[Progress]()
    with opened(tmp_path) as journal:
        found = conduct(second, journal, on_progress=told.append)
    assert [work.row for work in first.measured + second.measured] == ["a", "b", "a", "b"]
    assert found == tuple(Dice().measure(work) for work in Dice().works())
    assert [progress.done for progress in told] == [3, 4]
    assert told[-1].seconds_left == 0


def test_a_line_cut_off_by_a_kill_is_measured_again(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        conduct(Dice(), journal, on_progress=lambda _: None)
    path = tmp_path / OUTCOMES_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = Dice()
    with opened(tmp_path) as journal:
        conduct(again, journal, on_progress=lambda _: None)
    assert [(work.row, work.draw) for work in again.measured] == [("b", 1)]
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"draw": 0', b'"drew": 0', 1))
    with pytest.raises(InputError, match=r"outcomes\.jsonl: line 1 is damaged"):
        Journal(tmp_path).outcomes()


def test_one_process_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(RunError, match="another process"), opened(tmp_path):
        pass


def test_table_2_counts_and_says_whose_accuracy_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "table2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["row"]: row for row in found["rows"]}
    assert (rows["shrinkcnn-a"]["params"], rows["shrinkcnn-a"]["macs"]) == (3_600_981, 383_677_672)
    assert rows["shrinkcnn-b"]["paper"]["value"] == 75.1
    assert all(row["mean"] is None and not row["values"] for row in rows.values())
    assert "nothing was trained" in " ".join(found["differences"])
    assert run(["reproduce", "table2"]) == 0
    assert "failed" not in capsys.readouterr().out


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(table4, "LADDER", TINY_IMAGES)
    monkeypatch.setattr(language, "LADDER", TINY_TEXT)
    monkeypatch.setattr(figure6, "LADDER", (figure6.SearchSize(3, 8, 4, 1, 2),))
    for module in ("images", "language"):
        monkeypatch.setattr(f"autoshrink.reproduce.{module}.TRIAL_SECONDS", 0.01)
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_4_end_to_end(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "mine.cell.json").write_text(json.dumps(CHAIN.to_json()))
    command = ["reproduce", "table4", "--data", "digits", "--budget", "1s", "--cell", "mine.cell.json", "--json"]
    assert run(command) == 0
    first = capsys.readouterr()
    found = json.loads(first.out)
    assert (found["done"], found["total"]) == (12, 12)
    assert [row["row"] for row in found["rows"]] == ["complete", "ws", "er", "ba", "shrink", "mine"]
    assert all(len(row["values"]) == 2 and 0 <= min(row["values"]) <= 100 for row in found["rows"])
    assert found["rows"][0]["paper"] == {"value": 91.56, "spread": None, "params": "", "macs": "105.61M"}
    assert len(found["verdict"]) == 8
    assert "12 of 12: mine, draw 2" in first.err
    # The same command measures nothing again and says the same; another seed is refused.
    assert run(command) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == found
    assert ", draw" not in again.err
    assert run([*command, "--seed", "1"]) == 2
    assert "begun with another seed" in capsys.readouterr().err
    assert run([*command[:-1], "-o", "t.svg"]) == 0
    assert run([*command[:-1], "-o", "t.md"]) == 0
    assert "mine" in (tiny / "t.svg").read_text()
    assert "| complete graph, N = 8 | 91.56 |" in (tiny / "t.md").read_text()


def test_draws_repeat_and_random_graphs_differ(tiny: Path) -> None:
    asked = Asked("table4", data="digits", budget=0.001, threads=1)
    first, second = (reproduce(asked, tiny / name) for name in ("a", "b"))
    assert [one.values for one in first.results] == [one.values for one in second.results]
    assert read(asked, tiny / "a") == first
    plan = json.loads((tiny / "a" / PLAN_FILE).read_text())
    assert plan == {"name": "table4", "data": "digits", "seed": 0, "size": asdict(TINY_IMAGES[0]), "cells": {}}
    (tiny / "a" / PLAN_FILE).write_text(json.dumps(plan | {"size": plan["size"] | {"epochs": 2}}))
    with pytest.raises(InputError, match="at a size that this version does not have"):
        read(asked, tiny / "a")


@pytest.mark.parametrize("name", ["table3", "table5"])
def test_language_tables_end_to_end(tiny: Path, name: str) -> None:
    found = reproduce(Asked(name, data="pydocs", budget=0.001), tiny / name)
    assert found.done == found.total == 2 * len(found.results)
    assert all(one.paper is not None and one.mean is not None and one.mean > 1 for one in found.results)
    params = {one.row: one.params for one in found.results}
    if name == "table3":
        assert max(params.values()) <= TINY_TEXT[0].params
    else:
        assert params["complete-rnn"] > params["shrinkrnn"]
    assert len(found.verdict) == len(found.results) - 1


def test_figure_6_end_to_end(tiny: Path) -> None:
    found = reproduce(Asked("figure6", data="digits", budget=0.001), tiny / "k")
    assert [one.row for one in found.results] == ["K=5", "K=10", "K=15"]
    # Three edges: every K tries all of them, so that all searches are the same.
    assert len({one.values for one in found.results}) == 1
    assert found.spent > 0
    (tiny / "k" / OUTCOMES_FILE).unlink()
    assert reproduce(Asked("figure6", data="digits", budget=0.001), tiny / "k").results == found.results


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table9"], "no table of that name"),
        (["table2", "--cell", "shrinkcnn-a"], "has no place for a cell"),
        (["table4", "--cell", "shrinkrnn"], "a recurrent cell; table4 compares conv ones"),
        (["table3", "--cell", "lstm"], "has no cell"),
        (["table4", "--data", "nowhere"], "nowhere"),
        (["table4", "--budget", "soon"], "is not a time"),
        (["table2", "-o", "t.pdf"], "a table ends in .md"),
        (["table2", "-o", "t.svg"], "nothing to draw"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tiny: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_picture_keeps_names_apart() -> None:
    rows = tuple(Result(str(n), f"row {n}", None, (50.0 + n / 100,), 1e6 + n, 1.0) for n in range(4))
    drawn = picture(Reproduction("table4", "t", "u", rows, (), (), 4, 4, 1, 1.0, None))
    assert drawn is not None
    heights = sorted(
        float(part.split('"')[0]) for part in drawn.split('class="name"')[1:] for part in [part.split('y="')[1]]
    )
    assert all(after - before >= 14.9 for before, after in pairwise(heights))
