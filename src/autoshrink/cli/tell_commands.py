"""``tell``: commands for a search while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoshrink.cli.console import JsonOption, print_json, stdout
from autoshrink.commands import USAGE, command_of_words
from autoshrink.escaping import word
from autoshrink.telling import tell as tell_run
from autoshrink.untrusted import read_json


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("tell", epilog=f"Commands: {'; '.join(USAGE.values())}.")(tell)


def tell(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    command: Annotated[list[str], typer.Argument(help="What to do, and what belongs to it: forbid 1-4.")],
    *,
    author: Annotated[str | None, typer.Option(help="Who says it. Default: the user.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Steer a search while it goes on, or before it is resumed; it takes the command in between two steps.

    Checked at once as far as can be read of the run; what cannot be followed then is refused in the log, with the
    reason.
    """
    value = command_of_words(command, lambda name: read_json(Path(name)))
    receipt = tell_run(run, value, author=author)
    if as_json:
        print_json({"id": receipt.id, "command": value.to_json(), "finished": receipt.finished})
        return
    when = f"`autoshrink resume {word(run)}` goes on with it" if receipt.finished else "the search takes it in next"
    stdout.print(f"command {receipt.id}: {value.sentence}; {when}")
