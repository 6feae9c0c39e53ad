"""What the live page is given: figures that agree with the search's own, pictures that are safe, and not too many."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell
from autoshrink.commands import command_of
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.live.masks import Mask, Masks, embedded
from autoshrink.live.panels import MOST_MARKS, PANELS, candidates, panels, thinned, what_if_penalty
from autoshrink.live.wiring import changes, current, edge_named, losses, what_if
from autoshrink.record import Candidate, RunRecord
from autoshrink.replaying import replay
from autoshrink.results import finite
from autoshrink.score import compare
from autoshrink.spaces.families import families
from autoshrink.steering import Told
from autoshrink.store import read_events, read_record
from fakes import loop, new_store
from html_fixtures import Page

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "<script>alert(1)</script>"
DATA = {
    "name": HOSTILE, "train": 900, "validation": 200, "fingerprint": "0", "notes": [HOSTILE],
    "classes": [HOSTILE, "b"], "input": [1, 8, 8], "mean": [0.0], "std": [1.0], "skipped": 0,
}  # fmt: skip


def searched(folder: Path, **overrides: Any) -> RunRecord:
    with new_store(folder, **overrides) as store:
        store.append("data", DATA)
        loop(store).run()
    return replay(read_events(folder))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return searched(tmp_path_factory.mktemp("live") / "run", nodes=5, candidates=4)


def unfinished(record: RunRecord, steps: int = 3) -> RunRecord:
    """The same run in the middle of its search."""
    return replace(
        record,
        candidates=tuple(one for one in record.candidates if one.step <= steps),
        decisions=tuple(one for one in record.decisions if one.step <= steps),
        remeasured={}, beside=(), finished=False, stopped=None, best_key=None,
    )  # fmt: skip


def test_every_panel_is_json_and_one_can_be_asked_for_alone(record: RunRecord) -> None:
    for one in (record, unfinished(record), replace(unfinished(record), candidates=(), decisions=())):
        whole = panels(one)
        assert list(whole) == list(PANELS)
        assert json.loads(json.dumps(finite(whole), allow_nan=False))
        for name in PANELS:
            assert panels(one, [name]) == {name: whole[name]}
    with pytest.raises(InputError, match=r"panels are state, .*not no-such"):
        panels(record, ["no-such"])


def test_a_run_can_be_looked_at_after_each_of_its_events(tmp_path: Path) -> None:
    searched(tmp_path / "run", nodes=4, evaluator="inherited", candidates=2)
    events = list(read_events(tmp_path / "run"))
    for number in range(1, len(events) + 1):
        one = replay(events[:number])
        assert json.dumps(finite(panels(one) | candidates(one)), allow_nan=False)


@pytest.mark.parametrize("log", sorted(path.name for path in GOLDEN.glob("store-v*")))
def test_logs_of_every_version_are_shown(tmp_path: Path, log: str) -> None:
    shutil.copytree(GOLDEN / log, tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert json.dumps(finite(panels(record)), allow_nan=False)
    assert len(candidates(record)["candidates"]) == len(record.candidates)


def test_a_search_of_networks_has_a_table_and_no_map(tmp_path: Path) -> None:
    record = searched(tmp_path / "run", nodes=4)
    network: Any = next(iter(families((1, 8, 8), 10).values()))
    held = [replace(one, evaluation=replace(one.evaluation, design=network), change=None) for one in record.candidates]
    found = panels(replace(record, start=network, candidates=tuple(held)))
    assert found["cell"]["stage"] is None
    assert Page(str(found["cell"]["picture"])).having("class")
    assert found["map"]["html"] == ""
    assert "No map" in found["map"]["note"]
    assert not found["state"]["cells"]


@pytest.mark.parametrize("penalty", [0.0, 0.02, 0.1, 1 / 3, 7.5])
@pytest.mark.parametrize("task", ["image", "text"])
def test_scores_of_another_penalty_are_those_of_a_search_with_it(
    tmp_path: Path, record: RunRecord, penalty: float, task: str
) -> None:
    if task == "text":
        with new_store(tmp_path / "text", task="text", mode="paper", candidates=3) as store:
            loop(store).run()
            record = replay(store.events())
    score = record.settings.changed({"penalty": penalty}).score
    found = candidates(record)["candidates"]
    told = what_if_penalty(record, penalty)["scores"]
    assert len(found) == len(record.candidates) >= 3
    for one, shown in zip(record.candidates, found, strict=True):
        value = score(one.evaluation)
        # The page computes the first; not a bit may differ.
        own = -math.inf if shown["gain"] is None else shown["gain"] - penalty * shown["decades"]
        assert own == value
        assert told[shown["candidate"]] == (value if math.isfinite(value) else None)


def test_a_penalty_that_is_none_is_refused(record: RunRecord) -> None:
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="λ is a number from zero on"):
            what_if_penalty(record, wrong)


def test_candidates_come_piece_by_piece(record: RunRecord) -> None:
    whole = candidates(record)
    first, rest = candidates(unfinished(record, 2)), candidates(record, len(unfinished(record, 2).candidates))
    assert first["candidates"] + rest["candidates"] == whole["candidates"]
    assert first["whole"] == whole["whole"]
    assert candidates(record, len(record.candidates))["candidates"] == []


def test_costs_of_an_edge_are_counted_on_the_network_without_it(record: RunRecord) -> None:
    cell = current(unfinished(record))
    assert isinstance(cell, Cell)
    network = record.settings.to_json()["network"]

    def counted(one: Cell) -> Any:
        stages = tuple(network["widths"])
        return count(proxy_architecture(one, stem=network["stem"], widths=stages, shape=(1, 8, 8), classes=2))

    for edge in cell.edges:
        found = what_if(unfinished(record), edge)
        own, other = (counted(one) for one in (cell, cell.without(edge)))
        assert found["there"]
        assert found["change"] == {
            "macs": other.macs - own.macs,
            "params": other.params - own.params,
            "memory": other.peak_activation_bytes - own.peak_activation_bytes,
        }
        assert found["broken"] == []
    with pytest.raises(InputError, match="edge 3-9 is not in the cell"):
        what_if(record, (3, 9))


def test_a_limit_that_would_be_broken_is_named(record: RunRecord) -> None:
    one = unfinished(record)
    cell = current(one)
    assert isinstance(cell, Cell)
    limited = replace(one, settings=one.settings.changed({"limits": {"max_params": 10}}))
    edge = cell.edges[-1]
    assert what_if(limited, edge)["broken"] == ["params"]
    assert "breaks the limit of 10 parameters" in changes(limited, cell, (edge,))[edge].words


def test_the_loss_of_an_edge_is_the_last_that_was_measured(record: RunRecord) -> None:
    chosen = {one.step: one for one in record.chosen()}
    found = losses(record)
    last: dict[Any, Candidate] = {}
    for one in record.candidates:
        if one.edge is not None and not one.evaluation.failed:
            last[one.edge] = one
    assert found.keys() == last.keys()
    for edge, one in last.items():
        parent = chosen[one.step - 1]
        against = compare(parent.evaluation, one.evaluation)
        assert (found[edge].value, found[edge].error) == (against.difference, against.standard_error)
        assert f"step {one.step}" in found[edge].words


def test_what_comes_from_a_run_is_text(tmp_path: Path) -> None:
    record = searched(tmp_path / "run", nodes=4)
    told = Told("1", HOSTILE, 0.0, command_of({"command": "note", "text": HOSTILE}), 1, HOSTILE)
    failed = replace(record.candidates[-1].evaluation, performance=None, reason=HOSTILE, correct=None, parts=None)
    last = replace(record.candidates[-1], evaluation=failed)
    record = replace(
        record, commands=(told,), stopped=HOSTILE, names={record.start.key: HOSTILE, "other": HOSTILE},
        candidates=(*record.candidates[:-1], last), decisions=record.decisions[:-1],
    )  # fmt: skip
    found = panels(record)
    html = [value[key] for value in found.values() for key in ("html", "stage", "picture") if value.get(key)]
    assert len(html) >= 4
    shown = ""
    for source in html:
        page = Page(str(source))
        assert not [tag for tag, _ in page.tags if tag in ("script", "style", "iframe", "img")]
        assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
        # The page's Content-Security-Policy refuses inline styles.
        assert page.having("style") == []
        shown += page.text
    assert HOSTILE in shown
    assert found["state"]["commands"][0]["words"] == f"note: {HOSTILE}"


def test_commands_are_shown_with_what_holds(record: RunRecord) -> None:
    one = unfinished(record)
    cell = current(one)
    assert isinstance(cell, Cell)
    (first, second), third = cell.edges[:2], "paused"
    for number, command in enumerate(
        ({"command": "pin", "edge": list(first)}, {"command": "forbid", "edge": list(second)}, {"command": "pause"})
    ):
        one = one.told(Told(str(number), "ann", 5.0, command_of(command), 4))
    state = panels(one, ["state"])["state"]
    assert (state["pinned"], state["forbidden"], state[third]) == ([list(first)], [list(second)], True)
    assert [said["author"] for said in state["commands"]] == ["ann"] * 3
    # Nothing that breaks them is offered as a next step.
    offered = Page(str(panels(one, ["map"])["map"]["html"])).of("circle", "dot hollow")
    before = Page(str(panels(unfinished(record), ["map"])["map"]["html"])).of("circle", "dot hollow")
    assert len(offered) <= len(before)


def test_a_decision_that_a_person_forced_says_so(record: RunRecord) -> None:
    first = record.chosen()[1]
    held = command_of({"command": "forbid", "edge": list(first.cell.edges[-1])})
    one = record.told(Told("1", "ann", 5.0, held, 2))
    said = [step["forced"] for step in panels(one, ["trajectory"])["trajectory"]["steps"]]
    assert said[2].startswith("Forced by ann: it has edge")
    assert said[2].endswith(f"would have gone on from 1.{first.index}.")
    assert [number for number, words in enumerate(said) if words] == [2]


def masks_of(cells: list[Cell]) -> list[Mask]:
    whole = Masks.over(cells[0], cells)
    assert whole is not None
    found = [whole.of(cell) for cell in cells]
    return [mask for mask in found if mask is not None]


def test_masks_say_which_edges_and_operations_a_cell_has(record: RunRecord) -> None:
    start = record.start
    assert isinstance(start, Cell)
    other = Cell(start.kind, (*start.ops[:2], "conv3x3", *start.ops[3:]), start.edges[1:])
    whole = Masks.over(start, [other])
    assert whole is not None
    assert whole.of(start) == Mask("1" * len(start.edges))
    mask = whole.of(other)
    assert mask is not None
    assert [edge for edge, bit in zip(start.edges, mask.bits, strict=True) if bit == "1"] == list(other.edges)
    assert mask.ops == ((2, "conv3x3"),)
    assert whole.of(Cell("recurrent", ("input", "tanh"), ((0, 1),))) is None


def test_the_map_keeps_distances_as_well_as_two_axes_can(record: RunRecord) -> None:
    cells = [one.cell for one in record.candidates]
    masks = masks_of(cells)
    places = embedded(masks)
    assert np.array_equal(places, embedded(masks))
    points = np.array([[int(bit) for bit in mask.bits] for mask in masks], dtype=float)
    # A second way: classical scaling of the squared distances, up to the sign of each axis.
    squared = ((points[:, None] - points[None]) ** 2).sum(-1)
    centring = np.eye(len(points)) - 1 / len(points)
    values, vectors = np.linalg.eigh(-centring @ squared @ centring / 2)
    scaled = vectors[:, -1:-3:-1] * np.sqrt(values[-1:-3:-1])
    gaps = [((one[:, None] - one[None]) ** 2).sum(-1) for one in (places, scaled)]
    assert np.allclose(gaps[0], gaps[1], atol=1e-8)
    assert embedded([]).shape == (0, 2)
    assert np.array_equal(embedded([Mask("10")]), np.zeros((1, 2)))


def test_ten_thousand_candidates_are_thinned_and_the_chosen_are_kept(record: RunRecord) -> None:
    rng = random.Random(0)
    many = list(record.candidates)
    while len(many) < 10_000:
        one = rng.choice(record.candidates)
        evaluation = replace(one.evaluation, seed=len(many))
        many.append(replace(one, step=1 + len(many) // 100, index=1000 + len(many), evaluation=evaluation))
    large = replace(record, candidates=tuple(many))
    drawn = thinned(large)
    assert len(drawn.candidates) <= MOST_MARKS + 200 + len(record.decisions) * 2 + len(record.of_step(0))
    kept = {(one.step, one.index) for one in drawn.candidates}
    assert {(one.step, one.index) for one in record.chosen()} <= kept
    assert many[-1] in drawn.candidates
    # The rings and the front of the charts are those of the whole run.
    assert (drawn.best(), drawn.complete()) == (large.best(), large.complete())
    assert drawn.front() == large.front()
    assert thinned(record) is record
    front = panels(large, ["front"])["front"]
    assert re.search(r"[\d,]+ of 10,000 candidates are drawn", front["note"])
    assert len(front["html"]) < 1_000_000


def test_names_of_edges() -> None:
    assert edge_named("0-3") == (0, 3)
    for wrong in ("", "0", "node 3=conv1x1", "1-", "-1", "1-2-3", "¹-2", "1-99999999999"):
        assert edge_named(wrong) is None
