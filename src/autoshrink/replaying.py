"""A run's events folded into its record: the same events give the same value.

Events are written by `run.py` and `finals.py` alone. Their bodies are JSON:

=============  =====================================================================================================
created        settings, environment, start (a design), names (of the designs that the first step measures, by key,
               where they have some): the first event of every run
octave         settings (those that differ from the run's: its one budget, its share of limits), start, names: over a
               range, the search at its next budget began. What follows is as in the log of a run at that budget
               alone, `finished` included; where no further budget is begun, `stopped` comes once more after that
opened         pid, host: a process began or went on with the run
data           name, train, validation (samples: images or tokens), chance (performance, error; not in older logs),
               fingerprint, notes; for images classes, input, mean, std, skipped; for text level, vocabulary (how
               many), sentences, unknown_share
evaluated      step, index, edge (that was removed, or null), evaluation (its `cell` is a design of whatever
               `format`), same_as ([step, index] of the candidate that is the same network, whose training this one
               shares, or null); change where something else was done: (node, op)
               of an operation, (what, where, before, after) of any other value of a design;
               weights (of the file that its children inherit from, SHA-256) where some were kept
decided        step, index (the chosen candidate), runner_up, difference, standard_error (performance, paired)
stopped        reason: no further step will be asked for
screened       step, ranks ([key, rank or null] of every cell that was scored to choose the step's candidates), spent
retrained      round (from 0), index, evaluation: a cell trained from scratch in the playoff
remeasured     finalist (its key), repeat, evaluation
beside         role (`start`, `chain`, `random` or `hand-made`), index (among those of the role), name (of a hand-made
               network), repeat (of the fresh seeds; null where several of a role are trained once to choose the best),
               evaluation: measured beside what the search found, at its cost
command        id, author, at, command (`autoshrink.commands`), step (from which on it counts), refused (why it was not
               followed, or null): a person's, or a script's. A ``pick`` after `finished` begins a branch: what follows
               are further steps, and finals of their own
finished       best (its key; null where nothing could be told from chance)
=============  =====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from autoshrink.change import change_from_json
from autoshrink.commands import Pick, command_of
from autoshrink.config import merge, stored_settings
from autoshrink.design import Design, design_from_json
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.events import Event, check_body
from autoshrink.record import Beside, Candidate, Decision, Retrained, RunRecord
from autoshrink.score import Comparison, Evaluation, Spent
from autoshrink.steering import Told
from autoshrink.untrusted import brief


def replay(events: Iterable[Event]) -> RunRecord:
    """Fold a run's events; the same events give the same record.

    Raises:
        InputError: the log does not begin with `created`, holds an event of a kind that this version lacks, or one
            that cannot be: of wrong types, or at odds with those before it. The message names the event.
    """
    replaying = Replaying()
    for event in events:
        replaying.take(event)
    return replaying.record()


class Replaying:
    """`replay` that goes on: a log is folded as it grows, each event once. One thread at a time."""

    def __init__(self) -> None:
        self._fold: _Fold | None = None

    def take(self, event: Event) -> None:
        """Fold the next event.

        Raises:
            InputError: as `replay`.
        """
        if self._fold is not None:
            self._fold.apply(event)
            return
        if event.kind != "created":
            raise InputError(_NO_BEGINNING)
        with _named(event):
            self._fold = _Fold(_begun(event), event)

    def record(self) -> RunRecord:
        """The run so far.

        Raises:
            InputError: no event was taken.
        """
        if self._fold is None:
            raise InputError(_NO_BEGINNING)
        return self._fold.record()


_NO_BEGINNING = "the log does not begin with a 'created' event"


def _begun(created: Event) -> RunRecord:
    check_body(created)
    return RunRecord(
        settings=stored_settings(created.body["settings"]),
        environment=created.body["environment"],
        start=design_from_json(created.body["start"]),
        names=created.body.get("names", {}),
        created_at=created.at,
        updated_at=created.at,
    )


def octave_events(events: Iterable[Event]) -> Iterator[Event]:
    """The part of a range's log that is of its last budget, as the log of a run at that budget alone.

    Raises:
        InputError: as `replay`.
    """
    head: list[Event] = []
    own: list[Event] = []
    for event in events:
        if event.kind == "octave":
            own = _as_begun(head, event)
        elif own:
            own.append(event)
        else:
            head.append(event)
    return iter(own)


def _as_begun(head: Sequence[Event], octave: Event) -> list[Event]:
    """The first events of a run at the budget of an `octave` event, from those before the first octave."""
    with _named(octave):
        check_body(octave)
    created = next(one for one in head if one.kind == "created")
    body = dict(created.body) | octave.body | {"settings": merge(created.body["settings"], octave.body["settings"])}
    data = (replace(one, at=octave.at) for one in head if one.kind == "data")
    return [replace(octave, kind="created", body=body), *data]


@contextmanager
def _named(event: Event) -> Iterator[None]:
    """Say which event cannot be understood."""
    try:
        yield
    except (AutoshrinkError, ValueError) as error:
        raise InputError(f"event {event.number} ({brief(event.kind)}): {error}") from error


class _Fold:
    """Collects in lists, so that a long log is folded in linear time; `record` freezes them."""

    def __init__(self, record: RunRecord, created: Event) -> None:
        self._record = record
        self._head = [created]
        self._octaves: list[_Fold] = []
        self._candidates: list[Candidate] = []
        self._decisions: list[Decision] = []
        self._places: set[tuple[int, int]] = set()
        self._remeasured: dict[str, tuple[Evaluation, ...]] = {}
        self._retrained: list[Retrained] = []
        self._beside: list[Beside] = []
        self._ranks: dict[str, float] = {}
        self._designs: dict[str, Design] = {}
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "opened": lambda _: self._set(sessions=self._record.sessions + 1),
            "data": lambda body: self._set(data=body),
            "evaluated": self._evaluate,
            "decided": self._decide,
            "stopped": lambda body: self._set(stopped=body["reason"]),
            "remeasured": self._remeasure,
            "retrained": lambda body: self._retrained.append(_retrained(body, self._measured(body))),
            "screened": self._screen,
            "beside": lambda body: self._beside.append(_beside(body, self._measured(body))),
            "command": self._command,
            "finished": lambda body: self._set(finished=True, best_key=body["best"]),
        }

    def apply(self, event: Event) -> None:
        idle = event.kind == "opened" or self._record.steering.paused or self._record.finished
        if event.kind == "octave":
            self._begin(event)
        elif self._octaves and not (event.kind == "stopped" and self._octaves[-1].finished):
            self._octaves[-1].apply(event)
            self._set(sessions=self._record.sessions + (event.kind == "opened"))
        else:
            self._take(event)
        # No process worked on the run before it was opened, in a pause, and between its end and a command after that.
        passed = 0.0 if idle else max(0.0, event.at - self._record.updated_at)
        self._set(updated_at=event.at, active_seconds=self._record.active_seconds + passed)

    def _begin(self, event: Event) -> None:
        """The search at another budget of a range."""
        with _named(event):
            if self._record.settings.budget.ranged is None or not all(one.finished for one in self._octaves):
                raise InputError("no search at another budget can begin here")
            first, *more = _as_begun(self._head, event)
            self._octaves.append(_Fold(_begun(first), first))
        for one in more:
            self._octaves[-1].apply(one)

    @property
    def finished(self) -> bool:
        """Whether the last event ended it."""
        return self._record.finished

    def _take(self, event: Event) -> None:
        if event.kind == "data":
            self._head.append(event)
        handler = self._handlers.get(event.kind)
        if handler is None:
            raise InputError(f"event {event.number} is of kind {brief(event.kind)}, which this version does not know")
        with _named(event):
            check_body(event)
            handler(event.body)

    def _command(self, body: dict[str, Any]) -> None:
        told = Told(
            **{name: body[name] for name in ("id", "author", "at", "step", "refused")},
            command=command_of(body["command"]),
        )
        ends = len(self._record.ends)
        if told.refused is None and isinstance(told.command, Pick) and told.command.place not in self._places:
            raise InputError(f"there is no candidate {told.command.candidate}")
        self._record = (self.record() if self._record.finished else self._record).told(told)
        if len(self._record.ends) > ends:
            self._remeasured, self._retrained, self._beside = {}, [], []

    def record(self) -> RunRecord:
        if self._octaves:
            return self._over_range()
        return replace(
            self._record,
            candidates=tuple(self._candidates),
            decisions=tuple(self._decisions),
            remeasured=dict(self._remeasured),
            retrained=tuple(self._retrained),
            beside=tuple(self._beside),
            ranks=dict(self._ranks),
        )

    def _over_range(self) -> RunRecord:
        whole, octaves = self._record, tuple(one.record() for one in self._octaves)
        named = [one for one in octaves if one.best_key is not None]
        shown, last = named[-1] if named else octaves[0], octaves[-1]
        ended = last.finished and len(octaves) == len(whole.settings.budget.octaves())
        return replace(
            shown,
            settings=whole.settings,
            created_at=whole.created_at,
            updated_at=whole.updated_at,
            stopped=whole.stopped or (last.stopped if ended else None),
            finished=ended or whole.stopped is not None,
            sessions=whole.sessions,
            active_seconds=whole.active_seconds,
            octaves=octaves,
            commands=tuple(one for octave in octaves for one in octave.commands),
        )

    def _set(self, **changes: Any) -> None:
        self._record = replace(self._record, **changes)

    def _evaluate(self, body: dict[str, Any]) -> None:
        candidate = _candidate(body, self._measured(body))
        place = (candidate.step, candidate.index)
        if place in self._places:
            raise InputError(f"candidate {candidate.index} of step {candidate.step} is there already")
        if candidate.same_as is not None and candidate.same_as not in self._places:
            raise InputError(f"same_as: there is no candidate {candidate.same_as[1]} of step {candidate.same_as[0]}")
        self._places.add(place)
        self._candidates.append(candidate)

    def _decide(self, body: dict[str, Any]) -> None:
        decision = _decision(body)
        for name, index in (("index", decision.index), ("runner_up", decision.runner_up)):
            if index is not None and (decision.step, index) not in self._places:
                raise InputError(f"{name}: there is no candidate {index} of step {decision.step}")
        self._decisions.append(decision)

    def _screen(self, body: dict[str, Any]) -> None:
        for key, rank in body["ranks"]:
            if not isinstance(key, str) or isinstance(rank, str):
                raise InputError(f"ranks: {brief([key, rank])} is no cell's key with its rank")
            self._ranks[key] = math.nan if rank is None else rank
        self._set(screening=self._record.screening + Spent.from_json(body["spent"]))

    def _measured(self, body: dict[str, Any]) -> Evaluation:
        """The evaluation that an event has."""
        return Evaluation.from_json(body["evaluation"], self._design)

    def _design(self, value: Any) -> Design:
        """The design of a JSON object, checked where it is met first: a run measures most of them again and again."""
        known = repr(value)
        if known not in self._designs:
            self._designs[known] = design_from_json(value)
        return self._designs[known]

    def _remeasure(self, body: dict[str, Any]) -> None:
        key, evaluation = body["finalist"], self._measured(body)
        if evaluation.design.key != key:
            raise InputError(f"finalist {brief(key)} is not the cell that was measured")
        self._remeasured[key] = (*self._remeasured.get(key, ()), evaluation)


def _retrained(body: dict[str, Any], evaluation: Evaluation) -> Retrained:
    return Retrained(body["round"], body["index"], evaluation)


def _beside(body: dict[str, Any], evaluation: Evaluation) -> Beside:
    return Beside(body["role"], body["index"], body["name"], body["repeat"], evaluation)


def _candidate(body: dict[str, Any], evaluation: Evaluation) -> Candidate:
    same_as, weights = body["same_as"], body.get("weights")
    return Candidate(
        step=body["step"],
        index=body["index"],
        evaluation=replace(evaluation, weights=weights) if weights else evaluation,
        change=change_from_json(body),
        same_as=None if same_as is None else (same_as[0], same_as[1]),
    )


def _decision(body: dict[str, Any]) -> Decision:
    comparison = None
    if body["difference"] is not None:
        comparison = Comparison(body["difference"], body["standard_error"])
    return Decision(body["step"], body["index"], body["runner_up"], comparison)
