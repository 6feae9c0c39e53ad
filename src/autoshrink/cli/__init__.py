"""The command line: `main` turns errors into one or two lines and an exit status."""

from __future__ import annotations

import os
import sys

from typer import Abort
from typer.exceptions import TyperException

from autoshrink.cli.app import app
from autoshrink.cli.console import DONE, INTERRUPTED, WRONG_INPUT, stderr
from autoshrink.errors import AutoshrinkError


def main() -> None:
    """Run a command and exit: 0 done, 2 the input cannot be used, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command; the exit status. Anything but an `AutoshrinkError` is a bug and keeps its traceback."""
    try:
        status = app(arguments, prog_name="autoshrink", standalone_mode=False)
    except AutoshrinkError as error:
        stderr.print(f"autoshrink: {error}", markup=False, highlight=False, soft_wrap=True, style="red")
        return WRONG_INPUT
    except TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "autoshrink")
        stderr.print(
            f"autoshrink: {error.format_message()} (see `{command} --help`)",
            markup=False,
            highlight=False,
            soft_wrap=True,
            style="red",
        )
        return WRONG_INPUT
    except (KeyboardInterrupt, Abort):
        stderr.print("autoshrink: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, say) went away. Python would complain once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return status if isinstance(status, int) else DONE
