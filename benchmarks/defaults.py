"""Every strategy with its default settings, on the digits and on the documentation topics that Python ships: what a
search costs beside the paper's procedure, how long it takes, and what it names.

    python benchmarks/defaults.py -o FOLDER [--tasks image text] [--strategies …] [--json FILE]

Nothing is set but the strategy, one thread, and `--evaluator trained` where a strategy compares designs of different
steps. On these two data sets AutoShrink's default is the paper's procedure, every candidate trained from scratch: what
it spends on steps is 100 %. Each run is a folder of FOLDER; one that stands there is gone on with, or only read where
it is finished. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import autoshrink
from autoshrink.errors import SearchError
from autoshrink.files import write_text
from autoshrink.findings import headline
from autoshrink.formatting import plain, quantity
from autoshrink.metrics import metric_of
from autoshrink.record import RunRecord
from autoshrink.store import has_run, read_record

NEEDS: dict[str, dict[str, Any]] = {
    "evolution": {"evaluator": "trained"},
    "successive-halving": {"evaluator": "trained"},
    "random": {"evaluator": "trained"},
}
"""Settings that go with a strategy beside its name."""
STRATEGIES = ("autoshrink", "random", "evolution", "successive-halving", "oneshot", "ddpnas", "msnas", "firefly")
PAPER = "autoshrink"


@dataclass(frozen=True)
class Row:
    """One search.

    Attributes:
        task: `image` or `text`.
        strategy: its name.
        designs: measured, from scratch or by what is shared, each once.
        choosing_macs: training MACs of steps and playoff: what the choice cost.
        training_macs: with the fresh seeds and what was measured beside.
        seconds: in which a process had the run open.
        headline: the first line of `show`.
        named: the performance of what is named as its metric shows it; None where nothing is.
        score: its S.
        cost: of the run's resource.
    """

    task: str
    strategy: str
    designs: int
    choosing_macs: int
    training_macs: int
    seconds: float
    headline: str
    named: str | None
    score: float | None
    cost: int | None


def searched(task: str, strategy: str, folder: Path) -> RunRecord:
    """The finished run, from wherever it stands."""
    settings = {"task": task, "strategy": strategy, "threads": 1} | NEEDS.get(strategy, {})
    try:
        return autoshrink.resume(folder) if has_run(folder) else autoshrink.search(settings, run=folder)
    except SearchError:  # it named nothing: a result too
        return read_record(folder)


def row(task: str, strategy: str, record: RunRecord) -> Row:
    """What a run says."""
    best, metric = record.best(), metric_of(record.settings)
    return Row(
        task=task,
        strategy=strategy,
        designs=sum(one.same_as is None for one in record.candidates),
        choosing_macs=record.spent_choosing().training_macs,
        training_macs=record.spent().training_macs,
        seconds=round(record.active_seconds, 1),
        headline=plain(headline(record)),
        named=None if best is None else plain(metric.write(best.performance)),
        score=None if best is None else best.score,
        cost=None if best is None else record.settings.score.cost(best.recorded.resources),
    )


def table(rows: list[Row]) -> str:
    """Markdown, a part for each task."""
    lines = []
    for task in dict.fromkeys(one.task for one in rows):
        own = [one for one in rows if one.task == task]
        paper = next((one.choosing_macs for one in own if one.strategy == PAPER), None)
        lines += [
            f"| {task} | designs | choosing, MACs | of the paper's | all, MACs | seconds | named | S | first line |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for one in own:
            share = "" if paper is None else f"{one.choosing_macs / paper:.0%}"
            score = "" if one.score is None else f"{one.score:.4f}"
            lines.append(
                f"| {one.strategy} | {one.designs} | {quantity(one.choosing_macs)} | {share} | "
                f"{quantity(one.training_macs)} | {one.seconds:.0f} | {one.named or ''} | {score} | {one.headline} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--tasks", nargs="+", default=["image", "text"], choices=["image", "text"])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--json", type=Path, help="a file for the rows")
    arguments = parser.parse_args()
    rows = []
    for task in arguments.tasks:
        for strategy in arguments.strategies:
            record = searched(task, strategy, arguments.output / f"{task}-{strategy}")
            rows.append(row(task, strategy, record))
            sys.stderr.write(f"{task}, {strategy}: {rows[-1].headline}\n")
    sys.stdout.write(table(rows))
    if arguments.json is not None:
        write_text(arguments.json, json.dumps([asdict(one) for one in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
