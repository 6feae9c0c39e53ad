"""Latency of published networks beside ShrinkCNN-A, in ONNX Runtime on this machine's CPU.

    python benchmarks/latency.py [--threads 1 2] [--rounds 20] [-o docs/benchmarks/latency.json]
      [--plot docs/images/latency.svg]

All are the zoo's, built here with random weights, BN folded, exported to ONNX, batch 1 at their own input size. They
take turns, in an order that turns round from round to round, so that drift of the machine hits all of them; a ratio is
the median over the rounds, with the least and the most of them. On one thread what counts is the time on the core:
others' work, which makes runs wait, is not in it. On two threads there is only the clock, and the figures
hold as far as the machine was idle: the JSON has its load before and after. Prints the JSON and, on standard error, a
table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoshrink import zoo
from autoshrink.cost import count
from autoshrink.latency.measuring import Latency, Session, race
from autoshrink.onnx.untrained import architecture_to_onnx
from autoshrink_paper.plotting import COLOURS, pyplot, save

FIRST = "shrinkcnn-a"
OTHERS = ("mobilenetv2-1.0", "mobilenetv2-1.4", "mnasnet-b1", "mnasnet-a1", "efficientnet-b0")


def row(name: str, one: Latency, first: Latency) -> dict[str, Any]:
    """A network's figures on so many threads."""
    middle, least, most = one.ratio(first)
    cost = count(zoo.get(name))
    return {
        "network": name,
        "macs": cost.macs,
        "params": cost.params,
        **one.to_json(),
        "rounds": list(one.rounds),
        "ratio": {"median": middle, "low": least, "high": most},
    }


def measured(names: Sequence[str], paths: Sequence[Path], threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """All networks on so many threads."""
    before = os.getloadavg()[0]
    sessions = [Session(path, threads=threads) for path in paths]
    raced = race(sessions, rounds=options.rounds, seconds=options.seconds)
    rows = [row(name, one, raced[0]) for name, one in zip(names, raced, strict=True)]
    return {"threads": threads, "load": [before, os.getloadavg()[0]], "rows": rows}


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    one_thread = found["threads"] == 1
    head = "| network | MACs | median | quartiles |" + (" on the core |" if one_thread else "") + " ratio (rounds) |"
    lines = [head, "| --- |" + " ---: |" * (4 + one_thread)]
    for one in found["rows"]:
        ratio = one["ratio"]
        cells = [
            one["network"],
            f"{one['macs'] / 1e6:.0f}M",
            f"{1e3 * one['median']:.1f} ms",
            f"{1e3 * one['low']:.1f} to {1e3 * one['high']:.1f}",
            *([f"{1e3 * one['core']:.2f} ms"] if one_thread else []),
            f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """A bar for each network; whiskers from the least to the most of the rounds' medians."""
    rounds = [sorted(1e3 * value for value in one["rounds"]) for one in result["rows"]]
    middles = [statistics.median(some) for some in rounds]
    below = [middle - some[0] for middle, some in zip(middles, rounds, strict=True)]
    above = [some[-1] - middle for middle, some in zip(middles, rounds, strict=True)]
    figure, axes = pyplot().subplots(figsize=(6.0, 2.6), layout="constrained")
    colours = [COLOURS[1] if one["network"] == FIRST else COLOURS[0] for one in result["rows"]]
    axes.barh([one["network"] for one in result["rows"]], middles, xerr=[below, above], capsize=2, color=colours)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"ms for one image, 3×224×224, float32, {words(result['threads'])}")
    save(figure, path)


def words(threads: int) -> str:
    """How it was measured."""
    return "1 thread, time on the core" if threads == 1 else f"{threads} threads, by the clock"


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each network in each round")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path, help="SVG file of the first number of threads")
    options = parser.parse_args()
    names = [FIRST, *OTHERS]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.onnx" for name in names]
        for name, path in zip(names, paths, strict=True):
            architecture_to_onnx(zoo.get(name), path)
        results = [measured(names, paths, threads, options) for threads in options.threads]
    for result in results:
        print(f"\n{result['threads']} threads, load {result['load']}\n\n{table(result)}", file=sys.stderr)
    text = json.dumps({"rounds": options.rounds, "seconds": options.seconds, "results": results}, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    if options.plot is not None:
        draw(results[0], options.plot)


if __name__ == "__main__":
    main()
