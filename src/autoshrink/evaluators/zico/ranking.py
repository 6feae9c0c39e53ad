"""Cells compared by ZiCo, weighed against what they cost: to choose candidates, or in place of training them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autoshrink.design import Design
from autoshrink.evaluation import Job
from autoshrink.evaluators.zico.score import ZicoScorer, fitted_penalty
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score, Spent
from autoshrink.training.costs import DesignCosts
from autoshrink.training.gradients import LayerGradients

REFERENCE_CELLS = 30
"""Random cells on which the penalty is fitted."""


@dataclass(frozen=True)
class Scale:
    """What makes ZiCo, in nats, comparable with a performance.

    ZiCo grows with every weight (Li et al., 2023): without a resource at its side it asks for the largest cell. λ′ is
    the penalty, nats a decade of the resource, at which ZiCo − λ′·log₁₀(resource) has no rank correlation with the
    resource over random cells.

    Attributes:
        penalty: λ′.
        unit: performance of a nat: λ/λ′, so that S weighs ZiCo as λ′ does.
    """

    penalty: float
    unit: float

    @classmethod
    def fitted(cls, values: Sequence[float], costs: Sequence[int], score: Score) -> Scale:
        """From the ZiCo and the resource of random cells."""
        penalty = fitted_penalty(values, costs)
        return cls(penalty, (score.penalty or 1.0) / penalty if penalty > 0 else 1.0)


class ZicoRanking:
    """ZiCo of cells in units of performance; what it cost adds up until it is asked for.

    Args:
        source: data and networks.
        score: whose penalty and resource ZiCo is weighed with.
        reference: random cells of the search's space, for the scale.
        seed: decides initial weights and batches, the same for all cells.
        threads: CPU threads; None leaves them alone.
        counted: the scale's cost is on record already, by the process that was here before.
        resources: what a design costs; None: counted in the source's networks.
    """

    def __init__(
        self,
        source: LayerGradients,
        score: Score,
        *,
        reference: Callable[[int], Sequence[Design]],
        seed: int,
        threads: int | None = None,
        counted: bool = False,
        resources: Callable[[Design], Resources] | None = None,
    ) -> None:
        self._source = source
        self._score = score
        self._reference = reference
        self._seed = seed
        self._scorer = ZicoScorer(source, draw=seed, threads=threads)
        self._scale: Scale | None = None
        self._costs = resources or DesignCosts(source.architecture)
        self._counted = counted
        self._spent = Spent()

    def resources(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        return self._costs(design)

    def __call__(self, design: Design) -> float:
        """S of the design with its scaled ZiCo as the performance.

        Raises:
            ValueError: a gradient is not finite.
        """
        return self._score.of(self.performance(design), design, self.resources(design))

    def performance(self, design: Design) -> float:
        """ZiCo times the scale's unit."""
        return self._measured(design) * self.scale.unit

    @property
    def scale(self) -> Scale:
        """Fitted when it is first needed."""
        if self._scale is None:
            cells = self._reference(REFERENCE_CELLS)
            costs = [self._score.cost(self.resources(cell)) for cell in cells]
            before = self._spent
            self._scale = Scale.fitted([self._measured(cell) for cell in cells], costs, self._score)
            self._spent = before if self._counted else self._spent
        return self._scale

    def take_spent(self) -> Spent:
        """What was spent since this was last asked."""
        spent, self._spent = self._spent, Spent()
        return spent

    def _measured(self, design: Design) -> float:
        # Nothing is remembered: what a cell costs does not depend on what this process has seen before.
        began = time.monotonic()
        value = self._scorer(design, self._seed)
        self._spent += replace(self._scorer.spent(design), seconds=time.monotonic() - began)
        return value


class ZicoEvaluator:
    """Performance is ZiCo in the scale's units: for the search's steps only.

    Args:
        ranking: the score.
    """

    joint = False
    grace = 0.0

    def __init__(self, ranking: ZicoRanking) -> None:
        self._ranking = ranking

    def resources(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        return self._ranking.resources(design)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Score the jobs in order; see `Evaluator`."""
        for position, job in enumerate(jobs):
            if deadline is not None and time.monotonic() > deadline:
                return
            performance, reason = None, None
            try:
                performance = self._ranking.performance(job.design)
            except ValueError as error:
                reason = str(error)
            found = Evaluation(
                job.design,
                self.resources(job.design),
                job.seed,
                "ZiCo, no training",
                performance,
                reason=reason,
                ended="scored" if reason is None else "failed",
                spent=self._ranking.take_spent(),
            )
            yield position, found
