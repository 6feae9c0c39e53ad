"""``evaluate``: what a finished model is worth on data that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from autoshrink import formatting
from autoshrink.classification import TOP, ClassFigures, ClassifierEvaluation, ClassifierFigures
from autoshrink.cli.command import refuse_unread
from autoshrink.cli.console import JsonOption, UncheckedOption, note, note_unchecked, print_json, stderr, stdout
from autoshrink.cli.options import ImageColumnOption, LabelColumnOption, named_data
from autoshrink.deploy.card import checksum_of
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.evaluating import ImageModel, evaluate_images, open_image_model
from autoshrink.evaluating.images import DEFAULT_BATCH
from autoshrink.evaluating.models import ONNX_SUFFIX
from autoshrink.evaluating.targets import refuse_given
from autoshrink.files import check_output, write_text
from autoshrink.report.evaluation_page import GALLERY, evaluation_page

TABLE_CLASSES = 12
"""Up to so many classes, all are listed, and the confusion matrix is printed where it fits."""
TABLE_WIDTH = 100
"""Columns that the confusion matrix may take."""
LISTED = 10
"""Of more classes, so many of the worst, and so many confusions."""
PLAIN_SECONDS = 30.0
"""Without a terminal, a line about the images done at most so often."""

_RIGHT = ("#d5ebe8 #16403c", "#9fd3cc #0d332f", "#3f9b92 #ffffff", "#0b6b6b #ffffff")
_WRONG = ("#fae0dd #5c1510", "#f2b3ad #4d100b", "#d9655c #ffffff", "#b3261e #ffffff")
"""Background and text of a cell by its share of the row; both are set, so that any terminal's own colours do."""
_STEPS = (0.05, 0.2, 0.5)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(evaluate)


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
    streams: Annotated[
        int | None,
        typer.Option(
            help="Language models: pieces of the text read side by side, faster, with less memory of what came before. "
            "Default: 1."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Image classifiers: images that go through it at once. Default: 128.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    report: Annotated[
        Path | None, typer.Option(help="Image classifiers: write a page with charts and mistakes to this .html file.")
    ] = None,
    unchecked: UncheckedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Accuracy, confusions and calibration of an image classifier; perplexity of a language model."""
    if report is not None:
        _refuse_report(report)
    if target.suffix.lower() != ONNX_SUFFIX:
        refuse_unread(context, ["unchecked"], "an .onnx file")
    data = named_data(data, image_column, label_column)
    model = open_image_model(target, device=device, unchecked=unchecked)
    if not unchecked and target.suffix.lower() == ONNX_SUFFIX and checksum_of(target) is None:
        note_unchecked(target)
    if model is None:
        refuse_given(target, "a language model", {"--batch": batch, "--report": report})
        _evaluate_text(
            target, data=data, split=split, streams=1 if streams is None else streams, device=device, as_json=as_json
        )
        return
    refuse_given(target, "an image classifier", {"--streams": streams})
    found = _measured(model, data=data, split=split, batch=batch or DEFAULT_BATCH, mistakes=GALLERY if report else 0)
    for text in found.notes:
        note(text)
    if report is not None:
        write_text(report, evaluation_page(found))
    if as_json:
        print_json(found.to_json() | ({"report": str(report)} if report else {}))
        return
    print_evaluation(found)
    if report is not None:
        stdout.print(f"\nreport: {shown(report)}", markup=False)


def _refuse_report(report: Path) -> None:
    """What would be found out only after the measuring."""
    if report.suffix not in (".html", ".htm"):
        raise InputError(f"--report {report}: the page is one .html file; give it such a name")
    check_output(report)


def _evaluate_text(target: Path, *, data: str | None, split: str, streams: int, device: str, as_json: bool) -> None:
    from autoshrink.final.evaluation import evaluate as measure  # noqa: PLC0415 - torch takes seconds to import

    found = measure(target, data=data, split=split, streams=streams, device=device)
    for text in found["notes"]:
        note(text)
    if as_json:
        print_json(found)
        return
    stdout.print(
        f"perplexity {found['perplexity']:,.2f} on the {split} split of {shown(found['data'])}: "
        f"{formatting.count(found['tokens'], 'token')}, "
        f"{found['loss']:.4f} nats ({found['bits_per_token']:.4f} bits) each; {found['unknown']:,} of them "
        f"<unk> ({formatting.plain(formatting.percent(found['unknown'] / found['tokens']))})",
        markup=False,
    )


def _measured(model: ImageModel, **settings: Any) -> ClassifierEvaluation:
    with _progress() as told:
        return evaluate_images(
            model,
            **settings,
            progress=told,
            understood=lambda line: stderr.print(line, markup=False, soft_wrap=True),
        )


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar where standard error is a terminal, else a line now and then."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task("images", total=None, what="")
        last = time.monotonic()

        def told(done: int, total: int) -> None:
            nonlocal last
            what = f"{done:,} of {total:,}"
            bar.update(task, completed=done, total=total, what=what)
            if not stderr.is_terminal and time.monotonic() - last >= PLAIN_SECONDS:
                last = time.monotonic()
                stderr.print(f"{what} images", markup=False)

        yield told


# --- what a person reads -------------------------------------------------------------------------------------------


def print_evaluation(evaluation: ClassifierEvaluation) -> None:
    """The figures on standard output: all classes of few, the worst of many."""
    figures = evaluation.figures
    for text in headlines(evaluation):
        stdout.print(formatting.plain(text), markup=False)
    stdout.print()
    few = len(figures.classes) <= TABLE_CLASSES
    _print_classes(figures.per_class if few else figures.worst(LISTED), few=few)
    matrix = matrix_lines(figures) if few else []
    if matrix:
        stdout.print("\nconfusion matrix: a row for each true class, a column for each predicted one", markup=False)
        for row in matrix:
            stdout.print(row)
    else:
        _print_confusions(figures)


def headlines(evaluation: ClassifierEvaluation) -> tuple[str, ...]:
    """The figures of the whole split, in a few lines."""
    figures, calibration = evaluation.figures, evaluation.figures.calibration
    low, high = figures.accuracy.interval
    top = "" if figures.top is None else f"   top-{TOP} {formatting.percent(figures.top.value or 0.0, 2)}"
    skipped = f", {len(evaluation.skipped):,} skipped" if evaluation.skipped else ""
    cost = ""
    if evaluation.params is not None and evaluation.macs is not None:
        cost = f"{evaluation.params:,} parameters, {formatting.quantity(evaluation.macs)} MACs an image"
    lines = (
        f"accuracy {formatting.percent(figures.accuracy.value or 0.0, 2)} on the {evaluation.split} split of "
        f"{shown(evaluation.data)}: {formatting.count(figures.images, 'image')}{skipped}, "
        f"{formatting.count(len(figures.classes), 'class')}; "
        f"95 % interval {100 * low:.2f} to {formatting.percent(high, 2)}",
        f"loss {figures.loss:.4f} nats{top}   macro accuracy {formatting.percent(figures.macro.accuracy, 2)}   "
        f"macro F1 {formatting.percent(figures.macro.f1, 2)}",
        f"calibration error {formatting.percent(calibration.error, 2)}   mean confidence "
        f"{formatting.percent(calibration.confidence, 2)}",
        cost,
    )
    return tuple(text for text in lines if text)


def _print_classes(found: tuple[ClassFigures, ...], *, few: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class" if few else "worst classes", no_wrap=True)
    for name in ("images", "accuracy", "precision", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        shares = (one.accuracy.value, one.precision.value, one.f1)
        table.add_row(Text(_short(one.name, 32)), f"{one.images:,}", *map(_share, shares))
    stdout.print(table)


def _print_confusions(figures: ClassifierFigures) -> None:
    found = figures.confusions(LISTED)
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("class", "taken for"):
        table.add_column(name, no_wrap=True)
    for name in ("images", "of the class"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        names = (Text(_short(figures.classes[number], 24)) for number in (one.true, one.predicted))
        share = one.images / figures.per_class[one.true].images
        table.add_row(*names, f"{one.images:,}", formatting.plain(formatting.percent(share)))
    stdout.print()
    stdout.print(table)


def matrix_lines(figures: ClassifierFigures) -> list[Text]:
    """The confusion matrix with shaded cells; none where it does not fit.

    Columns that have no room for the names have the numbers that stand before the rows' names.
    """
    names = [_short(name, 14) for name in figures.classes]
    digits = max(len(f"{cell}") for cell in figures.confusion.flat)
    wide, room = max(digits, *map(len, names)) + 2, max(map(len, names))
    if room + wide * len(names) <= TABLE_WIDTH:
        heads, rows, width = names, names, wide
    else:
        heads, width = [str(number) for number in range(len(names))], max(digits, 2) + 2
        rows = [f"{number:>2} {name}" for number, name in enumerate(names)]
        room += 3
    if room + width * len(names) > TABLE_WIDTH:
        return []
    lines = [Text(" " * room + "".join(f"{head:>{width - 1}} " for head in heads), style="bold")]
    for true, name in enumerate(rows):
        text = Text(f"{name:<{room}}")
        of = int(figures.confusion[true].sum())
        for predicted, images in enumerate(figures.confusion[true].tolist()):
            shown = f"{images if images else '·':>{width - 1}} "
            text.append(shown, style=_style(images / of, true == predicted) if images else "dim")
        lines.append(text)
    return lines


def _style(share: float, right: bool) -> str:
    background, text = (_RIGHT if right else _WRONG)[sum(share >= step for step in _STEPS)].split()
    return f"{text} on {background}"


def _share(value: float | None) -> str:
    return "–" if value is None else formatting.plain(formatting.percent(value))


def _short(name: str, most: int) -> str:
    name = shown(name)
    return name if len(name) <= most else name[: most - 1] + "…"
