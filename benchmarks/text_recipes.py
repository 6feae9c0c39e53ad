"""Short recipes for language models at equal training MACs: by which a network of a few hundred thousand parameters
becomes a bar, and candidates of a search at a budget can be told apart.

    AUTOSHRINK_DATA=path/to/data python benchmarks/text_recipes.py --data ptb --sentences 4200 --seeds 2 [--json]

Each recipe trains the same networks for the same epochs over the same tokens, so for the same MACs, and is judged by
the perplexity of the validation text after the last epoch. The networks are the zoo's, as wide as the parameters allow.
Prints a table in Markdown, or JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from typing import Any

import torch

from autoshrink import zoo
from autoshrink.architecture import LanguageModel, language_model
from autoshrink.cli.quantities import count as quantity
from autoshrink.config import resolve
from autoshrink.cost import widest
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import TrainingError, fit
from autoshrink.watching import Observer

RECIPES: dict[str, dict[str, Any]] = {
    "SGD 20, drops, batch 128 (as released)": {"batch": 128},
    "SGD 20, drops, batch 20": {"batch": 20},
    "SGD 10, drops, batch 20": {"batch": 20, "learning_rate": 10.0},
    "SGD 20, cosine, batch 20": {"batch": 20, "schedule": "cosine"},
    "SGD 20, cosine, batch 8": {"batch": 8, "schedule": "cosine"},
    "Adam .003, cosine, batch 20": {"batch": 20, "schedule": "cosine", "optimiser": "adam", "learning_rate": 3e-3},
    "Adam .01, cosine, batch 20": {"batch": 20, "schedule": "cosine", "optimiser": "adam", "learning_rate": 1e-2},
    "Adam .02, cosine, batch 20": {"batch": 20, "schedule": "cosine", "optimiser": "adam", "learning_rate": 2e-2},
    "Adam .01, cosine, batch 8": {"batch": 8, "schedule": "cosine", "optimiser": "adam", "learning_rate": 1e-2},
}


def trained(recipe: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Validation perplexities by network and seed."""
    settings = resolve(
        {
            "task": "text",
            "data": {
                "spec": options.data,
                "sentences": options.sentences,
                "validation_sentences": options.validation_sentences,
                "max_vocabulary": options.vocabulary,
            },
            "recipe": {"epochs": options.epochs, "learning_rate": 20.0, "drops": [3, 1], "patience": None} | recipe,
        }
    )
    prepared = TASKS["text"].prepare(settings, Observer())
    problem = prepared.problem(choose_device("cpu"))
    found: dict[str, Any] = {"tokens": prepared.event["train"], "vocabulary": prepared.event["vocabulary"]}
    for name in options.networks:
        architecture = zoo.get(name)
        assert isinstance(architecture, LanguageModel), f"{name} is no language model"
        sized = widest(language_model(architecture, vocabulary=prepared.event["vocabulary"]), options.params)
        began, figures = time.process_time(), []
        for seed in range(options.seeds):
            try:
                with repeatable(1):
                    figures.append(round(math.exp(-fit(problem.learner(sized, seed), problem.stops).curve[-1]), 2))
            except TrainingError as error:
                print(f"{name}, {recipe}, seed {seed}: {error}", file=sys.stderr)
        seconds = (time.process_time() - began) / options.seeds
        found[name] = {"width": sized.width, "perplexities": figures, "seconds": round(seconds, 1)}
    return found


def cell(row: dict[str, Any]) -> str:
    """Mean and standard deviation."""
    figures = row["perplexities"]
    if not figures:
        return "failed"
    return f"{statistics.fmean(figures):.1f}" + (f" ± {statistics.stdev(figures):.1f}" if len(figures) > 1 else "")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ptb")
    parser.add_argument("--sentences", type=int, default=4200, help="a tenth of the Penn Treebank's")
    parser.add_argument("--validation-sentences", type=int, default=1000)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--params", type=quantity, default=200_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=["lstm", "rhn"], help="of the zoo")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for name in options.recipes:
        rows[name] = trained(RECIPES[name], options)
        print(f"{name}: {rows[name]}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(vars(options) | {"rows": rows}))
        return
    print(f"| recipe | {' | '.join(options.networks)} |\n| --- |{' ---: |' * len(options.networks)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(cell(row[network]) for network in options.networks)} |")


if __name__ == "__main__":
    main()
