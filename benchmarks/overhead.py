"""What a search adds around training, per candidate: wall time of a whole search whose candidates cost nothing.

    python benchmarks/overhead.py [--repeats 5] [--nodes 8] [--candidates 10]

Everything but training is real: strategy, isomorphism keys, cost counting, the log on disk, replay. Prints JSON:
milliseconds a candidate, as minimum, median and maximum over the repeats.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell, cell_of
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.design import Design
from autoshrink.evaluation import Job
from autoshrink.priors import start_cell
from autoshrink.resources import Resources
from autoshrink.run import Loop
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.store import Store, opening

VALIDATION_IMAGES = 2500


class FreeEvaluator:
    """Counts the real costs and makes the accuracy up."""

    relative = joint = False
    grace = 0.0

    def __init__(self) -> None:
        self._resources: dict[Cell, Resources] = {}

    def resources(self, design: Design) -> Resources:
        """Counted once a cell."""
        cell = cell_of(design)
        if cell not in self._resources:
            cost = count(proxy_architecture(cell))
            self._resources[cell] = Resources(cost.macs, cost.params, cost.peak_activation_bytes, cost.cell_params)
        return self._resources[cell]

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Answer at once."""
        del deadline
        for position, job in enumerate(jobs):
            rng = random.Random(derive_seed(job.seed, job.cell.key))
            correct = tuple(rng.random() < 0.7 for _ in range(VALIDATION_IMAGES))
            performance = sum(correct) / VALIDATION_IMAGES
            yield (
                position,
                Evaluation(job.cell, self.resources(job.cell), job.seed, "free", performance, correct=correct),
            )


def search(folder: Path, nodes: int, candidates: int) -> tuple[float, int]:
    """Seconds and evaluations of one search."""
    settings = resolve({"nodes": nodes, "candidates": candidates, "data": {"spec": "cifar10"}})
    start = start_cell("complete", kind="conv", nodes=nodes, rng=random.Random(0))
    began = time.perf_counter()
    created = {"settings": settings.to_json(), "environment": {}, "start": start.to_json()}
    with Store.create(folder, created) as store:
        store.append("opened", opening())
        record = Loop(store, FreeEvaluator()).run()
    return time.perf_counter() - began, len(record.candidates)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--candidates", type=int, default=10)
    options = parser.parse_args()
    figures, evaluations = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            seconds, evaluations = search(Path(folder) / str(repeat), options.nodes, options.candidates)
            figures.append(1000 * seconds / evaluations)
    spread = {"min": min(figures), "median": statistics.median(figures), "max": max(figures)}
    print(json.dumps({"milliseconds_per_candidate": spread, "candidates": evaluations, "repeats": options.repeats}))


if __name__ == "__main__":
    main()
