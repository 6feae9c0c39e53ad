"""Which images are kept back, by their content: what was once kept back stays so, and what was trained on too.

An image is known by a digest of its content, wherever it lies and whatever it is called. A training writes down the
digests of the images it learned from and of those it kept back (a `Ledger`); whoever goes on with its weights, or
measures them, goes by that, and only images that no ledger knows are drawn. Test images need no list: membership is a
function of the content, or of the group that the image's name puts it into, and of nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from autoshrink.data.decoding import Progress
from autoshrink.data.images import ImageSource, Indices, Payload
from autoshrink.errors import InputError
from autoshrink.seeding import derive_seed

Digests = npt.NDArray[np.uint64]
Marks = npt.NDArray[np.bool_]

DIGEST_BYTES = 8
"""Of two different images of a million, two share a digest once in 37 million sets."""


def content_digest(payload: Payload, place: str) -> int:
    """The digest of an image's content; of one that has none or cannot be read, of its place."""
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    if isinstance(payload, OSError) or (isinstance(payload, bytes) and not payload):
        found.update(f"unreadable: {place}".encode("utf-8", "surrogateescape"))
    elif isinstance(payload, bytes):
        found.update(payload)
    else:
        found.update(f"{payload.shape}".encode())
        found.update(np.ascontiguousarray(payload).data)
    return int.from_bytes(found.digest(), "big")


def content_digests(source: ImageSource, indices: Indices, progress: Progress | None = None) -> Digests:
    """The digests of these distinct images, uint64 (n,), in the order of the indices; each is read once.

    Raises:
        DataError: the container they are in cannot be read.
    """
    found: dict[int, int] = {}
    for index, payload in source.payloads(indices):
        found[index] = content_digest(payload, source.describe(index))
        if progress is not None:
            progress(len(found), len(indices))
    return np.array([found[index] for index in indices.tolist()], dtype=np.uint64)


def group_units(names: Sequence[str], pattern: str) -> Digests:
    """A digest for each name's group, uint64 (n,): what the regular expression's groups match, or its whole match.

    `names` are relative POSIX paths of images; the `pattern` is looked for anywhere in them.

    Raises:
        InputError: it is none, does not match a name, or puts all into one group; the message shows what it saw.
    """
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--group {pattern}: not a regular expression ({error})") from error
    matches = [rule.search(name) for name in names]
    if None in matches:
        raise InputError(
            f"--group {pattern}: found in {len(names) - matches.count(None):,} of {len(names):,} names, not in "
            f"{names[matches.index(None)]}; it must say of every image which group it belongs to"
        )
    groups = ["\0".join(part or "" for part in (one.groups() or (one.group(),))) for one in matches if one]
    if len(set(groups)) < 2:
        shown = groups[0].replace("\0", ", ") if groups else ""
        raise InputError(
            f"--group {pattern}: all {len(names):,} images fall into one group ({shown!r}, in {names[0]}); put "
            "parentheses around what tells one person or one shoot from another"
        )
    return np.array([content_digest(group.encode("utf-8", "surrogateescape"), "") for group in groups], np.uint64)


@dataclass(frozen=True)
class Keeping:
    """What is kept back as test images of data without a test split, and what belongs together.

    Attributes:
        share: of the images (of the groups), in (0, 1); None for none.
        group: see `group_units`; None where every image stands for itself.
    """

    share: float | None = None
    group: str | None = None

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return self.share is not None or self.group is not None


NOTHING_KEPT = Keeping()


def keeping_of(settings: Mapping[str, object]) -> Keeping:
    """What a model's settings of its data say; nothing in those of earlier versions."""
    share, group = settings.get("test_share"), settings.get("group")
    return Keeping(share if isinstance(share, float) else None, group if isinstance(group, str) else None)


def never_parted(labels: Indices, validation: int, keeping: Keeping) -> str:
    """The end of a message where a class has images enough, `labels` in all, and none could be kept for validation."""
    enough = np.unique(labels).size > 1 and np.bincount(labels).max() > 1
    if validation or not enough:
        return ""
    if keeping.group is not None:
        return f"\nimages of one group are never parted, and by --group {keeping.group} every class is one group"
    return "\nbyte-identical images are never parted, and no class has two different ones"


def held_out(units: Digests, share: float) -> Marks:
    """Which images are test images, bool (n,): about this share of the units, always the same ones."""
    marks: Marks = units < np.uint64(int(share * 2**64))
    return marks


@dataclass(frozen=True, eq=False)
class Ledger:
    """What a training knows of images: distinct digests, ascending, of those it learned from and those it kept back.

    No digest is in both.
    """

    trained: Digests
    kept: Digests

    @classmethod
    def of(cls, trained: Digests, kept: Digests) -> Self:
        """From digests in any order; what was trained on counts as trained on, whatever was meant to be kept back."""
        learned = np.unique(trained)
        return cls(learned, np.setdiff1d(kept, learned))

    def after(self, earlier: Ledger | None) -> Ledger:
        """This training's ledger where its weights began as those of another training."""
        if earlier is None:
            return self
        joined = (np.concatenate(pair) for pair in ((earlier.trained, self.trained), (earlier.kept, self.kept)))
        return Ledger.of(*joined)

    def learned(self, digests: Digests) -> Marks:
        """Which of these images were trained on, bool (n,)."""
        return np.isin(digests, self.trained)

    def kept_back(self, digests: Digests) -> Marks:
        """Which of these images were kept back, bool (n,)."""
        return np.isin(digests, self.kept)

    @property
    def seal(self) -> str:
        """A digest of what was kept back, for a file that has no room for the list."""
        return hashlib.sha256(self.kept.astype("<u8").tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class Draw:
    """How validation images are drawn: the share of each class, and the seed."""

    share: float
    seed: int


def carved(labels: Indices, classes: int, units: Digests, known: Iterable[tuple[Marks, bool]], draw: Draw) -> Marks:
    """Which images, of `labels` int64 (n,) and `units` uint64 (n,), are kept back for validation, bool (n,).

    All images of one unit (equal content, or one group) are on one side. Images that are `known` (marks, bool (n,), and
    whether these are kept back; earlier ones weigh more) stay where they were, and take their unit with them. Of the
    others a class gives its share, rounded, at least one where it has nothing to validate on yet and something to
    spare; which depends on the seed and the class's images alone.
    """
    side: dict[int, bool] = {}
    for marks, kept in known:
        side = dict.fromkeys(units[marks].tolist(), kept) | side
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        mine = units[own].tolist()
        decided = [side[unit] for unit in mine if unit in side]
        fresh = len(mine) - len(decided)
        least = 0 if any(decided) else 1
        wanted = min(max(round(draw.share * fresh), least), fresh if decided and not all(decided) else fresh - 1)
        # A generator of its own for each class: images added to one do not change what is drawn of another.
        generator = np.random.Generator(np.random.PCG64(derive_seed(draw.seed, "validation", label)))
        sizes = Counter(unit for unit in units[generator.permutation(own)].tolist() if unit not in side)
        for unit, size in sizes.items():  # in the order in which they were drawn
            side[unit] = size <= wanted
            wanted -= size if side[unit] else 0
        if least and len(sizes) + (not all(decided)) > 1 and not any(map(side.__getitem__, sizes)):
            # Groups are large: the smallest of them is nearer to the share than none.
            side[min(sizes, key=sizes.__getitem__)] = True
    return np.array([side[unit] for unit in units.tolist()], dtype=np.bool_)
