"""The command line: `main` turns errors into one or two lines and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from itertools import pairwise

from typer import Abort
from typer.exceptions import TyperException

from autoshrink.cli.app import app
from autoshrink.cli.console import DONE, INTERRUPTED, WRONG_INPUT, stderr
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.untrusted import brief, brief_path

_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)
"""What the operating system says of a path that cannot be, wherever it is first asked for it."""


def main() -> None:
    """Run a command and exit: 0 done, 2 the input cannot be used, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command; the exit status. Anything but an `AutoshrinkError` is a bug and keeps its traceback."""
    try:
        _refuse_nul(arguments)
        status = app(arguments or ["--help"], prog_name="autoshrink", standalone_mode=False)
    except AutoshrinkError as error:
        _complain(str(error))
        return WRONG_INPUT
    except TyperException as error:
        _complain(_usage(error, arguments))
        return WRONG_INPUT
    except (KeyboardInterrupt, Abort):
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, say) went away. Python would complain once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.errno not in _NO_PATH:
            raise
        _complain(f"{brief_path(error.filename or 'a path')}: {error.strerror}")
        return WRONG_INPUT
    return status if isinstance(status, int) else DONE


def _refuse_nul(arguments: list[str]) -> None:
    """No shell can give a NUL byte, a program can; no path, number or name has one."""
    for argument in arguments:
        if "\0" in argument:
            raise InputError(f"{brief(argument)}: a NUL byte stands in nothing that can be meant")


def _complain(message: str) -> None:
    stderr.print(f"autoshrink: {message}", markup=False, style="red", soft_wrap=True)


def _usage(error: TyperException, arguments: list[str]) -> str:
    """The parser's message, with the value that it leaves out, and where to read on."""
    names = getattr(getattr(error, "param", None), "opts", [])
    given = [value for name, value in pairwise(arguments) if name in names]
    value = f" (got {given[-1]!r})" if given and given[-1] not in error.format_message() else ""
    command = getattr(getattr(error, "ctx", None), "command_path", "autoshrink")
    return f"{error.format_message().rstrip('.')}{value}; see `{command} --help`"
