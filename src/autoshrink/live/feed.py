"""One run as it grows, read once for everybody who watches it.

The log is read by event number: each event is held against its digest, folded and encoded once, and kept encoded. A
stream is a place in that list, so a client that reads slowly costs nothing but its place, and one that lost its
connection goes on from where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread

from autoshrink.errors import AutoshrinkError
from autoshrink.escaping import message
from autoshrink.events import Event
from autoshrink.liveness import FILE_NAME, read_live
from autoshrink.record import RunRecord
from autoshrink.replaying import Replaying
from autoshrink.results import finite
from autoshrink.store import ReplacedError, Tail

POLL_SECONDS = 0.25
"""How often a log that somebody watches is looked at."""
IDLE_SECONDS = 60.0
"""A run that nobody has watched for so long is forgotten; it is read anew when somebody comes."""
_AT_ONCE = 200
"""Events in one piece of a stream."""
_RETRY = b"retry: 1000\n\n"
"""Milliseconds after which a client whose connection was lost comes again."""


class Feed:
    """A run's events, its record and what is training now, for any number of clients.

    Everything but what runs in threads of its own (reading, folding, encoding) belongs to one event loop.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watched = 0
        self._reading = asyncio.Lock()
        self._making = asyncio.Lock()
        self._changed = asyncio.Event()
        self._begin()
        self._live = b""
        self._live_stamp: tuple[int, ...] = ()
        self._generation = 0
        self._error: str | None = None
        self._polling: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        self._tail, self._replaying = Tail(self.folder), Replaying()
        self._frames: list[bytes] = []
        self._made: dict[str, tuple[int, bytes]] = {}

    @property
    def sequence(self) -> int:
        """Number of the last event that was read."""
        return len(self._frames)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read what was appended since the last time.

        Raises:
            RunError: the run is gone or damaged.
            InputError: its log cannot be understood.
        """
        async with self._reading:
            before = (self.sequence, self._live_stamp, self._generation)
            try:
                await to_thread.run_sync(self._read)
                await to_thread.run_sync(self._read_live)
            except AutoshrinkError as error:
                self._error = message(error)
                self._wake()
                raise
        if before != (self.sequence, self._live_stamp, self._generation):
            self._wake()

    def _read(self) -> None:
        try:
            self._read_on()
        except ReplacedError:
            frames = self._frames
            self._begin()
            self._read_on()
            # A log of an older version that is gone on with is written anew, with the same events.
            if self._frames[: len(frames)] != frames:
                self._generation += 1

    def _read_on(self) -> None:
        while events := self._tail.read():
            frames = []
            for event in events:
                self._replaying.take(event)
                frames.append(_frame(event))
            self._frames += frames

    def _read_live(self) -> None:
        """What is training now, where the file that says so has changed."""
        stamp: tuple[int, ...] = ()
        try:
            found = (self.folder / FILE_NAME).stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            pass
        if stamp != self._live_stamp:
            value = read_live(self.folder)
            self._live_stamp, self._live = stamp, _named("live", value)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _poll(self) -> None:
        idle = 0.0
        while idle < IDLE_SECONDS and self._error is None:
            await asyncio.sleep(POLL_SECONDS)
            idle = 0.0 if self.watched else idle + POLL_SECONDS
            if self.watched:
                try:
                    await self.refresh()
                except AutoshrinkError:
                    return

    @property
    def over(self) -> bool:
        """Whether it is to be forgotten: nobody came for a while, or it could not be read."""
        return self._polling is not None and self._polling.done()

    def close(self) -> None:
        """Stop looking at the log."""
        if self._polling is not None:
            self._polling.cancel()

    async def begin(self) -> None:
        """Read everything that is there, and then look for more as long as somebody watches.

        Raises:
            RunError, InputError: as `refresh`.
        """
        await self.refresh()
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

    # --- what clients get --------------------------------------------------------------------------------------------

    async def view(self, name: str, make: Callable[[RunRecord], dict[str, Any]]) -> bytes:
        """What is made of the record, as JSON with the ``"sequence"`` that it is of: made once for each.

        Raises:
            RunError, InputError: as `refresh`.
        """
        await self.refresh()
        async with self._making:
            made = self._made.get(name)
            if made is None or made[0] != self.sequence:
                async with self._reading:
                    sequence, record = self.sequence, await to_thread.run_sync(self._replaying.record)
                made = (sequence, await to_thread.run_sync(_encoded, record, make, sequence))
                self._made[name] = made
            return made[1]

    async def record(self) -> RunRecord:
        """The run so far.

        Raises:
            RunError, InputError: as `refresh`.
        """
        await self.refresh()
        async with self._reading:
            return await to_thread.run_sync(self._replaying.record)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """As long as somebody reads a stream, the log is looked at."""
        self.watched += 1
        try:
            yield
        finally:
            self.watched -= 1

    async def stream(self, after: int) -> AsyncIterator[bytes]:
        """Server-sent events: the log's that follow an event, from then on as they come, and what is training now.

        Where the log has fewer events than the client has seen, it is another one: an event `reset` says so, and
        everything follows.
        """
        async with self.watching():
            yield _RETRY
            generation, place, live = self._generation, after, b""
            while True:
                changed = self._changed
                if generation != self._generation or place > self.sequence:
                    generation, place, live = self._generation, 0, b""
                    yield b"event: reset\nid: 0\ndata: {}\n\n"
                if place < self.sequence:
                    piece = self._frames[place : place + _AT_ONCE]
                    place += len(piece)
                    yield b"".join(piece)
                elif live != self._live:
                    live = self._live
                    yield live
                elif self._error is not None:
                    yield _named("failed", {"error": self._error})
                    return
                else:
                    await changed.wait()


def _encoded(record: RunRecord, make: Callable[[RunRecord], dict[str, Any]], sequence: int) -> bytes:
    return json.dumps(finite(make(record) | {"sequence": sequence}), allow_nan=False).encode()


def _frame(event: Event) -> bytes:
    value = {"sequence": event.number, "at": event.at, "kind": event.kind, "body": event.body}
    return b"id: %d\n" % event.number + _named("log", value)


def _named(name: str, value: object) -> bytes:
    """A server-sent event; JSON has no line breaks, so the data are one line."""
    data = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return f"event: {name}\ndata: {data}\n\n".encode()
