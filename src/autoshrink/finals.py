"""After the last step: a playoff where the steps only estimated, then the finalists with fresh seeds.

Writes `retrained` and `remeasured` events; like the steps, it does nothing again that is in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from autoshrink.design import Design
from autoshrink.evaluation import Evaluator, Job
from autoshrink.record import Retrained, RunRecord, replay
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.store import Log
from autoshrink.strategies import SuccessiveHalving, entrants


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
    designs = entrants(record.estimates(), score=settings.score, count=settings.playoff.cells)
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


def measure_again(store: Log, evaluator: Evaluator, *, deadline: Callable[[], float | None], told: Told) -> None:
    """Finalists and starting cell with fresh seeds, a whole round a seed, so that all have equally many."""
    record = replay(store.events())
    settings = record.settings
    designs = _to_measure(record)
    epochs = settings.short_epochs(settings.playoff.fresh, record.data.get("train")) if settings.relative else None
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


def _to_measure(record: RunRecord) -> dict[str, Design]:
    """What the search started from first, so that where time runs out something was measured as it was."""
    return {one.design.key: one.design for one in (*record.rival_starts(), *record.finalists())}
