"""How many steps a short training takes before it tells cells apart: two seeds each, beside the whole recipe.

    AUTOSHRINK_DATA=path/to/data python benchmarks/short_steps.py [--cells 10] [--steps 25 50 100 200 400]

CIFAR-10 at the settings that the README proposes for a CPU. Random cells of all sizes are trained from scratch by
sprints of so many steps, two seeds each, and by the whole recipe, two seeds each. Prints Spearman's correlation of S
between the two seeds of each length (whether the length tells cells apart at all), of the mean S with the whole
trainings' (whether it tells what they would), the standard deviation of a cell's S between seeds, and the whole
trainings' S of the cell that each length names.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys

from autoshrink.config import resolve
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.priors import random_cells
from autoshrink.ranking import spearman
from autoshrink.seeding import derive_seed
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device, repeatable
from autoshrink.watching import Observer

README = {
    "nodes": 6,
    "data": {"spec": "cifar10", "size": 16, "train_per_class": 200},
    "recipe": {"epochs": 8},
}
SEEDS = 2


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100, 200, 400])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    settings = resolve(README | {"seed": options.seed})
    prepared = TASKS[settings.task].prepare(settings, Observer())
    problem = prepared.problem(choose_device("cpu"))
    whole = TrainedEvaluator(problem)
    cells = list(random_cells("conv", settings.nodes, options.cells, seed=options.seed))
    short = TrainedEvaluator(problem, Conditions(short_batch=settings.sprint_batch))
    score = settings.score

    def scores(found: list[tuple[int, float | None]]) -> list[float]:
        return [
            -math.inf if value is None else score.of(value, cells[at], whole.resources(cells[at]))
            for at, value in found
        ]

    rows = []
    with repeatable(options.threads):
        seeds = [derive_seed(options.seed, "short steps", repeat) for repeat in range(SEEDS)]
        trained = [
            [(at, one.performance) for at, one in whole.evaluate([Job(cell, seed) for cell in cells])] for seed in seeds
        ]
        truths = [scores(found) for found in trained]
        truth = [statistics.fmean(pair) for pair in zip(*truths, strict=True)]
        lengths = {"the whole recipe": truths}
        for steps in options.steps:
            epochs = steps * settings.sprint_batch / prepared.event["train"]
            lengths[f"{steps} steps"] = [
                scores(
                    [
                        (at, one.performance)
                        for at, one in short.evaluate([Job(cell, seed, epochs=epochs) for cell in cells])
                    ]
                )
                for seed in seeds
            ]
            print(steps, lengths[f"{steps} steps"], file=sys.stderr, flush=True)
        for name, found in lengths.items():
            first, second = found
            mean = [statistics.fmean(pair) for pair in zip(first, second, strict=True)]
            spread = math.sqrt(
                statistics.fmean((one - other) ** 2 / 2 for one, other in zip(first, second, strict=True))
            )
            named = truth[max(range(len(cells)), key=mean.__getitem__)]
            rows.append((name, spearman(first, second), spearman(mean, truth), spread, named))
    print(f"best {max(truth):.4f}, mean {statistics.fmean(truth):.4f}")
    print("| length | between seeds | with the whole recipe | sd of S between seeds | S of the cell named |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, between, along, spread, named in rows:
        print(f"| {name} | {between:.2f} | {along:.2f} | {spread:.4f} | {named:.4f} |")


if __name__ == "__main__":
    main()
