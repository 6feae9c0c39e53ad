"""Sets larger than the memory: streamed, row groups side by side, no more waiting than there is room for."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoshrink.data import open_images
from autoshrink.data import parquet as streaming
from autoshrink.data.parquet import ParquetImages, encoded_image
from autoshrink.data.split_choice import training_splits
from autoshrink.errors import DataError
from data_fixtures import encoded, parquet
from feed_fixtures import PLAIN, opened, row_groups, uneven


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return uneven(tmp_path / "set")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return row_groups(tmp_path / "table")


def test_sets_larger_than_the_memory_are_streamed(folder: Path) -> None:
    size = 43 * 3 * 8 * 8
    assert not opened(folder, augment=PLAIN, memory=size).streamed
    assert opened(folder, augment=PLAIN, memory=size - 1).streamed
    assert not opened(folder, augment=PLAIN, memory=0, stream=False).streamed


def test_what_waits_in_memory_is_bounded(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes, at most 10 rows late, rows read one by one: never more than those are held."""
    read, most = 0, 0
    row = sum(path.stat().st_size for path in table.iterdir()) // 72  # about

    def counted(cell: object) -> Any:
        nonlocal read
        read += 1
        return encoded_image(cell)

    monkeypatch.setattr(streaming, "encoded_image", counted)
    monkeypatch.setattr(streaming, "HELD_BYTES", 10 * row)
    monkeypatch.setattr(streaming, "_READ_BYTES", 1)
    source = open_images(str(table))
    assert isinstance(source, ParquetImages)
    reader: Any = source._row_groups
    assert (reader._lanes, reader._read) == (2, 1)
    everything = np.arange(72)
    orders = [reader.order(everything, seed) for seed in range(5)]
    for order in orders:
        assert np.array_equal(np.sort(order), everything)
        read = 0
        for given, _ in enumerate(reader.handles(order), start=1):
            most = max(most, read - given)
        assert read == 72, "each row once"
    assert 2 < most <= reader._held
    assert not np.array_equal(orders[0], orders[1])
    held = dict(source.payloads(everything))
    assert list(reader.handles(orders[0][10::3])) == [held[index] for index in orders[0][10::3].tolist()]


def test_row_groups_are_read_side_by_side(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no room for rows to wait in, they come from two row groups by turns, as far as both have any."""
    monkeypatch.setattr(streaming, "HELD_BYTES", 1)
    order = open_images(str(table)).order(np.arange(72), 0)
    ends = np.cumsum([7, 7, 7, 7, 7, 5, 7, 7, 7, 7, 4])
    groups = np.searchsorted(ends, order[:20], side="right")
    assert not set(groups[::2]) & set(groups[1::2])


def test_rows_of_small_files_come_in_perfectly_random_order(table: Path) -> None:
    reader = open_images(str(table))
    places = np.stack([np.argsort(reader.order(np.arange(72), seed)) for seed in range(400)])
    # The place of every image: uniform over 72, mean 35.5, deviation 20.8 / √400.
    assert np.abs(places.mean(axis=0) - 35.5).max() < 5 * 20.8 / 20
    neighbours = np.abs(places[:, 1:] - places[:, :-1]).mean()
    assert neighbours == pytest.approx(73 / 3, rel=0.05), "as far from each other as any two"


def test_a_file_changed_while_it_is_read_is_reported(table: Path) -> None:
    data = opened(table, stream=True, size=6)
    next(data.training.epoch(0))
    red = encoded(Image.new("RGB", (4, 4), "red"))
    for path in table.iterdir():
        parquet(path, [red] * 4, [0, 1] * 2, row_group_size=1)
    with pytest.raises(DataError, match=r"train-0000\d-of-00002\.parquet"):
        list(data.training.epoch(0))


# Real data


@pytest.mark.data
@pytest.mark.slow
def test_cifar10_from_its_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """With so little memory that its five row groups are read side by side, a few rows at a time."""
    if "AUTOSHRINK_DATA" not in os.environ:
        pytest.skip("AUTOSHRINK_DATA names no folder with real data")
    monkeypatch.setattr(streaming, "HELD_BYTES", 2**20)
    monkeypatch.setattr(streaming, "_READ_BYTES", 2**14)
    splits = training_splits("cifar10", validation_share=0.1, seed=0)
    assert np.bincount(splits.validation.labels).tolist() == [500] * 10
    held = dict(splits.training.source.payloads(splits.training.indices))
    reader = splits.training.source
    order = reader.order(splits.training.indices, 5)
    assert np.array_equal(np.sort(order), splits.training.indices)
    assert all(held[index] == handle for index, handle in zip(order.tolist(), reader.handles(order), strict=True))
    data = opened("cifar10", size=32, stream=True, batch=128, augment=PLAIN)
    images, labels = next(data.training.epoch(0))
    assert images.shape == (129, 3, 32, 32), "351 near-equal batches of 45,000"
    assert len(set(labels.tolist())) == 10
