"""What a search says of this moment: it decides nothing, and nothing that happens to it reaches the search."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoshrink import liveness
from autoshrink.cell import Cell
from autoshrink.design import Design
from autoshrink.launch import search
from autoshrink.liveness import FILE_NAME, live_file, read_live
from autoshrink.record import RunRecord
from autoshrink.watching import Observer, Progress, Watcher
from fakes import story

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
SMALL: dict[str, Any] = {
    "data": {"spec": "digits", "train_per_class": 8, "validation_per_class": 8},
    "nodes": 3,
    "candidates": 2,
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.02},
    "repeats": 1,
    "beside": "none",
}


def progress(step: int = 1, seconds: float | None = 60.0) -> Progress:
    return Progress("search", step, 3, 3, 1, 4, None, 0.5, CELL, seconds)


def told(folder: Path) -> dict[str, Any]:
    """What the file says, once it says something of a training."""
    for _ in range(200):
        found = read_live(folder)
        if found is not None and found["training"]:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing was written")


def test_it_says_where_the_run_stands_and_what_trains(tmp_path: Path) -> None:
    with live_file(tmp_path, Observer()) as observer:
        observer.watcher.progress(progress(seconds=float("inf")))
        for epoch, performance in enumerate((0.25, 0.5), start=1):
            observer.on_epoch(CELL, epoch, performance)
        found = told(tmp_path)
        assert found["progress"] == {
            "phase": "search",
            "step": 1,
            "done": 1,
            "expected": 4,
            "edges": 3,
            "total_edges": 3,
            "seconds_left": None,
        }
        (curve,) = found["training"]
        assert (curve["performance"], curve["metric"], curve["cell"]) == ([0.25, 0.5], "accuracy", CELL.to_json())
        assert found["pid"] == os.getpid()
        assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_begins_again_has_a_curve_of_its_own(tmp_path: Path) -> None:
    with live_file(tmp_path, Observer()) as observer:
        for epoch, performance in ((1, 0.1), (2, 0.2), (1, 0.3)):
            observer.on_epoch(CELL, epoch, performance)
        assert told(tmp_path)["training"][0]["performance"] == [0.3]


def test_it_is_written_at_most_twice_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    write = liveness.LiveFile._write

    def counted(self: liveness.LiveFile) -> None:
        times.append(time.monotonic())
        write(self)

    monkeypatch.setattr(liveness.LiveFile, "_write", counted)
    with live_file(tmp_path, Observer()) as observer:
        until = time.monotonic() + 1.6
        epoch = 0
        while time.monotonic() < until:
            observer.on_epoch(CELL, 1, 0.5)
            epoch += 1
            time.sleep(0.001)
    assert epoch > 100
    assert 2 <= len(times) <= 5
    assert all(later - sooner >= liveness.SECONDS - 0.01 for sooner, later in pairwise(times))


def test_others_are_told_as_before(tmp_path: Path) -> None:
    heard: list[object] = []

    class Listener(Watcher):
        def progress(self, progress: Progress) -> None:
            heard.append(progress)

        def began(self, what: str) -> None:
            heard.append(what)

    epochs: list[tuple[Design, int, float]] = []
    before = Observer(Listener(), on_epoch=lambda *told: epochs.append(told))
    with live_file(tmp_path, before) as observer:
        observer.watcher.began("1M")
        observer.watcher.progress(progress())
        observer.on_epoch(CELL, 1, 0.5)
    assert (heard, epochs) == (["1M", progress()], [(CELL, 1, 0.5)])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "1", '{"pid": 1e999}', '{"a": 1, "a": 2}', "[" * 100000, '"' + "x" * (2 << 20) + '"'],
)
def test_a_file_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    assert read_live(tmp_path) is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    assert read_live(tmp_path) is None


def test_a_search_is_the_same_whether_it_can_be_written_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full, to this file alone: same history, and no word of it."""
    written: list[str] = []
    remarks: list[str] = []

    def full(self: Path, text: str, **_: Any) -> int:
        if FILE_NAME in self.name:
            written.append(text)
            raise OSError(28, "No space left on device")
        return honest(self, text, **_)

    honest = Path.write_text
    with_file: RunRecord = search(SMALL, run=tmp_path / "with")
    monkeypatch.setattr(Path, "write_text", full)
    without = search(SMALL, run=tmp_path / "without", observer=Observer(remark=remarks.append))
    assert written
    assert json.loads(written[-1])["progress"] is not None
    assert story(tmp_path / "with") == story(tmp_path / "without")
    assert with_file.best_key == without.best_key
    assert not any("live" in remark for remark in remarks)
    for run in ("with", "without"):
        assert not (tmp_path / run / FILE_NAME).exists()
