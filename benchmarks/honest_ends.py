"""Whether searches name what is best by their own measure: digits, with as many seeds as are asked for.

    python benchmarks/honest_ends.py [--seeds 20] [--macs 100000] [-o honest-ends.json]

Each seed searches twice, with small settings: a cell, and a whole network at a budget of MACs. From what a run leaves
for scripts (its JSON, and the file of its best network) it is then checked that no row measured at equal cost with the
same fresh seeds has a higher S than what is named, the start and the chain among them; that the first line says that
nothing better was found exactly where what is named is no find of the search; and that the file holds what is named.
Prints a table of how often each is named and by how much the find of the search was ahead of each row, mean ± standard
error over seeds, and leaves every run's figures in a JSON file. A run that is in that file already is not done again.
Ends with status 1 where a check fails.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import autoshrink
from autoshrink.files import write_text
from autoshrink.results import summary

SMALL: dict[str, Any] = {
    "data": {"train_per_class": 40, "validation_per_class": 40},
    "recipe": {"epochs": 3, "batch": 32},
    "candidates": 3,
    "finalists": 2,
    "repeats": 2,
    "threads": 1,
}
CELLS: dict[str, Any] = {"nodes": 5, "stop": {"evaluations": 10}}
NETWORKS: dict[str, Any] = {"stop": {"evaluations": 14}, "patience": 1}


def searched(settings: dict[str, Any]) -> dict[str, Any]:
    """What a search leaves for scripts, checked; `wrong` lists what should not be."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        record = autoshrink.search(settings, run=run)
        found = summary(record, run=run)
        best = found["best"]
        files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in run.glob("best.*.json")}
    name = "architecture" if "architecture" in best else "cell"
    rows = found["beside"]
    scores = [row["score"] for row in rows] + ([found["complete"]["score"]] if found["complete"] else [])
    nothing = found["found"]["headline"].startswith("The search found nothing better than ")
    checks = {
        "something measured has a higher S than what is named": best["score"] >= max(scores),
        "the first line and what is named differ": nothing == (found["found"]["role"] != "found"),
        "the file does not hold what is named": files[f"best.{'arch' if name != 'cell' else name}.json"] == best[name],
        "nothing stands beside": bool(rows),
    }
    kept = ("role", "what", "best", "score", "score_standard_error", "performance", "macs")
    return {
        "headline": found["found"]["headline"],
        "named": found["found"]["role"],
        "score": best["score"],
        "start_score": found["complete"] and found["complete"]["score"],
        "rows": [{key: row[key] for key in kept} for row in rows],
        "wrong": [text for text, holds in checks.items() if not holds],
        "seconds": found["seconds"],
        "training_macs": found["cost"]["training_macs"],
    }


def ahead(runs: list[dict[str, Any]], role: str) -> list[float]:
    """S of what each search itself found minus S of the best row of a role, where there is one."""
    gaps = []
    for run in runs:
        own = next(row["score"] for row in run["rows"] if row["role"] == "found")
        others = [row["score"] for row in run["rows"] if row["role"] == role]
        gaps += [own - max(others)] if others else []
    return gaps


def shown(runs: dict[str, list[dict[str, Any]]]) -> str:
    """The table."""
    lines = [
        "| search | | found | start | chain | random | hand-made |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    roles = ("found", "start", "chain", "random", "hand-made")
    for name, of in runs.items():
        named = [sum(run["named"] == role for run in of) for role in roles]
        lines.append(f"| {name}, {len(of)} seeds | named | {' | '.join(map(str, named))} |")
        cells = []
        for role in roles[1:]:
            gaps = ahead(of, role)
            error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
            cells.append(f"{statistics.fmean(gaps):+.3f} ± {error:.3f} ({len(gaps)})" if gaps else "")
        lines.append(f"| | the find's S minus its | | {' | '.join(cells)} |")
    return "\n".join(lines).replace("+-", "−").replace("-0.", "−0.")


def main() -> int:
    """Search, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--macs", type=int, default=100_000)
    parser.add_argument("-o", "--output", type=Path, default=Path("honest-ends.json"))
    options = parser.parse_args()
    kinds = {"cells": CELLS, f"networks of {options.macs:,} MACs": NETWORKS | {"budget": {"macs": options.macs}}}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    if options.output.exists():
        runs |= json.loads(options.output.read_text(encoding="utf-8"))
    for seed in range(options.seeds):
        for name, settings in kinds.items():
            if len(runs[name]) > seed:
                continue
            runs[name].append({"seed": seed} | searched(SMALL | settings | {"seed": seed}))
            write_text(options.output, json.dumps(runs, indent=1) + "\n")
            latest = runs[name][-1]
            print(seed, name, latest["headline"], latest["wrong"] or "", file=sys.stderr, flush=True)
    print(shown(runs))
    wrong = [(name, run["seed"], text) for name, of in runs.items() for run in of for text in run["wrong"]]
    for name, seed, text in wrong:
        print(f"seed {seed}, {name}: {text}")
    print(f"{len(wrong)} of {sum(map(len, runs.values()))} runs name something worse than what they measured")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
