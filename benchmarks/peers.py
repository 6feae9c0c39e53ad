"""Hand-made networks as plain torch modules, at any width and input size: what a found network is put beside.

The stages are those published: MobileNetV2 (Sandler et al. 2018, Table 2), MobileNetV3-Small (Howard et al. 2019,
Table 2), MobileNetV4-Conv-S (Qin et al. 2024, Table 11), ShuffleNetV2 (Ma et al. 2018, Table 5), ResNet-8 (MLPerf Tiny,
Banbury et al. 2021); and a chain, two depthwise-separable convolutions in a row in each of three stages. Nothing here
comes from the product. `-like`, because they are made for inputs of 32 pixels and less: of the published strides as
many are taken, from the last backwards, as leave 4×4 pixels to the global pooling, and all channels are scaled by one
factor. `-short` has one block where the published stage has several.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

LAST_PIXELS = 4
GRAINS = (8, 4, 2, 1)
NEAR, AIM, STEPS = 0.95, 0.98, 8

Width = Callable[[float], int]
Shape = tuple[int, int, int]


def conv(
    before: int, after: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    """Convolution, BN and an activation."""
    layers = [
        nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after),
        *([act()] if act else []),
    ]
    return nn.Sequential(*layers)


class Skip(nn.Module):
    """A branch, plus its input."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        summed: Tensor = x + self.branch(x)
        return summed


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al. 2018) with MobileNetV3's hard sigmoid."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        gated: Tensor = x * self.gate(x.mean((2, 3), keepdim=True))
        return gated


class Pointwise(nn.Conv2d):
    """A 1×1 convolution with a stride, which takes its pixels first while it is trained.

    torch 2.13's backward pass of such a convolution corrupts memory in the channels-last layout.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        if not self.training:
            return super().forward(x)
        return functional.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], self.weight)


class Residual(nn.Module):
    """ResNet's basic block."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(conv(before, after, 3, stride), conv(after, after, 3, act=None))
        widened = nn.Sequential(Pointwise(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if (before, stride) == (after, 1) else widened

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        return torch.relu(self.branch(x) + self.shortcut(x))


class Shuffle(nn.Module):
    """ShuffleNetV2's unit (Fig. 3c, and 3d with a stride)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        half = after // 2
        self.split = stride == 1 and before == after
        inner = before // 2 if self.split else before
        keep = [conv(before, before, 3, stride, groups=before, act=None), conv(before, half)]
        self.left = nn.Identity() if self.split else nn.Sequential(*keep)
        self.right = nn.Sequential(
            conv(inner, half), conv(half, half, 3, stride, groups=half, act=None), conv(half, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride)), channels of both branches in turns."""
        left, right = x.chunk(2, 1) if self.split else (x, x)
        pair = torch.stack((self.left(left), self.right(right)), 2)
        return pair.flatten(1, 2)


@dataclass(frozen=True)
class Bottleneck:
    """An inverted residual block of MobileNetV2 to V4.

    Args:
        width: channels of its output.
        expanded: channels of the depthwise convolution between; None for those of the input, without an expansion.
        stride: the published one.
        kernel: of the depthwise convolution; None without it (V4's ConvNext-like block).
        first: kernel of V4's depthwise convolution before the expansion.
        excite: with squeeze and excitation, a quarter of the expanded channels.
        act: activation.
    """

    width: int
    expanded: int | None
    stride: int = 1
    kernel: int | None = 3
    first: int | None = None
    excite: bool = False
    act: type[nn.Module] = nn.ReLU

    def module(self, before: int, scale: Width, stride: int) -> tuple[nn.Module, int]:
        """The block for so many channels in, and the channels that it gives."""
        after = scale(self.width)
        inner = before if self.expanded is None else max(1, round(after * self.expanded / self.width))
        layers: list[nn.Module] = []
        here = 1 if self.kernel else stride
        if self.first:
            layers.append(conv(before, before, self.first, here, groups=before, act=None))
        if self.expanded is not None:
            layers.append(conv(before, inner, act=self.act))
        if self.kernel:
            layers.append(conv(inner, inner, self.kernel, stride, groups=inner, act=self.act))
        if self.excite:
            layers.append(Excite(inner, max(1, inner // 4)))
        layers.append(conv(inner, after, act=None))
        block = nn.Sequential(*layers)
        return (Skip(block) if (before, stride) == (after, 1) else block), after


@dataclass(frozen=True)
class Plain:
    """A block of one of the other kinds."""

    make: Callable[[int, int, int], nn.Module]
    width: int
    stride: int = 1
    even: bool = False

    def module(self, before: int, scale: Width, stride: int) -> tuple[nn.Module, int]:
        """The block for so many channels in, and the channels that it gives."""
        after = scale(self.width)
        after += after % 2 if self.even else 0
        return self.make(before, after, stride), after


def separable(before: int, after: int, stride: int) -> nn.Module:
    """A depthwise 3×3 and a 1×1 convolution."""
    return nn.Sequential(conv(before, before, 3, stride, groups=before, act=None), conv(before, after))


def fused(before: int, after: int, stride: int) -> nn.Module:
    """A dense 3×3 and a 1×1 convolution, as MobileNetV4 begins."""
    return nn.Sequential(conv(before, after, 3, stride), conv(after, after))


def pooled(before: int, after: int, stride: int) -> nn.Module:
    """ShuffleNetV2's max-pooling after the stem; nothing at stride 1."""
    assert before == after, "pooling keeps channels"
    return nn.MaxPool2d(3, stride, 1) if stride > 1 else nn.Identity()


@dataclass(frozen=True)
class Peer:
    """A network at any width: a stem, blocks, perhaps a 1×1 convolution and a hidden layer, and a classifier."""

    stem: int
    blocks: tuple[Bottleneck | Plain, ...]
    head: int | None = None
    hidden: int | None = None
    act: type[nn.Module] = nn.ReLU

    def module(self, shape: Shape, classes: int, *, stem_stride: int, factor: float, grain: int) -> nn.Sequential:
        """For inputs (C, H, W), every number of channels times `factor`, rounded to a multiple of `grain`."""

        def scale(channels: float) -> int:
            return max(grain, math.floor(channels * factor / grain + 0.5) * grain)

        width = scale(self.stem)
        strides = kept([block.stride for block in self.blocks], shape[1], stem_stride)
        layers: list[nn.Module] = [conv(shape[0], width, 3, stem_stride, act=self.act)]
        for block, stride in zip(self.blocks, strides, strict=True):
            made, width = block.module(width, scale, stride)
            layers.append(made)
        for channels in (self.head,) if self.head else ():
            layers.append(conv(width, scale(channels), act=self.act))
            width = scale(channels)
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for channels in (self.hidden,) if self.hidden else ():
            layers += [nn.Linear(width, scale(channels)), self.act()]
            width = scale(channels)
        return nn.Sequential(*layers, nn.Linear(width, classes))


def kept(strides: Sequence[int], size: int, stem_stride: int) -> list[int]:
    """Of the published strides, from the last backwards, those that leave at least 4×4 pixels."""
    left, found = math.ceil(size / stem_stride), []
    for stride in reversed(strides):
        fits = math.ceil(left / stride) >= LAST_PIXELS
        left = math.ceil(left / stride) if fits else left
        found.append(stride if fits else 1)
    return found[::-1]


def _v2(*, short: bool = False) -> Peer:
    # expansion, channels, blocks, stride
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    before, blocks = 32, []
    for times, width, count, stride in table:
        for number in range(1 if short else count):
            inner = before * times if times > 1 else None
            blocks.append(Bottleneck(width, inner, stride if number == 0 else 1, act=nn.ReLU6))
            before = width
    return Peer(32, tuple(blocks), 1280, act=nn.ReLU6)


def _v3() -> Peer:
    hard = partial(Bottleneck, act=nn.Hardswish, excite=True, kernel=5)
    return Peer(
        16,
        (
            Bottleneck(16, None, 2, excite=True),
            Bottleneck(24, 72, 2),
            Bottleneck(24, 88),
            hard(40, 96, 2),
            hard(40, 240),
            hard(40, 240),
            hard(48, 120),
            hard(48, 144),
            hard(96, 288, 2),
            hard(96, 576),
            hard(96, 576),
        ),
        head=576,
        hidden=1024,
        act=nn.Hardswish,
    )


def _v4() -> Peer:
    extra = partial(Bottleneck, first=3)
    return Peer(
        32,
        (
            Plain(fused, 32, 2),
            Plain(fused, 64, 2),
            extra(96, 192, 2, kernel=5, first=5),
            *[Bottleneck(96, 192)] * 4,
            Bottleneck(96, 384, kernel=None, first=3),
            extra(128, 576, 2),
            extra(128, 512, kernel=5, first=5),
            Bottleneck(128, 512, kernel=5),
            Bottleneck(128, 384, kernel=5),
            Bottleneck(128, 512),
            Bottleneck(128, 512),
        ),
        head=960,
        hidden=1280,
    )


def _stages(make: Callable[[int, int, int], nn.Module], *stages: tuple[int, int, int]) -> tuple[Plain, ...]:
    """Blocks of (width, how many, stride)."""
    even = make is Shuffle
    return tuple(
        Plain(make, width, stride if number == 0 else 1, even)
        for width, count, stride in stages
        for number in range(count)
    )


PEERS: dict[str, Peer] = {
    "mobilenetv2": _v2(),
    "mobilenetv2-short": _v2(short=True),
    "mobilenetv3": _v3(),
    "mobilenetv4": _v4(),
    "shufflenetv2": Peer(
        24, (Plain(pooled, 24, 2), *_stages(Shuffle, (116, 4, 2), (232, 8, 2), (464, 4, 2))), head=1024
    ),
    "shufflenetv2-short": Peer(
        24, (Plain(pooled, 24, 2), *_stages(Shuffle, (116, 2, 2), (232, 2, 2), (464, 2, 2))), head=1024
    ),
    "resnet8": Peer(16, _stages(Residual, (16, 1, 1), (32, 1, 2), (64, 1, 2))),
    "chain": Peer(32, _stages(separable, (32, 2, 1), (64, 2, 2), (128, 2, 2))),
}


def _structure(
    times: int = 1,
    count: int = 2,
    *,
    head: int | None = None,
    late: Mapping[str, Any] | None = None,
    act: type[nn.Module] = nn.ReLU,
) -> Peer:
    """So many blocks at each of three sizes of the picture; `late` is what those of the two smaller sizes have."""
    before, blocks = 32, []
    for number, width in enumerate((32, 64, 128)):
        for place in range(count):
            inner = times * before if times > 1 else None
            stride = 2 if number and not place else 1
            blocks.append(Bottleneck(width, inner, stride, act=act, **(late or {} if number else {})))
            before = width
    return Peer(32, tuple(blocks), head, act=act)


def dense(before: int, after: int, stride: int) -> nn.Module:
    """A dense 3×3 convolution."""
    return conv(before, after, 3, stride)


STRUCTURES: dict[str, Peer] = {
    "expansion-1": _structure(),
    "expansion-1-three": _structure(count=3),
    "expansion-1-head": _structure(head=256),
    "expansion-1-excite": _structure(late={"excite": True}),
    "expansion-1-kernel-5": _structure(late={"kernel": 5}),
    "expansion-1-hardswish": _structure(act=nn.Hardswish),
    "expansion-2": _structure(2),
    "expansion-4": _structure(4),
    "dense": Peer(16, _stages(dense, (16, 1, 1), (32, 1, 2), (64, 2, 2))),
}
"""What networks may differ in, one thing at a time, against two blocks of expansion 1 at each of three sizes."""


def multiply_adds(network: nn.Module, shape: Shape) -> int:
    """Of one image, by torch's own counter: those of convolutions and linear layers."""
    training = network.training
    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(1, *shape, device=device))
    network.train(training)
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True)
class Scaled:
    """A peer at a width; `used` is what was asked to be near the budget, in its unit."""

    peer: Peer
    stem_stride: int
    factor: float
    grain: int
    used: float

    def network(self, shape: Shape, classes: int) -> nn.Module:
        """Built, on the current device."""
        return self.peer.module(shape, classes, stem_stride=self.stem_stride, factor=self.factor, grain=self.grain)


def scaled(
    peer: Peer,
    stem_stride: int,
    budget: float,
    measure: Callable[[Callable[[], nn.Module]], float],
    shape: Shape,
    *,
    classes: int,
    grains: Sequence[int] = GRAINS,
) -> Scaled:
    """The widest found that `measure` puts within the budget, of the coarsest rounding that comes to 95 % of it.

    `measure` is given what builds a network. Raises ValueError where even one channel everywhere is too much.
    """
    best: Scaled | None = None
    for grain in grains:
        low, high, guess = 0.01, 16.0, best.factor if best else 0.2
        for _ in range(STEPS):
            factor = guess if low < guess < high else math.sqrt(low * high)
            one = Scaled(peer, stem_stride, factor, grain, 0.0)
            used = measure(partial(one.network, shape, classes))
            low, high = (low, factor) if used > budget else (factor, high)
            if used <= budget and (best is None or used > best.used):
                best = Scaled(peer, stem_stride, factor, grain, used)
            if best is not None and best.used >= NEAR * budget:
                return best
            # Between the two ends of the range, where costs go about with the square of the width.
            guess = factor * math.sqrt(AIM * budget / used)
    if best is None:
        raise ValueError(f"budget {budget:g}: less than the narrowest network needs")
    return best
