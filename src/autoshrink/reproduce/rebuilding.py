"""From a table's name and a budget to its rows beside the paper's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.errors import InputError, RunError
from autoshrink.files import named
from autoshrink.reproduce import figure6, language, table4
from autoshrink.reproduce.conduct import Progress, conduct
from autoshrink.reproduce.images import ImageSize, ImageTrial
from autoshrink.reproduce.journal import OUTCOMES_FILE, Journal, opened
from autoshrink.reproduce.report import Reproduction
from autoshrink.reproduce.study import Outcome, Study, largest_rung, results
from autoshrink.reproduce.table2 import Table2

NAMES = ("table2", "table3", "table4", "table5", "figure6")
DATA = {"table3": "ptb", "table4": "cifar10", "table5": "ptb", "figure6": "cifar10"}


@dataclass(frozen=True)
class Asked:
    """What a person wants rebuilt.

    Attributes:
        name: one of `NAMES`.
        data: a data set; None for the published one.
        budget: seconds, for choosing the size.
        cells: searched cells by name, as further rows of Tables 3, 4 and 5.
        seed: decides every draw.
        device: ``auto``, ``cpu``, ``cuda`` …
        threads: CPU threads; None for torch's choice.
    """

    name: str
    data: str | None = None
    budget: float = 600.0
    cells: Mapping[str, Cell] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    threads: int | None = None


def reproduce(
    asked: Asked,
    folder: str | os.PathLike[str],
    *,
    on_begin: Callable[[Study], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Reproduction:
    """Rebuild what can be rebuilt of a published table.

    The size is the largest of some whose trainings fit into the budget at the speed that this machine has now; what was
    measured lies in the folder, and calling this again goes on with it, at the size that was chosen first.

    Raises:
        InputError: the name is unknown, a cell is of the wrong kind, or the folder holds another table.
        DataError: the data cannot be used.
        RunError: the folder is in use, or cannot be written.
    """
    if asked.name not in NAMES:
        raise InputError(f"{asked.name!r}: no table of that name can be rebuilt; there are {', '.join(NAMES)}")
    kind = "recurrent" if DATA.get(asked.name) == "ptb" else "conv"
    for name, cell in asked.cells.items():
        if asked.name in ("table2", "figure6"):
            raise InputError(f"{name}: {asked.name} has no place for a cell; leave --cell out")
        if cell.kind != kind:
            raise InputError(f"{name}: a {cell.kind} cell; {asked.name} compares {kind} ones")
    if asked.name == "table2":
        counted = Table2()
        return _told(counted, tuple(counted.measure(work) for work in counted.works()), folder=None)
    place = named(folder)
    with opened(place) as journal:
        study = _study(asked, journal)
        on_begin(study)
        outcomes = conduct(study, journal, on_progress=on_progress)
    return _told(study, outcomes, folder=str(place))


def read(asked: Asked, folder: str | os.PathLike[str]) -> Reproduction:
    """What a folder has so far, without measuring anything.

    Raises:
        InputError: there is nothing, or something else.
    """
    journal = Journal(named(folder))
    if journal.plan() is None:
        raise InputError(f"{folder}: holds no reproduction")
    return _told(_study(asked, journal), journal.outcomes(), folder=str(folder))


def _study(asked: Asked, journal: Journal) -> Study:
    """The study of a folder: as it was begun there, or at a size that fits the budget."""
    plan = journal.plan()
    data = asked.data or DATA[asked.name]
    cells = {name: cell.to_json() for name, cell in asked.cells.items()}
    if plan is None:
        if (journal.folder / OUTCOMES_FILE).exists():
            raise RunError(f"{journal.folder}: has outcomes but no plan.json; choose another --run")
        size = asdict(_ladder(asked.name)[_rung(asked, data)])
        plan = {"name": asked.name, "data": data, "seed": asked.seed, "size": size, "cells": cells}
        journal.begin(plan)
    for key, value in (("name", asked.name), ("data", data), ("seed", asked.seed), ("cells", cells)):
        if plan.get(key) != value:
            raise InputError(f"{journal.folder}: was begun with another {key}; say the same, or choose another --run")
    for size in _ladder(asked.name):
        if asdict(size) == plan.get("size"):
            return _MAKERS[asked.name](asked, data, size, journal.folder)
    # Outcomes of two sizes never stand in one table.
    raise InputError(f"{journal.folder}: was begun at a size that this version does not have; choose another --run")


def _ladder(name: str) -> Sequence[Any]:
    """The sizes of a table, by what they cost."""
    ladders: dict[str, Sequence[Any]] = {"table4": table4.LADDER, "figure6": figure6.LADDER}
    return ladders.get(name, language.LADDER)


def _rung(asked: Asked, data: str) -> int:
    """The largest size that the budget allows at this machine's speed."""
    if asked.name == "table4":
        trial = ImageTrial(data, table4.LADDER[0], seed=0, device=asked.device, threads=asked.threads)
        study = table4.Table4(trial, {}, seed=0)
        speed = trial.speed(study.architecture("complete", 0))
        return largest_rung(table4.costs(table4.LADDER, asked.cells)(trial.shape), speed, asked.budget)
    if asked.name == "figure6":
        first = figure6.LADDER[0]
        size = ImageSize(first.pixels, 10 * first.images, 1, 1, 1)
        images = ImageTrial(data, size, seed=0, device=asked.device, threads=asked.threads)
        speed = images.speed(table4.Table4(images, {}, seed=0).architecture("complete", 0))
        costs = [sum(figure6.expected(size, k) for k in figure6.CANDIDATES) * size.draws for size in figure6.LADDER]
        return largest_rung(costs, speed, asked.budget)
    text = language.TextTrial(data, language.LADDER[0], seed=0, device=asked.device, threads=asked.threads)
    models = language.LANGUAGE[asked.name](text, {}, seed=0).models
    speed = text.speed(max(models.values(), key=lambda model: count(model).macs))
    return largest_rung(language.costs(asked.name, language.LADDER), speed, asked.budget)


def _table4(asked: Asked, data: str, size: ImageSize, _: Path) -> Study:
    trial = ImageTrial(data, size, seed=asked.seed, device=asked.device, threads=asked.threads)
    return table4.Table4(trial, asked.cells, seed=asked.seed)


def _language(asked: Asked, data: str, size: language.TextSize, _: Path) -> Study:
    trial = language.TextTrial(data, size, seed=asked.seed, device=asked.device, threads=asked.threads)
    return language.LANGUAGE[asked.name](trial, asked.cells, seed=asked.seed)


def _figure6(asked: Asked, data: str, size: figure6.SearchSize, folder: Path) -> Study:
    return figure6.Figure6(data, size, folder, seed=asked.seed, device=asked.device, threads=asked.threads)


_MAKERS: dict[str, Callable[[Asked, str, Any, Path], Study]] = {
    "table3": _language,
    "table4": _table4,
    "table5": _language,
    "figure6": _figure6,
}


def _told(study: Study, outcomes: tuple[Outcome, ...], *, folder: str | None) -> Reproduction:
    rows = results(study, outcomes)
    total = len(study.works())
    return Reproduction(
        name=study.name,
        title=study.title,
        unit=study.unit,
        results=rows,
        differences=study.differences,
        verdict=study.verdict(rows),
        done=len(outcomes),
        total=total,
        spent=sum(one.spent for one in outcomes),
        seconds=sum(one.seconds for one in outcomes),
        folder=folder,
    )
