"""The application: the commands, by what they are about."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from autoshrink.cli import (
    compare_commands,
    craft_commands,
    data_commands,
    deploy_commands,
    evaluate_commands,
    inspect_commands,
    latency_commands,
    reproduce_commands,
    search_commands,
    tell_commands,
    train_commands,
    watch_commands,
)
from autoshrink.cli.command import Command
from autoshrink.registry import loaded_plugins
from autoshrink.version import __version__

PARTS = (
    search_commands,
    tell_commands,
    compare_commands,
    craft_commands,
    train_commands,
    evaluate_commands,
    deploy_commands,
    inspect_commands,
    latency_commands,
    reproduce_commands,
    watch_commands,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autoshrink {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@cache
def application(plugins: frozenset[Path]) -> typer.Typer:
    """The application with the options of every part that is registered; `plugins` are the files that were run."""
    del plugins
    made = typer.Typer(
        name="autoshrink",
        help="Search small, accurate neural networks by shrinking the wiring of a cell.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    made.callback()(_root)
    for part in PARTS:
        part.register(made)
    made.add_typer(data_commands.app, name="data")
    for command in (*made.registered_commands, *data_commands.app.registered_commands):
        command.cls = Command
    return made


app = application(frozenset(loaded_plugins()))
