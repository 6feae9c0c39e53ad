"""What a classifier is worth as one HTML page: figures, confusions, calibration, and the mistakes themselves."""

from __future__ import annotations

import base64
import io

from PIL import Image

from autoshrink.classification import TOP, ClassifierEvaluation, Pixels
from autoshrink.report import evaluation_charts
from autoshrink.report.templates import asset, filled

GALLERY = 24
"""Mistakes that the page shows."""
_PICTURE = 112
"""Longest side of a picture, pixels."""
_LISTED = 15
"""Rows of a table that could have hundreds."""


def evaluation_page(evaluation: ClassifierEvaluation) -> str:
    """The page of an evaluation; it shows the mistakes that the evaluation kept."""
    return filled(
        "evaluation.html.j2",
        name=evaluation.model,
        evaluation=evaluation,
        figures=evaluation.figures,
        charts=evaluation_charts,
        picture=picture,
        largest=_PICTURE,
        listed=_LISTED,
        top=TOP,
        style=asset("style.css") + asset("evaluation.css"),
        script=asset("evaluation.js"),
    )


def picture(pixels: Pixels) -> str:
    """An image as a `data:` address: PNG, no side longer than 112 pixels."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
    image.thumbnail((_PICTURE, _PICTURE))
    packed = io.BytesIO()
    image.save(packed, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
