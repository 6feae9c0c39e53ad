"""From what a person asked for to settings: defaults of the task, the mode and the built-in data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from autoshrink.cell import Cell
from autoshrink.config.base import Overrides, SearchSettings, leaves, merge
from autoshrink.config.explaining import explained
from autoshrink.errors import InputError
from autoshrink.registry import BY_PLUGIN, TASKS
from autoshrink.resources import RESOURCES
from autoshrink.untrusted import brief

if TYPE_CHECKING:
    from autoshrink.tasks.base import Task


DEFAULT_TASK = "image"
"""Of settings that name none."""


AT_BUDGET: Overrides = {"strategy": "exchange", "evaluator": "trained", "penalty": 0.0}
"""What a search at a budget does otherwise: designs cost the same, so S is the performance; and widths change with
every move, which leaves little to inherit."""


OF_STRATEGY: Mapping[str, Overrides] = {
    "firefly": {"evaluator": "grown", "candidates": "all", "choice": "finalists"},
    "ddpnas": {"evaluator": "shared", "shared": {"tune": 1.0}},
    "oneshot": {"evaluator": "shared"},
    "msnas": {"evaluator": "shared"},
}
"""What searches by a strategy do otherwise. One that grows scores all its moves together, and may name what costs more
than its start. Those that judge many designs do so with shared weights; DDPNAS trains each for an epoch before, as
published."""


OVER_RANGE: Overrides = {"finalists": 2, "patience": 2}
"""What a search over a range of budgets does otherwise: at each of them two found networks and two hand-made ones have
fresh seeds, and the search at the first ends sooner: where nothing but noise tells networks apart, each further
confirmation that is waited for costs several rounds."""


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
        base = task.sound
    if overrides.get("mode") == "paper":
        base = merge(base, task.paper)
    strategy = overrides.get("strategy")
    if overrides.get("mode") != "paper" and isinstance(strategy, str):
        base = merge(base, OF_STRATEGY.get(strategy, {}))
    if any(one is not None for one in (overrides.get("budget") or {}).values()):
        base = merge(merge(base, AT_BUDGET), task.at_budget)
    if any(isinstance(one, list | tuple) for one in (overrides.get("budget") or {}).values()):
        base = merge(base, OVER_RANGE)
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
        raise InputError(_explained(error, task)) from error


_BEFORE: Overrides = {
    "choice": "finalists",
    "short_steps": 0,
    "judge": "performance",
    "beside": (),
}
"""What settings did before there was a setting for it: logs that lack one were written then."""
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "inherit": {"settle": "statistics_batches", "glance": "validation_share", "most": "largest_share"}
}
"""What settings were called in earlier logs, by section."""


def stored_settings(value: Mapping[str, Any]) -> SearchSettings:
    """Settings from a log, whatever version wrote it: they mean what they meant then.

    Raises:
        InputError: as `settings_from_json`.
    """
    value = merge(_BEFORE, value)
    for section, names in _RENAMED.items():
        inner = value.get(section)
        if isinstance(inner, Mapping):
            value[section] = {names.get(name, name): one for name, one in inner.items()}
    return settings_from_json(value)


def _task(value: Mapping[str, Any]) -> Task:
    name = value.get("task", DEFAULT_TASK)
    if not isinstance(name, str):
        raise InputError(f"task {brief(name)} is unknown; choose from {', '.join(TASKS)}")
    return TASKS[name]


def _explained(error: ValidationError, task: Task) -> str:
    place, hint = error.errors()[0]["loc"], ""
    others = [name for name in TASKS if name != task.name and _knows(TASKS[name].settings, place)]
    if others:
        hint = f"; it belongs to --task {others[0]}"
    elif place[0] == "limits":
        hint = f"; choose a resource from {', '.join(RESOURCES)}, {BY_PLUGIN}"
    return explained(error, task.settings, where=f" for the task {task.name!r}", hint=hint)


def _knows(settings: type[SearchSettings], place: tuple[int | str, ...]) -> bool:
    """Whether the settings have a field at this place."""
    model: Any = settings
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return False
        model = field.annotation
    return True


# --- what contradicts itself, or has no effect ---------------------------------------------------------------------

PROCEDURE: Mapping[str, tuple[str, str]] = {
    "evaluator": ("trained", "trains every candidate from scratch"),
    "filter": ("none", "draws its candidates"),
}
"""What ``--mode paper`` is: the setting, its value, and what that means. Everything else is a default of that mode."""

_Idle = tuple[str, Callable[[SearchSettings], bool], str]

_IDLE: tuple[_Idle, ...] = (
    ("inherit.", lambda chosen: chosen.evaluator != "inherited", "--evaluator inherited"),
    ("shared.", lambda chosen: chosen.evaluator != "shared", "--evaluator shared"),
    ("playoff.", lambda chosen: not chosen.estimates, "--evaluator inherited, or another that estimates,"),
    ("short_batch", lambda chosen: not chosen.estimates, "--evaluator inherited, or another that estimates,"),
    ("population", lambda chosen: chosen.estimates, "--evaluator trained"),
    (
        "population",
        lambda chosen: not (chosen.estimates or chosen.populations or chosen.population == 1),
        "--task text",
    ),
    ("draw", lambda chosen: is_file(chosen.start), "a start that is drawn, and no cell file"),
    ("ops", lambda chosen: is_file(chosen.start), "a start that is drawn, and no cell file"),
    ("filter", lambda chosen: chosen.candidates == "all", "--candidates K"),
    *(
        (name, lambda chosen: bool(chosen.budget.given()), "a search for cells, without a budget,")
        for name in ("nodes", "start", "draw", "network.", "stop.edges")
    ),
    ("walk", lambda chosen: chosen.strategy != "autoshrink", "--strategy autoshrink"),
    ("patience", lambda chosen: chosen.strategy != "exchange", "--strategy exchange"),
    ("beside", lambda chosen: chosen.repeats == 0, "--repeats above 0"),
    ("draws", lambda chosen: chosen.repeats == 0 or "random" not in chosen.beside, "--beside random, with --repeats,"),
    ("firefly.", lambda chosen: chosen.strategy != "firefly", "--strategy firefly"),
    *(
        (f"stop.{name}", lambda chosen: chosen.strategy == "firefly", "a strategy that shrinks")
        for name in ("edges", "macs")
    ),
    ("evolution.", lambda chosen: chosen.strategy != "evolution", "--strategy evolution"),
    ("halving.", lambda chosen: chosen.strategy != "successive-halving", "--strategy successive-halving"),
    ("optuna.", lambda chosen: chosen.strategy != "optuna", "--strategy optuna"),
    ("ddpnas.", lambda chosen: chosen.strategy != "ddpnas", "--strategy ddpnas"),
    ("oneshot.", lambda chosen: chosen.strategy != "oneshot", "--strategy oneshot"),
    ("msnas.", lambda chosen: chosen.strategy != "msnas", "--strategy msnas"),
)
"""Settings, or sections, that others leave unread: when, and what reads them. To give them is in vain."""


def refuse_contradictions(asked: Overrides, chosen: SearchSettings) -> None:
    """Refuse settings that a person asked for and that others deny.

    What is asked for and is the value that counts anyway contradicts nothing.

    Args:
        asked: what was said, without defaults.
        chosen: what comes of it.

    Raises:
        InputError: two settings contradict one another; the message has both.
    """
    said = dict(leaves(asked))
    if chosen.mode == "paper":
        for place, (published, meaning) in PROCEDURE.items():
            if said.get(place, published) != published:
                raise InputError(
                    f"--{place} {said[place]} and --mode paper, which {meaning}, contradict each other; leave one out"
                )
    for name in chosen.budget.given():
        _refuse_budget(name, chosen)
    if chosen.formula != "paper" and said.get("resource", "cell_params") != "cell_params":
        raise InputError(
            f"--resource {said['resource']} and formula={chosen.formula}, which weighs the cell's parameters, "
            "contradict each other; leave one out, or add --set formula=paper"
        )
    if chosen.evaluator == "grown" and chosen.strategy != "firefly":
        raise InputError(
            f"--evaluator grown and --strategy {chosen.strategy}, which does not grow its cells, contradict each "
            "other; add --strategy firefly, or leave --evaluator out"
        )
    if chosen.walk == "best" and chosen.relative:
        raise InputError(
            f"walk=best and --evaluator {chosen.evaluator}, whose figures compare the candidates of one step only, "
            "contradict each other; add --evaluator trained, or leave walk out"
        )
    if "nodes" in said and is_file(chosen.start):
        found = len(Cell.read(Path(chosen.start)).ops)
        if found != chosen.nodes:
            raise InputError(
                f"--nodes {chosen.nodes} and --start {chosen.start}, a cell of {found} nodes, contradict each other; "
                "leave --nodes out"
            )


def _refuse_budget(name: str, chosen: SearchSettings) -> None:
    """Refuse a budget where there are no networks to search, or no way to search them."""
    if chosen.mode == "paper":
        raise InputError(f"--{name} and --mode paper, which searches cells, contradict each other; leave one out")
    if not TASKS[chosen.task].searches_networks:
        raise InputError(f"--{name}: task {chosen.task} has no space of networks at a budget; leave it out")
    ways = {"autoshrink": "down", "firefly": "up"}
    if chosen.strategy in ways:
        raise InputError(
            f"--strategy {chosen.strategy} goes {ways[chosen.strategy]}, and networks at a budget (--{name}) cost the "
            "same; take exchange, evolution or random"
        )


def unread(asked: Overrides, chosen: SearchSettings) -> tuple[str, ...]:
    """What was asked for, is not the default, and has no effect."""
    usual = dict(leaves(type(chosen).model_validate({}).to_json()))
    return tuple(
        f"setting {place} has no effect: only {reader} reads it"
        for place, value in leaves(asked)
        for name, idle, reader in _IDLE
        if value != usual.get(place) and f"{place}.".startswith(name) and idle(chosen)
    )


def departures(asked: Overrides, paper: Overrides) -> tuple[str, ...]:
    """Where somebody who asks for the paper's procedure asks for another value than the paper's."""
    said: dict[str, Any] = dict(leaves(asked))
    published = {place: list(value) if isinstance(value, tuple) else value for place, value in leaves(paper)}
    return tuple(
        f"--mode paper has {place} {value}; {said[place]}, which you asked for, counts"
        for place, value in published.items()
        if place in said and said[place] != value
    )


def is_file(start: str) -> bool:
    """Whether a start names a cell file, and no random graph."""
    try:
        return start.endswith(".json") or Path(start).is_file()
    except OSError:  # a name that no file can have
        return False
