"""Cells to craft with, and what comes back taken for a convolutional network."""

from __future__ import annotations

from autoshrink import zoo
from autoshrink.architecture import ConvArchitecture
from autoshrink.cell import Cell
from autoshrink.crafting import Crafted
from autoshrink.priors import random_cells

CELLS = random_cells("conv", 8, 60, seed=4)
SMALL = Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (1, 3)))


def conv(crafted: Crafted) -> ConvArchitecture:
    assert isinstance(crafted.architecture, ConvArchitecture)
    return crafted.architecture


def shrinkcnn() -> ConvArchitecture:
    found = zoo.get("shrinkcnn-a")
    assert isinstance(found, ConvArchitecture)
    return found
