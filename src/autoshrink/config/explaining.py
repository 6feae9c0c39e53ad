"""What is wrong with settings that a person gave, in a sentence with the nearest of those that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from autoshrink.architecture import first_problem
from autoshrink.registry import EVALUATORS, FILTERS, STRATEGIES, near

_CHOICES: Mapping[str, Iterable[str]] = {"strategy": STRATEGIES, "evaluator": EVALUATORS, "filter": FILTERS}
"""What a setting names where that is no fixed list."""


def explained(error: ValidationError, settings: type[BaseModel], *, where: str = "", hint: str = "") -> str:
    """The first thing wrong: ``setting recipe.epoch: there is no such setting; did you mean recipe.epochs?``.

    Args:
        error: what checking the settings raised.
        settings: their class.
        where: follows "there is no such setting".
        hint: the way out where that is known; else the nearest name.
    """
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"setting {place}: there is no such setting{where}{hint or _nearest(place, settings)}"
    names = _CHOICES.get(place) or re.findall("'([^']+)'", problem.get("ctx", {}).get("expected", ""))
    return f"setting {first_problem(error)}{near(str(problem['input']), names)}"


def _nearest(place: str, settings: type[BaseModel]) -> str:
    """The settings of a name that is meant: in the section that is named, else whatever the section."""
    known = {name: name.rpartition(".")[2] for name in _places(settings)}
    close = get_close_matches(place.rpartition(".")[2], known.values(), n=1)
    meant = [name for name, last in known.items() if [last] == close]
    # What only some searches read is a section of their own: what every search reads is meant rather.
    section = place.rpartition(".")[0] or "recipe"
    meant = [name for name in meant if name.rpartition(".")[0] == section] or meant
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _places(settings: type[BaseModel], inside: str = "") -> Iterator[str]:
    for name, field in settings.model_fields.items():
        kinds: tuple[Any, ...] = (field.annotation, *get_args(field.annotation))
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if section is None:
            yield f"{inside}{name}"
        else:
            yield from _places(section, f"{inside}{name}.")
