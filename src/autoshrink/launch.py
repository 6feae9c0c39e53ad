"""A search from settings to files: reads the data, opens the run folder, makes the evaluator, runs the loop."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from autoshrink import formatting
from autoshrink.cell import INPUT, Cell
from autoshrink.config import Overrides, SearchSettings, resolve
from autoshrink.config.resolving import is_file
from autoshrink.data import anchored
from autoshrink.design import Design
from autoshrink.errors import DataError, InputError, RunError, SearchError
from autoshrink.escaping import command_line, shown, word
from autoshrink.evaluation import EvaluatorContext
from autoshrink.evaluators.weights import drop_weights
from autoshrink.executors import check
from autoshrink.files import named
from autoshrink.findings import headline
from autoshrink.latency.table import begin_latencies, resume_latencies
from autoshrink.learned import learned
from autoshrink.liveness import live_file
from autoshrink.machine import refuse_too_many
from autoshrink.mailbox import Inbox
from autoshrink.obeying import Analyst, Obeying
from autoshrink.octaves import first_space, search_octaves
from autoshrink.ops import require
from autoshrink.priors import start_cell
from autoshrink.record import RunRecord
from autoshrink.registry import EVALUATORS, FILTERS, TASKS, loaded_plugins
from autoshrink.replaying import replay
from autoshrink.resources import RESOURCES, Resources
from autoshrink.results import write_results
from autoshrink.run import Loop
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Space, space_of
from autoshrink.spaces.cells import dearest
from autoshrink.store import Log, Store, opening, read_record
from autoshrink.strategies.meta_graph import weights_from_json
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import choose_device, describe
from autoshrink.training.problem import Fitting, Problem
from autoshrink.untrusted import inside, parse_json, read_text
from autoshrink.version import __version__
from autoshrink.watching import Observer


def search(
    settings: SearchSettings | Overrides | None = None,
    *,
    run: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
    executor: str = "local",
    analyst: Analyst | None = None,
) -> RunRecord:
    """Search a cell and leave the evidence in a run folder.

    Args:
        settings: resolved settings, or nested overrides of the defaults, for example
            ``{"data": {"spec": "photos/", "size": 48}, "nodes": 6, "penalty": 0.05}``.
        run: the run folder; made if need be. Default: ``runs/<data>-<date>-<time>``.
        observer: told about progress.
        executor: where cells are trained: ``local``, in this process, or ``processes:4``, in so many others. It decides
            nothing: the log is the same but for its times.
        analyst: a script that is shown the run after every step, and says commands (`autoshrink.analysts`).

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
    check(executor)
    settings = settings if isinstance(settings, SearchSettings) else resolve(settings or {})
    settings = _anchored(settings)
    device = choose_device(settings.device)
    start = None if settings.budget.given() else _start(settings)
    if start is not None:
        settings = _sized(settings, start)
        needed = EVALUATORS[settings.evaluator].needs
        if needed is not None:
            require(start.kind, start.ops[1:], needed)
    prepared = TASKS[settings.task].prepare(settings, observer)
    settings = prepared.settings or settings
    folder = _default_folder(prepared.name) if place is None else place
    problem = prepared.problem(device)
    ranged = settings.budget.ranged is not None
    space = first_space(settings, prepared.event) if ranged else space_of(settings, start, prepared.event)
    latencies = begin_latencies(settings.latency_table) if settings.times else None
    resources = DesignCosts(problem.architecture, latencies)
    if start is not None:
        _check_limits(settings, start, problem, resources)
    environment = describe(device) | {"threads": settings.threads} | _environment()
    created = {"settings": settings.to_json(), "environment": environment, "start": space.start.to_json()}
    if space.names:
        created["names"] = space.names
    with Store.create(folder, created) as store:
        observer.on_run(folder)
        store.append("opened", opening())
        store.append("data", prepared.event)
        if latencies is not None:
            latencies.keep(folder)
            observer.remark(f"latencies: {latencies}")
        with live_file(folder, observer) as observer:
            return _run(store, problem, resources, observer, executor=executor, analyst=analyst)


def resume(
    run: str | os.PathLike[str],
    *,
    observer: Observer | None = None,
    executor: str = "local",
    analyst: Analyst | None = None,
) -> RunRecord:
    """Go on with a run where it stopped, with the settings it has; a finished run is returned as it is, unless somebody
    picked a candidate to go on from (`autoshrink.tell`).

    A run that was searched with an analyst needs that again.

    On the same device and versions the result is that of an undisturbed run.

    Raises:
        RunError: there is no run in the folder, another process has it, or it cannot be written.
        SearchError: as for `search`.
        DataError: the data are gone or have changed since the run began.
    """
    observer = observer or Observer()
    check(executor)
    folder = named(run)
    record = read_record(folder)
    observer.on_run(folder)
    if record.finished and _reopened(folder, record, observer):
        record = read_record(folder)
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
        fresh = not record.candidates and not record.ranks
        latencies = resume_latencies(folder, settings.latency_table, fresh=fresh) if settings.times else None
        store.append("opened", opening())
        if not record.data:
            store.append("data", prepared.event)
        with live_file(folder, observer) as observer:
            return _run(
                store,
                problem,
                DesignCosts(problem.architecture, latencies),
                observer,
                executor=executor,
                analyst=analyst,
            )


def _reopened(folder: Path, record: RunRecord, observer: Observer) -> bool:
    """Let a finished run take in the commands that wait for it; whether it goes on."""
    inbox = Inbox(folder, (one.id for one in record.commands), remark=observer.remark)
    if record.octaves or not inbox.waiting():
        return False
    with Store.open(folder) as store:
        return Obeying(store, inbox).reopen()


def _run(
    store: Store,
    problem: Problem,
    resources: Callable[[Design], Resources],
    observer: Observer,
    *,
    executor: str,
    analyst: Analyst | None,
) -> RunRecord:
    record = replay(store.events())
    inbox = Inbox(store.folder, (one.id for one in record.commands), remark=observer.remark)
    context = EvaluatorContext(record, problem, resources, store.folder, executor, observer.on_epoch)
    trained = EVALUATORS["trained"].make(context)
    settings = record.settings

    def loop(log: Log, space: Space[Any] | None = None, later: Callable[[float], float] = lambda _: 0.0) -> Loop:
        return Loop(
            log,
            trained if settings.evaluator == "trained" else EVALUATORS[settings.evaluator].make(context),
            fresh=trained,
            ranking=None if settings.filter == "none" else FILTERS[settings.filter].make(context),
            watcher=observer.watcher,
            space=space,
            later=later,
            inbox=inbox,
            analyst=analyst,
        )

    if settings.budget.ranged is None:
        record = loop(store).run()
    else:
        # An interruption leaves what the budgets before it found.
        done = partial(write_results, store.folder)
        record = search_octaves(store, loop, began=observer.watcher.began, done=done)
    drop_weights(store.folder)
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
    if settings.latency_table is not None and not settings.times and settings.budget.latency is None:
        readers = "--resource latency or --max-latency, or --latency"
        raise InputError(f"--latency-table {settings.latency_table}: add {readers}")
    changes: dict[str, Any] = {
        "threads": settings.threads or torch.get_num_threads(),
        "data": {"spec": anchored(settings.data.spec)},
    }
    begun = _meta_graph(settings)
    if begun is not None:
        changes["msnas"] = begun
    if settings.latency_table is not None:
        changes["latency_table"] = str(Path(settings.latency_table).expanduser().resolve())
    return settings.changed(changes)


def _meta_graph(settings: SearchSettings) -> dict[str, Any] | None:
    """What another search has learned, read: the run keeps it, and needs neither file nor run again.

    Raises:
        InputError: there is no meta-graph where the settings say, or it is damaged.
        RunError: there is no such run.
    """
    source, run = settings.msnas.meta_graph, settings.msnas.from_run
    if isinstance(source, str):
        path = Path(source).expanduser()
        with inside(shown(source)):
            return {"meta_graph": weights_from_json(parse_json(read_text(path)))}
    if source is None and run is not None:
        folder = named(run)
        found = learned(read_record(folder)).get("meta_graph")
        if found is None:
            raise InputError(
                f"msnas.from_run: {shown(run)} has no meta-graph; it is no run with --strategy msnas, or had no step"
            )
        return {"meta_graph": weights_from_json(found), "from_run": str(folder.resolve())}
    return None


def _start(settings: SearchSettings) -> Cell:
    kind = TASKS[settings.task].cell_kind
    if is_file(settings.start):
        cell = Cell.read(Path(settings.start))
        if cell.kind != kind:
            raise InputError(f"{settings.start}: a {cell.kind} cell cannot start a search for {kind} cells")
        return cell
    rng = random.Random(derive_seed(settings.seed, "start"))
    ops = dearest(kind, settings.ops) if "ops" in (settings.moves or ()) else settings.ops
    return start_cell(settings.start, kind=kind, nodes=settings.nodes, rng=rng, draw=settings.draw, ops=ops)


def _sized(settings: SearchSettings, start: Cell) -> SearchSettings:
    """With as many nodes as a cell file has that the search starts from."""
    return settings.changed({"nodes": len(start.ops)}) if is_file(settings.start) else settings


def _check_limits(
    settings: SearchSettings, start: Cell, problem: Problem, resources: Callable[[Design], Resources]
) -> None:
    """Refuse limits that no cell can keep.

    Every cell but the empty one costs at least what one of its operations, alone on the input, costs: each further
    node or edge adds tensors, weights and MACs, and widens no tensor's reader for free.
    """
    smallest = [Cell(start.kind, start.ops, ())]
    for op in sorted(set(start.ops[1:])):
        smallest.append(Cell(start.kind, (INPUT, op), ((0, 1),)))
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
