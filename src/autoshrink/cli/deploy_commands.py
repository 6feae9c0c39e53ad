"""``export`` and ``predict``: from a trained model to a file that runs elsewhere, and what that file says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoshrink import formatting
from autoshrink.cli import quantities
from autoshrink.cli.command import plugins_again, refuse_unread
from autoshrink.cli.console import (
    JsonOption,
    UncheckedOption,
    bar,
    given,
    note,
    note_unchecked,
    print_json,
    stdout,
    table,
)
from autoshrink.cli.options import (
    ImageColumnOption,
    LabelColumnOption,
    named_data,
    of_tasks,
    refuse_foreign,
    with_options,
)
from autoshrink.deploy.card import checksum_of
from autoshrink.deploy.predict import open_exported
from autoshrink.deploy.quantisation import METHODS, calibration_method
from autoshrink.errors import InputError
from autoshrink.escaping import shown, word

if TYPE_CHECKING:
    from autoshrink.deploy.exporting import Exported, Measured


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("export")(export)
    app.command("predict")(with_options(predict, of_tasks("predict_options")))


def export(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="What `train` left, or its model file.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A file: .onnx, .pte (ExecuTorch) or .tflite (LiteRT)."),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="A new folder for plain PyTorch source, instead.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also write it in 8-bit integers (.onnx).")] = False,
    calibration: Annotated[int, typer.Option(help="Training images that int8's ranges are measured on.")] = 256,
    method: Annotated[
        str, typer.Option("--calibration-method", help=f"Of the ranges: {', '.join(METHODS)}.")
    ] = "minmax",
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Measure what int8 costs on the test split.")
    ] = True,
    data: Annotated[str | None, typer.Option(help="The training data. Default: what it was trained on.")] = None,
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    random_inputs: Annotated[
        bool, typer.Option("--random-inputs", help="Compare with PyTorch on noise, without data.")
    ] = False,
    tolerance: Annotated[float, typer.Option(help="How far logits may be from PyTorch's.")] = 1e-4,
    opset: Annotated[int, typer.Option(help="Of ONNX.")] = 18,
    as_json: JsonOption = False,
) -> None:
    """Write a trained model as a file that runs elsewhere, checked against PyTorch.

    The file is left in its place only if its outputs are PyTorch's, on real training data, at two batch sizes (language
    models: at two lengths, and with the state carried over). The test split is read only to measure what --int8 costs.
    """
    place = _place(output, source)
    if source is not None or place.suffix != ".onnx":
        refuse_unread(context, ["opset"], "an .onnx file")
    if not int8:
        refuse_unread(context, ["calibration", "method", "evaluate"], "--int8")
    if random_inputs and not int8:
        refuse_unread(context, ["data", "image_column", "label_column"], "a comparison on data, not on --random-inputs")
    chosen = calibration_method(method)
    from autoshrink.deploy import exporting  # noqa: PLC0415 - torch takes seconds to import

    if int8 and not exporting.calibrates(folder):
        refuse_unread(context, ["calibration", "method"], "image classifiers, and this is a language model")
    data = named_data(data, image_column, label_column)
    check = exporting.Check(data=data, random_inputs=random_inputs, tolerance=tolerance)
    if source is not None:
        if int8:
            raise InputError(f"{source}: int8 is for .onnx files; leave --int8 out")
        done = exporting.export_source(folder, place, check=check)
    else:
        wanted = exporting.Int8(images=calibration, method=chosen, evaluate=evaluate) if int8 else None
        with bar() as progress:
            done = exporting.export(folder, place, check=check, int8=wanted, opset=opset, progress=progress)
    for text in done.notes:
        note(text)
    if as_json:
        print_json(done.to_json())
    else:
        _print_exported(done)


def predict(
    model: Annotated[Path, typer.Argument(help="An .onnx file that `export` wrote.")],
    samples: Annotated[
        list[Path] | None, typer.Argument(help="Image files, and folders of them; for other tasks .npy files.")
    ] = None,
    *,
    options: dict[str, Any],
    threads: Annotated[int, typer.Option(parser=quantities.threads, help="CPU threads.")] = 1,
    unchecked: UncheckedOption = False,
    as_json: JsonOption = False,
) -> None:
    """What an exported model says of images, or how it goes on with a text; from the ONNX file alone."""
    found = open_exported(model, threads=threads, unchecked=unchecked)
    if not unchecked and checksum_of(model) is None:
        note_unchecked(model)
    said = given(options)
    refuse_foreign(said, found.task_itself, "predict_options", str(model))
    answer = found.answer(str(model), samples or [], said, note)
    if as_json:
        print_json(answer.to_json())
        return
    for line in answer.lines:
        stdout.print(line, markup=False)


def _place(output: Path | None, source: Path | None) -> Path:
    place = output or source
    if place is None or (output and source):
        raise InputError("say where to: either -o FILE (.onnx, .pte, .tflite) or --source DIR")
    return place


def _print_exported(done: Exported) -> None:
    from autoshrink.deploy.exporting import size  # noqa: PLC0415 - imported by now

    inputs = "real inputs" if done.real else "noise"
    about = {name: f"against PyTorch, on {inputs}: {parity}" for name, parity in done.parity.items()}
    if "int8" in done.files:
        floats = "all but the products" if "loop" in done.files else ", ".join(done.left_in_float) or "nothing"
        about["int8"] = f"still runs in float32: {floats}"
    for name, what in about.items():
        path = done.files[name]
        stdout.print(f"{shown(path)}   {formatting.plain(formatting.memory(size(path)))}\n  {what}", markup=False)
    if done.times is not None and done.times.said not in done.notes:
        stdout.print(f"  {formatting.plain(done.times.said)}", markup=False)
    if done.measured is not None:
        stdout.print()
        _print_measured(done.measured, {**done.files, "onnx": done.files["model"]}, size)
    _print_next(done)


def _print_measured(measured: Measured, files: dict[str, Path], size: Callable[[Path], int]) -> None:
    agreed = bool(measured.agreement)
    shown = table(("", measured.metric, *(("as PyTorch",) if agreed else ()), "size"))
    for name, value in measured.values.items():
        figure = formatting.percent(value, 2) if agreed else f"{value:,.2f}"
        same = (formatting.percent(measured.agreement[name], 2),) if agreed else ()
        shown.add_row(name, figure, *same, formatting.memory(size(files[name])) if name in files else "")
    stdout.print(shown)
    samples = formatting.count(measured.samples, "image" if agreed else "token")
    stdout.print(f"on {samples} of {measured.data}", markup=False)


def _print_next(done: Exported) -> None:
    if done.example:
        path = done.files.get("int8", done.files["model"])
        stdout.print(f"\nnext:\n  autoshrink predict {word(path)} {done.example}{plugins_again()}", markup=False)
