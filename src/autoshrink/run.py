"""The run loop: replay the log, ask the strategy, evaluate, append events, tell the strategy.

This is the only place that moves values from one part to the next. It trains nothing itself and imports no torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autoshrink import formatting
from autoshrink.commands import Cancel, Pause
from autoshrink.design import Design, edges_of
from autoshrink.errors import RunError, SearchError
from autoshrink.evaluation import Evaluator, Job, Ranking
from autoshrink.finals import measure_again, measure_beside, playoff, playoff_macs
from autoshrink.mailbox import Inbox
from autoshrink.obeying import Analyst, Held, Obeying
from autoshrink.record import Candidate, RunRecord
from autoshrink.registry import EVALUATORS, STRATEGIES
from autoshrink.replaying import replay
from autoshrink.score import Evaluation, compare
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Space, space_of
from autoshrink.store import Log
from autoshrink.strategies import Proposal, StrategyContext
from autoshrink.watching import Progress, Watcher

RESERVE_SHARE = 0.3
"""At most this share of a time limit is kept back for measuring the finalists again."""


ESTIMATING_SHARE = 0.4
"""Of a time limit, for the steps, where they estimate and a playoff follows."""
PLAYOFF_SHARE = 0.7
"""Of a time limit, for steps and playoff."""
STATISTICS_BATCHES = 8
"""At the end of a short training, at most (`autoshrink.training.sprint.CONSECUTIVE`)."""
AGAIN_SHARE = 0.85
"""Of a time limit, for all that and the fresh seeds, where more is measured beside."""


ENDED = {"stop": "a person ended it", "cancel": "a person cancelled it"}
"""Why no further step is asked for, by how commands end a search."""


class _CancelledError(Exception):
    """The finals are not waited for."""


class Loop:
    """One run, from wherever its log stands to its end.

    Args:
        store: the run's log, beginning with a `created` event.
        evaluator: measures the candidates of a step.
        fresh: trains cells from scratch, those of a playoff and the finalists; None: `evaluator` does.
        ranking: chooses a step's candidates where the settings ask for a filter.
        watcher: told after every event.
        space: what may be proposed; None: what the settings ask for.
        later: of the mean seconds of a candidate, those that follow this run, for estimates of the time left.
        inbox: the commands that wait; None: those of the run's command file.
        analyst: a script that says commands after every step.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        store: Log,
        evaluator: Evaluator,
        *,
        fresh: Evaluator | None = None,
        ranking: Ranking | None = None,
        watcher: Watcher | None = None,
        space: Space[Any] | None = None,
        later: Callable[[float], float] = lambda _: 0.0,
        inbox: Inbox | None = None,
        analyst: Analyst | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._evaluator = evaluator
        self._fresh = fresh or evaluator
        self._ranking = ranking
        self._watcher = watcher or Watcher()
        self._later = later
        self._clock = clock
        record = replay(store.events())
        # Those that the search began with: commands are followed where they stand.
        self._settings = record.asked
        self._data = record.data
        self._samples: int | None = record.data.get("train")
        self._ranks = dict(record.ranks)
        self._ranked: list[tuple[str, float | None]] = []
        self._asked_space = self._space = space or space_of(record.asked, record.start, record.data)
        self._falls = self._space.falls
        self._obeying = Obeying(
            store, inbox or Inbox(store.folder, (one.id for one in record.commands)), analyst=analyst
        )
        self._held = self._obeying.held
        self._step = self._skipped = 0
        self._penalty = record.asked.penalty
        self._weigh()
        self._strategy = STRATEGIES[record.settings.strategy](self._context(self._space))
        self._began = clock() - record.active_seconds
        again = record.settings.finalists + min(max(1, len(record.names)), record.settings.finalists)
        self._again = again + len(record.settings.beside)
        self._total_edges = edges_of(record.start)
        self._recorded = {(one.step, one.index): one for one in record.candidates}
        self._decided = {decision.step: decision for decision in record.decisions}
        self._by_key: dict[str, Candidate] = {}
        self._weights = {one.design: one.evaluation.weights for one in record.candidates}
        self._start = next((one.evaluation for one in record.candidates), None)
        self._best: Evaluation | None = None
        self._edges = self._total_edges
        for one in record.candidates:
            self._by_key.setdefault(one.design.key, one)
            self._keep_best(one.evaluation)
        for other in record.retrained:
            self._keep_best(other.evaluation)
        self._stopped = record.stopped
        self._seconds = [one.evaluation.spent.seconds for one in record.candidates if one.same_as is None]
        self._macs = record.spent_choosing().training_macs
        self._passes: dict[int, list[float]] = {}
        for one in record.candidates:
            self._count_passes(one)

    def run(self) -> RunRecord:
        """Go on to the end; everything that is in the log already is not done again.

        Raises:
            SearchError: no candidate within the limits could be measured.
            RunError: the log cannot be written, or does not fit what the strategy would do.
        """
        while True:
            self._obey()
            reason = ENDED.get(self._obeying.steering.ending or "")
            if reason is not None:
                break
            proposals = self._asked()
            self._record_ranks(proposals)
            reason = self._reason_to_stop(proposals)
            if reason is not None:
                break
            evaluations = self._measure_step(proposals)
            if evaluations is not None:
                self._decide(proposals, evaluations)
                self._step += 1
            elif self._cancelled():
                self._step += 1
                self._skipped += 1
            else:
                reason = "the time limit is reached"
                break
        if self._stopped is None:
            self._store.append("stopped", {"reason": reason})
        return self._finish()

    # --- commands ----------------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        """Take in the commands that count from the next step on, those of the log first, and follow them."""
        self._obeying.replay_step(self._step)
        while self._step not in self._decided and self._obeying.goes_beyond(self._step):
            # Nobody waited for the rest of this step.
            self._step += 1
            self._skipped += 1
            self._obeying.replay_step(self._step)
        begun = self._step in self._decided or any(step >= self._step for step, _ in self._recorded)
        if not begun and self._stopped is None:
            self._began += self._obeying.take(self._step, lambda: self._tell("paused", self._step, (0, 0), None, None))
        held = self._obeying.held
        if held != self._held:
            before, self._held = self._held, held
            self._turn(before)

    def _turn(self, before: Held) -> None:
        """Go on as commands leave it: the strategy itself, where it can, or a new one."""
        self._settings = self._settings.changed(
            {"penalty": self._penalty if self._held.penalty is None else self._held.penalty}
        )
        self._weigh()
        constraints = self._held.constraints
        whole = self._asked_space.constrained(constraints) if constraints else self._asked_space
        self._space = whole
        self._best = None
        for one in self._recorded.values():
            self._keep_best(one.evaluation)
        design = self._picked(before)
        if self._strategy.redirected(self._context(whole), design):
            return
        begun = whole
        if self._held.picks:
            begun = whole.begun_at(whole.projected(self._design_at(self._held.picks[-1][1].place)))
        # Drawn otherwise than those before.
        seed = derive_seed(self._settings.seed, "commanded", self._step)
        context = self._context(begun)
        self._strategy = STRATEGIES[self._settings.strategy](
            replace(context, settings=context.settings.changed({"seed": seed}))
        )
        self._skipped = self._step

    def _picked(self, before: Held) -> Design | None:
        """From what to go on: the last pick; where that was taken back, what was gone on with before it."""
        now, then = self._held.picks, before.picks
        if now == then:
            return None
        if now and (len(now) >= len(then) or now[-1] != then[len(now) - 1]):
            return self._design_at(now[-1][1].place)
        earlier = [one for step, one in self._decided.items() if step < then[len(now)][0]]
        return self._design_at((earlier[-1].step, earlier[-1].index)) if earlier else None

    def _design_at(self, place: tuple[int, int]) -> Design:
        return self._recorded[place].design

    def _weigh(self) -> None:
        """Let an evaluator that compares by score know it."""
        weigh = getattr(self._evaluator, "weigh", None)
        if weigh is not None:
            weigh(self._settings.score)

    def _context(self, space: Space[Any]) -> StrategyContext:
        settings, held, resources = self._settings, self._held.constraints, self._evaluator.resources
        return StrategyContext(
            settings,
            space,
            resources,
            allowed=lambda design: settings.limits.broken_by(resources(design)) is None and held.keeps(design),
            stop=self._stop_at,
            rank=self._rank if self._ranking else None,
            grace=self._evaluator.grace,
        )

    def _asked(self) -> tuple[Proposal, ...]:
        """What the strategy asks for, by the steps of the run.

        Raises:
            SearchError: it asks for what breaks a command, against its promise.
        """
        held = self._held.constraints
        found = self._strategy.ask()
        for one in found:
            broken = held.broken_by(one.design)
            if broken is not None:
                raise SearchError(f"--strategy {self._settings.strategy} proposes what a command forbids: {broken}")
        return tuple(replace(one, step=one.step + self._skipped) for one in found) if self._skipped else found

    def _cancelled(self) -> bool:
        """Whether the end was asked for in the middle of a step or of the finals, and is waited for."""
        return self._stopped is None and self._obeying.waits(Cancel)

    def _stop_at(self, design: Design) -> str | None:
        """Why the settings end the search at a design, or None."""
        stop, macs, edges = self._settings.stop, self._evaluator.resources(design).macs, edges_of(design)
        if stop.edges and edges is not None and edges <= stop.edges:
            return f"{formatting.count(edges, 'edge')} {'is' if edges == 1 else 'are'} left"
        return f"the cell is down to {macs:,} MACs" if stop.macs and macs <= stop.macs else None

    # --- one step --------------------------------------------------------------------------------------------------

    def _reason_to_stop(self, proposals: Sequence[Proposal]) -> str | None:
        if not proposals:
            return self._strategy.over()
        if proposals[0].step in self._decided:
            return None
        if self._stopped is not None:
            return self._stopped
        exceeded = self._exceeded(proposals)
        if exceeded is not None:
            return f"another step would exceed {exceeded}"
        deadline = self._search_deadline()
        if deadline is not None and self._clock() >= deadline:
            return "the time limit is reached"
        return None

    def _exceeded(self, proposals: Sequence[Proposal]) -> str | None:
        """The limit on trainings, or on their MACs, that a step would exceed; None for none."""
        stop = self._settings.stop
        if stop.evaluations is not None and len(self._seconds) + len(self._new_keys(proposals)) > stop.evaluations:
            return formatting.count(stop.evaluations, "evaluation")
        if stop.training_macs is not None and self._too_dear(proposals, stop.training_macs):
            return f"{formatting.quantity(stop.training_macs)} training MACs"
        return None

    def _too_dear(self, proposals: Sequence[Proposal], limit: int) -> bool:
        """Whether a step that nothing was measured of would spend more training MACs than are left for it.

        A function of what was measured in the steps before, so that a killed run decides as an undisturbed one.
        """
        step = proposals[0].step
        if step == 0 or step in self._passes:
            return False
        new = list(self._new_keys(proposals).values())
        expected = sum(self._passes_of(one, len(new)) * self._evaluator.resources(one.design).macs for one in new)
        return self._macs + self._reserved_macs() + expected > limit

    def _passes_of(self, proposal: Proposal, together: int) -> float:
        """How many passes of its network's MACs a candidate will cost: at most, where candidates are trained.

        Where the steps estimate, the mean of the step before: what the start is trained for says nothing of its
        children, and one child bears what all of them share; a candidate alone may be trained where several are
        compared without. Else what the recipe asks for, without its early stops,
        and, of a short training, with the samples on which statistics are taken.
        """
        settings, train = self._settings, self._data.get("train")
        later = [self._passes[at] for at in sorted(self._passes) if at > 0]
        if settings.estimates:
            alike = [one for one in later if (len(one) > 1) == (together > 1)] or later
            return sum(alike[-1]) / len(alike[-1]) if alike else 0.0
        if train is None:
            return max(max(one) for one in self._passes.values())
        epochs, validation = settings.recipe.epochs, self._data.get("validation", 0)
        if proposal.share == 1:
            return float(epochs * (3 * train + validation))
        return float(3 * proposal.share * epochs * train + validation + STATISTICS_BATCHES * settings.samples_a_step)

    def _reserved_macs(self) -> float:
        """What a playoff of networks as dear as the start will cost."""
        if not self._settings.estimates or self._start is None:
            return 0.0
        return playoff_macs(self._settings, self._data, self._start.resources.macs)

    def _count_passes(self, candidate: Candidate) -> None:
        """Keep how many passes of its network's MACs a candidate of a step cost."""
        one = candidate.evaluation
        if candidate.same_as is None:
            self._passes.setdefault(candidate.step, []).append(one.spent.training_macs / max(1, one.resources.macs))

    def _known(self, step: int) -> dict[str, Candidate]:
        """What need not be measured again: everything so far, or, of a relative evaluator, the same step's only."""
        if not self._settings.relative:
            return self._by_key
        return {one.design.key: one for (at, _), one in self._recorded.items() if at == step and one.same_as is None}

    def _new_keys(self, proposals: Sequence[Proposal]) -> dict[str, Proposal]:
        """The proposals that need measuring: the first of each network that has not been measured."""
        known = self._known(proposals[0].step)
        new: dict[str, Proposal] = {}
        for proposal in proposals:
            missing = proposal.anew and (proposal.step, proposal.index) not in self._recorded
            if missing or proposal.design.key not in known:
                new.setdefault(proposal.design.key, proposal)
        return new

    def _all_of_step(self, proposals: Sequence[Proposal]) -> dict[str, Proposal]:
        """What the step has to measure, whatever of it is in the log already."""
        step = proposals[0].step
        before = set()
        if not self._settings.relative:
            before = {one.design.key for (at, _), one in self._recorded.items() if at != step}
        needed: dict[str, Proposal] = {}
        for proposal in proposals:
            if proposal.anew or proposal.design.key not in before:
                needed.setdefault(proposal.design.key, proposal)
        return needed

    def _measure_step(self, proposals: Sequence[Proposal]) -> list[Evaluation] | None:
        """The proposals' evaluations in their order; None when time ran out first."""
        step = proposals[0].step
        self._refuse_others(proposals)
        self._tell_search(proposals, None)
        new = self._new_keys(proposals)
        if new and self._evaluator.joint:
            new = self._all_of_step(proposals)
        first = list(new.values())
        jobs = [self._job(proposal) for proposal in first]
        if jobs:
            if self._cancelled():
                return None
            for position, found in self._evaluator.evaluate(jobs, deadline=self._search_deadline()):
                asked = first[position]
                if (step, asked.index) in self._recorded:
                    continue
                evaluation = replace(found, rung=asked.rung or found.rung)
                self._record(Candidate(step, asked.index, evaluation, asked.change))
                self._tell_search(proposals, evaluation)
                if self._cancelled():
                    return None
        known = self._known(step)
        for proposal in proposals:
            if (step, proposal.index) not in self._recorded and proposal.design.key in known:
                same = known[proposal.design.key]
                # Its nodes may be numbered otherwise: the other's weights are none of its own.
                shared = replace(same.evaluation, design=proposal.design, weights=None)
                self._record(Candidate(step, proposal.index, shared, proposal.change, (same.step, same.index)))
        recorded = [self._recorded.get((step, proposal.index)) for proposal in proposals]
        complete = [one.evaluation for one in recorded if one is not None]
        return complete if len(complete) == len(proposals) else None

    def _refuse_others(self, proposals: Sequence[Proposal]) -> None:
        """Raise where the log has something else in the step than is proposed: hand-made networks, or moves, changed.

        Raises:
            RunError: it has.
        """
        step = proposals[0].step
        found = {index: one.design for (at, index), one in self._recorded.items() if at == step}
        proposed = {one.index: one.design for one in proposals}
        same = all(proposed.get(index) == design for index, design in found.items())
        if not same or (step in self._decided and len(found) < len(proposed)):
            raise RunError(
                f"{self._store.folder}: in step {step} the log has other candidates than this version proposes; "
                "resume it with the version that began it"
            )

    def _job(self, proposal: Proposal) -> Job:
        weights = None if proposal.parent is None else self._weights.get(proposal.parent)
        if EVALUATORS[self._settings.evaluator].shares:
            weights = self._shared_before(proposal.step)
        epochs = None if proposal.share == 1 else proposal.share * self._settings.recipe.epochs
        return Job(proposal.design, self._seed(proposal), proposal.parent, weights, epochs)

    def _shared_before(self, step: int) -> str | None:
        """The weights that the steps before left to all."""
        known = ((at, one.evaluation.weights) for (at, _), one in self._recorded.items() if at < step)
        return max(((at, weights) for at, weights in known if weights), default=(0, None))[1]

    # --- the filter --------------------------------------------------------------------------------------------------

    def _rank(self, design: Design) -> float:
        """The ranking's score of a design, from the log where it is there; one without a score comes last."""
        assert self._ranking is not None, "there is a filter"
        if design.key not in self._ranks:
            try:
                rank: float | None = self._ranking(design)
            except ValueError:
                rank = None
            self._ranks[design.key] = math.nan if rank is None else rank
            self._ranked.append((design.key, rank))
        found = self._ranks[design.key]
        return -math.inf if math.isnan(found) else found

    def _record_ranks(self, proposals: Sequence[Proposal]) -> None:
        if self._ranking is None or not self._ranked or not proposals:
            return
        ranks = [list(one) for one in self._ranked]
        spent = self._ranking.take_spent()
        self._store.append("screened", {"step": proposals[0].step, "ranks": ranks, "spent": asdict(spent)})
        self._macs += spent.training_macs
        self._ranked = []

    def _seed(self, proposal: Proposal) -> int:
        """From (run seed, step) where candidates of a step are paired, else from (run seed, step, candidate)."""
        candidate = () if self._settings.paired else (proposal.index,)
        return derive_seed(self._settings.seed, "candidate", proposal.step, *candidate)

    def _record(self, candidate: Candidate) -> None:
        self._store.append("evaluated", candidate.to_json())
        self._recorded[candidate.step, candidate.index] = candidate
        self._by_key.setdefault(candidate.design.key, candidate)
        self._weights[candidate.design] = candidate.evaluation.weights
        self._keep_best(candidate.evaluation)
        self._start = self._start or candidate.evaluation
        self._count_passes(candidate)
        if candidate.same_as is None:
            self._seconds.append(candidate.evaluation.spent.seconds)
            self._macs += candidate.evaluation.spent.training_macs

    def _keep_best(self, evaluation: Evaluation) -> None:
        if evaluation.failed or self._settings.limits.broken_by(evaluation.resources):
            return
        if not self._held.constraints.keeps(evaluation.design):
            return
        preference = self._settings.score.preference
        if self._best is None or preference(evaluation) > preference(self._best):
            self._best = evaluation

    def _decide(self, proposals: Sequence[Proposal], evaluations: Sequence[Evaluation]) -> None:
        step = proposals[0].step
        choice = self._strategy.tell(evaluations)
        self._edges = edges_of(proposals[choice.index].design)
        decided = self._decided.get(step)
        if decided is not None:
            if decided.index != choice.index:
                raise RunError(
                    f"{self._store.folder}: in step {step} the log chose candidate {decided.index}, this version would "
                    f"choose {choice.index}; resume it with the version that began it"
                )
            return
        comparison = None
        if choice.runner_up is not None:
            first, second = evaluations[choice.index], evaluations[choice.runner_up]
            comparison = None if first.failed or second.failed else compare(first, second)
        self._store.append(
            "decided",
            {
                "step": step,
                "index": choice.index,
                "runner_up": choice.runner_up,
                "difference": comparison and comparison.difference,
                "standard_error": comparison and comparison.standard_error,
            },
        )
        chosen = self._recorded[step, choice.index]
        self._watcher.decided(chosen, self._settings.score(chosen.evaluation), comparison)

    # --- the finals --------------------------------------------------------------------------------------------------

    def _finish(self) -> RunRecord:
        record = replay(self._store.events())
        if record.finished:
            return record
        if self._obeying.steering.ending != "cancel":
            try:
                self._measure_finals(record)
            except _CancelledError:
                self._obeying.drain(self._step)
        record = replay(self._store.events())
        best = record.named()
        self._store.append("finished", {"best": None if best is None else best.design.key})
        return replay(self._store.events())

    def _measure_finals(self, record: RunRecord) -> None:
        if self._obeying.waits(Cancel):
            raise _CancelledError
        if record.settings.estimates:
            playoff(self._store, self._fresh, deadline=self._limit(PLAYOFF_SHARE), told=self._tell_final)
            record = replay(self._store.events())
        start = record.starting()
        if not record.finalists() and (
            start is None or record.settings.limits.broken_by(start.resources) is not None or start.failed
        ):
            raise SearchError(_nothing_usable(record, self._store.folder))
        share = AGAIN_SHARE if record.settings.estimates and record.settings.beside else 1.0
        measure_again(self._store, self._fresh, deadline=lambda: self._limit(share), told=self._tell_final)
        measure_beside(self._store, self._fresh, self._space, deadline=lambda: self._limit(1.0), told=self._tell_final)

    # --- time ------------------------------------------------------------------------------------------------------

    def _mean_seconds(self) -> float | None:
        """Of a candidate; where a search estimates, the first, with a training that others build on, is none."""
        recent = self._seconds[1 if self._settings.estimates else 0 :][-20:]
        return sum(recent) / len(recent) if recent else None

    def _search_deadline(self) -> float | None:
        """When the steps have to end so that the finalists can still be measured again."""
        limit = self._settings.stop.seconds
        if limit is None:
            return None
        if self._settings.estimates:
            return self._limit(ESTIMATING_SHARE)
        reserve = min((self._mean_seconds() or 0.0) * self._again * self._settings.repeats, RESERVE_SHARE * limit)
        return self._began + limit - reserve

    def _limit(self, share: float) -> float | None:
        limit = self._settings.stop.seconds
        return None if limit is None else self._began + share * limit

    def _finals_seconds(self) -> float:
        """A guess of the time after the last step; halved trainings where finalists are smaller and stop early."""
        settings = self._settings
        again = self._again * settings.repeats * (0.5 if self._falls else 1.0)
        if not settings.estimates:
            return again * (self._mean_seconds() or 0.0)
        if self._start is None or not EVALUATORS[settings.evaluator].trains:
            return 0.0
        spent, epochs = self._start.spent, settings.short_epochs(settings.playoff.fresh, self._samples)
        passes: float = 3 * epochs * self._data.get("train", 0) + self._data.get("validation", 0)
        macs = again * passes * self._start.resources.macs + 0.5 * self._reserved_macs()
        return macs * spent.seconds / max(1.0, spent.training_macs)

    def _seconds_left(self, done: int) -> float | None:
        """The recent mean for each expected evaluation, in proportion to the edges that will be left by then."""
        mean, outlook = self._mean_seconds(), self._strategy.outlook()
        if mean is None:
            return None
        fall = 1 / (len(outlook) + 1) if self._falls else 0.0
        weights = [width * (1 - position * fall) for position, width in enumerate(outlook)]
        expected = max(0.0, sum(weights) - done)
        if self._settings.stop.evaluations is not None:
            expected = min(expected, self._settings.stop.evaluations - len(self._seconds))
        if self._settings.stop.training_macs is not None and self._macs:
            left = max(0.0, self._settings.stop.training_macs - self._macs - self._reserved_macs())
            expected = min(expected, left * len(self._seconds) / self._macs)
        seconds = mean * expected + self._finals_seconds()
        limit = self._settings.stop.seconds
        if limit is not None:
            seconds = min(seconds, max(0.0, self._began + limit - self._clock()))
        return seconds + self._later(mean)

    # --- watchers --------------------------------------------------------------------------------------------------

    def _tell_search(self, proposals: Sequence[Proposal], latest: Evaluation | None) -> None:
        step = proposals[0].step
        done = sum((step, proposal.index) in self._recorded for proposal in proposals)
        phase = "pausing" if self._obeying.waits(Pause) else "search"
        self._tell(phase, step, (done, len(proposals)), latest, self._seconds_left(done))

    def _tell_final(self, phase: str, turn: int, counts: tuple[int, int], latest: Evaluation) -> None:
        if phase == "playoff":
            self._keep_best(latest)
        share = 1 - (turn + counts[0] / counts[1]) / max(1, self._settings.repeats) if phase == "fresh seeds" else 1.0
        left = share * self._finals_seconds() + self._later(self._mean_seconds() or 0.0)
        self._tell(phase, turn, counts, latest, left)
        if self._obeying.waits(Cancel):
            raise _CancelledError

    def _tell(
        self, phase: str, step: int, counts: tuple[int, int], latest: Evaluation | None, left: float | None
    ) -> None:
        self._watcher.progress(
            Progress(
                phase=phase,
                step=step,
                edges=self._edges,
                total_edges=self._total_edges,
                done=counts[0],
                expected=counts[1],
                latest=latest,
                best_score=None if self._best is None else self._settings.score(self._best),
                best=None if self._best is None else self._best.design,
                seconds_left=left,
            )
        )


def _nothing_usable(record: RunRecord, folder: Path) -> str:
    failed = [one.evaluation for one in record.candidates if one.evaluation.failed]
    if record.candidates and len(failed) == len(record.candidates):
        counted = "the only candidate" if len(failed) == 1 else f"all {len(failed)} candidates"
        return f"{folder}: {counted} failed, the first with: {failed[0].reason}"
    if record.retrained and all(one.evaluation.failed for one in record.retrained):
        first = record.retrained[0].evaluation.reason
        return f"{folder}: all {len(record.retrained)} trainings of the playoff failed, the first with: {first}"
    cheapest = min(one.evaluation.resources.macs for one in record.candidates) if record.candidates else None
    if cheapest is None:
        return (
            f"{folder}: the search ended before one candidate was trained ({record.stopped}); allow it more: the first "
            f"step alone has {formatting.count(max(1, len(record.names)), 'candidate')}"
        )
    return (
        f"{folder}: no cell within the limits was reached before the search ended ({record.stopped}; cheapest cell "
        f"trained: {cheapest:,} MACs); raise the limits or let it run longer"
    )
