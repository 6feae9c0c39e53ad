"""Which folders are splits and which are classes, read as a person reads it: classes, notes, and refusals by name."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from autoshrink.data import open_images
from autoshrink.data.names import splits_named
from autoshrink.data.opening import splits_of
from autoshrink.errors import DataError
from data_fixtures import parquet, photos

SPLITS = ("train", "validation", "test")
CATS = {"cat": 2, "dog": 1}


def _refused(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        open_images(str(root), split=split)
    assert str(root) in str(caught.value)
    return str(caught.value)


def _counts(root: Path, split: str) -> dict[str, int]:
    source = open_images(str(root), split=split)
    return dict(zip(source.classes, np.bincount(source.labels, minlength=len(source.classes)).tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train", ("train",)),
        ("Training_Set", ("train",)),
        ("train2017", ("train",)),
        ("my-VALID", ("validation",)),
        ("dev.v2", ("validation",)),
        ("eval 1", ("test",)),
        ("train-dev", ("train", "validation")),
        ("evaluation_val", ("validation", "test")),
        ("trains", ()),
        ("development", ()),
        ("contest", ()),
    ],
)
def test_words_for_splits_stand_between_signs_that_are_no_letters(name: str, said: tuple[str, ...]) -> None:
    assert splits_named(name) == said


@pytest.mark.parametrize(
    "names",
    [
        ("training", "dev", "testing"),
        ("train2017", "Val_2017", "my test set"),
        ("TRAIN", "validation", "eval"),
        ("images-train", "images-valid", "evaluation"),
    ],
)
def test_folders_are_splits_by_any_of_the_words(tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        photos(tmp_path / name, {"cat": 3 - number, "dog": 1})
    assert splits_of(str(tmp_path)) == SPLITS
    assert [_counts(tmp_path, split) for split in SPLITS] == [{"cat": 3 - n, "dog": 1} for n in range(3)]


@pytest.mark.parametrize("flat", [False, True])
def test_images_beside_splits_under_another_name_are_refused(tmp_path: Path, flat: bool) -> None:
    for name in ("train", "test"):
        photos(tmp_path / name, CATS)
    photos(tmp_path if flat else tmp_path / "unlabeled", {"unlabeled": 1} if flat else CATS)
    assert "unlabeled beside test, train: the name says no split" in _refused(tmp_path)


def test_two_folders_for_one_split_and_one_folder_for_two_are_refused(tmp_path: Path) -> None:
    for name in ("a/train", "a/val", "a/dev", "b/train", "b/train-dev"):
        photos(tmp_path / name, CATS)
    assert "dev and val are both the validation split by their names" in _refused(tmp_path / "a")
    assert "the name train-dev says train and validation" in _refused(tmp_path / "b")


def test_classes_called_like_splits_are_classes_and_it_is_said(tmp_path: Path) -> None:
    photos(tmp_path, {"bus": 1, "train": 1, "dev board": 1})
    source = open_images(str(tmp_path))
    assert source.classes == ("bus", "dev board", "train")
    assert source.notes == ("dev board, train counts as a class, not as a split: its images stand directly in it",)


def test_a_class_that_only_looks_like_a_split_is_not_guessed_at(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        photos(tmp_path / name, {"2023": 1, "2024": 1})
    assert "bus beside train: the name says no split" in _refused(tmp_path)


@pytest.mark.parametrize("target", ["train", "train/cat", "."])
def test_a_split_that_is_another_by_a_link_is_refused(tmp_path: Path, target: str) -> None:
    photos(tmp_path / "photos" / "train", CATS)
    (tmp_path / "photos" / "train" / "cat" / "more").mkdir()
    photos(tmp_path / "photos" / "train" / "cat", {"more": 1})
    (tmp_path / "photos" / "val").symlink_to(tmp_path / "photos" / target)
    if target == ".":  # leads back to the data: no folder of its own at all
        assert open_images(str(tmp_path / "photos")).notes[0] == "links to folders are not followed: val"
    else:
        assert "val and train are one folder or one inside the other (a link?)" in _refused(tmp_path / "photos")


def test_parquet_files_that_are_one_file_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "hard" / "train.parquet", [b"a", b"b"], [0, 1])
    os.link(tmp_path / "hard" / "train.parquet", tmp_path / "hard" / "test.parquet")
    parquet(tmp_path / "soft" / "train.parquet", [b"a", b"b"], [0, 1])
    (tmp_path / "soft" / "val.parquet").symlink_to("train.parquet")
    assert "test.parquet, train.parquet are one file" in _refused(tmp_path / "hard")
    assert "train.parquet, val.parquet are one file" in _refused(tmp_path / "soft")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            ("animals/cat", "animals/dog", "vehicles/car", "vehicles/bus"),
            "animals, vehicles hold no images but folders",
        ),
        (("a/cat", "a/dog", "b/cat", "b/dog", "docs"), "a, b hold no images but folders of them (a/cat, a/dog, b/cat"),
        (
            ("photos/cat", "photos/dog"),
            "which are the classes?\ngive the folder that holds the classes, or the splits ({}/photos)",
        ),
        (("photos/train/cat", "photos/test/cat"), "or the splits ({}/photos)"),
        (
            ("a/train", "a/test", "b/train", "b/test"),
            "a, b hold no images but folders of them (a/test, a/train, b/test, b/train)",
        ),
        (("fold/0", "fold/1", "other/0", "other/1"), "which are the classes?"),
        (("train/animals/cat", "train/animals/dog", "test/animals/cat", "test/animals/dog"), "which are the classes?"),
    ],
)
def test_classes_one_level_deeper_are_not_guessed_at(tmp_path: Path, folders: tuple[str, ...], message: str) -> None:
    for folder in folders:
        photos(tmp_path / "data" / Path(folder).parent, {Path(folder).name: 2})
    assert message.format(tmp_path / "data") in _refused(tmp_path / "data")


def test_names_of_images_that_say_splits_are_pointed_out(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        photos(tmp_path / "data", {name: 4})
        for number, path in enumerate(sorted((tmp_path / "data" / name).iterdir())):
            path.rename(path.with_name(f"{'test' if number % 2 else 'train'}_{number}{path.suffix}"))
    (note,) = open_images(str(tmp_path / "data"), split="train").notes
    assert "(cat/train_0.png says train, cat/test_1.png says test) part nothing, folders do" in note


def test_folders_inside_a_class_are_the_class_where_nothing_else_can_be_meant(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        photos(tmp_path / "dates" / name, {"2023": 1, "2024-05": 1})
        photos(tmp_path / "images" / "train" / name, {"images": 2})
    photos(tmp_path / "breeds", {"cat": 1})
    photos(tmp_path / "breeds" / "dog", {"poodle": 1, "collie": 1})
    for root, inner in (("dates", "cat/2023"), ("images", "cat/images"), ("breeds", "dog/collie")):
        source = open_images(str(tmp_path / root))
        assert source.classes == ("cat", "dog")
        assert source.notes[0].startswith(f"images in folders inside a class are the class's: {inner}")


def test_one_name_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    photos(tmp_path / "train", {composed: 2, "tea": 1})
    photos(tmp_path / "val", {decomposed: 3, "tea": 1})
    assert _counts(tmp_path, "validation") == {composed: 3, "tea": 1}
    photos(tmp_path / "train", {decomposed: 1})
    source = open_images(str(tmp_path))
    assert source.classes == (composed, "tea")
    assert f"two folders called {composed}, by two spellings of one letter, are one class" in source.notes


def test_a_class_that_differs_in_capitals_is_named_with_the_other(tmp_path: Path) -> None:
    photos(tmp_path / "train", {"Cat": 1, "dog": 1})
    photos(tmp_path / "val", {"cat": 1})
    assert "class cat has no folder in" in _refused(tmp_path, "validation")
    assert "; Cat differs from it only in capitals or spaces" in _refused(tmp_path, "validation")
    photos(tmp_path / "train", {"cat": 1})
    assert "classes that differ only in capitals or spaces: Cat and cat" in open_images(str(tmp_path)).notes


@pytest.mark.parametrize("name", ["train.parquet", "cifar.tar.gz", "photos"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert "is a pipe, a socket or a device and no file" in _refused(tmp_path / name)
    photos(tmp_path / "inside", CATS)
    os.mkfifo(tmp_path / "inside" / "x.parquet")
    assert "a pipe, socket, device or broken link, and no file" in _refused(tmp_path / "inside")
