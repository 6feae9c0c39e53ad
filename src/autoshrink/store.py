"""A run's event log on disk: append-only, one writer, readable at any moment and from any process.

The log is one SQLite table. It uses SQLite's rollback journal and not WAL: a run folder that was copied, or that lies
on a read-only or network file system, then reads without side files. An event is durable against the death of the
process as soon as `Store.append` returns.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from autoshrink.errors import InputError, RunError
from autoshrink.files import scratch
from autoshrink.record import Event, RunRecord, replay
from autoshrink.untrusted import parse_json

FILE_NAME = "run.sqlite"
LOCK_NAME = "run.lock"
JOURNAL_NAME = f"{FILE_NAME}-journal"
APPLICATION_ID = 0x41534852
"""Marks the file as ours ("ASHR"); SQLite keeps it in the header."""
STORE_VERSION = 3
"""Version of the log's meaning. Readers refuse later ones; older ones are opened if `READABLE` names them."""
READABLE = (1, 2, 3)
BUSY_SECONDS = 10.0

_SCHEMA = (
    "CREATE TABLE events (number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL)",
    "CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events"
    " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END",
    "CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events"
    " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {STORE_VERSION}",
)


class Store:
    """The open log of one run, held by this process alone. Use it as a context manager."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = FileLock(folder / LOCK_NAME)
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def create(cls, folder: Path, body: dict[str, Any], *, clock: Callable[[], float] = time.time) -> Self:
        """A new log in a folder, which is made if need be, with `body` as its `created` event: both or neither.

        Raises:
            RunError: the folder holds a run already, is in use, or cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(f"{folder}: cannot make the run folder ({reason}); choose another with --run") from error
        store = cls(folder, clock=clock)
        store._acquire()
        try:
            if has_run(folder):
                raise RunError(
                    f"{folder}: holds a run already; go on with `autoshrink resume {folder}` or choose another --run"
                )
            store._connect()
            store._initialise(body)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """The log of an existing run, to go on with.

        Raises:
            RunError: there is no run, another process has it, or it cannot be written.
        """
        check_readable(folder)
        store = cls(folder, clock=clock)
        store._acquire()
        try:
            store._connect()
            store._claim()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the run; the log stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    def append(self, kind: str, body: dict[str, Any]) -> Event:
        """Write one event and make sure that it is on disk.

        Raises:
            RunError: the disk is full or went read-only; everything appended before stays readable.
        """
        assert self._connection is not None, "the store is closed"
        at = self._clock()
        with _explained(self.folder):
            cursor = self._connection.execute(
                "INSERT INTO events (at, kind, body) VALUES (?, ?, ?)",
                (at, kind, json.dumps(body, separators=(",", ":"), allow_nan=False)),
            )
        number = cursor.lastrowid
        assert number is not None
        return Event(number, at, kind, body)

    def events(self) -> Iterator[Event]:
        """All events so far, oldest first."""
        assert self._connection is not None, "the store is closed"
        yield from _select(self._connection)

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.folder}: another process is working on this run{_holder(self.folder)}") from None
        except OSError as error:
            raise RunError(_unwritable(self.folder, error.strerror or str(error))) from error

    def _connect(self) -> None:
        with _explained(self.folder):
            self._connection = sqlite3.connect(self.folder / FILE_NAME, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")

    def _claim(self) -> None:
        """Mark an older log as one of this version, since what is appended from now on is."""
        assert self._connection is not None, "the store is closed"
        with _explained(self.folder):
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version != STORE_VERSION:
                self._connection.execute(f"PRAGMA user_version = {STORE_VERSION}")

    def _initialise(self, body: dict[str, Any]) -> None:
        assert self._connection is not None, "the store is closed"
        with _explained(self.folder):
            self._connection.execute("BEGIN")
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self.append("created", body)
            self._connection.execute("COMMIT")


def opening() -> dict[str, Any]:
    """The body of an `opened` event: who works on the run."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def read_events(folder: Path) -> Iterator[Event]:
    """All events of a run, oldest first, without touching it; works while another process writes.

    Raises:
        RunError: there is no run in the folder, or it is damaged or of another version.
    """
    check_readable(folder)
    with _explained(folder), _reading(folder) as connection:
        yield from _select(connection)


def read_record(folder: str | os.PathLike[str]) -> RunRecord:
    """What a run has found so far; works while another process searches.

    Raises:
        RunError: there is no run in the folder, or it cannot be read.
    """
    folder = Path(folder)
    try:
        return replay(read_events(folder))
    except (ValueError, KeyError, InputError) as error:
        raise RunError(
            f"{folder}: its log cannot be understood ({error}); was it written by another version?"
        ) from error


def has_run(folder: Path) -> bool:
    """Whether the folder holds a log. A process killed while it made one leaves an empty file, which is none."""
    path = folder / FILE_NAME
    return path.is_file() and path.stat().st_size > 0


def check_readable(folder: Path) -> None:
    """Raise `RunError` unless the folder holds a log that this version understands."""
    path = folder / FILE_NAME
    if not has_run(folder):
        raise RunError(
            f"{folder}: no run here (it has no {FILE_NAME}); start one with `autoshrink search --run {folder}`"
        )
    with _explained(folder), _reading(folder) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RunError(f"{path}: not an autoshrink run; choose another folder")
    if version not in READABLE:
        way_out = "upgrade autoshrink" if version > STORE_VERSION else "open it with the version that wrote it"
        raise RunError(
            f"{path}: store version {version}, and this autoshrink reads {', '.join(map(str, READABLE))}: {way_out}"
        )


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes nothing of its own."""
    with ExitStack() as stack:
        yield _reader(folder, stack)


def _reader(folder: Path, stack: ExitStack) -> sqlite3.Connection:
    """A process that died in the middle of an append leaves SQLite's journal behind.

    The next reader undoes the half-written event with it, which takes the right to write. Where the folder cannot be
    written, that happens in a copy.
    """
    try:
        return stack.enter_context(closing(_connection(folder / FILE_NAME, "ro")))
    except sqlite3.OperationalError:
        if not (folder / JOURNAL_NAME).exists():
            raise
    if os.access(folder, os.W_OK) and os.access(folder / FILE_NAME, os.W_OK):
        return stack.enter_context(closing(_connection(folder / FILE_NAME, "rw")))
    copy = stack.enter_context(scratch())
    for name in (FILE_NAME, JOURNAL_NAME):
        (copy / name).write_bytes((folder / name).read_bytes())
    return stack.enter_context(closing(_connection(copy / FILE_NAME, "rw")))


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        # The first look at the file is where a left-over journal or a foreign file shows.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _select(connection: sqlite3.Connection) -> Iterator[Event]:
    for number, at, kind, body in connection.execute("SELECT number, at, kind, body FROM events ORDER BY number"):
        yield Event(number, at, kind, parse_json(body))


def _holder(folder: Path) -> str:
    """Who has the run, from its last `opened` event, as far as that can be read."""
    try:
        opened = [event.body for event in read_events(folder) if event.kind == "opened"]
    except RunError:
        return ""
    return f" (process {opened[-1]['pid']} on {opened[-1]['host']})" if opened else ""


def _unwritable(folder: Path, reason: str) -> str:
    return f"{folder}: cannot write the run ({reason}); what it holds stays readable with `autoshrink show {folder}`"


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise RunError(
                f"{folder}: the disk is full or failing ({text}); what was finished is kept: "
                f"make room, then `autoshrink resume {folder}`"
            ) from error
        raise RunError(_unwritable(folder, text)) from error
    except sqlite3.DatabaseError as error:
        raise RunError(f"{folder / FILE_NAME}: damaged ({error}); restore it from a copy or start a new run") from error
