"""Proxy data sets: small, balanced, seeded draws from a train split, decoded, cached and fingerprinted."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autoshrink.data import cache as image_cache
from autoshrink.data.carving import NOTHING_KEPT, Digests, Draw, Keeping, carved, never_parted
from autoshrink.data.decoding import Progress, Reading, check_size
from autoshrink.data.depth import Depth, look_through, pixel_notes
from autoshrink.data.images import TRAIN, ImageSource, Indices, LabelledImages, SkippedFile
from autoshrink.data.opening import open_images
from autoshrink.data.picture import Window
from autoshrink.data.sampling import Wanted, pick, pick_apart, pick_with_replacement
from autoshrink.data.split_choice import ChosenImages, train_part
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown
from autoshrink.quantity import counted

# Height = width in pixels where neither the caller nor the data set says: CIFAR's, for which the paper's stem is made.
DEFAULT_SIZE = 32

# Written into every cache key: raise it whenever the same request would decode or draw differently.
_CACHE_FORMAT = 2
_STORED = frozenset(
    ("train_images", "train_labels", "validation_images", "validation_labels", "skipped", "attempted", "state")
)


@dataclass(frozen=True, eq=False)
class Proxy:
    """The data of the proxy task: disjoint training and validation images, both from the train split.

    `skipped` are images that could not be decoded (others were drawn in their place where there were any); `notes` are
    sentences for a person: what was ignored, and where fewer images were found than asked for. `fingerprint` is the
    sha256 (hexadecimal) of classes, images and labels: equal exactly when two proxies hold the same data.
    """

    name: str
    classes: tuple[str, ...]
    train: LabelledImages
    validation: LabelledImages
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    fingerprint: str
    window: Window | None = None
    """Values of deep images that became 0 and 255; None where no image is deep."""


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

    def __post_init__(self) -> None:
        for name, count in (("train_per_class", self.train), ("validation_per_class", self.validation)):
            if count < 1:
                raise InputError(f"{name} is {count}; it must be at least 1")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must not be negative")

    def key(self, source: ImageSource) -> str:
        text = json.dumps([_CACHE_FORMAT, type(source).__name__, str(Path(source.location).resolve()), asdict(self)])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The decoded draw, and the indices of every image that was tried for it (on which the cache's validity hangs)."""

    train: LabelledImages
    validation: LabelledImages
    skipped: tuple[SkippedFile, ...]
    attempted: Indices


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
    unnoticed. `progress` is told (images tried, images to try) while decoding, and nothing when the cache serves.

    Raises DataError for anything wrong with the data, InputError for a setting out of range.
    """
    source, units, depth = _source(spec, keeping, progress)
    check_size(_target_size(source, size))
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
    drawn = _from_cache(folder, key, source)
    problem = None
    if drawn is None:
        drawn = _draw(source, units, request, progress)
        problem = image_cache.write(folder, key, _as_arrays(drawn, source))
    return Proxy(
        name=source.name,
        classes=source.classes,
        train=drawn.train,
        validation=drawn.validation,
        skipped=drawn.skipped,
        notes=(
            *_source_notes(source, size),
            *depth.notes(request.window),
            *pixel_notes(drawn.train.images),
            *_class_notes(source, request, drawn),
            *_equal_notes(drawn),
            *((problem,) if problem else ()),
        ),
        fingerprint=_fingerprint(source.classes, drawn.train, drawn.validation),
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
    reading = Reading(
        source,
        size=_target_size(source, size),
        channels=channels,
        max_corrupt=max_corrupt,
        window=window,
        progress=progress,
    )
    reading.attempt(range(len(source.labels)))
    data = _labelled(source, reading, sorted(reading.pictures))
    return Split(source.name, source.classes, data, reading.skipped, _source_notes(source, size))


def _source(spec: str, keeping: Keeping, progress: Progress | None) -> tuple[ImageSource, Digests | None, Depth]:
    """The images that may be drawn, which of them belong together, if any do, and what their files hold."""
    if not keeping:
        source = open_images(spec, split=TRAIN)
        return source, None, look_through(source, np.arange(len(source.labels)))
    learning = train_part(spec, keeping, progress)
    depth = look_through(learning.part.source, learning.part.indices)
    return ChosenImages.of(learning.part, learning.notes), learning.units if keeping.group else None, depth


def _draw(source: ImageSource, units: Digests | None, request: _Request, progress: Progress | None) -> _Drawn:
    reading = Reading(
        source,
        size=request.size,
        channels=request.channels,
        max_corrupt=request.max_corrupt,
        window=request.window,
        progress=progress,
    )
    wanted, classes = Wanted(request.train, request.validation), len(source.classes)
    if units is not None:
        share = min(request.validation / (request.train + request.validation), 1 / 3)
        apart = carved(source.labels, classes, units, (), Draw(share, request.seed))
        picked = pick_apart(reading, source.labels, wanted, apart, classes=classes, seed=request.seed)
    else:
        draw = pick_with_replacement if request.replacement else pick
        picked = draw(reading, source.labels, wanted, classes=classes, seed=request.seed)
    if len(np.unique(source.labels[picked.train])) < 2 or not picked.validation:
        raise DataError(
            f"{source.location}: {counted(len(picked.train), 'image')} can be used for training and "
            f"{len(picked.validation)} for validation; needed are two classes with images, one of them with two images"
            f"{never_parted(source.labels, len(picked.validation), request.keeping) if units is not None else ''}"
        )
    return _Drawn(
        train=_labelled(source, reading, picked.train),
        validation=_labelled(source, reading, picked.validation),
        skipped=reading.skipped,
        attempted=np.array(reading.attempted, dtype=np.int64),
    )


def _labelled(source: ImageSource, reading: Reading, indices: list[int]) -> LabelledImages:
    return LabelledImages(reading.stacked(indices), source.labels[indices])


def _from_cache(folder: Path, key: str, source: ImageSource) -> _Drawn | None:
    stored = image_cache.read(folder, key)
    if stored is None or stored.keys() != _STORED or str(stored["state"]) != _state(source, stored["attempted"]):
        return None
    return _Drawn(
        train=LabelledImages(stored["train_images"], stored["train_labels"]),
        validation=LabelledImages(stored["validation_images"], stored["validation_labels"]),
        skipped=tuple(SkippedFile(*pair) for pair in json.loads(str(stored["skipped"]))),
        attempted=stored["attempted"],
    )


def _as_arrays(drawn: _Drawn, source: ImageSource) -> image_cache.Arrays:
    return {
        "train_images": drawn.train.images,
        "train_labels": drawn.train.labels,
        "validation_images": drawn.validation.images,
        "validation_labels": drawn.validation.labels,
        "skipped": np.array(json.dumps([(skipped.path, skipped.reason) for skipped in drawn.skipped])),
        "attempted": drawn.attempted,
        "state": np.array(_state(source, drawn.attempted)),
    }


def _state(source: ImageSource, attempted: Indices) -> str:
    """Return a sha256 over what the draw rests on: classes, all labels, and the state of the files tried."""
    state = hashlib.sha256(json.dumps(source.classes).encode())
    state.update(source.labels.tobytes())
    # With fewer images now than there were then, the labels alone make the state another one.
    if attempted.max(initial=0) < len(source.labels):
        state.update(source.identity(attempted).encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _fingerprint(classes: tuple[str, ...], *parts: LabelledImages) -> str:
    fingerprint = hashlib.sha256(json.dumps(classes).encode())
    for part in parts:
        fingerprint.update(f"{part.images.shape}".encode())
        fingerprint.update(part.images.tobytes())
        fingerprint.update(part.labels.tobytes())
    return fingerprint.hexdigest()


def _target_size(source: ImageSource, size: int | None) -> int:
    return size if size is not None else source.natural_size or DEFAULT_SIZE


def _source_notes(source: ImageSource, size: int | None) -> tuple[str, ...]:
    if size is not None or source.natural_size is not None:
        return source.notes
    return (*source.notes, f"no size was given: images are scaled to {DEFAULT_SIZE}×{DEFAULT_SIZE} pixels")


def _class_notes(source: ImageSource, request: _Request, drawn: _Drawn) -> tuple[str, ...]:
    """Return sentences about classes that are uneven, short of images, or without any for a subset."""
    count = len(source.classes)
    listed, train, validation = (
        np.bincount(labels, minlength=count) for labels in (source.labels, drawn.train.labels, drawn.validation.labels)
    )
    largest, smallest = int(listed.argmax()), int(listed.argmin())
    unseen, unchecked = np.flatnonzero(train == 0), np.flatnonzero((train > 0) & (validation == 0))
    short = np.flatnonzero((train < request.train) | (validation < request.validation))
    least = int((train + validation).argmin())
    sentences = (
        (len(unseen), f"no usable image, so never learnt: {_named(source, unseen)}"),
        (len(unchecked), f"only one usable image, so none for validation: {_named(source, unchecked)}"),
        (
            listed[largest] >= 2 * listed[smallest],
            f"classes are uneven: from {counted(int(listed[smallest]), 'image')} ({shown(source.classes[smallest])}) "
            f"to {listed[largest]} ({shown(source.classes[largest])})",
        ),
        (
            len(short),
            f"{len(short)} of {count} classes have fewer images than asked for ({request.train} + "
            f"{request.validation} per class); the smallest gives {train[least]} + {validation[least]}",
        ),
    )
    return tuple(sentence for there, sentence in sentences if there)


def _equal_notes(drawn: _Drawn) -> tuple[str, ...]:
    """A sentence about validation images that are training images too, pixel for pixel."""
    learned = {image.tobytes() for image in drawn.train.images}
    shared = sum(image.tobytes() in learned for image in drawn.validation.images)
    if not shared:
        return ()
    total, size = len(drawn.validation), drawn.train.images.shape[2]
    return (
        f"{shared:,} of {total:,} validation images are training images too, pixel for pixel at {size}×{size}: "
        "validation accuracy flatters",
    )


def _named(source: ImageSource, labels: Indices) -> str:
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return (
        ("class " if len(labels) == 1 else "classes ") + ", ".join(shown(source.classes[i]) for i in labels[:5]) + more
    )
