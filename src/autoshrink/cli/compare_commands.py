"""``compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink.cli import INTERRUPTED
from autoshrink.cli.console import JsonOption, asked, print_json, stderr, stdout, table
from autoshrink.cli.options import ImageColumnOption, LabelColumnOption, flags, named_data, with_options
from autoshrink.cli.quantities import count
from autoshrink.cli.search_commands import ExecutorOption, search_options
from autoshrink.escaping import command_line, shown
from autoshrink.formatting import plain
from autoshrink.tasks import Option

OWN = ("strategy", "seed", "stop.training_macs", "stop.seconds")
"""Settings that a comparison decides; a clock would make searches of unequal length equal."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare")(with_options(compare, _options()))


def _options() -> tuple[Option, ...]:
    return tuple(row for row in search_options() if row.setting not in OWN)


def compare(  # noqa: PLR0913 - one keyword per option
    *,
    options: dict[str, Any],
    strategies: Annotated[
        str,
        typer.Option(
            help="Apart by commas; settings of one after colons: autoshrink,autoshrink:evaluator=trained,random."
        ),
    ],
    budget: Annotated[
        int, typer.Option(parser=count, metavar="<count>", help="Training MACs of each search: 2e12, 500G.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the comparison, new or its own.")],
    seeds: Annotated[int, typer.Option(help="Each draws the samples anew; the same for all strategies.")] = 5,
    retrain_seeds: Annotated[int, typer.Option(help="Fresh seeds with which what was found is trained.")] = 2,
    retrain_front: Annotated[int, typer.Option(help="Networks of each front that are, at most.")] = 3,
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other setting: recipe.patience=3.")] = None,
    executor: ExecutorOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Hold strategies against each other at equal training MACs, and judge what they find on samples none saw.

    Stopped at any time, the same command goes on. The folder has a page, a JSON file, and a run folder for each search.
    """
    from autoshrink.comparing import Plan, variants  # noqa: PLC0415 - only here
    from autoshrink.comparing import compare as make  # noqa: PLC0415
    from autoshrink.comparing.comparison import PAGE, RESULTS  # noqa: PLC0415
    from autoshrink.comparing.page import failures, headline, notes, page, tables  # noqa: PLC0415
    from autoshrink.files import write_text  # noqa: PLC0415
    from autoshrink.results import pretty  # noqa: PLC0415

    options["data"]["spec"] = named_data(options["data"]["spec"], image_column, label_column)
    overrides = asked(options, settings or [], flags(_options()))
    plan = Plan(variants(strategies), overrides, int(budget), seeds, retrain_seeds, retrain_front)
    try:
        found = make(plan, output, executor=executor, say=lambda line: stderr.print(line, markup=False))
    except KeyboardInterrupt:
        again = command_line(["autoshrink", *sys.argv[1:]])
        stderr.print(f"interrupted; go on with the same command:\n  {again}", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    value = found.to_json()
    write_text(output / RESULTS, pretty(value), own=True)
    write_text(output / PAGE, page(found, name=str(output)), own=True)
    if as_json:
        print_json({"comparison": str(output)} | value)
        return
    stdout.print(plain(headline(found)), style="bold", markup=False)
    for texts in tables(found):
        made = table(texts, words=("strategy",))
        for row in zip(*texts.values(), strict=True):
            made.add_row(*map(plain, row))
        # A figure and its error that are wrapped are hard to read.
        stdout.print(made, width=max(stdout.width, 132))
    for line in (*notes(found), *failures(found)):
        stdout.print(plain(line), markup=False)
    stdout.print(f"page: {shown(output / PAGE)}", markup=False)
