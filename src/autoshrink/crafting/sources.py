"""What a person hands to `craft`: a cell, an architecture, a name in the zoo, a file, or the folder of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from autoshrink.architecture import Architecture, proxy_architecture, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.config import ImageSettings, TextSettings
from autoshrink.errors import InputError, RunError
from autoshrink.files import named
from autoshrink.loading import load
from autoshrink.record import RunRecord
from autoshrink.report import story
from autoshrink.store import read_record

Target = Cell | Architecture | str | os.PathLike[str]


@dataclass(frozen=True)
class Source:
    """Where the crafting begins.

    Attributes:
        found: a cell alone, or a cell in a network.
        proxy: whether the network is only the one that a search compared cells in, made for its size of image.
        data: what the cell was found on, as `--data` takes it; None where nothing says so.
        reading: options and their values by which `train` reads these data as the search did.
    """

    found: Cell | Architecture
    proxy: bool = False
    data: str | None = None
    reading: tuple[tuple[str, str], ...] = ()


def source_of(target: Target, *, pick: int | None = None) -> Source:
    """What is in a file, a run's folder or the zoo; a value is taken as it is.

    Args:
        target: the value, path or name.
        pick: of a run, the cell at this place of the Pareto front, from 1, in place of the best.

    Raises:
        InputError: it cannot be read, is none of these, or has no such place; the message names it.
        RunError: the folder holds no run that can be read.
    """
    if not isinstance(target, Cell | Architecture) and named(target).is_dir():
        return _of_run(Path(target), pick)
    if pick is not None:
        raise InputError(f"pick {pick}: only a run's folder has a Pareto front to pick from")
    return Source(target if isinstance(target, Cell | Architecture) else load(target))


def _of_run(folder: Path, pick: int | None) -> Source:
    record = read_record(folder)
    cell, settings = _cell(record, folder, pick), record.settings
    needed = ("input", "classes") if isinstance(settings, ImageSettings) else ("vocabulary",)
    missing = [name for name in needed if name not in record.data]
    if missing:
        raise RunError(
            f"{folder}: its log says nothing of its data's {missing[0]}; go on with `autoshrink resume {folder}`, or "
            f"craft from {folder / 'best.cell.json'}"
        )
    found: Architecture
    if isinstance(settings, ImageSettings):
        channels, height, width = record.data["input"]
        found = proxy_architecture(
            cell,
            shape=(channels, height, width),
            classes=len(record.data["classes"]),
            stem=settings.network.stem,
            widths=settings.network.widths,
            activation=settings.network.activation,
        )
    else:
        assert isinstance(settings, TextSettings), "a run has images or text"
        found = recurrent_proxy(
            cell,
            vocabulary=record.data["vocabulary"],
            width=settings.network.width,
            aggregate=settings.network.aggregate,
        )
    return Source(found, proxy=True, data=settings.data.spec, reading=reading_options(record))


def reading_options(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """The options by which `train` keeps back the images that the search kept back, and reads text at its level."""
    data = record.settings.to_json()["data"]
    level = "char" if record.data.get("level") == "char" else None
    options = (("--test-share", data.get("test_share")), ("--group", data.get("group")), ("--level", level))
    return tuple((option, str(value)) for option, value in options if value is not None)


def _cell(record: RunRecord, folder: Path, pick: int | None) -> Cell:
    if pick is None:
        best = record.best()
        if best is None:
            why = story.headline(record) if record.finished else "nothing usable was measured yet"
            raise RunError(f"{folder}: {why}, so it has no best cell")
        return best.cell
    front = record.front()
    if not 1 <= pick <= len(front):
        has = f"its Pareto front has places 1 to {len(front)}" if front else "it has no Pareto front yet"
        raise InputError(f"{folder}: there is no cell {pick} to pick; {has} (autoshrink show lists it)")
    return front[pick - 1].cell
