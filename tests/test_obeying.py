"""Commands while a search goes on: what holds from then on, for every strategy, and that a killed run replays them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.analysts import CuttingEdges
from autoshrink.cell import Cell
from autoshrink.commands import Forbid, command_of_words
from autoshrink.errors import InputError
from autoshrink.events import Event
from autoshrink.mailbox import Inbox, Posted
from autoshrink.obeying import Obeying
from autoshrink.record import RunRecord
from autoshrink.replaying import replay
from autoshrink.report import render
from autoshrink.results import summary
from autoshrink.run import Loop
from autoshrink.spaces import CellSpace
from autoshrink.spaces.constraints import Constraints, distance
from autoshrink.strategies.analyst import Cutting
from autoshrink.watching import Progress, Watcher
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


PAIRS = tuple(combinations(range(5), 2))
FOCUS = Cell("conv", ("input", "conv1x1", "sepconv3x3", "conv1x1", "sepconv3x3"), PAIRS[1:6])
"""Of the searches here."""


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


FINALS, AFTER = 1000, 2000
"""Turns of a script that are no steps: while the finals are measured, and when the run is finished."""


class Slips(Inbox):
    """Commands that are said as soon as the step before theirs is over; what the log has is not said again."""

    def __init__(self, log: Notebook, script: Script) -> None:
        super().__init__(log.folder)
        self._script = script
        self._known = {one.id for one in replay(log.events()).commands}
        self._log = log

    def _turn(self) -> int:
        kinds = [one.kind for one in self._log.events()]
        if kinds[-1] in ("finished", "command") and "finished" in kinds:
            return AFTER
        return FINALS if kinds[-1] == "remeasured" else kinds.count("decided")

    def waiting(self) -> tuple[Posted, ...]:
        """Those of the steps up to the next one."""
        done = self._turn()
        due = [words for at in sorted(self._script) if at <= done for words in self._script[at]]
        for number, words in enumerate(due, start=1):
            if str(number) not in self._known:
                self._known.add(str(number))
                name, _, rest = words.partition(" ")
                said = [name, *([rest] if name == "note" else rest.split())]
                self._waiting.append(Posted(str(number), 1.0, "ann", command_of_words(said, lambda _: FOCUS.to_json())))
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
@pytest.mark.parametrize("step", [0, 2])
def test_near_a_focus_whatever_the_strategy(name: str, step: int) -> None:
    script = {step: ["op 2 conv1x1", "undo", "focus file 2"], step + 1: ["pin 0-1"], step + 2: ["pin 1-2", "pin 3-4"]}
    record = searched(script, **STRATEGIES[name] | {"nodes": 5})
    refused = [one.refused for one in record.commands]
    assert refused[:3] == [None] * 3
    assert all("focus does not keep" in str(one) for one in refused[3:4])
    found = cells_from(record, step)
    assert found
    assert all(distance(cell, FOCUS) <= 2 for cell in found)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_goes_on_from_a_picked_candidate_by_another_penalty(name: str) -> None:
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


# --- pauses and ends -------------------------------------------------------------------------------------------------


def obeying(log: Notebook, script: Script) -> tuple[RunRecord, list[tuple[str, int, int]]]:
    """The run, and what whoever watches it is told."""
    seen: list[tuple[str, int, int]] = []

    class Seeing(Watcher):
        def progress(self, progress: Progress) -> None:
            seen.append((progress.phase, progress.step, progress.expected - progress.done))

    inbox = Slips(log, script)
    run = Loop(log, FakeEvaluator(), fresh=FakeEvaluator(), inbox=inbox, watcher=Seeing(), clock=lambda: 0.0)
    return run.run(), seen


def test_a_pause_asks_for_nothing_until_somebody_says_resume() -> None:
    alone, log = Notebook(Path("run")), Notebook(Path("run"))
    went_on(alone, {})
    record, seen = obeying(log, {2: ["pause", "note one", "resume"]})
    assert [one.refused for one in record.commands] == [None] * 3
    assert [one for one in story(log) if one[0] != "command"] == story(alone)
    assert "paused" not in {phase for phase, _, _ in seen}, "it was resumed before anybody waited"


def test_while_it_waits_it_looks_for_commands_and_the_time_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Notebook(Path("run"))
    script: dict[int, list[str]] = {2: ["pause"]}
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            script[2].append("forbid 0-3")
        if len(waited) == 5:
            script[2].append("resume")

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(Obeying.__init__, "__kwdefaults__", {**(Obeying.__init__.__kwdefaults__ or {}), "sleep": sleep})
    record, seen = obeying(log, script)
    assert waited == [0.2] * 5
    assert ("paused", 2, 0) in seen
    assert [(one.command.command, one.step) for one in record.commands] == [("pause", 2), ("forbid", 2), ("resume", 2)]
    assert all((0, 3) not in cell.edges for cell in cells_from(record, 2))


def test_a_paused_run_that_is_resumed_goes_on_and_says_so() -> None:
    dying = Notebook(Path("run"))
    with pytest.raises(KilledError):
        went_on(dying_after_pause(dying), {2: ["pause"]})
    log = Notebook(Path("run"), list(dying.events()))
    record = went_on(log, {2: ["pause"]})
    assert record.finished
    assert [(one.command.command, one.author) for one in record.commands] == [
        ("pause", "ann"),
        ("resume", "autoshrink resume"),
    ]


def dying_after_pause(log: Notebook) -> Notebook:
    append = log.append

    def dies(kind: str, body: dict[str, Any]) -> Event:
        event = append(kind, body)
        if kind == "command":
            raise KilledError
        return event

    log.append = dies  # type: ignore[method-assign]
    return log


def test_stop_measures_the_finals_and_cancel_does_not() -> None:
    stopped, _ = obeying(Notebook(Path("run")), {3: ["stop"]})
    assert stopped.finished
    assert stopped.stopped == "a person ended it"
    assert len(stopped.decisions) == 3
    assert stopped.remeasured
    cancelled, _ = obeying(Notebook(Path("run")), {3: ["cancel"]})
    assert cancelled.finished
    assert cancelled.stopped == "a person cancelled it"
    assert not cancelled.remeasured
    best = cancelled.best()
    assert best is not None
    assert not best.repeats


class Cancelling(Slips):
    """Cancels after so many evaluations."""

    def __init__(self, log: Notebook, after: int) -> None:
        super().__init__(log, {})
        self._after = after

    def waiting(self) -> tuple[Posted, ...]:
        """The one command, once it is time."""
        done = sum(one.kind == "evaluated" for one in self._log.events())
        if done >= self._after and "1" not in self._known:
            self._known.add("1")
            self._waiting.append(Posted("1", 1.0, "ann", command_of_words(["cancel"])))
        return tuple(self._waiting)


def test_cancel_keeps_what_was_measured_of_a_step_and_a_kill_changes_nothing() -> None:
    def run(log: Notebook) -> RunRecord:
        return Loop(log, FakeEvaluator(), fresh=FakeEvaluator(), inbox=Cancelling(log, 6), clock=lambda: 0.0).run()

    whole = Notebook(Path("run"))
    record = run(whole)
    assert len(record.candidates) == 6
    assert [one.step for one in record.decisions] == [0, 1]
    assert (record.commands[0].step, record.stopped) == (3, "a person cancelled it")
    for lives in range(2, len(list(whole.events())) + 1):
        dying = Notebook(Path("run"), lives=lives)
        with pytest.raises(KilledError):
            run(dying)
        resumed = Notebook(Path("run"), list(dying.events()))
        run(resumed)
        assert story(resumed) == story(whole), lives


def test_cancel_ends_the_finals() -> None:
    log = Notebook(Path("run"))
    record, _ = obeying(log, {FINALS: ["cancel"]})
    events = list(log.events())
    for lives in range(len(events) - 3, len(events)):
        resumed = Notebook(Path("run"), events[:lives])
        obeying(resumed, {FINALS: ["cancel"]})
        assert story(resumed) == story(log), lives
    assert record.finished
    assert sum(map(len, record.remeasured.values())) == 1
    assert record.commands[0].refused is None


# --- branches --------------------------------------------------------------------------------------------------------


def reopened(log: Notebook, script: Script) -> bool:
    return Obeying(log, Slips(log, script)).reopen()


def test_a_finished_run_goes_on_from_a_picked_candidate_as_a_branch() -> None:
    script = {3: ["stop"], AFTER: ["pin 0-1", "pick 1.1", "forbid 0-2"]}
    log = Notebook(Path("run"))
    first = went_on(log, {3: script[3]})
    assert reopened(log, script)
    record = went_on(log, script)
    assert record.finished
    assert record.commands[1].refused == "the run is finished; pick a candidate first, and it goes on from that"
    assert [one.refused for one in record.commands[2:]] == [None, None]
    assert [end.best_key for end in record.ends] == [first.best_key]
    assert record.ends[0].remeasured == first.remeasured
    assert record.candidates[: len(first.candidates)] == first.candidates
    assert record.chosen()[3].design == record.of_step(1)[1].design or (0, 2) not in record.chosen()[3].cell.edges
    assert all((0, 2) not in cell.edges for cell in cells_from(record, 3))
    assert record.spent().training_macs > first.spent().training_macs
    (forced,) = record.forced()
    assert forced.picked == record.of_step(1)[1]
    assert forced.preferred == first.chosen()[-1]
    for lives in range(len(list(log.events())) - len(record.candidates), len(list(log.events()))):
        resumed = Notebook(Path("run"), list(log.events())[:lives])
        if not replay(resumed.events()).finished:
            went_on(resumed, script)
            assert story(resumed) == story(log), lives


def test_notes_on_a_finished_run_leave_it_finished() -> None:
    log = Notebook(Path("run"))
    went_on(log, {})
    assert not reopened(log, {AFTER: ["note well done", "stop"]})
    record = replay(log.events())
    assert record.finished
    assert [one.refused is None for one in record.commands] == [True, False]


def test_the_time_between_an_end_and_a_command_is_nobodys() -> None:
    log = Notebook(Path("run"))
    went_on(log, {})
    ended = [replace(event, at=float(event.number)) for event in log.events()]
    assert not reopened(log, {AFTER: ["note well done"]})
    *_, told = log.events()
    late = replay([*ended, replace(told, at=ended[-1].at + 1000)])
    assert late.commands
    assert late.active_seconds == replay(ended).active_seconds > 0


# --- what was forced -------------------------------------------------------------------------------------------------


def test_what_was_forced_is_said_with_what_the_search_preferred() -> None:
    record = searched({2: ["pick 1.0"], 3: ["note x"]})
    chosen = record.chosen()[1]
    other = next(index for index in range(3) if index != chosen.index)
    record = searched({2: [f"pick 1.{other}"]})
    (forced,) = record.forced()
    assert (forced.step, forced.preferred, forced.picked) == (2, chosen, record.of_step(1)[other])
    (said,) = summary(record, run=Path("run"))["forced"]
    assert said["preferred"]["candidate"] == f"1.{chosen.index}"
    assert said["preferred"]["score"] == record.settings.score(chosen.evaluation)
    assert said["instead"]["candidate"] == f"1.{other}"
    assert f"the search preferred candidate 1.{chosen.index}" in render(record, name="run")


def test_the_best_keeps_what_holds_at_the_end_and_what_else_would_be_named_is_said() -> None:
    free = searched({}).best()
    assert free is not None
    edge = free.cell.edges[0]
    record = searched({9: [f"forbid {edge[0]}-{edge[1]}"]})
    best, other = record.best(), record.unforced()
    assert best is not None
    assert other is not None
    assert edge not in best.cell.edges
    found = summary(record, run=Path("run"))
    assert found["unforced"]["cell"] == other.cell.to_json()
    assert edge in other.cell.edges


# --- analysts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blind", [None, 1])
def test_an_analyst_is_asked_after_every_step_and_replays(blind: int | None) -> None:
    analyst = CuttingEdges(Cutting(share=0.2, every=2, blind=blind))

    def run(log: Notebook) -> RunRecord:
        inbox = Slips(log, {3: ["pin 0-4"]})
        loop = Loop(log, FakeEvaluator(), fresh=FakeEvaluator(), inbox=inbox, analyst=analyst, clock=lambda: 0.0)
        return loop.run()

    whole = Notebook(Path("run"), strategy="random", nodes=4 if blind else 5)
    record = run(whole)
    own = [one for one in record.commands if one.author == "analyst"]
    assert len(own) > 3
    assert {one.refused for one in own} == {None}
    assert {one.step for one in own} <= {3, 5, 7, 9, 11}
    for told in own:
        assert isinstance(told.command, Forbid)
        assert all(told.command.edge not in cell.edges for cell in cells_from(record, told.step))
    events = list(whole.events())
    for lives in range(2, len(events) + 1, 1 if blind else 3):
        dying = Notebook(Path("run"), lives=lives, strategy="random", nodes=4 if blind else 5)
        with pytest.raises(KilledError):
            run(dying)
        resumed = Notebook(Path("run"), list(dying.events()))
        run(resumed)
        assert [(kind, without_time(body)) for kind, body in story(resumed)] == [
            (kind, without_time(body)) for kind, body in story(whole)
        ], lives


def without_time(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "at"}


# --- the space of what holds -----------------------------------------------------------------------------------------


@st.composite
def _spaces(draw: st.DrawFn) -> tuple[CellSpace, Constraints]:
    nodes = draw(st.integers(3, 6))
    pairs = list(combinations(range(nodes), 2))
    edges = draw(st.lists(st.sampled_from(pairs), min_size=2, unique=True))
    cell = Cell("conv", ("input", *("conv3x3",) * (nodes - 1)), tuple(edges))
    moves = draw(st.sampled_from([{"edges"}, {"edges", "ops"}]))
    some = st.lists(st.sampled_from(cell.edges or pairs), max_size=2)
    held = Constraints(frozenset(draw(some)), frozenset(draw(some)), draw(st.sampled_from([{}, {1: "conv1x1"}])))
    if draw(st.booleans()):
        centre = Cell(cell.kind, cell.ops, tuple(draw(st.lists(st.sampled_from(pairs), unique=True))))
        held = replace(held, centre=centre, radius=draw(st.integers(1, 4)))
    return CellSpace(cell, frozenset(moves)), held


@given(_spaces(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_whatever_a_space_gives_keeps_what_is_held(spaces: tuple[CellSpace, Constraints], seed: int) -> None:
    whole, held = spaces
    try:
        space = whole.constrained(held)
    except InputError:
        return
    rng = Random(seed)
    drawn = [space.start, *space.starts, space.seedling("edge"), *(space.random(rng) for _ in range(5))]
    drawn += [space.projected(whole.random(rng)) for _ in range(5)]
    drawn += [space.mutated(one, rng) for one in drawn]
    drawn += [space.chosen([rng.randrange(len(one.options)) for one in space.decisions]) for _ in range(5)]
    drawn += [child for one in drawn[:3] for _, child in space.moves(one)]
    for one in drawn:
        assert held.keeps(one)
        assert space.projected(one) == one
        assert space.chosen(space.choices(one)) == one
