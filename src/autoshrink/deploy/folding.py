"""Batch normalisation folded into the convolutions before it: what an exported network computes with."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autoshrink.networks.conv import ConvCell


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode with the same outputs, in which no `Sequential` has a convolution followed by BN.

    With BN's scale γ/√(σ² + ε) the convolution's weight becomes W·γ/√(σ² + ε) and its bias β − μ·γ/√(σ² + ε), worked
    out in float64. Strides of shortcuts are taken inside their convolutions. The copy is for inference: its BN
    statistics are gone, and the backward pass of such convolutions is not to be trusted on a CPU (torch 2.13).
    """
    twin = copy.deepcopy(network).eval()
    for module in list(twin.modules()):
        if isinstance(module, nn.Sequential):
            _fold(module)
        elif isinstance(module, ConvCell):
            module.take_stride()
    return twin


def _fold(sequence: nn.Sequential) -> None:
    for (name, convolution), (follower, norm) in pairwise(list(sequence.named_children())):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(sequence, name, fuse_conv_bn_eval(convolution.double(), norm.double()).float())
            delattr(sequence, follower)
