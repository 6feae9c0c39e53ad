"""What a run leaves for people and scripts, made from its log alone: the result as JSON, the files in its folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from autoshrink import findings, formatting, report
from autoshrink.cell import Cell
from autoshrink.design import Design, name_of
from autoshrink.files import write_text
from autoshrink.learned import learned
from autoshrink.metrics import metric_of
from autoshrink.record import Candidate, Figures, Forced, Retrained, RunRecord
from autoshrink.report import agreement
from autoshrink.resources import RESOURCES, every_resource
from autoshrink.score import Evaluation


def summary(record: RunRecord, *, run: Path) -> dict[str, Any]:
    """The result object.

    ``best`` and ``complete`` (the starting cell) are null where nothing usable was measured, ``complete`` also where it
    was not measured as ``best`` was: they can always be compared. ``found`` says in one sentence what came out, and
    whether the best cell is better than the start: null where they cannot be compared. Their performance is the
    mean over ``repeats`` trainings with fresh seeds, or the recorded figure where ``repeats`` is 0; the same figure
    stands under the metric's own name. What is not finite is null. Where the steps only estimate, both are those of
    cells trained from scratch, and null before there is one; of a cell that never was, performance and score are null.
    ``agreement`` says how estimates ordered the cells that were trained from scratch, null where too few were;
    ``playoff`` lists the short trainings from scratch, ``beside`` what was measured at the cost of what was found; what
    a strategy has learned (`autoshrink.learned`) has names of its own. ``commands`` are those that the search was told,
    ``forced`` where they let it go on otherwise than it would have, ``unforced`` what would be named without them where
    that is another, ``penalties`` each λ with the step from which on it held, ``ends`` the ends that were gone on from.
    Over a range of budgets ``best``, ``complete`` and ``beside`` are those of the largest that is done, counts are of
    all of them, and ``octaves`` says of each what this says of a search at one.
    """
    metric, parts = metric_of(record.settings), record.parts
    own = [_forced(part, one) for part in parts for one in part.forced()]
    spent, best, complete = record.spent(), record.best(), record.complete()
    trained = [one for part in parts for one in part.candidates if one.same_as is None]
    return {
        "run": str(run),
        "task": record.settings.task,
        "metric": metric.name,
        "status": "finished" if record.finished else "unfinished",
        "stopped": record.stopped,
        "best": best and _figures(record, best),
        "complete": complete and _figures(record, complete),
        "found": _found(record),
        "beside": [_beside(record, row) for row in findings.beside(record)],
        "cost": {"training_macs": spent.training_macs, f"{metric.sample}s": spent.samples},
        "evaluations": len(trained),
        "failed": sum(one.evaluation.failed for one in trained),
        "shared": sum(len(part.candidates) for part in parts) - len(trained),
        "agreement": [_agreement(one) for one in agreement.agreements(record)],
        "playoff": [_played(part, one) for part in parts for one in part.retrained],
        "remeasured": sum(len(repeats) for part in parts for repeats in part.remeasured.values()),
        "steps": sum(max(0, len(part.decisions) - 1) for part in parts),
        "commands": [one.to_json() for one in record.commands],
        "forced": own,
        "penalties": [{"step": step, "penalty": penalty} for step, penalty in record.penalties],
        "ends": [_end(one) for one in record.ends],
        "unforced": _unforced(record),
        "seconds": round(record.active_seconds, 3),
        **({"octaves": [_octave(one) for one in record.octaves]} if record.settings.budget.ranged else {}),
        "settings": record.settings.to_json(),
        **({} if record.octaves else learned(record)),
    }


def _forced(record: RunRecord, one: Forced) -> dict[str, Any]:
    return {
        "step": one.step,
        "command": one.by.id,
        "author": one.by.author,
        "reason": one.reason,
        "preferred": _placed(record, one.preferred),
        "instead": one.picked and _placed(record, one.picked),
    }


def _placed(record: RunRecord, one: Candidate) -> dict[str, Any]:
    """A candidate of a step by the name that `pick` knows."""
    place = {"candidate": f"{one.step}.{one.index}", "step": one.step, "index": one.index}
    return {**place, **_design(record, one.design), **_recorded(record, one.evaluation)}


def _end(record: RunRecord) -> dict[str, Any]:
    """An end that was gone on from."""
    best = record.best()
    return {"stopped": record.stopped, "best": best and _figures(record, best)}


def _unforced(record: RunRecord) -> dict[str, Any] | None:
    """What would be named if commands held nothing; null where that is what is named."""
    if not record.steering.constraints:
        return None
    best, other = record.best(), record.unforced()
    return None if other is None or (best and best.design.key == other.design.key) else _figures(record, other)


def _found(record: RunRecord) -> dict[str, Any]:
    best, complete = record.best(), record.complete()
    other = None if best is None else record.role(best.design)
    value: dict[str, Any] = {
        "headline": formatting.plain(findings.headline(record)),
        "role": other.role if other else best and ("start" if record.is_start(best.design) else "found"),
        "better_than_start": None,
        "score_difference": None,
        "standard_error": None,
        "within_noise": None,
        "at_chance": record.at_chance,
    }
    if best is None or complete is None:
        return value
    difference = findings.gain(best, complete)
    if best.design.key == complete.design.key or (other and other.role == "start"):
        return value | {"better_than_start": False}
    return value | {
        "better_than_start": difference.score > 0,
        "score_difference": _finite(difference.score),
        "standard_error": None if difference.score_error is None else _finite(difference.score_error),
        "within_noise": None if difference.clear is None else not difference.clear,
    }


def _octave(record: RunRecord) -> dict[str, Any]:
    """Of the search at one budget of a range."""
    whole = summary(record, run=Path())
    kept = ("status", "stopped", "best", "complete", "found", "cost", "evaluations", "remeasured", "steps", "seconds")
    return _budget(record) | {key: whole[key] for key in kept}


def _budget(record: RunRecord) -> dict[str, Any]:
    """The budget, the file of the best there, and what the best hand-made network is called."""
    start, limits = record.complete(), record.settings.budget.given()
    return {
        "budget": {RESOURCES[name].key: RESOURCES[name].json(limit) for name, limit in limits.items()},
        "file": findings.budget_file(record),
        "hand_made": None if start is None else record.names.get(start.design.key),
    }


def _beside(record: RunRecord, row: findings.Row) -> dict[str, Any]:
    best = record.best()
    return {
        "role": row.role,
        "what": formatting.plain(row.what),
        "of": row.of,
        "best": best is not None and best.design.key == row.figures.design.key,
        **_figures(record, row.figures),
        "performance_standard_error": row.error,
        "score_standard_error": row.score_error,
        "score_difference": row.against and _finite(row.against.score),
    }


def front(record: RunRecord) -> list[dict[str, Any]]:
    """The Pareto front within the limits, of cells measured alike, cheapest first: the content of ``front.json``.

    Over a range of budgets it is the best at each that is done, with the budget, the best hand-made network there, and
    whether the best at a smaller budget was as good (``dominated``).
    """
    if not record.octaves:
        return [_on_front(record, one) for one in record.front()]
    rows, found = findings.octave_rows(record), []
    for (octave, best, start), smaller in zip(rows, findings.as_good_before(rows), strict=True):
        more = {"complete": start and _figures(octave, start), "dominated": smaller is not None}
        found.append(_on_front(octave, best) | _budget(octave) | more)
    return found


def _on_front(record: RunRecord, figures: Figures) -> dict[str, Any]:
    return _figures(record, figures) | {"recorded": _recorded(record, figures.recorded)}


def _figures(record: RunRecord, figures: Figures) -> dict[str, Any]:
    resources, metric = figures.recorded.resources, metric_of(record.settings)
    known = figures.from_scratch
    return {
        **_design(record, figures.design),
        "score": _finite(figures.score) if known else None,
        "performance": figures.performance if known else None,
        metric.name: _finite(metric.value(figures.performance)) if known else None,
        "performance_sd": figures.performance_sd,
        "repeats": len(figures.repeats),
        **{one.key: one.json(resources[one.name]) for one in every_resource()},
    }


def _design(record: RunRecord, design: Design) -> dict[str, Any]:
    """Under its name; of a network that a search for cells names, its one cell too."""
    found: dict[str, Any] = {name_of(design): design.to_json()}
    cell = _own_cell(record, design)
    return found if cell is None else found | {"cell": cell.to_json()}


def _own_cell(record: RunRecord, design: Design) -> Cell | None:
    """The cell that a network in a search for cells is made of; None where it has none, or several."""
    cells: dict[str, Cell] = getattr(design, "cells", {})
    return next(iter(cells.values())) if isinstance(record.start, Cell) and len(cells) == 1 else None


def _agreement(one: agreement.Agreement) -> dict[str, Any]:
    value: dict[str, Any] = {"trained": one.where, "by": one.predictor, "cells": one.cells}
    for name in ("performance", "score"):
        interval = getattr(one, f"{name}_interval")
        value |= {f"{name}_rho": getattr(one, name), f"{name}_interval": interval and list(interval)}
    return value


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
    """``best.cell.json`` (of a network ``best.arch.json``, and that of its cell where cells were searched),
    ``front.json`` and ``report.html`` in the run's folder; what a strategy has learned in ``blocks.json`` or
    ``meta-graph.json``.

    Over a range of budgets also ``best-500k.arch.json`` and so on; ``best.arch.json`` is that of the largest done.

    Raises:
        RunError: a file cannot be written; the log is not touched.
    """
    best = record.best()
    if best is not None:
        cell = _own_cell(record, best.design)
        for one in (best.design, *(() if cell is None else (cell,))):
            write_text(folder / findings.best_file(one), pretty(one.to_json()), own=True)
    for octave, found, _ in findings.octave_rows(record):
        write_text(folder / findings.budget_file(octave), pretty(found.design.to_json()), own=True)
    for name, value in {} if record.octaves else learned(record).items():
        write_text(folder / f"{name.replace('_', '-')}.json", pretty(value), own=True)
    write_text(folder / "front.json", pretty(front(record)), own=True)
    write_text(folder / "report.html", report.render(record, name=str(folder)), own=True)


def finite(value: Any) -> Any:
    """Of JSON, with null for numbers that are not finite: JSON has none."""
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value


def pretty(value: object) -> str:
    """JSON for a file."""
    return json.dumps(value, indent=1) + "\n"
