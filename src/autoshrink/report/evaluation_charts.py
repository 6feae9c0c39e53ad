"""The charts of an evaluation: confusion matrix, reliability diagram, accuracy of every class. SVG user units."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from autoshrink.classification import Bin, Calibration, ClassFigures, ClassifierFigures
from autoshrink.drawing import joined, tag
from autoshrink.formatting import THIN, count, percent, quantity
from autoshrink.report.charts import Panel, Scale, label, line

NUMBERED = 20
"""Classes up to which the matrix has its counts written in."""
NAMED = 40
"""Classes up to which they are named beside the charts."""
NAME_LENGTH = 18
_CHARACTER = 6.6
"""Width of a character of the 12-unit text, on average."""
_MATRIX = 600.0
"""Width of a matrix with more classes than can be named."""


_LEGIBLE = 0.65
"""Share of its size to which a matrix shrinks in a narrow window; then it scrolls."""


def short(name: str, most: int = NAME_LENGTH) -> str:
    """A class name that leaves room for others."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


# --- the confusion matrix ------------------------------------------------------------------------------------------


def matrix_svg(figures: ClassifierFigures) -> Markup:
    """Rows are true classes, columns predicted ones; a cell is the darker, the larger its share of the row."""
    classes = len(figures.classes)
    side = _cell_side(classes)
    names = [short(name) for name in figures.classes] if classes <= NAMED else []
    room = max((len(name) for name in names), default=0) * _CHARACTER
    # Names wider than a cell lean to the right by 45 degrees: 0.71 of their length high, the last as much wide.
    leaning = 0.71 * room if room > side - 6 else 0.0
    left, top = 34 + room, 28 + max(leaning, 12.0 if names else 0.0)
    parts = [
        _matrix_names(names, left, top, side, leaning=leaning > 0),
        tag("rect", class_="base", x=left, y=top, width=classes * side, height=classes * side),
        tag("g", *_cells(figures, left, top, side), class_=None if classes <= 12 else "small"),
    ]
    width, height = f"{left + classes * side + leaning:.0f}", f"{top + classes * side + 4:.0f}"
    return tag(
        "svg", *parts, class_="matrix", viewBox=f"0 0 {width} {height}", width=width, height=height,
        style=f"min-width:{_LEGIBLE * float(width):.0f}px", role="img", aria_label="Confusion matrix",
    )  # fmt: skip


def _cell_side(classes: int) -> float:
    steps = ((6, 56.0), (12, 44.0), (NUMBERED, 32.0), (NAMED, 16.0))
    return next((side for most, side in steps if classes <= most), max(_MATRIX / classes, 1.0))


def _matrix_names(names: list[str], left: float, top: float, side: float, *, leaning: bool) -> Markup:
    parts = [
        label(left, 14, "predicted →", kind="axis-name"),
        tag("text", "true →", class_="axis-name", transform=f"translate(6 {top:.1f}) rotate(90)"),
    ]
    for number, name in enumerate(names):
        middle = (number + 0.5) * side
        parts.append(label(left - 8, top + middle + 4, name, anchor="end"))
        if leaning:
            place = f"translate({left + middle + 3:.1f} {top - 7:.1f}) rotate(-45)"
            parts.append(tag("text", name, transform=place))
        else:
            parts.append(label(left + middle, top - 7, name, anchor="middle"))
    return joined(parts)


def _cells(figures: ClassifierFigures, left: float, top: float, side: float) -> Iterable[Markup]:
    """The cells that hold images; the others are the base."""
    matrix, classes = figures.confusion, figures.classes
    rows = matrix.sum(axis=1)
    # Below one pixel a cell would vanish.
    gap, least = (1.0 if side >= 8 else 0.0), 1.6
    size = max(side - gap, least)
    for true, predicted in zip(*(found.tolist() for found in np.nonzero(matrix)), strict=True):
        images, of = int(matrix[true, predicted]), int(rows[true])
        # The smaller a mark, the stronger it has to be to be seen.
        opacity = max(shade(images / of), 0.0 if side >= 12 else 0.2 if side >= 4 else 0.45)
        x, y = left + predicted * side, top + true * side
        said = "rightly recognised" if true == predicted else f"taken for {classes[predicted]}"
        tip = f"{classes[true]}, {said}: {images:,} of {count(of, 'image')}, {percent(images / of)}"
        yield tag(
            "rect", tag("title", tip), class_="right" if true == predicted else "wrong",
            x=f"{x:.2f}", y=f"{y:.2f}", width=f"{size:.2f}", height=f"{size:.2f}", fill_opacity=f"{opacity:.2f}",
        )  # fmt: skip
        if len(classes) <= NUMBERED:
            kind = "count on" if opacity > 0.7 else "count"
            shown = f"{images}" if images < 10_000 else quantity(images)
            yield label(x + side / 2 - gap / 2, y + side / 2 + 4, shown, kind=kind)


def shade(share: float) -> float:
    """The opacity of a share of a row: its square root, so that rare mistakes can be seen at all."""
    return float(max(0.08, share**0.5))


# --- calibration ---------------------------------------------------------------------------------------------------

_LEFT, _RIGHT, _WIDTH = 56.0, 468.0, 480
_TOP, _FOOT, _LOW, _BOTTOM = 28.0, 308.0, 356.0, 426.0


def reliability_svg(calibration: Calibration) -> Markup:
    """Accuracy against confidence, bin by bin, above the number of images in each bin."""
    x = Scale(0.0, 1.0, _LEFT, _RIGHT)
    accuracy = Panel(x, Scale(0.0, 1.0, _FOOT, _TOP))
    most = max(one.images for one in calibration.bins)
    images = Panel(x, Scale(0.0, float(most), _BOTTOM, _LOW))
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    middle = (_LEFT + _RIGHT) / 2
    total = sum(one.images for one in calibration.bins)
    parts = [
        accuracy.rules(ticks, _tick),
        *(_bar(one, accuracy, images) for one in calibration.bins if one.images),
        line((x(0), accuracy.y(0)), (x(1), accuracy.y(1)), "even"),
        images.rules((0.0, float(most)), lambda value: percent(value / total, 0)),
        images.foot(ticks, _tick),
        label(middle, _BOTTOM + 38, "confidence", kind="axis-name", anchor="middle"),
        label(_LEFT, _TOP - 14, "accuracy", kind="axis-name"),
        label(_LEFT, _LOW - 12, "share of images", kind="axis-name"),
    ]
    return tag(
        "svg", *parts, class_="reliability", viewBox=f"0 0 {_WIDTH} {_BOTTOM + 46:.0f}", role="img",
        aria_label="Reliability diagram",
    )  # fmt: skip


def _bar(one: Bin, accuracy: Panel, images: Panel) -> Markup:
    assert one.accuracy is not None
    assert one.confidence is not None
    left, width = accuracy.x(one.low) + 1, accuracy.x(one.high) - accuracy.x(one.low) - 2
    right, said = accuracy.y(one.accuracy), accuracy.y(one.confidence)
    foot = accuracy.y(0)
    tip = (
        f"confidence {percent(one.low, 0)} to {percent(one.high, 0)}: "
        f"{count(one.images, 'image')}\n"
        f"{percent(one.accuracy)} right, mean confidence {percent(one.confidence)}"
    )
    low = images.y(float(one.images))
    # Last, and over the whole height, so that it can be pointed at anywhere.
    whole = tag("rect", tag("title", tip), class_="hit", x=left, y=_TOP, width=width, height=images.y(0.0) - _TOP)
    # Upwards on the page is towards smaller y.
    lower, gap = max(right, said), "gap" if one.confidence > one.accuracy else "spare"
    return (
        tag("rect", class_="share", x=left, y=lower, width=width, height=foot - lower)
        + tag("rect", class_=gap, x=left, y=min(right, said), width=width, height=abs(right - said))
        + tag("rect", class_="images", x=left, y=low, width=width, height=images.y(0.0) - low)
        + whole
    )


def _tick(value: float) -> str:
    return f"{100 * value:.0f}{THIN}%"


# --- classes -------------------------------------------------------------------------------------------------------


def classes_svg(figures: ClassifierFigures) -> Markup:
    """The accuracy of every class that has images, the lowest first, with its 95 % interval where there is room."""
    found = figures.worst(len(figures.classes))
    return _named_bars(found) if len(found) <= NAMED else _many_bars(found)


def class_tip(one: ClassFigures) -> str:
    """What a class's bar says."""
    low, high = one.accuracy.interval
    assert one.accuracy.value is not None
    return (
        f"{one.name}: {percent(one.accuracy.value)} of {count(one.images, 'image')}\n"
        f"95 % interval {100 * low:.1f} to {percent(high)}"
    )


def _named_bars(found: tuple[ClassFigures, ...]) -> Markup:
    height, room = 24, max(len(short(one.name)) for one in found) * _CHARACTER + 12
    least = _least(found)
    scale, foot = Scale(least, 1.0, room, 400.0), len(found) * height + 14
    parts = [label(room, foot, _tick(least)), label(400.0, foot, _tick(1.0), anchor="end")]
    for row, one in enumerate(found):
        y, share = row * height, one.accuracy.value or 0.0
        low, high = (scale(end) for end in one.accuracy.interval)
        bar = {"x": room, "y": y + 4, "height": height - 8}
        parts += [
            label(room - 8, y + 16, short(one.name), kind="name"),
            tag("rect", class_="track", width=400.0 - room, **bar),
            tag("rect", tag("title", class_tip(one)), class_="fill", width=scale(share) - room, **bar),
            tag("path", class_="whisker", d=f"M{low:.1f} {y + 9}v6m0-3H{high:.1f}m0-3v6"),
            label(412, y + 16, f"{percent(share)} of {one.images:,}"),
        ]
    return _bars(parts, 526, foot + 6)


def _least(found: tuple[ClassFigures, ...]) -> float:
    """Where the axis starts: at the ten percent below the lowest figure, its interval included."""
    lowest = min(min(one.accuracy.interval[0], one.accuracy.value or 0.0) for one in found)
    return min(0.9, max(0.0, math.floor(10 * lowest + 1e-9) / 10))


def _many_bars(found: tuple[ClassFigures, ...]) -> Markup:
    least, foot = _least(found), 240.0
    panel = Panel(Scale(0.0, float(len(found)), 44.0, 540.0), Scale(least, 1.0, foot, 10.0))
    width = f"{max(panel.x(1) - panel.x(0) - 0.4, 0.5):.2f}"
    parts = [panel.rules((least, *(one for one in panel.y.ticks(4) if least < one < 1), 1.0), _tick)]
    for number, one in enumerate(found):
        y, tip = panel.y(one.accuracy.value or 0.0), tag("title", class_tip(one))
        bar = {"x": f"{panel.x(number):.2f}", "y": y, "width": width, "height": max(foot - y, 0.6)}
        parts.append(tag("rect", tip, class_="fill", **bar))
    parts.append(label(44, 262, f"{len(found):,} classes, lowest first"))
    return _bars(parts, 548, 270)


def _bars(parts: list[Markup], width: int, height: int) -> Markup:
    return tag(
        "svg", *parts, class_="bars", viewBox=f"0 0 {width} {height}", role="img", aria_label="Accuracy by class"
    )
