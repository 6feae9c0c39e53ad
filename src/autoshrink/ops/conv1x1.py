"""A 1×1 convolution."""

from autoshrink.ops.base import Convolution, ConvOperation

CONV1X1 = ConvOperation("conv1x1", colours=("#dbe8f6", "#22405f"), pieces=(Convolution(),))
