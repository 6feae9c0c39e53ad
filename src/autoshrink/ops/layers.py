"""The modules that operations, stems and heads are made of.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor, nn

from autoshrink.ops.base import ActivationName
from autoshrink.ops.pieces import Convolution, Pooling

BN_EPSILON = 1e-5
BN_MOMENTUM = 0.1
"""torch's momentum is the weight of the new batch: 0.1 keeps 0.9 of the running statistics."""

ACTIVATIONS: dict[ActivationName, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "swish": partial(nn.SiLU, inplace=True),
    "hardswish": partial(nn.Hardswish, inplace=True),
    "relu6": partial(nn.ReLU6, inplace=True),
    "gelu": nn.GELU,
    "leaky_relu": partial(nn.LeakyReLU, 0.1, inplace=True),
}


def conv_bn(
    in_channels: int,
    out_channels: int,
    form: Convolution = Convolution(),  # noqa: B008 - a frozen value
    *,
    stride: int = 1,
    activation: ActivationName | None,
) -> nn.Sequential:
    """A bias-free convolution padded so that stride 1 keeps the size, BN, and an activation or none."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            in_channels,
            out_channels,
            form.kernel,
            stride=stride,
            padding=form.dilation * (form.kernel // 2),
            dilation=form.dilation,
            groups=in_channels if form.depthwise else 1,
            bias=False,
        ),
        bn=nn.BatchNorm2d(out_channels, eps=BN_EPSILON, momentum=BN_MOMENTUM),
    )
    if activation:
        layers["activation"] = ACTIVATIONS[activation]()
    return nn.Sequential(layers)


def pooling(form: Pooling) -> nn.Module:
    """A pooling that keeps the size: (B, C, H, W) to the same."""
    if form.average:
        return nn.AvgPool2d(form.kernel, stride=1, padding=form.kernel // 2, count_include_pad=False)
    return nn.MaxPool2d(form.kernel, stride=1, padding=form.kernel // 2)


def in_a_row(named: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    """Modules one after the other, by their names."""
    return nn.Sequential(OrderedDict(named))


class Residual(nn.Sequential):
    """Modules one after the other, plus their input: (B, C, H, W) to the same."""

    def __init__(self, named: Iterable[tuple[str, nn.Module]]) -> None:
        super().__init__(OrderedDict(named))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """What the modules give, plus the input."""
        x = input
        for module in self:
            x = module(x)
        return input + x


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
