"""The blocks of MobileNets, EfficientNets and ResNets as a `torch.nn.Module`.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from autoshrink.architecture import BlockPlan
from autoshrink.networks.projection import Projection
from autoshrink.ops.layers import ACTIVATIONS, SqueezeExcite, conv_bn


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
