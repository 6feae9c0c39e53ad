"""One run read for many: each event once, increments only, and what happens to logs that are not what they were."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sse_starlette")

from autoshrink import store as stores
from autoshrink.errors import InputError, RunError
from autoshrink.live.feed import Feed
from autoshrink.record import RunRecord
from autoshrink.replaying import replay
from autoshrink.results import summary
from autoshrink.store import Store, Tail, glance, read_events
from fakes import loop, new_store
from live_fixtures import finished_run, take
from test_store_damage import altered

GOLDEN = Path(__file__).parent / "golden"


def count_digests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the events whose digest is made from now on."""
    found: list[int] = []
    made = stores._digest

    def counted(before: bytes, row: Any) -> bytes:
        found.append(row[0])
        return made(before, row)

    monkeypatch.setattr(stores, "_digest", counted)
    return found


# --- a tail of a log -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_a_tail_reads_what_the_log_holds_in_pieces(tmp_path: Path, most: int) -> None:
    run = finished_run(tmp_path / "run")
    tail, found = Tail(run), []
    while events := tail.read(most):
        assert len(events) <= most
        found += events
    assert found == list(read_events(run))


def test_a_tail_goes_on_and_verifies_each_event_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_store(tmp_path / "run") as store:
        tail = Tail(store.folder)
        assert [event.number for event in tail.read()] == [1, 2]
        digests = count_digests(monkeypatch)
        for turn in range(20):
            appended = store.append("stopped", {"reason": str(turn)})
            assert tail.read() == [appended]
            assert tail.read() == []
    # Once as it is written, once as it is read.
    assert digests == sorted([*range(3, 23), *range(3, 23)])


def test_a_tail_sees_that_an_event_was_changed_after_the_part_that_it_knows(tmp_path: Path) -> None:
    with new_store(tmp_path / "run") as store:
        tail = Tail(store.folder)
        tail.read()
        store.append("stopped", {"reason": "one"})
        store.append("stopped", {"reason": "two"})
    altered(tmp_path / "run", 'UPDATE events SET body = \'{"reason":"three"}\' WHERE number = 4')
    with pytest.raises(RunError, match="event 4 is not as it was written"):
        tail.read()


def test_a_tail_sees_that_the_end_was_cut_off(tmp_path: Path) -> None:
    with new_store(tmp_path / "run") as store:
        store.append("stopped", {"reason": "one"})
        tail = Tail(store.folder)
        tail.read()
    altered(tmp_path / "run", "DELETE FROM events WHERE number = 3")
    with pytest.raises(stores.ReplacedError):
        tail.read()


def test_a_glance_has_both_ends(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    events = list(read_events(run))
    assert glance(run) == stores.Glance(events[0], events[-1])


# --- a feed --------------------------------------------------------------------------------------------------------


def test_a_stream_has_the_log_by_its_numbers_from_wherever_it_is_asked(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    events = list(read_events(run))
    expected = [
        ("log", one.number, {"sequence": one.number, "at": one.at, "kind": one.kind, "body": one.body})
        for one in events
    ]

    async def watch() -> None:
        feed = Feed(run)
        await feed.begin()
        for after in (0, 1, len(events) // 2, len(events) - 1):
            assert await take(feed.stream(after), len(events) - after) == expected[after:]
        feed.close()

    asyncio.run(watch())


def test_what_is_appended_comes_alone_to_everybody_and_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = 300

    async def watch(store: Store) -> None:
        feed = Feed(store.folder)
        await feed.begin()
        digests = count_digests(monkeypatch)
        streams = [feed.stream(feed.sequence) for _ in range(clients)]
        asleep = feed.stream(0)
        await anext(asleep)
        waiting = [asyncio.create_task(take(stream, 3)) for stream in streams]
        for turn in range(3):
            store.append("stopped", {"reason": str(turn)})
        for found in await asyncio.gather(*waiting):
            assert [(name, number) for name, number, _ in found] == [("log", 3), ("log", 4), ("log", 5)]
        assert sorted(digests) == [3, 3, 4, 4, 5, 5]
        assert [number for _, number, _ in await take(asleep, 5)] == [1, 2, 3, 4, 5]
        feed.close()

    with new_store(tmp_path / "run") as store:
        asyncio.run(watch(store))


def test_a_view_is_what_replaying_gives_and_is_made_once_for_many(tmp_path: Path) -> None:
    made: list[RunRecord] = []

    def make(record: RunRecord) -> dict[str, Any]:
        made.append(record)
        return summary(record, run=Path("here"))

    async def watch(store: Store) -> None:
        feed = Feed(store.folder)
        await feed.begin()
        for _ in range(2):
            answers = await asyncio.gather(*(feed.view("record", make) for _ in range(20)))
            assert set(answers) == {answers[0]}
            events = list(read_events(store.folder))
            expected = summary(replay(events), run=Path("here")) | {"sequence": len(events)}
            assert json.loads(answers[0]) == json.loads(json.dumps(expected))
            store.append("stopped", {"reason": "enough"})
        feed.close()

    run = finished_run(tmp_path / "run")
    with Store.open(run) as store:
        asyncio.run(watch(store))
    assert len(made) == 2


def test_another_run_in_the_same_place_is_told_as_one(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    other = finished_run(tmp_path / "other", seed=5)

    async def watch() -> None:
        feed = Feed(run)
        await feed.begin()
        stream = feed.stream(feed.sequence)
        assert await anext(stream) == b"retry: 1000\n\n"
        shutil.copy(other / "run.sqlite", tmp_path / "draft")
        (tmp_path / "draft").replace(run / "run.sqlite")
        events = list(read_events(other))
        found = await take(stream, 1 + len(events))
        assert found[0] == ("reset", 0, {})
        assert [data["body"] for _, _, data in found[1:]] == [event.body for event in events]
        feed.close()

    asyncio.run(watch())


def test_who_has_seen_more_than_there_is_begins_anew(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")

    async def watch() -> None:
        feed = Feed(run)
        await feed.begin()
        found = await take(feed.stream(10**6), 1 + feed.sequence)
        assert [name for name, *_ in found] == ["reset"] + ["log"] * feed.sequence
        feed.close()

    asyncio.run(watch())


def test_a_log_of_an_older_version_that_is_gone_on_with_is_the_same(tmp_path: Path) -> None:
    """Going on with one writes it anew with digests: the events are the same, and nobody begins anew."""
    shutil.copytree(GOLDEN / "store-v3", tmp_path / "run")

    async def watch() -> None:
        feed = Feed(tmp_path / "run")
        await feed.begin()
        before = feed.sequence
        stream = feed.stream(before)
        with Store.open(tmp_path / "run") as store:
            store.append("stopped", {"reason": "x"})
            assert [(name, number) for name, number, _ in await take(stream, 1)] == [("log", before + 1)]
        feed.close()

    asyncio.run(watch())


def test_a_damaged_log_is_refused_by_the_number_of_its_event(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    altered(run, "UPDATE events SET at = at + 1 WHERE number = 5")
    with pytest.raises(RunError, match="event 5 is not as it was written"):
        asyncio.run(Feed(run).begin())


@pytest.mark.parametrize("way", ["deleted", "damaged"])
def test_a_run_that_goes_while_it_is_watched_is_told_in_a_line(tmp_path: Path, way: str) -> None:
    run = finished_run(tmp_path / "run")

    async def watch() -> None:
        feed = Feed(run)
        await feed.begin()
        stream = feed.stream(feed.sequence)
        await anext(stream)
        if way == "deleted":
            shutil.rmtree(run)
        else:
            (run / "run.sqlite").write_bytes(b"nothing of the kind" * 100)
        ((name, number, data),) = await take(stream, 1)
        assert (name, number) == ("failed", None)
        assert "\n" not in data["error"]
        assert str(run) in data["error"]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await asyncio.sleep(0)
        assert feed.over

    asyncio.run(watch())


def test_an_event_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    with new_store(tmp_path / "run") as store:
        store.append("danced", {})
    with pytest.raises(InputError, match="danced"):
        asyncio.run(Feed(tmp_path / "run").begin())


def test_a_feed_that_nobody_watches_stops_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoshrink.live.feed.IDLE_SECONDS", 0.4)
    monkeypatch.setattr("autoshrink.live.feed.POLL_SECONDS", 0.1)
    run = finished_run(tmp_path / "run")

    async def watch() -> None:
        feed = Feed(run)
        await feed.begin()
        stream = feed.stream(0)
        await anext(stream)
        await asyncio.sleep(0.8)
        assert (feed.watched, feed.over) == (1, False)
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(1.0)
        assert (feed.watched, feed.over) == (0, True)

    asyncio.run(watch())


def test_what_trains_now_comes_beside_the_log(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    file = run / "live.json"

    async def following(stream: AsyncIterator[bytes], text: str) -> Any:
        file.write_text(text, encoding="utf-8")
        ((name, number, data),) = await take(stream, 1)
        assert (name, number) == ("live", None)
        return data

    async def watch() -> None:
        feed = Feed(run)
        await feed.begin()
        stream = feed.stream(feed.sequence)
        state = {"pid": os.getpid(), "host": os.uname().nodename, "training": [{"performance": [0.5]}]}
        assert await following(stream, json.dumps(state)) == state
        assert await following(stream, '{"pid": 1') is None
        assert await following(stream, json.dumps(state)) == state
        assert await following(stream, json.dumps(state | {"pid": gone})) is None
        feed.close()

    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    gone = done.pid
    asyncio.run(watch())


def test_a_search_that_goes_on_is_seen_to_its_end(tmp_path: Path) -> None:
    """Event for event what the log has in the end, while the loop writes it from another thread."""

    def search() -> RunRecord:
        with Store.open(tmp_path / "run") as store:
            return loop(store).run()

    async def watch() -> None:
        feed = Feed(tmp_path / "run")
        await feed.begin()
        searching = asyncio.create_task(asyncio.to_thread(search))
        found = []
        async for piece in feed.stream(0):
            found.append(piece)
            if b'"kind":"finished"' in piece:
                break
        record = await searching
        assert await feed.record() == record
        numbers = [line for line in b"".join(found).splitlines() if line.startswith(b"id: ")]
        assert numbers == [b"id: %d" % number for number in range(1, feed.sequence + 1)]
        feed.close()

    new_store(tmp_path / "run").close()
    asyncio.run(watch())
