"""Real searches: killed by signal, resumed, repeated in fresh processes, refused where they must be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import autoshrink
from autoshrink.cell import Cell
from autoshrink.errors import DataError, InputError, RunError, SearchError
from autoshrink.record import RunRecord
from autoshrink.store import read_record
from fakes import story
from text_fixtures import SEARCH, deaths_until_done

TINY: dict[str, Any] = {
    "beside": (),
    "nodes": 4,
    "candidates": 2,
    "finalists": 2,
    "repeats": 1,
    "data": {"train_per_class": 12, "validation_per_class": 6},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 8, "widths": [8, 8]},
    "threads": 1,
}
FRESH = """
import json, sys
import autoshrink
autoshrink.search(json.loads(sys.argv[2]), run=sys.argv[1])
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    autoshrink.search(TINY, run=folder)
    return folder


def test_the_same_seed_in_a_fresh_process_is_the_same_search(whole: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path / "again"), json.dumps(TINY)], check=True, timeout=120)
    assert story(tmp_path / "again") == story(whole)


def test_another_seed_is_another_search(whole: Path, tmp_path: Path) -> None:
    other = autoshrink.search(TINY | {"seed": 1}, run=tmp_path / "other")
    first = read_record(whole)
    assert [one.cell for one in other.chosen()] != [one.cell for one in first.chosen()]


def test_killed_at_random_times_it_ends_the_same(whole: Path, tmp_path: Path) -> None:
    """SIGKILL again and again, at any time from the process's begin to its end."""
    assert deaths_until_done(SEARCH, tmp_path / "run", json.dumps(TINY)) > 0
    assert story(tmp_path / "run") == story(whole)


def measured(folder: Path) -> bool:
    try:
        return bool(read_record(folder).candidates)
    except RunError:
        return False  # there is no log, or it is being made at this moment


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "autoshrink", "search", "--run", str(folder), "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and not measured(folder):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 130
    assert output == ""
    assert errors.rstrip().endswith(f"interrupted; go on with:\n  autoshrink resume {folder}")
    assert "Traceback" not in errors
    assert read_record(folder).candidates


def test_a_search_leaves_its_files(whole: Path) -> None:
    record = read_record(whole)
    best = record.best()
    assert best is not None
    assert Cell.read(whole / "best.cell.json") == best.cell
    front = json.loads((whole / "front.json").read_text())
    assert [one["macs"] for one in front] == sorted(one["macs"] for one in front)
    assert any(Cell.from_json(one["cell"]) == best.cell for one in front)
    assert (whole / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in whole.iterdir()) == [
        "best.cell.json",
        "front.json",
        "report.html",
        "run.lock",
        "run.sqlite",
    ]


def test_a_report_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    with pytest.raises(RunError, match=r"report.html: cannot be written: .*; the search is finished and kept: `autosh"):
        autoshrink.search(TINY, run=tmp_path / "run")
    best = read_record(tmp_path / "run").best()
    assert best is not None
    assert Cell.read(tmp_path / "run" / "best.cell.json") == best.cell
    (tmp_path / "run" / "report.html").rmdir()
    assert autoshrink.resume(tmp_path / "run").best() == best
    assert (tmp_path / "run" / "report.html").is_file()


def test_costs_are_counted_and_not_guessed(whole: Path) -> None:
    """Every candidate runs all its epochs here, so images and MACs follow from the settings."""
    record = read_record(whole)
    trained = [one for one in record.candidates if one.same_as is None]
    for one in trained:
        epochs = len(one.evaluation.curve)
        assert one.evaluation.spent.samples == epochs * 120
        assert one.evaluation.spent.training_macs == one.evaluation.resources.macs * epochs * (3 * 120 + 60)
    fresh = [one for repeats in record.remeasured.values() for one in repeats]
    total = sum(one.evaluation.spent.samples for one in trained) + sum(one.spent.samples for one in fresh)
    assert record.spent().samples == total


def photographs(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for index, name in enumerate(("cats", "dogs")):
        (root / name).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 128, (20, 24, 3), dtype=np.uint8)
            pixels[:, :, index] += 100
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


OWN = TINY | {"data": {"size": 8, "train_per_class": 16, "validation_per_class": 8}, "nodes": 3}


def search_own(root: Path, folder: Path) -> RunRecord:
    return autoshrink.search(OWN | {"data": OWN["data"] | {"spec": str(root)}}, run=folder)


def test_own_images_are_learned(tmp_path: Path) -> None:
    record = search_own(photographs(tmp_path / "images"), tmp_path / "run")
    best = record.best()
    assert best is not None
    assert best.performance > 0.7
    assert record.data["classes"] == ["cats", "dogs"]
    assert record.data["input"] == [3, 8, 8]


def test_changed_images_are_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = photographs(tmp_path / "images")

    class Stopped(BaseException):
        pass

    def stop(*_: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("autoshrink.run.Loop._decide", stop)
        with pytest.raises(Stopped):
            search_own(images, tmp_path / "run")
    for path in (images / "cats").iterdir():
        Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(DataError, match=r"the data are not those that .*run began with; restore them"):
        autoshrink.resume(tmp_path / "run")


def test_resuming_works_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    record = search_own(Path("images"), Path("run"))
    monkeypatch.chdir("/")
    assert autoshrink.resume(tmp_path / "run").best() == record.best()
    assert Path(record.settings.data.spec) == tmp_path / "images"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"limits": {"max_macs": 500}},
            r"--max-macs 500: even the smallest cell costs [\d,]+ here; raise it, or ",
        ),
        ({"limits": {"max_params": 9}}, "--max-params 9: even the smallest cell costs"),
        ({"limits": {"max_memory": 64}}, "--max-memory 64 bytes: even the smallest cell costs"),
        ({"start": "nowhere.cell.json"}, "nowhere.cell.json: no such file"),
        ({"device": "abacus"}, "device 'abacus' is unknown; there are auto, cpu, cuda"),
    ],
)
def test_what_cannot_work_is_refused_before_a_run_begins(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        autoshrink.search(TINY | changes, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_limits_are_kept_for_real(tmp_path: Path, whole: Path) -> None:
    start_macs = read_record(whole).of_step(0)[0].evaluation.resources.macs
    record = autoshrink.search(TINY | {"limits": {"max_macs": int(start_macs * 0.6)}}, run=tmp_path / "run")
    best = record.best()
    assert best is not None
    assert best.recorded.resources.macs <= 0.6 * start_macs


def test_a_search_may_begin_at_a_cell_file(tmp_path: Path) -> None:
    cell = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2)))
    (tmp_path / "mine.cell.json").write_text(json.dumps(cell.to_json()))
    record = autoshrink.search(TINY | {"nodes": 3, "start": str(tmp_path / "mine.cell.json")}, run=tmp_path / "run")
    assert record.start == cell
    assert record.of_step(0)[0].cell == cell


def test_what_the_search_adds_to_training_is_small(whole: Path) -> None:
    """A bound on work and not on time: one log line an evaluation, none of them large."""
    record = read_record(whole)
    lines = len(story(whole))
    fresh = sum(len(repeats) for repeats in record.remeasured.values())
    assert lines == len(record.candidates) + len(record.decisions) + fresh + 4
    assert (whole / "run.sqlite").stat().st_size < 4096 * lines + 32768


def test_the_environment_is_on_record(whole: Path) -> None:
    environment = read_record(whole).environment
    assert environment["torch"]
    assert environment["autoshrink"]
    assert environment["device"] in ("cpu", "cuda", "mps")


@pytest.mark.data
@pytest.mark.skipif("AUTOSHRINK_DATA" not in os.environ, reason="AUTOSHRINK_DATA does not name a folder with cifar10")
def test_real_photographs_are_searched(tmp_path: Path) -> None:
    settings = TINY | {"data": {"spec": "cifar10", "size": 8, "train_per_class": 60, "validation_per_class": 30}}
    record = autoshrink.search(settings | {"recipe": {"epochs": 4, "batch": 32}}, run=tmp_path / "run")
    best, complete = record.best(), record.complete()
    assert record.data["input"] == [3, 8, 8]
    assert len(record.data["classes"]) == 10
    assert best is not None
    assert complete is not None
    assert best.performance > 0.15, "ten classes: guessing gives .1"
    assert best.score >= complete.score or best.cell == complete.cell


def test_a_log_has_the_batch_that_the_images_decided(tmp_path: Path) -> None:
    few: dict[str, Any] = {"data": TINY["data"], "budget": {"macs": 20_000}, "recipe": {"epochs": 1}, "threads": 1}
    with pytest.raises(SearchError):
        autoshrink.search(few | {"stop": {"evaluations": 1}}, run=tmp_path / "run")
    assert read_record(tmp_path / "run").settings.recipe.batch == 8
