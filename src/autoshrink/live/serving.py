"""The server of the live page: a socket of this machine, and what listens on it until it is interrupted."""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

import uvicorn

from autoshrink.errors import InputError, RunError
from autoshrink.live.app import MOST_STREAMS, application
from autoshrink.live.guard import Tokens, is_loopback, own_names, token_problem
from autoshrink.live.runs import Runs

_SPARE_FILES = 64
"""Of the files that a process may open, those that are no client's."""
_CLOSING_SECONDS = 2
_COLLECTED_EVERY = 100_000
"""New objects between two collections of garbage. A long log makes millions that stay; to look through them after every
two thousand took two fifths of the time of reading it."""


@dataclass(frozen=True)
class Address:
    """Where a page is, and what it takes to read and to steer."""

    base: str
    tokens: Tokens

    @property
    def url(self) -> str:
        """The page, with what allows most. The token stands after ``#``: browsers send that to nobody."""
        return f"{self.base}#token={self.tokens.main}"

    @property
    def reading(self) -> str:
        """The page, for looking only."""
        return f"{self.base}#token={self.tokens.read}"


def serve(
    root: str | os.PathLike[str],
    *,
    told: Callable[[Address], None],
    host: str = "127.0.0.1",
    port: int = 8400,
    token: str | None = None,
    read_only: bool = False,
    until: Callable[[], None] | None = None,
) -> None:
    """Show a run, or the runs of a folder, until SIGINT or SIGTERM.

    Args:
        root: the run or the folder.
        told: is told the address, once it answers.
        host: to listen on; another than this machine's loopback only with a token.
        port: 0 for a free one.
        token: a person's own; None: one that is drawn.
        read_only: whether nobody may give commands.
        until: waits, in a thread of its own, for what else may end it.

    Raises:
        InputError: the host cannot be listened on, or a token is missing or too weak.
        RunError: there is nothing to show, or the port is taken.
        KeyboardInterrupt: SIGINT came.
    """
    if token is not None and (problem := token_problem(token)) is not None:
        raise InputError(f"--token: it {problem}")
    if token is None and not is_loopback(host):
        raise InputError(
            f"--host {host}: others could reach it, so give a --token of your own too; `ssh -L` needs neither"
        )
    gc.set_threshold(_COLLECTED_EVERY)
    runs = Runs(root)
    tokens = Tokens.drawn(steer=token, read_only=read_only)
    with _listening(host, port) as found:
        most = _most_streams()
        app = application(runs, tokens, own_names(host), anywhere=not is_loopback(host), most_streams=most)
        config = uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=most + _SPARE_FILES // 2,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        # Connections that come before it answers wait in the socket.
        told(Address(_base(host, found), tokens))
        server = uvicorn.Server(config)
        if until is not None:
            Thread(target=_end_after, args=(server, until), daemon=True).start()
        server.run(sockets=[found])


def _end_after(server: uvicorn.Server, until: Callable[[], None]) -> None:
    until()
    server.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, so that the address can be told before anybody asks.

    Raises:
        InputError: the host is none of this machine's.
        RunError: the port is taken or not allowed.
    """
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: no address of this machine ({error})") from error
    made = socket.socket(family, kind)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(2048)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise RunError(f"--port {port}: something listens there already; --port 0 takes a free one") from error
        raise RunError(f"--host {host} --port {port}: cannot listen there ({error.strerror or error})") from error
    made.set_inheritable(False)
    return made


def _base(host: str, found: socket.socket) -> str:
    """The page's address. Who listens everywhere is named by this machine's name."""
    number = found.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not listened on
    return f"http://{f'[{name}]' if ':' in name else name}:{number}/"


def _most_streams() -> int:
    """As many streams as there may be open files, after asking the system for more."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_STREAMS + 2 * _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_STREAMS if soft == resource.RLIM_INFINITY else max(1, min(MOST_STREAMS, soft - 2 * _SPARE_FILES))
