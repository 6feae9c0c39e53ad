"""A strategy and an evaluator that this package does not know: operations are changed, and worth is made up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from autoshrink import ops
from autoshrink.cell import Cell, cell_of
from autoshrink.change import ChangedOp
from autoshrink.design import Design
from autoshrink.evaluation import EvaluatorContext, EvaluatorKind, Job
from autoshrink.registry import EVALUATORS, STRATEGIES
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.seeding import derive_seed
from autoshrink.strategies import Choice, Proposal, Strategy, StrategyContext, best_first, choice, refuse_others


class OneOperation(Strategy):
    """Step n gives node n every other operation, and goes on with the best."""

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._cell = cell_of(context.start)
        self._step = 0

    def ask(self) -> tuple[Proposal, ...]:
        cell, node = self._cell, self._step
        if node == 0:
            return (Proposal(0, 0, cell),)
        if node == len(cell.ops):
            return ()
        others = [op for op in sorted(ops.names(cell.kind)) if op not in ("input", cell.ops[node])][:2]
        changed = [(Cell(cell.kind, (*cell.ops[:node], op, *cell.ops[node + 1 :]), cell.edges), op) for op in others]
        kept = [one for one in changed if self._context.allowed(one[0])]
        return tuple(Proposal(node, index, one, cell, ChangedOp(node, op)) for index, (one, op) in enumerate(kept))

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        refuse_others(self.ask(), evaluations)
        ranked = best_first(evaluations, self._context.score)
        self._cell = evaluations[ranked[0]].cell
        self._step += 1
        return choice(ranked[0], ranked, evaluations)

    def over(self) -> str:
        return "every node has been changed"

    def outlook(self) -> tuple[int, ...]:
        left = len(self._cell.ops) - self._step
        return (*((1,) if self._step == 0 else ()), *[2] * (left - (self._step == 0)))


class MadeUp:
    """Worth from the cell and the seed alone."""

    joint, grace = False, 0.0

    def __init__(self, context: EvaluatorContext) -> None:
        self._resources = context.resources

    def resources(self, design: Design) -> Resources:
        return self._resources(design)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        for position, job in enumerate(jobs):
            if deadline is not None and deadline <= 0:
                return
            worth = 0.5 + 0.1 * random.Random(derive_seed(job.seed, job.cell.key)).random()
            yield position, Evaluation(job.cell, self.resources(job.cell), job.seed, "made up", worth, spent=Spent())


STRATEGIES.register("one-operation", OneOperation)
EVALUATORS.register("made-up", EvaluatorKind(MadeUp, relative=True, trains=False))
