"""The blocks of MobileNets, EfficientNets and ResNets as a `torch.nn.Module`.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from autoshrink.architecture import BlockPlan
from autoshrink.networks.projection import Projection
from autoshrink.ops import ActivationName
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


class Block(nn.Module):
    """One block: (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for layer in plan.layers:
            layers[layer.name] = conv_bn(*layer.channels, layer.form, stride=layer.stride, activation=layer.activation)
            if layer.name == plan.excited:
                assert plan.squeezed is not None, "what is excited was squeezed"
                layers["excitation"] = SqueezeExcite(layer.channels[1], plan.squeezed, plan.activation)
        self.layers = nn.Sequential(layers)
        self.shortcut = Projection(plan.shortcut.channels, plan.stride) if plan.shortcut else None
        self.activation = ACTIVATIONS[plan.last_activation]() if plan.last_activation else None
        self._adds = plan.adds

    def forward(self, x: Tensor) -> Tensor:
        """What the layers make of the input, plus the input or its projection where the block has a shortcut."""
        output: Tensor = self.layers(x)
        if self._adds:
            output = output + (x if self.shortcut is None else self.shortcut(x))
        return output if self.activation is None else self.activation(output)
