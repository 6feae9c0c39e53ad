"""The picture of a comparison: what the named cells are worth against what finding them cost, and the
retrained fronts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
"""Okabe and Ito's, told apart by the colour-blind."""
MARKERS = "osD^vPX*"
FRONTS = ("inherited", "paper", "random", "asha", "complete")
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


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Both panels as one SVG file."""
    names = list(result["summary"])
    # Beyond the last colour they come again, each with the next marker.
    looks = {
        name: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, name in enumerate(names)
    }
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    _named(left, result, looks)
    _fronts(right, result, looks)
    save(figure, path)


def _rows(result: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [seed["methods"][name] for seed in result["seeds"].values() if name in seed["methods"]]


def _named(axes: Any, result: Mapping[str, Any], looks: Mapping[str, tuple[str, str]]) -> None:
    """S of the retrained named cell against training MACs; what costs no search stands apart, on the left."""
    spent = [row["training_macs"] for name in looks for row in _rows(result, name) if row["training_macs"]]
    low = math.floor(math.log10(min(spent, default=1.0)))
    high = math.ceil(math.log10(max(spent, default=1.0)))
    # Marks without a search lie side by side in the decade below all others.
    free = [name for name in looks if not any(row["training_macs"] for row in _rows(result, name))]
    for name, (colour, marker) in looks.items():
        rows = _rows(result, name)
        aside = 10 ** (low - 1 + 0.15 + 0.5 * free.index(name) / max(1, len(free) - 1)) if name in free else None
        places = [aside or row["training_macs"] or 10**low for row in rows]
        scores = [row["named"]["score"] for row in rows]
        axes.plot(places, scores, marker, color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
        figure = result["summary"][name]["score"]
        centre = 10 ** float(np.mean(np.log10(places)))
        axes.errorbar(
            centre, figure["mean"], yerr=figure["error"], fmt=marker, color=colour, markersize=7, capsize=3, label=name
        )
    axes.set_xscale("log")
    ticks = list(range(low, max(high, low + 1) + 1))
    shown = [10**low, *(10**tick for tick in ticks[1:])]
    labels = [f"$10^{{{tick}}}$" for tick in ticks]
    if free:
        shown, labels = [10 ** (low - 0.6), *shown], ["no search", *labels]
        axes.axvline(10 ** (low - 0.2), color=FAINT, linewidth=1)
    axes.set_xticks(shown, labels)
    axes.minorticks_off()
    axes.set_xlim(10 ** (low - (1 if free else 0)), 10 ** (max(high, low + 1) + 0.1))
    axes.set_xlabel("training MACs of the search")
    axes.set_ylabel("S of the named cell, retrained")
    axes.set_title("What was found, and what finding it cost", loc="left", fontsize=10)
    axes.legend(fontsize=8, ncols=2)


def _fronts(axes: Any, result: Mapping[str, Any], looks: Mapping[str, tuple[str, str]]) -> None:
    """Every retrained cell, and the best performance within a cost as a mean over seeds."""
    for name in (name for name in FRONTS if name in looks):
        colour, marker = looks[name]
        fronts = [
            [(one["cost"], one["performance"]) for one in (row["named"], *row["front"])] for row in _rows(result, name)
        ]
        points = sorted({point for front in fronts for point in front})
        costs, performances = zip(*points, strict=True)
        axes.plot(costs, performances, marker, color=colour, alpha=0.3, markersize=4, markeredgewidth=0)
        places, means = attained(fronts)
        axes.step(places, means, where="post", color=colour, linewidth=1.5)
        axes.plot(places[-1], means[-1], marker, color=colour, markersize=6, label=name)
    axes.set_xscale("log")
    resource = result["settings"]["resource"].replace("macs", "MACs").replace("_", " ")
    axes.set_xlabel(f"{resource} of a cell in its network")
    axes.set_ylabel("accuracy, retrained" if result["task"] == "image" else "−ln perplexity, retrained")
    axes.set_title("Retrained fronts: the best within a cost, mean over seeds", loc="left", fontsize=10)
    axes.legend(fontsize=8)


def attained(fronts: Sequence[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    """Costs, and the mean over fronts of the best performance within each, from where every front has a cell on.

    Args:
        fronts: (cost, performance) of the cells of each seed.
    """
    begin = max(min(cost for cost, _ in front) for front in fronts)
    places = sorted({cost for front in fronts for cost, _ in front if cost >= begin})
    means = [
        float(np.mean([max(performance for cost, performance in front if cost <= place) for front in fronts]))
        for place in places
    ]
    return places, means
