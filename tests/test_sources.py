"""Data sources, built in and made up, keep one contract; a made-up one is searched and trained on like any other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autoshrink.cli import run
from autoshrink.data import open_images
from autoshrink.data.sources import SOURCES, accepted
from autoshrink.errors import DataError
from autoshrink.registry import load_plugin
from autoshrink.store import read_record
from autoshrink.testing.sources import check_corrupt, check_images, check_text
from classifier_fixtures import SMALL
from data_fixtures import (
    away_from_home,
    cifar_binary,
    cifar_python,
    encoded,
    parquet,
    penn,
    photos,
    picture,
    tarred,
    text_file,
    written,
    zipped,
)

PLUGINS = Path(__file__).parent / "plugins"
QUICK = [
    "--beside",
    "none",
    "--nodes",
    "3",
    "--epochs",
    "10",
    "--batch",
    "16",
    "--repeats",
    "0",
    "--stem",
    "4",
    "--widths",
    "4",
    "--threads",
    "1",
]


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(SOURCES, "_parts", dict(SOURCES._parts))
    monkeypatch.setattr("autoshrink.registry._LOADED", {})


@pytest.fixture
def made_up(as_it_was: None) -> None:
    """The made-up sources."""
    for name in ("npz_images", "json_text"):
        load_plugin(PLUGINS / f"{name}.py")


def _npz(path: Path, per_class: int = 12) -> Path:
    """Two classes of 8×8 images, one bright above and one below, and noise that makes every image another."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in {"train": 2 * per_class, "test": 8}.items():
        images = rng.integers(0, 60, (count, 8, 8), dtype=np.uint8)
        labels = np.arange(count) % 2
        for image, label in zip(images, labels, strict=True):
            image[4 * label : 4 * label + 4] += 150
        arrays |= {f"{split}_images": images, f"{split}_labels": np.where(labels, "below", "above")}
    np.savez(path, allow_pickle=False, **arrays)
    return path


def _shades(count: int, start: int = 0) -> list[bytes]:
    return [encoded(Image.new("RGB", (6, 6), (number, 0, 0))) for number in range(start, start + count)]


def _folder(root: Path) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        for label, name in enumerate(("cat", "dog")):
            for place in range(3):
                picture(root / split / name / f"{place}.png", (40 * number + 10 * label + place, 0, 0))
    return root


def _parquet(root: Path) -> Path:
    parquet(root / "train-0.parquet", _shades(10), [0, 1] * 5, row_group_size=3)
    parquet(root / "train-1.parquet", _shades(7, 10), [1] * 7, row_group_size=3)
    parquet(root / "test.parquet", _shades(6, 20), [0, 1] * 3)
    return root


def _paths(root: Path) -> Path:
    photos(root, {"cat": 2, "dog": 2})
    files = [f"{name}/0{number}.png" for name in ("cat", "dog") for number in range(2)]
    pq.write_table(pa.table({"image": files, "label": ["cat", "cat", "dog", "dog"]}), root / "train.parquet")
    return root / "train.parquet"


IMAGES: dict[str, Callable[[Path], object]] = {
    "digits": lambda _: "digits",
    "folder": lambda root: _folder(root / "set"),
    "folder without splits": lambda root: photos(root / "set", {"cat": 5, "dog": 4}),
    "parquet": lambda root: _parquet(root / "set"),
    "parquet with paths": lambda root: _paths(root / "set"),
    "cifar, binary folder": lambda root: written(root / "cifar-10-batches-bin", cifar_binary(10)),
    "cifar, python archive": lambda root: tarred(root / "cifar.tar.gz", cifar_python(10)),
    "npz": lambda root: _npz(root / "shades.npz"),
}

TEXTS: dict[str, Callable[[Path], object]] = {
    "pydocs": lambda _: "pydocs",
    "folder": lambda root: penn(root / "set"),
    "archive": lambda root: zipped(root / "a.zip", {one.name: one.read_bytes() for one in penn(root / "x").iterdir()}),
    "file": lambda root: text_file(root / "novel.txt", [f"line {number}" for number in range(50)]),
    "json": lambda root: _json(root / "a.splits.json"),
}


def _json(path: Path) -> Path:
    lines = {
        split: [f"{split} {number % 3} goes on and on . <unk>" for number in range(90)]
        for split in ("train", "validation")
    }
    path.write_text(json.dumps(lines))
    return path


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("kind", IMAGES)
def test_images_keep_the_contract(kind: str, tmp_path: Path) -> None:
    check_images(str(IMAGES[kind](tmp_path)))


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("kind", TEXTS)
def test_texts_keep_the_contract(kind: str, tmp_path: Path) -> None:
    check_text(str(TEXTS[kind](tmp_path)))


def test_corrupt_images_are_reported_and_hide_no_others(tmp_path: Path) -> None:
    folder = photos(tmp_path / "set", {"cat": 4, "dog": 4})
    (folder / "cat" / "00.png").write_bytes(b"junk")
    (folder / "dog" / "03.png").unlink()
    (folder / "dog" / "03.png").symlink_to(tmp_path / "gone.png")
    check_corrupt(str(folder), 2)
    check_corrupt(str(parquet(tmp_path / "a.parquet", [*_shades(4), b"junk", None], [0, 1] * 3, row_group_size=2)), 2)


def test_the_contract_can_fail(tmp_path: Path) -> None:
    """A source that gives one split for another, or fewer corrupt images, does not pass."""
    for split in ("train", "test"):
        photos(tmp_path / "same" / split, {"cat": 3, "dog": 3})
    with pytest.raises(AssertionError, match="stands in two splits"):
        check_images(str(tmp_path / "same"))
    with pytest.raises(AssertionError, match="0 of 1 corrupt images"):
        check_corrupt(str(tmp_path / "same"), 1)


@pytest.mark.usefixtures("made_up")
def test_a_made_up_source_is_named_beside_the_others(tmp_path: Path) -> None:
    assert accepted("image").endswith("extracted folder or an .npz file of images and labels")
    with pytest.raises(DataError, match=r"shades\.npz: no array validation_images"):
        open_images(str(_npz(tmp_path / "shades.npz")), split="validation")


@pytest.mark.usefixtures("as_it_was")
def test_a_made_up_source_is_searched_trained_on_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = str(_npz(tmp_path / "shades.npz", 60)), str(tmp_path / "run")
    plugin = ["--plugin", str(PLUGINS / "npz_images.py")]
    assert run(["search", *plugin, "--data", data, "--run", folder, "--seed", "1", *QUICK]) == 0
    assert read_record(Path(folder)).data["classes"] == ["above", "below"]
    model, small = str(tmp_path / "model"), str(tmp_path / "small.arch.json")
    Path(small).write_text(json.dumps(SMALL.to_json() | {"classes": 2}))
    options = ["--epochs", "2", "--batch", "16", "--threads", "1", "--seed", "1"]
    assert run(["train", small, *plugin, "--data", data, "-o", model, *options]) == 0
    capsys.readouterr()
    assert run(["evaluate", model, "--json", *plugin]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["split"], found["images"]) == ("test", 8)


@pytest.mark.usefixtures("as_it_was")
def test_a_made_up_text_is_searched_on(tmp_path: Path) -> None:
    data, folder = str(_json(tmp_path / "a.splits.json")), tmp_path / "run"
    quick = [
        "--beside",
        "none",
        "--plugin",
        str(PLUGINS / "json_text.py"),
        "--nodes",
        "2",
        "--candidates",
        "1",
        "--threads",
        "1",
        "--set",
        "data.min_count=1",
    ]
    assert run(["search", "--task", "text", "--data", data, "--run", str(folder), *quick, "--epochs", "3"]) == 0
    assert str(read_record(folder).settings.data.spec) == data


def test_without_the_plug_in_the_file_is_of_no_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shades\.npz is not data of a kind that is read here; give an image folder"):
        open_images(str(_npz(tmp_path / "shades.npz")))


@pytest.mark.usefixtures("as_it_was")
def test_the_source_of_the_documentation_keeps_the_contract(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
    (block,) = [
        one for one in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "CsvReader" in one
    ]
    exec(compile(block, "docs/data.md", "exec"), {})  # our own page's example
    lines = ["path,class,split"]
    for split in ("train", "test"):
        photos(tmp_path / split, {"cat": 3, "dog": 2} if split == "train" else {"dog": 0})
        lines += [f"{one.relative_to(tmp_path)},{one.parent.name},{split}" for one in (tmp_path / split).rglob("*.png")]
    picture(tmp_path / "test" / "9.png", "blue")
    text_file(tmp_path / "photos.csv", [*lines, "test/9.png,dog,test"])
    check_images(str(tmp_path / "photos.csv"))
    assert open_images(str(tmp_path / "photos.csv"), split="test").describe(0) == "test/9.png"
