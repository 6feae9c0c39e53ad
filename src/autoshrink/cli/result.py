"""A run's result on the terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.table import Table

from autoshrink import words
from autoshrink.cli.console import stdout
from autoshrink.drawing import cell_text
from autoshrink.record import Figures, RunRecord


def print_result(record: RunRecord, folder: Path) -> None:
    """The best cell beside the starting one, what the search cost, and what to do next."""
    best, start = record.best(), record.complete()
    if best is None:
        stdout.print("nothing usable was measured yet")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "edges", "accuracy", "MACs", "params", "peak memory", "S"):
        table.add_column(column, justify="left" if column == "" else "right")
    if start is not None:
        table.add_row(*_row("complete graph" if record.settings.start == "complete" else "starting cell", start))
    table.add_row(*_row("best cell", best), style="bold green")
    stdout.print(cell_text(best.cell), markup=False)
    stdout.print(table)
    stdout.print(_verdict(best, start), markup=False)
    spent = record.spent()
    trained = sum(one.same_as is None for one in record.candidates)
    stdout.print(
        f"{trained} candidates trained in {words.duration(record.active_seconds)}: {spent.images:,} images, "
        f"{words.quantity(spent.training_macs)} training MACs; {record.stopped or 'not finished yet'}",
        markup=False,
    )
    _print_next(record, folder)


def _print_next(record: RunRecord, folder: Path) -> None:
    """Where the evidence lies, and the commands that a person is likely to want now."""
    quoted = shlex.quote(str(folder))
    if not record.finished:
        stdout.print(f"\nnext:\n  autoshrink resume {quoted}   goes on with it", markup=False)
        return
    stdout.print(f"\nreport:  {folder / 'report.html'}\ncell:    {folder / 'best.cell.json'}", markup=False)
    commands = [
        (f"autoshrink show {quoted}", "this again, with the Pareto front"),
        (f"autoshrink cost {shlex.quote(str(folder / 'best.cell.json'))} --layers", "what every layer costs"),
        (f"autoshrink report {quoted} -o summary.svg", "a picture of the run"),
    ]
    if record.data.get("name") == "digits":
        commands.append(("autoshrink search --data path/to/images --size 32", "the same on your own images"))
    width = max(len(command) for command, _ in commands)
    stdout.print("\nnext:", markup=False)
    for command, why in commands:
        stdout.print(f"  {command:<{width}}   {why}", markup=False)


def print_front(record: RunRecord) -> None:
    """The Pareto front within the limits, cheapest first."""
    table = Table(title="Pareto front", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("edges", "accuracy", "MACs", "params", "peak memory", "S", "cell"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for evaluation in record.front():
        figures = record.figures(evaluation)
        table.add_row(*_row("", figures)[1:], str(figures.cell))
    stdout.print(table)


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    accuracy = f"{100 * figures.performance:.2f} %"
    if figures.performance_sd is not None:
        accuracy = f"{100 * figures.performance:.2f} ± {100 * figures.performance_sd:.2f} %"
    resources = figures.recorded.resources
    return (
        name,
        str(len(figures.cell.edges)),
        accuracy,
        f"{resources.macs:,}",
        f"{resources.params:,}",
        f"{resources.memory / 1024:,.1f} KiB",
        f"{figures.score:.4f}",
    )


def _verdict(best: Figures, start: Figures | None) -> str:
    if start is None:
        return "The starting cell could not be trained, so there is nothing to compare with."
    macs = best.recorded.resources.macs / start.recorded.resources.macs - 1
    points = 100 * (best.performance - start.performance)
    seeds = f"mean of {len(best.repeats)} fresh seeds" if best.repeats else "one seed, as recorded in the search"
    return f"{macs:+.0%} MACs, {points:+.2f} points of accuracy against it ({seeds})."
