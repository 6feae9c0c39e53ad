"""Architectures as torch modules."""

from autoshrink.architecture import Architecture
from autoshrink.networks.conv import ConvNetwork, initialise

__all__ = ["ConvNetwork", "build"]


def build(architecture: Architecture, *, seed: int) -> ConvNetwork:
    """The network of an architecture, freshly initialised on the CPU; the same seed gives the same weights."""
    network = ConvNetwork(architecture.plan())
    initialise(network, seed)
    return network
