"""The report: one HTML page with everything inline. It asks the network for nothing and reads without JavaScript."""

from __future__ import annotations

import json
import math

from autoshrink import drawing, formatting
from autoshrink.cell import Cell
from autoshrink.escaping import escape, escape_lines
from autoshrink.metrics import METRICS
from autoshrink.record import RunRecord
from autoshrink.report import evidence, facts, figures, film, gains, proof, story
from autoshrink.report.document import asset, document, section
from autoshrink.report.gains import Headline
from autoshrink.resources import RESOURCES

ARXIV = "https://arxiv.org/abs/1911.09251"


def render(record: RunRecord, *, name: str) -> str:
    """The page of a run, finished or not.

    Args:
        record: the run, as replayed from its events.
        name: the run folder's name, as the person gave it.
    """
    main = (
        _header(record, name),
        _cells(record),
        _trajectory(record),
        _film(record),
        facts.decisions(record),
        proof.playoff(record),
        proof.agreement(record),
        facts.failures(record),
        facts.background(record),
    )
    style = asset("style.css") + drawing.CELL_STYLE
    return document(name, "".join(main), _footer(record), style=style, script=asset("page.js"))


# --- what was found ------------------------------------------------------------------------------------------------


def _header(record: RunRecord, name: str) -> str:
    kind = "status" if record.finished else "status open"
    return (
        f'<header><p class="eyebrow"><span>autoshrink run <b>{escape(name)}</b></span>'
        f'<span>{formatting.moment(record.created_at)}</span><span class="{kind}">'
        f"{escape(story.status(record))}</span></p>"
        f'<h1>{escape(story.headline(record))}</h1><p class="lede">{escape(_lede(record))}</p>{_stats(record)}</header>'
    )


def _lede(record: RunRecord) -> str:
    best, complete = record.best(), record.complete()
    metric = METRICS[record.settings.task]
    cost = record.spent()
    spent = f"{formatting.quantity(cost.samples)} training {metric.sample}{'' if cost.samples == 1 else 's'}, "
    spent += f"{formatting.quantity(cost.training_macs)} MACs, {formatting.duration(cost.seconds)} of training"
    parts = evidence.phases_words(record)
    spent += f" (MACs: {parts})" if parts else ""
    tried = evidence.count_words(record)
    if best is None:
        reason = f" The search ended: {record.stopped}." if record.stopped else ""
        lacking = "" if record.usable() else ", none usable within the limits"
        return f"{tried}{lacking}: {spent}.{reason}"
    metric = evidence.metric_for(record, best)
    of = f"{metric.name[0].upper()}{metric.name[1:]} on {metric.validation}: {evidence.measured_words(record, best)}"
    if complete and complete.cell.key != best.cell.key:
        of += f"; the {story.start_word(record)}: {evidence.measured_words(record, complete)}"
        of += f". Against it {gains.gain(best, complete).score_words()}"
    if not record.settings.reselect:
        of += ". It is named by the highest S recorded in the search, as published, whatever the fresh seeds say"
    caution = "" if best.repeats else " The best of many noisy figures looks better than it is."
    return f"{of}.{caution} {tried}: {spent}."


def _stats(record: RunRecord) -> str:
    found = gains.headlines(record)
    if not found:
        return ""
    start = story.start_word(record).removesuffix(" graph").removesuffix("ing cell")
    shown = "".join(_stat(one, start) for one in found)
    return f'<dl class="stats" style="--columns:{len(found)}">{shown}</dl>'


def _stat(one: Headline, start: str) -> str:
    """One figure, its change against the starting cell and that cell's own figure."""
    value = f' value="{one.value!r}"' if math.isfinite(one.value) else ""
    spread = f" <small>± {escape(one.spread)}</small>" if one.spread else ""
    reference = f"{start}: {one.reference}" if one.reference else ""
    return (
        f'<div><dt>{escape(one.title)}</dt><dd class="big"><data{value}>{escape(one.shown)}{spread}'
        f'</data></dd><dd class="{"delta worse" if one.worse else "delta"}">{escape(one.change)}</dd>'
        f'<dd class="ref">{escape(reference)}</dd></div>'
    )


# --- the cells -----------------------------------------------------------------------------------------------------


def _cells(record: RunRecord) -> str:
    best = record.best()
    if best is None:
        return section(
            "The starting cell",
            f'<div class="cells">{_cell_figure(record.start, story.start_word(record))}</div>',
        )
    word, same = story.start_word(record), best.cell.key == record.start.key
    start = "" if same else _cell_figure(record.start, word, story.cost_words(record, record.complete()))
    shown = _cell_figure(best.cell, word if same else "best cell", story.cost_words(record, best))
    file = (
        f'<div class="file"><figure><figcaption><b>Cell file</b>, save it as <code>best.cell.json</code></figcaption>'
        f'<pre id="cell-file">{escape_lines(cell_file(best.cell))}</pre></figure>'
        '<button type="button" class="copy" data-copy="cell-file">Copy</button></div>'
    )
    body = f'<div class="cells">{shown}<div class="small">{start}</div>{file}</div>'
    title = "The starting cell, which nothing beat" if same else "The best cell"
    return section(title if record.finished else f"{title} so far", body, note=_flow(record))


def _flow(record: RunRecord) -> str:
    """How to read the picture of a cell."""
    if record.start.kind == "conv":
        return "Data flow downwards. Leaves are concatenated; the dashed line is the cell's shortcut."
    adds = record.settings.to_json()["network"].get("aggregate") == "sum"
    return (
        "Data flow downwards, once for every token. Node 0 gates the input x into the hidden state h; every edge is a "
        f"gated transform; nodes {'add up' if adds else 'average'} what they read; the mean of the leaves is the new "
        "hidden state."
    )


def _cell_figure(cell: Cell, name: str, cost: str = "") -> str:
    caption = f"<b>{escape(name[0].upper() + name[1:])}</b>, {formatting.count(len(cell.edges), 'edge')}{escape(cost)}"
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

_TRAINED = (
    ('<circle class="dot" cx="11" cy="7" r="3"/>', "candidate"),
    ('<path class="trail" d="M0 7h22"/><circle class="dot chosen" cx="11" cy="7" r="3.6"/>', "chosen"),
)
_PLAYOFF = ('<circle class="dot scratch" cx="11" cy="7" r="3.6"/>', "trained from scratch, one seed, short")
_INHERITED = (
    ('<circle class="dot estimate" cx="11" cy="7" r="3"/>', "estimate with inherited weights"),
    (
        '<path class="trail estimate" d="M0 7h22"/><circle class="dot estimate chosen" cx="11" cy="7" r="3.6"/>',
        "chosen by estimate",
    ),
    _PLAYOFF,
)
_ZICO = (
    ('<circle class="dot estimate" cx="11" cy="7" r="3"/>', "candidate, not trained"),
    (
        '<path class="trail estimate" d="M0 7h22"/><circle class="dot estimate chosen" cx="11" cy="7" r="3.6"/>',
        "chosen by ZiCo",
    ),
    _PLAYOFF,
)
_CANDIDATES = {"trained": _TRAINED, "inherited": _INHERITED, "zico": _ZICO}
"""By evaluator: what the marks of candidates and cells trained from scratch mean."""
_LEGEND = (
    ('<path class="failed" d="M7.5 3.5l7 7m0-7l-7 7"/>', "failed"),
    ('<path class="error" d="M11 0v14"/><path class="again" d="M11 2l5 5-5 5-5-5z"/>', "fresh seeds, mean ± sd"),
    ('<circle class="ring best" cx="11" cy="7" r="6"/>', "best"),
    ('<circle class="ring" cx="11" cy="7" r="6"/>', "start"),
    ('<path class="front" d="M0 12h11V3h11"/>', "Pareto front"),
)


def _trajectory(record: RunRecord) -> str:
    if not record.candidates:
        return section("The search", '<p class="note">Nothing has been measured yet.</p>')
    legend = "".join(
        f'<li><svg viewBox="0 0 22 14" aria-hidden="true">{mark}</svg>{name}</li>'
        for mark, name in (*_CANDIDATES[record.settings.evaluator], *_LEGEND)
    )
    against = f"{METRICS[record.settings.task].name.capitalize()} against {record.settings.score.weighs.title}"
    note = (
        f"{story.formula(record)}. Each step removes one edge and keeps the candidate with the highest S; the further "
        "right, the fewer edges are left."
    )
    if record.settings.relative:
        note += (
            f" {story.estimates_note(record)} The best is chosen among cells trained from scratch; those that went "
            "further in the playoff were trained longer."
        )
    return section(
        "The search",
        f'<ul class="legend">{legend}</ul><div class="charts"><figure>{figures.trajectory_svg(record)}</figure>'
        f'<figure class="front-chart"><figcaption><b>{escape(against)}</b></figcaption>'
        f"{figures.front_svg(record)}{_limits_words(record)}</figure></div>",
        note=note,
    )


def _limits_words(record: RunRecord) -> str:
    limits = ((RESOURCES[name], limit) for name, limit in record.settings.limits.given().items())
    found = [f"{resource.title} at most {resource.unit.short(limit)}" for resource, limit in limits]
    if not found:
        return ""
    return f'<p class="note">Limits: {escape("; ".join(found))}. Hollow dots break one of them.</p>'


def _film(record: RunRecord) -> str:
    note = "Every step's removed edges are red; edges that nothing reaches any more go with them."
    if record.settings.relative:
        note += f" {story.estimates_note(record)}"
    return section("The shrinking, step by step", film.film_html(record), note=note)


def _footer(record: RunRecord) -> str:
    text = (
        "Method: T. Zhang et al., AutoShrink: A Topology-aware NAS for Discovering Efficient Neural Architecture, "
        f'AAAI 2020, <a href="{ARXIV}">arXiv 1911.09251</a>. '
        f"Score: {escape(story.formula_source(record))}. "
        f"Last event of this run: {formatting.moment(record.updated_at)}."
    )
    return f"<p>{text}</p>"
