"""A dense convolution: 3×3 across all channels; the most expensive of all."""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Convolution

CONV3X3 = ConvOperation(
    "conv3x3",
    colours=("#f9d9d3", "#5f2a22"),
    cheaper=(
        "mbconv3x3_se",
        "mbconv3x3",
        "sepconv5x5",
        "sepconv3x3",
        "conv1x1",
        "maxpool3x3",
        "avgpool3x3",
        "identity",
    ),
    pieces=(Convolution(3),),
)
