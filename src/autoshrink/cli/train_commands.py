"""``train`` and ``generate``: from an architecture to a model, and what a language model writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from autoshrink import formatting
from autoshrink.architecture import Architecture, LanguageModel, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.cli import quantities
from autoshrink.cli.console import JsonOption, asked, given, note, option_name, print_json, resumable, stderr, stdout
from autoshrink.cli.options import ImageColumnOption, LabelColumnOption, named_data
from autoshrink.config import Overrides, TaskName, leaves, merge
from autoshrink.cost import count
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown, word
from autoshrink.loading import load
from autoshrink.metrics import METRICS

if TYPE_CHECKING:
    from autoshrink.final import Epoch, TrainingResult, TrainingWatcher

DRAFT_VOCABULARY = 2
"""Of a cell that becomes an architecture here, until the text's own is known."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (train, generate):
        app.command(command.__name__)(command)


def train(  # noqa: PLR0913 - one parameter an option
    target: Annotated[
        str | None, typer.Argument(help="An architecture or cell file, or a name in the zoo. With --from: optional.")
    ] = None,
    *,
    data: Annotated[
        str | None, typer.Option(help="Images or a text, by name or path. Default for texts: pydocs.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the model.")],
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    epochs: Annotated[int | None, typer.Option(help="Default: by the recipe; texts 40.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step, or streams of text side by side.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="At its peak. Default: by the recipe.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Images: small, large, published or adamw.")] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Images: start from the weights that a training left.")
    ] = None,
    optimiser: Annotated[str | None, typer.Option(help="Images: sgd, rmsprop or adamw.")] = None,
    ema: Annotated[
        float | None, typer.Option(help="Images: what the averaged weights keep a step; 0 for none.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Images: cut each batch into so many, for less memory.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Images: auto, float32, bfloat16 or float16.")] = None,
    validation_share: Annotated[
        float | None, typer.Option(help="Images: of the training images, where no validation split is given.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Images: of data without a test split, kept back for `evaluate` alone.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Images: what in a file name says which belong together, e.g. '(person\\d+)'.")
    ] = None,
    stream: Annotated[bool | None, typer.Option(help="Images: read from disk in every epoch.")] = None,
    workers: Annotated[
        int | None, typer.Option(parser=quantities.workers, help="Images: processes that decode streamed images.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Images: also log for TensorBoard, into the folder.")] = False,
    mlflow: Annotated[str | None, typer.Option(help="Images: also log to this MLflow server or database.")] = None,
    width: Annotated[int | None, typer.Option(help="Text: embedding and hidden size.")] = None,
    params: Annotated[
        int | None,
        typer.Option(parser=quantities.count, help="Text: the widest with at most so many parameters, e.g. 1M."),
    ] = None,
    level: Annotated[str | None, typer.Option(help="Text: word (default) or char.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Text: words, at most. Default: all seen twice.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    threads: Annotated[int | None, typer.Option(parser=quantities.threads, help="CPU threads.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting: recipe.clip=1, recipe.dropout.hidden=.3.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train an image classifier or a language model; `autoshrink resume DIR` goes on with it after an interruption.

    Several GPUs: torchrun --nproc-per-node 4 -m autoshrink train …
    """
    found = _target(target, width)
    language = isinstance(found, LanguageModel)
    options: dict[str, Any] = {
        "data": {"spec": named_data(data, image_column, label_column)},
        "recipe": {"epochs": epochs, "batch": batch, "learning_rate": learning_rate},
        "seed": seed,
        "device": device,
        "threads": threads,
    }
    images: dict[str, Any] = {
        "preset": recipe,
        "start": start and str(start),
        "data": {
            "validation_share": validation_share,
            "test_share": test_share,
            "group": group,
            "stream": stream,
            "workers": workers,
        },
        "recipe": {"optimiser": optimiser, "accumulation": accumulate, "precision": precision, "ema": ema},
        "tensorboard": tensorboard or None,
        "mlflow": mlflow,
    }
    texts: dict[str, Any] = {"data": {"level": level, "max_vocabulary": vocabulary}}
    sized = {"width": width, "params": params}
    _refuse(given(images) if language else given(texts | sized), target, language=language)
    overrides = asked(merge(options, texts if language else images), settings or [], OPTIONS)
    said = dict(leaves(overrides))
    if said.get("recipe.ema") == 0:
        overrides = merge(overrides, {"recipe": {"ema": None}})
    overrides = merge({"data": {"spec": "pydocs"}} if language else {}, overrides)
    if not language and "data.spec" not in said:
        raise InputError("which images? give --data a folder, a parquet file or a name (`autoshrink data list`)")
    begun: list[Path] = []
    with resumable(begun), training_watched(lambda: begun.append(output)) as watcher:
        from autoshrink.final import train as run_training  # noqa: PLC0415 - torch takes seconds to import

        result = run_training(found, overrides, out=output, width=width, params=sized["params"], watcher=watcher)
    print_training(result, as_json=as_json)


def generate(
    folder: Annotated[Path, typer.Argument(help="What `train` left.")],
    *,
    prompt: Annotated[str, typer.Option(help="What to go on with.")] = "",
    length: Annotated[int, typer.Option(help="Words (or characters) to write.")] = 80,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder; 0 is the likeliest word.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw among so many likeliest words.")] = None,
    seed: Annotated[int, typer.Option(help="Decides the draws.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Read what a trained language model writes."""
    from autoshrink.generation import generate as write  # noqa: PLC0415 - torch takes seconds to import

    found = write(folder, prompt, length=length, temperature=temperature, top_k=top_k, seed=seed)
    if found.unknown:
        note(f"the model does not know {', '.join(map(shown, found.unknown))}")
    if as_json:
        print_json({"text": found.text, "continuation": found.continuation, "unknown": list(found.unknown)})
    else:
        stdout.print(found.text, markup=False)


def _target(target: str | None, width: int | None) -> Architecture | Cell | None:
    """The architecture or conv cell of a name or file; a recurrent cell alone becomes one of the paper's width."""
    if target is None:
        return None
    found = load(target)
    if isinstance(found, Cell) and found.kind == "recurrent":
        return recurrent_proxy(found, vocabulary=DRAFT_VOCABULARY, width=width or 200)
    return found


OPTIONS = {
    "preset": "--recipe",
    "start": "--from",
    "data.spec": "--data",
    "data.max_vocabulary": "--vocabulary",
    "recipe.learning_rate": "--lr",
    "recipe.accumulation": "--accumulate",
}
"""Options whose names are not those of their settings."""


def _refuse(foreign: Overrides, target: str | None, *, language: bool) -> None:
    """Refuse the first option of the other task, if there is one."""
    for place, _ in leaves(foreign):
        option = OPTIONS.get(place) or option_name(place)
        other, this = ("image classifiers", "a language model") if language else ("language models", "a classifier")
        raise InputError(f"{option} is for {other}, and {target or 'this'} is {this}")


def print_training(result: TrainingResult, *, as_json: bool) -> None:
    """What a training left, and what to do with it; the first of several processes says it."""
    from autoshrink.training.distributed import announced  # noqa: PLC0415 - torch takes seconds to import

    if not announced().first:
        return
    if as_json:
        print_json(result.to_json())
        return
    metric, folder = METRICS[result.task], word(result.folder)
    lines = "\n".join(line.format(folder=folder) for line in NEXT[result.task])
    if not _tested(result):
        measured = f"evaluate {folder}   its {metric.name} on the test split"
        lines = lines.replace(measured, f"evaluate {folder} {KEPT_BACK[result.task]}")
    stdout.print(
        f"validation {metric.name} {formatting.plain(metric.write(result.performance))} after epoch {result.epoch} of "
        f"{len(result.course.curve)}; {count(result.architecture).params:,} parameters\n"
        f"model: {shown(result.folder)}/model.safetensors\n\nnext:\n{lines}",
        markup=False,
    )


KEPT_BACK: dict[str, str] = {
    "text": "--split validation   its perplexity on the validation text; there is no test text",
    "image": "--split validation   its figures on the images kept back; there is no test split",
}
"""In place of the test split, where there is none."""


def _tested(result: TrainingResult) -> bool:
    """Whether `evaluate` finds a test split; also where the data are gone since, as it then says so itself."""
    try:
        return result.tested
    except DataError:
        return True


NEXT: dict[str, tuple[str, ...]] = {
    "text": (
        "  autoshrink evaluate {folder}   its perplexity on the test split",
        '  autoshrink generate {folder} --prompt "The"   what it writes',
    ),
    "image": (
        "  autoshrink evaluate {folder}   its accuracy on the test split",
        "  autoshrink export {folder} -o model.onnx   a file for other programs",
    ),
}
"""What to do with a trained model, by task."""


@contextmanager
def training_watched(on_begun: Callable[[], None] = lambda: None) -> Iterator[TrainingWatcher]:
    """A watcher that writes a line an epoch, and a bar where standard error is a terminal.

    `on_begun` is called once the folder holds something to go on with.
    """
    from autoshrink.final import TrainingWatcher  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink.training.distributed import announced  # noqa: PLC0415

    shows = stderr.is_terminal and announced().first
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not shows, transient=True) as bar:
        task = bar.add_task("reading", total=None, what="")

        def shown(description: str, done: int, total: int) -> None:
            bar.update(task, description=description, completed=done, total=total, what=f"{done:,} of {total:,}")

        def on_start(architecture: Architecture, samples: int, done: int) -> None:
            on_begun()
            counted, sample = count(architecture), METRICS[task_of(architecture)].sample
            going_on = f"; going on after epoch {done}" if done else ""
            stderr.print(
                f"{architecture.sizes}: {counted.params:,} parameters, {formatting.quantity(counted.macs)} MACs "
                f"{'an' if sample[0] in 'aeiou' else 'a'} {sample}; "
                f"{formatting.count(samples, f'training {sample}')} an epoch{going_on}",
                markup=False,
            )

        def on_epoch(epoch: Epoch) -> None:
            stderr.print(epoch_line(epoch), markup=False)

        yield TrainingWatcher(
            on_start,
            lambda epoch, done, total: shown(f"epoch {epoch}", done, total),
            on_epoch,
            note,
            lambda done, total: shown("reading the images", done, total),
            lambda line: stderr.print(line, markup=False, soft_wrap=True),
        )


def task_of(architecture: Architecture) -> TaskName:
    """What an architecture is trained for."""
    return "text" if isinstance(architecture, LanguageModel) else "image"


def epoch_line(epoch: Epoch) -> str:
    """One line about a finished epoch."""
    metric = METRICS[epoch.task]
    kept = "   kept" if epoch.kept else ""
    averaged = "   averaged weights" if epoch.averaging else ""
    remaining = epoch.epochs - epoch.number
    left = f"   about {formatting.duration(epoch.seconds * remaining)} left" if remaining else ""
    return formatting.plain(
        f"epoch {epoch.number:>3} of {epoch.epochs}   validation {metric.name} "
        f"{metric.write(epoch.performance, fine=True)}   "
        f"{formatting.quantity(epoch.samples / max(epoch.seconds, 1e-9))} {metric.sample}s/s{left}{kept}{averaged}"
    )
