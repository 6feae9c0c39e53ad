"""Commands: their JSON, their words, the command file, what is refused, and what they say together."""

from __future__ import annotations

import json
import os
import threading
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from autoshrink.cell import Cell
from autoshrink.cli import run as run_cli
from autoshrink.commands import NAMES, USAGE, command_of, command_of_words
from autoshrink.errors import InputError, RunError
from autoshrink.mailbox import FILE_NAME, Inbox, post, read_posted
from autoshrink.spaces import CellSpace
from autoshrink.spaces.constraints import Constraints
from autoshrink.steering import Steering
from autoshrink.store import read_record
from autoshrink.telling import tell
from fakes import loop, new_store

CELL = Cell("conv", ("input", *("conv1x1",) * 4), tuple(combinations(range(5), 2)))
VALUES: list[dict[str, Any]] = [
    {"command": "pin", "edge": [0, 3]},
    {"command": "forbid", "edge": [1, 4]},
    {"command": "unpin", "edge": [1, 4]},
    {"command": "op", "node": 3, "op": "sepconv3x3"},
    {"command": "pick", "candidate": "3.1"},
    {"command": "penalty", "penalty": 0.05},
    {"command": "focus", "cell": CELL.to_json(), "radius": 3},
    {"command": "note", "text": "a <b> \u2028 note"},
    *({"command": name} for name in ("pause", "resume", "stop", "cancel", "undo")),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value["command"])
def test_a_command_is_its_json_and_its_words(value: dict[str, Any]) -> None:
    command = command_of(value)
    assert command.to_json() == value
    assert command_of(json.loads(json.dumps(command.to_json()))) == command
    assert hash(command) == hash(command_of(value))
    assert command.sentence.isprintable()


def test_every_command_is_known_by_its_words() -> None:
    assert [value["command"] for value in VALUES] == list(NAMES)
    assert set(USAGE) == set(NAMES)
    said = [
        ["pin", "0-3"],
        ["forbid", "1-4"],
        ["unpin", "1-4"],
        ["op", "3", "sepconv3x3"],
        ["pick", "3.1"],
        ["penalty", ".05"],
        ["focus", "some.cell.json", "3"],
        ["note", "a <b> \u2028 note"],
        *([name] for name in ("pause", "resume", "stop", "cancel", "undo")),
    ]
    assert [command_of_words(words, lambda _: CELL.to_json()).to_json() for words in said] == VALUES


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "is a JSON object"),
        ({}, '"command" is one of'),
        ({"command": "forbit"}, "did you mean forbid"),
        ({"command": ["pin"]}, '"command" is one of'),
        ({"command": "pin", "edge": [3, 0]}, "from a lower node to a higher one"),
        ({"command": "pin", "edge": [0, True]}, "valid integer"),
        ({"command": "pin", "edge": [0, 64]}, "less than 64"),
        ({"command": "pin", "edge": "0-3"}, "edge: "),
        ({"command": "pin"}, "edge: Field required"),
        ({"command": "undo", "edge": [0, 1]}, "not permitted"),
        ({"command": "op", "node": 0, "op": "conv1x1"}, "greater than or equal to 1"),
        ({"command": "penalty", "penalty": -1}, "greater than or equal to 0"),
        ({"command": "penalty", "penalty": float("inf")}, "finite"),
        ({"command": "penalty", "penalty": "0.1"}, "valid number"),
        ({"command": "focus", "cell": {"format": "none"}, "radius": 1}, "cell"),
        ({"command": "pick", "candidate": "3"}, "pattern"),
        ({"command": "note", "text": "x" * 2001}, "at most 2000"),
    ],
)
def test_what_is_no_command_is_refused_by_name(value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        command_of(value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "is no command"),
        (["halt"], "is no command"),
        (["pin"], "is said as `pin 0-3`"),
        (["pin", "0-3", "1-4"], "is said as"),
        (["pin", "0,3"], "is no edge"),
        (["penalty", "much"], "is no number"),
        (["penalty", "1e"], "is no number"),
        (["op", "x", "conv1x1"], "is no whole number"),
    ],
)
def test_words_that_say_nothing_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        command_of_words(words)


# --- the file --------------------------------------------------------------------------------------------------------


def test_commands_of_many_threads_are_whole_lines_in_one_order(tmp_path: Path) -> None:
    ids: list[str] = []

    def say(name: int) -> None:
        ids.extend(post(tmp_path, command_of_words(["note", f"{name}.{turn}"]), f"author {name}") for turn in range(10))

    threads = [threading.Thread(target=say, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_posted(tmp_path)
    assert [one.id for one in found] == [str(number) for number in range(1, 41)]
    assert sorted(ids, key=int) == [one.id for one in found]
    own = [one.command.to_json()["text"] for one in found if one.author == "author 2"]
    assert own == [f"2.{turn}" for turn in range(10)]


def test_a_torn_line_is_passed_over_and_the_next_command_is_whole(tmp_path: Path) -> None:
    post(tmp_path, command_of_words(["pause"]), "a")
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"id":"2","at":1.0,"author":"a","comm')
    assert [one.id for one in read_posted(tmp_path)] == ["1"], "it may be a line that is being written"
    inbox, said = Inbox(tmp_path, ["1"]), list[str]()
    assert inbox.take() is None
    assert post(tmp_path, command_of_words(["resume"]), "a") == "3"
    assert [one.id for one in read_posted(tmp_path, said.append)] == ["1", "3"]
    assert len(said) == 1
    assert "line 2: no command" in said[0]
    taken = inbox.take()
    assert taken is not None
    assert (taken.id, taken.command.command) == ("3", "resume")
    assert inbox.take() is None


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"\xff",
        b'{"id":"1","at":NaN,"author":"a","command":{"command":"pause"}}',
        b'{"id":"1","at":1,"author":"","command":{"command":"pause"}}',
        b'{"id":"7","at":1,"author":"a","command":{"command":"pause"}}',
        b'{"id":"1","at":1,"author":"a","command":{"command":"dance"}}',
        b"[" * 100_000,
    ],
)
def test_lines_that_somebody_else_wrote_are_no_commands(tmp_path: Path, line: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(line + b"\n")
    said: list[str] = []
    assert read_posted(tmp_path, said.append) == ()
    assert len(said) == 1


def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    said: list[str] = []
    inbox = Inbox(tmp_path, remark=said.append)
    assert inbox.take() is None
    assert inbox.take() is None
    assert len(said) == 1
    assert "is a pipe" in said[0]
    with pytest.raises(RunError, match="is a pipe"):
        post(tmp_path, command_of_words(["pause"]), "a")


# --- telling ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told") / "run"
    with new_store(folder) as store:
        loop(store).run()
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    new_store(tmp_path / "run").close()
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pin 1-4", "edge 1-4 is not in the cell"),
        ("unpin 1-2", "neither pinned nor forbidden"),
        ("op 3 conv9x9", "operation 'conv9x9' is unknown"),
        ("op 9 conv1x1", "node 9 is not in the cell"),
        ("pick 0.0", "there is no candidate 0.0; none was measured yet"),
        ("resume", "is not paused"),
        ("undo", "no command to take back"),
    ],
)
def test_what_cannot_be_followed_is_refused_at_once(begun: Path, words: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tell(begun, command_of_words(words.split()))
    assert not (begun / FILE_NAME).exists()


def test_commands_that_wait_are_taken_into_account(begun: Path) -> None:
    assert tell(begun, "pin", edge=(0, 3)).id == "1"
    with pytest.raises(InputError, match="0-3 is pinned; unpin it first"):
        tell(begun, "forbid", edge=(0, 3))
    tell(begun, "pause")
    with pytest.raises(InputError, match="paused already"):
        tell(begun, "pause")
    tell(begun, "undo")
    tell(begun, "forbid", edge=(0, 3), author="ann")
    for edge in ((0, 1), (0, 2)):
        if edge == (0, 2):
            with pytest.raises(InputError, match="no edge would be left"):
                tell(begun, "forbid", edge=edge)
        else:
            tell(begun, "forbid", edge=edge)
    assert [one.author for one in read_posted(begun)][3] == "ann"


def test_of_a_finished_run_a_candidate_may_be_picked(finished: Path) -> None:
    with pytest.raises(InputError, match="finished; pick a candidate first"):
        tell(finished, "pin", edge=(0, 3))
    with pytest.raises(InputError, match=r"there is no candidate 99\.0; they go from 0\.0 to"):
        tell(finished, "pick", candidate="99.0")
    assert read_record(finished).commands == ()


def test_the_command_line_tells(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["tell", str(begun), "forbid", "1-2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "id": "1",
        "command": {"command": "forbid", "edge": [1, 2]},
        "finished": False,
    }
    assert run_cli(["tell", str(begun), "forbid", "1-4"]) == 2
    assert "edge 1-4 is not in the cell (it has 0-1, 0-2" in capsys.readouterr().err
    assert run_cli(["tell", str(begun / "none"), "pause"]) == 2
    assert run_cli(["tell", str(begun), "focus", str(begun / "none.cell.json"), "2"]) == 2
    (begun / "other.cell.json").write_text(json.dumps(CELL.to_json()))
    assert run_cli(["tell", str(begun), "focus", str(begun / "other.cell.json"), "2"]) == 2
    assert "the focus is no cell of this search" in capsys.readouterr().err


# --- what they say together ------------------------------------------------------------------------------------------


def steered(*words: str) -> Steering:
    found = Steering()
    for one in words:
        found = found.told(command_of_words(one.split()))
    return found


def test_undo_takes_back_the_last_that_steers() -> None:
    assert steered("pin 0-1", "forbid 1-2", "note a", "pause", "undo") == steered("pin 0-1", "pause")
    assert steered("pin 0-1", "unpin 0-1", "undo").constraints == Constraints(pinned=frozenset({(0, 1)}))
    assert steered("penalty 1", "penalty 2", "undo").penalty == 1
    assert steered("pick 1.1", "undo").picked is None
    assert steered("forbid 0-1", "unpin 0-1").constraints == Constraints()


def test_a_space_under_constraints_is_part_of_the_space() -> None:
    held = Constraints(pinned=frozenset({(2, 4)}), forbidden=frozenset({(0, 1)}), ops={3: "sepconv3x3"})
    space = CellSpace(CELL).constrained(held)
    assert held.keeps(space.start)
    assert {one.name for one in space.decisions} == {"0-2", "0-3", "0-4", "2-3", "3-4"}
    assert all(space.projected(child) == child for _, child in space.moves(space.start))
