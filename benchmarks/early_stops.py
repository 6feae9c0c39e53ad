"""What the released search's early stops do where an epoch has few batches: the complete graph on the digits.

    python benchmarks/early_stops.py [--seeds 3]

Six nodes, 900 training images, batch 64 (14 batches an epoch), ten epochs. Prints JSON: for each set of rules, the
validation accuracy that the candidate is recorded with, and why it ended, by seed.
"""

from __future__ import annotations

import argparse
import json
import random

from autoshrink.config import ImageNetwork, ImageRecipe, ImageSettings
from autoshrink.data import load_proxy
from autoshrink.evaluation import Job
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.priors import start_cell
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.training.device import choose_device

RULES: dict[str, dict[str, float | None]] = {
    "released": {"stop_accuracy": 0.98, "overfit_ratio": 3.0},
    "without the overfitting rule": {"stop_accuracy": 0.98, "overfit_ratio": None},
    "without both": {"stop_accuracy": None, "overfit_ratio": None},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    proxy = load_proxy("digits", train_per_class=90, validation_per_class=45, size=None, seed=0)
    network = ImageNetwork(stem=16, widths=(8, 16, 32))
    cell = start_cell("complete", kind="conv", nodes=6, rng=random.Random(1))
    outcome: dict[str, list[dict[str, float | str | None]]] = {}
    for name, rules in RULES.items():
        recipe = ImageRecipe.model_validate({"epochs": 10, "batch": 64} | rules)
        problem = ImageProblem(ImageSettings(network=network, recipe=recipe), proxy, choose_device("cpu"))
        done = TrainedEvaluator(problem).evaluate([Job(cell, seed) for seed in seeds])
        outcome[name] = [{"accuracy": one.performance, "ended": one.ended} for _, one in done]
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
