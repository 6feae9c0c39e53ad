"""What this machine can be asked for."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from autoshrink.errors import InputError

MOST_PER_CPU, MOST = 4, 256
"""Threads or processes: the larger of so many a CPU, and so many. Beyond that a machine is busy with starting them."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's ``mallopt`` (malloc.h)."""
_TOP_PAD = 64 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees for its next allocation, for as long as it lives.

    glibc gives the pages of every large block back to the system, and a training step asks for each of its tensors
    anew: a third of the time of a small network's training on a CPU is page faults. Numbers and peak memory stay
    (``benchmarks/allocator.py``).

    Returns:
        Whether there is a glibc that could be told so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _TOP_PAD))
    told = [mallopt(name, value) == 1 for name, value in wanted]
    return all(told)


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


def refuse_beyond_memory(need: int, what: str, way_out: str) -> None:
    """Refuse what cannot fit before memory is asked for it: a system may promise more than it has, and kill.

    Args:
        need: bytes, at least.
        what: takes them, in the plural, with its size: ``inputs of 1x3x100000x100000``.
        way_out: what to do.

    Raises:
        InputError: they are more than is free.
    """
    free = free_memory()
    if free is not None and need > free:
        raise InputError(
            f"{what} take at least {_gibibytes(need)} of memory, and {_gibibytes(free)} are free; {way_out}"
        )


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, of its control group, of its address space.

    None where the system does not say.
    """
    found = [*_of_the_machine(), *_of_the_group(), *_of_the_process()]
    return max(0, min(found)) if found else None


def _of_the_machine() -> Iterator[int]:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _of_the_group() -> Iterator[int]:
    root = Path("/sys/fs/cgroup")
    names = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limit, used in names:
        most, now = _text(root / limit).strip(), _text(root / used).strip()
        if most.isdigit() and now.isdigit():
            yield int(most) - int(now)


def _of_the_process() -> Iterator[int]:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(Path("/proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and pages:
        yield limit - int(pages[0]) * resource.getpagesize()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
