"""The zoo's language models at equal parameter count and equal budget, in one run (AutoShrink's Table 3, scaled down).

    AUTOSHRINK_DATA=path/to/data python benchmarks/zoo_text.py [--data ptb] [--params 460k] [--epochs 8] [--seeds 2]

Each is made as wide as the parameters allow, and trained by the search's own recipe on the proxy text (4,000 sentences
of the training split, validation sentences from the validation split). `--cell` adds a cell file, say a run's best.
Prints JSON: validation perplexity of the best epoch for every seed, their mean and standard deviation, width and
parameters, and at the end a table in Markdown on standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from autoshrink import zoo
from autoshrink.architecture import LanguageModel, language_model, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.cli.quantities import count as quantity
from autoshrink.config import resolve
from autoshrink.cost import count, widest
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import TrainingError, fit
from autoshrink.watching import Observer


def models(cells: list[Path]) -> dict[str, LanguageModel]:
    """The zoo's language models, and some cells by their files' names."""
    found: dict[str, LanguageModel] = {}
    for path in cells:
        found[str(path)] = recurrent_proxy(Cell.read(path), vocabulary=2, width=1)
    for name in zoo.names():
        architecture = zoo.get(name)
        if isinstance(architecture, LanguageModel):
            found[name] = architecture
    return found


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ptb")
    parser.add_argument("--params", type=quantity, default=460_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cell", type=Path, action="append", default=[])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    settings = resolve(
        {
            "task": "text",
            "data": {"spec": options.data},
            "recipe": {"epochs": options.epochs, "batch": options.batch},
        }
    )
    prepared = TASKS["text"].prepare(settings, Observer())
    problem = prepared.problem(choose_device(options.device))
    rows: dict[str, Any] = {}
    for name, architecture in models(options.cell).items():
        sized = widest(language_model(architecture, vocabulary=prepared.event["vocabulary"]), options.params)
        outcomes: list[float | str] = []
        began = time.monotonic()
        for seed in range(options.seeds):
            try:
                with repeatable(torch.get_num_threads()):
                    history = fit(problem.learner(sized, seed), problem.stops)
                outcomes.append(round(math.exp(-max(history.curve)), 2))
            except TrainingError as error:
                outcomes.append(str(error))
        figures = [value for value in outcomes if isinstance(value, float)]
        rows[name] = {
            "width": sized.width,
            "params": count(sized).params,
            "cell_params": count(sized).cell_params,
            "perplexities": outcomes,
            "mean": round(statistics.mean(figures), 2) if figures else None,
            "sd": round(statistics.stdev(figures), 2) if len(figures) > 1 else None,
            "seconds": round((time.monotonic() - began) / options.seeds, 1),
        }
        print(f"{name}: {rows[name]}", file=sys.stderr)
    print("\n| model | width | parameters | perplexity |\n| --- | ---: | ---: | ---: |", file=sys.stderr)
    for name, row in sorted(rows.items(), key=lambda item: item[1]["mean"] or math.inf):
        spread = "" if row["sd"] is None else f" ± {row['sd']}"
        print(f"| {name} | {row['width']} | {row['params']:,} | {row['mean']}{spread} |", file=sys.stderr)
    budget = {"data": prepared.event, "epochs": options.epochs, "batch": options.batch, "seeds": options.seeds}
    print(json.dumps(budget | {"models": rows}))


if __name__ == "__main__":
    main()
