"""The ways to measure a step's candidates, by name (`autoshrink.registry.EVALUATORS`). Nothing here imports torch."""

from autoshrink.evaluation import Evaluator, EvaluatorContext, EvaluatorKind


def _trained(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.trained import TrainedEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return TrainedEvaluator.of(context)


def _inherited(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.inherited import InheritedEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return InheritedEvaluator.of(context)


TRAINED = EvaluatorKind(_trained)
INHERITED = EvaluatorKind(
    _inherited,
    relative=True,
    metric=lambda usual: usual.estimated(),
    how="estimated with inherited weights",
    needs="inherit",
)
