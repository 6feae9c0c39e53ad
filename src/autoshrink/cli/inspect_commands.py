"""``show``, ``cost``, ``zoo`` and ``report``: looking at what is there. None of them needs torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink import report as reports
from autoshrink import zoo as published
from autoshrink.architecture import Architecture
from autoshrink.bundle import MODEL_FILE
from autoshrink.cell import Cell
from autoshrink.cli.console import JsonOption, print_json, stdout, table
from autoshrink.cli.options import flags, of_tasks, refuse_foreign, with_options
from autoshrink.cli.result import print_result
from autoshrink.cost import Cost, count
from autoshrink.drawing import cells_svg, cells_text
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.files import write_text
from autoshrink.findings import at_budget, budget_name, noun
from autoshrink.loading import load
from autoshrink.record import RunRecord
from autoshrink.registry import TASKS
from autoshrink.resources import registered_amounts
from autoshrink.results import summary
from autoshrink.store import read_record
from autoshrink.tasks import Drawn, task_of

BudgetOption = Annotated[
    str | None, typer.Option(help="Of a search over a range of budgets, that at one of them, e.g. 1M.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (show, with_options(cost, of_tasks("cost_options")), zoo, report):
        app.command(command.__name__)(command)


def show(
    target: Annotated[str, typer.Argument(help="A run folder, a cell or architecture file, or a name in the zoo.")],
    *,
    svg: Annotated[Path | None, typer.Option(help="Also write the cell's picture to this SVG file.")] = None,
    budget: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """A run's result, or a cell, as a table and a text picture."""
    folder = Path(target)
    _refuse_other_name(svg)
    if folder.is_dir() and not (folder / MODEL_FILE).exists():
        record = _read(folder, budget)
        if svg is not None:
            _draw_best(record, target, svg)
        if as_json:
            print_json(summary(record, run=folder))
        else:
            print_result(record, folder, front=True, ends=budget is None)
        return
    if budget is not None:
        raise InputError(f"--budget {budget}: it goes with the folder of a search over a range of budgets")
    found = load(target)
    drawn = task_of(found).drawn(found)
    if svg is not None:
        _draw(drawn, found.kind, target, svg)
    if as_json:
        print_json(found.to_json())
        return
    if drawn.cells:
        stdout.print(cells_text(*drawn), markup=False)
    if isinstance(found, Architecture):
        _print_around(found)
        _print_cost(count(found), layers=False, of=found)


def cost(
    target: Annotated[str, typer.Argument(help="A cell or architecture file, or a name in the zoo.")],
    *,
    options: dict[str, int | None],
    layers: Annotated[bool, typer.Option("--layers", help="Every layer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Parameters, MACs and peak activation memory, without building anything.

    A cell file is counted in the paper's proxy network: Table 1, T = 1, 3×32×32, ten classes; a recurrent one in a
    language model of 10,000 words and width 200.
    """
    found = load(target)
    sizes = {name: value for name, value in options.items() if value is not None}
    architecture = _sized(found, target, sizes)
    counted = count(architecture)
    if as_json:
        value: dict[str, Any] = asdict(counted)
        if not layers:
            del value["layers"]
        others = {one.key: one.json(amount) for one, amount in registered_amounts(architecture, counted)}
        print_json(value | others | task_of(architecture).sizes_of(architecture))
        return
    _print_cost(counted, layers=layers, of=architecture)
    defaults = task_of(architecture).sizes_of(architecture)
    if isinstance(found, Cell) and defaults.keys() - sizes.keys():
        said = " and ".join(flags(task_of(found).cost_options).values())
        stdout.print(f"a cell file names no sizes: {said} set others than the paper's, {architecture.sizes}")


def zoo(*, as_json: JsonOption = False) -> None:
    """The published architectures that are built in."""
    found = {name: published.get(name) for name in published.names()}
    costs = {name: count(architecture) for name, architecture in found.items()}
    if as_json:
        print_json(
            {
                name: {
                    "kind": found[name].kind,
                    "params": row.params,
                    "macs": row.macs,
                    "published": {key: value for key, value in asdict(published.published(name)).items() if value},
                    "source": published.source(name),
                }
                for name, row in costs.items()
            }
        )
        return
    listed = table(("name", "params", "MACs", "input", "published"), words=("name", "input", "published"))
    for name, row in costs.items():
        worth = _worth(published.published(name))
        listed.add_row(name, f"{row.params:,}", f"{row.macs:,}", found[name].sizes, worth)
    stdout.print(listed)
    stdout.print(
        "\nCounted: parameters without BN, MACs of an image or a token.\nPublished: top-1 error on ImageNet, or test "
        "perplexity on the Penn Treebank.\n"
    )
    for name in found:
        stdout.print(f"{name}: {published.source(name)}{_size_published(published.published(name))}", markup=False)


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="An .html page, or an .svg summary. Default: RUN/report.html.")
    ] = None,
    budget: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """One self-contained page about a run: what was found, how, and on what evidence. Works while the search runs."""
    record = _read(run, budget)
    output = output or run / ("report.html" if budget is None else f"report-{budget_name(record)}.html")
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
        stdout.print(shown(output), markup=False)


def _read(folder: Path, budget: str | None) -> RunRecord:
    record = read_record(folder)
    return record if budget is None else at_budget(record, budget)


def _sized(found: Cell | Architecture, target: str, sizes: dict[str, int]) -> Architecture:
    """What `cost` counts."""
    task = task_of(found)
    refuse_foreign(sizes, task, "cost_options", target)
    return task.default_network(found, **sizes) if isinstance(found, Cell) else task.sized(found, **sizes)


def _worth(figures: published.Published) -> str:
    """What authors say a network is worth: ``26.1 %``, ``ppl 56.5``."""
    return f"{figures.error:.1f} %" if figures.error else f"ppl {figures.perplexity:.1f}" if figures.perplexity else ""


def _size_published(figures: published.Published) -> str:
    """And how large: `` Published: 3.6M parameters, 384M MACs.``"""
    sizes = ((figures.params, "parameters"), (figures.macs, "MACs"))
    said = [f"{number / 1e6:.3g}M {what}" for number, what in sizes if number]
    return f" Published: {', '.join(said)}." if said else ""


def _draw_best(record: RunRecord, target: str, svg: Path) -> None:
    best = record.best()
    if best is None:
        raise InputError(f"{target}: there is no best {noun(record)} to draw yet; leave --svg out")
    _draw(TASKS[record.settings.task].drawn(best.design), best.design.kind, target, svg)


def _draw(drawn: Drawn, kind: str, target: str, svg: Path) -> None:
    if not drawn.cells:
        raise InputError(f"{target}: {_kind(kind)} has no cell to draw; leave --svg out")
    write_text(svg, cells_svg(*drawn))


def _refuse_other_name(svg: Path | None) -> None:
    if svg is not None and svg.suffix.lower() != ".svg":
        raise InputError(f"--svg {svg}: the picture is an .svg file; give it such a name")


def _kind(kind: str) -> str:
    """With the article that it is spoken with: ``lstm`` is spelled."""
    return f"{'an' if kind[0] in 'aeiou' or not set(kind) & set('aeiou') else 'a'} {kind} architecture"


def _print_around(architecture: Architecture) -> None:
    """What the cell's picture does not say, or that there is none."""
    heading, rows = task_of(architecture).described(architecture)
    if heading:
        stdout.print(heading, markup=False)
    if rows:
        listed = table(rows[0], words=rows[0][:1])
        for row in rows[1:]:
            listed.add_row(*row)
        stdout.print(listed)


def _size(size: tuple[int, int]) -> str:
    return "×".join(map(str, size))


def _print_cost(counted: Cost, *, layers: bool, of: Architecture) -> None:
    if layers:
        listed = table(("layer", "op", "in", "out", "size", "params", "MACs"), words=("layer", "op"))
        for layer in counted.layers:
            channels = (str(layer.in_channels), str(layer.out_channels))
            listed.add_row(layer.name, layer.op, *channels, _size(layer.size), f"{layer.params:,}", f"{layer.macs:,}")
        stdout.print(listed)
    task = task_of(of)
    beside, unit = f"{counted.params_with_bn:,} with BN", ""
    if task.sizes_of(of):
        beside, unit = f"{counted.cell_params:,} in the cell", f" a {task.metric.sample}"
        stdout.print(of.sizes, markup=False)
    stdout.print(
        f"parameters {counted.params:,} ({beside})   MACs {counted.macs:,}{unit}   "
        f"peak activations {counted.peak_activation_bytes:,} bytes (float32, batch 1)   "
        f"largest layer {counted.largest_layer_bytes_uint8:,} bytes (input and output, uint8)",
        markup=False,
    )
    for one, amount in registered_amounts(of, counted):
        stdout.print(f"{one.title} {one.unit.whole(amount)}", markup=False)
