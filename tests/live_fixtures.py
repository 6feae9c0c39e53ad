"""Runs to be watched, and the server-sent events that come of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fakes import loop, new_store

HOSTILE = "<script>alert(1)</script>"


def finished_run(folder: Path, **overrides: Any) -> Path:
    """A whole run, searched with stand-ins; one of its classes has a name that no page may obey."""
    with new_store(folder, **overrides) as store:
        store.append("data", data_event())
        loop(store).run()
    return folder


def data_event() -> dict[str, Any]:
    return {
        "name": HOSTILE,
        "train": 900,
        "validation": 200,
        "fingerprint": "0",
        "notes": [HOSTILE],
        "classes": [HOSTILE, "b"],
        "input": [1, 8, 8],
        "mean": [0.0],
        "std": [1.0],
        "skipped": 0,
    }


Sent = tuple[str, int | None, Any]
"""A server-sent event: its name, its id, its data."""


def parsed(chunk: str) -> list[Sent]:
    """The events in a piece of a stream that ends with one."""
    return [_event(block) for block in chunk.replace("\r\n", "\n").split("\n\n") if "data:" in block]


def _event(block: str) -> Sent:
    fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
    number = fields.get("id")
    return fields["event"], None if number is None else int(number), json.loads(fields["data"])


async def take(stream: AsyncIterator[bytes], events: int, seconds: float = 20.0) -> list[Sent]:
    """So many events of a stream; it raises where they do not come."""
    found: list[Sent] = []
    async with asyncio.timeout(seconds):
        while len(found) < events:
            found += parsed((await anext(stream)).decode())
    return found
