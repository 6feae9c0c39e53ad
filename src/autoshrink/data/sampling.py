"""Which images of each class go to training and to validation: seeded, balanced, and of decodable images only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoshrink.data.carving import Marks
from autoshrink.data.decoding import Reading
from autoshrink.data.images import Indices


@dataclass(frozen=True)
class Wanted:
    """How many images of each class a draw takes for training and for validation, where a class has them."""

    train: int
    validation: int

    def of(self, images: int) -> tuple[int, int]:
        """Return how many of a class's `images` go to training and to validation.

        Validation gets at most a third, but at least one image of a class that has two.
        """
        least = 1 if images > 1 else 0
        to_validation = min(self.validation, max(images // 3, least))
        return min(self.train, images - to_validation), to_validation


@dataclass(frozen=True)
class Picked:
    """The indices drawn for each subset, class by class, every one of them decoded."""

    train: list[int]
    validation: list[int]


def pick(reading: Reading, labels: Indices, wanted: Wanted, *, classes: int, seed: int) -> Picked:
    """Draw without replacement; an image that cannot be decoded makes room for the next of its class."""
    orders = [_shuffled(labels, label, _generator(seed, label)) for label in range(classes)]
    totals = [sum(wanted.of(len(order))) for order in orders]
    picked = Picked([], [])
    for usable, order, total in zip(_decoded(reading, orders, totals), orders, totals, strict=True):
        # A class that ran out of decodable images is shared out anew, or a class of two might lose its training image.
        to_train, to_validation = wanted.of(len(order) if len(usable) == total else len(usable))
        picked.validation.extend(usable[:to_validation])
        picked.train.extend(usable[to_validation : to_validation + to_train])
    return picked


def pick_apart(
    reading: Reading, labels: Indices, wanted: Wanted, validation: Marks, *, classes: int, seed: int
) -> Picked:
    """As `pick`, where it is known which images are for `validation`, bool (n,), and which for training."""
    orders = [_shuffled(labels, label, _generator(seed, label)) for label in range(classes)]
    sides = []
    for kept, most in ((False, wanted.train), (True, wanted.validation)):
        own = [[index for index in order if validation[index] == kept] for order in orders]
        usable = _decoded(reading, own, [min(most, len(order)) for order in own])
        sides.append([index for chosen in usable for index in chosen])
    return Picked(*sides)


def pick_with_replacement(reading: Reading, labels: Indices, wanted: Wanted, *, classes: int, seed: int) -> Picked:
    """Draw both subsets with replacement, as many images as wanted, from two pools per class that share no image.

    Images that cannot be decoded are replaced by decodable ones of the same draw.
    """
    generators = [_generator(seed, label) for label in range(classes)]
    draws = []
    for label, generator in enumerate(generators):
        order = _shuffled(labels, label, generator)
        share = wanted.validation / (wanted.train + wanted.validation)
        _, cut = Wanted(len(order), max(1, round(len(order) * share))).of(len(order))
        pools = ((order[cut:], wanted.train), (order[:cut], wanted.validation))
        draws.append([_choices(pool, count, generator) for pool, count in pools])
    reading.attempt(index for draw in draws for side in draw for index in side)
    picked = Picked([], [])
    for generator, draw in zip(generators, draws, strict=True):
        for side, drawn in zip((picked.train, picked.validation), draw, strict=True):
            usable = [index for index in drawn if index in reading.pictures]
            side.extend(usable + _choices(usable, len(drawn) - len(usable), generator))
    return picked


def _decoded(reading: Reading, orders: Sequence[list[int]], totals: Sequence[int]) -> list[list[int]]:
    """Return, per class, the first decodable images of its order, `totals` of them; none beyond them is decoded."""
    tried = [0] * len(orders)
    while True:
        places = zip(orders, tried, strict=True)
        usable = [[index for index in order[:count] if index in reading.pictures] for order, count in places]
        batch: list[int] = []
        for label, order in enumerate(orders):
            more = order[tried[label] : tried[label] + totals[label] - len(usable[label])]
            tried[label] += len(more)
            batch.extend(more)
        if not batch:
            return usable
        reading.attempt(batch)


def _choices(pool: list[int], count: int, generator: np.random.Generator) -> list[int]:
    return [pool[place] for place in generator.integers(len(pool), size=count).tolist()] if pool else []


def _generator(seed: int, label: int) -> np.random.Generator:
    # One generator per class: what is added to one class does not change the draw of another.
    return np.random.Generator(np.random.PCG64([seed, label]))


def _shuffled(labels: Indices, label: int, generator: np.random.Generator) -> list[int]:
    order: list[int] = generator.permutation(np.flatnonzero(labels == label)).tolist()
    return order
