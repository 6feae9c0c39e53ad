"""``reproduce``: the paper's tables, rebuilt."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from autoshrink import formatting
from autoshrink.cell import Cell
from autoshrink.cli import INTERRUPTED, quantities
from autoshrink.cli.command import refuse_unread
from autoshrink.cli.console import JsonOption, print_json, stderr, stdout
from autoshrink.errors import InputError
from autoshrink.escaping import word
from autoshrink.files import check_output, write_text
from autoshrink.loading import load

if TYPE_CHECKING:
    from autoshrink.reproduce import Progress, Reproduction, Study

_OF_TRAININGS = ("budget", "data", "run", "seed", "device", "threads")
"""Parameters that only trainings read."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("reproduce")(reproduce)


def reproduce(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="table2, table3, table4, table5 or figure6.")],
    *,
    budget: Annotated[
        float, typer.Option(parser=quantities.seconds, help="Time for the trainings, e.g. 30m: decides their size.")
    ] = "10m",  # type: ignore[assignment] # parsed like what is typed
    data: Annotated[str | None, typer.Option(help="Other data than the published.")] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="A searched cell as one more row: NAME=FILE, or FILE. Repeatable.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the outcomes. Default: runs/<name>.")] = None,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(parser=quantities.threads, help="CPU threads.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the table (.md) or the picture (.svg).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild a table of the paper at the size that a budget allows, and set it beside what was printed.

    The same command goes on with what its folder holds.
    """
    if output is not None:
        _check(output)
    if name == "table2":
        refuse_unread(context, _OF_TRAININGS, "tables for which something is trained, and table2 is counted")
    cells = _cells(cell or [])
    folder = run or Path("runs") / name

    from autoshrink.reproduce import Asked  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink.reproduce import reproduce as rebuild  # noqa: PLC0415

    asked = Asked(name, data=data, budget=budget, cells=cells, seed=seed, device=device, threads=threads)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"))
    live = stderr.is_terminal
    try:
        with Bar(*columns, console=stderr, transient=True) if live else nullcontext() as bar:
            task = bar.add_task("measuring this machine's speed", total=None, what="") if bar else None

            def on_begin(study: Study) -> None:
                for text in study.differences:
                    stderr.print(text, markup=False, style="dim")

            def on_progress(progress: Progress) -> None:
                left = progress.seconds_left
                what = "" if left is None else f"about {formatting.plain(formatting.duration(left))} left"
                if bar and task is not None:
                    bar.update(task, description=name, total=progress.total, completed=progress.done, what=what)
                latest = progress.latest
                if latest is not None:
                    value = "failed" if latest.value is None else f"{latest.value:.2f}"
                    reason = f" ({latest.reason})" if latest.reason else ""
                    stderr.print(
                        f"{progress.done} of {progress.total}: {latest.row}, draw {latest.draw + 1}: {value}{reason}   "
                        f"{what}",
                        markup=False,
                    )

            found = rebuild(asked, folder, on_begin=on_begin, on_progress=on_progress)
    except KeyboardInterrupt:
        stderr.print(f"interrupted; {word(folder)} keeps what was measured: the same command goes on", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    _write(found, output)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _check(output: Path) -> None:
    """Refuse what would be found out only after the trainings."""
    check_output(output)
    if output.suffix not in (".md", ".svg"):
        raise InputError(f"{output}: a table ends in .md, its picture in .svg")


def _cells(asked: list[str]) -> dict[str, Cell]:
    cells = {}
    for text in asked:
        name, equals, path = text.rpartition("=")
        found = load(path)
        cell = found if isinstance(found, Cell) else found.cell
        if cell is None:
            raise InputError(f"{path}: has no cell")
        cells[name if equals else Path(path).name.removesuffix(".json").removesuffix(".cell")] = cell
    return cells


def _write(found: Reproduction, output: Path | None) -> None:
    if output is None:
        return
    from autoshrink.reproduce import picture  # noqa: PLC0415 - torch takes seconds to import

    if output.suffix == ".md":
        write_text(output, found.markdown())
        return
    drawn = picture(found)
    if drawn is None:
        raise InputError(f"{output}: {found.name} has nothing to draw; write the table with -o {output.stem}.md")
    write_text(output, drawn)


def _print(found: Reproduction) -> None:
    heads, rows = found.table()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    stdout.print(f"{found.title} ({found.unit})", markup=False, style="bold")
    stdout.print(table)
    stdout.print("\nwhere conditions differ:")
    for text in found.differences:
        stdout.print(f"  {text}", markup=False)
    if found.verdict:
        stdout.print()
    for text in found.verdict:
        stdout.print(text, markup=False)
    if found.spent:
        stdout.print(
            f"{formatting.quantity(found.spent)} training MACs in "
            f"{formatting.plain(formatting.duration(found.seconds))}; outcomes: {found.folder}",
            markup=False,
        )
