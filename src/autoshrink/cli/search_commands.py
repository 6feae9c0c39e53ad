"""``search`` and ``resume``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink.cli import quantities
from autoshrink.cli.console import INTERRUPTED, JsonOption, print_json, stderr
from autoshrink.cli.result import print_result
from autoshrink.config import merge, resolve
from autoshrink.errors import InputError
from autoshrink.progress import observed
from autoshrink.record import RunRecord
from autoshrink.results import summary
from autoshrink.store import check_readable
from autoshrink.watching import Observer


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("search")(search)
    app.command("resume")(resume)


def search(  # noqa: PLR0913 - one parameter an option
    *,
    task: Annotated[str, typer.Option(help="What to search for: image.")] = "image",
    data: Annotated[
        str, typer.Option(help="digits, cifar10, or a path: image folder, parquet, CIFAR archive.")
    ] = "digits",
    run: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<data>-<date>-<time>.")] = None,
    mode: Annotated[str | None, typer.Option(help="sound (default) or paper: as published, warts named.")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width of the images, pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 or 3. Default: 1 where every image is grey.")] = None,
    train_per_class: Annotated[int | None, typer.Option(help="Training images a class, at most.")] = None,
    validation_per_class: Annotated[int | None, typer.Option(help="Validation images a class, at most.")] = None,
    max_corrupt: Annotated[float | None, typer.Option(help="Share of unreadable files to put up with.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes of the cell, the input included.")] = None,
    start: Annotated[str | None, typer.Option(help="complete, er:P, ba:M, ws:K,P, or a cell file.")] = None,
    candidates: Annotated[str | None, typer.Option(help="K edges tried in each step, or all.")] = None,
    penalty: Annotated[float | None, typer.Option(help="λ in S = accuracy − λ·log10(resource / 10⁶).")] = None,
    resource: Annotated[str | None, typer.Option(help="macs, params or memory.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="The reported cell has at most these MACs, e.g. 5M.")] = None,
    max_params: Annotated[str | None, typer.Option(help="… at most these parameters, e.g. 20k.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="… at most this peak activation memory, e.g. 256KiB.")] = None,
    until_edges: Annotated[int | None, typer.Option(help="Stop at this many edges. Default: 0.")] = None,
    until_macs: Annotated[str | None, typer.Option(help="Stop at this many MACs.")] = None,
    max_evaluations: Annotated[int | None, typer.Option(help="Train at most so many candidates.")] = None,
    time_limit: Annotated[str | None, typer.Option(help="For the whole search, e.g. 20m.")] = None,
    candidate_time_limit: Annotated[str | None, typer.Option(help="For one candidate, e.g. 90s.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs a candidate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Adam's learning rate.")] = None,
    augment: Annotated[bool | None, typer.Option(help="Random flips and crops. Off by default.")] = None,
    stem: Annotated[int | None, typer.Option(help="Channels of the first convolution.")] = None,
    widths: Annotated[str | None, typer.Option(help="Channels of every node, by stage, e.g. 16,32,64.")] = None,
    activation: Annotated[str | None, typer.Option(help="relu, swish, hardswish, relu6, gelu, leaky_relu.")] = None,
    finalists: Annotated[int | None, typer.Option(help="Cells measured again before one is named.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Fresh seeds for each of them; 0 for none.")] = None,
    strategy: Annotated[str | None, typer.Option(help="autoshrink.")] = None,
    evaluator: Annotated[str | None, typer.Option(help="trained: every candidate from scratch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of a training.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other setting: recipe.patience=3.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Shrink a cell on your images and leave a better one, with the evidence, in a run folder.

    With no option at all: the built-in handwritten digits, minutes on a laptop's CPU.
    """
    given: dict[str, Any] = {
        "task": task,
        "mode": mode,
        "data": {
            "spec": data,
            "size": size,
            "channels": channels,
            "train_per_class": train_per_class,
            "validation_per_class": validation_per_class,
            "max_corrupt": max_corrupt,
        },
        "nodes": nodes,
        "start": start,
        "candidates": candidates and quantities.candidates(candidates),
        "penalty": penalty,
        "resource": resource,
        "limits": {
            "max_macs": max_macs and quantities.count(max_macs),
            "max_params": max_params and quantities.count(max_params),
            "max_memory": max_memory and quantities.count(max_memory),
        },
        "stop": {
            "edges": until_edges,
            "macs": until_macs and quantities.count(until_macs),
            "evaluations": max_evaluations,
            "seconds": time_limit and quantities.seconds(time_limit),
            "candidate_seconds": candidate_time_limit and quantities.seconds(candidate_time_limit),
        },
        "recipe": {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "augment": augment},
        "network": {"stem": stem, "widths": widths and quantities.numbers(widths), "activation": activation},
        "finalists": finalists,
        "repeats": repeats,
        "strategy": strategy,
        "evaluator": evaluator,
        "seed": seed,
        "device": device,
        "threads": threads,
    }
    resolved = resolve(merge(_given(given), _assigned(settings or [])))

    def do(observer: Observer) -> RunRecord:
        from autoshrink.launch import search as run_search  # noqa: PLC0415 - torch takes seconds to import

        return run_search(resolved, run=run, observer=observer)

    _run(do, as_json=as_json)


def resume(run: Annotated[Path, typer.Argument(help="A run folder.")], *, as_json: JsonOption = False) -> None:
    """Go on with a search where it stopped."""

    def do(observer: Observer) -> RunRecord:
        from autoshrink.launch import resume as resume_run  # noqa: PLC0415 - torch takes seconds to import

        return resume_run(run, observer=observer)

    check_readable(run)
    _run(do, as_json=as_json)


def _run(do: Callable[[Observer], RunRecord], *, as_json: bool) -> None:
    folders: list[Path] = []

    def on_run(folder: Path) -> None:
        folders.append(folder)
        stderr.print(f"run: {folder}", markup=False)

    try:
        with observed(stderr, on_run) as observer:
            record = do(observer)
    except KeyboardInterrupt:
        where = f"; go on with:\n  autoshrink resume {shlex.quote(str(folders[0]))}" if folders else ""
        stderr.print(f"interrupted{where}", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(summary(record, run=folders[0]))
    else:
        print_result(record, folders[0])


def _given(value: dict[str, Any]) -> dict[str, Any]:
    """Without the options that were not given."""
    inner = {key: _given(entry) if isinstance(entry, dict) else entry for key, entry in value.items()}
    return {key: entry for key, entry in inner.items() if entry is not None and entry != {}}


def _assigned(assignments: list[str]) -> dict[str, Any]:
    """``a.b=c`` as nested settings; the value is JSON where it can be read as such, else text."""
    nested: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment!r}: write it as section.name=value, for example recipe.patience=3")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        for part in reversed(name.split(".")):
            value = {part: value}
        nested = merge(nested, value)
    return nested
