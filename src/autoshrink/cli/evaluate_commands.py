"""``evaluate``: what a finished model is worth on data that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink.cli.command import refuse_unread
from autoshrink.cli.console import JsonOption, UncheckedOption, bar, note, note_unchecked, print_json, stderr, stdout
from autoshrink.cli.options import ImageColumnOption, LabelColumnOption, named_data, of_tasks, with_options
from autoshrink.deploy.card import checksum_of
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.evaluating import measured
from autoshrink.evaluating.opening import ONNX_SUFFIX
from autoshrink.files import check_output, write_text

PLAIN_SECONDS = 30.0
"""Without a terminal, a line about the images done at most so often."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(with_options(evaluate, of_tasks("evaluate_options")))


def evaluate(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="What `train` left, or an exported .onnx image classifier.")],
    *,
    data: Annotated[
        str | None, typer.Option(help="Images or a text, by name or path. Default: what it was trained on.")
    ] = None,
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    options: dict[str, Any],
    unchecked: UncheckedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Accuracy, confusions and calibration of an image classifier; perplexity of a language model."""
    report: Path | None = options.get("report")
    if report is not None:
        _refuse_report(report)
    exported = target.suffix.lower() == ONNX_SUFFIX
    if not exported:
        refuse_unread(context, ["unchecked"], "an .onnx file")
    elif not unchecked and checksum_of(target) is None:
        note_unchecked(target)
    with _progress() as progress:
        task, found = measured(
            target,
            data=named_data(data, image_column, label_column),
            split=split,
            device=device,
            said=options,
            unchecked=unchecked,
            progress=progress,
            understood=lambda line: stderr.print(line, markup=False, soft_wrap=True),
        )
    for text in found.notes:
        note(text)
    if report is not None:
        write_text(report, task.evaluation_page(found))
    if as_json:
        print_json(found.to_json() | ({"report": str(report)} if report else {}))
        return
    for part in task.evaluation_shown(found):
        stdout.print(part, markup=False)
    if report is not None:
        stdout.print(f"\nreport: {shown(report)}", markup=False)


def _refuse_report(report: Path) -> None:
    """What would be found out only after the measuring."""
    if report.suffix not in (".html", ".htm"):
        raise InputError(f"--report {report}: the page is one .html file; give it such a name")
    check_output(report)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar where standard error is a terminal, else a line now and then."""
    last = time.monotonic()
    with bar() as progress:

        def told(done: int, total: int) -> None:
            nonlocal last
            progress("images", done, total)
            if not stderr.is_terminal and time.monotonic() - last >= PLAIN_SECONDS:
                last = time.monotonic()
                stderr.print(f"{done:,} of {total:,} images", markup=False)

        yield told
