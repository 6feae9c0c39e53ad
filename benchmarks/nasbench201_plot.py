"""The picture of `nasbench201.py`: test accuracy against evaluations, a panel a data set.

    python benchmarks/nasbench201_plot.py docs/benchmarks/nasbench201-*.json -o docs/images/nasbench201.svg

Reads what ``nasbench201.py --json --curves`` printed; several files of one test column make one panel. Lines are means
over seeds, bands one standard error to either side; a search that is over goes on with what it found. Needs matplotlib
(the extra `bench`) and `autoshrink_paper`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoshrink_paper.plotting import COLOURS, pyplot, save

LINES = {
    ("autoshrink", "edges", None, "child"): "AutoShrink: edges, all",
    ("autoshrink", "identity", None, "child"): "identity or nothing, all",
    ("autoshrink", "ops", None, "child"): "any cheaper operation, all",
    ("autoshrink", "ops", 8, "child"): "any cheaper, K = 8",
    ("autoshrink", "both", 8, "best"): "K = 8, both ways, from the best so far",
    ("evolution", None, None, None): "regularised evolution",
    ("tpe", None, None, None): "TPE (Optuna)",
    ("random", None, None, None): "random",
    ("ddpnas", None, 3, None): "DDPNAS, T = 3",
    ("ddpnas", None, 12, None): "DDPNAS, T = 12",
    ("oneshot", None, None, None): "one-shot, by blocks",
    ("msnas", None, None, None): "MSNAS",
}
DASHED = ("edges", "identity", "ops")


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("-o", dest="output", type=Path, required=True)
    options = parser.parse_args()
    panels: dict[str, dict[str, Any]] = {}
    for file in options.results:
        result = json.loads(file.read_text())
        kept = panels.setdefault(result["test"], result | {"rows": [], "curves": []})
        kept["rows"] += result["rows"]
        kept["curves"] += result["curves"]
    figure, axes = pyplot().subplots(
        1, len(panels), figsize=(5.2 * len(panels), 4.4), layout="constrained", squeeze=False
    )
    for panel, result in zip(axes[0], panels.values(), strict=True):
        _panel(panel, result)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    save(figure, options.output)


def _panel(panel: Any, result: Mapping[str, Any]) -> None:
    lows = []
    for number, (head, label) in enumerate(LINES.items()):
        colour, again = COLOURS[number % len(COLOURS)], number >= len(COLOURS)
        # What draws nothing is one search.
        style = ":" if again else "--" if head[2] is None and head[1] in DASHED else "-"
        for curve in result["curves"]:
            if (curve["method"], curve["moves"], curve["drawn"], curve["walk"]) != head:
                continue
            places = np.array([*curve["evaluations"], 175], dtype=float)
            means = np.array([*curve["mean"], curve["mean"][-1]], dtype=float)
            errors = np.array([*curve["sd"], curve["sd"][-1]], dtype=float) / math.sqrt(curve["seeds"])
            panel.plot(places, means, style, color=colour, label=label)
            panel.fill_between(places, means - errors, means + errors, color=colour, alpha=0.2, linewidth=0)
            lows.append(means[places >= 12].min())
    tops = [max(one["test_mean"] for one in result["rows"] if one["test_mean"] is not None)]
    evolved = [one["test_mean"] for one in result["rows"] if one["method"] == "random"]
    low, top = min(evolved, default=min(lows)), max(tops)
    panel.set_ylim(low - 0.15 * (top - low), top + 0.08 * (top - low))
    panel.set_xscale("log")
    ticks = (5, 10, 25, 43, 80, 175)
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
    panel.set_xlim(4, 175)
    panel.set_xlabel("networks evaluated")
    panel.set_ylabel(f"{result['test']}, %")
    panel.set_title(f"chosen by {result['validation']}", loc="left", fontsize=10)


if __name__ == "__main__":
    main()
