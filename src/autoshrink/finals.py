"""After the last step: a playoff where the steps only estimated, the finalists with fresh seeds, and with the same
seeds what else there is at the cost of the best of them.

Writes `retrained`, `remeasured` and `beside` events; like the steps, it does nothing again that is in the log.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from autoshrink.architecture import network_of
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.evaluation import Evaluator, Job
from autoshrink.record import Beside, Figures, Retrained, RunRecord
from autoshrink.registry import TASKS
from autoshrink.replaying import replay
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Space
from autoshrink.store import Log
from autoshrink.strategies import SuccessiveHalving, entrants, spread

Pool = dict[tuple[str, int], tuple[str, Design]]
"""Designs by role and index: what each is called, or nothing where its role says enough, and itself."""


class Told(Protocol):
    """Told of every evaluation: the phase, the round, (done, all) of it, and the evaluation."""

    def __call__(self, phase: str, turn: int, counts: tuple[int, int], latest: Evaluation) -> None:
        """One evaluation more."""
        ...


def playoff(store: Log, evaluator: Evaluator, *, deadline: float | None, told: Told) -> None:
    """Train what the steps recommend from scratch, the better ones further, until one is left or time is up.

    Rounds that `short_steps` makes equally long are one.

    Args:
        store: the run's log, with its steps done.
        evaluator: trains from scratch.
        deadline: `time.monotonic` value after which no round goes on; None for none.
        told: told of every evaluation.
    """
    record = replay(store.events())
    settings = record.settings
    rounds = sorted({settings.short_epochs(share, record.data.get("train")) for share in settings.playoff.rounds})
    designs = entrants(record.estimates(), score=settings.score, count=settings.entrants[0])
    designs += spread(record.estimates(), designs, score=settings.score, count=settings.entrants[1])
    halving = SuccessiveHalving(designs, score=settings.score, rounds=rounds, reduction=settings.playoff.reduction)
    recorded = {(one.round, one.index): one.evaluation for one in record.retrained}
    seed = derive_seed(settings.seed, "playoff")
    while True:
        turn, length, live = halving.ask()
        if not live:
            return
        missing = [index for index in range(len(live)) if (turn, index) not in recorded]
        jobs = [Job(live[index], seed, epochs=length) for index in missing]
        for position, evaluation in evaluator.evaluate(jobs, deadline=deadline):
            index = missing[position]
            recorded[turn, index] = replace(evaluation, rung=turn)
            store.append("retrained", Retrained(turn, index, recorded[turn, index]).to_json())
            done = sum((turn, other) in recorded for other in range(len(live)))
            told("playoff", turn, (done, len(live)), evaluation)
        if any((turn, index) not in recorded for index in range(len(live))):
            return
        halving.tell([recorded[turn, index] for index in range(len(live))])


def playoff_macs(settings: SearchSettings, data: Mapping[str, Any], macs: int) -> float:
    """About the training MACs of a playoff of networks that cost so many MACs each; `data` is the run's event."""
    train, validation = data.get("train", 0), data.get("validation", 0)
    live, total = sum(settings.entrants), 0.0
    for turn, epochs in enumerate(sorted({settings.short_epochs(one, train) for one in settings.playoff.rounds})):
        if turn and live < 2:
            break
        total += live * macs * (3 * epochs * train + validation)
        live = math.ceil(live / settings.playoff.reduction)
    return total


def measure_again(store: Log, evaluator: Evaluator, *, deadline: Callable[[], float | None], told: Told) -> None:
    """Finalists and starting cell with fresh seeds, a whole round a seed, so that all have equally many."""
    record = replay(store.events())
    settings = record.settings
    designs = _to_measure(record)
    _, epochs = _epochs(record)
    for repeat in range(settings.repeats):
        missing = [design for key, design in designs.items() if len(record.remeasured.get(key, ())) <= repeat]
        if not missing:
            continue
        asked = list(designs.values()) if evaluator.joint and epochs is None else missing
        jobs = [Job(design, derive_seed(settings.seed, "fresh", repeat), epochs=epochs) for design in asked]
        left = {design.key for design in missing}
        for position, evaluation in evaluator.evaluate(jobs, deadline=deadline()):
            key = asked[position].key
            if key not in left:
                continue
            store.append("remeasured", {"finalist": key, "repeat": repeat, "evaluation": evaluation.to_json()})
            left.remove(key)
            told("fresh seeds", repeat, (len(designs) - len(left), len(designs)), evaluation)
        if left:
            return


def measure_beside(
    store: Log,
    evaluator: Evaluator,
    space: Space[Any],
    *,
    deadline: Callable[[], float | None],
    told: Told,
) -> None:
    """What the search started from, a chain of the same operations, random designs and hand-made networks, at the cost
    of the best that it found and with the fresh seeds that this had.

    Of several of a role each is first trained once, with one seed; the best of them stands for it. Where nothing has
    fresh seeds there is nothing to compare with, and nothing is measured.
    """
    record = replay(store.events())
    found = record.found()
    if found is None or not found.repeats:
        return
    pools, seed = _pools(record, found, evaluator, space), record.settings.seed
    measuring = _Measuring(store, evaluator, record, deadline, told)
    short, whole = _epochs(record)
    # What every run has comes first, so that where time runs out it was measured.
    for roles in (("start", "chain"), ("random", "hand-made")):
        group: Pool = {}
        for role in roles:
            pool = pools.get(role, {})
            if len(pool) > 1:
                if not measuring.all_of(pool, None, derive_seed(seed, "beside"), short):
                    return
                pool = measuring.best_of(pool)
            group |= pool
        for repeat in range(record.fresh_seeds):
            if not measuring.all_of(group, repeat, derive_seed(seed, "fresh", repeat), whole):
                return


class _Measuring:
    """What stands beside, measured so far: by role, index and repeat."""

    def __init__(
        self, store: Log, evaluator: Evaluator, record: RunRecord, deadline: Callable[[], float | None], told: Told
    ) -> None:
        self._store, self._evaluator, self._deadline, self._told = store, evaluator, deadline, told
        self._preference = record.settings.score.preference
        self._done = {(one.role, one.index, one.repeat): one.evaluation for one in record.beside}

    def all_of(self, group: Pool, repeat: int | None, seed: int, epochs: float | None) -> bool:
        """Measure what is missing of a group; whether all of it was measured before time was up."""
        missing = {place: named for place, named in group.items() if (*place, repeat) not in self._done}
        together = self._evaluator.joint and epochs is None
        asked = list((group if together and missing else missing).items())
        jobs = [Job(design, seed, epochs=epochs) for _, (_, design) in asked]
        for position, evaluation in self._evaluator.evaluate(jobs, deadline=self._deadline()) if jobs else ():
            place, (name, _) = asked[position]
            if place not in missing:
                continue
            self._done[*place, repeat] = evaluation
            self._store.append("beside", Beside(*place, name, repeat, evaluation).to_json())
            del missing[place]
            self._told("beside", repeat or 0, (len(group) - len(missing), len(group)), evaluation)
        return not missing

    def best_of(self, pool: Pool) -> Pool:
        """That with the highest S when each was trained once."""
        best = max(pool, key=lambda place: self._preference(self._done[*place, None]))
        return {best: pool[best]}


def _pools(record: RunRecord, found: Figures, evaluator: Evaluator, space: Space[Any]) -> dict[str, Pool]:
    """The designs of every role, at the cost of the best that the search found; none of them twice, none that it
    measured again itself, and none beyond the limits."""
    settings = record.settings
    at_cost = settings.budget.given() or (isinstance(found.design, Cell) and not settings.times)
    # The score of the released search of recurrent cells counts edges, and is none of networks; what operations of
    # other widths take, no table says.
    if not settings.beside or not at_cost or settings.score.formula != "paper":
        return {}
    pools: dict[str, Pool] = {}
    try:
        network = network_of(found.design, lambda cell: TASKS[settings.task].proxy(cell, settings, record.data))
        known = {network.key, *record.remeasured}
        for role, name, design in _asked(record, found, evaluator, space):
            if design is not None and design.key not in known:
                known.add(design.key)
                if settings.limits.broken_by(evaluator.resources(design)) is None:
                    pool = pools.setdefault(role, {})
                    pool[role, len(pool)] = name, design
    except KeyError:  # the log says too little of its data: an earlier version began it
        return {}
    return pools


def _asked(
    record: RunRecord, found: Figures, evaluator: Evaluator, space: Space[Any]
) -> Iterator[tuple[str, str, Design | None]]:
    """Role, name and design of all that is asked for; None where the task cannot scale a network."""
    settings, data, start = record.settings, record.data, record.starting()
    task, beside, score = TASKS[settings.task], settings.beside, settings.score
    limit = score.cost(found.recorded.resources)

    def cost(network: Design) -> int:
        return score.cost(evaluator.resources(network))

    def at_cost(design: Design) -> Design | None:
        """A cell in a network of that cost; at a budget every design has it already."""
        return task.scaled(task.proxy(design, settings, data), cost, limit) if isinstance(design, Cell) else design

    if "start" in beside and start is not None:
        yield "start", "", at_cost(start.design)
    if "chain" in beside:
        yield from (("chain", "", at_cost(one)) for one in space.chains(found.design))
    if "random" in beside:
        rng = random.Random(derive_seed(settings.seed, "beside"))
        yield from (("random", "", at_cost(space.random(rng))) for _ in range(_draws(record, found)))
    if "hand-made" in beside:
        made = task.hand_made(data, cost, limit) if isinstance(found.design, Cell) else space.hand_made
        yield from (("hand-made", name, one) for name, one in made.items())


def _draws(record: RunRecord, found: Figures) -> int:
    """How many random designs: as asked for, or as many as the search's MACs would have trained once."""
    number = record.settings.draws
    if number != "compute":
        return number
    once = sum(one.spent.training_macs for one in found.repeats) / len(found.repeats)
    short, whole = _epochs(record)
    if short is not None and whole is not None:
        once *= short / whole
    return max(1, int(record.spent_searching().training_macs / max(once, 1.0)))


def _epochs(record: RunRecord) -> tuple[float | None, float | None]:
    """Of the training by which the best of a role is chosen, and of one with a fresh seed; None for a whole one."""
    settings, samples = record.settings, record.data.get("train")
    if not settings.estimates:
        return None, None
    shares = (min(settings.playoff.rounds), settings.playoff.fresh)
    short, whole = (settings.short_epochs(share, samples) for share in shares)
    return short, whole


def _to_measure(record: RunRecord) -> dict[str, Design]:
    """What the search started from first, so that where time runs out something was measured as it was."""
    return {one.design.key: one.design for one in (*record.rival_starts(), *record.finalists())}
