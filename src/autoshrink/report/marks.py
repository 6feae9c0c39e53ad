"""What the charts mark: candidates, and cells trained from scratch where the candidates are only estimates."""

from __future__ import annotations

from dataclasses import dataclass

from autoshrink import formatting
from autoshrink.metrics import METRICS
from autoshrink.record import Candidate, Retrained, RunRecord
from autoshrink.report import evidence, story
from autoshrink.score import Evaluation


@dataclass(frozen=True)
class Point:
    """One mark.

    Attributes:
        evaluation: what is marked.
        kind: its CSS classes.
        key: ties the marks of one candidate together.
        tip: what it says when it is pointed at.
        trail: whether the line of the search's decisions goes through it.
    """

    evaluation: Evaluation
    kind: str
    key: str
    tip: str
    trail: bool = False


def points(record: RunRecord, *, quantity: str) -> tuple[Point, ...]:
    """The marks of a panel.

    Costs are exact, and marked of every candidate. Where the steps only estimate, performances and scores are those of
    the playoff; estimates with inherited weights stand beside them in a lighter style, and ZiCo (``zico``) has a panel
    of its own.
    """
    relative, evaluator = record.settings.relative, record.settings.evaluator
    if not relative:
        return _candidates(record, style="")
    if quantity in ("cost", "zico"):
        return _candidates(record, style=" estimate")
    shown = tuple(_retrained(record, one) for one in _last(record))
    if evaluator == "zico":
        return shown
    return _candidates(record, style=" estimate") + shown


def _candidates(record: RunRecord, *, style: str) -> tuple[Point, ...]:
    chosen, tips = {(one.step, one.index) for one in record.chosen()}, story.tips(record)
    return tuple(
        Point(
            one.evaluation,
            _kind(record, one.evaluation, chosen=place in chosen, style=_style(record, one, style)),
            f"{one.step}.{one.index}",
            tips[place],
            trail=place in chosen,
        )
        for one in record.candidates
        for place in [(one.step, one.index)]
    )


def _style(record: RunRecord, one: Candidate, style: str) -> str:
    """The starting cell of an inherited run was trained from scratch."""
    trained = one.step == 0 and record.settings.evaluator == "inherited"
    return " scratch" if style and trained else style


def _kind(record: RunRecord, evaluation: Evaluation, *, chosen: bool, style: str) -> str:
    if chosen:
        return f"dot{style} chosen"
    broken = record.settings.limits.broken_by(evaluation.resources) is not None
    return f"dot{style} broken" if broken else f"dot{style}"


def _last(record: RunRecord) -> tuple[Retrained, ...]:
    """Each cell's last training in the playoff."""
    return tuple({one.evaluation.cell.key: one for one in record.retrained}.values())


def _retrained(record: RunRecord, one: Retrained) -> Point:
    evaluation, settings, metric = one.evaluation, record.settings, METRICS[record.settings.task]
    place = f"playoff, round {one.round + 1}: {evaluation.fidelity}"
    if evaluation.performance is None:
        shown = f"failed: {evaluation.reason}"
    else:
        shown = (
            f"S {formatting.number(settings.score(evaluation), 4)} · "
            f"{metric.name} {metric.write(evaluation.performance, fine=True)}"
        )
    edges = formatting.count(len(evaluation.cell.edges), "edge")
    costs = f"{settings.score.weighed(evaluation.resources)} · {edges}"
    kind = _kind(record, evaluation, chosen=False, style=" scratch")
    return Point(evaluation, kind, f"playoff.{one.round}.{one.index}", f"{place}\n{shown}\n{costs}")


def landmark(record: RunRecord, name: str) -> Evaluation | None:
    """The training that the ring of the ``best`` or the ``start`` stands around; None where there is none."""
    found = record.best() if name == "best" else record.complete()
    if found is None:
        return None
    if record.from_scratch(found.recorded):
        return found.recorded
    again = evidence.last_of_playoff(record).get(found.cell.key)
    return again if again is not None and not again.failed else None
