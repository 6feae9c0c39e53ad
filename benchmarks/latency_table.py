"""How far a network's latency is the sum of its operations': random cells, by the table and measured whole.

    python benchmarks/latency_table.py [--cells 20] [--nodes 7] [-o docs/benchmarks/latency-table.json]

Each cell stands in the proxy network of the two searches named below. The table is measured operation by operation, as
`search --resource latency` does; the networks are exported and take turns, five rounds. Times are on the core, one
thread, batch 1. Prints JSON: for each network both figures, their ratio (whole / table), and the rank correlation
(Spearman) of the whole network's latency with the table, and, for comparison, with MACs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.latency.measuring import Session, race
from autoshrink.latency.operations import OperationTimer, device_facts
from autoshrink.latency.table import Latencies, LatencyTable
from autoshrink.onnx.untrained import architecture_to_onnx
from autoshrink.priors import random_cells


def paper(cell: Cell) -> ConvArchitecture:
    """The paper's proxy network: 3×32×32, widths 16, 32, 64."""
    return proxy_architecture(cell)


def digits(cell: Cell) -> ConvArchitecture:
    """The built-in digits': 1×8×8, widths 8, 16, 32, which fill no vector register evenly."""
    return proxy_architecture(cell, shape=(1, 8, 8), stem=16, widths=(8, 16, 32))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation of ranks; no ties are expected among times."""

    def ranks(values: Sequence[float]) -> list[float]:
        order = sorted(range(len(values)), key=values.__getitem__)
        places = [0.0] * len(values)
        for place, index in enumerate(order):
            places[index] = float(place)
        return places

    return statistics.correlation(ranks(first), ranks(second))


def compared(architectures: Sequence[ConvArchitecture], rounds: int) -> dict[str, Any]:
    """The networks by the table and whole."""
    began = time.monotonic()
    latencies = Latencies(LatencyTable(device_facts(), {}), OperationTimer())
    predicted = [latencies(architecture) / 1e9 for architecture in architectures]
    seconds = time.monotonic() - began
    with tempfile.TemporaryDirectory() as folder:
        sessions = []
        for number, architecture in enumerate(architectures):
            path = Path(folder) / f"{number}.onnx"
            architecture_to_onnx(architecture, path)
            sessions.append(Session(path))
        whole = [statistics.median(one.rounds) for one in race(sessions, rounds=rounds, seconds=0.1)]
    macs = [count(architecture).macs for architecture in architectures]
    ratios = [one / other for one, other in zip(whole, predicted, strict=True)]
    return {
        "operations": len(latencies.table.nanoseconds),
        "table_seconds": seconds,
        "spearman_table": spearman(whole, predicted),
        "spearman_macs": spearman(whole, macs),
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "networks": [
            {"edges": len(architecture.cell.edges), "macs": cost, "table": one, "whole": other}
            for architecture, cost, one, other in zip(architectures, macs, predicted, whole, strict=True)
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    cells = random_cells("conv", options.nodes, options.cells, options.seed)
    result: dict[str, Any] = {"device": device_facts(), "cells": options.cells, "nodes": options.nodes}
    for name, network in (("paper", paper), ("digits", digits)):
        result[name] = compared([network(cell) for cell in cells], options.rounds)
        shown = {key: value for key, value in result[name].items() if key != "networks"}
        print(f"{name}: {shown}", file=sys.stderr)
    text = json.dumps(result, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
