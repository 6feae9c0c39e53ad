"""A text as a source of sentences: its splits as they are given, or carved from it in blocks of consecutive lines.

A sentence is what the text itself sets apart: a line, or, where a text has next to no lines, a piece of fixed length.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from autoshrink.data.documents import Document
from autoshrink.data.images import SPLITS, TEST, TRAIN, VALIDATION
from autoshrink.data.tokenising import END, Level, Rule, cut
from autoshrink.errors import DataError

# Fewer lines than these, white space not counted, are no sample of sentences; the text is cut into pieces instead.
FEWEST_LINES = 20
PIECE: Mapping[Level, int] = {"word": 35, "char": 140}
"""Tokens of a piece: the length at which language models are usually unrolled, and about as much in characters."""

BLOCKS = 200
CARVED_SHARE = 1 / 10
"""Of the blocks of a text without splits, the share that goes to validation, and the share that goes to test."""

# Which blocks of a text are which split is fixed here for good, whatever the seed of a run.
_CARVING_SEED = 20_200_707

_Unit = str | list[str]
"""A line that is not cut yet, or a piece: a list of tokens."""


@dataclass(frozen=True, eq=False)
class TextSource:
    """A text whose sentences can be read, split by split, any number of times; nothing of it is kept in memory.

    `tokens` is the rule by which lines are cut. `files` are the documents of each split that comes as its own;
    `carved` are the splits that are taken out of the training documents, which hold `total` sentences (0 where nothing
    is carved). `pieces` says that the sentences are pieces of fixed length. `notes` are sentences for a person.
    """

    name: str
    location: str
    level: Level
    tokens: Rule
    files: Mapping[str, tuple[Document, ...]]
    carved: tuple[str, ...]
    total: int
    pieces: bool
    notes: tuple[str, ...]

    @property
    def given(self) -> tuple[str, ...]:
        """The splits that come as documents of their own."""
        return tuple(split for split in SPLITS if split in self.files)

    def segments(self, split: str) -> Iterator[list[str]]:
        """Yield the tokens of each line, `<eos>` at its end; of each piece, without `<eos>`.

        An empty line is `<eos>` alone under the rule "spaces", as published counts have it, and nothing under the
        others. Raises DataError for a split that is not there, and while reading for text that cannot be read. The
        documents of the test split are opened for "test" only.
        """
        keep_blank = self.tokens == "spaces"
        units = self._units(split)
        return (self._cut(unit) for unit in units if keep_blank or not _is_blank(unit))

    def count(self, split: str) -> int:
        """Return how many sentences the split has, empty lines not counted. Raises DataError as `segments` does."""
        return sum(not _is_blank(unit) for unit in self._units(split))

    def pick(self, split: str, places: Sequence[int]) -> list[list[str]]:
        """Return the sentences at these places (rising, among those counted by `count`), as `segments` gives them."""
        wanted = set(places)
        units = islice((unit for unit in self._units(split) if not _is_blank(unit)), max(places, default=-1) + 1)
        return [self._cut(unit) for number, unit in enumerate(units) if number in wanted]

    def _cut(self, unit: _Unit) -> list[str]:
        return unit if isinstance(unit, list) else [*cut(unit, self.tokens), END]

    def _units(self, split: str) -> Iterator[_Unit]:
        if split not in SPLITS:
            raise DataError(f"no split is called {split!r}; there are {', '.join(SPLITS)}")
        if split not in self.files and split not in self.carved:
            raise DataError(
                f"{self.location}: no {split} split, only {' and '.join(self.given)}; add a file called {split}.txt"
            )
        home = split if split in self.files else TRAIN
        units = units_of(self.files[home], self.tokens, PIECE[self.level] if self.pieces else None)
        return self._part(units, split) if home == TRAIN and self.carved else units

    def _part(self, units: Iterator[_Unit], split: str) -> Iterator[_Unit]:
        parts = carve(self.total, self.carved)
        seen = 0
        for unit in units:
            seen += not _is_blank(unit)
            if seen > self.total:
                break
            # An empty line belongs to the line before it.
            if parts[max(seen - 1, 0) * len(parts) // self.total] == split:
                yield unit
        if seen != self.total:
            raise DataError(f"{self.location}: the text changed while it was read; run it again")


def units_of(documents: Iterable[Document], rule: Rule, piece: int | None) -> Iterator[_Unit]:
    """Yield lines, or, where a length in tokens is given, pieces of it; the last piece of a document may be shorter."""
    for document in documents:
        yield from document.lines() if piece is None else _pieces(document, rule, piece)


def carve(sentences: int, carved: Sequence[str]) -> list[str]:
    """Return the split of each block of consecutive sentences: `BLOCKS` of them, or one a sentence if these are fewer.

    Each split in `carved` gets its share of the blocks, at least one. Sentence i of n belongs to block i·blocks // n.
    """
    count = min(BLOCKS, sentences)
    each = max(1, round(count * CARVED_SHARE))
    order = np.random.Generator(np.random.PCG64(_CARVING_SEED)).permutation(count).tolist()
    parts = [TRAIN] * count
    for number, split in enumerate(carved):
        for block in order[number * each : (number + 1) * each]:
            parts[block] = split
    return parts


def to_carve(given: Iterable[str], *, divided: bool) -> tuple[str, ...]:
    """Return which splits are carved: validation where it is not given; test only where the text has no splits."""
    if not divided:
        return (VALIDATION, TEST)
    return () if VALIDATION in given else (VALIDATION,)


def _pieces(document: Document, rule: Rule, length: int) -> Iterator[list[str]]:
    held: list[str] = []
    for block in document.blocks():
        held += cut(block.replace("\n", " ") if rule == "characters" else block, rule)
        whole = len(held) - len(held) % length
        for start in range(0, whole, length):
            yield held[start : start + length]
        del held[:whole]
    if held:
        yield held


def _is_blank(unit: _Unit) -> bool:
    return not unit or (isinstance(unit, str) and unit.isspace())
