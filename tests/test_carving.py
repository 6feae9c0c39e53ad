"""Carving by content: what was kept back stays so, whatever happens to files; laws over made-up data sets."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.data.carving import (
    Draw,
    Ledger,
    carved,
    content_digest,
    group_units,
    held_out,
)
from autoshrink.errors import InputError
from autoshrink.seeding import derive_seed

IMAGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=2, max_size=60)
"""(class, content) of every image; contents repeat, also in other classes."""


def arrays(images: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([label for label, _ in images], dtype=np.int64)
    digests = np.array([content_digest(str(content).encode(), "") for _, content in images], dtype=np.uint64)
    return labels, digests


def cut(images: list[tuple[int, int]], ledger: Ledger | None, seed: int) -> Ledger:
    """One training: what it knows afterwards, with what it went on from."""
    labels, digests = arrays(images)
    known = () if ledger is None else ((ledger.learned(digests), False), (ledger.kept_back(digests), True))
    kept = carved(labels, 3, digests, known, Draw(0.25, seed))
    assert not np.intersect1d(digests[kept], digests[~kept]).size, "equal images are on one side"
    return Ledger.of(digests[~kept], digests[kept]).after(ledger)


@given(IMAGES, IMAGES, st.randoms(), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_nothing_changes_sides_when_files_come_go_and_are_renamed(
    before: list[tuple[int, int]], added: list[tuple[int, int]], random: Random, seed: int
) -> None:
    first = cut(before, None, seed)
    now = [*before[len(before) // 3 :], *added, *before[:2]]  # some gone, some new, some there twice
    random.shuffle(now)  # renamed: they stand in another order
    second = cut(now, first, seed + 1)
    third = cut(before, second, seed + 2)
    for later in (second, third):
        assert np.isin(first.trained, later.trained).all(), "what was learned is not forgotten"
        assert np.isin(first.kept, later.kept).all(), "and what was kept back never learned"
        assert not np.intersect1d(later.trained, later.kept).size


@given(st.lists(st.integers(0, 2), min_size=2, max_size=60), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_distinct_images_are_drawn_class_by_class_and_as_they_always_were(classes: list[int], seed: int) -> None:
    labels = np.array(classes, dtype=np.int64)
    kept = carved(labels, 3, np.arange(len(labels), dtype=np.uint64), (), Draw(0.1, seed))
    for label in range(3):
        images = np.flatnonzero(labels == label)
        count = min(max(round(0.1 * len(images)), 1), len(images) - 1) if len(images) else 0
        generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "validation", label)))
        assert set(np.flatnonzero(kept & (labels == label))) == set(generator.permutation(images)[:count])


def test_what_was_explicitly_learned_counts_as_learned() -> None:
    one, two, three = (np.array([number], dtype=np.uint64) for number in (1, 2, 3))
    parent = Ledger.of(one, np.concatenate([two, three]))
    child = Ledger.of(two, one).after(parent)
    assert (child.trained.tolist(), child.kept.tolist()) == ([1, 2], [3])
    assert child.seal == Ledger.of(two, three).seal != Ledger.of(one, two).seal


def test_groups_are_on_one_side_in_every_class() -> None:
    people = [f"{label}/{person}-{number}.png" for label in "ab" for person in "pqrst" for number in range(4)]
    units = group_units(people, r"/(\w)-")
    labels = np.array([int(name[0] == "b") for name in people])
    for seed in range(10):
        kept = carved(labels, 2, units, (), Draw(0.1, seed))
        assert {name[2] for name, one in zip(people, kept, strict=True) if one}.isdisjoint(
            {name[2] for name, one in zip(people, kept, strict=True) if not one}
        )
        assert kept.sum() == 8, "one person, in both classes: groups are larger than the share"


def test_test_images_are_a_function_of_their_content() -> None:
    digests = arrays([(0, number) for number in range(1000)])[1]
    marks = held_out(digests, 0.2)
    assert 150 < marks.sum() < 250
    assert np.array_equal(held_out(digests[::-1], 0.2), marks[::-1])
    assert not (held_out(digests, 0.1) & ~marks).any(), "a smaller share is part of a larger one"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "--group (: not a regular expression"),
        ("person(\\d)", "--group person(\\d): found in 1 of 2 names, not in a/x.png"),
        ("[a-z]/", "--group [a-z]/: all 2 images fall into one group ('a/', in a/person1.png)"),
    ],
)
def test_patterns_that_group_nothing_are_refused(pattern: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        group_units(["a/person1.png", "a/x.png"], pattern)
    assert said in str(refused.value)
