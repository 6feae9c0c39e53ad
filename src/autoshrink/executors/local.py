"""Jobs in this process, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from autoshrink.errors import InputError
from autoshrink.evaluation import Job, Workplace
from autoshrink.score import Evaluation


class LocalExecutor:
    """See `autoshrink.evaluation.Executor`; it takes no argument."""

    def __init__(self, workplace: Workplace, argument: str = "") -> None:
        if argument:
            raise InputError(f"executor local:{argument}: local takes no argument; leave it out")
        self._measure = workplace.here

    def run(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[Evaluation | str]:
        """In order."""
        for job in jobs:
            found = self._measure(job, None if deadline is None else deadline - time.monotonic())
            if found is None:
                return
            yield found
