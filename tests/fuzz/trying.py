"""One input tried: a command or a call, in this process, within a time and a memory, and what is wrong with its end."""

from __future__ import annotations

import contextlib
import io
import re
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from autoshrink.cli import run
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.untrusted import parse_json

SECONDS = 120.0
"""A command that ends by itself takes a fortieth of it; the machine may be busy."""
MEBIBYTES = 1500
"""By which the process may grow in one command."""
LONGEST = 1200
"""Characters of a message, paths included."""
_TIMES = re.compile(r'"(seconds|now|updated|created|finished_at)": [0-9.e+-]+')


class HangError(BaseException):
    """It did not end; not an `Exception`, so that nothing takes it for one."""


@dataclass(frozen=True)
class Outcome:
    """How it ended: the exit status, what it found or printed, and what it complained of."""

    status: int
    found: str
    complaint: str
    fault: str | None = None


def tried(what: list[str] | Callable[[], object]) -> Outcome:
    """Run a command, or call something that ends with a value or an `AutoshrinkError`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out, err = io.StringIO(), io.StringIO()
    status, found, fault = 0, "", None
    signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            if callable(what):
                found = str(what())
            else:
                status = run(what)
    except AutoshrinkError as error:
        status = 2
        err.write(str(error))
    except HangError:
        fault = f"did not end within {SECONDS:g} seconds"
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, it is the fault that is looked for
        fault = f"traceback:\n{traceback.format_exc(limit=-6)[-1500:]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    complaint = err.getvalue()
    if fault is None:
        fault = _wrong(status, complaint, grown)
    return Outcome(status, _TIMES.sub(r'"\1": 0', found or out.getvalue()), complaint, fault)


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise HangError


def _wrong(status: int, complaint: str, grown: float) -> str | None:
    if status not in (0, 2, 130):
        return f"exit status {status}"
    if "Traceback" in complaint:
        return f"traceback printed: {complaint[-600:]}"
    if grown > MEBIBYTES:
        return f"took {grown:.0f} MiB"
    if status == 2 and not complaint.strip():
        return "refused without a word"
    if status == 2 and max(map(len, complaint.splitlines()), default=0) > LONGEST:
        return f"a message of {len(complaint)} characters: {complaint[:300]}"
    return None


def is_json(text: str) -> bool:
    """Whether it is JSON without what is no number."""
    try:
        parse_json(text)
    except InputError:
        return False
    return True
