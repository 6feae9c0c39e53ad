"""What every executor has to keep, built in or added."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

from autoshrink.cell import Cell
from autoshrink.errors import InputError
from autoshrink.evaluation import Executor, Job, Measure, Workplace
from autoshrink.resources import Resources
from autoshrink.score import Evaluation

PAUSE = 0.2
"""Seconds that the first job takes longer than the others."""
REFUSED, OVERDUE = 1000, 1001
"""Seeds of jobs that are refused, and that no time is enough for."""


def check_executor(make: Callable[[Workplace], Executor]) -> None:
    """An executor gives what each job gave, in their order, as often as it is asked, and raises what they raise.

    Args:
        make: as it is registered, with its argument.

    Raises:
        AssertionError: something is not kept; the message says what.
    """
    executor = make(Workplace(_measured, _measured))
    jobs = _jobs(6)
    wanted = [_evaluation(job) for job in jobs]
    for _ in range(2):
        assert list(executor.run(jobs)) == wanted, "what comes back is not what the jobs gave, in their order"
    assert list(executor.run([])) == [], "no jobs give something"
    assert list(executor.run(jobs, deadline=time.monotonic() + 60)) == wanted, (
        "with time enough it gives something else"
    )
    overdue = [*jobs[:2], Job(jobs[2].design, OVERDUE), *jobs[3:]]
    found = list(executor.run(overdue))
    assert found == wanted[: len(found)], "what was done in time is not given in order"
    assert len(found) <= 2, "after a job that ran out of time others are given"
    said = ""
    try:
        list(executor.run([Job(jobs[0].design, REFUSED)]))
    except InputError as error:
        said = str(error)
    assert said == "refused on purpose", f"a job's error has to be raised where it came from; it says {said!r}"
    assert list(executor.run(jobs)) == wanted, "after an error it gives something else"


def check_crashes(make: Callable[[Workplace], Executor]) -> None:
    """A job whose process is killed is tried again, and the third time it has failed; others are as they were.

    For executors whose jobs run in other processes.

    Raises:
        AssertionError: something is not kept; the message says what.
    """
    with tempfile.TemporaryDirectory() as folder:
        for deaths, ends_well in ((2, True), (99, False)):
            (Path(folder) / "deaths").write_text("0", encoding="utf-8")
            measure: Measure = partial(_mortal, folder, deaths)
            jobs = _jobs(4)
            found = list(make(Workplace(measure, measure)).run(jobs))
            wanted = [_evaluation(job) for job in jobs]
            assert [found[0], *found[2:]] == [wanted[0], *wanted[2:]], "a job beside one that was killed is another"
            if ends_well:
                assert found[1] == wanted[1], f"killed {deaths} times, it was not tried again"
            else:
                assert isinstance(found[1], str), "killed again and again, it has no reason of failure"
                assert "SIGKILL" in found[1], f"the reason does not say how it died: {found[1]}"
                tried = (Path(folder) / "deaths").read_text(encoding="utf-8")
                assert tried == "3", f"it was tried {tried} times"


def _jobs(count: int) -> list[Job]:
    cell = Cell("conv", ("input", *["conv1x1"] * 3), tuple(combinations(range(4), 2)))
    return [Job(cell, seed) for seed in range(count)]


def _evaluation(job: Job) -> Evaluation:
    return Evaluation(job.design, Resources(macs=1, params=1, memory=1), job.seed, "made up", 1 / (1 + job.seed))


def _measured(job: Job, seconds: float | None) -> Evaluation | None:
    """Made up; the first job is the slowest."""
    del seconds
    if job.seed == REFUSED:
        raise InputError("refused on purpose")
    if job.seed == OVERDUE:
        return None
    time.sleep(PAUSE if job.seed == 0 else 0.0)
    return _evaluation(job)


def _mortal(folder: str, deaths: int, job: Job, seconds: float | None) -> Evaluation | None:
    """The second job's process dies so many times."""
    if job.seed == 1:
        counter = Path(folder) / "deaths"
        died = int(counter.read_text(encoding="utf-8"))
        if died < deaths:
            counter.write_text(str(died + 1), encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
    return _measured(job, seconds)
