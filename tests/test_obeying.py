"""Commands while a search goes on: what holds from then on, for every strategy, and that a killed run replays them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autoshrink.cell import Cell
from autoshrink.commands import command_of_words
from autoshrink.events import Event
from autoshrink.mailbox import Inbox, Posted
from autoshrink.record import RunRecord, replay
from autoshrink.run import Loop
from fakes import FakeEvaluator, created

Script = Mapping[int, Sequence[str]]
"""Commands by the step from which on they count, as words."""

STRATEGIES: dict[str, dict[str, Any]] = {
    "autoshrink": {},
    "autoshrink, lazy": {"walk": "best", "nodes": 4},
    "random": {"strategy": "random"},
    "evolution": {"strategy": "evolution", "evolution": {"population": 5, "sample": 2}},
    "oneshot": {"strategy": "oneshot", "oneshot": {"designs": 5, "rounds": 6}},
    "ddpnas": {"strategy": "ddpnas"},
    "msnas": {"strategy": "msnas", "msnas": {"sweeps": 1, "samples": 2}},
    "firefly": {"strategy": "firefly", "candidates": "all"},
    "successive-halving": {"strategy": "successive-halving", "halving": {"designs": 6}},
    "exchange": {"strategy": "exchange", "patience": 2},
}


class Notebook:
    """A log in memory, which dies right after its n-th event."""

    def __init__(self, folder: Path, kept: Sequence[Event] = (), *, lives: int = 10**9, **overrides: Any) -> None:
        self.folder = folder
        self._kept = list(kept)
        self._lives = lives
        if not kept:
            self._kept.append(Event(1, 1.0, "created", created({"nodes": 5} | overrides)[1]))

    def append(self, kind: str, body: dict[str, Any]) -> Event:
        """Keep one."""
        event = Event(len(self._kept) + 1, 1.0, kind, json.loads(json.dumps(body)))
        self._kept.append(event)
        if event.number == self._lives:
            raise KilledError
        return event

    def events(self) -> Iterator[Event]:
        """All of them."""
        return iter(list(self._kept))


class KilledError(Exception):
    """Stands for the death of the process."""


class Slips(Inbox):
    """Commands that are said as soon as the step before theirs is over; what the log has is not said again."""

    def __init__(self, log: Notebook, script: Script) -> None:
        super().__init__(log.folder)
        self._script = script
        self._known = {one.id for one in replay(log.events()).commands}
        self._log = log

    def waiting(self) -> tuple[Posted, ...]:
        """Those of the steps up to the next one."""
        done = sum(one.kind == "decided" for one in self._log.events())
        due = [words for at in sorted(self._script) if at <= done for words in self._script[at]]
        for number, words in enumerate(due, start=1):
            if str(number) not in self._known:
                self._known.add(str(number))
                name, _, rest = words.partition(" ")
                said = [name, *([rest] if name == "note" else rest.split())]
                self._waiting.append(Posted(str(number), 1.0, "ann", command_of_words(said)))
        return tuple(self._waiting)


def went_on(log: Notebook, script: Script) -> RunRecord:
    return Loop(log, FakeEvaluator(), fresh=FakeEvaluator(), inbox=Slips(log, script), clock=lambda: 0.0).run()


def searched(script: Script, **overrides: Any) -> RunRecord:
    return went_on(Notebook(Path("run"), **overrides), script)


def story(log: Notebook) -> list[tuple[str, Any]]:
    """The log without what may differ between two runs of one search told the same."""
    return [(one.kind, one.body) for one in log.events() if one.kind != "opened"]


def cells_from(record: RunRecord, step: int) -> list[Cell]:
    return [one.cell for one in record.candidates if one.step >= step]


# --- what holds from then on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("step", [0, 1, 2])
def test_forbidden_never_again_pinned_always_whatever_the_strategy(name: str, step: int) -> None:
    script = {step: ["forbid 0-2", "pin 1-3", "op 3 conv1x1"], step + 2: ["pin 0-1", "forbid 2-3"]}
    record = searched(script, **STRATEGIES[name])
    assert record.finished
    assert [one.refused for one in record.commands[:3]] == [None] * 3
    found = cells_from(record, step)
    assert found
    for cell in found:
        assert (0, 2) not in cell.edges
        assert (1, 3) in cell.edges
        assert cell.ops[3] == "conv1x1"
    if len(record.commands) == 5:
        assert all((0, 1) in cell.edges and (2, 3) not in cell.edges for cell in cells_from(record, step + 2))
    best = record.best()
    assert best is None or record.keeps(best.design)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_goes_on_from_a_picked_candidate_near_a_focus_by_another_penalty(name: str) -> None:
    script = {2: ["penalty 0.5", "pick 1.0"], 3: ["undo"], 4: ["note that was it"]}
    record = searched(script, **STRATEGIES[name])
    assert record.finished
    assert {one.refused for one in record.commands} == {None}
    assert record.penalties == ((0, 0.02), (2, 0.5))
    assert record.settings.penalty == 0.5
    assert record.asked.penalty == 0.02


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_is_refused_changes_nothing(name: str) -> None:
    alone, log = Notebook(Path("run"), **STRATEGIES[name]), Notebook(Path("run"), **STRATEGIES[name])
    went_on(alone, {})
    script = {0: ["pin 1-9"], 1: ["forbid 7-8", "op 2 conv9x9", "unpin 0-1", "pick 99.0"], 2: ["resume", "note hello"]}
    record = went_on(log, script)
    assert all(one.refused for one in record.commands[:-1])
    assert [one for one in story(log) if one[0] != "command"] == story(alone)


@pytest.mark.parametrize("name", STRATEGIES)
def test_undone_at_once_it_was_never_said(name: str) -> None:
    alone, log = Notebook(Path("run"), **STRATEGIES[name]), Notebook(Path("run"), **STRATEGIES[name])
    went_on(alone, {})
    script = {1: ["forbid 0-1", "undo"], 2: ["penalty 2", "pick 0.0", "undo", "undo"]}
    record = went_on(log, script)
    assert {one.refused for one in record.commands} == {None}
    assert [one for one in story(log) if one[0] != "command"] == story(alone)


# --- kills -----------------------------------------------------------------------------------------------------------


SCRIPT = {
    1: ["pin 0-3", "note a"],
    2: ["forbid 1-2", "forbid 8-9", "penalty 0.3"],
    3: ["pick 1.1", "undo", "undo"],
    4: ["pick 2.0"],
    5: ["stop"],
}


@pytest.mark.parametrize("name", ["autoshrink", "evolution", "oneshot", "msnas"])
def test_killed_after_every_event_it_ends_as_if_undisturbed(name: str) -> None:
    overrides = {"nodes": 4} | STRATEGIES[name]
    whole = Notebook(Path("run"), **overrides)
    went_on(whole, SCRIPT)
    events = list(whole.events())
    assert sum(one.kind == "command" for one in events) >= 8
    for lives in range(2, len(events) + 1):
        dying = Notebook(Path("run"), lives=lives, **overrides)
        with pytest.raises(KilledError):
            went_on(dying, SCRIPT)
        resumed = Notebook(Path("run"), list(dying.events()))
        went_on(resumed, SCRIPT)
        assert story(resumed) == story(whole), lives
