"""A separable convolution: 3×3 within every channel, then 1×1 across channels."""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Convolution

SEPCONV3X3 = ConvOperation(
    "sepconv3x3",
    colours=("#fbe6c8", "#5a4214"),
    cheaper=("conv1x1", "maxpool3x3", "avgpool3x3", "identity"),
    pieces=(Convolution(3, depthwise=True), Convolution()),
)
