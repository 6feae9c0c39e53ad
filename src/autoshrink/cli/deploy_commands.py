"""``export`` and ``predict``: from a trained model to a file that runs elsewhere, and what that file says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from autoshrink import formatting
from autoshrink.cli import quantities
from autoshrink.cli.command import refuse_unread
from autoshrink.cli.console import JsonOption, UncheckedOption, note, note_unchecked, print_json, stderr, stdout
from autoshrink.cli.options import ImageColumnOption, LabelColumnOption, named_data
from autoshrink.data.folder_layout import Ignored
from autoshrink.deploy.card import checksum_of
from autoshrink.deploy.predict import (
    OnnxClassifier,
    OnnxLanguageModel,
    Prediction,
    images_in,
    open_exported,
    read_array,
)
from autoshrink.deploy.quantisation import METHODS, calibration_method
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown, word

if TYPE_CHECKING:
    from autoshrink.deploy.exporting import Exported, Measured


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (export, predict):
        app.command(command.__name__)(command)


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
        with _bar() as progress:
            done = exporting.export(folder, place, check=check, int8=wanted, opset=opset, progress=progress)
    for text in done.notes:
        note(text)
    if as_json:
        print_json(done.to_json())
    else:
        _print_exported(done)


def predict(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="An .onnx file that `export` wrote.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Image files, and folders of them.")] = None,
    *,
    top: Annotated[int, typer.Option(min=1, help="Classes named for each image, at most.")] = 5,
    threads: Annotated[int, typer.Option(parser=quantities.threads, help="CPU threads.")] = 1,
    prompt: Annotated[str | None, typer.Option(help="Language models: what to go on with.")] = None,
    length: Annotated[int, typer.Option(help="Language models: words (or characters) to write.")] = 80,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder; 0 is the likeliest word.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Language models: decides the draws.")] = 0,
    unchecked: UncheckedOption = False,
    as_json: JsonOption = False,
) -> None:
    """What an exported model says of images, or how it goes on with a text; from the ONNX file alone."""
    found = open_exported(model, threads=threads, unchecked=unchecked)
    if not unchecked and checksum_of(model) is None:
        note_unchecked(model)
    given = images or []
    if isinstance(found, OnnxLanguageModel):
        if given:
            raise InputError(f"{model}: holds a language model, which reads no images; give it a --prompt")
        refuse_unread(context, ["top"], f"image classifiers, and {model} holds a language model")
        _go_on(found, prompt or "", length=length, temperature=temperature, seed=seed, as_json=as_json)
        return
    holds = f"{model} holds an {found.task_itself.model}"
    if prompt is not None:
        raise InputError(f"{model}: holds an {found.task_itself.model}, which reads no text; leave --prompt out")
    refuse_unread(context, ["length", "temperature", "seed"], f"language models, and {holds}")
    if isinstance(found, OnnxClassifier):
        if not given:
            raise InputError(f"{model}: holds an image classifier; give it image files, or a folder of them")
        predictions = _predictions(found, given, top=top)
        if as_json:
            print_json({"model": str(model), "predictions": [one.to_json() for one in predictions]})
            return
        for one in predictions:
            stdout.print(_line(one), markup=False)
        return
    refuse_unread(context, ["top"], f"image classifiers, and {holds}")
    if not given:
        raise InputError(f"{model}: give it samples, one .npy file for each of its inputs")
    outputs = {name: values.tolist() for name, values in found.run(*map(read_array, given)).items()}
    print_json({"model": str(model), "outputs": outputs})


def _go_on(model: OnnxLanguageModel, prompt: str, *, length: int, temperature: float, seed: int, as_json: bool) -> None:
    generated = model.generate(prompt, length=length, temperature=temperature, seed=seed)
    if generated.unknown:
        note(f"the model does not know {', '.join(map(shown, generated.unknown))}")
    if as_json:
        print_json(dict(vars(generated)) | {"unknown": list(generated.unknown)})
    else:
        stdout.print(generated.text, markup=False)


def _place(output: Path | None, source: Path | None) -> Path:
    place = output or source
    if place is None or (output and source):
        raise InputError("say where to: either -o FILE (.onnx, .pte, .tflite) or --source DIR")
    return place


def _predictions(model: OnnxClassifier, images: list[Path], *, top: int) -> Iterator[Prediction]:
    """Of files, and of all images in folders; what is no image in a folder is said and left out."""
    for given in images:
        if not given.is_dir():
            yield from model.predict([given], top=top)
            continue
        ignored = Ignored()
        for path in images_in(given, ignored):
            try:
                yield from model.predict([path], top=top)
            except DataError as error:
                note(error)
        for sentence in ignored.notes(given):
            note(f"{given}: {sentence}")


def _line(prediction: Prediction) -> str:
    (name, chance), *others = prediction.ranked
    behind = ", ".join(f"{shown(other)} {formatting.plain(formatting.percent(share))}" for other, share in others)
    return f"{shown(prediction.source)}: {shown(name)} {formatting.plain(formatting.percent(chance))}" + (
        f"   ({behind})" if behind else ""
    )


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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", measured.metric, *(("as PyTorch",) if agreed else ()), "size"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in measured.values.items():
        figure = formatting.percent(value, 2) if agreed else f"{value:,.2f}"
        same = (formatting.percent(measured.agreement[name], 2),) if agreed else ()
        table.add_row(name, figure, *same, formatting.memory(size(files[name])) if name in files else "")
    stdout.print(table)
    samples = formatting.count(measured.samples, "image" if agreed else "token")
    stdout.print(f"on {samples} of {measured.data}", markup=False)


def _print_next(done: Exported) -> None:
    if done.example:
        path = done.files.get("int8", done.files["model"])
        stdout.print(f"\nnext:\n  autoshrink predict {word(path)} {done.example}", markup=False)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar where standard error is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,}"))
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task("exporting", total=1, visible=False)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total, visible=True)

        yield progress
