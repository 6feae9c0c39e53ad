"""What a proxy holds: who gets how many images, the same for the same seed, whole, and never the test split."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.data import Proxy, load_proxy, load_split, open_images
from autoshrink.data.decoding import Reading
from autoshrink.data.images import ImageSource, Indices, Payload
from autoshrink.data.sampling import Picked, Wanted, pick, pick_with_replacement
from autoshrink.errors import DataError, InputError
from data_fixtures import away_from_home, photos, picture


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


def _proxy(spec: str | Path, **settings: Any) -> Proxy:
    defaults = {"train_per_class": 6, "validation_per_class": 3, "size": 8, "seed": 0}
    return load_proxy(str(spec), **(defaults | settings))


def _distinct(images: np.ndarray[Any, Any]) -> set[bytes]:
    return {image.tobytes() for image in images}


def _per_class(labels: Indices) -> list[int]:
    return [int(count) for count in np.bincount(labels)]


# The laws, over a source that is all in memory


@dataclass(frozen=True, eq=False, kw_only=True)
class _Memory(ImageSource):
    """A source of 1×1 images in which some cannot be read; image i of the first 256 holds the value i."""

    broken: frozenset[int]
    classes: tuple[str, ...] = ("a", "b", "c")
    name: str = "memory"
    location: str = "memory"

    def describe(self, index: int) -> str:
        return str(index)

    def identity(self, indices: Indices) -> str:
        return str(indices.tolist())

    def payloads(self, indices: Indices) -> Iterator[tuple[int, Payload]]:
        for index in indices.tolist():
            broken = index in self.broken
            yield index, OSError("broken") if broken else np.full((1, 1, 1), index % 256, dtype=np.uint8)


MEMORIES = st.lists(st.integers(0, 2), max_size=60).flatmap(
    lambda labels: st.builds(
        _Memory,
        labels=st.just(np.array(labels, dtype=np.int64)),
        broken=st.frozensets(st.integers(0, 59), max_size=20),
    )
)
COUNTS = st.integers(1, 12)


def _picked(picker: Callable[..., Picked], memory: _Memory, wanted: Wanted, seed: int) -> tuple[Picked, Reading]:
    reading = Reading(memory, size=1, channels=None, max_corrupt=1)
    return picker(reading, memory.labels, wanted, classes=3, seed=seed), reading


@given(images=st.integers(0, 10_000), train=st.integers(1, 1000), validation=st.integers(1, 1000))
def test_shares_of_a_class(images: int, train: int, validation: int) -> None:
    to_train, to_validation = Wanted(train, validation).of(images)
    assert to_train + to_validation <= images
    assert to_train <= train
    assert to_validation <= min(validation, max(1, images // 3))
    assert (to_validation >= 1) == (images >= 2)
    assert (to_train >= 1) == (images >= 1)


@settings(max_examples=150, deadline=None)
@given(memory=MEMORIES, train=COUNTS, validation=COUNTS, seed=st.integers(0, 2**63))
def test_without_replacement_each_usable_image_is_drawn_at_most_once(
    memory: _Memory, train: int, validation: int, seed: int
) -> None:
    wanted = Wanted(train, validation)
    picked, reading = _picked(pick, memory, wanted, seed)
    together = picked.train + picked.validation
    assert len(set(together)) == len(together)
    assert not set(together) & memory.broken
    assert picked == _picked(pick, memory, wanted, seed)[0]
    for label in range(3):
        members = set(np.flatnonzero(memory.labels == label).tolist())
        usable = len(members - memory.broken)
        drawn = len(members & set(picked.train)), len(members & set(picked.validation))
        if not members & set(reading.attempted) & memory.broken:
            assert drawn == wanted.of(len(members))
        assert sum(drawn) >= min(sum(wanted.of(usable)), sum(wanted.of(len(members))))
        assert (drawn[0] > 0) == (usable > 0)
        assert (drawn[1] > 0) == (usable > 1)


@settings(max_examples=150, deadline=None)
@given(memory=MEMORIES, train=COUNTS, validation=COUNTS, seed=st.integers(0, 2**63))
def test_with_replacement_the_counts_are_full_and_the_pools_disjoint(
    memory: _Memory, train: int, validation: int, seed: int
) -> None:
    wanted = Wanted(train, validation)
    picked, _ = _picked(pick_with_replacement, memory, wanted, seed)
    assert not set(picked.train) & set(picked.validation)
    assert not {*picked.train, *picked.validation} & memory.broken
    assert picked == _picked(pick_with_replacement, memory, wanted, seed)[0]
    for label in range(3):
        members = np.flatnonzero(memory.labels == label)
        if len(members) > 1 and not set(members.tolist()) & memory.broken:
            assert int(np.isin(picked.train, members).sum()) == train
            assert int(np.isin(picked.validation, members).sum()) == validation


def test_only_what_is_drawn_is_decoded() -> None:
    memory = _Memory(labels=np.arange(60) % 3, broken=frozenset())
    _, reading = _picked(pick, memory, Wanted(4, 2), 0)
    assert len(reading.attempted) == 18


# Whole proxies


def test_digits() -> None:
    proxy = _proxy("digits", size=None, train_per_class=20, validation_per_class=10)
    assert proxy.name == "digits"
    assert proxy.classes == tuple("0123456789")
    assert proxy.train.images.shape == (200, 1, 8, 8)
    assert proxy.validation.images.shape == (100, 1, 8, 8)
    assert _per_class(proxy.train.labels) == [20] * 10
    assert _per_class(proxy.validation.labels) == [10] * 10
    assert not proxy.skipped
    assert not proxy.notes
    assert not _distinct(proxy.train.images) & _distinct(proxy.validation.images)


def test_digits_are_scaled_from_16_to_255_and_split_for_good() -> None:
    train, test = (load_split("digits", split, size=None) for split in ("train", "test"))
    assert len(train.data) + len(test.data) == 1797
    assert _per_class(test.data.labels) == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert (train.data.images.min(), train.data.images.max()) == (0, 255)
    assert not _distinct(train.data.images) & _distinct(test.data.images)
    with pytest.raises(DataError, match="digits has no validation split; it has train and test"):
        open_images("digits", split="validation")


def test_same_seed_same_images_other_seed_other_images(tmp_path: Path) -> None:
    first, again, other = (_proxy("digits", seed=seed, cache=tmp_path / str(n)) for n, seed in enumerate((1, 1, 2)))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert np.array_equal(first.train.images, again.train.images)
    assert len(first.fingerprint) == 64


def test_with_replacement_images_repeat_and_no_image_is_on_both_sides() -> None:
    proxy = _proxy("digits", train_per_class=100, validation_per_class=50, replacement=True)
    assert _per_class(proxy.train.labels) == [100] * 10
    assert _per_class(proxy.validation.labels) == [50] * 10
    assert len(_distinct(proxy.train.images)) < 900
    assert not _distinct(proxy.train.images) & _distinct(proxy.validation.images)


def test_size_and_channels() -> None:
    assert _proxy("digits", size=16, channels=3).train.images.shape == (60, 3, 16, 16)


def test_channels_are_one_only_if_every_image_is_grey(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number, mode in enumerate(("L", "LA", "1", "I;16")):
            picture(tmp_path / "photos" / name / f"{number}.png", 1, mode=mode)
    assert _proxy(tmp_path / "photos").train.images.shape[1] == 1
    picture(tmp_path / "photos" / "dog" / "colour.png")
    proxy = _proxy(tmp_path / "photos")
    assert proxy.train.images.shape[1] == proxy.validation.images.shape[1] == 3


def test_the_test_split_is_never_read(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    photos(root / "train", {"cat": 9, "dog": 9})
    whole = _proxy(root)
    (root / "test").mkdir()
    (root / "test" / "forbidden").write_bytes(b"junk")
    for name in ("cat", "lion"):
        (root / "test" / name).mkdir()
        (root / "test" / name / "a.png").write_bytes(b"junk")
    assert _proxy(root).fingerprint == whole.fingerprint


def test_small_classes_and_uneven_classes_are_noted(tmp_path: Path) -> None:
    proxy = _proxy(photos(tmp_path / "photos", {"ant": 1, "bee": 2, "cow": 12}))
    assert _per_class(proxy.train.labels) == [1, 1, 6]
    assert _per_class(proxy.validation.labels) == [0, 1, 3]
    assert proxy.notes[-3:] == (
        "only one usable image, so none for validation: class ant",
        "classes are uneven: from 1 image (ant) to 12 (cow)",
        "6 images a class for training and 3 for validation are more than 2 of 3 classes have: all of theirs are used, "
        "1 + 0 of the smallest",
    )


def test_notes_of_the_folder_and_the_size_are_passed_on(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 9, "dog": 9})
    (root / "cat" / "a.txt").write_text("words")
    proxy = _proxy(root, size=None)
    assert proxy.train.images.shape[2:] == (32, 32)
    assert proxy.notes == (
        "1 file is ignored by extension, as no images: 1 .txt",
        "no size was given: images are scaled to 32×32 pixels",
    )


def test_a_corrupt_image_is_replaced_by_another_of_its_class(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 30, "dog": 30})
    before = _proxy(root, max_corrupt=0.5)
    for number in range(15):
        (root / "cat" / f"{number:02}.png").write_bytes(b"junk")
    after = _proxy(root, max_corrupt=0.5)
    assert after.skipped
    assert {skipped.path for skipped in after.skipped} <= {f"cat/{number:02}.png" for number in range(15)}
    assert _per_class(after.train.labels) == _per_class(before.train.labels) == [6, 6]
    assert _per_class(after.validation.labels) == [3, 3]
    dogs = before.train.labels == 1
    assert np.array_equal(before.train.images[dogs], after.train.images[dogs])


def test_a_class_without_a_usable_image_is_noted(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"ant": 9, "bee": 9, "cow": 1})
    (root / "cow" / "00.png").write_bytes(b"")
    proxy = _proxy(root, max_corrupt=0.1)
    assert "no usable image, so never learnt: class cow" in proxy.notes
    assert proxy.classes == ("ant", "bee", "cow")


def test_the_share_of_corrupt_images_is_strict(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 9, "dog": 9})
    (root / "cat" / "00.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"1 of 18 images cannot be decoded, more than the allowed 5% \(cat/00.png"):
        _proxy(root)
    assert _proxy(root, max_corrupt=0.06).skipped[0].path == "cat/00.png"


def test_too_little_left_to_train_on_is_an_error(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match=r"2 images can be used for training and 0 for validation; needed are two"):
        _proxy(root)
    root = photos(tmp_path / "more", {"cat": 4, "dog": 1})
    (root / "dog" / "00.png").write_bytes(b"junk")
    with pytest.raises(DataError, match="needed are two classes with images"):
        _proxy(root, max_corrupt=0.5)


def test_one_usable_image_of_two_goes_to_training(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 9, "dog": 2})
    (root / "dog" / "00.png").write_bytes(b"junk")
    proxy = _proxy(root, max_corrupt=0.5)
    assert _per_class(proxy.train.labels) == [6, 1]
    assert _per_class(proxy.validation.labels) == [3]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"train_per_class": 0}, "train_per_class is 0; it must be at least 1"),
        ({"validation_per_class": -3}, "validation_per_class is -3; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"channels": 4}, "channels is 4"),
        ({"max_corrupt": -0.1}, "max_corrupt is -0.1"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _proxy("digits", **setting)


def test_progress_is_told_each_image(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    _proxy("digits", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 90) for done in range(1, 91)]
    root = photos(tmp_path / "photos", {"cat": 30, "dog": 30})
    for path in (root / "cat").iterdir():
        if int(path.stem) % 2:
            path.write_bytes(b"junk")
    seen.clear()
    proxy = _proxy(root, max_corrupt=0.5, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == [*range(1, 18 + len(proxy.skipped) + 1)]
    assert seen[17] == (18, 18)


def test_a_million_files_would_not_be_decoded(tmp_path: Path) -> None:
    """What is decoded grows with what is asked for and not with the folder."""
    root = photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    for number in range(300):
        for name in ("cat", "dog"):
            os.link(root / name / "00.png", root / name / f"x{number}.png")
    seen: list[int] = []
    _proxy(root, progress=lambda *step: seen.append(step[1]))
    assert set(seen) == {18}
