"""Commands in real searches: over budgets and ranges of them, and in processes that are killed by signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autoshrink
from autoshrink.analysts import CuttingEdges
from autoshrink.commands import command_of_words
from autoshrink.errors import InputError, RunError
from autoshrink.mailbox import Inbox, Posted, post
from autoshrink.obeying import Obeying
from autoshrink.octaves import search_octaves
from autoshrink.record import RunRecord
from autoshrink.run import ENDED, Loop
from autoshrink.spaces import Space
from autoshrink.store import Log, Store, read_events, read_record
from autoshrink.strategies.analyst import Cutting
from autoshrink.telling import tell
from fakes import FakeEvaluator
from test_at_budget import new_store as at_budget
from test_octaves import new_store as over_range
from text_fixtures import SEARCH, deaths_until_done

TINY: dict[str, Any] = {
    "beside": (),
    "nodes": 4,
    "candidates": 2,
    "finalists": 1,
    "repeats": 1,
    "data": {"train_per_class": 12, "validation_per_class": 6},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 8, "widths": [8, 8]},
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def say(folder: Path, *said: str) -> None:
    folder.mkdir(exist_ok=True)
    for words in said:
        post(folder, command_of_words(words.split()), "ann", clock=lambda: 1.0)


# --- whole networks --------------------------------------------------------------------------------------------------


def test_at_a_budget_edges_are_refused_in_words_and_the_rest_goes(tmp_path: Path) -> None:
    with at_budget(tmp_path / "run") as store:
        say(store.folder, "forbid 0-1", "op 1 conv1x1", "penalty 0.2", "note hello")
        record = Loop(store, FakeEvaluator()).run()
        refused = [one.refused for one in record.commands]
    assert refused[0] == refused[1]
    assert "no cells whose edges" in str(refused[0])
    assert refused[2:] == [None, None]
    assert record.finished
    picked = next(one for one in record.candidates if one.step == 1 and one.index == 1)
    tell(tmp_path / "run", "pick", candidate="1.1")
    with Store.open(tmp_path / "run") as store:
        assert Obeying(store, Inbox(store.folder, [one.id for one in record.commands])).reopen()
        after = Loop(store, FakeEvaluator()).run()
    begun = len(record.decisions)
    assert after.of_step(begun)[0].design == picked.design
    assert len(after.ends) == 1


class Later(Inbox):
    """What is in the file, from the first step on."""

    def __init__(self, log: Log) -> None:
        super().__init__(log.folder)
        self._log = log

    def waiting(self) -> tuple[Posted, ...]:
        """Nothing before anything was measured."""
        return super().waiting() if any(one.kind == "decided" for one in self._log.events()) else ()


def over_budgets(folder: Path, *said: str) -> RunRecord:
    with over_range(folder) as store:
        say(store.folder, *said)
        inbox = Later(store)

        def make(log: Log, space: Space[Any], later: Callable[[float], float]) -> Loop:
            return Loop(log, FakeEvaluator(), space=space, later=later, inbox=inbox)

        return search_octaves(store, make)


@pytest.mark.parametrize("end", ["stop", "cancel"])
def test_a_range_ends_where_a_person_ends_it(end: str, tmp_path: Path) -> None:
    record = over_budgets(tmp_path / "run", end)
    assert record.finished
    assert record.stopped == ENDED[end]
    assert len(record.octaves) == 1
    assert [one.refused for one in record.commands] == [None]
    assert bool(record.octaves[0].remeasured) == (end == "stop")
    with pytest.raises(InputError, match="range of budgets is finished"):
        tell(tmp_path / "run", "pick", candidate="0.0")


def test_a_penalty_is_that_of_the_budgets_after_as_well(tmp_path: Path) -> None:
    record = over_budgets(tmp_path / "run", "penalty 0.2")
    assert [one.settings.penalty for one in record.octaves] == [0.2] * len(record.octaves)
    assert len(record.octaves) > 1
    assert len(record.commands) == 1


# --- kills -----------------------------------------------------------------------------------------------------------

ANALYST = CuttingEdges(Cutting(share=0.2, every=1, blind=3))
KILLED = SEARCH.replace(
    "def attempt(folder):",
    """from autoshrink.analysts import CuttingEdges
from autoshrink.strategies.analyst import Cutting
analyst = CuttingEdges(Cutting(share=0.2, every=1, blind=3))

def attempt(folder):""",
).replace(
    "resume(folder) if begun(folder) else search(settings, run=folder)",
    """(
        resume(folder, analyst=analyst) if begun(folder) else search(settings, run=folder, analyst=analyst)
    )""",
)


def timeless(folder: Path) -> list[Any]:
    """The log without times, processes and what the machine is."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(one) for name, one in value.items() if name not in ("seconds", "at")}
        return [kept(one) for one in value] if isinstance(value, list) else value

    return [(one.kind, kept(one.body)) for one in read_events(folder) if one.kind not in ("opened", "created")]


@pytest.mark.slow
def test_killed_by_signal_at_random_times_all_commands_are_kept(tmp_path: Path) -> None:
    said = ("forbid 0-2", "pin 1-3", "forbid 0-1", "note all")
    for name in ("whole", "killed"):
        say(tmp_path / name, *said)
    whole = autoshrink.search(TINY, run=tmp_path / "whole", analyst=ANALYST)
    assert deaths_until_done(KILLED, tmp_path / "killed", json.dumps(TINY)) > 0
    assert timeless(tmp_path / "killed") == timeless(tmp_path / "whole")
    assert {one.author for one in whole.commands} == {"ann", "analyst"}
    assert [one.refused is None for one in whole.commands[:4]] == [True, True, False, True]
    for one in whole.candidates:
        assert (0, 2) not in one.cell.edges
        assert (1, 3) in one.cell.edges


def waits_for(folder: Path, holds: Any, seconds: float = 90) -> RunRecord:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            record = read_record(folder)
            if holds(record):
                return record
        except RunError:
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


@pytest.mark.slow
def test_told_from_another_process_paused_killed_and_resumed(tmp_path: Path) -> None:
    """What a person does: a search in one terminal, ``tell`` in another, `kill -9`, ``resume``."""
    folder = tmp_path / "run"
    code = "import json, sys, autoshrink; autoshrink.search(json.loads(sys.argv[2]), run=sys.argv[1])"
    slow = TINY | {"recipe": TINY["recipe"] | {"epochs": 6}}
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), json.dumps(slow)])
    try:
        waits_for(folder, lambda record: record.candidates)
        tell(folder, "pause")
        tell(folder, "forbid", edge=(0, 3), author="ann")
        paused = waits_for(folder, lambda record: len(record.commands) == 2)
        step = paused.commands[0].step
        assert paused.steering.paused
        time.sleep(0.5)
        assert len(read_record(folder).candidates) == len(paused.candidates)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    record = autoshrink.resume(folder)
    assert record.finished
    assert [(one.command.command, one.author == "autoshrink resume") for one in record.commands] == [
        ("pause", False),
        ("forbid", False),
        ("resume", True),
    ]
    later = [one.cell for one in record.candidates if one.step >= step]
    assert later
    assert all((0, 3) not in cell.edges for cell in later)
    best = record.best()
    assert best is None or (0, 3) not in best.cell.edges
