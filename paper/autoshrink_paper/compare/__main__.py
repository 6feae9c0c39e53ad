"""Search methods at equal training MACs, on one task and several seeds: what each finds, and what that is worth.

    AUTOSHRINK_DATA=path/to/data python -m autoshrink_paper.compare --task image --seeds 0 1 2 3 4 \
        --runs runs/compare-image -o docs/benchmarks/compare-image.json --plot docs/images/compare-image.svg

A seed decides the data, the operations of the nodes, and every draw. The methods: AutoShrink as published (`paper`: all
candidates trained from scratch) and with the `inherited` evaluator (and its `--variant`s); random cells, trained from
scratch (`random`); Optuna's TPE with successive halving over the edges (`asha`); and random-graph priors, which cost no
search. `random` and `asha` may spend as many training MACs as the search that `--budget-of` names did with that seed.

What came out is measured alike for all: the named cell, and at most three cells of the method's Pareto front, are
trained again by the full recipe with fresh seeds, the same for all, and judged on samples that no search saw: images of
the training split beyond the seed's draw, or sentences of the validation split beyond it. (Where the data have no more,
the search's own are used, and `judged_on` says so.) The epoch is chosen by the search's own validation samples. A
retraining that fails counts as guessing.

Hypervolume: the area between the retrained front and the point (guessing, cost of the complete graph), in decades of
cost × share of what a perfect model gains over guessing. Cells that cost more than the complete graph add nothing.

Everything is kept in the folder of `--runs`, and a comparison killed at any time goes on when it is started again.
Results are merged into an existing `-o`, so that it can be made method by method and seed by seed. Prints JSON, and two
tables in Markdown on standard error; ± are standard errors over seeds. Needs optuna and matplotlib (the extra `bench`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoshrink.config import SearchSettings, merge, resolve
from autoshrink.errors import InputError
from autoshrink.files import write_text
from autoshrink.results import pretty
from autoshrink.training.device import choose_device, describe
from autoshrink.version import __version__
from autoshrink_paper.compare.figures import SHARES, Point, best_within, hypervolume, markdown, summarise
from autoshrink_paper.compare.ground import Ground
from autoshrink_paper.compare.methods import METHODS, PRIORS, SEARCHES, Asha, Outcome, autoshrink_search, random_search
from autoshrink_paper.compare.plot import plot

PRESETS: dict[str, dict[str, Any]] = {
    "image": {
        "task": "image",
        "nodes": 6,
        "penalty": 0.03,
        "data": {"spec": "cifar10", "size": 12, "train_per_class": 200, "validation_per_class": 100},
        "network": {"stem": 16, "widths": [8, 16, 32]},
        "recipe": {"batch": 64, "epochs": 10},
        "threads": 1,
    },
    "text": {
        "task": "text",
        "data": {"spec": "ptb", "sentences": 1500, "validation_sentences": 400, "max_vocabulary": 2000},
        "network": {"width": 40},
        "recipe": {"batch": 20},
        "threads": 1,
    },
}


def main() -> None:
    """Compare, print, write and draw."""
    options = arguments()
    if options.only_seed is not None:
        work(options, options.only_seed)
        return
    settings = settings_of(options, seed=0)
    head = {
        "task": options.task,
        "settings": settings.to_json(),
        "budget_of": options.budget_of,
        "retrain_seeds": options.retrain_seeds,
        "hypervolume": "decades of cost below the complete graph × share of the way from guessing to perfection",
    }
    earlier = read_earlier(options.output, head)
    if options.workers == 1:
        for seed in options.seeds:
            work(options, seed)
    else:
        work_apart(options)
    seeds = merge_seeds(earlier, {str(seed): read_json(seed_path(options, seed)) for seed in options.seeds})
    summary = summarise(seeds)
    result = head | {"environment": environment(settings), "seeds": seeds, "summary": summary}
    print(markdown(summary, settings.resource), file=sys.stderr)
    if options.output is None:
        print(json.dumps(result))
    else:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.output, pretty(result))
    if options.plot is not None:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot(result, options.plot)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(PRESETS), default="image")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", help=f"of {', '.join(METHODS)} and the variants; all when left out")
    parser.add_argument("--variant", action="append", default=[], help='of inherited: NAME={"setting": …}', type=named)
    parser.add_argument("--set", action="append", default=[], help="a setting: recipe.epochs=5", type=named)
    parser.add_argument("--budget-of", default="inherited", help="whose training MACs random and asha may spend")
    parser.add_argument("--retrain-seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, required=True, help="folder for everything that is kept")
    parser.add_argument("-o", "--output", type=Path, help="JSON file; standard output when left out")
    parser.add_argument("--plot", type=Path, help="SVG file")
    parser.add_argument("--workers", type=int, default=1, help="processes, a seed each at a time")
    parser.add_argument("--only-seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.variants = dict(options.variant)
    known = (*METHODS, *options.variants)
    options.methods = options.methods or list(known)
    for name in options.methods:
        if name not in known:
            parser.error(f"--methods {name}: choose from {', '.join(known)}")
    if options.budget_of not in (*SEARCHES, *options.variants):
        parser.error(f"--budget-of {options.budget_of}: choose from {', '.join((*SEARCHES, *options.variants))}")
    taken = [name for name in options.variants if name in METHODS or Path(name).name != name]
    if taken:
        parser.error(f"--variant {taken[0]}: the name is taken, or is no file name")
    return options


def named(text: str) -> tuple[str, Any]:
    """NAME=JSON; what is no JSON is a string."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def settings_of(options: argparse.Namespace, seed: int) -> SearchSettings:
    """The preset, what `--set` changes of it, and a seed."""
    overrides: dict[str, Any] = PRESETS[options.task]
    for key, value in options.set:
        for part in reversed(key.split(".")):
            value = {part: value}  # noqa: PLW2901 - wrapped section by section
        overrides = merge(overrides, value)
    return resolve(overrides | {"seed": seed})


def seed_path(options: argparse.Namespace, seed: int) -> Path:
    """What one seed came to."""
    return Path(options.runs) / f"seed-{seed}.json"


def read_json(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_earlier(path: Path | None, head: Mapping[str, Any]) -> dict[str, Any]:
    """The seeds of an earlier piece of the same comparison; none where there is no file."""
    if path is None or not path.exists():
        return {}
    found = read_json(path)
    other = [name for name, value in head.items() if found.get(name) != json.loads(json.dumps(value))]
    if other:
        raise SystemExit(f"{path}: holds another comparison ({', '.join(other)} differ); take another -o")
    seeds: dict[str, Any] = found["seeds"]
    return seeds


def merge_seeds(earlier: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Methods of both, the later ones for the same seed and method; in order of seeds."""
    merged = dict(earlier)
    for seed, one in now.items():
        methods = merged.get(seed, {}).get("methods", {}) | one["methods"]
        order = sorted(methods, key=lambda name: METHODS.index(name) if name in METHODS else 1.5)
        merged[seed] = one | {"methods": {name: methods[name] for name in order}}
    return dict(sorted(merged.items(), key=lambda item: int(item[0])))


def environment(settings: SearchSettings) -> dict[str, Any]:
    """Versions and hardware."""
    found: dict[str, Any] = {"autoshrink": __version__, "processors": os.cpu_count(), "processor": platform.processor()}
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        found["processor"] = next(iter(models), found["processor"])
    for package in ("numpy", "optuna", "matplotlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return describe(choose_device(settings.device)) | {"threads": settings.threads} | found


def work_apart(options: argparse.Namespace) -> None:
    """Every seed in a process of its own, some of them side by side."""

    def start(seed: int) -> int:
        command = [sys.executable, "-m", "autoshrink_paper.compare", *sys.argv[1:], "--only-seed", str(seed)]
        return subprocess.run(command, check=False).returncode

    with ThreadPoolExecutor(options.workers) as pool:
        statuses = list(pool.map(start, options.seeds))
    failed = [str(seed) for seed, status in zip(options.seeds, statuses, strict=True) if status]
    if failed:
        raise SystemExit(f"seed {', '.join(failed)}: failed; the others are kept, and the same command goes on")


def work(options: argparse.Namespace, seed: int) -> None:
    """One seed: run the methods, retrain what they found, and keep the figures."""
    ground = Ground(settings_of(options, seed), options.runs)
    for name in set(options.methods).intersection(PRIORS):
        try:
            ground.prior(name)
        except InputError as error:
            raise SystemExit(f"{error}; leave it out of --methods") from error
    rows = {}
    for name in options.methods:
        print(f"seed {seed}: {name} …", file=sys.stderr, flush=True)
        rows[name] = judged(ground, run(name, ground, options), options.retrain_seeds)
        row = rows[name]
        print(
            f"seed {seed}: {name}: S {row['named']['score']:.4f}, performance {row['named']['performance']:.4f} at "
            f"{row['named']['cost']:,} {ground.settings.resource}, {row['training_macs']:.3g} training MACs",
            file=sys.stderr,
            flush=True,
        )
    start = ground.resources(ground.start)
    found = {
        "judged_on": ground.judge.words,
        "guessing": ground.guessing,
        "complete": asdict(start) | {"cost": ground.score.cost(start)},
        "ops": list(ground.start.ops),
        "data": ground.data,
        "methods": rows,
    }
    write_text(seed_path(options, seed), json.dumps(found))


def run(name: str, ground: Ground, options: argparse.Namespace) -> Outcome:
    """One method on one seed."""
    overrides = SEARCHES.get(name)
    if name in options.variants:
        overrides = merge(SEARCHES["inherited"], options.variants[name])
    if overrides is not None:
        return autoshrink_search(ground, overrides, Path(options.runs) / f"{name}-{ground.settings.seed}")
    if name in PRIORS:
        return Outcome(ground.prior(name))
    budget = run(options.budget_of, ground, options).spent.training_macs
    outcome = random_search(ground, budget) if name == "random" else Asha(ground, budget).run()
    outcome.remarks.append(f"budget {budget:,} training MACs")
    return outcome


def judged(ground: Ground, outcome: Outcome, retrain_seeds: int) -> dict[str, Any]:
    """A method's figures: what it spent, and its named cell and front retrained."""
    cells = outcome.front(ground)
    front = [ground.retrained(cell, retrain_seeds) | {"recorded": outcome.recorded(cell)} for cell in cells]
    named_cell = ground.retrained(outcome.named, retrain_seeds) | {"recorded": outcome.recorded(outcome.named)}
    points = [Point(one["performance"], one["cost"]) for one in (named_cell, *front)]
    reference = Point(ground.guessing, ground.score.cost(ground.resources(ground.start)))
    return {
        "training_macs": outcome.spent.training_macs,
        "samples": outcome.spent.samples,
        "seconds": round(outcome.spent.seconds, 1),
        "evaluations": outcome.evaluations,
        "remarks": outcome.remarks,
        "named": named_cell,
        "front": front,
        "hypervolume": hypervolume(points, reference, ground.perfect),
        "within": {f"{share:g}": best_within(points, share * reference.cost) for share in SHARES},
    }


if __name__ == "__main__":
    main()
