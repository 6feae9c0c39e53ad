"""A separable convolution: 5×5 within every channel, then 1×1 across channels."""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Convolution

SEPCONV5X5 = ConvOperation(
    "sepconv5x5",
    colours=("#f6efc4", "#514812"),
    cheaper=("sepconv3x3", "conv1x1", "maxpool3x3", "avgpool3x3", "identity"),
    pieces=(Convolution(5, depthwise=True), Convolution()),
)
