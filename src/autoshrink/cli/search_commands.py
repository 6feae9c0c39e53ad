"""``search`` and ``resume``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink.cli import quantities
from autoshrink.cli.columns import ImageColumnOption, LabelColumnOption, named_data
from autoshrink.cli.console import JsonOption, asked, note, print_json, resumable, stderr
from autoshrink.cli.resource_options import resource_choice, with_limits
from autoshrink.cli.result import print_result
from autoshrink.cli.train_commands import print_training, training_watched
from autoshrink.config import SearchSettings, remarks, resolve
from autoshrink.errors import RunError
from autoshrink.escaping import shown, word
from autoshrink.progress import observed
from autoshrink.record import RunRecord
from autoshrink.results import summary
from autoshrink.store import has_run, read_record
from autoshrink.watching import Observer

TRAINING_FILE = "training.safetensors"
TRAINING_LOCK = "training.lock"
"""What makes a folder one of a training."""

OPTIONS = {
    "data.spec": "--data",
    "data.max_vocabulary": "--vocabulary",
    "recipe.learning_rate": "--lr",
    "stop.edges": "--until-edges",
    "stop.macs": "--until-macs",
    "stop.evaluations": "--max-evaluations",
    "stop.seconds": "--time-limit",
    "stop.candidate_seconds": "--candidate-time-limit",
}
"""Options whose names are not those of their settings."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("search")(with_limits(search))
    app.command("resume")(resume)


def search(  # noqa: PLR0913 - one parameter an option
    *,
    task: Annotated[str | None, typer.Option(help="image (default): classify; text: predict the next word.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="A name (`data list`) or a path. Default: digits; for text pydocs, Python's own help."),
    ] = None,
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    run: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<data>-<date>-<time>.")] = None,
    mode: Annotated[str | None, typer.Option(help="sound (default) or paper: as published, warts named.")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width of the images, pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 or 3. Default: 1 where every image is grey.")] = None,
    train_per_class: Annotated[int | None, typer.Option(help="Training images a class, at most.")] = None,
    validation_per_class: Annotated[int | None, typer.Option(help="Validation images a class, at most.")] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Images: of data without a test split, kept back for `evaluate` alone.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Images: what in a file name says which belong together, e.g. '(person\\d+)'.")
    ] = None,
    max_corrupt: Annotated[float | None, typer.Option(help="Share of unreadable files to put up with.")] = None,
    level: Annotated[str | None, typer.Option(help="Text: word (default) or char.")] = None,
    sentences: Annotated[int | None, typer.Option(help="Text: training lines, at most.")] = None,
    validation_sentences: Annotated[int | None, typer.Option(help="Text: validation lines, at most.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Text: words, at most; rarer ones are <unk>.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes of the cell, the input included.")] = None,
    start: Annotated[str | None, typer.Option(help="complete, er:P, ba:M, ws:K,P, or a cell file.")] = None,
    ops: Annotated[
        str | None, typer.Option(help="What the nodes draw from, e.g. conv1x1,sepconv3x3; --plugin adds to it.")
    ] = None,
    candidates: Annotated[
        Any | None, typer.Option(parser=quantities.candidates, help="K edges tried in each step, or all.")
    ] = None,
    penalty: Annotated[float | None, typer.Option(help="λ in S = performance − λ·log10(resource / 10⁶).")] = None,
    resource: Annotated[str | None, typer.Option(help=resource_choice())] = None,
    latency_table: Annotated[
        Path | None, typer.Option(help="What operations take on a device (`latency --make-table`). Default: this one.")
    ] = None,
    until_edges: Annotated[int | None, typer.Option(help="Stop at this many edges. Default: 0.")] = None,
    until_macs: Annotated[int | None, typer.Option(parser=quantities.count, help="Stop at this many MACs.")] = None,
    max_evaluations: Annotated[int | None, typer.Option(help="Train at most so many candidates.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(parser=quantities.seconds, help="For the whole search, e.g. 20m.")
    ] = None,
    candidate_time_limit: Annotated[
        float | None, typer.Option(parser=quantities.seconds, help="For one candidate, e.g. 90s.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs a candidate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a batch, or streams of text side by side.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Of Adam; for text of SGD.")] = None,
    augment: Annotated[bool | None, typer.Option(help="Random flips and crops. Off by default.")] = None,
    stem: Annotated[int | None, typer.Option(help="Channels of the first convolution.")] = None,
    widths: Annotated[
        Any | None, typer.Option(parser=quantities.numbers, help="Channels of every node, by stage, e.g. 16,32,64.")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="relu, swish, hardswish, relu6, gelu, leaky_relu.")] = None,
    width: Annotated[int | None, typer.Option(help="Text: embedding and hidden size.")] = None,
    finalists: Annotated[int | None, typer.Option(help="Cells measured again before one is named.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Fresh seeds for each of them; 0 for none.")] = None,
    strategy: Annotated[str | None, typer.Option(help="autoshrink.")] = None,
    evaluator: Annotated[
        str | None,
        typer.Option(
            help="inherited: with the parent's weights; trained: every candidate from scratch; zico: untrained."
        ),
    ] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="none (default): edges are drawn; zico: those with the best ZiCo.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    threads: Annotated[int | None, typer.Option(parser=quantities.threads, help="CPU threads of a training.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other setting: recipe.patience=3.")] = None,
    as_json: JsonOption = False,
    **limits: int | None,
) -> None:
    """Shrink a cell on your images or text and leave a better one, with the evidence, in a run folder.

    With no option at all: the built-in handwritten digits, minutes on a laptop's CPU. With --task text: a recurrent
    cell on Python's own documentation.
    """
    options: dict[str, Any] = {
        "task": task,
        "mode": mode,
        "data": {
            "spec": named_data(data, image_column, label_column),
            "size": size,
            "channels": channels,
            "train_per_class": train_per_class,
            "validation_per_class": validation_per_class,
            "test_share": test_share,
            "group": group,
            "max_corrupt": max_corrupt,
            "level": level,
            "sentences": sentences,
            "validation_sentences": validation_sentences,
            "max_vocabulary": vocabulary,
        },
        "nodes": nodes,
        "start": start,
        "ops": ops,
        "candidates": candidates,
        "penalty": penalty,
        "resource": resource,
        "limits": limits,
        "latency_table": latency_table and str(latency_table),
        "stop": {
            "edges": until_edges,
            "macs": until_macs,
            "evaluations": max_evaluations,
            "seconds": time_limit,
            "candidate_seconds": candidate_time_limit,
        },
        "recipe": {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "augment": augment},
        "network": {
            "stem": stem,
            "widths": widths,
            "activation": activation,
            "width": width,
        },
        "finalists": finalists,
        "repeats": repeats,
        "strategy": strategy,
        "evaluator": evaluator,
        "filter": filter_name,
        "seed": seed,
        "device": device,
        "threads": threads,
    }
    overrides = asked(options, settings or [], OPTIONS)
    resolved = resolve(overrides)
    for text in remarks(overrides, resolved):
        note(text)

    def do(observer: Observer) -> RunRecord:
        from autoshrink.launch import search as run_search  # noqa: PLC0415 - torch takes seconds to import

        return run_search(resolved, run=run, observer=observer)

    _run(do, resolved, as_json=as_json)


def resume(
    run: Annotated[Path, typer.Argument(help="A run folder, or the folder of a training.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Go on with a search or a training where it stopped."""
    if (run / TRAINING_FILE).exists():
        _resume_training(run, as_json=as_json)
        return
    if not has_run(run):
        raise RunError(_nothing_here(run))

    def do(observer: Observer) -> RunRecord:
        from autoshrink.launch import resume as resume_run  # noqa: PLC0415 - torch takes seconds to import

        return resume_run(run, observer=observer)

    _run(do, read_record(run).settings, as_json=as_json)


def _nothing_here(folder: Path) -> str:
    if (folder / TRAINING_LOCK).exists():
        return f"{folder}: the training was stopped before its first step; give the same `autoshrink train` again"
    name = word(folder)
    return (
        f"{folder}: neither a search nor a training to go on with; "
        f"`autoshrink search --run {name}` or `autoshrink train -o {name}` starts one"
    )


def _resume_training(folder: Path, *, as_json: bool) -> None:
    with resumable(folder), training_watched() as watcher:
        from autoshrink.final import resume_training  # noqa: PLC0415 - torch takes seconds to import

        result = resume_training(folder, watcher=watcher)
    print_training(result, as_json=as_json)


def _run(do: Callable[[Observer], RunRecord], settings: SearchSettings, *, as_json: bool) -> None:
    folders: list[Path] = []

    def on_run(folder: Path) -> None:
        folders.append(folder)
        stderr.print(f"run: {shown(folder)}", markup=False)

    with resumable(folders), observed(stderr, on_run, settings) as observer:
        record = do(observer)
    if as_json:
        print_json(summary(record, run=folders[0]))
    else:
        print_result(record, folders[0])
