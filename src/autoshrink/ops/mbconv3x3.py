"""An inverted bottleneck: 1×1 to thrice the width, 3×3 within every channel, 1×1 back, plus the input where it fits.

MobileNetV2's block (Sandler et al. 2018, Fig. 3). Three instead of its six, so that from 10 channels on it costs less
than a dense 3×3 convolution.
"""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Convolution

MBCONV3X3 = ConvOperation(
    "mbconv3x3",
    colours=("#e9dcf5", "#3f2a5e"),
    cheaper=("sepconv5x5", "sepconv3x3", "conv1x1", "maxpool3x3", "avgpool3x3", "identity"),
    pieces=(Convolution(widens=3), Convolution(3, depthwise=True), Convolution()),
    residual=True,
)
