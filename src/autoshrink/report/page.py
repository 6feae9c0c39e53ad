"""The report: one HTML page with everything inline. It asks the network for nothing and reads without JavaScript."""

from __future__ import annotations

import json
from html import escape
from importlib import resources

from autoshrink import drawing, words
from autoshrink.cell import Cell
from autoshrink.record import Figures, RunRecord
from autoshrink.report import facts, figures, film, story
from autoshrink.score import Resources

ARXIV = "https://arxiv.org/abs/1911.09251"


def render(record: RunRecord, *, name: str) -> str:
    """The page of a run, finished or not.

    Args:
        record: the run, as replayed from its events.
        name: the run folder's name, as the person gave it.
    """
    sections = (
        _header(record, name),
        _cells(record),
        _trajectory(record),
        _film(record),
        facts.decisions(record),
        facts.failures(record),
        facts.background(record),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(name)} · autoshrink</title>'
        f"<style>{_asset('style.css')}{drawing.CELL_STYLE}</style></head><body><main>{''.join(sections)}</main>"
        f"{_footer(record)}<script>{_asset('page.js')}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return resources.files("autoshrink.report").joinpath(name).read_text(encoding="utf-8")


def _section(title: str, body: str, *, note: str = "") -> str:
    """A section; `body` is markup, `title` and `note` are text."""
    shown = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{shown}{body}</section>" if body else ""


# --- what was found ------------------------------------------------------------------------------------------------


def _header(record: RunRecord, name: str) -> str:
    kind = "status" if record.finished else "status open"
    return (
        f'<header><p class="eyebrow"><span>autoshrink run <b>{escape(name)}</b></span>'
        f'<span>{words.moment(record.created_at)}</span><span class="{kind}">{escape(story.status(record))}</span></p>'
        f'<h1>{escape(story.headline(record))}</h1><p class="lede">{escape(_lede(record))}</p>{_stats(record)}</header>'
    )


def _lede(record: RunRecord) -> str:
    best, complete = record.best(), record.complete()
    spent = words.spent(record.spent())
    tried = f"{words.count(len(record.candidates), 'cell')} measured"
    if best is None:
        reason = f" The search ended: {record.stopped}." if record.stopped else ""
        return f"{tried}, none usable within the limits: {spent}.{reason}"
    of = f"Accuracy on validation images: {story.measured_words(best)}"
    if complete and complete.cell.key != best.cell.key:
        of += f"; the {story.start_word(record)}: {story.measured_words(complete)}"
    caution = "" if best.repeats else " A best of many noisy figures is biased upwards."
    return f"{of}.{caution} {tried}: {spent}."


def _stats(record: RunRecord) -> str:
    best, complete = record.best(), record.complete()
    if best is None:
        return ""
    other = None if complete is None or complete.cell.key == best.cell.key else complete
    spread = "" if best.performance_sd is None else f" <small>± {100 * best.performance_sd:.1f}</small>"
    rows = [
        _stat("accuracy", best.performance, words.percent(best.performance) + spread, _accuracy_change(record, other)),
        _stat("score S", best.score, words.number(best.score, 3), _score_change(record, other)),
    ]
    for field, title in words.RESOURCE.items():
        new = getattr(best.recorded.resources, field)
        old = getattr(other.recorded.resources, field) if other else None
        delta = None if old is None else (words.change(new, old), f"{_start(record)} {words.resource(old, field)}")
        rows.append(_stat(title, new, words.resource(new, field), delta, worse="+"))
    return f'<dl class="stats">{"".join(rows)}</dl>'


def _start(record: RunRecord) -> str:
    return story.start_word(record).removesuffix(" graph").removesuffix("ing cell") + ":"


def _accuracy_change(record: RunRecord, other: Figures | None) -> tuple[str, str] | None:
    best = record.best()
    if best is None or other is None:
        return None
    difference = story.gain(best, other)
    error = "" if difference.accuracy_error is None else f" (s.e.{words.THIN}{100 * difference.accuracy_error:.1f})"
    return words.points(difference.accuracy) + error, f"{_start(record)} {story.accuracy_words(other)}"


def _score_change(record: RunRecord, other: Figures | None) -> tuple[str, str] | None:
    best = record.best()
    if best is None or other is None:
        return None
    return words.signed(best.score - other.score, 3), f"{_start(record)} {words.number(other.score, 3)}"


def _stat(title: str, value: float, shown: str, delta: tuple[str, str] | None, *, worse: str = "−") -> str:
    """One figure; `delta` is its change against the starting cell and that cell's own figure.

    `worse` is the sign of a change for the worse.
    """
    change, reference = delta or ("", "")
    kind = "delta worse" if change.startswith(worse) else "delta"
    return (
        f'<div><dt>{escape(title)}</dt><dd class="big"><data value="{value!r}">{shown}</data></dd>'
        f'<dd class="{kind}">{escape(change)}</dd><dd class="ref">{escape(reference)}</dd></div>'
    )


# --- the cells -----------------------------------------------------------------------------------------------------


def _cells(record: RunRecord) -> str:
    best = record.best()
    if best is None:
        return _section(
            "The starting cell",
            f'<div class="cells">{_cell_figure(record.start, story.start_word(record), None)}</div>',
        )
    complete = record.complete()
    start = _cell_figure(record.start, story.start_word(record), complete.recorded.resources if complete else None)
    shown = _cell_figure(best.cell, "best cell", best.recorded.resources)
    file = (
        f'<div class="file"><figure><figcaption><b>Cell file</b>, save it as <code>best.cell.json</code></figcaption>'
        f'<pre id="cell-file">{escape(cell_file(best.cell))}</pre></figure>'
        '<button type="button" class="copy" data-copy="cell-file">Copy</button></div>'
    )
    note = "Data flow downwards. Leaves are concatenated; the dashed line is the cell's shortcut."
    if best.cell.kind == "recurrent":
        note = "Data flow downwards. The output is the mean of the leaves."
    body = f'<div class="cells">{shown}<div class="small">{start}</div>{file}</div>'
    return _section("The best cell" if record.finished else "The best cell so far", body, note=note)


def _cell_figure(cell: Cell, name: str, costs: Resources | None) -> str:
    caption = f"<b>{escape(name[0].upper() + name[1:])}</b>, {words.count(len(cell.edges), 'edge')}"
    if costs:
        caption += f", {words.quantity(costs.macs)} MACs"
    layout = drawing.arrange(cell)
    picture = drawing.cell_svg(cell, layout=layout, standalone=False)
    # A small cell would otherwise fill its column at twice the size of the text around it.
    picture = f'<div style="max-width:{1.3 * layout.width:.0f}px">{picture}</div>'
    return f"<figure><figcaption>{caption}</figcaption>{picture}</figure>"


def cell_file(cell: Cell) -> str:
    """The cell file's text, one line a field."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in cell.to_json().items())
    return f"{{\n{lines}\n}}"


# --- the search ----------------------------------------------------------------------------------------------------

_LEGEND = (
    ('<circle class="dot" cx="11" cy="7" r="3"/>', "candidate"),
    ('<path class="trail" d="M0 7h22"/><circle class="dot chosen" cx="11" cy="7" r="3.6"/>', "chosen"),
    ('<path class="failed" d="M7.5 3.5l7 7m0-7l-7 7"/>', "failed"),
    ('<path class="error" d="M11 0v14"/><path class="again" d="M11 2l5 5-5 5-5-5z"/>', "fresh seeds, mean ± sd"),
    ('<circle class="ring best" cx="11" cy="7" r="6"/>', "best"),
    ('<circle class="ring" cx="11" cy="7" r="6"/>', "start"),
    ('<path class="front" d="M0 12h11V3h11"/>', "Pareto front"),
)


def _trajectory(record: RunRecord) -> str:
    if not record.candidates:
        return _section("The search", '<p class="note">Nothing has been measured yet.</p>')
    legend = "".join(
        f'<li><svg viewBox="0 0 22 14" aria-hidden="true">{mark}</svg>{name}</li>' for mark, name in _LEGEND
    )
    settings = record.settings
    name = words.RESOURCE[settings.resource]
    unit = " in bytes" if settings.resource == "memory" else ""
    note = (
        f"S = accuracy − {settings.penalty:g}·log₁₀({name}{unit} / 10⁶). Each step removes one edge and keeps the "
        "candidate with the highest S; the further right, the fewer edges are left."
    )
    return _section(
        "The search",
        f'<ul class="legend">{legend}</ul><div class="charts"><figure>{figures.trajectory_svg(record)}</figure>'
        f'<figure class="front-chart"><figcaption><b>Accuracy against {escape(name)}</b></figcaption>'
        f"{figures.front_svg(record)}{_limits_words(record)}</figure></div>",
        note=note,
    )


def _limits_words(record: RunRecord) -> str:
    limits = record.settings.limits
    found = [
        f"{words.RESOURCE[name]} at most {words.resource(limit, name)}"
        for name in words.RESOURCE
        if (limit := getattr(limits, f"max_{name}")) is not None
    ]
    if not found:
        return ""
    return f'<p class="note">Limits: {escape("; ".join(found))}. Hollow dots break one of them.</p>'


def _film(record: RunRecord) -> str:
    note = "Every step's removed edges are red; edges that nothing reaches any more go with them."
    return _section("The shrinking, step by step", film.film_html(record), note=note)


def _footer(record: RunRecord) -> str:
    text = (
        "Method: T. Zhang et al., AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, "
        f'AAAI 2020, <a href="{ARXIV}">arXiv 1911.09251</a>. Score: Eq. 5, S = Perf − λ·log₁₀(Res / 10⁶). '
        f"Last event of this run: {words.moment(record.updated_at)}."
    )
    return f"<footer><p>{text}</p></footer>"
