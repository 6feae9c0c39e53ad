"""How the pictures of benchmarks look, and how they are written as SVG."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
"""Okabe and Ito's, told apart by the colour-blind."""
MARKERS = "osD^vPX*"
FAINT, NORMAL = "#d8d8d8", "#333333"


def pyplot() -> Any:
    """matplotlib without a display, text kept as text, and the axes that are read drawn alone."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "autoshrink",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": NORMAL,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": FAINT,
            "grid.linewidth": 0.5,
            "legend.frameon": False,
        }
    )
    return import_module("matplotlib.pyplot")


def save(figure: Any, path: Path) -> None:
    """An SVG file without the time at which it was made, so that the same figures give the same file."""
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot().close(figure)
