"""Images that cannot be decoded: left out, replaced, named, and too many of them refused."""

import warnings
from pathlib import Path

import pytest
import torch

from autoshrink.data.split_choice import training_splits
from autoshrink.errors import DataError
from autoshrink.training.images import Normalisation
from feed_fixtures import PLAIN, joined, opened, same, uneven


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return uneven(tmp_path / "set")


def _spoil(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"no image")


def test_corrupt_images_are_left_out_in_memory(folder: Path) -> None:
    _spoil(folder, "many/03.png", "few/01.jpg")
    data = opened(folder, augment=PLAIN, pictures={"max_corrupt": 0.2, "validation_share": 0.3})
    assert len(data.training) + len(data.validation) == 41
    skipped = {one.path for one in (*data.training.skipped, *data.validation.skipped)}
    assert skipped == {"many/03.png", "few/01.jpg"}
    assert any("2 images cannot be decoded and are left out" in note for note in data.notes)


@pytest.mark.parametrize("stream", [False, True])
def test_one_corrupt_image_among_few_carved_ones_does_not_refuse_the_whole(folder: Path, stream: bool) -> None:
    part = training_splits(str(folder), validation_share=0.1, seed=3).validation
    assert len(part) < 1 / 0.05, "one of so few is more than the share"
    name = part.source.describe(int(part.indices[0]))
    _spoil(folder, name)
    data = opened(folder, augment=PLAIN, stream=stream)
    assert sum(1 for _ in data.validation.batches())
    assert [one.path for one in data.validation.skipped] == [name]
    if not stream:
        assert any(note == f"1 image cannot be decoded and is left out: {name}" for note in data.notes)


def test_corrupt_images_are_replaced_while_streaming(folder: Path) -> None:
    sound = opened(folder, augment=PLAIN, stream=True, pictures={"norm": Normalisation((0.5,) * 3, (0.5,) * 3)})
    expected = list(sound.training.epoch(0))
    splits = training_splits(str(folder), validation_share=0.1, seed=3)
    bad = {splits.training.source.describe(int(index)) for index in splits.training.indices[[0, 5, 11]]}
    _spoil(folder, *bad)
    data = opened(
        folder,
        augment=PLAIN,
        stream=True,
        pictures={"max_corrupt": 0.2, "norm": Normalisation((0.5,) * 3, (0.5,) * 3)},
    )
    assert not data.training.skipped
    batches = list(data.training.epoch(0))
    assert {one.path for one in data.training.skipped} == bad
    assert all("not an image in any of these formats" in one.reason for one in data.training.skipped)
    replaced = 0
    for (images, labels), (before, _) in zip(batches, expected, strict=True):
        assert images.shape == before.shape
        for row, image in enumerate(images):
            if torch.equal(image, before[row]):
                continue
            replaced += 1
            twin = next(place for place in range(len(images)) if place != row and torch.equal(images[place], image))
            assert labels[twin] == labels[row]
    assert replaced == 3
    assert same(data.training.epoch(0), batches), "finding them changes nothing"


@pytest.mark.parametrize("stream", [False, True])
def test_corrupt_images_are_not_measured(tmp_path: Path, stream: bool) -> None:
    for split in ("train", "val"):
        uneven(tmp_path / split)
    given = {"channels": 3, "norm": Normalisation((0.5,) * 3, (0.5,) * 3), "max_corrupt": 0.1}
    whole = joined(opened(tmp_path, stream=stream, pictures=given).validation.batches())
    _spoil(tmp_path / "val", "few/00.png", "many/29.bmp")
    feed = opened(tmp_path, stream=stream, pictures=given).validation
    images, labels = joined(feed.batches())
    kept = [place for place in range(43) if place not in (0, 41)]
    assert torch.equal(images, whole[0][kept])
    assert torch.equal(labels, whole[1][kept])
    assert [one.path for one in feed.skipped] == ["few/00.png", "many/29.bmp"]


@pytest.mark.parametrize("stream", [False, True])
def test_too_many_corrupt_images_are_refused_with_three_names(folder: Path, stream: bool) -> None:
    _spoil(folder, *(f"few/{number:02}.{('png', 'jpg', 'bmp')[number % 3]}" for number in range(12)))
    with pytest.raises(DataError) as caught:
        list(opened(folder, stream=stream, pictures={"max_corrupt": 0.1}).training.epoch(0))
    message = str(caught.value)
    assert "images cannot be decoded, more than the allowed 10%" in message
    assert message.count("few/") == 3
    assert "0x" not in message, "no address of a buffer"


def test_corrupt_images_found_late_end_the_training(folder: Path) -> None:
    """Nothing was decoded when the feed was opened: channels and normalisation were given."""
    feed = opened(folder, stream=True, pictures={"norm": Normalisation((0.5,) * 3, (0.5,) * 3)}).training
    batches = feed.epoch(0)
    next(batches)
    _spoil(folder, *(f"many/{number:02}.{('png', 'jpg', 'bmp')[number % 3]}" for number in range(30)))
    with pytest.raises(DataError, match="cannot be decoded, more than the allowed 5%"):
        list(batches)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_but_corrupt_images(folder: Path, stream: bool) -> None:
    for path in folder.rglob("*.*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="decoded"):
        opened(folder, stream=stream, pictures={"max_corrupt": 1.0})


def test_a_file_that_vanishes_while_streaming_counts_as_corrupt(folder: Path) -> None:
    data = opened(folder, stream=True, pictures={"max_corrupt": 0.5})
    (folder / "many" / "00.png").unlink()
    (folder / "many" / "01.jpg").unlink()
    list(data.training.epoch(0))
    list(data.validation.batches())
    skipped = (*data.training.skipped, *data.validation.skipped)
    assert {one.path for one in skipped} == {"many/00.png", "many/01.jpg"}
    assert {one.reason for one in skipped} == {"No such file or directory"}


def test_odd_but_harmless_images_make_no_noise(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(opened(folder, stream=True).training.epoch(0))
