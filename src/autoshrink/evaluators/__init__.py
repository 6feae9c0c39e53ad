"""The ways to measure a step's candidates, by name (`autoshrink.registry.EVALUATORS`). Nothing here imports torch."""

from autoshrink.evaluation import Evaluator, EvaluatorContext, EvaluatorKind, EvaluatorWords


def _trained(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.trained import TrainedEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return TrainedEvaluator.of(context)


def _inherited(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.inherited import InheritedEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return InheritedEvaluator.of(context)


def _shared(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.shared import SharedEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return SharedEvaluator.of(context)


def _grown(context: EvaluatorContext) -> Evaluator:
    from autoshrink.evaluators.grown import GrownEvaluator  # noqa: PLC0415 - torch takes seconds to import

    return GrownEvaluator.of(context)


TRAINED = EvaluatorKind(_trained)
INHERITED = EvaluatorKind(
    _inherited,
    relative=True,
    metric=lambda usual: usual.estimated(),
    words=EvaluatorWords(
        done="estimated with inherited weights",
        measured="an estimate with inherited weights",
        note="The figures of the steps are estimates: each child has its parent's weights, and is judged on a share of "
        "the validation samples. They compare the candidates of one step, and say little across steps.",
        compared="The better half of a step, without those that were clearly worse, was compared again on more samples "
        "(survived: how many such comparisons). A removal that makes a new leaf is taken before the best where it is "
        "not clearly behind.",
        candidate="estimate with inherited weights",
        chosen="chosen by estimate",
        predictor="estimate with inherited weights",
    ),
    needs="inherit",
)
SHARED = EvaluatorKind(
    _shared,
    relative=lambda settings: settings.shared.tune > 0,
    estimates=True,
    start_from_scratch=False,
    shares=True,
    metric=lambda usual: usual.estimated(),
    words=EvaluatorWords(
        done="judged with shared weights",
        measured="an estimate with shared weights",
        note="The figures of the steps are estimates: all candidates share the weights of one network, which was "
        "trained with a cell drawn for every batch. How well they rank is measured below, and never assumed.",
        compared="All candidates were judged on all validation samples.",
        candidate="estimate with shared weights",
        chosen="chosen by estimate",
        predictor="estimate with shared weights",
    ),
    needs="cuts",
)
GROWN = EvaluatorKind(
    _grown,
    relative=True,
    metric=lambda usual: usual.estimated(),
    words=EvaluatorWords(
        done="grown and trained further, or weighed by the gradient of what would be new",
        measured="an estimate with inherited weights",
        note="The figures of the steps are estimates. Where a step has several candidates, each has its parent's "
        "figure and what the loss would fall by to first order in a small step; one that stands alone has grown from "
        "its parent and trained further.",
        compared="The candidates of a step were compared by their first-order gain, which has no standard error.",
        candidate="candidate, by its gradient",
        chosen="grown",
        predictor="first-order gain",
    ),
    needs="inherit",
)
