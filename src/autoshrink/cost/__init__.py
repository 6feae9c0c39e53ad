"""Parameters, MACs and peak activation memory of an architecture, by shape arithmetic alone."""

from autoshrink.cost.counting import count, widest
from autoshrink.steps import BYTES_PER_ACTIVATION, Cost, Layer

__all__ = ["BYTES_PER_ACTIVATION", "Cost", "Layer", "count", "widest"]
