"""The maximum of a square around every pixel; it has no weights."""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Pooling

MAXPOOL3X3 = ConvOperation(
    "maxpool3x3",
    colours=("#d5ecf0", "#1c4750"),
    cheaper=("identity",),
    pieces=(Pooling(average=False),),
)
