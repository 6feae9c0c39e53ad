"""``train`` and ``generate``: from an architecture to a model, and what a language model writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoshrink import formatting
from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.cli.command import plugins_again
from autoshrink.cli.console import JsonOption, asked, bar, given, note, print_json, resumable, stderr, stdout
from autoshrink.cli.options import (
    ImageColumnOption,
    LabelColumnOption,
    flags,
    named_data,
    of_tasks,
    refuse_foreign,
    with_options,
)
from autoshrink.config import Overrides, leaves
from autoshrink.cost import count
from autoshrink.crafting import source_of
from autoshrink.errors import DataError, InputError
from autoshrink.escaping import shown, word
from autoshrink.loading import budgets, load
from autoshrink.tasks import Option, Task, task_of

if TYPE_CHECKING:
    from autoshrink.final import Epoch, TrainingResult, TrainingWatcher

OPTIONS = (
    Option("--data", "data.spec", str, "Images or a text, by name or path. Default for texts: pydocs."),
    Option("--epochs", "recipe.epochs", int, "Default: by the recipe; texts 40."),
    Option("--batch", "recipe.batch", int, "Images a step, or streams of text side by side."),
    Option("--lr", "recipe.learning_rate", float, "At its peak. Default: by the recipe."),
    Option("--tensorboard/--no-tensorboard", "tensorboard", bool, "Also log for TensorBoard, into the folder."),
    Option("--mlflow", "mlflow", str, "Also log to this MLflow server or database."),
    Option("--seed", "seed", int, "Decides everything random."),
    Option("--device", "device", str, "auto, cpu, cuda, cuda:1, mps."),
    Option("--threads", "threads", "threads", "CPU threads."),
)
"""Of every task."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("train")(with_options(train, (*OPTIONS, *of_tasks("train_options"))))
    app.command("generate")(generate)


def train(
    target: Annotated[
        str | None, typer.Argument(help="An architecture or cell file, or a name in the zoo. With --from: optional.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the model.")],
    budget: Annotated[
        str | None, typer.Option(help="Of a search over a range of budgets, which network, e.g. 1M. Default: largest.")
    ] = None,
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    options: dict[str, Any],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting: recipe.clip=1, recipe.dropout.hidden=.3.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train an image classifier or a language model; `autoshrink resume DIR` goes on with it after an interruption.

    Several GPUs: torchrun --nproc-per-node 4 -m autoshrink train …
    """
    options["data"]["spec"] = named_data(options["data"]["spec"], image_column, label_column)
    found, task = _target(target, options, budget)
    names = flags((*OPTIONS, *of_tasks("train_options")))
    refuse_foreign(dict(leaves(given(options))), task, "train_options", target or "this")
    sizes = {name: options.pop(name) for name in ("width", "params")}
    overrides = asked(options, settings or [], names)
    if task.unnamed is not None and "data.spec" not in dict(leaves(overrides)):
        raise InputError(task.unnamed + _searched_on(target))
    begun: list[Path] = []
    with resumable(begun), training_watched(lambda: begun.append(output)) as watcher:
        from autoshrink.final import train as run_training  # noqa: PLC0415 - torch takes seconds to import

        result = run_training(found, overrides, out=output, **sizes, watcher=watcher)
    print_training(result, as_json=as_json)


def _searched_on(target: str | None) -> str:
    """What a run's folder was searched on, as `train` takes it; nothing of anything else."""
    found = source_of(target) if target is not None and Path(target).is_dir() else None
    if found is None or found.data is None:
        return ""
    options = (("--data", found.data), *found.reading)
    return f"; {target} was searched on {' '.join(f'{flag} {word(value)}' for flag, value in options)}"


def _target(target: str | None, options: Overrides, budget: str | None) -> tuple[Architecture | Cell | None, Task]:
    """What is trained, and its task; of a run's folder it is said which network that is."""
    if target is not None:
        found = load(target, budget=budget)
        if Path(target).is_dir():
            known = ", ".join(budgets(Path(target)))
            which = (
                f"its network at {budget}" if budget else "its network at the largest budget" if known else "its best"
            )
            others = f" (--budget: {known})" if known else ""
            stderr.print(f"{shown(target)}: {which}, {shown(str(found))}{others}", markup=False)
        return found, task_of(found)
    if budget is not None:
        raise InputError(f"--budget {budget}: it goes with the folder of a search over a range of budgets")
    start = options["start"]
    if start is None:
        raise InputError("nothing to train: give an architecture or a cell, or --from a trained classifier")
    from autoshrink.bundle import load as load_model  # noqa: PLC0415 - torch takes seconds to import

    return None, task_of(load_model(Path(start)).architecture)


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


def print_training(result: TrainingResult, *, as_json: bool) -> None:
    """What a training left, and what to do with it; the first of several processes says it."""
    from autoshrink.training.distributed import announced  # noqa: PLC0415 - torch takes seconds to import

    if not announced().first:
        return
    if as_json:
        print_json(result.to_json())
        return
    metric = result.task.metric
    following = result.task.after_training(result.folder, tested=_tested(result))
    lines = "\n".join(f"  {line}{plugins_again()}   {why}" for line, why in following)
    stdout.print(
        f"validation {metric.name} {formatting.plain(metric.write(result.performance))} after epoch {result.epoch} of "
        f"{len(result.history.curve)}; {count(result.architecture).params:,} parameters\n"
        f"model: {shown(result.folder)}/model.safetensors\n\nnext:\n{lines}",
        markup=False,
    )


def _tested(result: TrainingResult) -> bool:
    """Whether `evaluate` finds a test split; also where the data are gone since, as it then says so itself."""
    try:
        return result.tested
    except DataError:
        return True


@contextmanager
def training_watched(on_begun: Callable[[], None] = lambda: None) -> Iterator[TrainingWatcher]:
    """A watcher that writes a line an epoch, and a bar where standard error is a terminal.

    `on_begun` is called once the folder holds something to go on with.
    """
    from autoshrink.final import TrainingWatcher  # noqa: PLC0415 - torch takes seconds to import
    from autoshrink.training.distributed import announced  # noqa: PLC0415

    with bar(shows=announced().first) as shown:

        def on_start(architecture: Architecture, samples: int, done: int) -> None:
            on_begun()
            counted, sample = count(architecture), task_of(architecture).metric.sample
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


def epoch_line(epoch: Epoch) -> str:
    """One line about a finished epoch."""
    metric = epoch.task.metric
    kept = "   kept" if epoch.kept else ""
    averaged = "   averaged weights" if epoch.averaging else ""
    remaining = epoch.epochs - epoch.number
    left = f"   about {formatting.duration(epoch.seconds * remaining)} left" if remaining else ""
    return formatting.plain(
        f"epoch {epoch.number:>3} of {epoch.epochs}   validation {metric.name} "
        f"{metric.write(epoch.performance, fine=True)}   "
        f"{formatting.quantity(epoch.samples / max(epoch.seconds, 1e-9))} {metric.sample}s/s{left}{kept}{averaged}"
    )
