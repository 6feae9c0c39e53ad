"""``search`` and ``resume``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from autoshrink.cli.console import JsonOption, asked, note, print_json, resumable, stderr
from autoshrink.cli.options import (
    ImageColumnOption,
    LabelColumnOption,
    flags,
    named_data,
    of_tasks,
    resource_choice,
    resource_rows,
    with_options,
)
from autoshrink.cli.quantities import amounts
from autoshrink.cli.result import print_result
from autoshrink.cli.train_commands import print_training, training_watched
from autoshrink.config import DEFAULT_TASK, SearchSettings, remarks, resolve
from autoshrink.errors import InputError, RunError
from autoshrink.escaping import shown, word
from autoshrink.live.process import require_live
from autoshrink.live.process import watch as watched
from autoshrink.progress import observed
from autoshrink.record import RunRecord
from autoshrink.registry import EVALUATORS, FILTERS, STRATEGIES, TASKS
from autoshrink.results import summary
from autoshrink.store import has_run, read_record
from autoshrink.tasks import Option
from autoshrink.watching import Observer

TRAINING_FILE = "training.safetensors"
TRAINING_LOCK = "training.lock"
"""What makes a folder one of a training."""


ExecutorOption = Annotated[
    str, typer.Option(help="Where cells are trained: local, in this process; processes:4, in so many of their own.")
]
"""Decides nothing: the log is the same but for its times."""
WatchOption = Annotated[bool, typer.Option("--watch", help="Open the live page with it; its address is printed.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("search")(with_options(search, search_options()))
    app.command("resume")(resume)


def _tasks_help() -> str:
    said = [f"{name}{' (default)' if name == DEFAULT_TASK else ''}: {TASKS[name].about}" for name in TASKS]
    return f"{'; '.join(said)}."


def _data_help() -> str:
    built_in = [(name, TASKS[name].built_in) for name in TASKS if TASKS[name].built_in]
    said = [data if name == DEFAULT_TASK else f"for {name} {data}" for name, data in built_in]
    return f"A name (`data list`) or a path. Default: {'; '.join(map(str, said))}."


def _evaluators_help() -> str:
    return "; ".join(f"{EVALUATORS[name].words.done} ({name})" for name in EVALUATORS)


def search_options() -> tuple[Option, ...]:
    """Every option of ``search`` that is a setting."""
    return (
        Option("--task", "task", str, _tasks_help()),
        Option("--data", "data.spec", str, _data_help()),
        Option("--mode", "mode", str, "sound (default) or paper: as published, warts named."),
        Option("--nodes", "nodes", int, "Nodes of the cell, the input included."),
        Option("--start", "start", str, "complete, er:P, ba:M, ws:K,P, or a cell file."),
        Option("--ops", "ops", str, "What the nodes draw from, e.g. conv1x1,sepconv3x3; --plugin adds to it."),
        Option("--moves", "moves", str, "What a step may do: edges; edges,ops; of networks width,depth,… too."),
        Option("--candidates", "candidates", "candidates", "K moves tried in each step, or all."),
        Option("--penalty", "penalty", float, "λ in S = performance − λ·log10(resource / 10⁶)."),
        Option("--resource", "resource", str, resource_choice()),
        *(replace(row, setting=f"budget.{row.setting}") for row in resource_rows("budget", read=amounts)),
        *resource_rows("limit"),
        Option(
            "--latency-table",
            "latency_table",
            str,
            "What operations take on a device (`latency --make-table`). Default: this one.",
        ),
        Option("--until-edges", "stop.edges", int, "Stop at this many edges. Default: 0."),
        Option("--until-macs", "stop.macs", "count", "Stop at this many MACs."),
        Option("--max-evaluations", "stop.evaluations", int, "Train at most so many candidates."),
        Option(
            "--max-training-macs",
            "stop.training_macs",
            "count",
            "Spend at most so many MACs on steps and playoff; fresh seeds come on top. E.g. 2e12.",
        ),
        Option("--time-limit", "stop.seconds", "seconds", "For the whole search, e.g. 20m."),
        Option("--candidate-time-limit", "stop.candidate_seconds", "seconds", "For one candidate, e.g. 90s."),
        Option("--epochs", "recipe.epochs", int, "Epochs a candidate."),
        Option("--batch", "recipe.batch", int, "Images a batch, or streams of text side by side."),
        Option("--lr", "recipe.learning_rate", float, "Of Adam; for text of SGD."),
        *of_tasks("search_options"),
        Option("--finalists", "finalists", int, "Cells measured again before one is named."),
        Option("--repeats", "repeats", int, "Fresh seeds for each of them; 0 for none."),
        Option(
            "--beside", "beside", str, "What is measured at equal cost: start,chain,random,hand-made (default); none."
        ),
        Option("--strategy", "strategy", str, f"What proposes cells: {', '.join(STRATEGIES)}."),
        Option("--evaluator", "evaluator", str, f"Candidates are {_evaluators_help()}."),
        Option("--filter", "filter", str, f"none (default): edges are drawn; {', '.join(FILTERS)}: of the best score."),
        Option("--seed", "seed", int, "Decides everything random."),
        Option("--device", "device", str, "auto, cpu, cuda, cuda:1, mps."),
        Option("--threads", "threads", "threads", "CPU threads of a training."),
    )


def search(
    *,
    options: dict[str, Any],
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    run: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<data>-<date>-<time>.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Any other setting: recipe.patience=3.")] = None,
    executor: ExecutorOption = "local",
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Shrink a cell on your images or text and leave a better one, with the evidence, in a run folder.

    With no option at all: the built-in handwritten digits, minutes on a laptop's CPU. With --task text: a recurrent
    cell on Python's own documentation.
    """
    options["data"]["spec"] = named_data(options["data"]["spec"], image_column, label_column)
    overrides = asked(options, settings or [], flags(search_options()))
    resolved = resolve(overrides)
    for text in remarks(overrides, resolved):
        note(text)

    def do(observer: Observer) -> RunRecord:
        from autoshrink.launch import search as run_search  # noqa: PLC0415 - torch takes seconds to import

        return run_search(resolved, run=run, observer=observer, executor=executor)

    _run(do, resolved, watch=watch, as_json=as_json)


def resume(
    run: Annotated[Path, typer.Argument(help="A run folder, or the folder of a training.")],
    *,
    executor: ExecutorOption = "local",
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a search or a training where it stopped."""
    if (run / TRAINING_FILE).exists():
        if watch:
            raise InputError(
                f"--watch: {shown(run)} is the folder of a training; the page shows searches, leave it out"
            )
        _resume_training(run, as_json=as_json)
        return
    if not has_run(run):
        raise RunError(_nothing_here(run))

    def do(observer: Observer) -> RunRecord:
        from autoshrink.launch import resume as resume_run  # noqa: PLC0415 - torch takes seconds to import

        return resume_run(run, observer=observer, executor=executor)

    _run(do, read_record(run).settings, watch=watch, as_json=as_json)


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


def _run(do: Callable[[Observer], RunRecord], settings: SearchSettings, *, watch: bool = False, as_json: bool) -> None:
    folders: list[Path] = []
    if watch:
        require_live("--watch")

    def on_run(folder: Path) -> None:
        folders.append(folder)
        stderr.print(f"run: {shown(folder)}", markup=False)
        if watch:
            try:
                page = pages.enter_context(watched(folder))
            except RunError as error:
                note(f"no page: {error}")
            else:
                stderr.print(f"watch it: {page.url}", markup=False)

    with ExitStack() as pages, resumable(folders), observed(stderr, on_run, settings) as observer:
        record = do(observer)
    if as_json:
        print_json(summary(record, run=folders[0]))
    else:
        print_result(record, folders[0])
