"""The cache saves time and never changes a result: every change of the data is noticed, every failure survived."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoshrink.data import Proxy, cache, load_proxy
from data_fixtures import away_from_home, cifar_binary, encoded, parquet, photos, picture, tarred


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


def _load(spec: str | Path, **settings: Any) -> tuple[Proxy, bool]:
    """Return the proxy and whether anything was decoded for it."""
    seen: list[int] = []
    defaults = {"train_per_class": 4, "validation_per_class": 2, "size": 8, "seed": 0}
    arguments = defaults | settings | {"progress": lambda *step: seen.append(step[0])}
    return load_proxy(str(spec), **arguments), bool(seen)


def _stored(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "images").iterdir())


def test_the_second_time_nothing_is_decoded_and_all_is_equal(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 12, "dog": 1, "cow": 9})
    (root / "cat" / "00.png").write_bytes(b"junk")
    (first, decoded), (second, again) = (_load(root, train_per_class=9, max_corrupt=0.5) for _ in range(2))
    assert (decoded, again) == (True, False)
    assert np.array_equal(first.train.images, second.train.images)
    assert np.array_equal(first.validation.labels, second.validation.labels)
    assert first.skipped == second.skipped != ()
    assert first.notes == second.notes != ()
    assert first.fingerprint == second.fingerprint
    assert len(_stored(tmp_path)) == 1


@pytest.mark.parametrize(
    "setting",
    [
        {"seed": 1},
        {"size": 9},
        {"channels": 1},
        {"replacement": True},
        {"train_per_class": 3},
        {"validation_per_class": 1},
        {"max_corrupt": 0.5},
    ],
)
def test_each_setting_has_its_own_entry(tmp_path: Path, setting: dict[str, Any]) -> None:
    root = photos(tmp_path / "photos", {"cat": 12, "dog": 12})
    first, _ = _load(root)
    assert _load(root, **setting)[1]
    same, decoded = _load(root)
    assert not decoded
    assert same.fingerprint == first.fingerprint


def test_every_change_of_a_folder_is_noticed(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 6, "dog": 6})  # as many as are drawn, so each one counts
    fingerprints = [_load(root)[0].fingerprint]

    def changed() -> Proxy:
        proxy, decoded = _load(root)
        assert decoded
        assert not _load(root)[1]
        fingerprints.append(proxy.fingerprint)
        return proxy

    picture(root / "cat" / "00.png", "white")
    changed()
    picture(root / "cat" / "new.png", "blue")
    changed()
    (root / "dog" / "00.png").unlink()
    changed()
    (root / "dog").rename(root / "wolf")
    assert changed().classes == ("cat", "wolf")
    assert len(set(fingerprints)) == 5
    status = (root / "wolf" / "01.png").stat()
    os.utime(root / "wolf" / "01.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    changed()
    assert len(_stored(tmp_path)) == 1


def test_a_changed_archive_and_a_changed_parquet_file_are_noticed(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-binary.tar.gz"
    reds = [encoded(Image.new("RGB", (6, 6), (number, 0, 0))) for number in range(24)]
    table = tmp_path / "train.parquet"
    tarred(archive, cifar_binary())
    parquet(table, reds, [number % 2 for number in range(24)])
    for path in (archive, table):
        assert _load(path)[1]
        assert not _load(path)[1]
        os.utime(path, ns=(1, 1))
        assert _load(path)[1]


def test_damaged_entries_are_made_again(tmp_path: Path) -> None:
    first, _ = _load("digits")
    path = _stored(tmp_path)[0]
    whole = path.read_bytes()
    for damaged in (b"", b"junk", whole[: len(whole) // 2], whole[:900] + b"\xff" * 99 + whole[999:]):
        path.write_bytes(damaged)
        proxy, decoded = _load("digits")
        assert decoded
        assert proxy.fingerprint == first.fingerprint
        assert proxy.notes == ()
        assert not _load("digits")[1]


ARRAYS = {"images": np.arange(60, dtype=np.uint8).reshape(3, 20), "words": np.array("[]")}


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("entry")
    assert cache.write(folder, "key", ARRAYS) is None
    return folder / "proxy-key.npz"


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=3))
def test_damage_anywhere_is_noticed_or_harmless(entry: Path, place: float, junk: bytes) -> None:
    whole = bytearray(entry.read_bytes())
    start = int(place * len(whole))
    try:
        entry.write_bytes(whole[:start] + junk + whole[start + len(junk) :])
        arrays = cache.read(entry.parent, "key")
    finally:
        entry.write_bytes(whole)
    for name in (arrays or {}).keys() & ARRAYS.keys():
        assert np.array_equal((arrays or {})[name], ARRAYS[name])


def test_a_foreign_file_in_its_place_is_made_again(tmp_path: Path) -> None:
    first, _ = _load("digits")
    np.savez(_stored(tmp_path)[0], words=np.array("hello"))
    proxy, decoded = _load("digits")
    assert decoded
    assert proxy.fingerprint == first.fingerprint


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    proxy, _ = _load("digits", cache=blocked)
    assert len(proxy.notes) == 1
    assert proxy.notes[0].startswith(f"decoded images could not be kept in {blocked}: ")
    assert f"{blocked} is a file, not a folder" in proxy.notes[0]


def test_what_cannot_be_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "proxy-key.npz").mkdir()  # the final rename fails
    problem = cache.write(folder, "key", {"a": np.arange(3)})
    assert problem is not None
    assert [path.name for path in folder.iterdir()] == ["proxy-key.npz"]


def test_argument_and_environment_choose_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _load("digits", cache=tmp_path / "mine")
    assert len(list((tmp_path / "mine").glob("proxy-*.npz"))) == 1
    assert not (tmp_path / "cache").exists()
    monkeypatch.delenv("AUTOSHRINK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default_folder() == tmp_path / "xdg" / "autoshrink" / "images"


def test_only_the_newest_are_kept_and_nothing_foreign_is_touched(tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    own.write_bytes(b"precious")
    for number in range(cache.LIMIT):
        assert cache.write(tmp_path, f"{number:02}", {"a": np.arange(3)}) is None
        os.utime(tmp_path / f"proxy-{number:02}.npz", (number, number))
    assert cache.read(tmp_path, "00") is not None  # in use, so it is not the oldest any more
    assert cache.write(tmp_path, "new", {"a": np.arange(3)}) is None
    kept = {path.name for path in tmp_path.glob("proxy-*")}
    assert len(kept) == cache.LIMIT
    assert {"proxy-00.npz", "proxy-new.npz", "proxy-02.npz"} <= kept
    assert "proxy-01.npz" not in kept
    assert own.read_bytes() == b"precious"


def test_moving_the_data_is_no_change_of_the_data(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 9, "dog": 9})
    first, _ = _load(root)
    shutil.copytree(root, tmp_path / "copy" / "photos")
    assert _load(tmp_path / "copy" / "photos")[0].fingerprint == first.fingerprint
