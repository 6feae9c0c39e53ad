"""What a classifier is worth as one HTML page: figures, confusions, calibration, and the mistakes themselves."""

from __future__ import annotations

import base64
import io

from PIL import Image

from autoshrink import formatting
from autoshrink.classification import TOP, ClassFigures, ClassifierEvaluation, Mistake, Pixels
from autoshrink.escaping import escape
from autoshrink.report import evaluation_figures as charts
from autoshrink.report.document import asset, document, section
from autoshrink.report.markup import definitions, table

GALLERY = 24
"""Mistakes that the page shows."""
_PICTURE = 112
"""Longest side of a picture, pixels."""
_LISTED = 15
"""Rows of a table that could have hundreds."""

_GUO = "https://arxiv.org/abs/1706.04599"


def evaluation_page(evaluation: ClassifierEvaluation) -> str:
    """The page of an evaluation; it shows the mistakes that the evaluation kept."""
    main = (
        _header(evaluation),
        _matrix(evaluation),
        _classes(evaluation),
        _calibration(evaluation),
        _gallery(evaluation),
        _background(evaluation),
    )
    footer = (
        f"<p>Interval: Wilson's score interval, 95 %. Expected calibration error: "
        f'C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, <a href="{_GUO}">arXiv 1706.04599</a>, '
        f"{len(evaluation.figures.calibration.bins)} bins of equal width.</p>"
    )
    style = asset("style.css") + asset("evaluation.css")
    return document(evaluation.model, "".join(main), footer, style=style, script=asset("evaluation.js"))


# --- the figures ---------------------------------------------------------------------------------------------------


def _header(evaluation: ClassifierEvaluation) -> str:
    figures = evaluation.figures
    low, high = figures.accuracy.interval
    headline = (
        f"{formatting.percent(figures.accuracy.value or 0.0)} of "
        f"{formatting.count(figures.images, evaluation.split + ' image')} recognised"
    )
    lede = (
        f"On images like these, between {100 * low:.1f} and {formatting.percent(high)} (95 % interval). "
        f"{_guessing(evaluation)}{_most_confused(evaluation)}"
    )
    found = _stats(evaluation)
    shown = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="big">{escape(value)}</dd><dd class="ref">{escape(beside)}</dd></div>'
        for name, value, beside in found
    )
    return (
        f'<header><p class="eyebrow"><span>autoshrink evaluation <b>{escape(evaluation.model)}</b></span>'
        f"<span>{escape(evaluation.split)} split of {escape(evaluation.data)}</span></p>"
        f'<h1>{escape(headline)}</h1><p class="lede">{escape(lede)}</p>'
        f'<dl class="stats" style="--columns:{len(found)}">{shown}</dl></header>'
    )


def _guessing(evaluation: ClassifierEvaluation) -> str:
    """What knowing nothing would give: always the class with most images."""
    largest = max(evaluation.figures.per_class, key=lambda one: one.images)
    return (
        f"Always saying “{largest.name}” would give {formatting.percent(largest.images / evaluation.figures.images)}. "
    )


def _most_confused(evaluation: ClassifierEvaluation) -> str:
    found, classes = evaluation.figures.confusions(1), evaluation.figures.classes
    if not found:
        return "No image is mistaken."
    return (
        f"Mistaken most often: {classes[found[0].true]} for {classes[found[0].predicted]} "
        f"({formatting.count(found[0].images, 'image')})."
    )


def _stats(evaluation: ClassifierEvaluation) -> list[tuple[str, str, str]]:
    """Name, figure, and what stands below it."""
    figures = evaluation.figures
    calibration, low, high = figures.calibration, *figures.accuracy.interval
    rows = [
        (
            "Accuracy",
            formatting.percent(figures.accuracy.value or 0.0),
            f"95 %: {100 * low:.1f} to {formatting.percent(high)}",
        )
    ]
    if figures.top is not None and figures.top.value is not None:
        rows.append((f"Top-{TOP} accuracy", formatting.percent(figures.top.value), f"among the {TOP} likeliest"))
    rows += [
        ("Macro accuracy", formatting.percent(figures.macro.accuracy), "every class counted alike"),
        ("Loss", formatting.number(figures.loss, 3), "nats an image"),
        (
            "Calibration error",
            formatting.percent(calibration.error),
            f"mean confidence {formatting.percent(calibration.confidence)}",
        ),
    ]
    if evaluation.params is not None and evaluation.macs is not None:
        rows.append(
            (
                "Parameters",
                formatting.quantity(evaluation.params),
                f"{formatting.quantity(evaluation.macs)} MACs an image",
            )
        )
    return rows


# --- what is confused ----------------------------------------------------------------------------------------------


def _matrix(evaluation: ClassifierEvaluation) -> str:
    figures = evaluation.figures
    ramp = "".join(
        f'<rect class="{{}}" x="{i * 11}" width="11" height="12" fill-opacity="{charts.shade(i / 7):.2f}"/>'
        for i in range(1, 8)
    )
    key = "".join(
        f'<span><svg viewBox="11 0 77 12" aria-hidden="true">{ramp.replace("{}", kind)}</svg>{meaning}</span>'
        for kind, meaning in (("right", "recognised"), ("wrong", "mistaken"))
    )
    note = "A row holds the images of one class. The stronger a cell's colour, the larger its share of the row"
    note += "." if len(figures.classes) <= charts.NUMBERED else "; point at one to read it."
    body = (
        f'<div class="beside"><div class="scroll">{charts.matrix_svg(figures)}<p class="scale">{key}</p></div>'
        f"<div><h3>Most frequent mistakes</h3>{_confusions(evaluation)}</div></div>"
    )
    return section("What is taken for what", body, note=note)


def _confusions(evaluation: ClassifierEvaluation) -> str:
    figures = evaluation.figures
    found = figures.confusions(_LISTED)
    if not found:
        return '<p class="note">None.</p>'
    sizes = figures.per_class
    rows = [
        (
            figures.classes[one.true],
            figures.classes[one.predicted],
            f"{one.images:,}",
            formatting.percent(one.images / sizes[one.true].images),
        )
        for one in found
    ]
    return table(("class", "taken for", "images", "of class"), rows, numeric=frozenset({2, 3}))


def _classes(evaluation: ClassifierEvaluation) -> str:
    """Bars beside a table: of all classes where they are few, else of the worst, with all in a folded table below."""
    figures = evaluation.figures
    every = figures.per_class
    few = len(every) <= charts.NAMED
    title, listed = ("Every class", every) if few else (f"The worst {_LISTED}", figures.worst(_LISTED))
    folded = "" if few else f"<details><summary>All {len(every):,} classes</summary>{_class_table(every)}</details>"
    return section(
        "Class by class",
        f'<div class="two"><div><h3>Accuracy, lowest first</h3>{charts.classes_svg(figures)}</div>'
        f"<div><h3>{title}</h3>{_class_table(listed)}</div></div>{folded}",
        note=_lacking(evaluation),
    )


def _lacking(evaluation: ClassifierEvaluation) -> str:
    without = sum(one.images == 0 for one in evaluation.figures.per_class)
    return f"{without} of {len(evaluation.figures.classes)} classes have no image here." if without else ""


def _class_table(found: tuple[ClassFigures, ...]) -> str:
    rows = [
        (
            one.name,
            f"{one.images:,}",
            f"{one.predicted:,}",
            _share(one.accuracy.value),
            _share(one.precision.value),
            _share(one.f1),
        )
        for one in found
    ]
    head = ("class", "images", "predicted", "accuracy", "precision", "F1")
    return table(head, rows, numeric=frozenset({1, 2, 3, 4, 5}))


def _share(value: float | None) -> str:
    return "–" if value is None else formatting.percent(value)


# --- confidence ----------------------------------------------------------------------------------------------------


def _calibration(evaluation: ClassifierEvaluation) -> str:
    calibration, accuracy = evaluation.figures.calibration, evaluation.figures.accuracy.value or 0.0
    gap = calibration.confidence - accuracy
    verdict = (
        "about as sure as it is right" if abs(gap) < 0.01 else "too sure" if gap > 0 else "less sure than it could be"
    )
    note = "Of the answers given with 80 % confidence, 80 % should be right: bars should end at the dashed line."
    facts = definitions(
        [
            ("on the whole", verdict),
            ("mean confidence", formatting.percent(calibration.confidence)),
            ("accuracy", formatting.percent(accuracy)),
            ("expected calibration error", formatting.percent(calibration.error)),
            *_sure(evaluation),
        ]
    )
    key = "".join(
        f'<span><svg viewBox="0 0 14 12" aria-hidden="true"><rect class="{kind}" width="14" height="12"/></svg>'
        f"{meaning}</span>"
        for kind, meaning in (("share", "right"), ("gap", "surer than right"), ("spare", "more often right than sure"))
    )
    body = (
        f'<div class="two"><div>{charts.reliability_svg(calibration)}<p class="scale key">{key}</p></div>'
        f"<div>{facts}</div></div>"
    )
    return section("How far its confidence can be trusted", body, note=note)


def _sure(evaluation: ClassifierEvaluation) -> list[tuple[str, str]]:
    """What the surest bin holds."""
    last = evaluation.figures.calibration.bins[-1]
    if last.accuracy is None:
        return []
    share = formatting.percent(last.images / evaluation.figures.images)
    return [
        (
            f"surer than {formatting.percent(last.low)}",
            f"{share} of the images, {formatting.percent(last.accuracy)} of them right",
        )
    ]


# --- the mistakes themselves ---------------------------------------------------------------------------------------


def _gallery(evaluation: ClassifierEvaluation) -> str:
    if not evaluation.mistakes:
        return ""
    wrong = evaluation.figures.images - evaluation.figures.accuracy.hits
    shown = "".join(_mistake(one, evaluation.figures.classes) for one in evaluation.mistakes)
    note = (
        f"{len(evaluation.mistakes)} of {formatting.count(wrong, 'mistake')}, the surest first, as the model saw them. "
        "Look for wrong labels too."
    )
    return section("The most confident mistakes", f'<ul class="gallery">{shown}</ul>', note=note)


def _mistake(one: Mistake, classes: tuple[str, ...]) -> str:
    true, said = escape(classes[one.true]), escape(classes[one.predicted])
    coarse = ' class="coarse"' if max(one.pixels.shape[1:]) < _PICTURE else ""
    return (
        f'<li><img{coarse} src="{picture(one.pixels)}" alt="an image of {true}, taken for {said}">'
        f'<p><b>{true}</b>, taken for <span class="said">{said}</span><br>{formatting.percent(one.confidence)} sure</p>'
        f'<p class="place">{escape(one.place)}</p></li>'
    )


def picture(pixels: Pixels) -> str:
    """An image as a `data:` address: PNG, no side longer than 112 pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
    image.thumbnail((_PICTURE, _PICTURE))
    packed = io.BytesIO()
    image.save(packed, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")


# --- behind it -----------------------------------------------------------------------------------------------------


def _background(evaluation: ClassifierEvaluation) -> str:
    figures = evaluation.figures
    rows = [
        ("model", evaluation.model),
        ("data", f"{evaluation.data}, {evaluation.split} split"),
        ("images", f"{figures.images:,} measured, {len(evaluation.skipped):,} skipped"),
        ("classes", f"{len(figures.classes):,}"),
    ]
    if evaluation.params is not None and evaluation.macs is not None:
        rows += [("parameters", f"{evaluation.params:,}"), ("MACs an image", f"{evaluation.macs:,}")]
    rows += [
        ("macro precision", formatting.percent(figures.macro.precision)),
        ("macro F1", formatting.percent(figures.macro.f1)),
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    skipped = "".join(f"<li>{escape(one.path)}: {escape(one.reason)}</li>" for one in evaluation.skipped[:100])
    beside = f"<div><h3>Notes</h3><ul>{notes}</ul></div>" if notes else ""
    beside += f"<details><summary>Skipped</summary><ul>{skipped}</ul></details>" if skipped else ""
    return section("Behind the figures", f'<div class="facts"><div>{definitions(rows)}</div>{beside}</div>')
