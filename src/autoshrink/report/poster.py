"""A run as one picture: for a README or a talk."""

from __future__ import annotations

from dataclasses import replace

from autoshrink import drawing, findings
from autoshrink.metrics import metric_of
from autoshrink.record import RunRecord
from autoshrink.registry import TASKS
from autoshrink.report import octaves, run_charts
from autoshrink.report.page import cost_words, size_words
from autoshrink.report.run_charts import Box
from autoshrink.report.templates import asset, filled


def summary_svg(record: RunRecord, *, name: str) -> str:
    """A picture of a run: the cells, the trajectory, the front and the headline figures.

    Args:
        record: the run, as replayed from its events.
        name: the run folder's name, as the person gave it.
    """
    if record.octaves:
        return filled(
            "octaves.svg.j2",
            name=name,
            record=record,
            findings=findings,
            octaves=octaves,
            rows=findings.octave_rows(record),
            metric=metric_of(record.settings),
            style=asset("poster.css"),
        )
    return filled(
        "poster.svg.j2",
        name=name,
        record=record,
        findings=findings,
        metric=metric_of(record.settings),
        style=asset("poster.css") + drawing.CELL_STYLE,
        arrange=drawing.arrange,
        cell_marks=drawing.cell_marks,
        cost_words=cost_words,
        track=replace(run_charts.tracks(record)[0], name=f"Score S against {run_charts.way(record).title} →"),
        score=Box(636.0, 232.0, 1164.0, 372.0),
        front=Box(636.0, 436.0, 1164.0, 564.0),
        track_marks=run_charts.track_marks,
        way_foot=run_charts.way_foot,
        picture=TASKS[record.settings.task].picture,
        size=size_words,
        front_marks=run_charts.front_marks,
    )
