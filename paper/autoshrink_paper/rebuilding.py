"""From a table's name and a budget to its rows beside the paper's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from autoshrink.errors import InputError
from autoshrink.files import named, write_text
from autoshrink.results import pretty
from autoshrink_paper.figure6 import Figure6
from autoshrink_paper.journal import PLAN, Journal, opened
from autoshrink_paper.report import Reproduction
from autoshrink_paper.study import Asked, Outcome, Study, largest
from autoshrink_paper.tables import Table2, Table3, Table4, Table5

STUDIES: dict[str, type[Study]] = {study.name: study for study in (Table2, Table3, Table4, Table5, Figure6)}


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        done: measurements.
        total: of how many.
        latest: the one just measured.
        seconds_left: estimated from the multiply-adds a second so far.
    """

    done: int
    total: int
    latest: Outcome
    seconds_left: float


def rebuild(
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
    if asked.name not in STUDIES:
        raise InputError(f"{asked.name!r}: no table of that name can be rebuilt; there are {', '.join(STUDIES)}")
    kind = STUDIES[asked.name]
    for name, cell in asked.cells.items():
        if kind.cell_kind is None:
            raise InputError(f"{name}: {asked.name} has no place for a cell; leave --cell out")
        if cell.kind != kind.cell_kind:
            raise InputError(f"{name}: a {cell.kind} cell; {asked.name} compares {kind.cell_kind} ones")
    place = named(folder)
    if not kind.data:
        counted = kind(asked, None, place)
        return Reproduction(counted, tuple(counted.measure(one) for one in counted.measurements()), folder=None)
    asked = replace(asked, data=asked.data or kind.data)
    with opened(place) as journal:
        study = _study(asked, journal)
        on_begin(study)
        return Reproduction(study, run_study(study, journal, on_progress=on_progress), str(place), asked.data)


def run_study(study: Study, journal: Journal, *, on_progress: Callable[[Progress], None]) -> tuple[Outcome, ...]:
    """Measure what is missing; every outcome is on disk before the next measurement begins.

    Raises:
        RunError: the folder cannot be written.
    """
    planned = study.measurements()
    found = {(one.row, one.draw): one for one in journal.outcomes()}
    missing = [one for one in planned if (one.row, one.draw) not in found]
    began, left = time.monotonic(), sum(one.macs for one in missing)
    total = left
    for one in missing:
        outcome = found[one.row, one.draw] = study.measure(one)
        journal.add(outcome)
        left -= one.macs
        seconds = (time.monotonic() - began) * left / (total - left)
        on_progress(Progress(len(found), len(planned), outcome, seconds))
    return tuple(found[one.row, one.draw] for one in planned)


def _study(asked: Asked, journal: Journal) -> Study:
    """The study of a folder: as it was begun there, or at the largest size that fits the budget."""
    kind = STUDIES[asked.name]
    cells = {name: cell.to_json() for name, cell in asked.cells.items()}
    begun = {"name": asked.name, "data": asked.data, "seed": asked.seed, "cells": cells}
    plan = journal.plan()
    if plan is None:
        smallest = kind(asked, kind.sizes[0], journal.folder)
        affordable = smallest.speed() * asked.budget
        size = kind.sizes[largest([smallest.cost(one) for one in kind.sizes], affordable)]
        plan = begun | {"size": asdict(size)}
        write_text(journal.folder / PLAN, pretty(plan), own=True)
    for key, value in begun.items():
        if plan.get(key) != value:
            raise InputError(f"{journal.folder}: was begun with another {key}; say the same, or choose another --run")
    for size in kind.sizes:
        if asdict(size) == plan.get("size"):
            return kind(asked, size, journal.folder)
    # Outcomes of two sizes never stand in one table.
    raise InputError(f"{journal.folder}: was begun at a size that this version does not have; choose another --run")
