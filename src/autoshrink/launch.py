"""A search from settings to files: reads the data, opens the run folder, makes the evaluator, runs the loop."""

from __future__ import annotations

import os
import random
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from autoshrink import formatting
from autoshrink.cell import INPUT, Cell
from autoshrink.config import Overrides, SearchSettings, resolve
from autoshrink.config.contradictions import is_file
from autoshrink.data import anchored
from autoshrink.errors import DataError, InputError, RunError, SearchError
from autoshrink.escaping import command_line, word
from autoshrink.evaluation import Evaluator
from autoshrink.files import named
from autoshrink.findings import headline
from autoshrink.latency.table import begin_latencies, resume_latencies
from autoshrink.machine import refuse_too_many
from autoshrink.ops import require
from autoshrink.priors import random_cells, start_cell
from autoshrink.record import RunRecord, replay
from autoshrink.registry import TASKS, loaded_plugins
from autoshrink.resources import RESOURCES
from autoshrink.results import write_results
from autoshrink.run import Loop
from autoshrink.seeding import derive_seed
from autoshrink.store import Store, opening, read_record
from autoshrink.training.costs import CellCosts
from autoshrink.training.device import choose_device, describe
from autoshrink.training.inherited import InheritedEvaluator
from autoshrink.training.playoff import SprintEvaluator, SprintTrainer
from autoshrink.training.population import Populations
from autoshrink.training.problem import Fitting, TaskProblem
from autoshrink.training.trained import TrainedEvaluator
from autoshrink.training.zero_shot import ZicoEvaluator, ZicoRanking
from autoshrink.training.zico import GradientSource
from autoshrink.version import __version__
from autoshrink.watching import Observer

WEIGHTS = "weights.safetensors"
"""In the run folder: what the next step's children inherit."""


def search(
    settings: SearchSettings | Overrides | None = None,
    *,
    run: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
) -> RunRecord:
    """Search a cell and leave the evidence in a run folder.

    Args:
        settings: resolved settings, or nested overrides of the defaults, for example
            ``{"data": {"spec": "photos/", "size": 48}, "nodes": 6, "penalty": 0.05}``.
        run: the run folder; made if need be. Default: ``runs/<data>-<date>-<time>``.
        observer: told about progress.

    Returns:
        The finished run: ``record.best()``, ``record.complete()``, ``record.front()`` …

    Raises:
        InputError: a setting cannot be used, or no cell could keep the limits.
        DataError: the images or the text cannot be used.
        RunError: the run folder holds a run, is in use, or cannot be written.
        SearchError: not one candidate could be measured, or none could be told from chance.
    """
    place = None if run is None else named(run)
    observer = observer or Observer()
    settings = settings if isinstance(settings, SearchSettings) else resolve(settings or {})
    settings = _anchored(settings)
    device = choose_device(settings.device)
    start = _start(settings)
    settings = _sized(settings, start)
    if settings.evaluator == "inherited":
        require(start.kind, start.ops[1:], "inherit")
    prepared = TASKS[settings.task].prepare(settings, observer)
    folder = _default_folder(prepared.name) if place is None else place
    problem = prepared.problem(device)
    problem.latency = latencies = begin_latencies(settings.latency_table) if settings.times else None
    _check_limits(settings, start, problem)
    environment = describe(device) | {"threads": settings.threads} | _environment()
    created = {"settings": settings.to_json(), "environment": environment, "start": start.to_json()}
    with Store.create(folder, created) as store:
        observer.on_run(folder)
        store.append("opened", opening())
        store.append("data", prepared.event)
        if latencies is not None:
            latencies.keep(folder)
            observer.remark(f"latencies: {latencies}")
        return _run(store, settings, problem, observer)


def resume(run: str | os.PathLike[str], *, observer: Observer | None = None) -> RunRecord:
    """Go on with a run where it stopped, with the settings it has; a finished run is returned as it is.

    On the same device and versions the result is that of an undisturbed run.

    Raises:
        RunError: there is no run in the folder, another process has it, or it cannot be written.
        SearchError: as for `search`.
        DataError: the data are gone or have changed since the run began.
    """
    observer = observer or Observer()
    folder = named(run)
    record = read_record(folder)
    observer.on_run(folder)
    if record.finished:
        observer.remark(f"{folder} is finished: nothing to do")
        write_results(folder, record)
        return _succeeded(record, folder)
    with Store.open(folder) as store:
        settings = record.settings
        device = choose_device(settings.device)
        _remark_changes(record, describe(device) | _environment(), observer)
        prepared = TASKS[settings.task].prepare(settings, observer)
        found = prepared.event["fingerprint"]
        if found != record.data.get("fingerprint", found):
            raise DataError(
                f"{settings.data.spec}: the data are not those that {folder} began with; "
                "restore them, or start a new run"
            )
        problem = prepared.problem(device)
        if settings.times:
            fresh = not record.candidates and not record.ranks
            problem.latency = resume_latencies(folder, settings.latency_table, fresh=fresh)
        store.append("opened", opening())
        if not record.data:
            store.append("data", prepared.event)
        return _run(store, settings, problem, observer)


def _run(store: Store, settings: SearchSettings, problem: TaskProblem, observer: Observer) -> RunRecord:
    trained = TrainedEvaluator(
        problem,
        threads=settings.threads,
        candidate_seconds=settings.stop.candidate_seconds,
        on_epoch=observer.on_epoch,
        population=_population(settings, problem),
    )
    ranking = _ranking(settings, problem, store) if "zico" in (settings.evaluator, settings.filter) else None
    evaluator: Evaluator = trained
    length = partial(settings.short_epochs, samples=replay(store.events()).data.get("train"))
    if settings.evaluator == "zico" and ranking is not None:
        evaluator = ZicoEvaluator(ranking)
    elif settings.evaluator == "inherited":
        evaluator = InheritedEvaluator(
            problem,
            settings.inherit.model_copy(update={"start": length(settings.inherit.start) / settings.recipe.epochs}),
            settings.score,
            weights=store.folder / WEIGHTS,
            batch=settings.sprint_batch,
            threads=settings.threads,
            candidate_seconds=settings.stop.candidate_seconds,
            on_epoch=observer.on_epoch,
        )
    sprints = SprintTrainer(
        problem, trained.resources, batch=settings.sprint_batch, threads=settings.threads, on_epoch=observer.on_epoch
    )
    loop = Loop(
        store,
        evaluator,
        fresh=SprintEvaluator(sprints, length(settings.playoff.fresh)) if settings.relative else trained,
        rounds=sprints,
        ranking=ranking if settings.filter == "zico" else None,
        watcher=observer.watcher,
    )
    record = loop.run()
    try:
        write_results(store.folder, record)
    except RunError as error:
        raise RunError(
            f"{error}; the search is finished and kept: `autoshrink resume {store.folder}` writes what is missing"
        ) from error
    return _succeeded(record, store.folder)


def _succeeded(record: RunRecord, folder: Path) -> RunRecord:
    """The finished run itself.

    Raises:
        SearchError: nothing that it measured can be told from chance.
    """
    if record.at_chance:
        raise SearchError(
            f"{folder}: {headline(record)}; no cell is named. Lower --lr, train longer, or give it more "
            f"samples (autoshrink show {word(folder)} has what was measured)"
        )
    return record


def _anchored(settings: SearchSettings) -> SearchSettings:
    """Settings that mean the same from any folder and after a change of torch's defaults.

    Raises:
        InputError: a latency table is given and nothing reads it, or there are too many threads.
    """
    refuse_too_many(settings.threads or 1, "threads")
    if settings.latency_table is not None and not settings.times:
        raise InputError(f"--latency-table {settings.latency_table}: add --resource latency or --max-latency")
    changes: dict[str, Any] = {
        "threads": settings.threads or torch.get_num_threads(),
        "data": {"spec": anchored(settings.data.spec)},
    }
    if settings.latency_table is not None:
        changes["latency_table"] = str(Path(settings.latency_table).expanduser().resolve())
    return settings.changed(changes)


def _start(settings: SearchSettings) -> Cell:
    kind = TASKS[settings.task].cell_kind
    if is_file(settings.start):
        cell = Cell.read(Path(settings.start))
        if cell.kind != kind:
            raise InputError(f"{settings.start}: a {cell.kind} cell cannot start a search for {kind} cells")
        return cell
    rng = random.Random(derive_seed(settings.seed, "start"))
    return start_cell(settings.start, kind=kind, nodes=settings.nodes, rng=rng, draw=settings.draw, ops=settings.ops)


def _sized(settings: SearchSettings, start: Cell) -> SearchSettings:
    """With as many nodes as a cell file has that the search starts from."""
    return settings.changed({"nodes": len(start.ops)}) if is_file(settings.start) else settings


def _population(settings: SearchSettings, problem: TaskProblem) -> int:
    """How many candidates are trained as one program."""
    if settings.population != "auto":
        return settings.population
    if not isinstance(problem, Populations):
        return 1
    return settings.nodes * (settings.nodes - 1) // 2 if settings.candidates == "all" else settings.candidates


def _ranking(settings: SearchSettings, problem: TaskProblem, store: Store) -> ZicoRanking:
    if not isinstance(problem, GradientSource):
        raise InputError(f"the task {settings.task!r} has no gradients that ZiCo could score; leave zico out")
    seed = derive_seed(settings.seed, "zico")
    first = "evaluated" if settings.evaluator == "zico" else "screened"
    return ZicoRanking(
        problem,
        settings.score,
        reference=lambda count: _reference(settings, count, seed),
        seed=seed,
        threads=settings.threads,
        counted=any(event.kind == first for event in store.events()),
    )


def _reference(settings: SearchSettings, count: int, seed: int) -> tuple[Cell, ...]:
    """So many random cells, or fewer where so few nodes have no more different ones."""
    for wanted in range(count, 2, -1):
        try:
            return random_cells(TASKS[settings.task].cell_kind, settings.nodes, wanted, seed, settings.ops)
        except InputError:
            continue
    raise InputError(
        f"--nodes {settings.nodes}: too few different cells to weigh ZiCo against their cost; take more nodes"
    )


def _check_limits(settings: SearchSettings, start: Cell, problem: TaskProblem) -> None:
    """Refuse limits that no cell can keep.

    Every cell but the empty one costs at least what one of its operations, alone on the input, costs: each further
    node or edge adds tensors, weights and MACs, and widens no tensor's reader for free.
    """
    smallest = [Cell(start.kind, start.ops, ())]
    for op in sorted(set(start.ops[1:])):
        smallest.append(Cell(start.kind, (INPUT, op), ((0, 1),)))
    resources = CellCosts.of(problem)
    # A table that lacks what the start needs is refused before a run folder is made.
    resources(start)
    costs = [resources(cell) for cell in smallest]
    for name, limit in settings.limits.given().items():
        resource, least = RESOURCES[name], min(cost[name] for cost in costs)
        if limit < least:
            ways = problem.fitting(smallest, name, limit) if isinstance(problem, Fitting) and resource.count else []
            raise InputError(
                f"--max-{name} {formatting.plain(resource.unit.limit(limit))}: even the smallest cell costs "
                f"{formatting.plain(resource.unit.beside(least, limit))} here; raise it, or "
                + (f"take {', or '.join(ways)}" if ways else f"lower {TASKS[settings.task].sizes}")
            )


def _default_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _environment() -> dict[str, str | int | None]:
    """What beside the device a person needs to repeat the run."""
    command = command_line(["autoshrink", *sys.argv[1:]]) if Path(sys.argv[0]).name == "autoshrink" else None
    plugins = [f"{path.name} sha256:{digest}" for path, digest in loaded_plugins().items()]
    return {"autoshrink": __version__, "command": command, **({"plugins": ", ".join(plugins)} if plugins else {})}


def _remark_changes(record: RunRecord, now: dict[str, str | int | None], observer: Observer) -> None:
    changed = [
        f"{name} was {record.environment.get(name)}, is {now.get(name)}"
        for name in ("torch", "device", "device_name", "plugins")
        if record.environment.get(name) != now.get(name)
    ]
    if changed:
        observer.remark(f"scores may differ from an undisturbed run: {'; '.join(changed)}")
