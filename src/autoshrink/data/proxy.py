"""Proxy data sets: small, balanced, seeded draws from a train split, decoded, cached and fingerprinted."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.data import cache as image_cache
from autoshrink.data.carving import NOTHING_KEPT, Digests, Draw, Keeping, carved, never_parted
from autoshrink.data.decoding import Progress, Reading
from autoshrink.data.depth import look_through, pixel_notes
from autoshrink.data.images import TRAIN, ImageSource, Indices, LabelledImages, SkippedFile
from autoshrink.data.names import few
from autoshrink.data.opening import open_images
from autoshrink.data.picture import Window
from autoshrink.data.sampling import Picked, Wanted, pick, pick_apart, pick_with_replacement
from autoshrink.data.split_choice import Part, train_part, uneven_classes
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown
from autoshrink.quantity import counted

DEFAULT_SIZE = 32
"""Height = width in pixels where neither the caller nor the data set says: CIFAR's, which the paper's stem is for."""

# Written into every cache key: raise it whenever the same request would decode or draw differently.
_CACHE_FORMAT = 2

_Arrays = dict[str, npt.NDArray[Any]]
_STORED = {"train_images", "train_labels", "validation_images", "validation_labels", "skipped", "attempted", "state"}


@dataclass(frozen=True, eq=False)
class Proxy:
    """The data of the proxy task: disjoint training and validation images, both from the train split.

    `skipped` are images that could not be decoded (others were drawn in their place where there were any); `notes` are
    sentences for a person: what was ignored, and where fewer images were found than asked for. `fingerprint` is the
    sha256 (hexadecimal) of classes, images and labels: equal exactly when two proxies hold the same data. `window` are
    the values of deep images that became 0 and 255; None where no image is deep.
    """

    name: str
    classes: tuple[str, ...]
    train: LabelledImages
    validation: LabelledImages
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    fingerprint: str
    window: Window | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """A whole split, decoded. `skipped` and `notes` as in `Proxy`."""

    name: str
    classes: tuple[str, ...]
    data: LabelledImages
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Request:
    """What the caller asked for; together with the state of the files it determines the proxy."""

    train: int
    validation: int
    size: int
    channels: int | None
    replacement: bool
    seed: int
    max_corrupt: float
    keeping: Keeping
    window: Window | None

    def key(self, source: ImageSource) -> str:
        text = json.dumps([_CACHE_FORMAT, type(source).__name__, str(Path(source.location).resolve()), asdict(self)])
        return hashlib.sha256(text.encode()).hexdigest()


def load_proxy(  # noqa: PLR0913 - one keyword per setting
    spec: str,
    *,
    train_per_class: int,
    validation_per_class: int,
    size: int | None,
    seed: int,
    channels: int | None = None,
    replacement: bool = False,
    max_corrupt: float = 0.05,
    keeping: Keeping = NOTHING_KEPT,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Proxy:
    """Draw and decode a proxy data set from the train split of `spec`; other splits are never read.

    Of a class with n images, validation gets min(`validation_per_class`, n // 3), at least one if n > 1, and training
    up to `train_per_class` of the rest. The draw depends only on the seed and the sorted file names (or rows), each
    class independently of the others. With `replacement` both subsets are drawn with replacement, each from its own
    pool, which repeats images: the authors' released script draws so (the default of numpy's `random.choice`).

    `size` is the height = width in pixels; None is the set's natural size (digits 8, CIFAR 32, others 32). `channels`
    is 1, 3, or None for 1 if every image drawn is grey, else 3. Undecodable images are replaced by others of their
    class; DataError when they are more than the share `max_corrupt` (0..1) of those tried.

    `keeping` says which test images are not drawn, and which images are never parted: these are all in training or all
    in validation (drawn without replacement).

    Decoded proxies are kept in the folder `cache` (default: `cache.default_folder`) and made again when a file tried
    for them has another size or modification time, or the listing changes; a file rewritten with both unchanged goes
    unnoticed. While decoding, `progress` is called with (images tried, images to try).

    Raises DataError for anything wrong with the data, InputError for a setting out of range.
    """
    for name, least, number in (
        ("train_per_class is", 1, train_per_class),
        ("validation_per_class is", 1, validation_per_class),
        ("seed is", 0, seed),
    ):
        if number < least:
            raise InputError(f"{name} {number}; it must be at least {least}")
    if keeping:
        learning = train_part(spec, keeping, progress)
        part, notes, units = learning.part, learning.notes, learning.units if keeping.group else None
    else:
        part, units = Part.all_of(open_images(spec, split=TRAIN)), None
        notes = part.source.notes
    source, depth = part.source, look_through(part.source, part.indices)
    request = _Request(
        train=train_per_class,
        validation=validation_per_class,
        size=_target_size(source, size),
        channels=channels,
        replacement=replacement,
        seed=seed,
        max_corrupt=max_corrupt,
        keeping=keeping,
        window=depth.window(),
    )
    folder, key = image_cache.default_folder() if cache is None else cache, request.key(source)
    drawn, problem = image_cache.read(folder, key), None
    if drawn is None or drawn.keys() != _STORED or str(drawn["state"]) != _state(part, drawn["attempted"]):
        drawn = _draw(part, units, request, progress)
        problem = image_cache.write(folder, key, drawn)
    train, validation = (LabelledImages(drawn[f"{s}_images"], drawn[f"{s}_labels"]) for s in ("train", "validation"))
    fingerprint = hashlib.sha256(json.dumps(source.classes).encode())
    for subset in (train, validation):
        fingerprint.update(f"{subset.images.shape}".encode())
        fingerprint.update(subset.images.tobytes())
        fingerprint.update(subset.labels.tobytes())
    return Proxy(
        name=source.name,
        classes=source.classes,
        train=train,
        validation=validation,
        skipped=tuple(SkippedFile(*pair) for pair in json.loads(str(drawn["skipped"]))),
        notes=(
            *notes,
            *_size_notes(source, size),
            *depth.notes(request.window),
            *pixel_notes(train.images),
            *_class_notes(part, request, train.labels, validation.labels),
            *_equal_notes(train.images, validation.images),
            *((problem,) if problem else ()),
        ),
        fingerprint=fingerprint.hexdigest(),
        window=request.window,
    )


def load_split(
    spec: str,
    split: str,
    *,
    size: int | None,
    channels: int | None = None,
    max_corrupt: float = 0.05,
    window: Window | None = None,
    progress: Progress | None = None,
) -> Split:
    """Decode a whole split ("train", "validation" or "test") into memory, in the source's order; nothing is cached.

    Arguments and errors as in `load_proxy`; `window` scales deep images, as in `Preprocessing`. Give `channels` what
    the network was built for: with None, a test split without a single colour image would come out grey though the
    train split did not.
    """
    source = open_images(spec, split=split)
    target = _target_size(source, size)
    reading = Reading(source, size=target, channels=channels, max_corrupt=max_corrupt, window=window, progress=progress)
    reading.attempt(range(len(source.labels)))
    indices = sorted(reading.pictures)
    data = LabelledImages(reading.stacked(indices), source.labels[indices])
    return Split(
        source.name, source.classes, data, reading.corrupt.skipped, (*source.notes, *_size_notes(source, size))
    )


def _draw(part: Part, units: Digests | None, request: _Request, progress: Progress | None) -> _Arrays:
    """The decoded draw, and the indices of every image that was tried for it (on which the cache's validity hangs)."""
    source = part.source
    reading = Reading(
        source,
        size=request.size,
        channels=request.channels,
        max_corrupt=request.max_corrupt,
        window=request.window,
        progress=progress,
    )
    picked = _picked(part, units, request, reading)
    if len(np.unique(source.labels[picked.train])) < 2 or not picked.validation:
        raise DataError(
            f"{source.location}: {counted(len(picked.train), 'image')} can be used for training and "
            f"{len(picked.validation)} for validation; needed are two classes with images, one of them with two images"
            f"{never_parted(part.labels, len(picked.validation), request.keeping) if units is not None else ''}"
        )
    attempted = np.array(reading.attempted, dtype=np.int64)
    return {
        "train_images": reading.stacked(picked.train),
        "train_labels": source.labels[picked.train],
        "validation_images": reading.stacked(picked.validation),
        "validation_labels": source.labels[picked.validation],
        "skipped": np.array(json.dumps([(skipped.path, skipped.reason) for skipped in reading.corrupt.skipped])),
        "attempted": attempted,
        "state": np.array(_state(part, attempted)),
    }


def _picked(part: Part, units: Digests | None, request: _Request, reading: Reading) -> Picked:
    wanted, classes = Wanted(request.train, request.validation), len(part.source.classes)
    labels = np.full(len(part.source.labels), -1)  # no class, for what is kept back
    labels[part.indices] = part.labels
    if units is None:
        draw = pick_with_replacement if request.replacement else pick
        return draw(reading, labels, wanted, classes=classes, seed=request.seed)
    share = min(request.validation / (request.train + request.validation), 1 / 3)
    apart = np.zeros(len(labels), dtype=np.bool_)
    apart[part.indices] = carved(part.labels, classes, units, (), Draw(share, request.seed))
    return pick_apart(reading, labels, wanted, apart, classes=classes, seed=request.seed)


def _state(part: Part, attempted: Indices) -> str:
    """Return a sha256 over what the draw rests on: classes, all labels, and the state of the files tried."""
    state = hashlib.sha256(json.dumps(part.source.classes).encode())
    state.update(part.indices.tobytes())
    state.update(part.labels.tobytes())
    # With fewer images now than there were then, the labels alone make the state another one.
    if attempted.max(initial=0) < len(part.source.labels):
        state.update(part.source.identity(attempted).encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _target_size(source: ImageSource, size: int | None) -> int:
    return size if size is not None else source.natural_size or DEFAULT_SIZE


def _size_notes(source: ImageSource, size: int | None) -> tuple[str, ...]:
    if size is not None or source.natural_size is not None:
        return ()
    return (f"no size was given: images are scaled to {DEFAULT_SIZE}×{DEFAULT_SIZE} pixels",)


def _class_notes(part: Part, request: _Request, trained: Indices, validated: Indices) -> tuple[str, ...]:
    """Return sentences about classes that are uneven, short of images, or without any for a subset."""
    source, count = part.source, len(part.source.classes)
    train, validation = (np.bincount(labels, minlength=count) for labels in (trained, validated))
    short = int(np.count_nonzero((train < request.train) | (validation < request.validation)))
    least = int((train + validation).argmin())
    unchecked = (train > 0) & (validation == 0)
    lacking = (
        (train == 0, "no usable image, so never learnt"),
        (unchecked, "only one usable image, so none for validation"),
    )
    sentences = [f"{why}: {_named(source, np.flatnonzero(marks))}" for marks, why in lacking if marks.any()]
    sentences += uneven_classes(source.classes, part.labels, "image")
    if short:
        sentences.append(
            f"{request.train} images a class for training and {request.validation} for validation are more than "
            f"{short} of {count} classes have: all of theirs are used, {train[least]} + {validation[least]} of the "
            "smallest"
        )
    return tuple(sentences)


def _equal_notes(train: npt.NDArray[np.uint8], validation: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """A sentence about validation images that are training images too, pixel for pixel."""
    learned = {image.tobytes() for image in train}
    shared = sum(image.tobytes() in learned for image in validation)
    said = f"{shared:,} of {len(validation):,} validation images are training images too, pixel for pixel"
    return (f"{said} at {train.shape[2]}×{train.shape[2]}: validation accuracy flatters",) if shared else ()


def _named(source: ImageSource, labels: Indices) -> str:
    return ("class " if len(labels) == 1 else "classes ") + few([shown(source.classes[label]) for label in labels])
