"""``show``, ``cost``, ``zoo`` and ``report``: looking at what is there. None of them needs torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from autoshrink import report as reports
from autoshrink import zoo as published
from autoshrink.architecture import Architecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cli.console import JsonOption, print_json, stdout
from autoshrink.cli.result import print_front, print_result
from autoshrink.cost import Cost, count
from autoshrink.drawing import cell_svg, cell_text
from autoshrink.errors import InputError
from autoshrink.loading import load
from autoshrink.results import summary, write_text
from autoshrink.store import read_record


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (show, cost, zoo, report):
        app.command(command.__name__)(command)


def show(
    target: Annotated[str, typer.Argument(help="A run folder, a cell or architecture file, or a name in the zoo.")],
    *,
    svg: Annotated[Path | None, typer.Option(help="Also write the cell's picture to this SVG file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """A run's result, or a cell, as a table and a text picture."""
    folder = Path(target)
    if folder.is_dir():
        record = read_record(folder)
        best = record.best()
        if svg is not None and best is not None:
            write_text(svg, cell_svg(best.cell))
        if as_json:
            print_json(summary(record, run=folder))
        else:
            print_front(record)
            print_result(record, folder)
        return
    found = load(target)
    cell = found if isinstance(found, Cell) else found.cell
    if svg is not None:
        write_text(svg, cell_svg(cell))
    if as_json:
        print_json(found.to_json())
        return
    stdout.print(cell_text(cell), markup=False)
    if isinstance(found, Architecture):
        _print_cost(count(found), layers=False)


def cost(
    target: Annotated[str, typer.Argument(help="A cell or architecture file, or a name in the zoo.")],
    *,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Parameters, MACs and peak activation memory, without building anything.

    A cell file is counted in the paper's proxy network: Table 1, T = 1, 3×32×32, ten classes.
    """
    found = load(target)
    if isinstance(found, Cell) and found.kind != "conv":
        raise InputError(f"{target}: a {found.kind} cell cannot be counted by this version; it knows conv cells")
    counted = count(proxy_architecture(found) if isinstance(found, Cell) else found)
    if as_json:
        value: dict[str, Any] = asdict(counted)
        if not layers:
            del value["layers"]
        print_json(value)
    else:
        _print_cost(counted, layers=layers)


def zoo(*, as_json: JsonOption = False) -> None:
    """The published architectures that are built in."""
    rows = {name: count(published.get(name)) for name in published.names()}
    if as_json:
        print_json({name: {"params": row.params, "macs": row.macs} for name, row in rows.items()})
        return
    table = Table("name", "params", "MACs", "input", box=None, pad_edge=False, header_style="bold")
    for name, row in rows.items():
        shape = "×".join(map(str, published.get(name).input))
        table.add_row(name, f"{row.params:,}", f"{row.macs:,}", shape)
    stdout.print(table)


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="An .html page, or an .svg summary. Default: RUN/report.html.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """One self-contained page about a run: what was found, how, and on what evidence. Works while the search runs."""
    record = read_record(run)
    output = output or run / "report.html"
    if output.suffix == ".svg":
        text = reports.summary_svg(record, name=str(run))
    elif output.suffix in (".html", ".htm"):
        text = reports.render(record, name=str(run))
    else:
        raise InputError(f"{output}: a report ends in .html (the page) or .svg (a summary picture)")
    write_text(output, text)
    if as_json:
        print_json({"report": str(output)})
    else:
        stdout.print(str(output), markup=False)


def _print_cost(counted: Cost, *, layers: bool) -> None:
    if layers:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("layer", "op", "in", "out", "size", "params", "MACs"):
            table.add_column(column, justify="left" if column in ("layer", "op") else "right")
        for layer in counted.layers:
            size = "×".join(map(str, layer.size))
            channels = (str(layer.in_channels), str(layer.out_channels))
            table.add_row(layer.name, layer.op, *channels, size, f"{layer.params:,}", f"{layer.macs:,}")
        stdout.print(table)
    stdout.print(
        f"parameters {counted.params:,} ({counted.params_with_bn:,} with BN)   MACs {counted.macs:,}   "
        f"peak activations {counted.peak_activation_bytes:,} bytes (float32, batch 1)",
        markup=False,
    )
