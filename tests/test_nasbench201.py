"""NAS-Bench-201 as a space: its cells, its moves, made-up tables of them, and the real table where it is there."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import os
import random
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from autoshrink.design import design_from_json
from autoshrink.errors import InputError
from autoshrink.store import Store, read_record
from nasbench201 import Ground, arguments, kept_run, main
from nasbench201_table import (
    CONV3X3,
    EDGES,
    IDENTITY,
    MOVES,
    NOTHING,
    OPS,
    Table,
    TableCell,
    TableEvaluator,
    TableSpace,
)

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PLUGIN = BENCHMARKS / "nasbench201_table.py"
ALL = [TableCell(ops) for ops in itertools.product(OPS, repeat=len(EDGES))]
REAL = Path(os.environ.get("AUTOSHRINK_DATA", "")) / "nasbench201" / "nasbench201.csv.gz"


def worth(cell: TableCell) -> float:
    """Made up: every edge adds something, the last two identities most; and a noise that the spelling decides."""
    points = {CONV3X3: 5.0, IDENTITY: 4.0, NOTHING: -3.0}
    value = 60 + sum(points.get(op, 1.0) * (1 + place / 9) for place, op in enumerate(cell.ops))
    return value + 3 * (cell.ops[3] == IDENTITY) + random.Random(cell.key).random()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells; `v` and `t` are alike, `gaps` lacks what has no edge into the last node."""
    file = tmp_path_factory.mktemp("table") / "table.csv"
    lines = ["arch,v,t,gaps,ms"]
    for cell in ALL:
        value = worth(cell)
        gap = "nan" if cell.ops[3:] == (NOTHING,) * 3 else f"{value:.3f}"
        cost = 1 + cell.resources().macs / 1e7
        lines.append(f"{cell},{value:.3f},{value + 1:.3f},{gap},{cost:.4f}")
    file.write_text("\n".join(lines))
    return file


def printed(words: str, *, status: int = 0) -> tuple[str, str]:
    """What the benchmark says on standard output and on standard error."""
    out, err, ended = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["nasbench201.py", *shlex.split(words)])
        warnings.simplefilter("ignore")
        try:
            main()
        except SystemExit as leaving:
            ended = int(leaving.code or 0)
    assert ended == status, err.getvalue()
    return out.getvalue(), err.getvalue()


def rows(words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed(f"{words} --json")[0])["rows"]
    return found


def test_a_cell_is_read_as_it_is_written() -> None:
    for cell in random.Random(0).sample(ALL, 200):
        assert TableCell.read(str(cell)) == cell
        assert design_from_json(cell.to_json()) == cell
    with pytest.raises(InputError, match=r"no cell; one reads \|op~0\|"):
        TableCell.read("|none~0|+|none~0|none~2|")
    with pytest.raises(InputError, match="'pool'"):
        TableCell.read(str(ALL[0]).replace(OPS[0], "pool"))


def test_isomorphic_cells_share_a_key_and_there_are_6466() -> None:
    assert len({cell.key for cell in ALL}) == 6466, "as many as the benchmark's authors count"
    # What reaches the last node by identities is no longer told from what reaches it at once.
    for op in OPS:
        one = TableCell((IDENTITY, NOTHING, NOTHING, NOTHING, op, NOTHING))
        assert one.key == TableCell((NOTHING, NOTHING, NOTHING, op, NOTHING, NOTHING)).key


def test_costs_are_those_of_the_published_network() -> None:
    best = TableCell((CONV3X3, CONV3X3, CONV3X3, IDENTITY, CONV3X3, CONV3X3))
    assert best.resources().macs == 184_730_240, "published: 184.73M"
    for cell in random.Random(1).sample(ALL, 100):
        for _, child in TableSpace(allowed="ops").moves(cell):
            assert child.resources().macs <= cell.resources().macs


@pytest.mark.parametrize("allowed", MOVES)
def test_moves_change_one_edge_to_what_they_say(allowed: str) -> None:
    space = TableSpace(allowed=allowed)
    counts = {"edges": 6, "identity": 12, "ops": 24, "both": 24}
    assert len(space.moves(space.start)) == counts[allowed]
    for cell in random.Random(2).sample(ALL, 100):
        for change, child in space.moves(cell):
            differ = [place for place in range(6) if cell.ops[place] != child.ops[place]]
            (place,) = differ
            assert change.label == "{}→{} op {} → {}".format(*EDGES[place], cell.ops[place], child.ops[place])
            assert child.ops[place] in MOVES[allowed][cell.ops[place]]
        assert space.mutated(cell, random.Random(0)) in [child for _, child in TableSpace(allowed="both").moves(cell)]


def test_a_cell_is_six_decisions_of_five_operations() -> None:
    space = TableSpace()
    assert [(one.name, one.options) for one in space.decisions] == [(f"{i}-{j}", OPS) for i, j in EDGES]
    every = itertools.product(range(len(OPS)), repeat=len(EDGES))
    assert [space.chosen(choices) for choices in every] == ALL
    for cell in [*random.Random(3).sample(ALL, 100), space.random(random.Random(4))]:
        assert space.chosen(space.choices(cell)) == cell
    with pytest.raises(InputError, match="decision 0-1 has options 0 … 4, not 5"):
        space.chosen((5, 0, 0, 0, 0, 0))


def test_identity_or_nothing_is_decided_once_an_edge() -> None:
    space, cell, proposed = TableSpace(allowed="identity"), TableSpace().start, 1
    while moves := space.moves(cell):
        proposed += len(moves)
        cell = moves[0][1]
    assert proposed == 43


def test_a_gap_is_a_failed_evaluation(table: Path) -> None:
    evaluator = TableEvaluator(Table(table, ["gaps"]), "gaps")
    empty = TableCell((NOTHING,) * 6)
    assert evaluator.measured(empty).reason == "the table has no gaps of it"
    assert evaluator.measured(TableSpace().start).performance == pytest.approx(
        worth(TableSpace().start) / 100, abs=1e-5
    )
    found = rows(f"--table {table} --validation gaps --test gaps --seeds 3 --budgets 30 60 --only autoshrink random")
    assert all(row["test_mean"] > 60 for row in found)
    assert (
        "gaps: 125 of 15625 cells have no value"
        in printed(f"--table {table} --validation gaps --test gaps --seeds 1 --only random")[1]
    )


def test_rows_say_what_they_are_and_grow_with_the_evaluations(table: Path) -> None:
    found = rows(
        f"--table {table} --validation v --test t --seeds 4 --budgets 10 25 60 --only autoshrink evolution random"
    )
    assert {row["method"] for row in found} == {"autoshrink", "evolution", "random"}
    for row in found:
        assert row["evaluations"] <= 60
        assert row["test_sd"] >= 0
        assert row["seeds"] == (4 if row["drawn"] or row["method"] != "autoshrink" else 1)
    # `v` and `t` rank alike: what is best by one only gets better by the other.
    heads: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in found:
        head = row["method"], row["moves"], row["drawn"], row["walk"]
        heads.setdefault(head, []).append((row["evaluations"], row["test_mean"]))
    for steps in heads.values():
        assert steps == sorted(steps)
    assert ("autoshrink", "ops", 8, "best") in heads
    assert ("autoshrink", "both", 8, "child") not in heads


def test_strategies_of_decisions_search_the_table_too(table: Path) -> None:
    found = rows(
        f"--table {table} --validation v --test t --seeds 3 --budgets 30 60 --only ddpnas oneshot msnas random"
    )
    last = {(row["method"], row["drawn"]): row for row in found}
    assert set(last) == {("ddpnas", 3), ("ddpnas", 12), ("oneshot", None), ("msnas", None), ("random", None)}
    # A start, four phases and the generated ones; a network that is asked for again counts once.
    assert 30 < last["ddpnas", 3]["evaluations"] <= 1 + 3 * (5 + 4 + 3 + 2) + 3


def test_a_network_counts_once_unless_proposals_are_counted(table: Path) -> None:
    words = f"--table {table} --validation v --test t --only autoshrink --moves identity --walk child --drawn"
    once, often = rows(words)[-1], rows(f"{words} --count proposals")[-1]
    assert once["evaluations"] < often["evaluations"] == 43
    assert once["test_mean"] == often["test_mean"]


def test_the_hypervolume_of_everything_is_one(table: Path) -> None:
    ground = Ground(arguments(shlex.split(f"--table {table} --validation v --test t --cost ms")))
    everything = [ground.evaluator.measured(cell) for cell in ALL]
    row = ground.rows(next(ground.methods()), [everything[7000:7001]])[0]
    assert 0 < row["hypervolume_mean"] < 1
    ground.options.budgets = [len(ALL)]
    assert ground.rows(next(ground.methods()), [everything])[0]["hypervolume_mean"] == pytest.approx(1)


def test_optuna_is_told_of_failures_and_costs(table: Path) -> None:
    pytest.importorskip("optuna")
    found = rows(f"--table {table} --validation gaps --test t --cost ms --seeds 1 --budgets 12 --only tpe nsga2")
    assert [(row["method"], row["evaluations"]) for row in found] == [("tpe", 12), ("nsga2", 12)]
    assert all(0 < row["hypervolume_mean"] < 1 for row in found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--table {0} --validation w --test t", "there is no column 'w'; it has arch, v, t, gaps, ms"),
        ("--table nothing.csv --validation v --test t", "nothing.csv: no table can be read from it"),
        ("--table {0} --validation arch --test t", "line 2: could not convert string to float"),
        ("--table {0} --validation v --test t --only asha", "--only asha: there is no such method"),
    ],
)
def test_what_cannot_be_read_is_named(words: str, message: str, table: Path) -> None:
    assert message in printed(words.format(table), status=2)[1]


def test_a_run_is_kept_killed_and_gone_on_with(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same search through the run loop: the log of one that was killed is that of one that was not."""
    words = f"--table {table} --validation v --test t --moves ops --drawn 8 --walk best --budgets 40"
    ground = Ground(arguments(shlex.split(words)))
    whole = kept_run(ground, tmp_path / "whole")
    append, left = Store.append, [25]

    def stopping(self: Store, kind: str, body: dict[str, Any]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return append(self, kind, body)

    monkeypatch.setattr(Store, "append", stopping)
    with pytest.raises(KeyboardInterrupt):
        kept_run(ground, tmp_path / "killed")
    monkeypatch.undo()
    assert not read_record(tmp_path / "killed").finished
    again = kept_run(ground, tmp_path / "killed")
    assert again.finished
    assert again.candidates == whole.candidates
    assert again.decisions == whole.decisions

    best, found = whole.best(), ground.search("ops", ground.settings(candidates=8, walk="best"))
    assert best is not None
    measured = [one.evaluation for one in whole.candidates if one.same_as is None]
    assert [one.design for one in measured] == [one.design for one in found[: len(measured)]], (
        "in memory it is the same"
    )
    assert best.performance == max(one.performance or 0 for one in measured)

    command = [sys.executable, "-m", "autoshrink", "show", str(tmp_path / "killed"), "--plugin", str(PLUGIN)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(best.design) in shown.replace("\n", "")


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_file(), reason="AUTOSHRINK_DATA names no folder with nasbench201/nasbench201.csv.gz")
def test_the_real_table_spells_isomorphic_cells_as_we_do() -> None:
    with gzip.open(REAL, "rt") as lines:
        head, *body = (line.rstrip("\n").split(",") for line in lines)
    arch, unique = head.index("arch"), head.index("unique")
    pairs = {(TableCell.read(row[arch]).key, row[unique]) for row in body}
    assert len(pairs) == len({key for key, _ in pairs}) == len({spelled for _, spelled in pairs}) == 6466


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not REAL.is_file(), reason="AUTOSHRINK_DATA names no folder with nasbench201/nasbench201.csv.gz")
@pytest.mark.parametrize(("data", "few", "many"), [("cifar10", 94.3, 94.37), ("cifar100", 72.4, 73.0)])
def test_on_the_real_table_shrinking_is_ahead_of_evolution(data: str, few: float, many: float) -> None:
    words = (
        f"--table {REAL} --validation {data}_val_short --test {data}_test_200 --seeds 25 --only autoshrink evolution"
    )
    found = rows(f"{words} --budgets 25 43 80 175 --moves identity ops both")
    shrunk = [row for row in found if row["method"] == "autoshrink"]
    whole = [row for row in shrunk if row["drawn"] is None]
    assert max(row["test_mean"] for row in whole if row["evaluations"] <= 43) >= few
    assert max(row["test_mean"] for row in whole if row["evaluations"] <= 175) >= many
    evolved = {row["evaluations"]: row["test_mean"] for row in found if row["method"] == "evolution"}
    for k, most in ((8, 80), (12, 175)):
        drawn = [row for row in shrunk if (row["drawn"], row["walk"], row["moves"]) == (k, "best", "both")]
        assert {row["evaluations"] for row in drawn} == set(evolved)
        assert all(row["test_mean"] > evolved[row["evaluations"]] for row in drawn if row["evaluations"] <= most)
