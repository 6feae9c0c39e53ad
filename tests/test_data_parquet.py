"""Parquet in the Hugging Face layout, small ones written here and the real CIFAR-10 where there is one."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoshrink.data import load_proxy, load_split, open_images
from autoshrink.data.cifar import CLASSES
from autoshrink.errors import DataError
from data_fixtures import encoded, parquet, photos

REDS = [encoded(Image.new("RGB", (6, 6), (number, 0, 0))) for number in range(10)]
LABELS = [number % 2 for number in range(10)]


def _reds(path: Path, split: str = "train") -> list[int]:
    return [int(value) for value in load_split(str(path), split, size=6).data.images[:, 0, 0, 0]]


def test_a_file_across_row_groups(tmp_path: Path) -> None:
    path = parquet(tmp_path / "train.parquet", REDS, LABELS, row_group_size=3)
    source = open_images(str(path))
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == LABELS
    assert source.describe(7) == "train.parquet, row 7"
    chosen = dict(source.payloads(np.array([8, 1, 3])))
    assert chosen == {1: REDS[1], 3: REDS[3], 8: REDS[8]}
    assert _reds(path) == [*range(10)]


@pytest.mark.parametrize(
    "layout",
    [
        ("train.parquet", "test.parquet"),
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
    ],
)
def test_folders_of_splits(tmp_path: Path, layout: tuple[str, str]) -> None:
    for name, chosen in zip(layout, (slice(0, 6), slice(6, 10)), strict=True):
        parquet(tmp_path / name, REDS[chosen], LABELS[chosen])
    assert _reds(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert _reds(tmp_path, "test") == [6, 7, 8, 9]


def test_shards_follow_each_other_in_order_of_their_names(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-00001-of-00002.parquet", REDS[7:], LABELS[7:])
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet", REDS[:7], LABELS[:7])
    source = open_images(str(tmp_path))
    assert source.describe(8) == "train-00001-of-00002.parquet, row 1"
    assert _reds(tmp_path) == [*range(10)]


def test_image_column_and_classes_without_metadata(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", REDS[:4], ["hen", "ant", "hen", "cow"], names=None, image_column="image")
    source = open_images(str(path))
    assert source.classes == ("ant", "cow", "hen")
    assert source.labels.tolist() == [2, 0, 2, 1]
    numbered = open_images(str(parquet(tmp_path / "b.parquet", REDS[:3], [0, 2, 0], names=None)))
    assert numbered.classes == ("0", "2")


def test_classes_of_the_test_split_are_those_of_the_train_split(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", REDS[:3], ["ant", "cow", "hen"], names=None)
    parquet(tmp_path / "test.parquet", REDS[:1], ["hen"], names=None)
    source = open_images(str(tmp_path), split="test")
    assert source.classes == ("ant", "cow", "hen")
    assert source.labels.tolist() == [2]
    parquet(tmp_path / "test.parquet", REDS[:1], ["yak"], names=None)
    with pytest.raises(DataError, match=r"class yak is not among the 3 that are trained on"):
        open_images(str(tmp_path), split="test")


def test_plain_binary_column(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": REDS[:4], "label": LABELS[:4]}), tmp_path / "a.parquet")
    assert _reds(tmp_path / "a.parquet") == [0, 1, 2, 3]


def test_rows_without_bytes_and_damaged_rows_are_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "train.parquet", [*REDS[:8], None, b"junk"], LABELS)
    split = load_split(str(path), "train", size=6, max_corrupt=0.2)
    assert [skipped.path for skipped in split.skipped] == ["train.parquet, row 8", "train.parquet, row 9"]
    assert split.skipped[0].reason == "empty (0 bytes)"
    assert len(split.data) == 8


def test_a_single_file_serves_the_split_in_its_name_only(tmp_path: Path) -> None:
    train, test = (parquet(tmp_path / f"{split}.parquet", REDS, LABELS) for split in ("train", "test"))
    assert len(open_images(str(test), split="test").labels) == 10
    with pytest.raises(DataError, match=r"no train split here, only test; give the folder that holds all splits"):
        open_images(str(test))
    with pytest.raises(DataError, match=r"no test split here, only train"):
        open_images(str(train), split="test")


def test_two_data_sets_side_by_side_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("full", "mini"):
        parquet(tmp_path / name / "train-0.parquet", REDS, LABELS)
    with pytest.raises(DataError, match=r"several data sets side by side \(full, mini\); give one of these folders"):
        open_images(str(tmp_path))


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "train.parquet"

    def refused(message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            open_images(str(path))
        assert str(path) in str(caught.value)

    path.write_bytes(b"junk" * 10)
    refused("not a readable parquet file")
    path.write_bytes(b"")
    refused("not a readable parquet file")
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), path)
    refused("columns text, label; needed are an image column")
    pq.write_table(pa.table({"img": [b"a"]}), path)
    refused("columns img; needed are")
    pq.write_table(pa.table({"img": [b"a"], "label": [1.5]}), path)
    refused("column label holds 1.5 in row 0; labels must be whole numbers or text")
    parquet(path, REDS[:2], [0, None])
    refused("1 of 2 rows have no label")
    parquet(path, REDS[:2], [0, -1])
    refused(r"image 1 has label -1, outside 0\.\.1 \(1 of 2 labels are\); is this split published without labels")
    parquet(path, [], [], names=None)
    refused("no classes; a classifier needs at least two")
    parquet(path, REDS[:2], [0, 0], names=["cat"])
    refused(r"only one class \(cat\)")
    pq.write_table(pa.table({"img": [b"a"], "label": [1]}).replace_schema_metadata({"huggingface": "{"}), path)
    refused("huggingface metadata are not as expected")


def test_damage_inside_a_column_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = parquet(tmp_path / "train.parquet", REDS, LABELS)
    whole = bytearray(path.read_bytes())
    whole[20:200] = bytes(180)
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"train.parquet: not a readable parquet file"):
        load_split(str(path), "train", size=6)


def test_without_the_extra_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "train.parquet", REDS, LABELS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"reading parquet needs pyarrow, which is not installed: pip"):
        open_images(str(path))


def test_an_image_folder_is_not_mistaken_for_parquet(tmp_path: Path) -> None:
    assert open_images(str(photos(tmp_path, {"data": 1, "train-0": 1}))).classes == ("data", "train-0")


@pytest.mark.data
@pytest.mark.skipif("AUTOSHRINK_DATA" not in os.environ, reason="AUTOSHRINK_DATA does not name a folder of real data")
def test_the_real_cifar10(tmp_path: Path) -> None:
    source = open_images("cifar10")
    assert source.classes == CLASSES
    assert np.bincount(source.labels).tolist() == [5000] * 10
    assert np.bincount(open_images("cifar10", split="test").labels).tolist() == [1000] * 10
    proxy = load_proxy("cifar10", train_per_class=50, validation_per_class=10, size=None, seed=0, cache=tmp_path)
    assert proxy.train.images.shape == (500, 3, 32, 32)
    assert np.bincount(proxy.validation.labels).tolist() == [10] * 10
    assert not proxy.notes
    assert not proxy.skipped
