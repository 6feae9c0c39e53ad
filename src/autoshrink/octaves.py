"""A search over a range of budgets: one search after another, each begun with what those before it found.

It goes up, from the smallest budget to the largest, although a search for cells goes down: what costs the most
trainings, all hand-made networks and the longest search, is then done where a training is cheapest, and only what was
worth it is tried where a training is dear. That is how EfficientNet's networks came about (Tan and Le 2019: searched
small, scaled up). And where time runs out, it is the small budgets that are done.

Each budget's search is a run of its own, of the same loop, strategy and finals, whose log is a part of the one log.
What it begins with is a function of the parts before, so that a killed run goes on as if undisturbed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.errors import InputError, SearchError
from autoshrink.events import Event
from autoshrink.findings import budget_words
from autoshrink.formatting import count, quantity
from autoshrink.record import RunRecord
from autoshrink.registry import TASKS
from autoshrink.replaying import octave_events, replay
from autoshrink.run import ENDED, Loop
from autoshrink.spaces import Space, space_of
from autoshrink.store import Log

FAMILIES = 3
"""Hand-made networks that a budget after the first begins with, beside those that are measured there first."""
PATIENCE = 1
"""Confirmations without an improvement after which the search at a budget after the first is over."""

MakeLoop = Callable[[Log, Space[Any], Callable[[float], float]], Loop]
"""The loop of one budget from its log, its space, and the seconds that follow it (`Loop.later`)."""


class OctaveLog:
    """The last budget's part of a range's log, as the log of a run at that budget alone."""

    def __init__(self, whole: Log) -> None:
        self._whole = whole
        self.folder: Path = whole.folder

    def append(self, kind: str, body: dict[str, Any]) -> Event:
        """See `Log`."""
        return self._whole.append(kind, body)

    def events(self) -> Iterator[Event]:
        """See `Log`."""
        return octave_events(self._whole.events())


def search_octaves(
    log: Log,
    make: MakeLoop,
    *,
    began: Callable[[str], None] = lambda _: None,
    done: Callable[[RunRecord], None] = lambda _: None,
) -> RunRecord:
    """Search at every budget of a run's range, from wherever its log stands to its end.

    Args:
        log: of the run, its data read.
        make: makes the loop of one budget.
        began: told in words that a budget's search began, or goes on.
        done: told the run's record whenever a budget is done.

    Raises:
        SearchError: at no budget so far was anything usable measured.
        RunError: as `Loop.run`.
    """
    while not (record := replay(log.events())).finished:
        place = len(record.octaves) - (not all(one.finished for one in record.octaves))
        space = space_at(record, place)
        if place == len(record.octaves):
            ended = _ended(record, space)
            if ended is not None:
                log.append("stopped", {"reason": ended})
                continue
            names = {"names": space.names} if space.names else {}
            log.append("octave", {"settings": _own(record, space), "start": space.start.to_json(), **names})
        own = OctaveLog(log)
        octave = replay(own.events())
        began(budget_words(octave))
        try:
            make(own, space, _later(record, place)).run()
        except SearchError:
            if not any(one.best_key for one in record.octaves):
                raise
            own.append("finished", {"best": None})
        done(replay(log.events()))
    return record


def first_space(settings: SearchSettings, data: Mapping[str, Any]) -> Space[Any]:
    """What the search at the smallest budget may propose.

    Raises:
        InputError: there are no hand-made networks for one of the budgets; it is named.
    """
    found = [space_of(_at(settings, place), None, data) for place in range(len(settings.budget.octaves()))]
    return found[0]


def space_at(record: RunRecord, place: int) -> Space[Any]:
    """What the search at a range's budget, from 0, may propose: a function of what came out at those before.

    It begins with the hand-made networks that were never too large before, the best of the others, and the best that
    was found at the last budget that had one.
    """
    settings, before = _at(record.settings, place), record.octaves[:place]
    if not place:
        return space_of(settings, None, record.data)
    gaps = _gaps(before)
    without = sorted(gaps, key=lambda name: (gaps[name], name))[FAMILIES:]
    found = next((one for part in reversed(before) if (one := best_found(part)) is not None), None)
    return TASKS[settings.task].space_after(settings, record.data, () if found is None else (found,), without)


def best_found(record: RunRecord) -> Design | None:
    """The best network at a budget that is no hand-made one, by what was measured alike; None where there is none."""
    found = [one for one in record.rivals() if not record.is_start(one.design)]
    fullest = max((one.fullness for one in found), default=None)
    best = max((one for one in found if one.fullness == fullest), key=lambda one: one.score, default=None)
    return None if best is None else best.design


def _gaps(before: tuple[RunRecord, ...]) -> dict[str, float]:
    """How far each hand-made network was behind the best of them, in mean S, at the last budget where it took part."""
    gaps: dict[str, float] = {}
    for record in before:
        tried = {one.design.key for one in record.of_step(0)} & record.names.keys()
        scores = dict.fromkeys(tried, -math.inf) | record.start_scores()
        best = max((one for one in scores.values() if math.isfinite(one)), default=0.0)
        gaps |= {record.names[key]: best - scores[key] for key in tried}
    return gaps


def _at(settings: SearchSettings, place: int) -> SearchSettings:
    """The settings at one budget of the range."""
    return settings.changed(_changes(settings, place))


def _changes(settings: SearchSettings, place: int) -> dict[str, Any]:
    name = settings.budget.ranged
    if name is None:
        raise InputError("the search has no range of budgets")
    found: dict[str, Any] = {"budget": {name: settings.budget.octaves()[place].given()[name]}}
    return found | ({"patience": min(PATIENCE, settings.patience)} if place else {})


# --- what is shared out ----------------------------------------------------------------------------------------------


def _weights(settings: SearchSettings) -> list[float]:
    """What a training at each budget is taken to last: the root of the budget, between as long everywhere, as where the
    machine is not busy with so small a network, and in proportion."""
    name = settings.budget.ranged or ""
    return [math.sqrt(one.given()[name]) for one in settings.budget.octaves()]


def _ended(record: RunRecord, space: Space[Any]) -> str | None:
    """Why no further budget is begun; the first one always is."""
    stop = record.settings.stop
    if not record.octaves:
        return None
    ending = record.octaves[-1].steering.ending
    if ending is not None:
        return ENDED[ending]
    if stop.seconds is not None and record.active_seconds >= stop.seconds:
        return "the time limit is reached"
    if stop.evaluations is not None and stop.evaluations - _trained(record) < len(space.starts):
        return f"another budget would exceed {count(stop.evaluations, 'evaluation')}"
    if stop.training_macs is not None and record.spent_choosing().training_macs >= stop.training_macs:
        return f"another budget would exceed {quantity(stop.training_macs)} training MACs"
    return None


def _trained(record: RunRecord) -> int:
    return sum(one.same_as is None for part in record.octaves for one in part.candidates)


def _own(record: RunRecord, space: Space[Any]) -> dict[str, Any]:
    """The settings of the next budget: an equal share of the evaluations left, and of the time left one by weight; of
    the training MACs left one in proportion to the budget."""
    stop, place, weights = record.settings.stop, len(record.octaves), _weights(record.settings)
    found, share = _changes(record.settings, place), dict[str, float]()
    if stop.training_macs is not None:
        left, parts = stop.training_macs - record.spent_choosing().training_macs, [one**2 for one in weights[place:]]
        share["training_macs"] = max(1, int(left * parts[0] / sum(parts)))
    if stop.evaluations is not None:
        left = stop.evaluations - _trained(record)
        share["evaluations"] = min(left, max(left // (len(weights) - place), len(space.starts)))
    if stop.seconds is not None:
        share["seconds"] = (stop.seconds - record.active_seconds) * weights[place] / sum(weights[place:])
    penalty = record.octaves[-1].settings.penalty if record.octaves else record.settings.penalty
    told = {"penalty": penalty} if penalty != record.settings.penalty else {}
    return found | told | ({"stop": share} if share else {})


def _later(record: RunRecord, place: int) -> Callable[[float], float]:
    """What follows a budget, in seconds, from the mean seconds of its candidates: at least one round at each."""
    settings, weights = record.settings, _weights(record.settings)
    candidates = settings.candidates if isinstance(settings.candidates, int) else 10
    trainings = FAMILIES + 1 + candidates + 6
    if settings.stop.evaluations is not None:
        trainings = min(trainings, settings.stop.evaluations // len(weights))
    after = sum(weights[place + 1 :])
    factor = (trainings + 2 * settings.finalists * settings.repeats) * after / weights[place]
    most = math.inf if settings.stop.seconds is None else settings.stop.seconds * after / sum(weights)
    return lambda mean: min(mean * factor, most)
