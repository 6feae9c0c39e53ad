"""How near `craft` comes to budgets that are drawn at random.

    python benchmarks/craft_budgets.py [--cells 50] [--divisors 1 4 8]

Random cells of eight nodes of all densities, each in the paper's proxy network (Table 1, 3×32×32) and in ShrinkCNN-A's
skeleton (3×224×224). For each resource one budget a cell, 10^u times what the skeleton has, u uniform in −½ to 1.2. The
gap is what is left of the budget. Prints JSON, and a table in Markdown on standard error. Nothing is built or trained.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from autoshrink import zoo
from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.crafting import craft
from autoshrink.errors import InputError
from autoshrink.priors import random_cells

NODES, LEAST, MOST = 8, -0.5, 1.2
NEAR = 0.03


@dataclass(frozen=True)
class Row:
    """Gaps as shares of the budget; `refused` budgets are below the smallest network, `far` above 3 %."""

    network: str
    resource: str
    divisor: int
    fitted: int
    refused: int
    median: float
    ninth_decile: float
    largest: float
    far: int
    exceeded: int
    seconds: float


def in_proxy(cell: Cell) -> ConvArchitecture:
    """The paper's proxy network."""
    return proxy_architecture(cell)


def in_shrinkcnn(cell: Cell) -> ConvArchitecture:
    """ShrinkCNN-A with another cell."""
    found = zoo.get("shrinkcnn-a")
    return ConvArchitecture.from_json(found.to_json() | {"cell": cell.to_json()})


def measure(around: Callable[[Cell], ConvArchitecture], name: str, divisor: int, cells: tuple[Cell, ...]) -> Row:
    """One budget for each cell."""
    rng, gaps, refused, began = random.Random(f"{around.__name__} {name}"), [], 0, time.perf_counter()
    for cell in cells:
        skeleton = around(cell)
        limit = round(_used(skeleton, name) * 10 ** rng.uniform(LEAST, MOST))
        try:
            found = craft(skeleton, divisor=divisor, **{name: limit})  # type: ignore[arg-type]
        except InputError:
            refused += 1
            continue
        assert isinstance(found.architecture, ConvArchitecture), "from a convolutional cell"
        gaps.append(1 - _used(found.architecture, name) / limit)
    return Row(
        network=around.__name__.removeprefix("in_"),
        resource=name,
        divisor=divisor,
        fitted=len(gaps),
        refused=refused,
        median=statistics.median(gaps),
        ninth_decile=statistics.quantiles(gaps, n=10)[-1],
        largest=max(gaps),
        far=sum(gap > NEAR for gap in gaps),
        exceeded=sum(gap < 0 for gap in gaps),
        seconds=round(time.perf_counter() - began, 1),
    )


def _used(architecture: ConvArchitecture, name: str) -> int:
    cost = count(architecture)
    return {"macs": cost.macs, "params": cost.params, "memory": cost.peak_activation_bytes}[name]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--divisors", type=int, nargs="+", default=[1, 4, 8])
    options = parser.parse_args()
    cells = random_cells("conv", NODES, options.cells, seed=0)
    resources: tuple[str, ...] = ("macs", "params", "memory")
    rows = [
        measure(around, name, divisor, cells)
        for divisor in options.divisors
        for name in resources
        for around in (in_proxy, in_shrinkcnn)
    ]
    print("| divisor | budget | network | median gap | ninth decile | largest | above 3 % | refused |", file=sys.stderr)
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", file=sys.stderr)
    for row in rows:
        gaps = " | ".join(f"{100 * gap:.2f} %" for gap in (row.median, row.ninth_decile, row.largest))
        print(
            f"| {row.divisor} | {row.resource} | {row.network} | {gaps} | {row.far} of {row.fitted} | {row.refused} |",
            file=sys.stderr,
        )
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
