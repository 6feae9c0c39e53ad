"""``craft``: from a cell to an architecture that keeps its budgets, shown before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink import formatting
from autoshrink.architecture import Architecture
from autoshrink.budget import Budget
from autoshrink.cli import quantities
from autoshrink.cli.command import plugins_again, refuse_unread
from autoshrink.cli.console import JsonOption, given, print_json, stderr, stdout, table
from autoshrink.cli.options import of_tasks, refuse_foreign, resource_rows, with_options
from autoshrink.crafting import Crafted, crafted
from autoshrink.errors import InputError
from autoshrink.escaping import shown, word
from autoshrink.files import check_output, write_text
from autoshrink.resources import registered_amounts
from autoshrink.results import pretty
from autoshrink.tasks import task_of

BAR = 14
"""Characters of a bar that stands for all MACs."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("craft")(with_options(craft_command, (*resource_rows("budget"), *of_tasks("craft_options"))))


def craft_command(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="CELL",
            help="A run folder, a cell or architecture file, or a name in the zoo.",
            show_default=False,
        ),
    ] = None,
    *,
    cell: Annotated[str | None, typer.Option(help="The same, as an option.")] = None,
    pick: Annotated[int | None, typer.Option(help="Of a run: the N-th cell of the front that `show` lists.")] = None,
    options: dict[str, Any],
    threads: Annotated[
        int, typer.Option(parser=quantities.threads, help="CPU threads that the latency is measured with.")
    ] = 1,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The architecture file to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Stack a cell into a network and scale it to a budget: never above it, and close below.

    Several budgets are all kept; without one the network is as it is. Nothing is trained.
    """
    if output is not None:
        check_output(output)
    said = given(options)
    limits = {row.setting: said.pop(row.setting) for row in resource_rows("budget") if row.setting in said}
    latency = limits.pop("latency", None)
    if latency is None:
        refuse_unread(context, ["threads"], "--latency")
        if not limits:
            scaling = [row.setting for row in of_tasks("craft_options") if row.scales]
            refuse_unread(context, scaling, "a budget: --macs, --params, --memory or --latency")
    budget = Budget(**limits, latency=latency and latency / 1e9)
    found = crafted(_target(target, cell), budget, said, pick, _measure(threads) if latency else None)
    refuse_foreign(said, task_of(found.architecture), "craft_options", "this")
    if output is not None:
        write_text(output, pretty(found.architecture.to_json()))
    if as_json:
        print_json(found.to_json(file=output))
        return
    _print_parts(found)
    _print_totals(found)
    _print_next(found, output)


def _target(target: str | None, cell: str | None) -> str:
    if (target is None) == (cell is None):
        how = "give one" if target is None else f"{target} and {cell}: give one of them"
        raise InputError(f"craft needs a run folder, a cell or architecture file, or a name in the zoo; {how}")
    return target or cell or ""


def _measure(threads: int) -> Callable[[Architecture], float]:
    """Latency in ONNX Runtime here, with a line on standard error for every measurement."""
    from autoshrink.latency.measuring import architecture_latency  # noqa: PLC0415 - torch takes seconds to import

    def measure(architecture: Architecture) -> float:
        seconds = architecture_latency(architecture, threads=threads)
        stderr.print(f"measured {_sizes(architecture)}: {1000 * seconds:.3g} ms", markup=False)
        return seconds

    return measure


# --- what they see -------------------------------------------------------------------------------------------------


def _print_parts(found: Crafted) -> None:
    word = task_of(found.architecture).parts_word(found.architecture)
    shown = table(("", word, "width", "size", "out", "params", "MACs", "share", ""))
    for part in found.parts:
        numbers = (part.cells, part.width, part.size and "×".join(map(str, part.size)), part.channels)
        shown.add_row(
            part.name,
            *("" if number is None else str(number) for number in numbers),
            f"{part.params:,}",
            f"{part.macs:,}",
            formatting.plain(formatting.percent(part.share)),
            bar(part.share),
        )
    stdout.print(found.architecture.sizes, markup=False)
    stdout.print(shown)


def bar(share: float, length: int = BAR) -> str:
    """A share in [0, 1] as a bar of text, in eighths of a character; `length` characters are all."""
    whole, rest = divmod(round(8 * length * share), 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def _print_totals(found: Crafted) -> None:
    cost = found.cost
    stdout.print(
        f"\nparameters {cost.params:,} ({cost.params_with_bn:,} with BN)   MACs {cost.macs:,}   "
        f"peak activations {cost.peak_activation_bytes:,} bytes",
        markup=False,
    )
    for one, amount in registered_amounts(found.architecture, cost):
        stdout.print(f"{one.title} {one.unit.whole(amount)}", markup=False)
    before, after = _sizes(found.skeleton), _sizes(found.architecture)
    if before != after:
        stdout.print(f"scaled from {before}\n       to   {after}", markup=False)
    for use in found.uses:
        stdout.print(f"budget: {use}, {formatting.plain(formatting.percent(use.share, 2))}", markup=False)
    if found.remark:
        stdout.print(found.remark, markup=False)


def _sizes(architecture: Architecture) -> str:
    return task_of(architecture).size_options(architecture)


def _print_next(found: Crafted, output: Path | None) -> None:
    if output is None:
        stdout.print("\nnothing is written yet: -o FILE.arch.json writes it", markup=False)
        return
    name = output.name.removesuffix(".json").removesuffix(".arch")
    data = word(found.data) if found.data else "path/to/data"
    reading = "".join(f" {option} {word(value)}" for option, value in found.reading)
    file, model = word(output), word(f"models/{name}")
    stdout.print(
        f"\narchitecture: {shown(output)}\n\n"
        f"next:\n  autoshrink train {file} --data {data}{reading} -o {model}{plugins_again()}   trains it in full",
        markup=False,
    )
