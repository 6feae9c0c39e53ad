"""The command file of a run: whoever wants to tell the search something appends a line, and the search reads it.

Nobody but the process that searches writes the log, so commands wait in a file beside it. Any process may append, under
a lock; lines are never changed and never taken away. A process that was killed while it appended leaves a torn line,
which is passed over.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from autoshrink.commands import Command, command_of
from autoshrink.errors import InputError, RunError
from autoshrink.escaping import shown
from autoshrink.files import irregular
from autoshrink.untrusted import MOST_BYTES, parse_json

FILE_NAME = "commands.jsonl"
LOCK_NAME = "commands.lock"
LOCK_SECONDS = 10.0
LONGEST_LINE = 64 * 1024
"""Bytes of a command; that of a cell with all edges of 64 nodes has 20 thousand."""
LONGEST_AUTHOR = 100


@dataclass(frozen=True)
class Posted:
    """A command that waits in the file.

    Attributes:
        id: the number of its line, as text.
        at: Unix time, seconds.
        author: who gave it.
        command: what was said.
    """

    id: str
    at: float
    author: str
    command: Command


def post(folder: Path, command: Command, author: str, *, clock: Callable[[], float] = time.time) -> str:
    """Append a command to a run's file, whole and on disk when this returns; its id.

    Raises:
        InputError: it is too long, or its author is nobody.
        RunError: the file cannot be written.
    """
    if not author.strip() or len(author) > LONGEST_AUTHOR:
        raise InputError(f"author: 1 to {LONGEST_AUTHOR} characters, not {len(author)}")
    path = folder / FILE_NAME
    _lines(path, 0)  # a pipe would wait for ever
    try:
        with FileLock(folder / LOCK_NAME, timeout=LOCK_SECONDS), path.open("ab+") as file:
            file.seek(0)
            content = file.read()
            torn = bool(content) and not content.endswith(b"\n")
            number = str(1 + content.count(b"\n") + torn)
            value = {"id": number, "at": float(clock()), "author": author, "command": command.to_json()}
            line = json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            if len(line) > LONGEST_LINE:
                raise InputError(f"{len(line):,} bytes; a command has {LONGEST_LINE:,} at most")
            if len(content) + len(line) > MOST_BYTES:
                raise RunError(f"{shown(path)}: is full ({len(content):,} bytes); no further command is taken")
            file.write((b"\n" if torn else b"") + line)
            file.flush()
            os.fsync(file.fileno())
    except Timeout:
        raise RunError(f"{shown(path)}: another process has held its lock for {LOCK_SECONDS:g} seconds") from None
    except OSError as error:
        raise RunError(f"{shown(path)}: cannot be written: {error.strerror or error}") from error
    return number


def read_posted(folder: Path, remark: Callable[[str], None] = lambda _: None) -> tuple[Posted, ...]:
    """Every command in a run's file, in order; what is none is passed over, with a remark.

    Raises:
        RunError: the file is there and cannot be read.
    """
    return _parsed(folder, _lines(folder / FILE_NAME, 0), 0, remark)


def _lines(path: Path, start: int) -> bytes:
    what = irregular(path)
    if what is not None:
        raise RunError(f"{shown(path)}: is {what}, and no file of commands")
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(MOST_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(f"{shown(path)}: cannot be read: {error.strerror or error}") from error


def _parsed(folder: Path, content: bytes, before: int, remark: Callable[[str], None]) -> tuple[Posted, ...]:
    found = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=before + 1):
        try:
            found.append(_posted(line, number))
        except InputError as error:
            remark(f"{shown(folder / FILE_NAME)}, line {number}: no command, passed over ({error})")
    return tuple(found)


def _posted(line: bytes, number: int) -> Posted:
    value = parse_json(line, most=LONGEST_LINE)
    if not isinstance(value, dict):
        raise InputError("it is no object")
    at, author = value.get("at"), value.get("author")
    if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
        raise InputError("at: no time")
    if not isinstance(author, str) or not 0 < len(author) <= LONGEST_AUTHOR:
        raise InputError("author: no name")
    if value.get("id") != str(number):
        raise InputError(f"id: not {number}")
    return Posted(str(number), float(at), author, command_of(value.get("command")))


class Inbox:
    """What of a command file the log does not have yet; only what was appended since is read again.

    Args:
        folder: of the run.
        seen: ids of the commands that the log has.
        remark: told of lines that are no commands.
    """

    def __init__(
        self, folder: Path, seen: Iterable[str] = (), *, remark: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder = folder
        self._seen = set(seen)
        self._remark = remark
        self._read = 0
        self._count = 0
        self._unread = False
        self._waiting: list[Posted] = []

    def waiting(self) -> tuple[Posted, ...]:
        """The commands that nobody has taken, in order. A file that cannot be read is remarked, and holds nobody up."""
        try:
            content = _lines(self._folder / FILE_NAME, self._read)
        except RunError as error:
            if not self._unread:
                self._remark(f"{error}; commands are not taken in")
            self._unread = True
            return tuple(self._waiting)
        whole = content[: content.rfind(b"\n") + 1]
        found = _parsed(self._folder, whole, self._count, self._remark)
        self._read += len(whole)
        self._count += whole.count(b"\n")
        self._waiting += [one for one in found if one.id not in self._seen]
        return tuple(self._waiting)

    def take(self) -> Posted | None:
        """The first of them, which is taken then; None for none."""
        if not self.waiting():
            return None
        first = self._waiting.pop(0)
        self._seen.add(first.id)
        return first
