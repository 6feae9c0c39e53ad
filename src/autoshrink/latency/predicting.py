"""What a network takes that has operations nobody measured: from a table of some, by what they compute and move.

An operation of a name takes about a fixed time, a time for each multiply-add, and one for each number that it reads and
writes, more where an activation follows. The coefficients are the non-negative least squares of relative errors over a
table's operations of that name: a wider network is never predicted to be faster, and single errors of the table do not
count for much. A search can scale networks by it; what comes out is to be measured whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from autoshrink.architecture import Architecture
from autoshrink.budget import Budget
from autoshrink.cost.latency import operations
from autoshrink.errors import InputError
from autoshrink.latency.table import LatencyTable
from autoshrink.spaces.families import FAST_DIVISORS, at_budget, families
from autoshrink.spaces.moves import USUAL, neighbours
from autoshrink.steps import RuntimeOperation

SHORT = 1000.0
"""Nanoseconds below which an error counts as one of so long a time: shorter ones are hardly measured."""
_KEY = re.compile(r"(\w+) ([\d+]+)>(\d+) (\d+)x(\d+)(?: /(\d+))?(?: (\w+))?")
_KERNEL = re.compile(r"(depthwise|conv|dense)(\d+)x\d+.*")


@dataclass(frozen=True)
class LatencyModel:
    """Nanoseconds of operations, and of networks as their sum.

    Attributes:
        coefficients: by an operation's name, those of `features`.
    """

    coefficients: Mapping[str, Mapping[str, float]]

    @classmethod
    def fitted(cls, table: LatencyTable) -> LatencyModel:
        """From what a table has measured."""
        groups = defaultdict[str, list[tuple[dict[str, float], int]]](list)
        for key, nanoseconds in table.nanoseconds.items():
            one = _operation(key)
            groups[one.name].append((features(one), nanoseconds))
        found = {}
        for name, rows in groups.items():
            columns = sorted({column for row, _ in rows for column in row})
            taken = np.array([nanoseconds for _, nanoseconds in rows], dtype=float)
            weights = 1 / np.maximum(taken, SHORT)
            matrix = np.array([[row.get(column, 0.0) for column in columns] for row, _ in rows]) * weights[:, None]
            scale = np.maximum(matrix.max(axis=0), 1e-30)
            solution, _ = nnls(matrix / scale, taken * weights)
            found[name] = dict(zip(columns, (solution / scale).tolist(), strict=True))
        return cls(found)

    def __call__(self, architecture: Architecture) -> float:
        """Seconds of one image.

        Raises:
            InputError: the table has no operation of a name that the architecture needs.
        """
        return 1e-9 * sum(self.of(one) for one in operations(architecture))

    def of(self, one: RuntimeOperation) -> float:
        """Nanoseconds of one operation; raises as a call does."""
        if one.name not in self.coefficients:
            raise InputError(f"the latency table has no {one.name!r} of any size, so {one.key!r} cannot be predicted")
        its = self.coefficients[one.name]
        return sum(its.get(column, 0.0) * value for column, value in features(one).items())

    def __hash__(self) -> int:
        return id(self)


def features(one: RuntimeOperation) -> dict[str, float]:
    """What the time of an operation is made of: calls, multiply-adds, and tensors' numbers."""
    area = one.size[0] * one.size[1]
    reads, kernel = sum(one.reads), _KERNEL.fullmatch(one.name)
    pixels = 1 if one.name in ("average", "squeeze", "linear") else area
    macs = 0
    if kernel:
        macs = int(kernel[2]) ** 2 * one.writes * area * (1 if kernel[1] == "depthwise" else reads)
    elif one.name in ("linear", "shortcut", "squeeze", "excite"):
        macs = one.reads[-1 if one.name == "excite" else 0] * one.writes * (area if one.name == "shortcut" else 1)
    found = {"calls": 1.0, "macs": float(macs), "read": float(reads * area * one.stride**2)}
    written = float(one.writes * pixels)
    return found | {"written": written} | ({one.activation: written} if one.activation else {})


PIXEL_MACS = (500, 2000, 8000, 32000)
"""Multiply-adds for each pixel of the image, of the networks whose operations are measured: 0.5M to 33M at 32×32."""
EACH = 12
"""Operations of one name and activation that are measured beside those of the families, at most."""


def table_operations(shape: tuple[int, int, int], classes: int) -> tuple[RuntimeOperation, ...]:
    """What is to be measured so that a space of networks for an input can be predicted.

    Every operation of the hand-made families at four sizes, and of each other kind that a move from there can meet
    some, from small to large.

    Args:
        shape: channels, height, width.
        classes: to tell apart.
    """
    made = families(shape, classes)
    budgets = [Budget(macs=macs * shape[1] * shape[2]) for macs in PIXEL_MACS]
    networks = [one for budget in budgets for one in at_budget(made, budget, divisors=FAST_DIVISORS[:1]).values()]
    found = {one.key: one for one in sampled(networks)}
    known = {(one.name, one.activation) for one in found.values()}
    others = defaultdict[tuple[str, str | None], dict[str, RuntimeOperation]](dict)
    for one in sampled(changed for network in networks for _, changed in neighbours(network, USUAL)):
        if (one.name, one.activation) not in known:
            others[one.name, one.activation][one.key] = one
    for group in others.values():
        rows = sorted(group.values(), key=lambda one: (features(one)["macs"], features(one)["read"], one.key))
        found |= {one.key: one for one in rows[:: -(-len(rows) // EACH)]}
    return tuple(found.values())


def sampled(networks: Iterable[Architecture]) -> tuple[RuntimeOperation, ...]:
    """The operations of networks, each once."""
    found = {one.key: one for network in networks for one in operations(network)}
    return tuple(found.values())


def _operation(key: str) -> RuntimeOperation:
    """What a table's key says."""
    match = _KEY.fullmatch(key)
    if match is None:
        return RuntimeOperation(key)
    name, reads, writes, height, width, stride, activation = match.groups()
    size = int(height), int(width)
    return RuntimeOperation(name, tuple(map(int, reads.split("+"))), int(writes), size, int(stride or 1), activation)
