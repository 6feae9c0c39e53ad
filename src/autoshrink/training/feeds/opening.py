"""From a data SPEC to feeds: what is trained on, what is measured, and whether it fits in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.data import Preprocessing, open_images
from autoshrink.data.decoding import CORRUPT, CorruptImages, Progress, decode, reading_images
from autoshrink.data.depth import look_through, pixel_notes
from autoshrink.data.images import TRAIN, ImageSource, Indices, payload_of, sample
from autoshrink.data.split_choice import NO_PAST, Part, Past, TrainingSplits, training_splits
from autoshrink.errors import DataError
from autoshrink.seeding import derive_seed
from autoshrink.training.augmentation import Augmentation, crop_rule
from autoshrink.training.feeds.base import ImageData, Loading, Measuring, Pictures, Training, lots
from autoshrink.training.feeds.decoding import DecodingPool, Framing
from autoshrink.training.feeds.memory import Held, MemoryImages, held
from autoshrink.training.feeds.streamed import StreamedImages
from autoshrink.training.images import Normalisation, Normaliser

SAMPLE = 5000
"""Images of a streamed set on which mean and deviation are measured: both within a hundredth of a deviation."""
GREY_SAMPLE = 200
"""Images that are looked at to tell whether all are grey."""
MARGIN = 0.875
"""In memory, random parts are cut from images larger than the network's input by 1 / this."""


def open_training_data(
    spec: str,
    pictures: Pictures,
    loading: Loading,
    *,
    augment: AugmentSettings,
    seed: int,
    past: Past = NO_PAST,
    progress: Progress | None = None,
) -> ImageData:
    """Open what a classifier is trained on: the training split of `spec`, and its validation split or a share.

    In memory, all images are decoded here; streamed, a seeded sample of them (on which mean, deviation and channels
    are measured), after every image was read once to know it by its content. `progress` is told (images done, images
    to do) meanwhile. `past` is what was learned before. The test split is never opened.

    Raises:
        InputError: a setting cannot be used, or needs a package that is not installed.
        DataError: the data cannot be used.
    """
    splits = training_splits(
        spec,
        validation_share=pictures.validation_share,
        seed=seed,
        keeping=pictures.keeping,
        past=past,
        progress=progress,
    )
    depth = look_through(splits.training.source, splits.training.indices)
    pictures = replace(pictures, window=pictures.window or depth.window())
    plan = _Plan(splits, pictures, loading, augment, seed, progress, depth.notes(pictures.window))
    if augment.changes_colours:
        # Asked for here as well, so that a missing package is not found out after minutes of decoding.
        _augmentation(plan, Normalisation((0.5,), (0.5,)))
    stored = _stored_size(plan)
    images = len(splits.training) + len(splits.validation)
    streams = loading.streams(images * (pictures.depth or 3) * stored**2)
    return _streamed(plan) if streams else _in_memory(plan, stored)


def channels_of(spec: str) -> int:
    """1 if every training image (of up to 200 of them) is grey, else 3.

    Raises:
        DataError: the data cannot be used, or none of these images can be decoded.
    """
    source = open_images(spec, split=TRAIN)
    return _channels(source, np.arange(len(source.labels)))


@dataclass(frozen=True, eq=False)
class _Plan:
    """Everything that was asked for."""

    splits: TrainingSplits
    pictures: Pictures
    loading: Loading
    augment: AugmentSettings
    seed: int
    progress: Progress | None
    seen: tuple[str, ...]
    """Sentences about the values of the images."""


def _in_memory(plan: _Plan, stored: int) -> ImageData:
    splits, pictures, loading = plan.splits, plan.pictures, plan.loading
    measured = Framing(pictures.size, pictures.scaled, pictures.depth, window=pictures.window)
    framing = measured if plan.augment.crop != "resized" else replace(measured, size=stored, scaled=stored)
    training = held(
        splits.training,
        framing,
        max_corrupt=pictures.max_corrupt,
        progress=plan.progress,
        of=_counted_with(splits, splits.training),
    )
    channels = training.pixels.shape[3]
    validation = held(
        splits.validation,
        replace(measured, channels=channels),
        max_corrupt=pictures.max_corrupt,
        progress=plan.progress,
        of=_counted_with(splits, splits.validation),
    )
    norm = pictures.norm or _measured([training.pixels], channels)
    return ImageData(
        classes=splits.classes,
        preprocessing=_preprocessing(pictures, norm),
        training=Training(MemoryImages(training, loading.device), _augmentation(plan, norm), loading, seed=plan.seed),
        validation=Measuring(MemoryImages(validation, loading.device), Normaliser(norm, loading.device), loading),
        fingerprint=_fingerprint(splits.classes, training.digest(), validation.digest()),
        notes=(*splits.notes, *plan.seen, *pixel_notes(training.pixels), *_notes(training, validation)),
        streamed=False,
        ledger=splits.ledger,
    )


def _counted_with(splits: TrainingSplits, part: Part) -> int:
    """Images of which a share may be corrupt: a carved part is small, and counts with the one it was carved from."""
    parts = (splits.training, splits.validation)
    return sum(len(one) for one in parts if one.source is part.source)


def _streamed(plan: _Plan) -> ImageData:
    splits, pictures, loading = plan.splits, plan.pictures, plan.loading
    part = splits.training
    channels = pictures.depth or _channels(part.source, part.indices)
    framing = Framing(pictures.size, pictures.scaled, channels, window=pictures.window)
    # Measuring alternates with training, whose workers wait meanwhile: half as many will do.
    training, validation = (
        StreamedImages(
            images,
            CorruptImages(images.source, _counted_with(splits, images), pictures.max_corrupt),
            DecodingPool(replace(framing, crop=crop), workers=workers, pinned=loading.device.type == "cuda"),
            loading.device,
        )
        for images, crop, workers in (
            (part, crop_rule(plan.augment), loading.workers),
            (splits.validation, None, (loading.workers + 1) // 2),
        )
    )
    norm = pictures.norm or _sampled_norm(training, channels, plan)
    return ImageData(
        classes=splits.classes,
        preprocessing=_preprocessing(pictures, norm),
        training=Training(training, _augmentation(plan, norm), loading, seed=plan.seed),
        validation=Measuring(validation, Normaliser(norm, loading.device), loading),
        fingerprint=_fingerprint(
            splits.classes,
            *(one.identity().encode("utf-8", "surrogateescape") for one in (part, splits.validation)),
            part.labels.tobytes(),
            splits.validation.labels.tobytes(),
        ),
        notes=(*splits.notes, *plan.seen, *([note] if (note := training.corrupt.note()) else [])),
        streamed=True,
        ledger=splits.ledger,
    )


def _augmentation(plan: _Plan, norm: Normalisation) -> Augmentation:
    return Augmentation(plan.augment, norm, plan.pictures.size, plan.loading.device)


def _stored_size(plan: _Plan) -> int:
    """Height = width in which training images are kept in memory: with some margin where parts are cut from them,
    as far as they have that many pixels."""
    size, natural = plan.pictures.size, plan.splits.training.source.natural_size
    if plan.augment.crop != "resized":
        return size
    wanted = round(size / MARGIN)
    return wanted if natural is None else max(size, min(wanted, natural))


def _preprocessing(pictures: Pictures, norm: Normalisation) -> Preprocessing:
    return Preprocessing(len(norm.mean), pictures.size, norm.mean, norm.std, pictures.crop, pictures.window)


def _sampled_norm(images: StreamedImages, channels: int, plan: _Plan) -> Normalisation:
    part, most = images.part, plan.pictures.max_corrupt
    chosen = sample(part.source, part.indices, SAMPLE, derive_seed(plan.seed, "normalisation"))
    corrupt = CorruptImages(part.source, len(chosen), most)
    some = StreamedImages(Part(part.source, chosen), corrupt, images.pool, plan.loading.device)

    def pixels() -> Iterable[npt.NDArray[np.uint8]]:
        done = 0
        for batch in some.decoded(lots(chosen, 64)):
            done += len(batch.indices)
            if plan.progress is not None:
                plan.progress(done, len(chosen))
            yield batch.images.permute(0, 2, 3, 1).numpy()

    norm = _measured(pixels(), channels)
    images.corrupt.add(corrupt.reasons)
    return norm


def _measured(parts: Iterable[npt.NDArray[np.uint8]], channels: int) -> Normalisation:
    """Mean and deviation of each channel of uint8 images (n, H, W, C), counted exactly, a few images at a time."""
    counts = np.zeros((channels, 256), dtype=np.int64)
    for part in parts:
        for start in range(0, len(part), 256):
            some = part[start : start + 256]
            counts += [np.bincount(some[..., channel].ravel(), minlength=256) for channel in range(channels)]
    if not counts.any():
        raise DataError("not one of the training images can be decoded")
    levels = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    deviation = np.sqrt((shares * (levels - mean[:, np.newaxis]) ** 2).sum(axis=1))
    # A constant channel gets the deviation of one grey level.
    std = np.maximum(deviation, 1 / 255)
    return Normalisation(*(tuple(round(float(value), 6) for value in values) for values in (mean, std)))


def _channels(source: ImageSource, indices: Indices) -> int:
    kinds = set()
    with reading_images():
        for handle in source.handles(sample(source, indices, GREY_SAMPLE, derive_seed(0, "channels"))):
            try:
                kinds.add(len(decode(payload_of(handle), size=1, channels=None, window="own")))
            except CORRUPT:
                continue  # counted, named and limited where the images are used
    if not kinds:
        raise DataError(f"{source.location}: none of {min(GREY_SAMPLE, len(indices))} images looked at can be decoded")
    return max(kinds)


def _fingerprint(classes: tuple[str, ...], *parts: bytes) -> str:
    fingerprint = hashlib.sha256(json.dumps(classes).encode())
    for part in parts:
        fingerprint.update(hashlib.sha256(part).digest())
    return fingerprint.hexdigest()


def _notes(*images: Held) -> tuple[str, ...]:
    return tuple(one.note for one in images if one.note)
