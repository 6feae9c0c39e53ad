"""A 1×1 convolution."""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Convolution

CONV1X1 = ConvOperation(
    "conv1x1",
    colours=("#dbe8f6", "#22405f"),
    cheaper=("maxpool3x3", "avgpool3x3", "identity"),
    pieces=(Convolution(),),
)
