"""The application: the commands, by what they are about."""

from __future__ import annotations

from typing import Annotated

import typer

from autoshrink.cli import (
    craft_commands,
    data_commands,
    deploy_commands,
    evaluate_commands,
    inspect_commands,
    latency_commands,
    reproduce_commands,
    search_commands,
    train_commands,
)
from autoshrink.cli.command import Command
from autoshrink.version import __version__

app = typer.Typer(
    name="autoshrink",
    help="Search small, accurate neural networks by shrinking the wiring of a cell.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoshrink {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


search_commands.register(app)
craft_commands.register(app)
train_commands.register(app)
evaluate_commands.register(app)
deploy_commands.register(app)
inspect_commands.register(app)
latency_commands.register(app)
reproduce_commands.register(app)
app.add_typer(data_commands.app, name="data")
for command in (*app.registered_commands, *data_commands.app.registered_commands):
    command.cls = Command
