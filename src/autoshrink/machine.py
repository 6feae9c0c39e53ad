"""What this machine can be asked for."""

from __future__ import annotations

import os

from autoshrink.errors import InputError

MOST_PER_CPU, MOST = 4, 256
"""Threads or processes: the larger of so many a CPU, and so many. Beyond that a machine is busy with starting them."""


def refuse_too_many(number: int, what: str) -> None:
    """Refuse more threads, or processes, than make sense here.

    Args:
        number: how many.
        what: they are, as the message calls them: ``threads``.

    Raises:
        InputError: they are more than 256 and more than four a CPU.
    """
    cpus = os.cpu_count() or 1
    most = max(MOST, MOST_PER_CPU * cpus)
    if number > most:
        raise InputError(
            f"{number:,} {what} are too many: at most {most:,} here, and best no more than its CPUs, {cpus}"
        )
