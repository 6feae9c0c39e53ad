"""From what a person asked for to settings: defaults of the task, the mode and the built-in data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from autoshrink.architecture import first_problem
from autoshrink.config import image, text
from autoshrink.config.base import Overrides, SearchSettings, merge
from autoshrink.config.contradictions import departures, refuse_contradictions, unread
from autoshrink.errors import InputError


@dataclass(frozen=True)
class _Task:
    settings: type[SearchSettings]
    built_in: str
    """The data that are searched when none are named, with settings that make that a matter of minutes."""
    quick: Overrides
    paper: Overrides


_TASKS: dict[str, _Task] = {
    "image": _Task(image.ImageSettings, "digits", image.DIGITS, image.PAPER),
    "text": _Task(text.TextSettings, "pydocs", text.PYDOCS, text.PAPER),
}


SOUND: Overrides = {"evaluator": "inherited", "finalists": 3}
"""What a search is that is neither the paper's nor on built-in data, which are small enough to train every candidate.

At equal training MACs it finds as good cells and the better front (benchmarks/compare.py). Fewer finalists, since a
playoff has come before."""


def resolve(overrides: Overrides) -> SearchSettings:
    """Settings from what a person asked for, over the defaults of the task, the mode and the data.

    Raises:
        InputError: a setting is unknown or out of range, or two contradict each other; the message names them.
    """
    task = _task(overrides)
    data = overrides.get("data", {})
    base: Overrides = {}
    if isinstance(data, Mapping) and data.get("spec", task.built_in) == task.built_in:
        base = task.quick
    elif overrides.get("mode") != "paper":
        base = SOUND
    if overrides.get("mode") == "paper":
        base = merge(base, task.paper)
    chosen = settings_from_json(merge(base, overrides))
    refuse_contradictions(overrides, chosen)
    return chosen


def remarks(overrides: Overrides, chosen: SearchSettings) -> tuple[str, ...]:
    """What a person should know of settings that can be used: what has no effect, and what paper mode has otherwise."""
    changed = departures(overrides, _task(overrides).paper) if chosen.mode == "paper" else ()
    return (*unread(overrides, chosen), *changed)


def settings_from_json(value: Mapping[str, Any]) -> SearchSettings:
    """Settings from nested JSON, as `SearchSettings.to_json` wrote it.

    Raises:
        InputError: the task or a field is unknown, or out of range; the message names it.
    """
    task = _task(value)
    try:
        return task.settings.model_validate(value)
    except ValidationError as error:
        raise InputError(_explained(error, value)) from error


_BEFORE: Overrides = {"choice": "finalists", "short_steps": 0}
"""What settings did before there was a setting for it: logs that lack one were written then."""


def stored_settings(value: Mapping[str, Any]) -> SearchSettings:
    """Settings from a log, whatever version wrote it: they mean what they meant then.

    Raises:
        InputError: as `settings_from_json`.
    """
    return settings_from_json(merge(_BEFORE, value))


def _task(value: Mapping[str, Any]) -> _Task:
    name = value.get("task", "image")
    if not isinstance(name, str) or name not in _TASKS:
        raise InputError(f"task {name!r} is unknown; choose from {', '.join(_TASKS)}")
    return _TASKS[name]


def _explained(error: ValidationError, value: Mapping[str, Any]) -> str:
    problem = error.errors()[0]
    if problem["type"] != "extra_forbidden":
        return f"setting {first_problem(error)}"
    place = ".".join(str(part) for part in problem["loc"])
    task = value.get("task", "image")
    others = [name for name, other in _TASKS.items() if name != task and _knows(other.settings, problem["loc"])]
    hint = f"; it belongs to --task {others[0]}" if others else ""
    return f"setting {place}: there is no such setting for the task {task!r}{hint}"


def _knows(settings: type[SearchSettings], place: tuple[int | str, ...]) -> bool:
    """Whether the settings have a field at this place."""
    model: Any = settings
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return False
        model = field.annotation
    return True
