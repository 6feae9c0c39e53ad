"""What a run leaves for people and scripts, made from its log alone: the result as JSON, the files in its folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from autoshrink import findings, formatting, report
from autoshrink.design import name_of
from autoshrink.files import write_text
from autoshrink.metrics import metric_of
from autoshrink.record import Figures, Retrained, RunRecord
from autoshrink.resources import every_resource
from autoshrink.score import Evaluation


def summary(record: RunRecord, *, run: Path) -> dict[str, Any]:
    """The result object.

    ``best`` and ``complete`` (the starting cell) are null where nothing usable was measured, ``complete`` also where it
    was not measured as ``best`` was: they can always be compared. ``found`` says in one sentence what came out, and
    whether the best cell is better than the start: null where they cannot be compared. Their performance is the
    mean over ``repeats`` trainings with fresh seeds, or the recorded figure where ``repeats`` is 0; the same figure
    stands under the metric's own name. What is not finite is null. Where the steps only estimate, both are those of
    cells trained from scratch, and null before there is one; of a cell that never was, performance and score are null.
    ``playoff`` lists the short trainings from scratch.
    """
    metric = metric_of(record.settings)
    spent, best, complete = record.spent(), record.best(), record.complete()
    trained = [one for one in record.candidates if one.same_as is None]
    return {
        "run": str(run),
        "task": record.settings.task,
        "metric": metric.name,
        "status": "finished" if record.finished else "unfinished",
        "stopped": record.stopped,
        "best": best and _figures(record, best),
        "complete": complete and _figures(record, complete),
        "found": _found(record),
        "cost": {"training_macs": spent.training_macs, f"{metric.sample}s": spent.samples},
        "evaluations": len(trained),
        "failed": sum(one.evaluation.failed for one in trained),
        "shared": len(record.candidates) - len(trained),
        "playoff": [_played(record, one) for one in record.retrained],
        "remeasured": sum(len(repeats) for repeats in record.remeasured.values()),
        "steps": max(0, len(record.decisions) - 1),
        "seconds": round(record.active_seconds, 3),
        "settings": record.settings.to_json(),
    }


def _found(record: RunRecord) -> dict[str, Any]:
    best, complete = record.best(), record.complete()
    value: dict[str, Any] = {
        "headline": formatting.plain(findings.headline(record)),
        "better_than_start": None,
        "score_difference": None,
        "standard_error": None,
        "within_noise": None,
        "at_chance": record.at_chance,
    }
    if best is None or complete is None:
        return value
    difference = findings.gain(best, complete)
    if best.design.key == complete.design.key:
        return value | {"better_than_start": False}
    return value | {
        "better_than_start": difference.score > 0,
        "score_difference": _finite(difference.score),
        "standard_error": None if difference.score_error is None else _finite(difference.score_error),
        "within_noise": None if difference.clear is None else not difference.clear,
    }


def front(record: RunRecord) -> list[dict[str, Any]]:
    """The Pareto front within the limits, of cells measured alike, cheapest first: the content of ``front.json``."""
    return [_figures(record, one) | {"recorded": _recorded(record, one.recorded)} for one in record.front()]


def _figures(record: RunRecord, figures: Figures) -> dict[str, Any]:
    resources, metric = figures.recorded.resources, metric_of(record.settings)
    known = figures.from_scratch
    return {
        name_of(figures.design): figures.design.to_json(),
        "score": _finite(figures.score) if known else None,
        "performance": figures.performance if known else None,
        metric.name: _finite(metric.value(figures.performance)) if known else None,
        "performance_sd": figures.performance_sd,
        "repeats": len(figures.repeats),
        **{one.key: one.json(resources[one.name]) for one in every_resource()},
    }


def _played(record: RunRecord, one: Retrained) -> dict[str, Any]:
    score = _finite(record.settings.score(one.evaluation))
    performance = one.evaluation.performance
    design = one.evaluation.design
    return {name_of(design): design.to_json(), "round": one.round, "performance": performance, "score": score}


def _recorded(record: RunRecord, evaluation: Evaluation) -> dict[str, Any]:
    score = _finite(record.settings.score(evaluation))
    return {"performance": evaluation.performance, "score": score, "seed": evaluation.seed}


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def write_results(folder: Path, record: RunRecord) -> None:
    """``best.cell.json`` (of a network ``best.arch.json``), ``front.json`` and ``report.html`` in the run's folder.

    Raises:
        RunError: a file cannot be written; the log is not touched.
    """
    best = record.best()
    if best is not None:
        write_text(folder / findings.best_file(best.design), pretty(best.design.to_json()), own=True)
    write_text(folder / "front.json", pretty(front(record)), own=True)
    write_text(folder / "report.html", report.render(record, name=str(folder)), own=True)


def pretty(value: object) -> str:
    """JSON for a file."""
    return json.dumps(value, indent=1) + "\n"
