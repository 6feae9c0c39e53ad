"""``autoshrink reproduce``: the paper's tables, rebuilt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markdown import Markdown

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
    from autoshrink_paper.rebuilding import Progress
    from autoshrink_paper.study import Study


def reproduce(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="table2, table3, table4, table5 or figure6.")],
    *,
    budget: Annotated[
        float, typer.Option(parser=quantities.seconds, help="Time for the trainings, e.g. 30m: decides their size.")
    ] = "10m",  # type: ignore[assignment] # parsed like what is typed
    data: Annotated[str, typer.Option(help="Other data than the published.")] = "",
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
        check_output(output)
        if output.suffix not in (".md", ".svg"):
            raise InputError(f"{output}: a table ends in .md, its picture in .svg")
    if name == "table2":
        unread = ("budget", "data", "run", "seed", "device", "threads")
        refuse_unread(context, unread, "tables for which something is trained, and table2 is counted")
    cells = dict(_named_cell(text) for text in cell or ())
    folder = run or Path("runs") / name

    from autoshrink_paper.rebuilding import rebuild  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink_paper.study import Asked  # noqa: PLC0415

    asked = Asked(name, data=data, budget=budget, cells=cells, seed=seed, device=device, threads=threads)
    try:
        found = rebuild(asked, folder, on_begin=_begun, on_progress=_measured)
    except KeyboardInterrupt:
        stderr.print(f"interrupted; {word(folder)} keeps what was measured: the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    if output is not None:
        write_text(output, found.markdown() if output.suffix == ".md" else found.picture())
    if as_json:
        print_json(found.to_json())
        return
    stdout.print(Markdown(found.markdown()), soft_wrap=False)
    if found.spent:
        spent, took = formatting.quantity(found.spent), formatting.plain(formatting.duration(found.seconds))
        stdout.print(f"{spent} training MACs in {took}; outcomes: {found.folder}")


def _begun(study: Study) -> None:
    for text in study.differences:
        stderr.print(text, style="dim")


def _measured(progress: Progress) -> None:
    latest = progress.latest
    value = "failed" if latest.value is None else f"{latest.value:.2f}"
    reason = f" ({latest.reason})" if latest.reason else ""
    stderr.print(
        f"{progress.done} of {progress.total}: {latest.row}, draw {latest.draw + 1}: {value}{reason}   "
        f"about {formatting.plain(formatting.duration(progress.seconds_left))} left"
    )


def _named_cell(text: str) -> tuple[str, Cell]:
    name, equals, path = text.rpartition("=")
    found = load(path)
    cell = found if isinstance(found, Cell) else found.cell
    if cell is None:
        raise InputError(f"{path}: has no cell")
    return name if equals else Path(path).name.removesuffix(".json").removesuffix(".cell"), cell
