"""What ZiCo knows of trained performance: rank correlations over random cells of the proxy task, in one run.

    AUTOSHRINK_DATA=path/to/data python benchmarks/zico.py [--task image] [--data cifar10] [--cells 60] [--nodes 8]

Every cell (`autoshrink.priors.random_cells`: all edge densities from .1 to 1, all mixes of operations) is scored
without training, and trained by the search's recipe; all have the same seed, as the candidates of a step do. λ′ is
fitted to the scores and MACs of these cells, and does not know their performance. `--time-limit` ends with the cells
done so far. With `--repeats 2` it says too how well a training predicts the next one of the same cell, which no score
can exceed by much. Prints JSON: Spearman's and Kendall's correlation of each score with trained performance, with 95 %
percentile intervals of a bootstrap over cells, and how many scorings one training takes; at the end a table in Markdown
on standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.evaluators.zico.score import ZicoScorer, fitted_penalty, zico
from autoshrink.priors import random_cells
from autoshrink.ranking import kendall, spearman
from autoshrink.tasks import TASKS
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import TrainingError, fit
from autoshrink.watching import Observer

RESAMPLES = 2000


def main() -> None:
    """Score, train, correlate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["image", "text"], default="image")
    parser.add_argument("--data", help="cifar10 or ptb when left out")
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1, help="trainings a cell; their mean is its performance")
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--drops", help="of a language model's learning rate, in epochs left, say 3,1")
    parser.add_argument("--size", type=int, help="of images, pixels")
    parser.add_argument("--train-per-class", type=int)
    parser.add_argument("--validation-per-class", type=int)
    parser.add_argument("--stem", type=int)
    parser.add_argument("--widths", help="of an image network's stages, say 16,32,64")
    parser.add_argument("--width", type=int, help="of a language model")
    parser.add_argument("--sentences", type=int)
    parser.add_argument("--validation-sentences", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=math.inf, help="seconds")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    settings = resolve(overrides(options))
    prepared = TASKS[options.task].prepare(settings, Observer())
    problem = prepared.problem(choose_device(options.device))
    assert isinstance(problem, ImageProblem | TextProblem)
    cells = random_cells(TASKS[options.task].cell_kind, options.nodes, options.cells, options.seed)
    rows = measured(problem, cells, options)
    done = [row for row in rows if row["performance"] is not None]
    result = {
        "options": {key: value for key, value in vars(options).items() if value not in (None, math.inf)},
        "data": prepared.event,
        "fidelity": problem.fidelity,
        "asked": len(cells),
        "measured": len(rows),
        "failed": len(rows) - len(done),
        "threads": options.threads,
        **correlations(done, options.seed),
        "scorings_a_training": spread([row["training_seconds"] / row["scoring_seconds"] for row in rows]),
        "scoring_seconds": spread([row["scoring_seconds"] for row in rows]),
        "training_seconds": spread([row["training_seconds"] for row in rows]),
        "cells": rows,
    }
    print_table(result)
    print(json.dumps(result))


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Settings from options; what was left out keeps its default."""
    widths, drops = (numbers(text) for text in (options.widths, options.drops))
    image = options.task == "image"
    data = {"spec": options.data or ("cifar10" if image else "ptb")}
    recipe = {"epochs": options.epochs, "batch": options.batch, "learning_rate": options.learning_rate}
    if image:
        per_class = {name: getattr(options, name) for name in ("train_per_class", "validation_per_class")}
        sections = {
            "data": data | {"size": options.size} | per_class,
            "network": {"stem": options.stem, "widths": widths},
        }
    else:
        sentences = {name: getattr(options, name) for name in ("sentences", "validation_sentences")}
        sections = {"data": data | sentences, "network": {"width": options.width}}
        recipe["drops"] = drops
    given = {name: drop_missing(section) for name, section in (sections | {"recipe": recipe}).items()}
    return {"task": options.task, "nodes": options.nodes, "seed": options.seed, **given}


def numbers(text: str | None) -> list[int] | None:
    """Whole numbers between commas."""
    return [int(part) for part in text.split(",")] if text else None


def drop_missing(section: dict[str, Any]) -> dict[str, Any]:
    """Without the values that are None."""
    return {name: value for name, value in section.items() if value is not None}


def measured(
    problem: ImageProblem | TextProblem, cells: tuple[Cell, ...], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each cell: scores, costs, trained performance (None: the training failed), seconds of both."""
    scorer = ZicoScorer(problem, draw=options.seed, batches=options.batches, threads=options.threads)
    # The first passes of a process take longer than any other; they are in nobody's time.
    scorer(cells[0], options.seed)
    began, rows = time.monotonic(), []
    for cell in cells:
        if time.monotonic() - began > options.time_limit:
            break
        architecture = problem.architecture(cell)
        start = time.monotonic()
        score = scorer(cell, options.seed)
        scoring = time.monotonic() - start
        start = time.monotonic()
        performances = [trained(problem, architecture, options, repeat) for repeat in range(options.repeats)]
        training = (time.monotonic() - start) / options.repeats
        worked = [one for one in performances if one is not None]
        cost = count(architecture)
        rows.append(
            {
                "cell": str(cell),
                "edges": len(cell.edges),
                "macs": cost.macs,
                "params": cost.params,
                "zico": score,
                **variants(problem, architecture, options),
                "performance": statistics.mean(worked) if len(worked) == options.repeats else None,
                "performances": performances,
                "scoring_seconds": scoring,
                "training_seconds": training,
            }
        )
        print(f"{len(rows)}/{len(cells)} {rows[-1]}", file=sys.stderr)
    return rows


def trained(
    problem: ImageProblem | TextProblem, architecture: Architecture, options: argparse.Namespace, repeat: int
) -> float | None:
    """Performance of the best epoch, or None where the training failed."""
    try:
        with repeatable(options.threads):
            return max(fit(problem.learner(architecture, options.seed + repeat), problem.stops).curve)
    except TrainingError as error:
        print(f"failed: {error}", file=sys.stderr)
        return None


def variants(
    problem: ImageProblem | TextProblem, architecture: Architecture, options: argparse.Namespace
) -> dict[str, float]:
    """Other readings of ZiCo."""
    with repeatable(options.threads):
        return {
            "zico absolute": zico(
                problem.layer_gradients(architecture, options.seed, batches=options.batches, draw=options.seed),
                variance="absolute",
            )
        }


def correlations(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Both correlations of every score with trained performance, and ZiCo's with the costs."""
    columns = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0] if is_score(name)}
    performance = np.array([row["performance"] for row in rows])
    penalty = fitted_penalty(columns["zico"].tolist(), columns["macs"].tolist())
    columns["zico − λ′·log10 MACs"] = columns["zico"] - penalty * np.log10(columns["macs"])
    resamples = np.random.default_rng(seed).integers(0, len(rows), (RESAMPLES, len(rows)))
    gap = columns["zico"], columns["params"]
    repeats = np.array([row["performances"] for row in rows]).T
    return {
        "penalty": penalty,
        "spearman": {name: interval(spearman, column, performance, resamples) for name, column in columns.items()},
        "kendall": {name: interval(kendall, column, performance, resamples) for name, column in columns.items()},
        "spearman_zico_less_params": percentiles(
            spearman(gap[0], performance) - spearman(gap[1], performance),
            [spearman(gap[0][one], performance[one]) - spearman(gap[1][one], performance[one]) for one in resamples],
        ),
        "spearman_of_two_repeats": spearman(repeats[0], repeats[1]) if len(repeats) > 1 else None,
        "spearman_zico_with": {name: spearman(columns["zico"], columns[name]) for name in ("macs", "params", "edges")},
        "performance": {"min": min(performance), "median": float(np.median(performance)), "max": max(performance)},
    }


def is_score(name: str) -> bool:
    """Whether a row's field is one of the measures that are compared."""
    return name in ("macs", "params", "edges") or name.startswith("zico")


def interval(
    correlation: Callable[[Any, Any], float], x: np.ndarray, y: np.ndarray, resamples: np.ndarray
) -> dict[str, float]:
    """A correlation with its bootstrap interval."""
    return percentiles(correlation(x, y), [correlation(x[one], y[one]) for one in resamples])


def percentiles(value: float, resampled: list[float]) -> dict[str, float]:
    """A value and the 95 % interval of its resamples."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def print_table(result: dict[str, Any]) -> None:
    """The correlations in Markdown, on standard error."""
    print("\n| score | Spearman (95 %) | Kendall (95 %) |\n| --- | ---: | ---: |", file=sys.stderr)
    for name in result["spearman"]:
        cells = [result[kind][name] for kind in ("spearman", "kendall")]
        texts = [f"{cell['value']:.2f} ({cell['low']:.2f} to {cell['high']:.2f})" for cell in cells]
        print(f"| {name} | {texts[0]} | {texts[1]} |", file=sys.stderr)
    if result["spearman_of_two_repeats"] is not None:
        print(f"\none training and the next: Spearman {result['spearman_of_two_repeats']:.2f}", file=sys.stderr)
    ratio = result["scorings_a_training"]
    print(
        f"\n{result['measured']} cells, {result['failed']} failed; λ′ = {result['penalty']:.2f}; one training takes "
        f"the time of {ratio['median']:.1f} ({ratio['min']:.1f}–{ratio['max']:.1f}) scorings",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
