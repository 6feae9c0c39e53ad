"""A search from settings to files: reads the data, opens the run folder, makes the evaluator, runs the loop."""

from __future__ import annotations

import os
import random
import shlex
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from autoshrink.architecture import Architecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import Overrides, SearchSettings, merge, resolve
from autoshrink.data import Proxy, load_proxy
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.evaluation import Evaluator
from autoshrink.priors import start_cell
from autoshrink.record import RunRecord
from autoshrink.results import write_results
from autoshrink.run import Loop
from autoshrink.seeding import derive_seed
from autoshrink.store import Store, opening, read_record
from autoshrink.training.device import choose_device, choose_precision, describe
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.trained import Fidelity, TrainedEvaluator
from autoshrink.version import __version__
from autoshrink.watching import Observer


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
        DataError: the images cannot be used.
        RunError: the run folder holds a run, is in use, or cannot be written.
        SearchError: not one candidate could be measured.
    """
    observer = observer or Observer()
    settings = settings if isinstance(settings, SearchSettings) else resolve(settings or {})
    settings = _anchored(settings)
    device = choose_device(settings.device)
    start = _start(settings)
    proxy = _load(settings, observer)
    evaluator = _evaluator(settings, proxy, device, observer)
    _check_limits(settings, start, evaluator)
    folder = Path(run) if run is not None else _default_folder(proxy.name)
    environment = describe(device) | _environment()
    created = {"settings": settings.to_json(), "environment": environment, "start": start.to_json()}
    with Store.create(folder, created) as store:
        observer.on_run(folder)
        store.append("opened", opening())
        store.append("data", _data_event(proxy))
        return _run(store, evaluator, observer)


def resume(run: str | os.PathLike[str], *, observer: Observer | None = None) -> RunRecord:
    """Go on with a run where it stopped, with the settings it has; a finished run is returned as it is.

    On the same device and versions the result is that of an undisturbed run.

    Raises:
        RunError: there is no run in the folder, another process has it, or it cannot be written.
        DataError: the images are gone or have changed since the run began.
    """
    observer = observer or Observer()
    folder = Path(run)
    record = read_record(folder)
    observer.on_run(folder)
    if record.finished:
        observer.remark(f"{folder} is finished: nothing to do")
        write_results(folder, record)
        return record
    with Store.open(folder) as store:
        settings = record.settings
        device = choose_device(settings.device)
        _remark_changes(record, describe(device), observer)
        proxy = _load(settings, observer)
        known = record.data.get("fingerprint", proxy.fingerprint)
        if proxy.fingerprint != known:
            raise DataError(
                f"{settings.data.spec}: the images are not those that {folder} began with; "
                "restore them, or start a new run"
            )
        evaluator = _evaluator(settings, proxy, device, observer)
        store.append("opened", opening())
        if not record.data:
            store.append("data", _data_event(proxy))
        return _run(store, evaluator, observer)


def _run(store: Store, evaluator: Evaluator, observer: Observer) -> RunRecord:
    record = Loop(store, evaluator, watcher=observer.watcher).run()
    try:
        write_results(store.folder, record)
    except RunError as error:
        raise RunError(
            f"{error}; the search is finished and kept: `autoshrink resume {store.folder}` writes what is missing"
        ) from error
    return record


def _anchored(settings: SearchSettings) -> SearchSettings:
    """Settings that mean the same from any folder and after a change of torch's defaults."""
    data = Path(settings.data.spec).expanduser()
    changes: dict[str, Any] = {"threads": settings.threads or torch.get_num_threads()}
    if data.exists():
        changes["data"] = {"spec": str(data.resolve())}
    return SearchSettings.from_json(merge(settings.to_json(), changes))


def _start(settings: SearchSettings) -> Cell:
    if settings.start.endswith(".json") or Path(settings.start).is_file():
        cell = Cell.read(Path(settings.start))
        if cell.kind != "conv":
            raise InputError(f"{settings.start}: a {cell.kind} cell cannot start an image search")
        return cell
    rng = random.Random(derive_seed(settings.seed, "start"))
    return start_cell(settings.start, kind="conv", nodes=settings.nodes, rng=rng)


def _load(settings: SearchSettings, observer: Observer) -> Proxy:
    data = settings.data
    proxy = load_proxy(
        data.spec,
        train_per_class=data.train_per_class,
        validation_per_class=data.validation_per_class,
        size=data.size,
        channels=data.channels,
        replacement=data.replacement,
        max_corrupt=data.max_corrupt,
        seed=derive_seed(settings.seed, "data"),
        progress=observer.on_decoding,
    )
    for note in proxy.notes:
        observer.remark(note)
    for skipped in proxy.skipped:
        observer.remark(f"skipped {skipped.path}: {skipped.reason}")
    if len(proxy.train) < 2 or len(proxy.validation) < 1:
        raise DataError(
            f"{data.spec}: {len(proxy.train)} training and {len(proxy.validation)} validation images are too few"
        )
    return proxy


def _data_event(proxy: Proxy) -> dict[str, Any]:
    norm = Normalisation.of(proxy.train.images)
    return {
        "name": proxy.name,
        "classes": list(proxy.classes),
        "input": list(proxy.train.images.shape[1:]),
        "train": len(proxy.train),
        "validation": len(proxy.validation),
        "mean": list(norm.mean),
        "std": list(norm.std),
        "fingerprint": proxy.fingerprint,
        "notes": list(proxy.notes),
        "skipped": [asdict(skipped) for skipped in proxy.skipped],
    }


def _evaluator(settings: SearchSettings, proxy: Proxy, device: torch.device, observer: Observer) -> TrainedEvaluator:
    channels, height, width = proxy.train.images.shape[1:]

    def architecture(cell: Cell) -> Architecture:
        return proxy_architecture(
            cell,
            shape=(channels, height, width),
            classes=len(proxy.classes),
            stem=settings.network.stem,
            widths=settings.network.widths,
            activation=settings.network.activation,
        )

    norm = Normalisation.of(proxy.train.images)
    return TrainedEvaluator(
        architecture,
        DeviceImages(proxy.train.images, proxy.train.labels, norm, device),
        DeviceImages(proxy.validation.images, proxy.validation.labels, norm, device),
        fidelity=Fidelity(
            settings.recipe,
            precision=choose_precision(settings.recipe.precision, device),
            threads=settings.threads,
            candidate_seconds=settings.stop.candidate_seconds,
        ),
        on_epoch=observer.on_epoch,
    )


def _check_limits(settings: SearchSettings, start: Cell, evaluator: Evaluator) -> None:
    """Refuse limits that no cell can keep.

    Every cell but the empty one costs at least what one of its operations, alone on the input, costs: each further
    node or edge adds tensors, weights and MACs, and widens no tensor's reader for free.
    """
    smallest = [Cell("conv", start.ops, ())]
    for op in sorted(set(start.ops[1:])):
        smallest.append(Cell("conv", ("input", op), ((0, 1),)))
    costs = [evaluator.resources(cell) for cell in smallest]
    for option, limit, name in (
        ("--max-macs", settings.limits.max_macs, "macs"),
        ("--max-params", settings.limits.max_params, "params"),
        ("--max-memory", settings.limits.max_memory, "memory"),
    ):
        least = min(int(getattr(cost, name)) for cost in costs)
        if limit is not None and limit < least:
            raise InputError(
                f"{option} {limit:,}: even the smallest cell costs {least:,} here; "
                "raise it, or lower --size or --widths"
            )


def _default_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _environment() -> dict[str, str | None]:
    """What beside the device a person needs to repeat the run."""
    command = shlex.join(["autoshrink", *sys.argv[1:]]) if Path(sys.argv[0]).name == "autoshrink" else None
    return {"autoshrink": __version__, "command": command}


def _remark_changes(record: RunRecord, now: dict[str, str | int | None], observer: Observer) -> None:
    changed = [
        f"{name} was {record.environment.get(name)}, is {now[name]}"
        for name in ("torch", "device", "device_name")
        if record.environment.get(name) != now[name]
    ]
    if changed:
        observer.remark(f"scores may differ from an undisturbed run: {'; '.join(changed)}")
