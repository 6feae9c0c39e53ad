"""``RUN/live.json``: what a search does at this moment, for who watches it from another process.

It decides nothing, may be missing or stale, and is gone when the search is over. It is written by a thread of its own,
so that a slow or full disk holds nothing up, at most twice a second, whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoshrink.design import Design, name_of
from autoshrink.errors import AutoshrinkError
from autoshrink.files import irregular
from autoshrink.metrics import metric_of
from autoshrink.record import Candidate
from autoshrink.score import Comparison
from autoshrink.untrusted import parse_json
from autoshrink.watching import Observer, Progress, Watcher

FILE_NAME = "live.json"
SECONDS = 0.5
"""Between two writings at least."""
MOST_BYTES = 1 << 20
_MOST_CURVES = 16
"""Trainings that are shown at once."""


class LiveFile(Watcher):
    """Hands on what it is told to another watcher, and keeps ``live.json`` up to date."""

    def __init__(self, folder: Path, watcher: Watcher) -> None:
        self._path = folder / FILE_NAME
        self._draft = folder / f".{FILE_NAME}.{os.getpid()}.draft"
        self._watcher = watcher
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname(), "progress": None}
        self._curves: dict[Design, list[float]] = {}
        self._news, self._over = threading.Event(), threading.Event()
        self._news.set()
        self._thread = threading.Thread(target=self._run, name="live.json", daemon=True)

    def began(self, what: str) -> None:
        """Hand it on."""
        self._watcher.began(what)

    def progress(self, progress: Progress) -> None:
        """Keep where the run stands; what was finished is training no more."""
        with self._lock:
            self._state["progress"] = _progress(progress)
            if progress.latest is not None:
                self._curves.pop(progress.latest.design, None)
        self._news.set()
        self._watcher.progress(progress)

    def decided(self, candidate: Candidate, score: float, comparison: Comparison | None) -> None:
        """Hand it on; nothing of the step trains any more."""
        with self._lock:
            self._curves.clear()
        self._news.set()
        self._watcher.decided(candidate, score, comparison)

    def epoch(self, design: Design, epoch: int, performance: float) -> None:
        """Keep the curve of a training."""
        with self._lock:
            curve = self._curves.setdefault(design, [])
            del curve[epoch - 1 :]
            curve.append(performance)
            while len(self._curves) > _MOST_CURVES:
                del self._curves[next(iter(self._curves))]
        self._news.set()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write nothing more, and remove the file."""
        self._over.set()
        self._news.set()
        # A disk that hangs is not waited for.
        self._thread.join(2.0)
        for path in (self._draft, self._path):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._over.is_set():
                return
            self._write()
            self._over.wait(SECONDS)

    def _write(self) -> None:
        with self._lock:
            curves = [_curve(design, curve) for design, curve in self._curves.items()]
            value = self._state | {"at": time.time(), "training": curves}
        # Whatever keeps it from being written keeps nothing else.
        with suppress(OSError, ValueError):
            self._draft.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
            self._draft.replace(self._path)


@contextmanager
def live_file(folder: Path, observer: Observer) -> Iterator[Observer]:
    """An observer that keeps ``live.json`` besides, as long as the block runs."""
    kept = LiveFile(folder, observer.watcher)

    def on_epoch(design: Design, epoch: int, performance: float) -> None:
        kept.epoch(design, epoch, performance)
        observer.on_epoch(design, epoch, performance)

    kept.start()
    try:
        yield replace(observer, watcher=kept, on_epoch=on_epoch)
    finally:
        kept.close()


def read_live(folder: Path) -> dict[str, Any] | None:
    """What stands in ``live.json``; None where it is missing, is none, or its process is no more."""
    path = folder / FILE_NAME
    try:
        if irregular(path) is not None or path.stat().st_size > MOST_BYTES:
            return None
        value = parse_json(path.read_bytes())
    except (OSError, AutoshrinkError):
        return None
    return value if isinstance(value, dict) and runs(value) else None


def runs(live: dict[str, Any]) -> bool:
    """Whether the process that wrote it is there still, as far as this machine can tell."""
    process = live.get("pid")
    if live.get("host") != socket.gethostname() or os.name == "nt" or not isinstance(process, int) or process <= 0:
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "phase": progress.phase,
        "step": progress.step,
        "done": progress.done,
        "expected": progress.expected,
        "edges": progress.edges,
        "total_edges": progress.total_edges,
        "seconds_left": None if progress.seconds_left is None else _finite(progress.seconds_left),
    }


def _curve(design: Design, curve: list[float]) -> dict[str, Any]:
    """A training's performances, and the same as its metric shows them; null for what is not finite."""
    metric = metric_of(design)
    return {
        "name": str(design),
        name_of(design): design.to_json(),
        "metric": metric.name,
        "performance": [_finite(value) for value in curve],
        "shown": [_finite(metric.value(value)) for value in curve],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
