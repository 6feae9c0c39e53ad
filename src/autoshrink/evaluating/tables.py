"""What a person reads of a classifier's evaluation in a terminal: headlines, and tables of classes and confusions."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from autoshrink import formatting
from autoshrink.classification import TOP, ClassFigures, ClassifierEvaluation, ClassifierFigures, Confusion
from autoshrink.escaping import shown

TABLE_CLASSES = 12
"""Up to so many classes, all are listed, and the confusion matrix is printed where it fits."""
TABLE_WIDTH = 100
"""Columns that the confusion matrix may take."""
LISTED = 10
"""Of more classes, so many of the worst, and so many confusions."""
_RIGHT = ("#d5ebe8 #16403c", "#9fd3cc #0d332f", "#3f9b92 #ffffff", "#0b6b6b #ffffff")
_WRONG = ("#fae0dd #5c1510", "#f2b3ad #4d100b", "#d9655c #ffffff", "#b3261e #ffffff")
"""Background and text of a cell by its share of the row; both are set, so that any terminal's own colours do."""
_STEPS = (0.05, 0.2, 0.5)


def tables(evaluation: ClassifierEvaluation) -> Iterator[RenderableType]:
    """The figures: all classes of few, the worst of many."""
    figures = evaluation.figures
    yield from map(formatting.plain, headlines(evaluation))
    yield ""
    few = len(figures.classes) <= TABLE_CLASSES
    yield _classes(figures.per_class if few else figures.worst(LISTED), few=few)
    matrix = matrix_lines(figures) if few else []
    if matrix:
        yield "\nconfusion matrix: a row for each true class, a column for each predicted one"
        yield from matrix
    elif found := figures.confusions(LISTED):
        yield ""
        yield _confusions(found, figures)


def headlines(evaluation: ClassifierEvaluation) -> tuple[str, ...]:
    """The figures of the whole split, in a few lines."""
    figures, calibration = evaluation.figures, evaluation.figures.calibration
    low, high = figures.accuracy.interval
    top = "" if figures.top is None else f"   top-{TOP} {formatting.percent(figures.top.value or 0.0, 2)}"
    skipped = f", {len(evaluation.skipped):,} skipped" if evaluation.skipped else ""
    cost = ""
    if evaluation.params is not None and evaluation.macs is not None:
        cost = f"{evaluation.params:,} parameters, {formatting.quantity(evaluation.macs)} MACs an image"
    lines = (
        f"accuracy {formatting.percent(figures.accuracy.value or 0.0, 2)} on the {evaluation.split} split of "
        f"{shown(evaluation.data)}: {formatting.count(figures.images, 'image')}{skipped}, "
        f"{formatting.count(len(figures.classes), 'class')}; "
        f"95 % interval {100 * low:.2f} to {formatting.percent(high, 2)}",
        f"loss {figures.loss:.4f} nats{top}   macro accuracy {formatting.percent(figures.macro.accuracy, 2)}   "
        f"macro F1 {formatting.percent(figures.macro.f1, 2)}",
        f"calibration error {formatting.percent(calibration.error, 2)}   mean confidence "
        f"{formatting.percent(calibration.confidence, 2)}",
        cost,
    )
    return tuple(text for text in lines if text)


def _classes(found: tuple[ClassFigures, ...], *, few: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class" if few else "worst classes", no_wrap=True)
    for name in ("images", "accuracy", "precision", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        shares = (one.accuracy.value, one.precision.value, one.f1)
        table.add_row(Text(_short(one.name, 32)), f"{one.images:,}", *map(_share, shares))
    return table


def _confusions(found: tuple[Confusion, ...], figures: ClassifierFigures) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("class", "taken for"):
        table.add_column(name, no_wrap=True)
    for name in ("images", "of the class"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        names = (Text(_short(figures.classes[number], 24)) for number in (one.true, one.predicted))
        share = one.images / figures.per_class[one.true].images
        table.add_row(*names, f"{one.images:,}", formatting.plain(formatting.percent(share)))
    return table


def matrix_lines(figures: ClassifierFigures) -> list[Text]:
    """The confusion matrix with shaded cells; none where it does not fit.

    Columns that have no room for the names have the numbers that stand before the rows' names.
    """
    names = [_short(name, 14) for name in figures.classes]
    digits = max(len(f"{cell}") for cell in figures.confusion.flat)
    wide, room = max(digits, *map(len, names)) + 2, max(map(len, names))
    if room + wide * len(names) <= TABLE_WIDTH:
        heads, rows, width = names, names, wide
    else:
        heads, width = [str(number) for number in range(len(names))], max(digits, 2) + 2
        rows = [f"{number:>2} {name}" for number, name in enumerate(names)]
        room += 3
    if room + width * len(names) > TABLE_WIDTH:
        return []
    lines = [Text(" " * room + "".join(f"{head:>{width - 1}} " for head in heads), style="bold")]
    for true, name in enumerate(rows):
        text = Text(f"{name:<{room}}")
        of = int(figures.confusion[true].sum())
        for predicted, images in enumerate(figures.confusion[true].tolist()):
            shown = f"{images if images else '·':>{width - 1}} "
            text.append(shown, style=_style(images / of, true == predicted) if images else "dim")
        lines.append(text)
    return lines


def _style(share: float, right: bool) -> str:
    background, text = (_RIGHT if right else _WRONG)[sum(share >= step for step in _STEPS)].split()
    return f"{text} on {background}"


def _share(value: float | None) -> str:
    return "–" if value is None else formatting.plain(formatting.percent(value))


def _short(name: str, most: int) -> str:
    name = shown(name)
    return name if len(name) <= most else name[: most - 1] + "…"
