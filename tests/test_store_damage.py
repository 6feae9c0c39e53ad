"""What is not as it was written is noticed: every event by its number, and everything that a stranger's file can be."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autoshrink import store as log
from autoshrink.cli import run as command
from autoshrink.errors import RunError
from autoshrink.record import RunRecord
from autoshrink.store import FILE_NAME, Store, read_events, read_record

GOLDEN = Path(__file__).parent / "golden" / "store-v4"
FLIPS = 400


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN, tmp_path / "run")
    return tmp_path / "run"


def altered(run: Path, *statements: str) -> None:
    """Change a log as a person with SQLite at hand would; its guards stand again afterwards."""
    with closing(sqlite3.connect(run / FILE_NAME, isolation_level=None)) as connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in guards:
            connection.execute(sql)


def test_a_flipped_bit_changes_no_figure(run: Path) -> None:
    """Sampled over the whole file: the record is the same to the last field, or it is refused in one line."""
    whole, expected = (run / FILE_NAME).read_bytes(), read_record(run)
    rng, refused = random.Random(0), 0
    for place in rng.sample(range(8 * len(whole)), FLIPS):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        (run / FILE_NAME).write_bytes(data)
        record: RunRecord | None = None
        try:
            record = read_record(run)
        except RunError as error:
            refused += len(str(error).splitlines()) == 1
        assert record in (None, expected), place
    assert refused > FLIPS / 4, "most of the file is events"


CHANGES = {
    "a figure": ("UPDATE events SET body = replace(body, '0.8', '0.9') WHERE number = 3", "event 3 is not as it was"),
    "a time": ("UPDATE events SET at = at + 1 WHERE number = 2", "event 2 is not as it was written"),
    "a kind": ("UPDATE events SET kind = 'screened' WHERE number = 4", "event 4 is not as it was written"),
    "taken out": ("DELETE FROM events WHERE number = 5", r"event 5 is not as it was written \(it has the number 6\)"),
    "cut off": ("DELETE FROM events WHERE number > 9", r"event 10 is not as it was .*holds 9 events and says \d\d"),
    "twice": (
        "INSERT INTO events SELECT (SELECT max(number) + 1 FROM events), at, kind, body, digest FROM events"
        " WHERE number = 3",
        "event .. is not as it was written",
    ),
    "of another type": ("UPDATE events SET body = x'ff00' WHERE number = 2", "event 2 is not as it was written"),
    "not a time": ("UPDATE events SET at = 'noon' WHERE number = 2", r"event 2 .*\(its time, kind or body cannot be"),
}


@pytest.mark.parametrize(("statement", "message"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["show", "report", "resume", "craft"])
def test_every_command_refuses_a_changed_event_by_its_number(
    run: Path, name: str, statement: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    altered(run, statement)
    assert command([name, str(run)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert str(run / FILE_NAME) in told.err
    with pytest.raises(RunError, match=message):
        read_record(run)
    with pytest.raises(RunError, match=message), Store.open(run) as store:
        list(store.events())


def test_swapped_events_are_refused(run: Path) -> None:
    altered(
        run,
        "CREATE TABLE two AS SELECT * FROM events WHERE number IN (4, 5)",
        *(
            f"UPDATE events SET (at, kind, body, digest) = (SELECT at, kind, body, digest FROM two WHERE number = {b})"
            f" WHERE number = {a}"
            for a, b in ((4, 5), (5, 4))
        ),
        "DROP TABLE two",
    )
    with pytest.raises(RunError, match="event 4 is not as it was written"):
        read_record(run)


ENDLESS = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n AS number, 1.0 AS at, 'opened' AS kind,"
)
STRANGE = {
    "an endless view": ["DROP TABLE events", f"CREATE VIEW events AS {ENDLESS} '{{}}' AS body, x'00' AS digest FROM c"],
    "an endless head": ["DROP TABLE head", f"CREATE VIEW head AS {ENDLESS} n AS events, x'00' AS digest FROM c"],
    "another trigger": ["CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM head; END"],
    "a generated column": ["ALTER TABLE events ADD COLUMN more AS (zeroblob(1000000000))"],
    "a thousand tables": [f"CREATE TABLE t{number} (a)" for number in range(100)],
    "other columns": ["DROP TABLE events", "CREATE TABLE events (number, at, kind, body, digest)"],
    "nothing": ["DROP TABLE events", "DROP TABLE head"],
}


@pytest.mark.parametrize("statements", STRANGE.values(), ids=STRANGE)
def test_a_database_of_another_shape_is_refused_before_it_is_read(run: Path, statements: list[str]) -> None:
    with closing(sqlite3.connect(run / FILE_NAME, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    began = time.process_time()
    for attempt in (lambda: read_record(run), lambda: Store.open(run)):
        with pytest.raises(RunError, match=r"damaged \(its tables are not those of a run\); restore it"):
            attempt()
    assert time.process_time() - began < 5


def test_a_sparse_file_of_a_hundred_gigabytes_is_no_run(run: Path) -> None:
    with (run / FILE_NAME).open("wb") as file:
        file.truncate(100 * 10**9)
    with pytest.raises(RunError, match=r"not a database|not an autoshrink run"):
        read_record(run)


def wrong(run: Path, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Another log, well chained, in which an event says something else."""
    events = list(read_events(run))
    change(events[number - 1].body)
    shutil.rmtree(run)
    with Store.create(run, events[0].body) as store:
        for event in events[1:]:
            store.append(event.kind, event.body)


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(body: Any) -> None:
        for step in path[:-1]:
            body = body[step]
        body[path[-1]] = to

    return change


IMPOSSIBLE = {
    "event 1 ('created'): settings: Input should be a valid dictionary (got [])": (1, _set("settings", to=[])),
    "event 1 ('created'): start: Input should be a valid dictionary (got 3)": (1, _set("start", to=3)),
    "event 2 ('opened'): pid: Input should be a valid integer (got '1')": (2, _set("pid", to="1")),
    "event 3 ('evaluated'): evaluation.performance: Input should be a valid number (got '0.8')": (
        3,
        _set("evaluation", "performance", to="0.8"),
    ),
    "event 3 ('evaluated'): evaluation.resources.macs: Input should be a valid integer (got True)": (
        3,
        _set("evaluation", "resources", "macs", to=True),
    ),
    "event 3 ('evaluated'): evaluation.resources.params: Input should be greater than or equal to 0 (got -5)": (
        3,
        _set("evaluation", "resources", "params", to=-5),
    ),
    "event 3 ('evaluated'): evaluation.cell": (3, _set("evaluation", "cell", to=[1])),
    "event 3 ('evaluated'): a design has a \"format\", one of autoshrink.cell/1": (
        3,
        _set("evaluation", "cell", to={}),
    ),
    "event 3 ('evaluated'): correct: '999999999:ff' is not a number of samples": (
        3,
        _set("evaluation", "correct", to="999999999:ff"),
    ),
    "event 3 ('evaluated'): parts: 'zz' are neither float64": (3, _set("evaluation", "parts", to="zz")),
    "event 3 ('evaluated'): evaluation.curve.0: Input should be a valid number": (
        3,
        _set("evaluation", "curve", to=[[]]),
    ),
    "event 3 ('evaluated'): same_as: there is no candidate 7 of step 0": (3, _set("same_as", to=[0, 7])),
    "event 4 ('decided'): index: there is no candidate 9 of step 0": (4, _set("index", to=9)),
}


@pytest.mark.parametrize(("message", "case"), IMPOSSIBLE.items(), ids=range(len(IMPOSSIBLE)))
def test_an_event_that_cannot_be_is_refused_by_number_and_field(
    run: Path, message: str, case: tuple[int, Callable[[dict[str, Any]], None]], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong(run, *case)
    for name in ("show", "report", "resume"):
        assert command([name, str(run)]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.splitlines()) == 1


def test_an_old_log_is_chained_when_it_is_gone_on_with(run: Path) -> None:
    shutil.rmtree(run)
    shutil.copytree(GOLDEN.parent / "store-v1", run)
    before = list(read_events(run))
    Store.open(run).close()
    assert list(read_events(run)) == before
    altered(run, "UPDATE events SET at = at + 1 WHERE number = 2")
    with pytest.raises(RunError, match="event 2 is not as it was written"):
        read_record(run)


def test_a_kill_while_an_old_log_is_chained_leaves_it_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run)
    shutil.copytree(GOLDEN.parent / "store-v3", run)
    before = (run / FILE_NAME).read_bytes()

    def killed(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(log, "_insert", killed)
    with pytest.raises(KeyboardInterrupt):
        Store.open(run)
    assert (run / FILE_NAME).read_bytes() == before


def test_appending_and_reading_stay_fast(tmp_path: Path) -> None:
    """A slow disk is not measured, only the processor's time for events of two kilobytes."""
    body = json.loads(json.dumps({"text": "x" * 2000, "curve": [0.5] * 20}))
    began = time.process_time()
    with Store.create(tmp_path, {"settings": {}}) as store:
        for _ in range(100):
            store.append("data", body)
    appended = time.process_time()
    assert len(list(read_events(tmp_path))) == 101
    assert appended - began < 0.5
    assert time.process_time() - appended < 0.2
