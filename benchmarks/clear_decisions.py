"""How many decisions of a finished search are larger than noise, judged by accuracy and by class probability.

    autoshrink search --data cifar10 … --run runs/one; python benchmarks/clear_decisions.py runs/one …

A log keeps both of every candidate, image by image. All candidates of a step are compared on the images that each of
them was judged on. Prints JSON, once for S made of accuracy and once of the mean probability of the right class: in how
many steps the best led the second in S by more than two paired standard errors, and of all pairs of a step's candidates
the median |difference| / standard error, how many exceed two, and the median standard error.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import replace
from itertools import combinations, groupby
from pathlib import Path

from autoshrink.record import CLEAR, RunRecord
from autoshrink.score import Evaluation, compare
from autoshrink.store import read_record


def steps(record: RunRecord) -> list[list[Evaluation]]:
    """Of every step after the first its different candidates that did not fail."""
    later = [one for one in record.candidates if one.step and one.same_as is None and not one.evaluation.failed]
    later.sort(key=lambda one: one.step)
    return [[one.evaluation for one in group] for _, group in groupby(later, key=lambda one: one.step)]


def alike(group: list[Evaluation], *, probabilities: bool) -> list[Evaluation]:
    """The same on the images that all were judged on, which come first in those that were judged on more."""
    common = min(len(one.correct or ()) for one in group)
    return [
        replace(
            one,
            correct=(one.correct or ())[:common],
            parts=(one.parts or ())[:common] if probabilities else None,
            performance=statistics.fmean((one.correct or ())[:common]),
        )
        for one in group
    ]


def evidence(groups: list[list[Evaluation]], record: RunRecord) -> dict[str, float]:
    """Of one way to judge."""
    score, ratios, errors, clear = record.settings.score, [], [], 0
    for group in groups:
        best, second = sorted(group, key=score.preference, reverse=True)[:2]
        clear += score(best) - score(second) > CLEAR * (compare(best, second).standard_error or 0.0)
        for pair in combinations(group, 2):
            found = compare(*pair)
            if found.standard_error:
                ratios.append(abs(found.difference) / found.standard_error)
                errors.append(found.standard_error)
    return {
        "decisions": len(groups),
        "clear_decisions": clear,
        "pairs": len(ratios),
        "ratio": statistics.median(ratios),
        "clear_pairs": sum(ratio > CLEAR for ratio in ratios),
        "standard_error": statistics.median(errors),
    }


def main() -> None:
    """Read the runs and print."""
    for run in sys.argv[1:]:
        record = read_record(Path(run))
        groups = [group for group in steps(record) if len(group) > 1]
        ways = {"accuracy": False, "probability": True}
        found = {
            name: evidence([alike(one, probabilities=way) for one in groups], record) for name, way in ways.items()
        }
        print(json.dumps({"run": run} | found))


if __name__ == "__main__":
    main()
