"""What every evaluator has to keep, built in or added."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from autoshrink.evaluation import Evaluator, Job
from autoshrink.score import Evaluation


def check_evaluator(make: Callable[[], Evaluator], jobs: Sequence[Job]) -> None:
    """An evaluator measures each job once and always alike, says what cells cost, and stops when time is up.

    Args:
        make: a fresh one, as of a process that has measured nothing yet.
        jobs: of one step: no two isomorphic, and those that have a parent with the weights that its evaluation names.

    Raises:
        AssertionError: something is not kept; the message says what.
    """
    found = _measured(make(), jobs)
    again = _measured(make(), jobs)
    for position, job in enumerate(jobs):
        one = found[position]
        assert (one.design, one.seed) == (job.design, job.seed), f"job {position}: another cell or seed came back"
        assert one.resources == make().resources(job.design), f"job {position}: its costs are not those of the cell"
        assert not one.failed or one.reason, f"job {position}: failed without a reason"
        assert one == again[position], f"job {position}: measured again, it is something else"
    evaluator = make()
    if not evaluator.joint:
        for position, job in enumerate(jobs):
            alone = _measured(make(), [job])[0]
            assert alone == found[position], f"job {position}: alone it is something else, though nothing is joint"
    assert not list(evaluator.evaluate(jobs, deadline=time.monotonic() - 1)), "after the deadline it goes on"


def _measured(evaluator: Evaluator, jobs: Sequence[Job]) -> dict[int, Evaluation]:
    """By position, without the seconds."""
    found: dict[int, Evaluation] = {}
    for position, evaluation in evaluator.evaluate(jobs):
        assert position not in found, f"job {position}: measured twice"
        found[position] = replace(evaluation, spent=replace(evaluation.spent, seconds=0.0))
    missing = sorted(set(range(len(jobs))) - set(found))
    assert not missing, f"jobs {missing}: never measured"
    return found
