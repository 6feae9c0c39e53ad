"""The event log: append-only, one writer, readable at any time, never misread."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autoshrink.errors import RunError
from autoshrink.run import Loop
from autoshrink.store import (
    APPLICATION_ID,
    CHAINED,
    FILE_NAME,
    READABLE,
    STORE_VERSION,
    Store,
    opening,
    read_events,
    read_record,
)
from autoshrink.tasks import TASKS
from fakes import FakeEvaluator, created, loop, new_store, stand_in, story

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    new_store(tmp_path / "run").close()
    return tmp_path / "run"


def test_what_was_appended_is_read_in_order(run: Path) -> None:
    with Store.open(run) as store:
        for number in range(20):
            store.append("data", {"number": number, "text": "é\n\"'"})
        assert list(store.events()) == list(read_events(run))
    bodies = [event.body for event in read_events(run) if event.kind == "data"]
    assert [body["number"] for body in bodies] == list(range(20))
    assert bodies[0]["text"] == "é\n\"'"


def test_events_are_never_changed_nor_deleted(run: Path) -> None:
    with closing(sqlite3.connect(run / FILE_NAME)) as connection:
        for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="events are never"):
                connection.execute(statement)


def test_not_a_number_is_refused_at_the_door(run: Path) -> None:
    with Store.open(run) as store, pytest.raises(ValueError, match="JSON compliant"):
        store.append("data", {"value": float("nan")})


def test_it_is_read_while_it_is_written(run: Path) -> None:
    with Store.open(run) as store:
        for number in range(5):
            store.append("data", {"number": number})
            assert len(list(read_events(run))) == number + 3


HOLD = """
import sys
from pathlib import Path
from autoshrink.store import Store, opening
with Store.open(Path(sys.argv[1])) as store:
    store.append("opened", opening())
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(run: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_name_and_may_read(run: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RunError, match=rf"another process is working on this run \(process {holder.pid} on "):
        Store.open(run)
    assert read_record(run).sessions == 2


def test_the_run_of_a_killed_process_is_free(run: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with Store.open(run) as store:
        store.append("opened", opening())
    assert read_record(run).sessions == 3


def test_a_folder_with_a_run_is_not_begun_again(run: Path) -> None:
    with pytest.raises(RunError, match=r"holds a run already; go on with `autoshrink resume .*run` or choose another"):
        Store.create(run, created({})[1])


def test_an_empty_file_left_by_a_kill_is_no_run(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    with pytest.raises(RunError, match="no run here"):
        read_record(tmp_path)
    Store.create(tmp_path, created({})[1]).close()
    assert read_record(tmp_path).candidates == ()


@pytest.mark.parametrize(
    ("pragma", "message"),
    [
        ("user_version = 5", "store version 5, and this autoshrink reads 1, 2, 3, 4: upgrade autoshrink"),
        (
            "user_version = 0",
            "store version 0, and this autoshrink reads 1, 2, 3, 4: open it with the version that wrote it",
        ),
        ("application_id = 7", "not an autoshrink run; choose another folder"),
    ],
)
def test_another_version_is_refused_with_a_way_out(run: Path, pragma: str, message: str) -> None:
    with closing(sqlite3.connect(run / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    for attempt in (lambda: read_record(run), lambda: Store.open(run)):
        with pytest.raises(RunError, match=message):
            attempt()


def test_an_event_of_the_future_is_not_skipped(run: Path) -> None:
    with Store.open(run) as store:
        store.append("teleported", {})
    with pytest.raises(RunError, match="kind 'teleported', which this version does not know"):
        read_record(run)


def test_a_damaged_file_is_named(run: Path) -> None:
    data = bytearray((run / FILE_NAME).read_bytes())
    data[100:4000] = b"\x5a" * 3900
    (run / FILE_NAME).write_bytes(data)
    with pytest.raises(RunError, match=r"run.sqlite: damaged \(.*restore it from a copy"):
        read_record(run)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("hello, this is a diary and not a database " * 20)
    with pytest.raises(RunError, match=r"run.sqlite: damaged \(file is not a database\)"):
        read_record(tmp_path)


def test_a_run_in_a_file_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot make the run folder"):
        Store.create(tmp_path / "file" / "run", created({})[1])


FILL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fakes import FakeEvaluator
from autoshrink.errors import RunError
from autoshrink.run import Loop
from autoshrink.store import Store, opening
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    with Store.open(Path(sys.argv[1])) as store:
        store.append("opened", opening())
        Loop(store, FakeEvaluator()).run()
except RunError as error:
    print(error)
"""


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """The operating system refuses to let files grow, as a full disk does."""
    with new_store(tmp_path / "whole") as store:
        Loop(store, FakeEvaluator()).run()
    new_store(tmp_path / "run").close()
    size = (tmp_path / "run" / FILE_NAME).stat().st_size
    command = [sys.executable, "-c", FILL, str(tmp_path / "run"), str(Path(__file__).parent), str(size + 8192)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the disk is full or failing" in told.stdout
    assert f"make room, then `autoshrink resume {tmp_path / 'run'}`" in told.stdout
    before = read_record(tmp_path / "run")
    assert before.candidates
    assert not before.finished
    with Store.open(tmp_path / "run") as store:
        store.append("opened", opening())
        Loop(store, FakeEvaluator()).run()
    assert story(tmp_path / "run") == story(tmp_path / "whole")


HALF_WRITTEN = """
import os, sys
from pathlib import Path
from autoshrink.store import Store
store = Store.open(Path(sys.argv[1]))
store._connection.execute("PRAGMA cache_size = 1")  # so that the unfinished transaction reaches the file
store._connection.execute("BEGIN IMMEDIATE")
for _ in range(50):
    store.append("data", {"text": "x" * 3000})
os._exit(9)
"""


def test_an_event_half_written_at_the_kill_is_undone(run: Path) -> None:
    assert subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(run)], check=False).returncode == 9
    assert (run / "run.sqlite-journal").exists()
    shutil.copytree(run, run.parent / "read-only")
    assert len(list(read_events(run))) == 2
    with Store.open(run) as store:
        assert len(list(store.events())) == 2
    lines = read_without_rights(run.parent / "read-only")
    assert lines[0] == "2 events"


READ_ONLY = """
import os, sys
from pathlib import Path
from autoshrink.errors import RunError
from autoshrink.store import Store, read_events
folder = Path(sys.argv[1])
if os.geteuid() == 0:  # root may write anywhere
    os.setuid(65534)
print(len(list(read_events(folder))), 'events')
for attempt in (lambda: Store.open(folder), lambda: Store.create(folder / "new", {})):
    try:
        attempt()
    except RunError as error:
        print(error)
"""


def read_without_rights(run: Path) -> list[str]:
    """What a process says that may read the run and write nothing."""
    (run / "run.lock").unlink()
    # A place that a process without rights can reach, which pytest's folders are not.
    public = Path(tempfile.mkdtemp(prefix="autoshrink-")) / "run"
    public.parent.chmod(0o755)
    shutil.copytree(run, public)
    public.chmod(0o555)
    try:
        command = [sys.executable, "-c", READ_ONLY, str(public)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        public.chmod(0o755)
        shutil.rmtree(public.parent)
    return told.stdout.splitlines()


def test_a_read_only_folder_is_said_and_the_run_is_readable(run: Path) -> None:
    with Store.open(run) as store:
        Loop(store, FakeEvaluator()).run()
    events = len(list(read_events(run)))
    lines = read_without_rights(run)
    assert lines[0] == f"{events} events"
    assert "cannot write the run (Permission denied); what it holds stays readable" in lines[1]
    assert "cannot make the run folder (Permission denied); choose another with --run" in lines[2]


RUNS = sorted(path.parent for path in GOLDEN.rglob(FILE_NAME))


def version_of(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert isinstance(version, int)
    return version


@pytest.mark.parametrize("golden", RUNS, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_logs_of_released_versions_stay_readable(golden: Path, tmp_path: Path) -> None:
    """Each golden folder holds a run and the best cell that it named when it was written."""
    shutil.copytree(golden, tmp_path / "run")
    record = read_record(tmp_path / "run")
    best = record.best()
    assert best is not None
    assert json.loads((golden / "best.cell.json").read_text()) == best.cell.to_json()
    assert version_of(tmp_path / "run") == version_of(golden), "reading changes nothing"
    evaluator = stand_in(read_record(golden).settings)
    with Store.open(tmp_path / "run") as store:
        assert loop(store, evaluator).run().best_key == best.cell.key
    assert evaluator.jobs == []


def test_there_is_a_golden_log_of_every_version_that_is_read() -> None:
    """And of this version one for every task."""
    assert {version_of(folder) for folder in RUNS} == set(READABLE)
    assert max(READABLE) == STORE_VERSION
    current = [folder for folder in RUNS if version_of(folder) == STORE_VERSION]
    assert sorted(read_record(folder).settings.task for folder in current) == sorted(TASKS.own)


@pytest.mark.parametrize("golden", RUNS, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_a_log_opened_for_writing_is_one_of_this_version(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden, tmp_path / "run")
    before = list(read_events(tmp_path / "run"))
    with Store.open(tmp_path / "run") as store:
        assert version_of(tmp_path / "run") == STORE_VERSION, "before anything is appended"
        assert list(store.events()) == before
        store.append("opened", opening())
    assert list(read_events(tmp_path / "run"))[:-1] == before


def cut(golden: Path, folder: Path, events: int) -> None:
    """The first events of a finished run, as a process killed then would have left them."""
    shutil.copytree(golden, folder)
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as connection:
        (guard,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'events_are_never_deleted'"
        ).fetchone()
        connection.execute("DROP TRIGGER events_are_never_deleted")
        connection.execute("DELETE FROM events WHERE number > ?", (events,))
        connection.execute(guard)
        if connection.execute("PRAGMA user_version").fetchone() >= (CHAINED,):
            connection.execute(
                "UPDATE head SET (events, digest) = (SELECT number, digest FROM events WHERE number = ?)", (events,)
            )


@pytest.mark.parametrize("golden", RUNS, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_a_run_begun_by_a_released_version_ends_as_it_did(golden: Path, tmp_path: Path) -> None:
    """Whatever this version adds to an evaluation, it decides the same and names the same cell."""
    whole = read_record(golden)
    for events in (2, 6, 11, 30):
        cut(golden, tmp_path / str(events), events)
        with Store.open(tmp_path / str(events)) as store:
            store.append("opened", opening())
            record = loop(store).run()
        assert record.decisions == whole.decisions
        assert record.best_key == whole.best_key
        assert [one.cell for one in record.candidates] == [one.cell for one in whole.candidates]
