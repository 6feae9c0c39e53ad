"""The block of MobileNetV2, MnasNet and EfficientNet-B0 as a `torch.nn.Module`.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from autoshrink.architecture import BlockPlan
from autoshrink.ops import ActivationName, Convolution
from autoshrink.ops.layers import ACTIVATIONS, conv_bn


class SqueezeExcite(nn.Module):
    """Each channel times a gate in (0, 1) that its mean and those of all others decide; (B, C, H, W) to the same."""

    def __init__(self, channels: int, squeezed: int, activation: ActivationName) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.activation = ACTIVATIONS[activation]()
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The input, gated."""
        gate: Tensor = self.excite(self.activation(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))
        return x * gate.sigmoid()


class InvertedResidual(nn.Module):
    """One block: (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, plan: BlockPlan, activation: ActivationName) -> None:
        super().__init__()
        channels = plan.expanded
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if plan.expands:
            layers["expand"] = conv_bn(plan.in_channels, channels, activation=activation)
        layers["depthwise"] = conv_bn(
            channels, channels, Convolution(plan.kernel, depthwise=True), stride=plan.stride, activation=activation
        )
        if plan.squeezed is not None:
            layers["excitation"] = SqueezeExcite(channels, plan.squeezed, activation)
        layers["project"] = conv_bn(channels, plan.out_channels, activation=None)
        self.layers = nn.Sequential(layers)
        self._adds = plan.adds

    def forward(self, x: Tensor) -> Tensor:
        """The narrowed tensor, plus the input where it has the same shape."""
        output: Tensor = self.layers(x)
        return output + x if self._adds else output
