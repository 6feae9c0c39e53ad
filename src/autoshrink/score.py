"""What a candidate measured, its score, and what a comparison of two candidates is worth.

One direction everywhere: higher is better. A failed candidate has no performance and never wins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from autoshrink.cell import Cell, cell_of
from autoshrink.design import Design, design_from_json, edges_of
from autoshrink.errors import InputError
from autoshrink.resources import RESOURCES, Resource, Resources
from autoshrink.untrusted import brief

OVERFLOW_NATS = 700.0
"""exp of more than this is no float64."""

TIME_LIMIT = "time limit"
"""What ended a training whose time was up: it had fewer epochs than the others."""

LEVELS = 65535
"""Probabilities of images are multiples of one over this: two bytes each in a log."""

FormulaName = Literal["paper", "released-text"]
JudgeName = Literal["performance", "probability"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Spent:
    """What measuring cost: training samples seen (images, or tokens of text; repeats counted), MACs of all passes, and
    wall seconds.

    A training sample costs three forward passes' MACs (forward, and twice that backward), a validation sample one.
    """

    samples: int = 0
    training_macs: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.samples + other.samples, self.training_macs + other.training_macs, self.seconds + other.seconds
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Spent:
        """What `dataclasses.asdict` gave; logs of store version 1 say `images` for `samples`."""
        return cls(value.get("samples", value.get("images", 0)), value["training_macs"], value["seconds"])


@dataclass(frozen=True)
class Evaluation:
    """One candidate measured.

    Attributes:
        design: the candidate.
        resources: its costs.
        seed: the seed of its initial weights and batches.
        fidelity: how much training it was given, in words: ``20 epochs × 5,000 images``.
        performance: of the best epoch: validation accuracy in [0, 1], or −ln perplexity (minus the mean negative
            log-likelihood of a validation token, nats); None when it failed.
        reason: why it failed; None when it did not.
        ended: why training stopped: ``all epochs``, ``no better for 5 epochs``, ``time limit`` …
        curve: validation performance after every epoch.
        correct: for every validation image, in a fixed order, whether the best epoch classified it correctly; None
            where unknown. This, or `parts`, is what makes comparisons of candidates paired.
        parts: for every part of the validation text, in a fixed order, what it adds to the performance, scaled so that
            the mean of all parts is the performance. For every validation image, in the order of `correct`, the
            probability that the best epoch gave its class, a multiple of 1/`LEVELS`, where candidates are judged by
            that; None where they are judged by accuracy.
        spent: what measuring it cost.
        rung: how many comparisons it survived in which others were left behind; 0 where all are measured alike. The
            choice is among those of the highest rung, since others were measured more coarsely.
        weights: what its children may inherit, by the SHA-256 of the file; None where nothing was kept.
    """

    design: Design
    resources: Resources
    seed: int
    fidelity: str
    performance: float | None
    reason: str | None = None
    ended: str = "all epochs"
    curve: tuple[float, ...] = ()
    correct: tuple[bool, ...] | None = None
    parts: tuple[float, ...] | None = None
    spent: Spent = Spent()
    rung: int = 0
    weights: str | None = None

    def __post_init__(self) -> None:
        if (self.performance is None) == (self.reason is None):
            raise ValueError("an evaluation has either a performance or a reason why it failed")
        if self.performance is not None and not math.isfinite(self.performance):
            raise ValueError(f"performance {self.performance} is not a finite number: record the candidate as failed")

    @property
    def cell(self) -> Cell:
        """The design, of a search for cells; raises `InputError` where it is none."""
        return cell_of(self.design)

    @property
    def failed(self) -> bool:
        """Whether there is no performance."""
        return self.performance is None

    @property
    def fullness(self) -> float:
        """How far its training came: ∞ where no clock cut it short, else the epochs that it had by then."""
        return float(len(self.curve)) if self.ended == TIME_LIMIT else math.inf

    @cached_property
    def judged(self) -> float | None:
        """What S is made of and candidates are compared by, in [0, 1] for images: the mean probability of the right
        class where that is known, else the performance; None when it failed."""
        if self.performance is None or self.correct is None or self.parts is None:
            return self.performance
        return float(np.mean(self.parts))

    @property
    def outcomes(self) -> npt.NDArray[np.float64] | None:
        """(n,) what each validation sample contributed to `judged`: `parts`, or `correct` as 0 and 1."""
        found = self.parts if self.parts is not None else self.correct
        return None if found is None else np.array(found, dtype=np.float64)

    def by_performance(self) -> Self:
        """The same, judged by the performance that is reported."""
        return self if self.correct is None else replace(self, parts=None)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `correct` is packed, eight images a byte, and `parts` as float64, both in hexadecimal; those
        of images as 16-bit multiples of 1/`LEVELS`, after their number and a colon.

        `weights` is not in it: the event says it beside, where earlier versions pass over it.
        """
        value = {"cell": self.design.to_json()} | asdict(self) | {"curve": list(self.curve)}
        del value["design"], value["weights"]
        value["resources"] = self.resources.to_json()
        if self.correct is not None:
            value["correct"] = f"{len(self.correct)}:{np.packbits(np.array(self.correct, dtype=bool)).tobytes().hex()}"
        if self.parts is not None:
            value["parts"] = _packed(self.parts, levels=self.correct is not None)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any], read: Callable[[Any], Design] = design_from_json) -> Self:
        """The evaluation that `to_json` wrote; `read` makes its design."""
        correct, parts = value["correct"], value.get("parts")
        rest = {name: field for name, field in value.items() if name != "cell"}
        correct = None if correct is None else _unpacked(correct)
        parts = None if parts is None else _numbers(parts)
        return cls(
            **rest
            | {
                "design": read(value["cell"]),
                "resources": Resources(**value["resources"]),
                "curve": tuple(value["curve"]),
                "correct": correct,
                "parts": parts,
                "spent": Spent.from_json(value["spent"]),
            }
        )


def _unpacked(text: str) -> tuple[bool, ...]:
    """What `to_json` packed of `correct`, for example ``12:fdf0``."""
    match = re.fullmatch(r"(\d{1,9}):([0-9a-f]*)", text, re.ASCII)
    if match is None or 2 * -(-int(match[1]) // 8) != len(match[2]):
        raise InputError(f"correct: {brief(text)} is not a number of samples and as many bits in hexadecimal")
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(match[2]), dtype=np.uint8), count=int(match[1]))
    return tuple(bits.astype(bool).tolist())


def _packed(parts: tuple[float, ...], *, levels: bool) -> str:
    if not levels:
        return np.array(parts, dtype="<f8").tobytes().hex()
    return f"{len(parts)}:{np.rint(np.array(parts) * LEVELS).astype('<u2').tobytes().hex()}"


def _numbers(text: str) -> tuple[float, ...]:
    """What `to_json` packed of `parts`."""
    match = re.fullmatch(r"(\d{1,9}):([0-9a-f]*)", text, re.ASCII)
    if match is not None and 4 * int(match[1]) == len(match[2]):
        return tuple((np.frombuffer(bytes.fromhex(match[2]), dtype="<u2") / LEVELS).tolist())
    if re.fullmatch(r"(?:[0-9a-f]{16})*", text, re.ASCII) is None:
        raise InputError(
            f"parts: {brief(text)} are neither float64 in hexadecimal nor 16-bit levels after their number"
        )
    found = np.frombuffer(bytes.fromhex(text), dtype="<f8")
    if not np.isfinite(found).all():
        raise InputError("parts: one of them is not a finite number")
    return tuple(found.tolist())


@dataclass(frozen=True)
class Score:
    """S: what a performance is worth at a cost.

    Args:
        penalty: λ; what one decade of the resource costs, in units of performance.
        resource: which resource, by name; a latency in nanoseconds, so that Res / 10⁶ is milliseconds.
        formula: ``paper``: S = Perf − λ·log10(Res / 10⁶) (AutoShrink, Eq. 5; the released code's base and constant).
            ``released-text``: what the released search of recurrent cells computes,
            S = ¼·(200 − perplexity) − λ·log10(|E|·n² / 10⁶) with |E| edges and width n; its λ is 1. What has no edges
            has no score there.
    """

    penalty: float = 0.1
    resource: str = "macs"
    formula: FormulaName = "paper"

    def __call__(self, evaluation: Evaluation) -> float:
        """S, or −infinity for a failed evaluation."""
        if evaluation.judged is None:
            return -math.inf
        return self.of(evaluation.judged, evaluation.design, evaluation.resources)

    def of(self, performance: float, design: Design, resources: Resources) -> float:
        """S of a design's performance at its cost."""
        gain, decades = self.terms(performance, design, resources)
        return gain - self.penalty * decades

    def terms(self, performance: float, design: Design, resources: Resources) -> tuple[float, float]:
        """What S is made of, whatever λ is: S = gain − λ·decades. The gain of what has no score is −infinity."""
        if self.formula == "paper":
            # A cell that is its shortcut alone may have no parameters of its own: it counts as if it had one.
            return performance, math.log10(max(1, self.cost(resources)) / 1e6)
        edges = edges_of(design)
        if not edges or -performance > OVERFLOW_NATS:
            return -math.inf, 0.0
        # A cell has 4n² + |E|·2n² parameters.
        products = resources["cell_params"] * edges / (4 + 2 * edges)
        return (200 - math.exp(-performance)) / 4, math.log10(products / 1e6)

    def slope(self, performance: float) -> float:
        """dS/dPerf: turns a standard error of performance into one of S."""
        return 1.0 if self.formula == "paper" else math.exp(min(-performance, OVERFLOW_NATS)) / 4

    def cost(self, resources: Resources) -> int:
        """The resource that this score weighs."""
        return resources[self.resource]

    @property
    def weighs(self) -> Resource:
        """The resource itself: its title and its unit."""
        return RESOURCES[self.resource]

    def weighed(self, resources: Resources) -> str:
        """What a cell costs in the resource that this score weighs: ``5.2M MACs``."""
        return f"{self.weighs.unit.short(self.cost(resources))} {self.weighs.title}"

    def preference(self, evaluation: Evaluation) -> tuple[float, int, int]:
        """Sort key, larger is better: S, then the cheaper design, then fewer branches of a cell."""
        branches: int = getattr(evaluation.design, "branches", 0)
        return self(evaluation), -self.cost(evaluation.resources), -branches


def undominated(
    items: Iterable[Item], cost: Callable[[Item], float], performance: Callable[[Item], float]
) -> tuple[Item, ...]:
    """The items that no other beats in performance without costing more, cheapest first; of equal ones the first."""
    front: list[Item] = []
    for one in sorted(items, key=lambda one: (cost(one), -performance(one))):
        if not front or performance(one) > performance(front[-1]):
            front.append(one)
    return tuple(front)


def pareto_front(evaluations: Iterable[Evaluation], resource: Callable[[Resources], int]) -> tuple[Evaluation, ...]:
    """The evaluations that no other beats in what is judged without costing more, cheapest first.

    Of equal ones the first is kept; failed ones never enter.
    """
    usable = (one for one in evaluations if not one.failed)
    return undominated(usable, lambda one: resource(one.resources), lambda one: one.judged or 0.0)


@dataclass(frozen=True)
class Comparison:
    """How much better one candidate was than another, by what is judged, on the same validation samples.

    Attributes:
        difference: first minus second, in units of what is judged (`Evaluation.judged`).
        standard_error: of that difference, from the samples on which the two differ; None when unknown.
    """

    difference: float
    standard_error: float | None


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Paired comparison on the shared validation samples.

    With dᵢ what sample i, of n, gives to the first more than to the second, the standard error of the mean of d is
    √(Σd² − (Σd)²/n)/n: samples on which both agree carry no noise. For images, where b are right only in `first` and c
    only in `second`, that is √(b + c − (b − c)²/n)/n, the variance of a paired difference of proportions, as in
    McNemar's test. Probabilities of the right class say more than whether it was the largest, and their paired
    difference has less noise (benchmarks/belief.py). It does not contain the noise of training itself.

    Raises:
        InputError: one of the two failed.
    """
    if first.judged is None or second.judged is None:
        raise InputError("a failed candidate has no performance to compare")
    difference = first.judged - second.judged
    one, other = first.outcomes, second.outcomes
    if one is None or other is None or len(one) != len(other):
        return Comparison(difference, None)
    gap = one - other
    variance = float((gap**2).sum() - gap.sum() ** 2 / len(gap))
    return Comparison(difference, math.sqrt(max(variance, 0.0)) / len(gap))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the deviation of a single value is unknown."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
