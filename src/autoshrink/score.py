"""What a candidate measured, its score, and what a comparison of two candidates is worth.

One direction everywhere: higher is better. A failed candidate has no performance and never wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from autoshrink.cell import Cell
from autoshrink.errors import InputError

ResourceName = Literal["macs", "params", "memory"]


@dataclass(frozen=True)
class Resources:
    """What one image costs: multiply-adds, parameters without BN, and peak activation bytes (float32, batch 1)."""

    macs: int
    params: int
    memory: int


@dataclass(frozen=True)
class Spent:
    """What measuring cost: training images seen (repeats counted), MACs of all passes, and wall seconds.

    A training image costs three forward passes' MACs (forward, and twice that backward), a validation image one.
    """

    images: int = 0
    training_macs: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.images + other.images, self.training_macs + other.training_macs, self.seconds + other.seconds)


@dataclass(frozen=True)
class Evaluation:
    """One candidate measured.

    Attributes:
        cell: the candidate.
        resources: its costs.
        seed: the seed of its initial weights and batches.
        fidelity: how much training it was given, in words: ``20 epochs × 5,000 images``.
        performance: validation accuracy in [0, 1] of the best epoch; None when it failed.
        reason: why it failed; None when it did not.
        ended: why training stopped: ``all epochs``, ``no better for 5 epochs``, ``time limit`` …
        curve: validation accuracy after every epoch.
        correct: for every validation image, in a fixed order, whether the best epoch classified it correctly; None
            where unknown. This is what makes comparisons of candidates paired.
        spent: what measuring it cost.
    """

    cell: Cell
    resources: Resources
    seed: int
    fidelity: str
    performance: float | None
    reason: str | None = None
    ended: str = "all epochs"
    curve: tuple[float, ...] = ()
    correct: tuple[bool, ...] | None = None
    spent: Spent = Spent()

    def __post_init__(self) -> None:
        if (self.performance is None) == (self.reason is None):
            raise ValueError("an evaluation has either a performance or a reason why it failed")
        if self.performance is not None and not math.isfinite(self.performance):
            raise ValueError(f"performance {self.performance} is not a finite number: record the candidate as failed")

    @property
    def failed(self) -> bool:
        """Whether there is no performance."""
        return self.performance is None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `correct` is packed, eight images a byte, in hexadecimal."""
        value = asdict(self) | {"cell": self.cell.to_json(), "curve": list(self.curve)}
        if self.correct is not None:
            value["correct"] = f"{len(self.correct)}:{np.packbits(np.array(self.correct, dtype=bool)).tobytes().hex()}"
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The evaluation that `to_json` wrote."""
        correct = value["correct"]
        if correct is not None:
            count, _, packed = correct.partition(":")
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), dtype=np.uint8), count=int(count))
            correct = tuple(bool(bit) for bit in bits)
        return cls(
            **value
            | {
                "cell": Cell.from_json(value["cell"]),
                "resources": Resources(**value["resources"]),
                "curve": tuple(value["curve"]),
                "correct": correct,
                "spent": Spent(**value["spent"]),
            }
        )


@dataclass(frozen=True)
class Score:
    """S = Perf − λ·log10(Res / 10⁶) (AutoShrink, Eq. 5; the released code's base and constant).

    Args:
        penalty: λ; what one decade of the resource costs, in units of performance.
        resource: which resource.
    """

    penalty: float = 0.1
    resource: ResourceName = "macs"

    def __call__(self, evaluation: Evaluation) -> float:
        """S, or −infinity for a failed evaluation."""
        if evaluation.performance is None:
            return -math.inf
        return self.of(evaluation.performance, evaluation.resources)

    def of(self, performance: float, resources: Resources) -> float:
        """S of a performance at a cost; the resource is positive."""
        return performance - self.penalty * math.log10(self.cost(resources) / 1e6)

    def cost(self, resources: Resources) -> int:
        """The resource that this score weighs."""
        return int(getattr(resources, self.resource))

    def preference(self, evaluation: Evaluation) -> tuple[float, int, int]:
        """Sort key, larger is better: S, then the cheaper cell, then fewer branches."""
        return self(evaluation), -self.cost(evaluation.resources), -evaluation.cell.branches


def pareto_front(evaluations: Iterable[Evaluation], resource: Callable[[Resources], int]) -> tuple[Evaluation, ...]:
    """The evaluations that no other beats in performance without costing more, cheapest first.

    Of equal ones the first is kept; failed ones never enter.
    """
    front: list[Evaluation] = []
    usable = [one for one in evaluations if one.performance is not None]
    for one in sorted(usable, key=lambda one: (resource(one.resources), -(one.performance or 0.0))):
        if not front or (one.performance or 0.0) > (front[-1].performance or 0.0):
            front.append(one)
    return tuple(front)


@dataclass(frozen=True)
class Comparison:
    """How much better one candidate's performance was than another's on the same validation images.

    Attributes:
        difference: first minus second, in units of performance.
        standard_error: of that difference, from the images on which the two disagree; None when unknown.
    """

    difference: float
    standard_error: float | None


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Paired comparison on the shared validation images.

    With b images that only `first` gets right and c that only `second` does, of n, the difference is (b − c)/n with
    standard error √(b + c − (b − c)²/n)/n: images on which both agree carry no noise. (The variance of a paired
    difference of proportions, as in McNemar's test.) It does not contain the noise of training itself.

    Raises:
        InputError: one of the two failed.
    """
    if first.performance is None or second.performance is None:
        raise InputError("a failed candidate has no performance to compare")
    difference = first.performance - second.performance
    if first.correct is None or second.correct is None or len(first.correct) != len(second.correct):
        return Comparison(difference, None)
    gap = np.array(first.correct, dtype=int) - np.array(second.correct, dtype=int)
    variance = float(np.abs(gap).sum() - gap.sum() ** 2 / len(gap))
    return Comparison(difference, math.sqrt(max(variance, 0.0)) / len(gap))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the deviation of a single value is unknown."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
