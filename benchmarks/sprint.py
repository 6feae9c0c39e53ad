"""What a short training says of a whole one: rank correlations over cells of all sizes, for as many training MACs.

    AUTOSHRINK_DATA=path/to/data python benchmarks/sprint.py [--task text] [--cells 24] [--shares 0.1 0.2] [--repeats 2]

Random cells are trained by the whole recipe, `--repeats` seeds each, and for a share of its epochs in three ways: the
recipe cut short; a sprint (falling learning rate, statistics taken anew) with the recipe's batch; one with a quarter
of it, which is what the playoff of `--evaluator inherited` does. Prints JSON: Spearman's correlation of each way's
performance with the mean of the whole trainings', the mean S (whole training) of the cell that each way would name, and
at the end a table in Markdown on standard error. The training samples of the three ways are the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace

import torch

from autoshrink.cell import Cell
from autoshrink.config import SearchSettings, resolve
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.priors import random_cells
from autoshrink.ranking import spearman
from autoshrink.seeding import derive_seed
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import TrainingError, fit
from autoshrink.training.problem import Problem
from autoshrink.watching import Observer

IMAGE = {
    "nodes": 6,
    "penalty": 0.03,
    "data": {"spec": "cifar10", "size": 12, "train_per_class": 200, "validation_per_class": 100},
    "network": {"stem": 16, "widths": [8, 16, 32]},
    "recipe": {"batch": 64, "epochs": 10},
}
TEXT = {
    "task": "text",
    "data": {"spec": "ptb", "sentences": 1500, "validation_sentences": 400, "max_vocabulary": 2000},
    "network": {"width": 40},
    "recipe": {"batch": 20},
}


def cut(problem: Problem, cells: list[Cell], epochs: int, seed: int) -> Iterator[float]:
    """The recipe, ended early."""
    stops = replace(problem.stops, epochs=epochs, floor=None, worst=None)
    for cell in cells:
        try:
            learner = problem.learner(problem.architecture(cell), seed)
            best = fit(learner, stops).best
            yield best.performance if best else -99.0
        except TrainingError:
            yield -99.0


def sprinted(problem: Problem, cells: list[Cell], epochs: float, seed: int, batch: int | None) -> Iterator[float]:
    """A short training."""
    evaluator = TrainedEvaluator(problem, Conditions(short_batch=batch))
    for _, one in evaluator.evaluate([Job(cell, seed, epochs=epochs) for cell in cells]):
        yield -99.0 if one.performance is None else one.performance


def compare(settings: SearchSettings, problem: Problem, options: argparse.Namespace) -> dict[str, object]:
    """Train everything and correlate."""
    whole = TrainedEvaluator(problem)
    kind = TASKS[settings.task].cell_kind
    truths: list[float] = []
    cells: list[Cell] = []
    for cell in random_cells(kind, settings.nodes, options.cells, seed=options.seed):
        jobs = [Job(cell, derive_seed(options.seed, "whole", repeat)) for repeat in range(options.repeats)]
        found = [one.performance for _, one in whole.evaluate(jobs)]
        usable = [value for value in found if value is not None]
        if len(usable) == len(jobs):
            cells.append(cell)
            truths.append(statistics.fmean(usable))
            print(f"{cell}: {truths[-1]:.4f}", file=sys.stderr)
    scores = [settings.score.of(truth, cell, whole.resources(cell)) for truth, cell in zip(truths, cells, strict=True)]
    rows = []
    for share in options.shares:
        epochs, seed = share * settings.recipe.epochs, derive_seed(options.seed, "short")
        ways = {
            "the recipe cut short": cut(problem, cells, max(1, round(epochs)), seed),
            f"sprint, batch {settings.recipe.batch}": sprinted(problem, cells, epochs, seed, None),
            f"sprint, batch {settings.sprint_batch}": sprinted(problem, cells, epochs, seed, settings.sprint_batch),
        }
        for name, values in ways.items():
            measured = list(values)
            short = [
                settings.score.of(value, cell, whole.resources(cell))
                for value, cell in zip(measured, cells, strict=True)
            ]
            rows.append(
                {
                    "way": name,
                    "share": share,
                    "spearman": spearman(measured, truths),
                    "spearman_score": spearman(short, scores),
                    "named": scores[max(range(len(cells)), key=lambda place: short[place])],
                }
            )
            print(rows[-1], file=sys.stderr)
    return {"cells": len(cells), "best": max(scores), "mean": statistics.fmean(scores), "rows": rows}


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["image", "text"], default="image")
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    settings = resolve((IMAGE if options.task == "image" else TEXT) | {"seed": options.seed})
    device = choose_device(options.device)
    with repeatable(options.threads):
        result = compare(settings, TASKS[settings.task].prepare(settings, Observer()).problem(device), options)
    rows = result["rows"]
    assert isinstance(rows, list), "made above"
    print("| way | share of the recipe | Spearman, performance | Spearman, S | S of the cell named |", file=sys.stderr)
    print("| --- | ---: | ---: | ---: | ---: |", file=sys.stderr)
    for row in rows:
        figures = f"{row['spearman']:.2f} | {row['spearman_score']:.2f} | {row['named']:.4f}"
        print(f"| {row['way']} | {row['share']:.0%} | {figures} |", file=sys.stderr)
    environment = {"torch": torch.__version__, "device": str(device), "threads": options.threads}
    print(json.dumps({"settings": settings.to_json(), "environment": environment} | result))


if __name__ == "__main__":
    main()
