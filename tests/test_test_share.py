"""Test images kept back from data without a test split, and what a person is told before anything long."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoshrink.cli import run
from autoshrink.data import load_proxy
from autoshrink.data.carving import Keeping
from autoshrink.data.split_choice import held_part
from autoshrink.store import read_record
from data_fixtures import away_from_home, photos
from test_kept_back import SHORT, measured, noise, refused, train

QUICK = (
    "--beside",
    "none",
    "--size",
    "8",
    "--nodes",
    "3",
    "--epochs",
    "8",
    "--batch",
    "8",
    "--repeats",
    "0",
    "--max-evaluations",
    "1",
    "--threads",
    "1",
)


@pytest.fixture(autouse=True)
def _at_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away_from_home(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)


def test_a_share_is_kept_back_from_training_and_found_by_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise(tmp_path / "data")
    first = train("one", "small.json", "--data", str(data), "--test-share", "0.25")
    output, errors = capsys.readouterr()
    assert "data: " in errors
    assert "60 training images, 3 classes (20 each): a, b, c" in errors
    assert "splits: train, and a test share of 25%" in errors
    assert "autoshrink evaluate one   its accuracy on the test split" in output
    found, errors = measured(capsys, "one")
    kept = found["images"]
    assert isinstance(kept, int)
    assert kept == 60 - len(first["ledger.trained"]) - len(first["ledger.kept"])
    assert 5 < kept < 30
    assert "these are the images that the training kept back for it (25%)" in errors
    assert "identical" not in errors
    train("two", "--from", "one", "--data", str(data), "--seed", "5")
    assert measured(capsys, "two")[0]["images"] == kept, "weights bring their test images along"
    shutil.copytree(data, tmp_path / "moved")
    moved, _ = measured(capsys, "one", "--data", str(tmp_path / "moved"))
    assert {**moved, "data": 0} == {**found, "data": 0}


def test_int8_is_measured_on_what_was_kept_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    data = noise(tmp_path / "data")
    train("one", "small.json", "--data", str(data), "--test-share", "0.25")
    kept = measured(capsys, "one")[0]["images"]
    assert run(["export", "one", "-o", "one.onnx", "--int8"]) == 0
    assert f"on {kept} images of {data}, test split" in capsys.readouterr().out


def test_a_search_and_a_training_keep_the_same_images_back(tmp_path: Path) -> None:
    data = noise(tmp_path / "data")
    keeping = Keeping(0.25)
    part = held_part(str(data), keeping)
    kept = {part.source.describe(index) for index in part.indices.tolist()}
    for name in kept:
        (data / name).write_bytes((data / name).read_bytes() + b"\0")  # another content: now it may be drawn, or not
    now = held_part(str(data), keeping)
    assert {now.source.describe(index) for index in now.indices.tolist()} != kept
    for seed in (0, 1):
        wanted: dict[str, Any] = {"train_per_class": 99, "validation_per_class": 5, "size": 8, "seed": seed}
        proxy = load_proxy(str(data), **wanted, keeping=keeping)
        assert len(proxy.train) + len(proxy.validation) == 60 - len(now)


def test_groups_are_on_one_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = noise(tmp_path / "data")
    for name in "abc":
        for number, path in enumerate(sorted((data / name).iterdir())):
            path.rename(path.with_name(f"person{number % 7}-{number}.png"))
    keeping = Keeping(0.3, r"(person\d)")
    part = held_part(str(data), keeping)
    people = {part.source.describe(index)[2:9] for index in part.indices.tolist()}
    assert 0 < len(people) < 7
    assert len(part) == sum(path.name[:7] in people for path in data.rglob("*.png"))
    settings = ("--test-share", "0.3", "--group", r"(person\d)")
    train("one", "small.json", "--data", str(data), *settings)
    assert measured(capsys, "one")[0]["images"] == len(part)
    assert run(["search", "--data", str(data), *settings, *QUICK, "--run", "run"]) == 0
    output = capsys.readouterr().out
    assert "--test-share 0.3 --group '(person\\d)'" in output, "the training goes on with the same"
    assert run(["craft", "run", "-o", "x.arch.json"]) == 0
    assert f"--data {data} --test-share 0.3 --group '(person\\d)' -o models/x" in capsys.readouterr().out
    record = read_record(Path("run"))
    assert record.settings.to_json()["data"]["group"] == r"(person\d)"
    assert record.data["train"] + record.data["validation"] == 60 - len(part)
    said = refused(capsys, "train", "small.json", "--data", str(data), "--group", "nobody", "-o", "two", *SHORT)
    assert "--group nobody: found in 0 of 60 names, not in a/person0-0.png" in said


def test_without_a_test_split_it_is_said_before_and_the_next_command_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise(tmp_path / "data")
    train("one", "small.json", "--data", str(data))
    output, errors = capsys.readouterr()
    assert "no test split, so nothing to measure the result on that it has not seen: --test-share .2" in errors
    assert "autoshrink evaluate one --split validation   its figures on the images kept back" in output
    assert measured(capsys, "one", "--split", "validation")[0]["images"] == 6
    assert run(["search", "--data", str(data), *QUICK, "--run", "run", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert "--test-share .2" in errors
    assert json.loads(output), "nothing but JSON on standard output"


def test_a_share_beside_a_test_split_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    noise(data / "train")
    noise(data / "test", seed=1, count=2)
    said = refused(
        capsys,
        "train",
        "small.json" if Path("small.json").exists() else "shrinkcnn-a",
        "--data",
        str(data),
        "--test-share",
        ".2",
        "-o",
        "one",
        *SHORT,
    )
    assert "has a test split of its own, and that is what counts: leave out --test-share" in said
    assert "splits: train, test; test is opened by `evaluate` alone" in said
    said = refused(capsys, "search", "--data", "digits", "--test-share", ".2", *QUICK, "--run", "run")
    assert "digits has a test split of its own" in said


def test_a_search_says_where_its_splits_share_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = photos(tmp_path / "data", {"cat": 9, "dog": 9})
    for path in sorted((data / "cat").iterdir())[1:]:
        shutil.copy(data / "cat" / "00.png", path)
    assert run(["search", "--data", str(data), *QUICK, "--run", "run"]) == 0
    assert "3 of 6 validation images are training images too, pixel for pixel at 8×8" in capsys.readouterr().err


def test_a_cache_with_altered_pixels_or_other_shapes_is_made_again(tmp_path: Path) -> None:
    data = photos(tmp_path / "data", {"cat": 9, "dog": 9})
    wanted: dict[str, Any] = {
        "train_per_class": 4,
        "validation_per_class": 2,
        "size": 8,
        "seed": 0,
        "cache": tmp_path / "kept",
    }
    first = load_proxy(str(data), **wanted)
    (entry,) = (tmp_path / "kept").iterdir()
    with np.load(entry) as stored:
        arrays = {name: stored[name] for name in stored.files}
    altered = arrays["train_images"] ^ 255
    for wrong in (altered, altered[:, :, :4], altered.astype(np.float32), altered[:1]):
        np.savez(entry, **(arrays | {"train_images": wrong}))
        seen: list[int] = []
        wanted["progress"] = lambda done, _, seen=seen: seen.append(done)
        again = load_proxy(str(data), **wanted)
        assert again.fingerprint == first.fingerprint
        assert seen, "decoded anew"
