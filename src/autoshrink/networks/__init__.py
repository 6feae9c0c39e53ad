"""Architectures as torch modules."""

from typing import overload

import torch
from torch import nn

from autoshrink.architecture import Architecture, ImageArchitecture, LanguageModel
from autoshrink.networks import image, recurrent
from autoshrink.networks.backbone import Backbone, feature_info
from autoshrink.networks.image import ImageNetwork, set_normalisation
from autoshrink.networks.inheritance import inherit, undo_normalisation
from autoshrink.networks.recurrent import LanguageNetwork, Masks
from autoshrink.networks.supernet import ImageSupernet, LanguageSupernet, Supernet, supernet
from autoshrink.ops.layers import BN_EPSILON, BN_MOMENTUM

__all__ = [
    "BN_EPSILON",
    "BN_MOMENTUM",
    "Backbone",
    "ImageNetwork",
    "ImageSupernet",
    "LanguageNetwork",
    "LanguageSupernet",
    "Masks",
    "Supernet",
    "build",
    "feature_info",
    "inherit",
    "set_normalisation",
    "supernet",
    "undo_normalisation",
]


@overload
def build(architecture: ImageArchitecture, *, seed: int) -> ImageNetwork: ...
@overload
def build(architecture: LanguageModel, *, seed: int, initial_range: float | None = None) -> LanguageNetwork: ...
@overload
def build(architecture: Architecture, *, seed: int) -> nn.Module: ...
def build(architecture: Architecture, *, seed: int, initial_range: float | None = None) -> nn.Module:
    """The network of an architecture, freshly initialised on the CPU; the same seed gives the same weights.

    `initial_range` is for language models: the weights start from U(−initial_range, initial_range); None is a range
    that suits the width.
    """
    if isinstance(architecture, ImageArchitecture):
        network = ImageNetwork(architecture.plan())
        image.initialise(network, seed)
        return network
    if isinstance(architecture, LanguageModel):
        model = LanguageNetwork(architecture)
        recurrent.initialise(model, seed, initial_range=initial_range)
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.network()
