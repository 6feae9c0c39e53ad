"""What a final training is fed: the same batches whoever asks, however they come, from any batch on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.data import Preprocessing
from autoshrink.data.carving import Keeping
from autoshrink.data.crops import DRAWS, RandomCrop
from autoshrink.data.proxy import load_proxy
from autoshrink.data.split_choice import training_splits
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.training.device import repeatable
from autoshrink.training.feeds import ImageData, Loading, Pictures, Share, channels_of, open_training_data
from autoshrink.training.feeds.base import pieces
from autoshrink.training.images import Normalisation
from data_fixtures import encoded, parquet, photos, picture
from feed_fixtures import ALL, CPU, PLAIN, joined, opened, row_groups, same, uneven


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return uneven(tmp_path / "set")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return row_groups(tmp_path / "table")


# The same batches


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("data", ["folder", "table", "digits"])
def test_an_epoch_is_the_same_from_any_batch_on_and_whatever_came_before(
    data: str, stream: bool, request: pytest.FixtureRequest
) -> None:
    spec = data if data == "digits" else request.getfixturevalue(data)
    # Of many images colours alone would take most of the time.
    how: dict[str, Any] = {"stream": stream}
    how |= {"batch": 200, "augment": ALL.model_copy(update={"jitter": None})} if data == "digits" else {"batch": 8}
    with repeatable(1):
        state = torch.get_rng_state()
        feed = opened(spec, **how).training
        whole = list(feed.epoch(2))
        assert torch.equal(torch.get_rng_state(), state), "the caller's generator is left alone"
        next(feed.epoch(0))  # and given up
        for start in (0, 1, feed.batches - 1, feed.batches):
            assert same(feed.epoch(2, start=start), whole[start:])
        again = opened(spec, **how).training
        assert same(again.epoch(2), whole)
        assert not same(list(again.epoch(1)), whole)
        assert not same(list(opened(spec, seed=4, **how).training.epoch(2)), whole)
    assert len(whole) == feed.batches
    assert sum(len(labels) for _, labels in whole) == len(feed)
    for images, labels in whole:
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert len(images) == len(labels)
    sizes = {len(labels) for _, labels in whole}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "augment", [PLAIN, AugmentSettings(jitter=(0.4, 0.4, 0.4, 0.1), randaugment=(2, 9), erasing=0.5)]
)
def test_memory_and_disk_give_the_same_batches(folder: Path, augment: AugmentSettings) -> None:
    """Not so with crop = resized, which cuts from whole pictures on disk, but from their centres in memory; nor with
    parquet, where the order differs."""
    norm = {"norm": Normalisation((0.5,) * 3, (0.25,) * 3), "crop": 0.8}
    held, streamed = (opened(folder, augment=augment, pictures=norm, stream=stream) for stream in (False, True))
    assert same(held.training.epoch(1), streamed.training.epoch(1))
    assert same(held.validation.batches(), streamed.validation.batches())
    assert held.preprocessing == streamed.preprocessing
    assert (held.streamed, streamed.streamed) == (False, True)


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImageData]:
    """Pictures, and what two processes decode of them, each of which takes seconds to start."""
    folder = uneven(tmp_path_factory.mktemp("helped"))
    return folder, opened(folder, stream=True, workers=2)


@pytest.mark.slow
def test_workers_change_nothing(table: Path, helped: tuple[Path, ImageData]) -> None:
    for spec, other in (helped, (table, opened(table, stream=True, workers=1))):
        alone = opened(spec, stream=True)
        for epoch, start in ((0, 0), (1, 2)):
            assert same(alone.training.epoch(epoch, start=start), other.training.epoch(epoch, start=start))
        next(other.training.epoch(7))  # given up with requests under way
        assert same(alone.training.epoch(2), other.training.epoch(2))
        assert alone.preprocessing == other.preprocessing
    assert same(alone.validation.batches(), other.validation.batches())


@pytest.mark.slow
def test_a_worker_that_dies_is_reported(helped: tuple[Path, ImageData]) -> None:
    feed: Any = helped[1].training
    batches = feed.epoch(0)
    next(batches)
    for worker in feed._images.pool._loader._iterator._workers:
        worker.terminate()
        worker.join()
    with pytest.raises(RunError, match="a loading process died"):
        list(batches)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_every_batch(folder: Path, table: Path, processes: int, stream: bool) -> None:
    for spec in (folder, table):
        loading: dict[str, Any] = {"stream": stream, "batch": 10}
        whole = opened(spec, **loading)
        shares = [opened(spec, share=Share(rank, processes), **loading) for rank in range(processes)]
        assert {one.training.batches for one in shares} == {whole.training.batches}
        assert {one.fingerprint for one in shares} == {whole.fingerprint}
        for batch, *parts in zip(whole.training.epoch(1), *(one.training.epoch(1) for one in shares), strict=True):
            images, labels = joined(parts)
            # Means over other batch sizes may round otherwise.
            torch.testing.assert_close(images, batch[0], atol=1e-4, rtol=0)
            assert torch.equal(labels, batch[1])
            sizes = [len(part[1]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
        measured = [joined(one.validation.batches()) for one in shares if len(one.validation)]
        images, labels = joined(measured)
        expected = joined(whole.validation.batches())
        assert torch.equal(images, expected[0])
        assert torch.equal(labels, expected[1])


def test_pieces_are_those_of_numpy() -> None:
    for count in range(12):
        for number in range(1, 6):
            row = np.arange(count)
            ours = [row[piece].tolist() for piece in pieces(count, number)]
            assert ours == [piece.tolist() for piece in np.array_split(row, number)]


@pytest.mark.parametrize("stream", [False, True])
def test_every_image_comes_once_an_epoch(table: Path, stream: bool) -> None:
    data = opened(table, augment=PLAIN, stream=stream, size=6)
    for epoch in (0, 1):
        trained, _ = joined(data.training.epoch(epoch))
        watched, _ = joined(data.validation.batches())
        images = torch.cat([trained, watched])
        assert len(images) == 72
        assert len(torch.unique(images, dim=0)) == 72
    orders = [joined(data.training.epoch(epoch))[0] for epoch in (0, 1)]
    assert not torch.equal(*orders)


# Splits


def test_validation_is_carved_class_by_class(folder: Path) -> None:
    splits = training_splits(str(folder), validation_share=0.25, seed=0)
    assert not set(splits.training.indices) & set(splits.validation.indices)
    assert len(splits.training) + len(splits.validation) == 43
    named = dict(zip(splits.classes, np.bincount(splits.validation.labels, minlength=3).tolist(), strict=True))
    assert named == {"many": 8, "few": 3, "one": 0}, "a quarter of each; the class of one is trained on"
    text = "\n".join(splits.notes)
    assert "11 of the 43 training images are kept for validation" in text
    assert "without an image for validation: one" in text
    assert "uneven: from 1 training image (one) to 22 (many)" in text
    again, other = (training_splits(str(folder), validation_share=0.25, seed=seed) for seed in (0, 1))
    assert np.array_equal(again.validation.indices, splits.validation.indices)
    assert not np.array_equal(other.validation.indices, splits.validation.indices)
    picture(folder / "few" / "zz.png")
    grown = training_splits(str(folder), validation_share=0.25, seed=0)
    of_many = [
        {one.validation.source.describe(index) for index in one.validation.indices.tolist()} for one in (splits, grown)
    ]
    assert {name for name in of_many[0] if "many" in name} == {name for name in of_many[1] if "many" in name}


@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
def test_a_validation_split_of_its_own_is_taken_and_test_is_not_opened(tmp_path: Path, name: str) -> None:
    photos(tmp_path / "train", {"a": 5, "b": 6})
    photos(tmp_path / name, {"a": 2, "b": 1})
    (tmp_path / "test" / "a").mkdir(parents=True)
    (tmp_path / "test" / "a" / "x.png").write_bytes(b"never read")
    data = opened(tmp_path, size=4)
    assert (len(data.training), len(data.validation)) == (11, 3)
    assert not any("kept for validation" in note for note in data.notes)


def test_parquet_with_a_validation_split(tmp_path: Path) -> None:
    red = encoded(Image.new("RGB", (4, 4), "red"))
    parquet(tmp_path / "train.parquet", [red] * 8, [0, 1] * 4)
    parquet(tmp_path / "validation.parquet", [red] * 3, [0, 1, 1])
    assert [len(opened(tmp_path, size=4, stream=stream).validation) for stream in (False, True)] == [3, 3]
    (tmp_path / "validation.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(DataError, match=r"validation\.parquet"):
        opened(tmp_path)


def test_a_class_called_train_is_no_split(tmp_path: Path) -> None:
    photos(tmp_path, {"train": 10, "val": 10, "bus": 10})
    splits = training_splits(str(tmp_path), validation_share=0.1, seed=0)
    assert splits.classes == ("bus", "train", "val")
    assert len(splits.validation) == 3


@pytest.mark.parametrize(
    ("counts", "said"), [({"a": 1, "b": 1}, "needed are two classes"), ({"a": 2, "b": 1}, "at least 4 are needed")]
)
def test_too_few_images_are_refused(tmp_path: Path, counts: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        opened(photos(tmp_path, counts), share=Share(0, 2))


def test_what_leaves_nothing_to_validate_on_is_named(tmp_path: Path) -> None:
    folder = photos(tmp_path, {"a": 4, "b": 4})
    with pytest.raises(DataError, match=r"by --group \^\(\.\) every class is one group"):
        training_splits(str(folder), validation_share=0.1, seed=0, keeping=Keeping(None, "^(.)"))
    with pytest.raises(DataError, match=r"by --group \^\(\.\) every class is one group"):
        load_proxy(
            str(folder), train_per_class=2, validation_per_class=1, size=8, seed=0, keeping=Keeping(None, "^(.)")
        )
    for path in folder.rglob("*.*"):
        path.write_bytes(b"the same")
    with pytest.raises(DataError, match="byte-identical images are never parted, and no class has two different ones"):
        training_splits(str(folder), validation_share=0.1, seed=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch": 3, "share": Share(0, 2)}, "a batch of 3 over 2 processes: at least 4"),
        ({"batch": 0}, "batch 0"),
        ({"workers": -1}, "workers -1"),
        ({"pictures": {"validation_share": 1.0}}, "validation_share is 1.0"),
        ({"pictures": {"channels": 2}}, "channels is 2"),
        ({"pictures": {"channels": 1, "norm": Normalisation((0.5,) * 3, (0.5,) * 3)}}, "normalised in 3"),
        ({"pictures": {"crop": 0.0}}, "crop 0.0"),
        ({"pictures": {"max_corrupt": 2.0}}, "max_corrupt is 2.0"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        opened(folder, **wrong)


# What the network sees


@pytest.mark.parametrize("stream", [False, True])
def test_pixels_are_those_of_the_preprocessing(folder: Path, stream: bool) -> None:
    """Undo the normalisation, and compare with what the stored preprocessing makes of the files."""
    data = opened(folder, augment=PLAIN, stream=stream, pictures={"crop": 0.75, "validation_share": 0.3})
    made = data.preprocessing
    assert (made.size, made.channels, made.crop) == (8, 3, 0.75)
    splits = training_splits(str(folder), validation_share=0.3, seed=3)
    payloads = dict(splits.validation.source.payloads(splits.validation.indices))
    pixels = np.stack([made.pixels(payloads[index]) for index in splits.validation.indices.tolist()])
    images, labels = joined(data.validation.batches())
    assert np.array_equal(images.numpy(), made.normalised(pixels))
    back = images * torch.tensor(made.std).view(1, 3, 1, 1) + torch.tensor(made.mean).view(1, 3, 1, 1)
    torch.testing.assert_close(back * 255, torch.from_numpy(pixels).float(), atol=1e-3, rtol=0)
    assert labels.tolist() == splits.validation.labels.tolist()
    trained, _ = joined(data.training.epoch(0))
    torch.testing.assert_close(trained.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(trained.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_measured_figures_are_those_of_the_searches() -> None:
    data = opened("digits", augment=PLAIN)
    splits = training_splits("digits", validation_share=0.1, seed=3)
    pixels = np.stack([pixels for _, pixels in splits.training.source.payloads(splits.training.indices)])  # type: ignore[misc]
    expected = Normalisation.of(pixels)
    assert data.preprocessing.mean == pytest.approx(expected.mean, abs=2e-6)
    assert data.preprocessing.std == pytest.approx(expected.std, abs=2e-6)


def test_given_normalisation_is_kept(folder: Path) -> None:
    for stream in (False, True):
        norm = Normalisation((0.4,), (0.2,))
        data = opened(folder, pictures={"norm": norm}, stream=stream)
        assert data.preprocessing == Preprocessing(1, 8, (0.4,), (0.2,))
        assert next(data.training.epoch(0))[0].shape[1] == 1


def test_grey_images_make_one_channel(tmp_path: Path, folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "grey" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 12), dtype=np.uint8)).save(path)
    assert (channels_of(str(tmp_path / "grey")), channels_of(str(folder)), channels_of("digits")) == (1, 3, 1)
    for stream in (False, True):
        grey = opened(tmp_path / "grey", stream=stream, batch=5)
        assert grey.preprocessing.channels == 1
        assert {images.shape[1] for images, _ in grey.training.epoch(0)} == {1}
        colour = opened(tmp_path / "grey", stream=stream, batch=5, pictures={"channels": 3}, augment=PLAIN)
        images, _ = next(colour.training.epoch(0))
        # The three are normalised alike.
        assert torch.equal(images[:, 0], images[:, 2])
        assert next(colour.validation.batches())[0].shape[1] == 3


def test_streamed_parts_are_cut_from_the_whole_picture(tmp_path: Path) -> None:
    """A picture three times as wide as high, its outer thirds white: in memory only its centre is there."""
    for number in range(8):
        pixels = np.full((30, 90, 3), 255, dtype=np.uint8)
        pixels[:, 30:60] = number * 10
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    norm = {"norm": Normalisation((0.0,) * 3, (1 / 255,) * 3)}
    augment = AugmentSettings(crop="resized", scale=(0.05, 0.1), flip=0.0)
    held, streamed = (
        torch.cat([images for epoch in range(4) for images, _ in data.training.epoch(epoch)])
        for data in (opened(tmp_path, pictures=norm, augment=augment, stream=stream) for stream in (False, True))
    )
    assert held.max() < 100
    assert (streamed.amax(dim=(1, 2, 3)) > 250).float().mean() > 0.4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_random_part_is_cut_from_the_picture_as_it_is_seen(orientation: int) -> None:
    """A large JPEG is decoded at a part of its size, and EXIF may turn it; neither moves the box."""
    rng = np.random.default_rng(0)
    seen = Image.fromarray(rng.integers(0, 256, (25, 35, 3), dtype=np.uint8)).resize(
        (700, 500), Image.Resampling.BICUBIC
    )
    stored = _untransposed(seen, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    rule, draws = RandomCrop((0.5, 0.6), (0.75, 4 / 3)), rng.random(DRAWS)
    left, top, wide, high = rule.boxes(draws[np.newaxis], 500, 700)[0].tolist()
    box = (left, top, left + wide, top + high)
    expected = np.asarray(seen.resize((60, 60), Image.Resampling.BICUBIC, box=box)).transpose(2, 0, 1)
    for kind, near in (("PNG", 1.0), ("TIFF", 1.0), ("JPEG", 4.0)):
        options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
        cut = rule.pixels(encoded(stored, kind, exif=exif, **options), draws, size=60, channels=3)
        assert np.abs(cut.astype(float) - expected).mean() < near


def _untransposed(image: Image.Image, orientation: int) -> Image.Image:
    """What a camera that was held so would have stored."""
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image.transpose(inverse[orientation]) if orientation in inverse else image


# Fingerprints


@pytest.mark.parametrize("stream", [False, True])
def test_the_fingerprint_changes_with_the_images(folder: Path, stream: bool) -> None:
    before = opened(folder, stream=stream).fingerprint
    assert opened(folder, stream=stream, batch=11, augment=ALL.model_copy(update={"flip": 0.0})).fingerprint == before
    assert opened(folder, stream=stream, seed=9).fingerprint != before, "other images are trained on"
    picture(folder / "many" / "00.png", "blue")
    assert opened(folder, stream=stream).fingerprint != before


def test_progress_is_told(folder: Path) -> None:
    for stream in (False, True):
        told: list[tuple[int, int]] = []
        open_training_data(
            str(folder),
            Pictures(8),
            Loading(8, CPU, stream=stream),
            augment=PLAIN,
            seed=0,
            progress=lambda done, of, told=told: told.append((done, of)),  # type: ignore[misc]
        )
        assert told
        assert all(0 < done <= of for done, of in told)
        assert told[-1][0] == told[-1][1]
