"""Doing what a study takes, one measurement after another, and going on with what a folder holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from autoshrink.reproduce.journal import Journal
from autoshrink.reproduce.study import Outcome, Study, Work


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        done: measurements.
        total: of how many.
        latest: the last one; None before the first of this process.
        seconds_left: estimated from the multiply-adds a second so far; None while unknown.
    """

    done: int
    total: int
    latest: Outcome | None
    seconds_left: float | None


def conduct(study: Study, journal: Journal, *, on_progress: Callable[[Progress], None]) -> tuple[Outcome, ...]:
    """Measure what is missing; every outcome is on disk before the next measurement begins.

    Raises:
        RunError: the folder cannot be written.
    """
    works = study.works()
    found = {(one.row, one.draw): one for one in journal.outcomes()}
    left = [work for work in works if (work.row, work.draw) not in found]
    began, spent = time.monotonic(), 0

    def told(latest: Outcome | None, remaining: list[Work]) -> None:
        seconds = None
        if spent:
            seconds = sum(work.macs for work in remaining) / spent * (time.monotonic() - began)
        on_progress(Progress(len(works) - len(remaining), len(works), latest, seconds))

    told(None, left)
    for number, work in enumerate(left, start=1):
        outcome = study.measure(work)
        journal.add(outcome)
        found[work.row, work.draw] = outcome
        spent += work.macs
        told(outcome, left[number:])
    return tuple(found[work.row, work.draw] for work in works)
