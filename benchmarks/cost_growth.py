"""How the training a search needs grows with the nodes of the cell, counted without training.

    python benchmarks/cost_growth.py [--nodes 4 6 8 10 12 16] [--plot docs/images/cost-growth.svg]

AutoShrink's strategy is driven from the complete graph to the last edge with K = 10 candidates a step. Resources are
the real ones; performances are drawn at random around one value, with the standard deviation that training and
validation noise have (`--noise`, default .015: an accuracy near .4 on 1,000 images), so the way down is decided by cost
and noise. What counts is how many cells of which size have to be measured. Data and network are those of
docs/evaluators.md for images (`PROXY`). Prints JSON, and a table in Markdown on standard error.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell, cell_of
from autoshrink.comparing.figures import Figure
from autoshrink.config import ImageSettings, InheritSettings, resolve
from autoshrink.cost import count
from autoshrink.priors import start_cell
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score
from autoshrink.seeding import derive_seed
from autoshrink.spaces import CellSpace
from autoshrink.strategies import AutoShrink, entrants
from autoshrink.training.sprint import CONSECUTIVE
from autoshrink_paper.plotting import COLOURS, MARKERS, pyplot, save

CLASSES, CHANNELS = 10, 3
PROXY: dict[str, Any] = {
    "nodes": 6,
    "penalty": 0.03,
    "data": {"spec": "cifar10", "size": 12, "train_per_class": 200, "validation_per_class": 100},
    "network": {"stem": 16, "widths": [8, 16, 32]},
    "recipe": {"batch": 64, "epochs": 10},
    "threads": 1,
}
"""The small CIFAR-10 of docs/evaluators.md."""


@dataclass(frozen=True)
class Workload:
    """How much a training from scratch is.

    Attributes:
        samples: training images.
        validation: validation images.
        epochs: passes over the training images, each followed by a validation.
    """

    samples: int
    validation: int
    epochs: int


@dataclass(frozen=True)
class Step:
    """One step of the search.

    Attributes:
        number: 0 is the complete graph alone.
        parent: the cell that the step removes an edge from; in step 0 the complete graph.
        cells: the step's candidates.
        new: those of them that are isomorphic to no earlier candidate nor to each other: what has to be measured.
    """

    number: int
    parent: Evaluation
    cells: tuple[Evaluation, ...]
    new: tuple[Evaluation, ...]


def trained(search: Sequence[Step], _: ImageSettings, workload: Workload) -> int:
    """Every new candidate from scratch: three forward passes a training image, one a validation image."""
    passes = workload.epochs * (3 * workload.samples + workload.validation)
    return sum(one.resources.macs * passes for step in search for one in step.new)


def inherited(search: Sequence[Step], settings: ImageSettings, workload: Workload) -> int:
    """The start, every step's comparison and the playoff, by the settings' defaults; see `InheritedEvaluator`."""
    inherit, batch = settings.inherit, settings.sprint_batch

    def sprint(epochs: float) -> float:
        return 3 * epochs * workload.samples + CONSECUTIVE * batch + workload.validation

    total = search[0].parent.resources.macs * sprint(inherit.start * workload.epochs)
    for step in search[1:]:
        total += step.parent.resources.macs * 3 * inherit.tune * batch
        unique = list({one.cell.key: one for one in step.cells}.values())
        leaves = set(step.parent.cell.leaves)
        for one in unique:
            trial = 0 if set(one.cell.leaves) <= leaves else inherit.trial
            total += one.resources.macs * batch * (inherit.statistics_batches + 3 * trial)
        total += sum(shares(len(unique), inherit, workload)) * sum(one.resources.macs for one in unique) / len(unique)
    everyone = [one for step in search for one in step.cells]
    chosen = entrants(everyone, score=settings.score, count=settings.playoff.cells)
    live = [counted(settings, cell_of(design)).macs for design in chosen]
    for share in settings.playoff.rounds:
        total += sum(live) * sprint(share * workload.epochs)
        live = live[: -(-len(live) // settings.playoff.reduction)]
    return round(total)


def shares(cells: int, inherit: InheritSettings, workload: Workload) -> list[float]:
    """Validation images of each comparison of a step, where no difference is clear."""
    share, found = inherit.validation_share, [inherit.validation_share * workload.validation * cells]
    while share < inherit.largest_share and cells > 1:
        share, cells = min(inherit.largest_share, 2 * share), -(-cells // 2)
        found.append(share * workload.validation * cells)
    return found


EVALUATORS: dict[str, Callable[[Sequence[Step], ImageSettings, Workload], int]] = {
    "trained": trained,
    "inherited": inherited,
}
"""Training MACs of a search, by evaluator. Another one is a function like `trained` and a line here: the table, the
JSON and the plot then have it too."""


def steps(settings: ImageSettings, nodes: int, noise: float, seed: int) -> list[Step]:
    """One search with made-up performances."""
    start = start_cell("complete", kind="conv", nodes=nodes, rng=random.Random(derive_seed(seed, "start")))
    strategy = AutoShrink(CellSpace(start), score=Score(settings.penalty), candidates=settings.candidates, seed=seed)
    rng = random.Random(derive_seed(seed, "noise"))
    known: dict[str, Evaluation] = {}
    found: list[Step] = []
    parent: Evaluation | None = None
    while proposals := strategy.ask():
        evaluations: list[Evaluation] = []
        new: list[Evaluation] = []
        for proposal in proposals:
            cell = proposal.cell
            if cell.key not in known:
                resources = counted(settings, cell)
                known[cell.key] = Evaluation(cell, resources, seed, "made up", rng.gauss(0.4, noise))
                new.append(known[cell.key])
            earlier = known[cell.key]
            evaluations.append(Evaluation(cell, earlier.resources, seed, "made up", earlier.performance))
        found.append(Step(proposals[0].step, parent or evaluations[0], tuple(evaluations), tuple(new)))
        parent = evaluations[strategy.tell(evaluations).index]
    return found


def counted(settings: ImageSettings, cell: Cell) -> Resources:
    """What a cell costs in the proxy network."""
    size, network = settings.data.size or 32, settings.network
    cost = count(
        proxy_architecture(
            cell,
            shape=(CHANNELS, size, size),
            classes=CLASSES,
            stem=network.stem,
            widths=network.widths,
            activation=network.activation,
        )
    )
    return Resources(cost.macs, cost.params, cost.peak_activation_bytes, cost.cell_params)


def row(settings: ImageSettings, workload: Workload, nodes: int, options: argparse.Namespace) -> dict[str, Any]:
    """Means over some searches for one number of nodes."""
    searches = [steps(settings, nodes, options.noise, seed) for seed in range(options.repeats)]
    found: dict[str, Any] = {
        "nodes": nodes,
        "complete_macs": searches[0][0].cells[0].resources.macs,
        "steps": average([len(search) for search in searches]),
        "candidates": average([sum(len(step.cells) for step in search) for search in searches]),
        "measured": average([sum(len(step.new) for step in search) for search in searches]),
        "training_macs": {
            name: average([macs(search, settings, workload) for search in searches])
            for name, macs in EVALUATORS.items()
        },
    }
    print(f"{nodes} nodes: {found}", file=sys.stderr)
    return found


def average(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard error."""
    found = Figure.of(values)
    return {"mean": None, "error": None} if found is None else {"mean": found.mean, "error": found.error}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Training MACs against nodes."""
    figure, axes = pyplot().subplots(figsize=(5.2, 3.8), layout="constrained")
    for index, name in enumerate(EVALUATORS):
        figures = [one["training_macs"][name] for one in rows]
        axes.errorbar(
            [one["nodes"] for one in rows],
            [one["mean"] for one in figures],
            yerr=[one["error"] or 0.0 for one in figures],
            fmt=f"{MARKERS[index]}-",
            color=COLOURS[index],
            capsize=3,
            markersize=5,
            label=name,
        )
    axes.set_yscale("log")
    axes.set_xticks([one["nodes"] for one in rows])
    axes.set_xlabel("nodes of the cell")
    axes.set_ylabel("training MACs of a whole search")
    axes.legend(fontsize=8)
    save(figure, path)


def main() -> None:
    """Count, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 6, 8, 10, 12, 16])
    parser.add_argument("--candidates", type=int, default=10)
    parser.add_argument("--paper", action="store_true", help="the paper's 5,000 images at 32×32, widths, 20 epochs")
    parser.add_argument("--noise", type=float, default=0.015)
    parser.add_argument("--repeats", type=int, default=3, help="searches with other draws for each number of nodes")
    parser.add_argument("--plot", type=Path, help="SVG file")
    options = parser.parse_args()
    preset = {"data": {"spec": "cifar10"}} if options.paper else PROXY
    settings = resolve(preset | {"candidates": options.candidates})
    assert isinstance(settings, ImageSettings)
    data = settings.data
    workload = Workload(CLASSES * data.train_per_class, CLASSES * data.validation_per_class, settings.recipe.epochs)
    rows = [row(settings, workload, nodes, options) for nodes in options.nodes]
    names = list(EVALUATORS)
    heads = " | ".join(f"training MACs, {name}" for name in names)
    print(f"\n| nodes | steps | candidates | measured | {heads} |", file=sys.stderr)
    print("| ---: | ---: | ---: | ---: |" + " ---: |" * len(names), file=sys.stderr)
    for one in rows:
        macs = " | ".join(f"{one['training_macs'][name]['mean']:.3g}" for name in names)
        counts = " | ".join(f"{one[name]['mean']:,.0f}" for name in ("steps", "candidates", "measured"))
        print(f"| {one['nodes']} | {counts} | {macs} |", file=sys.stderr)
    given = {"candidates": options.candidates, "noise": options.noise, "repeats": options.repeats}
    print(json.dumps({"options": given, "workload": vars(workload), "settings": settings.to_json(), "rows": rows}))
    if options.plot is not None:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
