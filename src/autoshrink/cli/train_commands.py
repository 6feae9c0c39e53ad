"""``train``, ``evaluate`` and ``generate``: from an architecture to a model, what it is worth, and what it writes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from autoshrink import words
from autoshrink.architecture import Architecture, LanguageModel, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.cli import quantities
from autoshrink.cli.console import JsonOption, assigned, given, print_json, resumable, stderr, stdout
from autoshrink.config import merge
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.loading import load
from autoshrink.metrics import METRICS

if TYPE_CHECKING:
    from autoshrink.final import Epoch, TrainingResult, TrainingWatcher

DRAFT_VOCABULARY = 2
"""Of a cell that becomes an architecture here, until the text's own is known."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (train, evaluate, generate):
        app.command(command.__name__)(command)


def train(  # noqa: PLR0913 - one parameter an option
    target: Annotated[str, typer.Argument(help="An architecture or cell file, or a name in the zoo.")],
    *,
    data: Annotated[str, typer.Option(help="A text by name or path.")] = "pydocs",
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the model.")],
    width: Annotated[int | None, typer.Option(help="Embedding and hidden size.")] = None,
    params: Annotated[str | None, typer.Option(help="Or the widest with at most so many parameters, e.g. 1M.")] = None,
    level: Annotated[str | None, typer.Option(help="word (default) or char.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Words, at most. Default: all seen twice.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Default: 40.")] = None,
    batch: Annotated[int | None, typer.Option(help="Streams of text side by side. Default: 64.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="Of SGD. Default: 20, less for small models.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting: recipe.dropout.hidden=.3.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a language model on a whole text; `autoshrink resume DIR` goes on with it after an interruption."""
    architecture = _language_model(target, width)
    overrides = merge(
        given(
            {
                "data": {"spec": data, "level": level, "max_vocabulary": vocabulary},
                "recipe": {"epochs": epochs, "batch": batch, "learning_rate": learning_rate},
                "seed": seed,
                "device": device,
                "threads": threads,
            }
        ),
        assigned(settings or []),
    )
    begun: list[Path] = []
    with resumable(begun), training_watched(lambda: begun.append(output)) as watcher:
        from autoshrink.final import train as run_training  # noqa: PLC0415 - torch takes seconds to import

        result = run_training(
            architecture,
            overrides,
            out=output,
            width=width,
            params=quantities.count(params) if params else None,
            watcher=watcher,
        )
    print_training(result, as_json=as_json)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="What `train` left.")],
    *,
    data: Annotated[str | None, typer.Option(help="A text by name or path. Default: what it was trained on.")] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    streams: Annotated[
        int, typer.Option(help="Pieces of the text read side by side: faster, with less memory of what came before.")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """The perplexity of a trained language model on a text's test split."""
    from autoshrink.final import evaluate as measure  # noqa: PLC0415 - torch takes seconds to import

    found = measure(folder, data=data, split=split, streams=streams, device=device)
    if as_json:
        print_json(found)
        return
    stdout.print(
        f"perplexity {found['perplexity']:,.2f} on the {split} split of {found['data']}: {found['tokens']:,} tokens, "
        f"{found['loss']:.4f} nats ({found['bits_per_token']:.4f} bits) each; {found['unknown']:,} of them <unk>",
        markup=False,
    )


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
        stderr.print(f"note: the model does not know {', '.join(found.unknown)}", markup=False, style="yellow")
    if as_json:
        print_json({"text": found.text, "continuation": found.continuation, "unknown": list(found.unknown)})
    else:
        stdout.print(found.text, markup=False)


def _language_model(target: str, width: int | None) -> Architecture:
    """The architecture of a name or file; a recurrent cell alone becomes one of the paper's width."""
    found = load(target)
    if isinstance(found, Cell):
        if found.kind != "recurrent":
            raise InputError(
                f"{target}: a {found.kind} cell; this version trains language models, from recurrent cells"
            )
        return recurrent_proxy(found, vocabulary=DRAFT_VOCABULARY, width=width or 200)
    if not isinstance(found, LanguageModel):
        raise InputError(f"{target}: a {found.kind} architecture; this version trains language models")
    return found


def print_training(result: TrainingResult, *, as_json: bool) -> None:
    """What a training left, and what to do with it."""
    if as_json:
        print_json(result.to_json())
        return
    best = result.course.curve.index(result.performance) + 1
    folder = shlex.quote(str(result.folder))
    stdout.print(
        f"validation perplexity {METRICS['text'].write(result.performance)} after epoch {best} of "
        f"{len(result.course.curve)}; {count(result.architecture).params:,} parameters\n"
        f"model: {result.folder}/model.safetensors\n\nnext:\n"
        f"  autoshrink evaluate {folder}   its perplexity on the test split\n"
        f'  autoshrink generate {folder} --prompt "The"   what it writes',
        markup=False,
    )


@contextmanager
def training_watched(on_begun: Callable[[], None] = lambda: None) -> Iterator[TrainingWatcher]:
    """A watcher that writes a line an epoch, and a bar where standard error is a terminal.

    `on_begun` is called once the folder holds something to go on with.
    """
    from autoshrink.final import TrainingWatcher  # noqa: PLC0415 - torch takes seconds to import

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal, transient=True) as bar:
        task = bar.add_task("reading the text", total=None, what="")

        def on_start(architecture: LanguageModel, tokens: int, done: int) -> None:
            on_begun()
            counted = count(architecture)
            going_on = f"; going on after epoch {done}" if done else ""
            stderr.print(
                f"{architecture.sizes}: {counted.params:,} parameters, {words.quantity(counted.macs)} MACs a token; "
                f"{tokens:,} training tokens an epoch{going_on}",
                markup=False,
            )

        def on_batch(epoch: int, done: int, total: int) -> None:
            bar.update(task, description=f"epoch {epoch}", completed=done, total=total, what=f"{done:,} of {total:,}")

        def on_epoch(epoch: Epoch) -> None:
            stderr.print(epoch_line(epoch), markup=False)

        def remark(text: str) -> None:
            stderr.print(f"note: {text}", markup=False, style="yellow")

        yield TrainingWatcher(on_start, on_batch, on_epoch, remark)


def epoch_line(epoch: Epoch) -> str:
    """One line about a finished epoch."""
    metric = METRICS["text"]
    best = "" if epoch.performance < epoch.best else "   best"
    averaged = "   averaged weights" if epoch.averaging else ""
    left = words.duration(epoch.seconds * (epoch.epochs - epoch.number))
    return (
        f"epoch {epoch.number:>3} of {epoch.epochs}   validation perplexity {metric.write(epoch.performance)}   "
        f"{words.quantity(epoch.tokens / max(epoch.seconds, 1e-9))} tokens/s   about {left} left{best}{averaged}"
    )
