"""A cell or an architecture from wherever a person keeps it."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from autoshrink import zoo
from autoshrink.architecture import Architecture
from autoshrink.cell import CELL_FORMAT, Cell
from autoshrink.errors import InputError
from autoshrink.escaping import shown, word
from autoshrink.files import named
from autoshrink.resources import every_resource
from autoshrink.untrusted import inside, read_json

_FOLDERS = {
    "run.sqlite": "the folder of a search; give its best cell, {0}/best.cell.json, or make a network of that with "
    "`autoshrink craft {0} -o FILE.arch.json`",
    "model.safetensors": "the folder of a trained model; `autoshrink evaluate {0}` says what it is worth, and "
    "`autoshrink train --from {0}` goes on with an image classifier's weights",
}
"""By a file that is in it, what a folder is and what to do with it."""
_NETWORKS = (".onnx", ".safetensors", ".pte", ".tflite", ".pt", ".pth")
"""Endings of what a person may take for an architecture."""


NETWORK_FILE = "best.arch.json"
"""The network in a run's folder: what a search at a budget found, or what was crafted there."""


def load(target: str | os.PathLike[str], *, budget: str | None = None) -> Cell | Architecture:
    """The cell or architecture in a file, the network in a run's folder, or the zoo's architecture of that name.

    Args:
        target: the path or the name.
        budget: of the folder of a search over a range of budgets, the one whose network is meant, by its name:
            ``500k``; None: the largest.

    Raises:
        InputError: it is none of these, or cannot be read; the message names it.
    """
    path = named(target)
    if budget is not None:
        path = _at_budget(path, budget)
    elif (path / NETWORK_FILE).is_file():
        path = path / NETWORK_FILE
    if not path.exists() and path.suffix != ".json":
        return zoo.get(str(target))
    if path.suffix.lower() in _NETWORKS and path.is_file():
        raise InputError(
            f"{shown(path)}: a network, and this reads the file of a cell or architecture (.json); `autoshrink "
            "latency` measures .onnx files, `autoshrink evaluate` says what a trained network is worth"
        )
    if path.is_dir():
        raise InputError(f"{shown(path)}: {_of_folder(path)}")
    value = read_json(path)
    form = value.get("format") if isinstance(value, dict) else None
    with inside(shown(path)):
        return Cell.from_json(value) if form == CELL_FORMAT else Architecture.from_json(value)


def budgets(folder: Path) -> dict[str, Path]:
    """The networks in the folder of a search over a range of budgets, by the budget's name; of another one nothing."""
    begin, end = NETWORK_FILE.split(".", 1)
    found = {one.name[len(begin) + 1 : -len(end) - 1]: one for one in folder.glob(f"{begin}-*.{end}")}
    return dict(sorted(found.items(), key=lambda one: _amount(one[0])))


def _amount(name: str) -> tuple[float, str]:
    """What the name of a budget says, to sort by; others' names come last."""
    sizes = {unit: size for one in every_resource() for size, unit in one.unit.sizes}
    number = re.match(r"\d+(?:\.\d+)?", name)
    size = None if number is None else sizes.get(name[number.end() :])
    return (math.inf if number is None or size is None else float(number[0]) * size, name)


def _at_budget(folder: Path, budget: str) -> Path:
    known = {name.lower(): file for name, file in budgets(folder).items()}
    found = known.get(budget.strip().lower())
    if found is None:
        there = f"there is {', '.join(budgets(folder))}" if known else "only a search over a range of budgets has some"
        raise InputError(f"--budget {shown(budget)}: {shown(folder)} has no network of that budget; {there}")
    return found


def _of_folder(path: Path) -> str:
    known = next((said for file, said in _FOLDERS.items() if (path / file).exists()), None)
    return "a folder, not the file of a cell or architecture (.json)" if known is None else known.format(word(path))
