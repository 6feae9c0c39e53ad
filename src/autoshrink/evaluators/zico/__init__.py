"""ZiCo as a plug-in: an evaluator that trains nothing, and a filter that chooses a step's candidates.

Nothing here imports torch before one of them is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.errors import InputError
from autoshrink.evaluation import Evaluator, EvaluatorContext, EvaluatorKind, EvaluatorWords, Filter
from autoshrink.metrics import Metric
from autoshrink.priors import random_cells
from autoshrink.seeding import derive_seed

if TYPE_CHECKING:
    from autoshrink.cell import Cell
    from autoshrink.evaluators.zico.ranking import ZicoRanking


def make_ranking(context: EvaluatorContext) -> ZicoRanking:
    """What orders the cells of a run.

    Raises:
        InputError: the task has no gradients by layer, or too few nodes for the penalty to be fitted.
    """
    return _ranking(context, counted=bool(context.record.ranks))


def _ranking(context: EvaluatorContext, *, counted: bool) -> ZicoRanking:
    from autoshrink.evaluators.zico.ranking import ZicoRanking  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink.training.gradients import LayerGradients  # noqa: PLC0415

    settings, problem = context.settings, context.problem
    if not isinstance(problem, LayerGradients):
        raise InputError(f"the task {settings.task!r} has no gradients that ZiCo could score; leave zico out")
    seed = derive_seed(settings.seed, "zico")
    return ZicoRanking(
        problem,
        settings.score,
        reference=lambda count: _reference(context.record.start.kind, settings.nodes, count, seed),
        seed=seed,
        threads=settings.threads,
        counted=counted,
        resources=context.resources,
    )


def _reference(kind: str, nodes: int, count: int, seed: int) -> tuple[Cell, ...]:
    """So many random cells, or fewer where so few nodes have no more different ones."""
    for wanted in range(count, 2, -1):
        try:
            return random_cells(kind, nodes, wanted, seed)
        except InputError:
            continue
    raise InputError(f"--nodes {nodes}: too few different cells to weigh ZiCo against their cost; take more nodes")


def _evaluator(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.zico.ranking import ZicoEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return ZicoEvaluator(_ranking(context, counted=bool(context.record.candidates)))


def scaled(usual: Metric) -> Metric:
    """ZiCo in units of a task's performance, which makes it no performance: nothing was trained."""
    return Metric(
        name="scaled ZiCo",
        sample=usual.sample,
        validation=usual.validation,
        piece=usual.piece,
        resources=usual.resources,
        axis="Scaled ZiCo, nothing trained",
        trained=False,
    )


ZICO = EvaluatorKind(
    _evaluator,
    relative=True,
    trains=False,
    metric=scaled,
    words=EvaluatorWords(
        done="scored by ZiCo without training",
        measured="no training at all",
        note="The steps compare scaled ZiCo, a score of untrained networks. It is no {metric}, and how well it ranks "
        "is measured below.",
        compared="Scaled ZiCo has no standard error.",
        candidate="candidate, not trained",
        chosen="chosen by ZiCo",
        predictor="ZiCo",
    ),
)
FILTER = Filter(make_ranking, "ZiCo", "S with scaled ZiCo as the performance")
