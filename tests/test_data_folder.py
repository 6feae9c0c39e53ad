"""Image folders as people really have them."""

import os
from pathlib import Path

import numpy as np
import pytest

from autoshrink.data import load_split, open_images
from autoshrink.data.images import ImageSource
from autoshrink.errors import DataError
from data_fixtures import photos, picture


def _files(source: ImageSource) -> list[str]:
    return [source.describe(index) for index in range(len(source.labels))]


def test_classes_directly_in_the_folder(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"dog": 2, "cat": 3})
    source = open_images(str(root))
    assert source.name == "photos"
    assert source.classes == ("cat", "dog")
    assert _files(source) == ["cat/00.png", "cat/01.png", "cat/02.png", "dog/00.png", "dog/01.png"]
    assert source.labels.tolist() == [0, 0, 0, 1, 1]
    assert source.labels.dtype == np.int64
    assert source.notes == ()


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_split_folders(tmp_path: Path, validation: str) -> None:
    root = tmp_path / "photos"
    photos(root / "train", {"cat": 3, "dog": 4})
    photos(root / validation, {"dog": 1})
    photos(root / "test", {"cat": 2, "dog": 2})
    assert [len(open_images(str(root), split=split).labels) for split in ("train", "validation", "test")] == [7, 1, 4]
    held_out = open_images(str(root), split="validation")
    assert held_out.classes == ("cat", "dog")
    assert held_out.labels.tolist() == [1]


def test_only_train_and_test_folders_are_splits_and_not_classes(tmp_path: Path) -> None:
    photos(tmp_path / "train", {"cat": 1, "dog": 1})
    photos(tmp_path / "test", {"cat": 1, "dog": 1})
    assert open_images(str(tmp_path)).classes == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    photos(tmp_path, {"bus": 1, "car": 1, "train": 1})
    assert open_images(str(tmp_path)).classes == ("bus", "car", "train")


def test_folders_beside_the_splits_are_noted(tmp_path: Path) -> None:
    photos(tmp_path / "train", {"cat": 1, "dog": 1})
    (tmp_path / "annotations").mkdir()
    picture(tmp_path / "cover.png")
    assert open_images(str(tmp_path)).notes == (
        f"1 image is ignored, in no class folder of {tmp_path / 'train'}",
        "folders beside the splits, without images, are ignored: annotations",
    )


def test_nested_images_and_upper_case_extensions_count(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 1, "dog": 1})
    picture(root / "cat" / "2024" / "may" / "IMG_1.JPG")
    picture(root / "cat" / "x.TIFF")
    assert _files(open_images(str(root)))[:3] == ["cat/00.png", "cat/2024/may/IMG_1.JPG", "cat/x.TIFF"]


def test_the_order_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    names = [f"{number:02}.png" for number in range(20)]
    for folder, order in (("a", names), ("b", names[::-1])):
        for name in order:
            for kind in ("cat", "dog"):
                picture(tmp_path / folder / "photos" / kind / name)
    first, second = (open_images(str(tmp_path / folder / "photos")) for folder in "ab")
    assert _files(first) == _files(second) == sorted(_files(first))
    assert first.labels.tolist() == second.labels.tolist()


def test_what_operating_systems_leave_behind_is_passed_over_silently(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 1, "dog": 1})
    for junk in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "cat/desktop.ini", "cat/._00.png", ".DS_Store.png"):
        (root / junk).write_bytes(b"junk")
    for junk in ("__MACOSX/cat/._00.png", ".ipynb_checkpoints/cat/00.png", "cat/__MACOSX/00.png", "dog/.hidden/00.png"):
        picture(root / junk)
    source = open_images(str(root))
    assert _files(source) == ["cat/00.png", "dog/00.png"]
    assert source.classes == ("cat", "dog")
    assert source.notes == ()


def test_what_is_ignored_is_noted(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 1, "dog": 1, "empty": 0})
    for name in ("cat/a.txt", "cat/b.txt", "dog/labels.csv", "dog/README"):
        (root / name).write_text("words")
    picture(root / "stray.png")
    source = open_images(str(root))
    assert source.classes == ("cat", "dog")
    assert source.notes == (
        "4 files are ignored by extension, as no images: 1 without extension, 1 .csv, 2 .txt",
        f"1 image is ignored, in no class folder of {root}",
        "class folders without images are not counted: empty",
    )


def test_links_that_lead_back_do_not_hang_and_label_nothing_twice(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    (root / "cat" / "again").symlink_to(root / "cat", target_is_directory=True)
    (root / "dog" / "up").symlink_to(root, target_is_directory=True)
    (root / "all").symlink_to(root, target_is_directory=True)
    source = open_images(str(root))
    assert len(source.labels) == 4
    assert source.notes == ("links to folders are not followed: all, cat/again, dog/up",)


def test_linked_classes_and_linked_images_count(tmp_path: Path) -> None:
    elsewhere = photos(tmp_path / "elsewhere", {"dog": 3})
    root = photos(tmp_path / "photos", {"cat": 1})
    (root / "dog").symlink_to(elsewhere / "dog", target_is_directory=True)
    (root / "cat" / "link.png").symlink_to(elsewhere / "dog" / "00.png")
    assert open_images(str(root)).labels.tolist() == [0, 0, 1, 1, 1]


def test_a_dangling_link_is_named_and_not_passed_over(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 2, "dog": 2})
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    split = load_split(str(root), "train", size=8, max_corrupt=0.5)
    assert [(skipped.path, skipped.reason) for skipped in split.skipped] == [
        ("cat/gone.png", "No such file or directory")
    ]


def test_a_pipe_with_an_image_name_is_no_image(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 1, "dog": 1})
    os.mkfifo(root / "cat" / "pipe.png")
    source = open_images(str(root))
    assert len(source.labels) == 2
    assert source.notes == ("pipes, sockets and devices are not read: cat/pipe.png",)


def test_a_file_that_vanished_after_the_listing_is_named(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 2, "dog": 2})
    source = open_images(str(root))
    (root / "dog" / "00.png").unlink()
    payloads = dict(source.payloads(np.arange(4)))
    assert isinstance(payloads[2], FileNotFoundError)
    assert isinstance(payloads[3], bytes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file, so a forbidden one cannot be made")
def test_forbidden_files_are_named_and_forbidden_folders_are_errors(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 2, "dog": 2})
    (root / "cat" / "00.png").chmod(0)
    split = load_split(str(root), "train", size=8, max_corrupt=0.5)
    assert split.skipped[0].reason == "Permission denied"
    (root / "dog").chmod(0)
    try:
        with pytest.raises(DataError, match="cannot be listed: Permission denied"):
            open_images(str(root))
    finally:
        (root / "dog").chmod(0o755)


def test_names_that_are_not_utf8_are_read_and_can_be_printed(tmp_path: Path) -> None:
    root = photos(tmp_path, {"cat": 2, "dog": 2})
    os.rename(os.fsencode(root / "cat" / "00.png"), os.fsencode(root / "cat") + b"/caf\xe9.png")  # noqa: PTH104
    os.rename(os.fsencode(root / "dog"), os.fsencode(root) + b"/\xff")  # noqa: PTH104
    source = open_images(str(root))
    assert source.classes == ("cat", "\\udcff")
    assert "cat/caf\\udce9.png" in _files(source)
    assert len(load_split(str(root), "train", size=8).data) == 4
    assert source.identity(np.arange(4)).count("\n") == 3


@pytest.mark.parametrize(
    ("layout", "split", "message"),
    [
        ({}, "train", "no images in class folders"),
        ({"cat/a.png": 1}, "train", r"only one class \(cat\); a classifier needs at least two"),
        ({"cat/notes.txt": 0, "dog/notes.txt": 0}, "train", "no images in class folders; expected CLASS"),
        ({"cat/a.cr2": 0, "dog/b.CR2": 0}, "train", "no images in class folders.*\n2 files .* no images: 2 .cr2"),
        ({"a.png": 1, "b.png": 1}, "train", "no images in class folders"),
        ({"cat/a.png": 1, "dog/a.png": 1}, "test", "no test split, its classes stand directly in it; use train/CLASS"),
        ({"train/cat/a.png": 1, "train/dog/a.png": 1}, "test", "no test folder, only train"),
        ({"test/cat/a.png": 1, "test/dog/a.png": 1}, "train", "a test folder but no train folder"),
        ({"train/a.png": 1, "test/a.png": 1}, "train", "train: no images in class folders"),
        ({"train/cat/a.png": 1, "train/dog/a.png": 1, "test/cow/a.png": 1}, "test", "class cow has no folder in"),
        ({"train/cat/a.png": 1, "train/dog/a.png": 1, "test/a.png": 1}, "test", "test: no images in class folders"),
    ],
)
def test_unusable_folders_say_why(tmp_path: Path, layout: dict[str, int], split: str, message: str) -> None:
    for name, is_image in layout.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if is_image:
            picture(tmp_path / name)
        else:
            (tmp_path / name).write_text("words")
    with pytest.raises(DataError, match=message) as caught:
        open_images(str(tmp_path), split=split)
    assert str(tmp_path) in str(caught.value)
