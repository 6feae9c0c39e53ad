"""``data list`` and ``data fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from autoshrink.cli.console import JsonOption, print_json, stderr, stdout
from autoshrink.data import fetch as fetch_data
from autoshrink.data import list_data

app = typer.Typer(help="Data sets: what is known, and downloads with checksums.", rich_markup_mode=None)


@app.command("list")
def list_(*, as_json: JsonOption = False) -> None:
    """The data sets known by name, and where they lie."""
    found = list_data()
    if as_json:
        print_json({one.name: {"task": one.task, "path": one.where, "description": one.description} for one in found})
        return
    table = Table("name", "task", "where", "what", box=None, pad_edge=False, header_style="bold")
    for one in found:
        table.add_row(one.name, one.task, one.where or f"not here: autoshrink data fetch {one.name}", one.description)
    stdout.print(table)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name that `data list` shows.")],
    *,
    url: Annotated[
        str | None, typer.Option(help="A mirror of the file; ending in /, of the folder with the set's files.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to put it. Default: the user's data folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a data set, or the rest of it, and check its SHA-256."""
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=None)
        path = fetch_data(
            name, url=url, folder=folder, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    if as_json:
        print_json({"path": str(path)})
    else:
        stdout.print(str(path), markup=False)
