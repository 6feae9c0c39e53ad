"""Jobs in processes of this machine, side by side."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

from autoshrink.errors import InputError
from autoshrink.evaluation import Job, Measure, Workplace
from autoshrink.machine import refuse_too_many
from autoshrink.score import Evaluation

CRASHES = 3
"""A job whose process died so often has failed."""


class ProcessExecutor:
    """See `autoshrink.evaluation.Executor`. The processes stay between steps, since each reads the data once.

    Args:
        workplace: what measures a job.
        argument: how many processes; where nothing is said, as many as the CPUs have room for.
    """

    def __init__(self, workplace: Workplace, argument: str = "") -> None:
        if argument and not (argument.isascii() and argument.isdigit() and int(argument) > 0):
            raise InputError(f"executor processes:{argument}: a number of processes is needed, for example processes:4")
        self._most = int(argument) if argument else max(1, (os.cpu_count() or 1) // workplace.threads)
        refuse_too_many(self._most, "processes")
        self._measure = workplace.elsewhere
        self._idle: list[_Worker] = []

    def run(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[Evaluation | str]:
        """In order, whichever is done first; a job whose process was killed is tried again."""
        waiting, crashes = deque(range(len(jobs))), Counter[int]()
        running: dict[Connection, tuple[int, _Worker]] = {}
        done: dict[int, Evaluation | str] = {}
        following = 0
        try:
            while following < len(jobs):
                while waiting and len(running) < self._most:
                    worker = self._idle.pop() if self._idle else _Worker(self._measure)
                    place = waiting.popleft()
                    running[worker.connection] = place, worker
                    worker.begin(jobs[place], None if deadline is None else deadline - time.monotonic())
                ready = wait(list(running), None if deadline is None else max(0.0, deadline - time.monotonic()))
                if not ready:
                    return
                for connection in ready:
                    assert isinstance(connection, Connection)
                    place, worker = running.pop(connection)
                    try:
                        found = worker.answer()
                    except EOFError:
                        crashes[place] += 1
                        if crashes[place] < CRASHES:
                            waiting.appendleft(place)
                        else:
                            done[place] = f"its process died {CRASHES} times, {worker.end()}"
                        continue
                    self._idle.append(worker)
                    if found is None:
                        return
                    done[place] = found
                while following in done:
                    yield done.pop(following)
                    following += 1
        finally:
            for _, worker in running.values():
                worker.stop()


class _Worker:
    """A process of its own, at one job at a time."""

    def __init__(self, measure: Measure) -> None:
        # A fresh interpreter: torch's threads, and CUDA, do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, measure), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, job: Job, seconds: float | None) -> None:
        """Hand over a job; where the process is gone, `answer` says so."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send((job, seconds))

    def answer(self) -> Evaluation | None:
        """What came of it.

        Raises:
            EOFError: the process is gone.
        """
        try:
            found: Evaluation | Exception | None = self.connection.recv()
        except ConnectionResetError as error:
            raise EOFError from error
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> str:
        """How the process ended, in words."""
        self._process.join()
        code = self._process.exitcode or 0
        return f"the last time by {signal.Signals(-code).name}" if code < 0 else f"the last time with status {code}"

    def stop(self) -> None:
        """Drop what it is at."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection, measure: Measure) -> None:
    """What a process does: measure what comes, until nobody is at the other end."""
    # Ctrl-C reaches every process of a terminal; the one that writes the log decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            job, seconds = connection.recv()
            try:
                connection.send(measure(job, seconds))
            except BrokenPipeError:
                return
            except Exception as error:  # noqa: BLE001 - raised again where the job came from
                error.add_note(traceback.format_exc())
                connection.send(error)
