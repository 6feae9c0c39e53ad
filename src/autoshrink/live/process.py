"""The live page's server as a process of its own, for who starts it from Python: it ends when they do, however."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from autoshrink.drawing.markup import tag
from autoshrink.errors import InputError, RunError
from autoshrink.files import named
from autoshrink.registry import loaded_plugins

_HEIGHT = 760
"""Of the frame in a notebook, pixels."""
_CLOSING_SECONDS = 5.0
NEEDED = ("starlette", "uvicorn", "sse_starlette")
INSTALL = "pip install 'autoshrink[live]'"


def require_live(purpose: str) -> None:
    """Refuse, before any long work, what needs a package that is not there.

    Raises:
        InputError: the extra is not installed; the message has the command that installs it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{purpose} needs {' and '.join(missing)}, which {verb} not installed: {INSTALL}")


def watch(run: str | os.PathLike[str], *, port: int = 0, read_only: bool = False) -> Watched:
    """Show a run, or the runs of a folder, on a page; in a notebook the page stands in the output.

    Args:
        run: a run folder, or a folder of runs.
        port: of this machine; 0 for a free one.
        read_only: whether nobody may give commands.

    Returns:
        The page: ``.url``, and ``.close()``. It is closed when this process ends.

    Raises:
        InputError: the extra `live` is not installed.
        RunError: there is nothing to show, or the port is taken.
    """
    require_live("autoshrink.watch")
    folder = named(run).absolute()
    plugins = [word for file in loaded_plugins() for word in ("--plugin", str(file))]
    command = [sys.executable, "-m", "autoshrink", "watch", "--port", str(port), "--json", "--until-eof", *plugins]
    command += [*(["--read-only"] if read_only else []), "--", str(folder)]
    with tempfile.TemporaryFile() as said:
        # In a session of its own: Ctrl-C is for who started it, and the page ends with them.
        process = subprocess.Popen(  # noqa: S603 - this package's own command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
        line = _first_line(process)
        if not line:
            process.wait()
            raise RunError(_why(said) or f"{folder}: the page could not be opened")
    value = json.loads(line)
    return Watched(folder, value["url"], value["token"], value["read_only_url"], process)


class Watched:
    """A page that is open.

    Attributes:
        run: what it shows.
        url: where it is, with the token that it takes.
        token: for scripts: the header ``Authorization: Bearer TOKEN``.
        read_only_url: the same page for looking only.
    """

    def __init__(self, run: Path, url: str, token: str, read_only_url: str, process: subprocess.Popen[bytes]) -> None:
        self.run = run
        self.url = url
        self.token = token
        self.read_only_url = read_only_url
        self._process = process
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"Watched({str(self.run)!r}, {self.url!r}{'' if self.open else ', closed'})"

    def _repr_html_(self) -> str:
        """The page in a frame, for a notebook whose browser is on this machine."""
        if not self.open:
            return str(tag("p", f"The page of {self.run} is closed."))
        words = tag("a", "in a tab of its own", href=self.url, target="_blank", rel="noreferrer")
        frame = tag("iframe", "", src=self.url, title="autoshrink", width="100%", height=_HEIGHT, frameborder=0)
        return str(tag("div", frame, tag("p", words)))

    @property
    def open(self) -> bool:
        """Whether it still answers."""
        return self._process.poll() is None

    def close(self) -> None:
        """Close the page; a search goes on without it."""
        atexit.unregister(self.close)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """What it says first: its address; nothing where it ended without one."""
    assert process.stdout is not None, "it is a pipe"
    try:
        return process.stdout.readline()
    except BaseException:
        process.kill()
        process.wait()
        raise


def _why(said: IO[bytes]) -> str:
    said.seek(0)
    return " ".join(said.read(4096).decode("utf-8", "replace").split()).removeprefix("autoshrink: ")
