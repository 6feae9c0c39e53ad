"""What a person asked for that contradicts itself: refused, with both sides named, or said where one of them counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoshrink.cell import Cell
from autoshrink.config.base import Overrides, SearchSettings, leaves
from autoshrink.errors import InputError

PROCEDURE: Mapping[str, tuple[str, str]] = {
    "evaluator": ("trained", "trains every candidate from scratch"),
    "filter": ("none", "draws its candidates"),
}
"""What ``--mode paper`` is: the setting, its value, and what that means. Everything else is a default of that mode."""

_Idle = tuple[str, Callable[[SearchSettings], bool], str]

_IDLE: tuple[_Idle, ...] = (
    ("inherit.", lambda chosen: chosen.evaluator != "inherited", "--evaluator inherited"),
    ("playoff.", lambda chosen: not chosen.relative, "--evaluator inherited or zico"),
    ("short_batch", lambda chosen: not chosen.relative, "--evaluator inherited or zico"),
    ("population", lambda chosen: chosen.relative, "--evaluator trained"),
    ("population", lambda chosen: not (chosen.relative or chosen.populations or chosen.population == 1), "--task text"),
    ("draw", lambda chosen: is_file(chosen.start), "a start that is drawn, and no cell file"),
    ("ops", lambda chosen: is_file(chosen.start), "a start that is drawn, and no cell file"),
    ("filter", lambda chosen: chosen.candidates == "all", "--candidates K"),
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
    if chosen.formula != "paper" and said.get("resource", "cell_params") != "cell_params":
        raise InputError(
            f"--resource {said['resource']} and formula={chosen.formula}, which weighs the cell's parameters, "
            "contradict each other; leave one out, or add --set formula=paper"
        )
    if "nodes" in said and is_file(chosen.start):
        found = len(Cell.read(Path(chosen.start)).ops)
        if found != chosen.nodes:
            raise InputError(
                f"--nodes {chosen.nodes} and --start {chosen.start}, a cell of {found} nodes, contradict each other; "
                "leave --nodes out"
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
