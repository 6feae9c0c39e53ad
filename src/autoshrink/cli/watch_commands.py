"""``watch``: the live page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoshrink.cli import INTERRUPTED
from autoshrink.cli.console import stderr, stdout
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.live.process import INSTALL, NEEDED
from autoshrink.optional import optional

if TYPE_CHECKING:
    from autoshrink.live.serving import Address

MOST_PORT = 65535


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("watch")(watch)


def watch(
    run: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs.")],
    *,
    port: Annotated[int, typer.Option(help="Of this machine; 0 for a free one.")] = 8400,
    host: Annotated[str, typer.Option(help="To listen on; another than this machine's own only with --token.")] = (
        "127.0.0.1"
    ),
    read_only: Annotated[bool, typer.Option("--read-only", help="Nobody may give commands on the page.")] = False,
    token: Annotated[
        str | None, typer.Option(envvar="AUTOSHRINK_TOKEN", help="Your own instead of one that is drawn.")
    ] = None,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="Close the page when standard input ends: for programs that start it.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="First a line on standard output: a JSON object with url and token.")
    ] = False,
) -> None:
    """Show a search as it goes on a page in the browser, and steer it there.

    The page is for this machine alone, and for who has the printed address. It stays until Ctrl-C; the search goes on
    without it.
    """
    if not 0 <= port <= MOST_PORT:
        raise InputError(f"--port {port}: ports are 1 to {MOST_PORT}, and 0 for a free one")
    with optional(*NEEDED, purpose="`autoshrink watch`", install=INSTALL):
        from autoshrink.live.serving import serve  # noqa: PLC0415 - an extra

    def told(address: Address) -> None:
        if as_json:
            value = {"url": address.url, "token": address.tokens.main}
            value |= {"read_only_url": address.reading, "read_only_token": address.tokens.read}
            print(json.dumps(value), flush=True)
            return
        stdout.print(f"watching {shown(run)}: {address.url}", markup=False)
        if address.tokens.steer is not None:
            stdout.print(f"to share, for looking only: {address.reading}", markup=False)
        stdout.print("Ctrl-C closes the page; a search goes on without it", markup=False)

    until = _end_of_input if until_eof else None
    try:
        serve(run, told=told, host=host, port=port, token=token, read_only=read_only, until=until)
    except KeyboardInterrupt:
        stderr.print("the page is closed", markup=False)
        raise typer.Exit(INTERRUPTED) from None


def _end_of_input() -> None:
    """Wait until standard input ends, whatever comes of it before."""
    while sys.stdin.buffer.read(4096):
        pass
