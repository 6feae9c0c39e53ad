"""An inverted bottleneck with squeeze and excitation (Hu et al. 2018) after its depthwise convolution.

With a quarter of the width between the two, as in MnasNet (Tan et al. 2019, Fig. 7).
"""

from autoshrink.ops.base import ConvOperation
from autoshrink.ops.pieces import Convolution, Squeeze

MBCONV3X3_SE = ConvOperation(
    "mbconv3x3_se",
    colours=("#f5dcec", "#5a2747"),
    cheaper=("mbconv3x3", "sepconv5x5", "sepconv3x3", "conv1x1", "maxpool3x3", "avgpool3x3", "identity"),
    pieces=(Convolution(widens=3), Convolution(3, depthwise=True), Squeeze(12), Convolution()),
    residual=True,
)
