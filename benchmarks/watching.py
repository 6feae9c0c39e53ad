"""What watching a search costs it, and how fast a long run opens.

    python benchmarks/watching.py open [--events 10000] [--repeats 5]
    python benchmarks/watching.py beside [--clients 100] [--pairs 5] -- [options of the search]

`open` makes a log of so many events, as an image search with 8 nodes writes them (2,500 validation images). It times,
from the moment at which a new server has printed its address, the first record, then another one, then all events.
`beside` runs one search of the built-in digits with nobody watching and with so many clients, in pairs, the order of
a pair changing; it checks that both have the same history, and prints wall times and their ratios. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autoshrink.config import resolve
from autoshrink.evaluation import Job
from autoshrink.live.process import Watched, watch
from autoshrink.priors import start_cell
from autoshrink.record import Candidate
from autoshrink.store import Store, opening, read_events
from overhead import FreeEvaluator

NODES = 8
CHILDREN = 40
POOL = 400
"""Different cells of a long log: counting what they cost is not what is measured."""


def long_run(folder: Path, events: int) -> None:
    """A log of cells that lose edges, step after step, with made-up performances."""
    rng, evaluator = random.Random(0), FreeEvaluator()
    settings = resolve({"nodes": NODES, "candidates": CHILDREN, "data": {"spec": "cifar10"}, "evaluator": "trained"})
    start = start_cell("complete", kind="conv", nodes=NODES, rng=rng)
    created = {"settings": settings.to_json(), "environment": {}, "start": start.to_json()}
    with Store.create(folder, created) as store:
        cells = [start]
        for _ in range(POOL):
            cell = cells[rng.randrange(len(cells))]
            cells.append(cell.without(rng.choice(cell.edges)) if cell.edges else start)
        # The disk is not what is measured.
        assert store._connection is not None
        store._connection.execute("PRAGMA synchronous = OFF")
        store.append("opened", opening())
        written, step = 2, 0
        while written + CHILDREN + 1 <= events:
            for index in range(1 if step == 0 else CHILDREN):
                cell = rng.choice(cells) if step else start
                ((_, found),) = evaluator.evaluate([Job(cell, rng.getrandbits(63))])
                found = replace(found, seed=rng.getrandbits(63))
                store.append("evaluated", Candidate(step, index, found).to_json())
                written += 1
            body = {"step": step, "index": 0, "runner_up": None, "difference": None, "standard_error": None}
            store.append("decided", body)
            written, step = written + 1, step + 1
        for _ in range(events - written):
            store.append("opened", opening())


def get(page: Watched, path: str, until: Callable[[bytes], bool] | None = None) -> bytes:
    """An answer; of a stream as much as is wanted."""
    connection = HTTPConnection(str(urlsplit(page.url).hostname), int(urlsplit(page.url).port or 0))
    connection.request("GET", path, headers={"Authorization": f"Bearer {page.token}"})
    answer, found = connection.getresponse(), b""
    if until is None:
        found = answer.read()
    else:
        while not until(found[-65536:]) and (piece := answer.read1()):
            found += piece
    connection.close()
    return found


def opened(events: int, repeats: int) -> dict[str, Any]:
    """Seconds to the first record of a new server, to another one, and to the last of all events."""
    first, again, streams = [], [], []
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        long_run(run, events)
        for _ in range(repeats):
            with watch(run) as page:
                began = time.perf_counter()
                sequence = json.loads(get(page, "/api/record"))["sequence"]
                first.append(time.perf_counter() - began)
                began = time.perf_counter()
                get(page, "/api/record")
                again.append(time.perf_counter() - began)
                began, last = time.perf_counter(), b"id: %d\n" % sequence
                whole = get(page, "/api/events", lambda found, last=last: last in found)  # type: ignore[misc]
                streams.append(time.perf_counter() - began)
        size = (run / "run.sqlite").stat().st_size
    return {
        "events": sequence,
        "log_megabytes": round(size / 1e6, 1),
        "stream_megabytes": round(len(whole) / 1e6, 1),
        "first_record_seconds": _spread(first),
        "another_record_seconds": _spread(again),
        "all_events_seconds": _spread(streams),
    }


def beside(clients: int, pairs: int, options: list[str]) -> dict[str, Any]:
    """Wall times of one search, with nobody and with so many watching."""
    alone: list[float] = []
    watched: list[float] = []
    stories: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        for pair in range(pairs):
            for with_clients in ((False, True), (True, False))[pair % 2]:
                run = Path(place) / f"{pair}-{with_clients}"
                seconds = searched(run, clients if with_clients else 0, options)
                (watched if with_clients else alone).append(seconds)
                stories.append(history(run))
    ratios = [one / other for one, other in zip(watched, alone, strict=True)]
    return {
        "clients": clients,
        "alone_seconds": _spread(alone),
        "watched_seconds": _spread(watched),
        "ratio": _spread(ratios),
        "same_history": all(one == stories[0] for one in stories),
    }


def searched(run: Path, clients: int, options: list[str]) -> float:
    """Wall seconds of a search in a process of its own."""
    run.mkdir()
    with ExitStack() as stack:
        if clients:
            page = stack.enter_context(watch(run.parent))
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "autoshrink", "search", "--run", str(run), "--json", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if clients:
            stack.enter_context(_clients(page, f"/runs/{run.name}/api/events", clients))
        if process.wait():
            raise SystemExit(f"the search failed: autoshrink search {' '.join(options)}")
        return time.perf_counter() - began


@contextmanager
def _clients(page: Watched, path: str, number: int) -> Iterator[None]:
    """So many open streams, read as they come; they begin as soon as there is a run."""
    over = threading.Event()
    reader = threading.Thread(target=_read_all, args=(page, path, number, over))
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join()


def _read_all(page: Watched, path: str, number: int, over: threading.Event) -> None:
    while not over.is_set() and b'"error"' in get(page, path.replace("/events", "/record")):
        time.sleep(0.1)
    code = _READERS.format(url=page.url.split("#")[0].rstrip("/") + path, token=page.token, number=number)
    readers = subprocess.Popen([sys.executable, "-c", code])
    over.wait()
    readers.kill()
    readers.wait()


_READERS = """
import selectors, socket
from urllib.parse import urlsplit
at = urlsplit({url!r})
selector = selectors.DefaultSelector()
request = f"GET {{at.path}} HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n".encode()
for _ in range({number}):
    one = socket.create_connection((at.hostname, at.port))
    one.sendall(request)
    selector.register(one, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if not key.fileobj.recv(1 << 16):
            selector.unregister(key.fileobj)
"""


def history(run: Path) -> str:
    """A log without what may differ between two runs of one search."""
    return json.dumps([(event.kind, _timeless(event.body)) for event in read_events(run) if event.kind != "opened"])


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in ("seconds", "command")}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _spread(values: list[float]) -> dict[str, float]:
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("open", "beside"))
    parser.add_argument("--events", type=int, default=10000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5)
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    asked, options = parser.parse_args(own), sys.argv[len(own) + 2 :]
    watched = asked.what == "beside"
    print(json.dumps(beside(asked.clients, asked.pairs, options) if watched else opened(asked.events, asked.repeats)))


if __name__ == "__main__":
    main()
