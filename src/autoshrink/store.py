"""A run's event log on disk: append-only, one writer, readable at any moment and from any process.

The log is one SQLite table. It uses SQLite's rollback journal and not WAL: a run folder that was copied, or that lies
on a read-only or network file system, then reads without side files. An event is durable against the death of the
process as soon as `Store.append` returns.

Every event carries a digest over itself and the digest before it, and a row of its own says how many events there are
and the last digest. So an event that was changed, swapped, put in, taken out or cut off at the end is noticed by its
number when the log is read. A kill is none of these: event, digest and row are one transaction. Logs of versions 1 to
3 have no digests; what they hold when this version first goes on with one is taken as it is and chained from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from filelock import FileLock, Timeout

from autoshrink.errors import InputError, RunError
from autoshrink.events import Event, check_body
from autoshrink.files import named, scratch
from autoshrink.record import RunRecord
from autoshrink.registry import lacks_plugin
from autoshrink.replaying import replay
from autoshrink.untrusted import MOST_BYTES, brief, parse_json

FILE_NAME = "run.sqlite"
LOCK_NAME = "run.lock"
JOURNAL_NAME = f"{FILE_NAME}-journal"
APPLICATION_ID = 0x41534852
"""Marks the file as ours ("ASHR"); SQLite keeps it in the header."""
STORE_VERSION = 4
"""Version of the log's meaning. Readers refuse later ones; older ones are opened if `READABLE` names them."""
READABLE = (1, 2, 3, 4)
CHAINED = 4
"""From this version on events carry digests."""
BUSY_SECONDS = 10.0
_RESTORE = "restore it from a copy or start a new run"
_STEPS_AT_ONCE = 10**5
MOST_STEPS = 10**8
"""Of SQLite's machine in one reading, which takes some seconds; a hundred thousand events take two million."""
LATEST = 10**11
"""Of Unix times in seconds: some thousand years from now; what is later is no time of an event."""

_COLUMNS = "number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL"
_PLAIN_TABLE = f"CREATE TABLE events ({_COLUMNS})"
_TABLE = f"CREATE TABLE events ({_COLUMNS}, digest BLOB NOT NULL)"
_HEAD = "CREATE TABLE head (events INTEGER NOT NULL, digest BLOB NOT NULL)"
_TRIGGERS = (
    "CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events"
    " BEGIN SELECT RAISE(ABORT, 'events are never changed'); END",
    "CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events"
    " BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
)
_SCHEMA = (_TABLE, _HEAD, *_TRIGGERS)
_MARKS = (f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {STORE_VERSION}")
_CHAIN_START = hashlib.sha256(b"autoshrink run log").digest()


class Log(Protocol):
    """Where events are written and read: a run's, or a part of it as if it were one."""

    folder: Path

    def append(self, kind: str, body: dict[str, Any]) -> Event:
        """Write one event and make sure that it is on disk."""
        ...

    def events(self) -> Iterator[Event]:
        """All events, oldest first."""
        ...


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
        at, text = float(self._clock()), json.dumps(body, separators=(",", ":"), allow_nan=False)
        with _explained(self.folder), _together(self._connection):
            number, before = self._connection.execute("SELECT events + 1, digest FROM head").fetchone()
            _insert(self._connection, before, (number, at, kind, text.encode()))
        return Event(number, at, kind, body)

    def events(self) -> Iterator[Event]:
        """All events so far, oldest first.

        Raises:
            RunError: they are not what was written.
        """
        assert self._connection is not None, "the store is closed"
        with _explained(self.folder):
            yield from _select(self._connection, self.folder)

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
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA synchronous = FULL")

    def _claim(self) -> None:
        """Make an older log one of this version, since what is appended from now on is: all of it or nothing."""
        assert self._connection is not None, "the store is closed"
        with _explained(self.folder), _together(self._connection):
            if _version(self._connection) >= CHAINED:
                return
            for _ in _select(self._connection, self.folder):
                pass  # each is refused here if it cannot be read
            rows = list(_rows(self._connection, self.folder, _Chain(False)))
            for statement in ("DROP TABLE events", *_SCHEMA):
                self._connection.execute(statement)
            self._fill(rows)

    def _fill(self, rows: list[_Row]) -> None:
        assert self._connection is not None, "the store is closed"
        digest = _CHAIN_START
        self._connection.execute("INSERT INTO head VALUES (0, ?)", (digest,))
        for row in rows:
            digest = _insert(self._connection, digest, row)
        for mark in _MARKS:
            self._connection.execute(mark)

    def _initialise(self, body: dict[str, Any]) -> None:
        assert self._connection is not None, "the store is closed"
        with _explained(self.folder), _together(self._connection):
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._fill([])
            self.append("created", body)


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
        yield from _select(connection, folder)


class Tail:
    """A run's events as they come, each read and held against its digest once; the log is never touched.

    Every reading takes what was appended since the one before, in a moment's lock of its own, so that a process that
    writes is not held up. One thread at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._chain: _Chain | None = None

    def read(self, most: int = 1000) -> list[Event]:
        """The events that follow those read so far, oldest first: at most so many, and none where there are none yet.

        Raises:
            ReplacedError: the log is not the one that was read before: a tail of its own has to begin from its start.
            RunError: there is no run in the folder any more, or it is damaged or of another version.
        """
        if self._chain is None:
            check_readable(self.folder)
        with _explained(self.folder):
            if not has_run(self.folder):
                raise RunError(f"{self.folder}: the run is gone (it has no {FILE_NAME} any more)")
            with _reading(self.folder) as connection:
                rows = self._rows(connection, most)
        return [_event(self.folder, row) for row in rows]

    def _rows(self, connection: sqlite3.Connection, most: int) -> list[_Row]:
        digests = _version(connection) >= CHAINED
        if self._chain is None:
            self._chain = _Chain(digests)
        elif not self._goes_on(connection, digests):
            raise ReplacedError(f"{self.folder}: another log is here than a moment ago; open it anew")
        return list(_rows(connection, self.folder, self._chain, most))

    def _goes_on(self, connection: sqlite3.Connection, digests: bool) -> bool:
        """Whether the last event that was read is still where it was."""
        chain = self._chain
        assert chain is not None, "something was read"
        if digests != chain.digests:
            return False
        column = "digest" if digests else "number"
        statement = f"SELECT {column} FROM events WHERE number = ?"  # noqa: S608 - of two names
        found = connection.execute(statement, (chain.number,)).fetchone()
        return chain.number == 0 or (found is not None and found[0] == (chain.digest if digests else chain.number))


@dataclass(frozen=True)
class Glance:
    """The two ends of a log: what it began with, and the last of its events so far."""

    created: Event
    last: Event


def glance(folder: Path) -> Glance:
    """The two ends of a run's log, at once whatever its length; what lies between them is not checked.

    Raises:
        RunError: there is no run in the folder, or its ends cannot be read.
    """
    check_readable(folder)
    columns = "number, at, CAST(kind AS BLOB), CAST(body AS BLOB)"
    ends = []
    with _explained(folder), _reading(folder) as connection:
        for order in ("ASC", "DESC"):
            statement = f"SELECT {columns} FROM events ORDER BY number {order} LIMIT 1"  # noqa: S608 - of two texts
            ends.append(connection.execute(statement).fetchone())
    if None in ends:
        raise RunError(f"{folder / FILE_NAME}: damaged (it holds no event); {_RESTORE}")
    created, last = (_event(folder, _checked(folder, *found)) for found in ends)
    try:
        check_body(created)
        check_body(last)
    except InputError as error:
        raise _not_as_written(folder, created.number, str(error)) from error
    return Glance(created, last)


class ReplacedError(RunError):
    """A log is not the one that was read before."""


def read_record(folder: str | os.PathLike[str]) -> RunRecord:
    """What a run has found so far; works while another process searches.

    Raises:
        RunError: there is no run in the folder, or it cannot be read.
    """
    folder = named(folder)
    try:
        return replay(read_events(folder))
    except InputError as error:
        if lacks_plugin(error):
            raise RunError(f"{folder}: {error}") from error
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
        version = _version(connection)
        schema = connection.execute("SELECT sql FROM sqlite_master LIMIT 10").fetchall()
    if application != APPLICATION_ID:
        raise RunError(f"{path}: not an autoshrink run; choose another folder")
    if version not in READABLE:
        way_out = "upgrade autoshrink" if version > STORE_VERSION else "open it with the version that wrote it"
        raise RunError(
            f"{path}: store version {version}, and this autoshrink reads {', '.join(map(str, READABLE))}: {way_out}"
        )
    expected = _SCHEMA if version >= CHAINED else (_PLAIN_TABLE, *_TRIGGERS)
    if sorted(str(sql) for (sql,) in schema) != sorted(expected):
        raise RunError(f"{path}: damaged (its tables are not those of a run); {_RESTORE}")


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
        _distrust(connection)
        # The first look at the file is where a left-over journal or a foreign file shows.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _distrust(connection: sqlite3.Connection) -> None:
    """A file from somewhere may hold views and triggers that never end: nothing in it may call, and all has an end."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MOST_BYTES)
    steps = iter(range(MOST_STEPS // _STEPS_AT_ONCE))
    connection.set_progress_handler(lambda: next(steps, -1) < 0, _STEPS_AT_ONCE)


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _select(connection: sqlite3.Connection, folder: Path) -> Iterator[Event]:
    chain = _Chain(_version(connection) >= CHAINED)
    for row in _rows(connection, folder, chain):
        yield _event(folder, row)


def _event(folder: Path, row: _Row) -> Event:
    number, at, kind, body = row
    try:
        value = parse_json(body)
    except InputError as error:
        raise _not_as_written(folder, number, str(error)) from error
    if not isinstance(value, dict):
        raise _not_as_written(folder, number, f"its body is {brief(value)}")
    return Event(number, at, kind, value)


_Row = tuple[int, float, str, bytes]
"""An event as it is stored: number, time, kind, and the body's JSON."""


@dataclass
class _Chain:
    """How far a log has been read: whether it has digests, the number and the digest of the last event."""

    digests: bool
    number: int = 0
    digest: bytes = _CHAIN_START

    def follow(self, row: _Row, digest: object) -> str | None:
        """Go on to the next event; what is wrong with it, or None."""
        number, at, kind, body = row
        self.number += 1
        if number != self.number:
            return f"it has the number {number}"
        if self.digests:
            self.digest = _digest(self.digest, (number, at, kind, body))
            if digest != self.digest:
                return "it, or one before it, was changed, swapped or taken out"
        return None


def _rows(connection: sqlite3.Connection, folder: Path, chain: _Chain, most: int = -1) -> Iterator[_Row]:
    """The stored events that follow the chain's last, in order, held against their digests and their number.

    At most so many; of a negative number all.

    Number, event and digest come from one statement, so that what another process appends meanwhile does no harm.
    """
    head = "(SELECT events FROM head), events.digest" if chain.digests else "NULL, NULL"
    columns = f"number, at, CAST(kind AS BLOB), CAST(body AS BLOB), {head}"
    total, last = (None if chain.number == 0 else chain.number), chain.number + most
    statement = f"SELECT {columns} FROM events WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608 - of two texts
    found: tuple[Any, ...]
    for found in connection.execute(statement, (chain.number, most)):
        *parts, total, digest = found
        row = _checked(folder, *parts)
        wrong = chain.follow(row, digest)
        if wrong is not None:
            raise _not_as_written(folder, chain.number, wrong)
        yield row
    if chain.digests and total != chain.number and (most < 0 or chain.number < last):
        raise _not_as_written(folder, chain.number + 1, f"the log holds {chain.number} events and says {brief(total)}")


def _checked(folder: Path, number: int, at: object, kind: object, body: object) -> _Row:
    """A stored event, of the types that it was written with."""
    if not (isinstance(at, float) and 0 <= at < LATEST and isinstance(kind, bytes) and isinstance(body, bytes)):
        raise _not_as_written(folder, number, "its time, kind or body cannot be one")
    return number, at, kind.decode("utf-8", "replace"), body


def _insert(connection: sqlite3.Connection, before: bytes, row: _Row) -> bytes:
    """Write an event, its digest, and both as the log's last."""
    number, at, kind, body = row
    digest = _digest(before, row)
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (number, at, kind, body.decode(), digest))
    connection.execute("UPDATE head SET events = ?, digest = ?", (number, digest))
    return digest


def _digest(before: bytes, row: _Row) -> bytes:
    """SHA-256 over the digest before, number, time, kind and body, each with its length."""
    number, at, kind, body = row
    name = kind.encode()
    return hashlib.sha256(before + struct.pack(">qdqq", number, at, len(name), len(body)) + name + body).digest()


def _not_as_written(folder: Path, number: int, what: str) -> RunError:
    return RunError(f"{folder / FILE_NAME}: damaged: event {number} is not as it was written ({what}); {_RESTORE}")


@contextmanager
def _together(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside or nothing; inside another such block, that decides."""
    outermost = not connection.in_transaction
    if outermost:
        connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        if outermost:
            connection.execute("COMMIT")
    except BaseException:
        if outermost:
            connection.rollback()
        raise


def _holder(folder: Path) -> str:
    """Who has the run, from its last `opened` event, as far as that can be read."""
    try:
        opened = [event for event in read_events(folder) if event.kind == "opened"]
        check_body(opened[-1])
    except (RunError, InputError, IndexError):
        return ""
    return f" (process {opened[-1].body['pid']} on {opened[-1].body['host']})"


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
        raise RunError(f"{folder / FILE_NAME}: damaged ({error}); {_RESTORE}") from error
