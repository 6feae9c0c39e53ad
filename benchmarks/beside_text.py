"""Language models of equal parameters beside one another: what a search left, and what people would otherwise take.

    AUTOSHRINK_DATA=path/to/data python benchmarks/beside_text.py --data ptb --params 200k --network found.arch.json \
      --resume results.jsonl

LSTM, GRU, minGRU, and the starts of a search at a budget, each as wide as the parameters allow, and architecture files
(`--network`, whose width is set likewise), trained from new weights by one recipe with the same seeds on some sentences
of the training text; judged by the perplexity of the whole test text, which nothing looked at before. Each training is
appended to the file that `--resume` names, and one that stands there is not done again. Prints a table in Markdown:
means and standard errors over the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from autoshrink.architecture import LanguageModel, language_model
from autoshrink.budget import Budget
from autoshrink.cli.quantities import count as quantity
from autoshrink.config import TextRecipe
from autoshrink.cost import count
from autoshrink.data import TextProxy, load_text_proxy
from autoshrink.data.text_proxy import load_text_split
from autoshrink.loading import load
from autoshrink.networks import build
from autoshrink.spaces.languages import families, fitted, library
from autoshrink.training.device import repeatable
from autoshrink.training.loop import fit
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, measure, text_stops

CPU = torch.device("cpu")
TEST_STREAMS = 32
RECIPES = {
    "adam": {"optimiser": "adam", "learning_rate": 0.01, "schedule": "cosine", "batch": 8, "patience": None},
    "sgd": {"learning_rate": 20.0, "schedule": "cosine", "batch": 8, "patience": None},
}


def entries(options: argparse.Namespace, words: int) -> Iterator[tuple[str, LanguageModel]]:
    """Names and models at the budget."""
    for path in options.network:
        found = load(path)
        if not isinstance(found, LanguageModel):
            raise SystemExit(f"{path}: no language model")
        yield from fitted({path.name: language_model(found, vocabulary=words)}, options.budget).items()
    for name, model in fitted({**library(words), **families(words)}, options.budget).items():
        if name in options.models:
            yield name, model


def trained(model: LanguageModel, proxy: TextProxy, recipe: TextRecipe, test: Streams, seed: int) -> dict[str, Any]:
    """Perplexities after the last epoch, and seconds on the core."""
    end, began = proxy.vocabulary.end, time.process_time()
    data = (
        Streams.of(proxy.train, recipe.batch, end=end, device=CPU, trim=True),
        Streams.of(proxy.validation, recipe.validation_batch, end=end, device=CPU),
    )
    with repeatable(1):
        learner = TextLearner(build(model, seed=seed), recipe, data, seed=seed)
        history = fit(learner, text_stops(recipe, len(proxy.vocabulary)))
        loss = measure(learner.evaluated, test, recipe.bptt).loss
    seconds = time.process_time() - began
    return {"test": math.exp(loss), "validation": math.exp(-history.curve[-1]), "seconds": round(seconds, 1)}


def main() -> None:
    """Train, the first seed of all before the second of any, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ptb")
    parser.add_argument("--params", type=quantity, default=200_000)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--sentences", type=int, default=4200, help="of the training text")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--recipe", choices=RECIPES, default="adam")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", type=Path, nargs="+", default=[], metavar="FILE.arch.json")
    parser.add_argument("--models", nargs="*", default=[*library(9), "gated unit", "chain"], help="LSTM, chain, …")
    parser.add_argument("--resume", type=Path, metavar="FILE.jsonl")
    options = parser.parse_args()
    options.budget = Budget(params=options.params)
    torch.set_num_threads(1)
    about = {name: getattr(options, name) for name in ("data", "vocabulary", "sentences", "epochs", "recipe")}
    sizes = {
        "sentences": options.sentences,
        "validation_sentences": 1000,
        "max_vocabulary": options.vocabulary,
        "min_count": 2,
    }
    proxy = load_text_proxy(options.data, seed=0, **sizes)
    known = proxy.vocabulary
    text = load_text_split(options.data, "test", known)
    test = Streams.of(text.tokens, TEST_STREAMS, end=known.end, device=CPU)
    recipe = TextRecipe.model_validate({"epochs": options.epochs} | RECIPES[options.recipe])
    lines = options.resume.read_text("utf-8").splitlines() if options.resume and options.resume.exists() else []
    done = {json.dumps(one["of"]): one["is"] for one in map(json.loads, lines)}
    found: dict[str, list[dict[str, Any]]] = {}
    models = dict(entries(options, len(known)))
    for seed in range(options.seeds):
        for name, model in models.items():
            of = json.dumps(about | {"model": name, "key": model.key, "width": model.width, "seed": seed})
            if of not in done:
                done[of] = trained(model, proxy, recipe, test, seed)
                if options.resume:
                    with options.resume.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"of": json.loads(of), "is": done[of]}) + "\n")
            print(f"{name}, seed {seed}: {done[of]}", file=sys.stderr, flush=True)
            found.setdefault(name, []).append(done[of])
    print("| model | width | parameters | MACs | test perplexity | validation | training |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in sorted(found, key=lambda one: statistics.fmean(run["test"] for run in found[one])):
        cost, runs = count(models[name]), found[name]
        test_mean, validation = (mean([run[split] for run in runs]) for split in ("test", "validation"))
        seconds = statistics.fmean(run["seconds"] for run in runs)
        sizes_shown = f"{models[name].width} | {cost.params:,} | {cost.macs:,}"
        print(f"| {name} | {sizes_shown} | {test_mean} | {validation} | {seconds:.0f} s |")


def mean(figures: list[float]) -> str:
    """With its standard error."""
    error = f" ± {statistics.stdev(figures) / math.sqrt(len(figures)):.2f}" if len(figures) > 1 else ""
    return f"{statistics.fmean(figures):.2f}{error}"


if __name__ == "__main__":
    main()
