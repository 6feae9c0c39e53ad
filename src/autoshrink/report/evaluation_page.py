"""What a classifier is worth as one HTML page: figures, confusions, calibration, and the mistakes themselves."""

from __future__ import annotations

import base64
import io

from PIL import Image

from autoshrink.classification import TOP, ClassFigures, ClassifierEvaluation, ClassifierFigures, Mistake, Pixels
from autoshrink.formatting import count, number, percent, quantity
from autoshrink.report import evaluation_charts as charts
from autoshrink.report.templates import Table, asset, filled

GALLERY = 24
"""Mistakes that the page shows."""
_PICTURE = 112
"""Longest side of a picture, pixels."""
_LISTED = 15
"""Rows of a table that could have hundreds."""


def evaluation_page(evaluation: ClassifierEvaluation) -> str:
    """The page of an evaluation; it shows the mistakes that the evaluation kept."""
    figures = evaluation.figures
    low, high = figures.accuracy.interval
    images = count(figures.images, f"{evaluation.split} image")
    wrong = count(figures.images - figures.accuracy.hits, "mistake")
    return filled(
        "evaluation.html.j2",
        name=evaluation.model,
        evaluation=evaluation,
        style=asset("style.css") + asset("evaluation.css"),
        script=asset("evaluation.js"),
        headline=f"{percent(figures.accuracy.value or 0.0)} of {images} recognised",
        lede=f"On images like these, between {100 * low:.1f} and {percent(high)} (95 % interval). "
        f"{_guessing(figures)} {_most_confused(figures)}",
        stats=_stats(evaluation),
        matrix=_matrix(figures),
        classes=_classes(figures),
        calibration=_calibration(figures),
        mistakes={
            "note": f"{len(evaluation.mistakes)} of {wrong}, the surest first, as the model saw them. Look for wrong "
            "labels too.",
            "shown": [_mistake(one, figures.classes) for one in evaluation.mistakes],
        },
        facts=_facts(evaluation),
        bins=len(figures.calibration.bins),
    )


def _guessing(figures: ClassifierFigures) -> str:
    """What knowing nothing would give: always the class with most images."""
    largest = max(figures.per_class, key=lambda one: one.images)
    return f"Always saying “{largest.name}” would give {percent(largest.images / figures.images)}."


def _most_confused(figures: ClassifierFigures) -> str:
    found = figures.confusions(1)
    if not found:
        return "No image is mistaken."
    true, predicted = figures.classes[found[0].true], figures.classes[found[0].predicted]
    return f"Mistaken most often: {true} for {predicted} ({count(found[0].images, 'image')})."


def _stats(evaluation: ClassifierEvaluation) -> list[tuple[str, str, str]]:
    """Name, figure, and what stands below it."""
    figures = evaluation.figures
    low, high = figures.accuracy.interval
    rows = [("Accuracy", percent(figures.accuracy.value or 0.0), f"95 %: {100 * low:.1f} to {percent(high)}")]
    if figures.top is not None and figures.top.value is not None:
        rows.append((f"Top-{TOP} accuracy", percent(figures.top.value), f"among the {TOP} likeliest"))
    confidence = f"mean confidence {percent(figures.calibration.confidence)}"
    rows += [
        ("Macro accuracy", percent(figures.macro.accuracy), "every class counted alike"),
        ("Loss", number(figures.loss, 3), "nats an image"),
        ("Calibration error", percent(figures.calibration.error), confidence),
    ]
    if evaluation.params is not None and evaluation.macs is not None:
        rows.append(("Parameters", quantity(evaluation.params), f"{quantity(evaluation.macs)} MACs an image"))
    return rows


def _matrix(figures: ClassifierFigures) -> dict[str, object]:
    found, sizes, names = figures.confusions(_LISTED), figures.per_class, figures.classes
    columns = {
        "class": [names[one.true] for one in found],
        "taken for": [names[one.predicted] for one in found],
        "images": [f"{one.images:,}" for one in found],
        "of class": [percent(one.images / sizes[one.true].images) for one in found],
    }
    note = "A row holds the images of one class. The stronger a cell's colour, the larger its share of the row"
    return {
        "note": note + ("." if len(names) <= charts.NUMBERED else "; point at one to read it."),
        "picture": charts.matrix_svg(figures),
        "ramp": [f"{charts.shade(step / 7):.2f}" for step in range(1, 8)],
        "table": Table.of(columns, words=("class", "taken for")),
    }


def _classes(figures: ClassifierFigures) -> dict[str, object]:
    """Bars beside a table: of all classes where they are few, else of the worst, with all in a folded table below."""
    every = figures.per_class
    few, without = len(every) <= charts.NAMED, sum(one.images == 0 for one in every)
    return {
        "note": f"{without} of {len(every)} classes have no image here." if without else "",
        "picture": charts.classes_svg(figures),
        "title": "Every class" if few else f"The worst {_LISTED}",
        "table": _class_table(every if few else figures.worst(_LISTED)),
        "every": None if few else _class_table(every),
    }


def _class_table(found: tuple[ClassFigures, ...]) -> Table:
    columns = {
        "class": [one.name for one in found],
        "images": [f"{one.images:,}" for one in found],
        "predicted": [f"{one.predicted:,}" for one in found],
        "accuracy": [_share(one.accuracy.value) for one in found],
        "precision": [_share(one.precision.value) for one in found],
        "F1": [_share(one.f1) for one in found],
    }
    return Table.of(columns, words=("class",))


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _calibration(figures: ClassifierFigures) -> dict[str, object]:
    calibration, accuracy, last = figures.calibration, figures.accuracy.value or 0.0, figures.calibration.bins[-1]
    gap = calibration.confidence - accuracy
    sure = (
        "about as sure as it is right" if abs(gap) < 0.01 else "too sure" if gap > 0 else "less sure than it could be"
    )
    rows = [
        ("on the whole", sure),
        ("mean confidence", percent(calibration.confidence)),
        ("accuracy", percent(accuracy)),
        ("expected calibration error", percent(calibration.error)),
    ]
    if last.accuracy is not None:
        share = f"{percent(last.images / figures.images)} of the images, {percent(last.accuracy)} of them right"
        rows.append((f"surer than {percent(last.low)}", share))
    return {"picture": charts.reliability_svg(calibration), "rows": rows}


def _mistake(one: Mistake, classes: tuple[str, ...]) -> dict[str, object]:
    return {
        "true": classes[one.true],
        "said": classes[one.predicted],
        "sure": percent(one.confidence),
        "place": one.place,
        "coarse": max(one.pixels.shape[1:]) < _PICTURE,
        "picture": picture(one.pixels),
    }


def picture(pixels: Pixels) -> str:
    """An image as a `data:` address: PNG, no side longer than 112 pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
    image.thumbnail((_PICTURE, _PICTURE))
    packed = io.BytesIO()
    image.save(packed, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def _facts(evaluation: ClassifierEvaluation) -> list[tuple[str, str]]:
    figures = evaluation.figures
    rows = [
        ("model", evaluation.model),
        ("data", f"{evaluation.data}, {evaluation.split} split"),
        ("images", f"{figures.images:,} measured, {len(evaluation.skipped):,} skipped"),
        ("classes", f"{len(figures.classes):,}"),
    ]
    if evaluation.params is not None and evaluation.macs is not None:
        rows += [("parameters", f"{evaluation.params:,}"), ("MACs an image", f"{evaluation.macs:,}")]
    return [
        *rows,
        ("macro precision", percent(figures.macro.precision)),
        ("macro F1", percent(figures.macro.f1)),
    ]
