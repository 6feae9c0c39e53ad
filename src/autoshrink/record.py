"""A run so far, as one frozen value: what resume, `show`, the report and the live page all read.

`replaying.py` makes it of the log's events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from autoshrink.cell import Cell, Edge, cell_of
from autoshrink.change import Change, RemovedEdge
from autoshrink.commands import Focus, Forbid, Pick, Pin, SetOp
from autoshrink.config import SearchSettings
from autoshrink.design import Design, Pictured
from autoshrink.evaluation import EvaluatorKind
from autoshrink.registry import EVALUATORS
from autoshrink.score import Comparison, Evaluation, Spent, mean_and_deviation, pareto_front, undominated
from autoshrink.steering import Steering, Told

CLEAR = 2.0
"""Standard errors above which a difference is called larger than the noise."""


@dataclass(frozen=True)
class Candidate:
    """A design proposed in a step, measured. Step 0 holds what the search starts from.

    Attributes:
        step: from 0.
        index: within the step.
        evaluation: the design, and what it was worth.
        change: what was done to its parent to get it; None where that was no single move.
        same_as: step and index of the candidate that is the same network, whose evaluation this one shares.
    """

    step: int
    index: int
    evaluation: Evaluation
    change: Change | None = None
    same_as: tuple[int, int] | None = None

    @property
    def design(self) -> Design:
        """The candidate itself."""
        return self.evaluation.design

    @property
    def cell(self) -> Cell:
        """The design, of a search for cells; raises `InputError` where it is none."""
        return cell_of(self.design)

    @property
    def edge(self) -> Edge | None:
        """The edge that was removed, where that is what was done."""
        return self.change.edge if isinstance(self.change, RemovedEdge) else None

    def to_json(self) -> dict[str, Any]:
        """The body of its `evaluated` event."""
        return {
            "step": self.step,
            "index": self.index,
            **({"edge": None} if self.change is None else self.change.to_json()),
            "evaluation": self.evaluation.to_json(),
            "same_as": self.same_as and list(self.same_as),
            **({"weights": self.evaluation.weights} if self.evaluation.weights else {}),
        }


@dataclass(frozen=True)
class Decision:
    """The candidate that a step went on with, and the evidence against the second best (None if there was none)."""

    step: int
    index: int
    runner_up: int | None
    comparison: Comparison | None


@dataclass(frozen=True)
class Retrained:
    """A design trained from scratch in a round of the playoff; its evaluation's rung is the round."""

    round: int
    index: int
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """The body of its `retrained` event."""
        return {"round": self.round, "index": self.index, "evaluation": self.evaluation.to_json()}


@dataclass(frozen=True)
class Beside:
    """A design measured beside what the search found, at its cost.

    Attributes:
        role: ``start``, what the search started from, narrower; ``chain``, the same operations in a row; ``random``,
            drawn from the space; ``hand-made``.
        index: among those of its role.
        name: of a hand-made one.
        repeat: which of the fresh seeds; None where it was trained once so that the best of its role could be chosen.
        evaluation: what it was worth.
    """

    role: str
    index: int
    name: str
    repeat: int | None
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """The body of its `beside` event."""
        place = {"role": self.role, "index": self.index, "name": self.name, "repeat": self.repeat}
        return place | {"evaluation": self.evaluation.to_json()}


@dataclass(frozen=True)
class Figures:
    """A design's performance and score, as they are reported.

    Attributes:
        design: whose they are.
        recorded: its evaluation during the search.
        repeats: its evaluations with fresh seeds, failed ones left out.
        performance: mean over `repeats`, or the recorded one when there are none.
        performance_sd: sample standard deviation over `repeats`; None below two.
        judged: mean over `repeats`, or the recorded one, of what candidates are compared by (`Evaluation.judged`).
        score: S of `judged`.
        score_sd: sample standard deviation of S over `repeats`; None below two.
        from_scratch: whether they are those of networks trained from scratch, and not an estimate.
    """

    design: Design
    recorded: Evaluation
    repeats: tuple[Evaluation, ...]
    performance: float
    performance_sd: float | None
    judged: float
    score: float
    score_sd: float | None = None
    from_scratch: bool = True

    @property
    def cell(self) -> Cell:
        """The design, or the cell that a network of one is made of; raises `InputError` where there is none."""
        cells: dict[str, Cell] = getattr(self.design, "cells", {})
        return next(iter(cells.values())) if len(cells) == 1 else cell_of(self.design)

    @property
    def trainings(self) -> tuple[Evaluation, ...]:
        """What the figures are the mean of."""
        return self.repeats or (self.recorded,)

    @property
    def fullness(self) -> tuple[int, tuple[float, ...]]:
        """How much they rest on, more is larger: how many trainings, and how far each of them came."""
        return len(self.trainings), tuple(sorted(one.fullness for one in self.trainings))

    def alike(self, other: Figures) -> bool:
        """Whether both were measured alike, and so can be compared: as many trainings of the same length."""
        lengths = [{one.fidelity for one in figures.trainings} for figures in (self, other)]
        return (
            self.from_scratch
            and other.from_scratch
            and bool(self.repeats) == bool(other.repeats)
            and lengths[0] == lengths[1]
            and self.fullness == other.fullness
        )


@dataclass(frozen=True)
class Chance:
    """What guessing is worth.

    Attributes:
        performance: of a guess that looks at no sample: the share of the commonest class, or −ln of the vocabulary.
        error: standard error with which the validation samples tell a performance from that.
    """

    performance: float
    error: float

    @property
    def bar(self) -> float:
        """A performance up to this may be chance: two standard errors above it."""
        return self.performance + CLEAR * self.error


@dataclass(frozen=True)
class Forced:
    """A turn that a person forced.

    Attributes:
        step: from which on.
        by: the command.
        preferred: the candidate with which the search would have gone on.
        picked: that with which it went on instead, where one was picked.
        reason: what was forced, in words.
    """

    step: int
    by: Told
    preferred: Candidate
    picked: Candidate | None
    reason: str


@dataclass(frozen=True)
class RunRecord(Pictured):
    """A run so far.

    Over a range of budgets each has a record of its own in `octaves`, and everything else but the settings and the
    times is that of the largest budget at which something was named.

    Attributes:
        settings: what was asked for.
        environment: versions, device, host.
        start: what the search started from; of several, the first.
        names: what those are called, by key; of one alone nothing.
        data: the `data` event's body, or empty before the data were read.
        candidates: everything evaluated, in order of events.
        decisions: one for every finished step, in step order.
        remeasured: evaluations with fresh seeds by the design's key.
        retrained: the playoff's, in order of events; empty where candidates are trained themselves.
        beside: what was measured beside what the search found, in order of events.
        ranks: what the filter gave each cell, by key; NaN where it could not.
        screening: what the filter has cost.
        stopped: why no further step was asked for, or None.
        finished: whether the best cell has been named.
        best_key: its key, once finished.
        created_at: Unix time of the first event, seconds.
        updated_at: Unix time of the last one.
        sessions: how many processes worked on it.
        active_seconds: time that those processes had it open, up to the last event of each.
        octaves: of a search over a range, that at each budget so far, smallest first; else empty.
        commands: what the search was told while it went on, refused ones too, in order of events.
        steering: what those that hold say together.
        ends: the records of the ends that were gone on from by a ``pick``, oldest first.
        penalties: λ by the step from which on it held, where a command changed it: the first is that of the settings
            that were asked for.
    """

    settings: SearchSettings
    environment: dict[str, Any]
    start: Design
    created_at: float
    updated_at: float
    data: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    decisions: tuple[Decision, ...] = ()
    remeasured: dict[str, tuple[Evaluation, ...]] = field(default_factory=dict)
    retrained: tuple[Retrained, ...] = ()
    beside: tuple[Beside, ...] = ()
    ranks: dict[str, float] = field(default_factory=dict)
    screening: Spent = field(default_factory=Spent)
    stopped: str | None = None
    finished: bool = False
    best_key: str | None = None
    sessions: int = 0
    active_seconds: float = 0.0
    octaves: tuple[RunRecord, ...] = ()
    commands: tuple[Told, ...] = ()
    steering: Steering = field(default_factory=Steering)
    ends: tuple[RunRecord, ...] = ()
    penalties: tuple[tuple[int, float], ...] = ()

    @property
    def parts(self) -> tuple[RunRecord, ...]:
        """The searches that it is made of: those of the octaves, or itself."""
        return self.octaves or (self,)

    @property
    def latest(self) -> RunRecord:
        """The search under way or, at the end, the last: over a range that at the last budget, else itself."""
        return self.parts[-1]

    @property
    def asked(self) -> SearchSettings:
        """The settings that the search began with, whatever penalty was commanded since."""
        return self.settings.changed({"penalty": self.penalties[0][1]}) if self.penalties else self.settings

    def told(self, one: Told) -> RunRecord:
        """With one more command."""
        record = replace(self, commands=(*self.commands, one))
        if one.refused is not None:
            return record
        if self.finished and isinstance(one.command, Pick):
            record = record.reopened()
        steering = record.steering.told(one.command)
        penalty = steering.penalty
        penalty = record.asked.penalty if penalty is None else penalty
        if penalty == record.settings.penalty:
            return replace(record, steering=steering)
        held = (*(record.penalties or ((0, record.settings.penalty),)), (one.step, penalty))
        return replace(
            record, steering=steering, penalties=held, settings=record.settings.changed({"penalty": penalty})
        )

    def reopened(self) -> RunRecord:
        """A finished run that goes on: its steps, without the end and the finals, which are kept in `ends`."""
        return replace(
            self,
            finished=False,
            stopped=None,
            best_key=None,
            remeasured={},
            retrained=(),
            beside=(),
            steering=replace(self.steering, ending=None, paused=False),
            ends=(*self.ends, self),
        )

    def forced(self) -> tuple[Forced, ...]:
        """Where commands let the search go on otherwise than it would have, in order of steps."""
        found, steering = list[Forced](), Steering()
        for step, told in groupby((one for one in self.commands if one.refused is None), key=lambda one: one.step):
            own = tuple(told)
            for one in own:
                steering = steering.told(one.command)
            before = [one for one in self.decisions if one.step < step]
            if before:
                found += self._forced(step, own, before[-1], steering)
        return tuple(found)

    def _forced(self, step: int, told: Sequence[Told], decision: Decision, steering: Steering) -> Iterator[Forced]:
        by_place = {(one.step, one.index): one for one in self.candidates}
        preferred = by_place[decision.step, decision.index]
        picks = [one for one in told if isinstance(one.command, Pick) and one.command in steering.acting]
        if picks and isinstance(picks[-1].command, Pick):
            picked = by_place[picks[-1].command.place]
            if picked.design != preferred.design:
                yield Forced(step, picks[-1], preferred, picked, f"candidate {picks[-1].command.candidate} was picked")
        held = [one for one in told if isinstance(one.command, Pin | Forbid | SetOp | Focus)]
        broken = steering.constraints.broken_by(preferred.design)
        if held and broken is not None and not picks:
            yield Forced(step, held[-1], preferred, None, broken)

    def of_step(self, step: int) -> tuple[Candidate, ...]:
        """A step's candidates by index."""
        return tuple(sorted((one for one in self.candidates if one.step == step), key=lambda one: one.index))

    def chosen(self) -> tuple[Candidate, ...]:
        """The candidates that the search went on with, the starting cell first: the trajectory."""
        by_place = {(one.step, one.index): one for one in self.candidates}
        return tuple(by_place[decision.step, decision.index] for decision in self.decisions)

    def usable(self) -> tuple[Evaluation, ...]:
        """Evaluations that did not fail and break no limit, in order: what the best is chosen from.

        Where the steps only estimate, they are those of the playoff, each cell's last one, once there are any. At a
        budget they are each network's last one: that confirmed what the first was chosen for.
        """
        return self._usable

    @cached_property
    def _usable(self) -> tuple[Evaluation, ...]:
        limits = self.settings.limits
        found = [one.evaluation for one in self.candidates]
        if self.settings.budget.given():
            found = list({one.design.key: one for one in found}.values())
        if self.retrained:
            found = list({one.evaluation.design.key: one.evaluation for one in self.retrained}.values())
        return tuple(
            one
            for one in found
            if not one.failed and limits.broken_by(one.resources) is None and self.keeps(one.design)
        )

    def keeps(self, design: Design) -> bool:
        """Whether it, or the one cell of a network, keeps what commands hold: only such a one may be named."""
        cells: dict[str, Cell] = getattr(design, "cells", {})
        return self.steering.constraints.keeps(next(iter(cells.values())) if len(cells) == 1 else design)

    def finalists(self) -> tuple[Evaluation, ...]:
        """The cells to measure again: those of the recorded front with the highest S, best first.

        Where there was a playoff, its winner, and then cells of the front that are as far as can be, in the logarithm
        of their cost, from those taken before: so that the fresh seeds show what more or less of the resource buys.
        """
        preference = self.settings.score.preference
        if not self.retrained:
            return tuple(sorted(self._promising(), key=preference, reverse=True)[: self.settings.finalists])
        furthest = max((one.rung for one in self.usable()), default=0)
        last = [one for one in self._nameable(self.usable()) if one.rung == furthest]
        taken = sorted(last, key=preference, reverse=True)[:1]
        left = [one for one in self._promising() if one.design.key not in {other.design.key for other in taken}]
        while left and len(taken) < self.settings.finalists:
            following = max(left, key=lambda one: (self._distance(one, taken), preference(one)))
            taken.append(following)
            left.remove(following)
        return tuple(taken)

    def _distance(self, one: Evaluation, others: Sequence[Evaluation]) -> float:
        """Of a cell's cost to the nearest of some others, in logarithms; 0 where there is no other."""
        cost = self.settings.score.cost
        logs = (abs(math.log(max(1, cost(one.resources)) / max(1, cost(other.resources)))) for other in others)
        return min(logs, default=0.0)

    def _promising(self) -> tuple[Evaluation, ...]:
        """Pareto front, by what was judged, of the cells that may be named; at a budget, all that the search found."""
        if self.settings.budget.given():
            found = (one for one in self._recorded() if not self.is_start(one.design))
            return tuple({one.design.key: one for one in found}.values())
        return pareto_front(self._nameable(self._recorded()), self.settings.score.cost)

    def _recorded(self) -> tuple[Evaluation, ...]:
        """Evaluations within the limits that were measured alike, one seed each; not the fresh ones.

        Where there was a playoff, those of its first round. Of the others, those that were trained longest; of these
        those that no clock cut short, or, where it cut all of them, those that came as far as any.
        """
        limits = self.settings.limits
        first = (one.evaluation for one in self.retrained if one.round == 0)
        found = [
            one
            for one in first
            if not one.failed and limits.broken_by(one.resources) is None and self.keeps(one.design)
        ]
        found = found or list(self.usable())
        # An estimate's rung compares it with those of its step alone.
        reached = [(0 if self.settings.estimates else one.rung, one.fullness) for one in found]
        furthest = max(reached, default=None)
        return tuple(one for one, its in zip(found, reached, strict=True) if its == furthest)

    def _nameable(self, evaluations: Iterable[Evaluation]) -> tuple[Evaluation, ...]:
        """Those that may be named: the starting cell, and what costs less; in old runs and paper mode, all of them."""
        settings, start = self.settings, self.starting()
        if settings.choice == "finalists" or settings.budget.given() or start is None:
            return tuple(evaluations)
        cost = settings.score.cost
        return tuple(
            one
            for one in evaluations
            if cost(one.resources) < cost(start.resources) or (not settings.estimates and self.is_start(one.design))
        )

    def estimates(self) -> tuple[Evaluation, ...]:
        """What a playoff chooses its cells from: what the steps measured and may be named, the chosen first."""
        limits = self.settings.limits
        chosen = {(one.step, one.index) for one in self.chosen()}
        ordered = sorted(self.candidates, key=lambda one: (one.step, one.index) not in chosen)
        found = [
            one.evaluation
            for one in ordered
            if limits.broken_by(one.evaluation.resources) is None and self.keeps(one.design)
        ]
        return self._nameable(found)

    def starting(self) -> Evaluation | None:
        """The evaluation in the search of what it started from, of several the one gone on with; None before it."""
        index = self.decisions[0].index if self.decisions else 0
        return next((one.evaluation for one in self.candidates if (one.step, one.index) == (0, index)), None)

    def starts(self) -> tuple[Evaluation, ...]:
        """The evaluations in the search of everything that it could start from, without those that failed.

        At a budget they are the hand-made networks: what was found at another budget is none of them.
        """
        found = (one.evaluation for one in self.candidates if one.step == 0 and self._hand_made(one.design))
        return tuple(one for one in found if not one.failed)

    def _hand_made(self, design: Design) -> bool:
        """Whether what the first step measured has a name; where nothing has one, everything is."""
        return not self.names or design.key in self.names

    def rival_starts(self) -> tuple[Evaluation, ...]:
        """Those of the starts that are measured again: as many as there are finalists, the best by the mean of what
        the search measured of each."""
        scores = self.start_scores()
        found = sorted(self.starts(), key=lambda one: -scores[one.design.key])
        return tuple(found[: max(1, self.settings.finalists)])

    def start_scores(self) -> dict[str, float]:
        """Mean S of everything that the search measured of each start, fresh seeds apart, by key."""
        scores: dict[str, list[float]] = {one.design.key: [] for one in self.starts()}
        for one in self.candidates:
            if one.same_as is None and one.design.key in scores:
                scores[one.design.key].append(self.settings.score(one.evaluation))
        return {key: math.fsum(own) / len(own) for key, own in scores.items()}

    def is_start(self, design: Design) -> bool:
        """Whether a search could start from it; see `starts`."""
        return design.key in self._start_keys

    @cached_property
    def _start_keys(self) -> frozenset[str]:
        first = (self.start, *(one.design for one in self.candidates if one.step == 0))
        return frozenset(one.key for one in first if self._hand_made(one))

    # --- figures -----------------------------------------------------------------------------------------------------

    def figures(self, evaluation: Evaluation, *, fresh: bool = True) -> Figures:
        """What to report of an evaluated cell that did not fail; without the fresh seeds, if so asked.

        Where time ran out between the fresh seeds of different cells, only the seeds count that all of them had.
        """
        again: tuple[Evaluation, ...] = ()
        if fresh and self.remeasured:
            again = self.remeasured.get(evaluation.design.key, ())[: self.fresh_seeds]
        return self._figures(evaluation, tuple(one for one in again if not one.failed))

    @property
    def fresh_seeds(self) -> int:
        """How many fresh seeds all finalists had."""
        return min(map(len, self.remeasured.values()), default=0)

    def _figures(self, evaluation: Evaluation, repeats: tuple[Evaluation, ...]) -> Figures:
        trainings = repeats or (evaluation,)
        performance, deviation = mean_and_deviation([one.performance or 0.0 for one in trainings])
        values = [one.judged or 0.0 for one in trainings]
        judged, _ = mean_and_deviation(values)
        scores = [self.settings.score.of(value, evaluation.design, evaluation.resources) for value in values]
        return Figures(
            design=evaluation.design,
            recorded=evaluation,
            repeats=repeats,
            performance=performance,
            performance_sd=deviation if repeats else None,
            judged=judged,
            score=self.settings.score.of(judged, evaluation.design, evaluation.resources),
            score_sd=mean_and_deviation(scores)[1] if repeats and all(map(math.isfinite, scores)) else None,
            from_scratch=bool(repeats) or self.from_scratch(evaluation),
        )

    def from_scratch(self, evaluation: Evaluation) -> bool:
        """Whether a network was trained from scratch for it, for however short a time."""
        if not self.settings.estimates or any(one.evaluation == evaluation for one in self.retrained):
            return True
        return self.kind.start_trained and evaluation == self.starting()

    @property
    def kind(self) -> EvaluatorKind:
        """How its candidates were measured."""
        return EVALUATORS[self.settings.evaluator]

    def measured_again(self) -> tuple[Figures, ...]:
        """Of every cell with fresh seeds, finalists first, then the starting cell; those that failed left out."""
        if not self.remeasured:
            # Isomorphism keys cost time; a run without fresh seeds asks for none.
            return ()
        known = {one.design.key: one.evaluation for one in reversed(self.candidates) if not one.evaluation.failed}
        known |= {one.evaluation.design.key: one.evaluation for one in self.retrained if not one.evaluation.failed}
        # The starting cell comes last, so that of equals the cheaper is named.
        starts = {one.design.key: one for one in self.starts()}
        known |= {key: one for key, one in starts.items() if key in self.remeasured}
        keys = sorted(self.remeasured, key=lambda key: key in starts)
        found = [self.figures(known[key]) for key in keys if key in known]
        return tuple(one for one in found if one.repeats)

    def best(self) -> Figures | None:
        """The cell to report, within the limits: that with the highest S of all that were measured alike.

        The starting cell takes part, and what costs more than it does not (`SearchSettings.choice`). Of the fresh
        seeds where the settings say so, else of the playoff's last round, else of the trainings of the search. Where
        there are estimates only, which compare the candidates of one step, it is the starting cell. What cannot be told
        from chance is no result.

        None before anything usable was evaluated, and where nothing is better than chance. Before the run is finished
        it is the best so far; then None while there are estimates only.
        """
        return self._best

    @cached_property
    def _best(self) -> Figures | None:
        # Pages and reports ask for it dozens of times, and of thousands of candidates each time takes a while.
        if not self.finished and self.settings.estimates and not self.retrained and not self.remeasured:
            return None
        return self.named()

    def named(self) -> Figures | None:
        """What `best` is at the end of a run."""
        rivals = [one for one in self.rivals() if self.above_chance(one)]
        logged = next((one for one in rivals if self.finished and one.design.key == self.best_key), None)
        return logged or _highest(rivals)

    def found(self) -> Figures | None:
        """The best of what the search itself measured, the start included: whatever stands `beside` it costs as much.

        None where there is none.
        """
        return _highest([one for one in self._own_rivals if self.above_chance(one) and self.keeps(one.design)])

    def unforced(self) -> Figures | None:
        """What would be named if commands held nothing, of all that was measured alike."""
        return replace(self, steering=Steering(), best_key=None).named()

    def rivals(self) -> list[Figures]:
        """Everything that the choice is made from, by the measure that is worth most; what the search found first."""
        found = self._own_rivals + [figures for _, figures in self.beside_figures()]
        return [one for one in found if self.keeps(one.design)]

    def beside_figures(self) -> tuple[tuple[Beside, Figures], ...]:
        """What was measured beside with all the fresh seeds that the finalists had, within the limits.

        Each with the first of its trainings. One whose trainings failed, or for which time ran out, is left out.
        """
        seeds, limits = self.fresh_seeds, self.settings.limits
        found: list[tuple[Beside, Figures]] = []
        for first in (one for one in self.beside if one.repeat == 0):
            again = [one.evaluation for one in self.beside if one.repeat is not None and _place(one) == _place(first)]
            usable = tuple(one for one in again[:seeds] if not one.failed)
            if len(again) >= seeds and usable and limits.broken_by(usable[0].resources) is None:
                found.append((first, self._figures(usable[0], usable)))
        return tuple(found)

    def role(self, design: Design) -> Beside | None:
        """What a design is beside what the search found; None where the search measured it itself."""
        return next((one for one, figures in self.beside_figures() if figures.design.key == design.key), None)

    @cached_property
    def _own_rivals(self) -> list[Figures]:
        """Those of them that the search measured itself."""
        settings, finalists = self.settings, self.finalists()
        if settings.choice == "finalists":
            reselected = [one for one in finalists if one.design.key in self.remeasured] if settings.reselect else []
            return [self.figures(one) for one in reselected or finalists[:1]]
        limits, start = settings.limits, self.starting()
        again = [one for one in self.measured_again() if limits.broken_by(one.recorded.resources) is None]
        if again and self._enough_again(finalists):
            order = {one.design.key: place for place, one in enumerate(finalists)}
            return sorted(again, key=lambda one: order.get(one.design.key, len(order)))
        if settings.estimates and not self.retrained:
            kept = start is not None and not start.failed and limits.broken_by(start.resources) is None
            alone = (start,) if kept and start is not None else finalists[:1]
            return [self.figures(one, fresh=False) for one in alone]
        pool = self._recorded()
        if self.retrained:
            furthest = max((one.rung for one in self.usable()), default=0)
            pool = tuple(one for one in self.usable() if one.rung == furthest)
        allowed = set(map(id, self._nameable(pool)))
        taking_part = [one for one in pool if id(one) in allowed or self.is_start(one.design)]
        ranked = sorted(taking_part, key=settings.score.preference, reverse=True)
        return [self.figures(one, fresh=False) for one in ranked]

    def _enough_again(self, finalists: Sequence[Evaluation]) -> bool:
        """Whether the fresh seeds compare anything: two cells have some, or there was no second one to be measured."""
        wanted = {one.design.key for one in (*finalists, *self.rival_starts())}
        return len(self.remeasured) > 1 or wanted <= set(self.remeasured)

    def above_chance(self, figures: Figures) -> bool:
        """Whether its performance is more than two standard errors above that of guessing; true where that is unknown.

        A score of untrained networks is no performance.
        """
        chance = self.chance
        if chance is None or not (self.kind.trains or figures.from_scratch):
            return True
        return figures.performance > chance.bar

    @property
    def chance(self) -> Chance | None:
        """What guessing is worth on the run's validation samples; None where the log does not say it."""
        found = self.data.get("chance")
        return None if found is None else Chance(found["performance"], found["error"])

    @property
    def at_chance(self) -> bool:
        """Whether cells were measured, and none of them can be told from chance."""
        rivals = self.rivals() if self.finished else []
        return bool(rivals) and not any(map(self.above_chance, rivals))

    def complete(self) -> Figures | None:
        """The starting cell's figures (the complete graph, unless `start` said otherwise), measured as the best's were.

        Of several starts it is the best. None where it failed, or was not measured alike.
        """
        return self._complete

    @cached_property
    def _complete(self) -> Figures | None:
        best = self.best()
        found = [one for start in self.starts() if (one := self._as_measured(start, best)) is not None]
        return max(found, key=lambda one: one.score, default=None)

    def _as_measured(self, start: Evaluation, best: Figures | None) -> Figures | None:
        """A start's figures that were measured as the best's were; None where there are none."""
        again = [one.evaluation for one in reversed(self.retrained) if one.evaluation.design.key == start.design.key]
        known = [self.figures(start)]
        known += [self.figures(one, fresh=False) for one in (*again, start) if not one.failed]
        if best is None:
            return next((one for one in known if one.from_scratch), None)
        return next((one for one in known if one.alike(best)), None)

    def front(self) -> tuple[Figures, ...]:
        """Pareto front against the run's resource of cells within the limits that were measured alike, cheapest first.

        Of those measured with fresh seeds, once there are two; else of the playoff's first round, in which all cells
        are trained alike; else of the trainings of the search. Empty where there are estimates only. Over a range of
        budgets, the best at each that is done.
        """
        if self.octaves:
            return tuple(best for one in self.octaves if one.finished and (best := one.best()) is not None)
        limits, cost = self.settings.limits, self.settings.score.cost
        known = [
            one
            for one in self.measured_again()
            if limits.broken_by(one.recorded.resources) is None and self.keeps(one.design)
        ]
        fullest = max((one.fullness for one in known), default=None)
        known = [one for one in known if one.fullness == fullest]
        if len(known) < 2:
            trained = () if self.settings.estimates and not self.retrained else self._recorded()
            known = [self.figures(one, fresh=False) for one in trained]
        return undominated(known, lambda one: cost(one.recorded.resources), lambda one: one.judged)

    def spent_choosing(self) -> Spent:
        """What steps and playoff cost; a shared training counts once."""
        if self.octaves:
            return sum((one.spent_choosing() for one in self.octaves), Spent())
        total = self.screening
        for one in self.candidates:
            if one.same_as is None:
                total += one.evaluation.spent
        return sum((one.evaluation.spent for end in (*self.ends, self) for one in end.retrained), total)

    def spent_searching(self) -> Spent:
        """What all trainings cost but those beside: steps, playoff and fresh seeds."""
        parts = (one for part in self.parts for one in (*part.ends, part))
        again = (one.spent for part in parts for own in part.remeasured.values() for one in own)
        return sum(again, self.spent_choosing())

    def spent(self) -> Spent:
        """What all trainings cost together."""
        parts = (one for part in self.parts for one in (*part.ends, part))
        beside = (one.evaluation.spent for part in parts for one in part.beside)
        return sum(beside, self.spent_searching())


def _place(one: Beside) -> tuple[str, int]:
    return one.role, one.index


def _highest(rivals: Sequence[Figures]) -> Figures | None:
    """The highest S among those that rest on most; None of none."""
    if not rivals:
        return None
    fullest = max(one.fullness for one in rivals)
    # Among equals the order decides: the recorded preference, ties broken towards the cheaper cell.
    return max((one for one in rivals if one.fullness == fullest), key=lambda one: one.score)
