"""The command line: `main` turns errors into one or two lines and an exit status.

Nothing heavy is imported before `main` runs, so that Ctrl-C ends the command in one line from its first moment on.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typer.exceptions import TyperException

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130
"""Exit statuses."""
_SYSTEM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EFBIG),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM),
)
"""What the system refuses without anybody having written a wrong line."""
TRACEBACK = "AUTOSHRINK_TRACEBACK"
"""The environment's variable with which errors of plug-ins keep their tracebacks."""
MOST_INTERRUPTS = 50
TORCH_BYTES = 1 << 30
"""Address space without which torch is not loaded: with torch 2.13 on a CPU, loading it alone takes .65 GB."""
_NO_MEMORY = ("allocate memory", "failed to map segment", "can't start new thread", "std::bad_alloc", "out of memory")
"""What errors say, in lower case, that are raised where memory ends and are no `MemoryError`."""


def main() -> None:
    """Run a command and exit: 0 done, 2 the input cannot be used, 130 interrupted."""
    with _interrupts() as stopped:
        status = _guarded(sys.argv[1:], stopped)
        for name in ("stdout", "stderr"):
            status = _flushed(name) or status
    # Whoever presses Ctrl-C does not wait for libraries to be unloaded, some of which do not expect to be.
    if status == INTERRUPTED:
        os._exit(status)
    sys.exit(status)


def _guarded(arguments: list[str], stopped: list[int]) -> int:
    """Run a command; after Ctrl-C, whatever error comes of that is no error of its own."""
    try:
        _set_streams()
        _refuse_torch_without_memory()
        return run(arguments)
    except SystemExit:
        raise
    except BaseException:
        if not stopped:
            raise
        _say("autoshrink: interrupted")
        return INTERRUPTED


def run(arguments: list[str]) -> int:
    """Run a command; the exit status.

    What is no `AutoshrinkError` and comes of no plug-in is a bug, and keeps its traceback.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        _say("autoshrink: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, say) went away. Python would complain once more when it flushes standard output at exit.
        _to_nowhere("stdout")
        return DONE
    except Exception as error:
        if _explained(error, " ".join(str(error).split())):
            return WRONG_INPUT
        raise


def _explained(error: Exception, text: str) -> bool:
    """Say in a line or two what memory, the system or a plug-in refused; false where it was none of these."""
    from autoshrink.registry import blamed, suspected  # noqa: PLC0415 - under the eyes of `main`

    system = isinstance(error, RuntimeError | ImportError | OSError | SystemError)
    no_memory = any(words in text.lower() for words in _NO_MEMORY) or getattr(error, "errno", None) == errno.ENOMEM
    if isinstance(error, MemoryError) or (system and no_memory):
        _no_memory(text)
    elif isinstance(error, OSError) and error.errno in _SYSTEM:
        place = "the output cannot be written" if error.filename is None else error.filename
        _complain(f"{place}: {error.strerror}")
    elif not os.environ.get(TRACEBACK) and (plugin := blamed(error) or suspected(error)) is not None:
        said = f"{plugin} failed: {type(error).__name__}: {text[:300]}"
        _complain(f"{said}\n{TRACEBACK}=1 in the environment shows the traceback")
    else:
        return False
    return True


def _run(arguments: list[str]) -> int:
    from typer import Abort  # noqa: PLC0415 - under the eyes of `main`
    from typer.exceptions import TyperException  # noqa: PLC0415

    from autoshrink.cli.command import load_plugins, named_plugins  # noqa: PLC0415
    from autoshrink.errors import AutoshrinkError  # noqa: PLC0415
    from autoshrink.registry import loaded_plugins  # noqa: PLC0415
    from autoshrink.untrusted import refuse_nul  # noqa: PLC0415

    try:
        refuse_nul(arguments)
        # What they register has options of its own.
        load_plugins(named_plugins(arguments))
        from autoshrink.cli.app import application  # noqa: PLC0415 - it makes the options

        app = application(frozenset(loaded_plugins()))
        status = app(arguments or ["--help"], prog_name="autoshrink", standalone_mode=False)
    except AutoshrinkError as error:
        _complain(_cut(str(error), arguments))
        return WRONG_INPUT
    except TyperException as error:
        _complain(_cut(_usage(error, arguments), arguments))
        return WRONG_INPUT
    except Abort:
        raise KeyboardInterrupt from None
    return status if isinstance(status, int) else DONE


def _cut(text: str, arguments: list[str]) -> str:
    """A message in which what was typed is quoted to a length that can be read."""
    from autoshrink.untrusted import LONGEST_SHOWN  # noqa: PLC0415

    typed = {part for argument in arguments for part in (argument, argument.partition("=")[2])}
    for value in sorted(typed, key=len, reverse=True):
        if len(value) > 4 * LONGEST_SHOWN:
            text = text.replace(value, f"{value[:LONGEST_SHOWN]}…")
    return text


def _complain(text: str) -> None:
    from autoshrink.cli.console import stderr  # noqa: PLC0415
    from autoshrink.escaping import message  # noqa: PLC0415

    stderr.print(f"autoshrink: {message(text)}", markup=False, style="red", soft_wrap=True)


class _NoTorch:
    """Stands before the finders of modules where torch cannot be loaded."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Nothing; of torch not even that.

        Raises:
            MemoryError: torch is looked for.
        """
        if name == "torch":
            raise MemoryError("torch cannot be loaded")


def _refuse_torch_without_memory() -> None:
    """Where the system allows less address space than torch takes, its libraries would spin for ever as they load."""
    limit = _address_space()
    if limit is not None and limit < TORCH_BYTES and "torch" not in sys.modules:
        sys.meta_path.insert(0, _NoTorch)


def _no_memory(text: str) -> None:
    limit = _address_space()
    allowed = f" (this process may use {limit >> 20:,} MiB of address space: `ulimit -v`)" if limit else ""
    reason = f": {text[:200]}" if text else ""
    _say(f"autoshrink: not enough memory{allowed}{reason}")


def _address_space() -> int | None:
    """Bytes that the process may map; None for no limit."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _usage(error: TyperException, arguments: list[str]) -> str:
    """The parser's message, with the value that it leaves out, and where to read on."""
    from autoshrink.untrusted import brief  # noqa: PLC0415 - under the eyes of `main`

    names = getattr(getattr(error, "param", None), "opts", [])
    given = [value for name, value in pairwise(arguments) if name in names]
    unsaid = given and not any(shown in error.format_message() for shown in (given[-1], brief(given[-1])))
    value = f" (got {brief(given[-1])})" if unsaid else ""
    command = getattr(getattr(error, "ctx", None), "command_path", "autoshrink")
    return f"{error.format_message().rstrip('.')}{value}; see `{command} --help`"


# --- streams and signals -------------------------------------------------------------------------------------------


def _set_streams() -> None:
    """Let both streams write something near it, or an escape, for what their encoding lacks."""
    from autoshrink.escaping import SUBSTITUTE  # noqa: PLC0415 - under the eyes of `main`

    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SUBSTITUTE)


def _say(line: str) -> None:
    """One line on standard error, where nothing can be relied on any more."""
    with suppress(Exception):
        print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)


def _flushed(name: str) -> int | None:
    """Write what a stream still holds; the status where that fails."""
    try:
        stream = getattr(sys, name)
        if stream is not None:
            stream.flush()
    except BrokenPipeError:
        _to_nowhere(name)
    except OSError as error:
        _to_nowhere(name)
        _say(f"autoshrink: standard {'output' if name == 'stdout' else 'error'}: cannot be written: {error.strerror}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return None


def _to_nowhere(name: str) -> None:
    with suppress(Exception):
        os.dup2(os.open(os.devnull, os.O_WRONLY), getattr(sys, name).fileno())


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C as ever, and that it came is remembered; SIGTERM and SIGKILL end the process at once."""
    stopped: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    def unraisable(found: Any) -> None:
        if isinstance(found.exc_value, KeyboardInterrupt) and len(stopped) < MOST_INTERRUPTS:
            # In a destructor or a callback it would be reported and forgotten; it comes again in a moment.
            again = threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,))
            again.daemon = True
            again.start()
        else:
            before(found)

    before: Callable[[Any], object] = sys.unraisablehook
    # A job in the background of a script, and one under nohup, ignore Ctrl-C, and go on doing so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = unraisable
    try:
        yield stopped
    finally:
        sys.unraisablehook = before
