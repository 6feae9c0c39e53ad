"""The run loop: replay the log, ask the strategy, evaluate, append events, tell the strategy.

This is the only place that moves values from one part to the next. It trains nothing itself and imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from autoshrink.cell import Cell
from autoshrink.config import SearchSettings
from autoshrink.errors import RunError, SearchError
from autoshrink.evaluation import Evaluator, Job
from autoshrink.record import Candidate, RunRecord, replay
from autoshrink.score import Evaluation, compare
from autoshrink.seeding import derive_seed
from autoshrink.store import Store
from autoshrink.strategies import AutoShrink, Proposal, Strategy
from autoshrink.watching import Progress, Watcher

RESERVE_SHARE = 0.3
"""At most this share of a time limit is kept back for measuring the finalists again."""


def make_strategy(settings: SearchSettings, start: Cell, evaluator: Evaluator) -> Strategy:
    """The strategy that the settings name, at its beginning."""

    def allowed(cell: Cell) -> bool:
        return settings.limits.broken_by(evaluator.resources(cell)) is None

    def stop(cell: Cell) -> str | None:
        if settings.stop.edges and len(cell.edges) <= settings.stop.edges:
            return f"{len(cell.edges)} edges are left"
        if settings.stop.macs and evaluator.resources(cell).macs <= settings.stop.macs:
            return f"the cell is down to {evaluator.resources(cell).macs:,} MACs"
        return None

    return AutoShrink(
        start, score=settings.score, candidates=settings.candidates, seed=settings.seed, allowed=allowed, stop=stop
    )


class Loop:
    """One run, from wherever its log stands to its end.

    Args:
        store: the run's log, beginning with a `created` event.
        evaluator: measures cells.
        watcher: told after every event.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        evaluator: Evaluator,
        *,
        watcher: Watcher | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._evaluator = evaluator
        self._watcher = watcher or Watcher()
        self._clock = clock
        record = replay(store.events())
        self._settings = record.settings
        self._strategy = make_strategy(record.settings, record.start, evaluator)
        self._began = clock() - record.active_seconds
        self._total_edges = len(record.start.edges)
        self._recorded = {(one.step, one.index): one for one in record.candidates}
        self._decided = {decision.step: decision for decision in record.decisions}
        self._by_key: dict[str, Candidate] = {}
        self._best: Evaluation | None = None
        self._edges = self._total_edges
        for one in record.candidates:
            self._by_key.setdefault(one.cell.key, one)
            self._keep_best(one.evaluation)
        self._stopped = record.stopped
        self._seconds = [one.evaluation.spent.seconds for one in record.candidates if one.same_as is None]

    def run(self) -> RunRecord:
        """Go on to the end; everything that is in the log already is not done again.

        Raises:
            SearchError: no candidate within the limits could be measured.
            RunError: the log cannot be written, or does not fit what the strategy would do.
        """
        while True:
            proposals = self._strategy.ask()
            reason = self._reason_to_stop(proposals)
            if reason is not None:
                break
            evaluations = self._measure_step(proposals)
            if evaluations is None:
                reason = "the time limit is reached"
                break
            self._decide(proposals, evaluations)
        if self._stopped is None:
            self._store.append("stopped", {"reason": reason})
        return self._finish()

    # --- one step --------------------------------------------------------------------------------------------------

    def _reason_to_stop(self, proposals: Sequence[Proposal]) -> str | None:
        if not proposals:
            return self._strategy.over()
        if proposals[0].step in self._decided:
            return None
        if self._stopped is not None:
            return self._stopped
        limit = self._settings.stop.evaluations
        if limit is not None and len(self._seconds) + len(self._new_keys(proposals)) > limit:
            return f"another step would exceed {limit} evaluations"
        deadline = self._search_deadline()
        if deadline is not None and self._clock() >= deadline:
            return "the time limit is reached"
        return None

    def _new_keys(self, proposals: Sequence[Proposal]) -> dict[str, Proposal]:
        """The proposals that need a training: the first of each isomorphism class that has none yet."""
        new: dict[str, Proposal] = {}
        for proposal in proposals:
            if proposal.cell.key not in self._by_key:
                new.setdefault(proposal.cell.key, proposal)
        return new

    def _measure_step(self, proposals: Sequence[Proposal]) -> list[Evaluation] | None:
        """The proposals' evaluations in their order; None when time ran out first."""
        step = proposals[0].step
        self._tell_search(proposals, None)
        new = list(self._new_keys(proposals).values())
        jobs = [Job(proposal.cell, self._seed(proposal)) for proposal in new]
        if jobs:
            for position, evaluation in self._evaluator.evaluate(jobs, deadline=self._search_deadline()):
                self._record(Candidate(step, new[position].index, new[position].edge, evaluation))
                self._tell_search(proposals, evaluation)
        for proposal in proposals:
            if (step, proposal.index) not in self._recorded and proposal.cell.key in self._by_key:
                first = self._by_key[proposal.cell.key]
                shared = replace(first.evaluation, cell=proposal.cell)
                self._record(Candidate(step, proposal.index, proposal.edge, shared, (first.step, first.index)))
        found = [self._recorded.get((step, proposal.index)) for proposal in proposals]
        complete = [one.evaluation for one in found if one is not None]
        return complete if len(complete) == len(proposals) else None

    def _seed(self, proposal: Proposal) -> int:
        """From (run seed, step) where candidates of a step are paired, else from (run seed, step, candidate)."""
        candidate = () if self._settings.paired else (proposal.index,)
        return derive_seed(self._settings.seed, "candidate", proposal.step, *candidate)

    def _record(self, candidate: Candidate) -> None:
        self._store.append("evaluated", candidate.to_json())
        self._recorded[candidate.step, candidate.index] = candidate
        self._by_key.setdefault(candidate.cell.key, candidate)
        self._keep_best(candidate.evaluation)
        if candidate.same_as is None:
            self._seconds.append(candidate.evaluation.spent.seconds)

    def _keep_best(self, evaluation: Evaluation) -> None:
        if evaluation.failed or self._settings.limits.broken_by(evaluation.resources):
            return
        preference = self._settings.score.preference
        if self._best is None or preference(evaluation) > preference(self._best):
            self._best = evaluation

    def _decide(self, proposals: Sequence[Proposal], evaluations: Sequence[Evaluation]) -> None:
        step = proposals[0].step
        choice = self._strategy.tell(evaluations)
        self._edges = len(proposals[choice.index].cell.edges)
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

    # --- fresh seeds -----------------------------------------------------------------------------------------------

    def _finish(self) -> RunRecord:
        record = replay(self._store.events())
        if record.finished:
            return record
        if not record.finalists():
            raise SearchError(_nothing_usable(record, self._store.folder))
        self._measure_again(record)
        record = replay(self._store.events())
        best = record.best()
        assert best is not None, "there are finalists"
        self._store.append("finished", {"best": best.cell.key})
        return replay(self._store.events())

    def _measure_again(self, record: RunRecord) -> None:
        """Finalists and starting cell with fresh seeds, a whole round a seed, so that all have equally many."""
        cells = {one.cell.key: one.cell for one in record.finalists()}
        start = record.complete()
        if start is not None:
            cells.setdefault(start.cell.key, start.cell)
        limit = self._settings.stop.seconds
        deadline = None if limit is None else self._began + limit
        for repeat in range(self._settings.repeats):
            missing = [cell for key, cell in cells.items() if len(record.remeasured.get(key, ())) <= repeat]
            if not missing:
                continue
            jobs = [Job(cell, derive_seed(self._settings.seed, "fresh", repeat)) for cell in missing]
            finished = 0
            for position, evaluation in self._evaluator.evaluate(jobs, deadline=deadline):
                body = {"finalist": missing[position].key, "repeat": repeat, "evaluation": evaluation.to_json()}
                self._store.append("remeasured", body)
                finished += 1
                self._tell_fresh(repeat, (len(cells) - len(missing) + finished, len(cells)), evaluation)
            if finished < len(missing):
                return

    # --- time ------------------------------------------------------------------------------------------------------

    def _mean_seconds(self) -> float | None:
        recent = self._seconds[-20:]
        return sum(recent) / len(recent) if recent else None

    def _search_deadline(self) -> float | None:
        """When the steps have to end so that the finalists can still be measured again."""
        limit = self._settings.stop.seconds
        if limit is None:
            return None
        again = (self._settings.finalists + 1) * self._settings.repeats
        reserve = min((self._mean_seconds() or 0.0) * again, RESERVE_SHARE * limit)
        return self._began + limit - reserve

    def _seconds_left(self, done: int) -> float | None:
        """The recent mean for each expected evaluation, in proportion to the edges that will be left by then."""
        mean, outlook = self._mean_seconds(), self._strategy.outlook()
        if mean is None:
            return None
        weights = [width * (1 - position / (len(outlook) + 1)) for position, width in enumerate(outlook)]
        again = (self._settings.finalists + 1) * self._settings.repeats * 0.5
        seconds = mean * max(0.0, sum(weights) - done + again)
        limit = self._settings.stop.seconds
        return seconds if limit is None else min(seconds, max(0.0, self._began + limit - self._clock()))

    # --- watchers --------------------------------------------------------------------------------------------------

    def _tell_search(self, proposals: Sequence[Proposal], latest: Evaluation | None) -> None:
        step = proposals[0].step
        done = sum((step, proposal.index) in self._recorded for proposal in proposals)
        self._tell("search", step, (done, len(proposals)), latest, self._seconds_left(done))

    def _tell_fresh(self, repeat: int, counts: tuple[int, int], latest: Evaluation) -> None:
        mean = self._mean_seconds() or 0.0
        rounds = self._settings.repeats - repeat
        self._tell("fresh seeds", repeat, counts, latest, mean * 0.5 * (rounds * counts[1] - counts[0]))

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
                best_cell=None if self._best is None else self._best.cell,
                seconds_left=left,
            )
        )


def _nothing_usable(record: RunRecord, folder: Path) -> str:
    failed = [one.evaluation for one in record.candidates if one.evaluation.failed]
    if record.candidates and len(failed) == len(record.candidates):
        return f"{folder}: all {len(failed)} candidates failed, the first with: {failed[0].reason}"
    cheapest = min(one.evaluation.resources.macs for one in record.candidates) if record.candidates else None
    if cheapest is None:
        return f"{folder}: the search ended before one candidate was trained ({record.stopped}); allow it more"
    return (
        f"{folder}: no cell within the limits was reached before the search ended ({record.stopped}; cheapest cell "
        f"trained: {cheapest:,} MACs); raise the limits or let it run longer"
    )
