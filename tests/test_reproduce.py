"""Rebuilding published tables: the arithmetic by hand, a folder that is gone on with, and the tables at a tiny size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import pytest

from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.cli.reproduce_commands import CHECKOUT, missing
from autoshrink.errors import InputError, RunError
from autoshrink_paper.figure6 import Figure6, SearchSize
from autoshrink_paper.journal import OUTCOMES, PLAN, Journal, opened
from autoshrink_paper.published import Published
from autoshrink_paper.rebuilding import Progress, rebuild, run_study
from autoshrink_paper.report import Reproduction, spread_out
from autoshrink_paper.study import Asked, Measurement, Outcome, Row, Study, difference, direction, largest
from autoshrink_paper.tables import LanguageTable, Table4
from autoshrink_paper.trials import ImageSize, TextSize

TINY_IMAGES = (ImageSize(8, 40, 1, 2, 1), ImageSize(8, 1_000_000, 9, 9, 1))
TINY_TEXT = (TextSize(60, 20_000, 8, 1, 2), TextSize(10**9, 200_000, 8, 1, 2))
CHAIN = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (1, 2)))


class Dice(Study):
    """A study whose values are known."""

    name, title, unit = "dice", "Dice", "pips"
    published: ClassVar = {"a": Published("first", 3.0)}
    differences = ("nobody threw",)

    def __init__(self, fails_at: int | None = None) -> None:
        self.rows = {"a": "first", "b": "second"}
        self.measured: list[Measurement] = []
        self._fails_at = fails_at

    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(Measurement(row, draw, 10) for draw in range(2) for row in self.rows)

    def measure(self, one: Measurement) -> Outcome:
        if len(self.measured) == self._fails_at:
            raise KeyboardInterrupt
        self.measured.append(one)
        value = 1.0 + one.draw + (2.0 if one.row == "b" else 0.0)
        return Outcome(one.row, one.draw, value, 100, 7, one.macs, 0.5)

    def verdict(self, rows: Mapping[str, Row]) -> tuple[str, ...]:
        return (direction(rows["a"], rows["b"], higher=True, digits=1),)


def _result(*values: float, row: str = "a", macs: float = 10.0) -> Row:
    return Row(row, row, None, values, macs, 1.0)


def test_rows_by_hand() -> None:
    study = Dice()
    first, second = study.results(study.measure(one) for one in study.measurements()).values()
    assert (first.values, first.mean, first.macs, first.failed) == ((1.0, 2.0), 1.5, 100.0, 0)
    assert second.deviation == pytest.approx(math.sqrt(0.5))
    assert first.paper == Published("first", 3.0)
    assert second.paper is None
    lost = Outcome("a", 0, None, 100, 7, 10, 0.5, "diverged")
    assert study.results([lost])["a"].failed == 1


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
    assert [largest([10, 100, 1000], budget) for budget in (1, 10, 99, 100, 5000)] == [0, 0, 0, 1, 2]


def test_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    first = Dice(fails_at=3)
    with opened(tmp_path) as journal, pytest.raises(KeyboardInterrupt):
        run_study(first, journal, on_progress=lambda _: None)
    second, seen = Dice(), list[Progress]()
    with opened(tmp_path) as journal:
        found = run_study(second, journal, on_progress=seen.append)
    assert [one.row for one in first.measured + second.measured] == ["a", "b", "a", "b"]
    assert found == tuple(Dice().measure(one) for one in Dice().measurements())
    assert [progress.done for progress in seen] == [4]
    assert seen[-1].seconds_left == 0


def test_a_line_cut_off_by_a_kill_is_measured_again(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        run_study(Dice(), journal, on_progress=lambda _: None)
    path = tmp_path / OUTCOMES
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = Dice()
    with opened(tmp_path) as journal:
        run_study(again, journal, on_progress=lambda _: None)
    assert [(one.row, one.draw) for one in again.measured] == [("b", 1)]
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
    monkeypatch.setattr(Table4, "sizes", TINY_IMAGES)
    monkeypatch.setattr(LanguageTable, "sizes", TINY_TEXT)
    monkeypatch.setattr(Figure6, "sizes", (SearchSize(3, 8, 4, 1, 2),))
    monkeypatch.setattr("autoshrink_paper.trials.SPEED_SECONDS", 0.01)
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
    first, second = (rebuild(asked, tiny / name) for name in ("a", "b"))
    assert [one.values for one in first.rows.values()] == [one.values for one in second.rows.values()]
    assert rebuild(asked, tiny / "a").outcomes == first.outcomes
    file = tiny / "a" / PLAN
    plan = json.loads(file.read_text())
    assert plan == {"name": "table4", "data": "digits", "seed": 0, "size": asdict(TINY_IMAGES[0]), "cells": {}}
    file.write_text(json.dumps(plan | {"size": plan["size"] | {"epochs": 2}}))
    with pytest.raises(InputError, match="at a size that this version does not have"):
        rebuild(asked, tiny / "a")
    file.unlink()
    with pytest.raises(RunError, match="outcomes but no plan"):
        rebuild(asked, tiny / "a")


@pytest.mark.parametrize("name", ["table3", "table5"])
def test_language_tables_end_to_end(tiny: Path, name: str) -> None:
    found = rebuild(Asked(name, data="pydocs", budget=0.001), tiny / name)
    assert len(found.outcomes) == 2 * len(found.rows)
    assert "on pydocs" in found.title
    assert "on Penn Treebank" in found.study.heading(type(found.study).data)
    assert all(one.paper is not None and one.mean is not None and one.mean > 1 for one in found.rows.values())
    params = {one.row: one.params for one in found.rows.values()}
    if name == "table3":
        assert max(params.values()) <= TINY_TEXT[0].params
    else:
        assert params["complete-rnn"] > params["shrinkrnn"]
    assert len(found.study.verdict(found.rows)) == len(found.rows) - 1


def test_figure_6_end_to_end(tiny: Path) -> None:
    found = rebuild(Asked("figure6", data="digits", budget=0.001), tiny / "k")
    assert list(found.rows) == ["K=5", "K=10", "K=15"]
    # Three edges: every K tries all of them, so that all searches are the same.
    assert len({one.values for one in found.rows.values()}) == 1
    assert found.spent > 0
    (tiny / "k" / OUTCOMES).unlink()
    assert rebuild(Asked("figure6", data="digits", budget=0.001), tiny / "k").rows == found.rows


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
    placed = spread_out([50.02, 50.0, 50.01, 60.0], gap=1.0)
    assert placed == [52.0, 50.0, 51.0, 60.0]
    with pytest.raises(InputError, match="dice has nothing to draw"):
        Reproduction(Dice(), (), None).picture()


def test_without_the_package_the_command_says_how_to_get_it() -> None:
    assert (CHECKOUT / "autoshrink_paper").is_dir()
    with pytest.raises(InputError, match=r"pip install \./paper"):
        missing()
