"""What a run's strategy has learned, beside the evaluations themselves: folded from the log again, never stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from autoshrink.commands import Steers
from autoshrink.formatting import number, signed
from autoshrink.record import RunRecord
from autoshrink.registry import STRATEGIES
from autoshrink.spaces import space_of

Learned = Callable[..., Mapping[str, Any]]


def learned(record: RunRecord) -> dict[str, Any]:
    """What a strategy of the name `RunRecord.settings` has tells of its finished steps, as JSON; nothing of most.

    ``blocks``: of a one-shot search (`autoshrink.strategies.blocks.Block`). ``meta_graph``: what another search may
    begin with; not of a search that was steered by commands, whose weights no fold of its designs alone gives.
    """
    strategy = STRATEGIES[record.settings.strategy]
    fold: Learned | None = getattr(strategy, "learned", None)
    steered = any(isinstance(one.command, Steers) and one.refused is None for one in record.commands)
    if fold is None or not record.decisions or (steered and not getattr(strategy, "learns_of_each", False)):
        return {}
    done = {one.step for one in record.decisions}
    ordered = sorted((one for one in record.candidates if one.step in done), key=lambda one: (one.step, one.index))
    steps = [[one.evaluation for one in step] for _, step in groupby(ordered, key=lambda one: one.step)]
    return dict(fold(record.settings, space_of(record.settings, record.start, record.data), steps))


@dataclass(frozen=True)
class LearnedTable:
    """For a person: a title, a sentence, and columns of text by their heads, the first of words."""

    title: str
    note: str
    columns: Mapping[str, Sequence[str]]


def tables(record: RunRecord) -> tuple[LearnedTable, ...]:
    """What `learned` has, to be shown."""
    found = learned(record)
    return (*_blocks(found.get("blocks", ())), *_weights(found.get("meta_graph", {}).get("weights", {})))


def _blocks(blocks: Sequence[Mapping[str, Any]]) -> tuple[LearnedTable, ...]:
    if not blocks:
        return ()
    ranked = sorted(blocks, key=lambda one: -one["fitness"])
    note = (
        "Fitness: how sure it is, from 0 to 1, that designs with a block are better than those without it; 0.5 where "
        "there is no evidence. Difference of their mean S, and its standard error."
    )
    columns = {
        "block": [one["name"] for one in ranked],
        "fitness": [number(one["fitness"], 3) for one in ranked],
        "difference": ["" if one["difference"] is None else signed(one["difference"], 4) for one in ranked],
        "± error": ["" if one["error"] is None else number(one["error"], 4) for one in ranked],
        "designs with it": [f"{one['count']} of {one['of']}" for one in ranked],
    }
    return (LearnedTable("What blocks are worth", note, columns),)


def _weights(weights: Mapping[str, Mapping[str, float]]) -> tuple[LearnedTable, ...]:
    """Of an edge whether it is there; of the rest every option."""
    rows = [
        (name if "absent" in options and len(options) == 2 else f"{name}={option}", weight)
        for name, options in weights.items()
        for option, weight in options.items()
        if option != "absent" or len(options) > 2
    ]
    rows.sort(key=lambda row: -row[1])
    if not rows:
        return ()
    columns = {"edge or operation": [name for name, _ in rows], "weight": [number(weight, 3) for _, weight in rows]}
    note = "How likely the search has come to hold each for worth it; all options of one decision are 1 together."
    return (LearnedTable("The meta-graph", note, columns),)
