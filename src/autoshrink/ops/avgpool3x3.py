"""The average of a square around every pixel; it has no weights."""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Pooling

AVGPOOL3X3 = ConvOperation(
    "avgpool3x3",
    colours=("#dff0ea", "#1f4a3d"),
    cheaper=("identity",),
    pieces=(Pooling(),),
)
