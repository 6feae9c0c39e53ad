"""A comparison from its plan to its rows: the searches, each a run folder; what they found, trained again and judged.

Everything is kept in one folder as soon as it is there, and the same call goes on from whatever is kept.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from autoshrink import formatting
from autoshrink.comparing.figures import Figure, Paired, hypervolume
from autoshrink.comparing.plan import FORMAT, Plan, Variant, difference
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.errors import AutoshrinkError, DataError, InputError, RunError
from autoshrink.escaping import shown
from autoshrink.files import check_folder, write_text
from autoshrink.record import RunRecord
from autoshrink.report.agreement import agreements
from autoshrink.resources import Resources
from autoshrink.seeding import derive_seed
from autoshrink.spaces import space_of
from autoshrink.store import has_run, read_record
from autoshrink.untrusted import read_json
from autoshrink.watching import Observer, Progress, Watcher

if TYPE_CHECKING:
    from autoshrink.comparing.judging import Judge

PLAN, LOCK, RESULTS, PAGE = "comparison.json", "comparison.lock", "results.json", "comparison.html"
REFERENCES = ("start", "chain")
"""What stands beside the searches: what the first of them begins with, and a chain of the same operations."""
SAID_EVERY = 30.0
"""Seconds between two lines about a search under way."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judged:
    """A network trained again by the whole recipe with fresh seeds, and judged on samples that no search saw.

    Attributes:
        performance: mean over the seeds; a training that failed counts as guessing.
        score: S of it.
        cost: in the resource that S weighs.
        params: weights.
        training_macs: of these trainings.
    """

    performance: float
    score: float
    cost: int
    params: int
    training_macs: int


@dataclass(frozen=True)
class Outcome:
    """What one search came to; of what was not searched for (`REFERENCES`) the judgement alone.

    Attributes:
        named: the network that it names.
        front: it and others of the search's front.
        hypervolume: of these, in decades of cost below the first strategy's start × performance above guessing.
        density: performance above guessing for a million parameters of the named network.
        training_macs: of the search.
        evaluations: how many candidates it measured, those of a playoff among them.
        spearman: ρ of its estimates of S with trainings from scratch in it; None where it has too few.
        course: (MACs spent, highest S so far of what it trained from scratch), in its own measure.
    """

    named: Judged
    front: tuple[Judged, ...]
    hypervolume: float
    density: float
    training_macs: int = 0
    evaluations: int = 0
    spearman: float | None = None
    course: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Row:
    """A strategy, or a reference, over all seeds: outcomes by seed, and why there is none of the others."""

    name: str
    outcomes: Mapping[int, Outcome]
    failures: Mapping[int, str]

    def figure(self, of: Callable[[Outcome], float | None]) -> Figure | None:
        """The mean of something."""
        return Figure.of(of(one) for one in self.outcomes.values())

    def scores(self) -> dict[int, float]:
        """S of the named network by seed."""
        return {seed: one.named.score for seed, one in self.outcomes.items()}

    @property
    def retraining_macs(self) -> Figure | None:
        """Of training again what was found."""
        return self.figure(lambda one: sum(each.training_macs for each in one.front))


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        settings: of the first strategy's search with seed 0.
        budget: training MACs of each search.
        seeds: how many.
        retrained: fresh seeds of every network.
        judged_on: the unseen samples, in words.
        rows: the strategies in their order, then the references.
    """

    settings: SearchSettings
    budget: int
    seeds: int
    retrained: int
    judged_on: str
    rows: tuple[Row, ...]

    def against_first(self, row: Row) -> Paired | None:
        """S minus that of the first strategy; None for that itself."""
        return None if row is self.rows[0] else Paired.of(row.scores(), self.rows[0].scores())

    def to_json(self) -> dict[str, Any]:
        """Everything, by row and by seed."""
        return {
            "format": FORMAT,
            "task": self.settings.task,
            "budget": self.budget,
            "seeds": self.seeds,
            "retrain_seeds": self.retrained,
            "judged_on": self.judged_on,
            "settings": self.settings.to_json(),
            "rows": [self._row(row) for row in self.rows],
        }

    def _row(self, row: Row) -> dict[str, Any]:
        figures = {
            "score": row.figure(lambda one: one.named.score),
            "performance": row.figure(lambda one: one.named.performance),
            "cost": row.figure(lambda one: one.named.cost),
            "hypervolume": row.figure(lambda one: one.hypervolume),
            "density": row.figure(lambda one: one.density),
            "training_macs": row.figure(lambda one: one.training_macs),
            "retraining_macs": row.retraining_macs,
            "evaluations": row.figure(lambda one: one.evaluations),
            "spearman": row.figure(lambda one: one.spearman),
        }
        paired = self.against_first(row)
        return {
            "name": row.name,
            **{name: figure and asdict(figure) for name, figure in figures.items()},
            "against_first": paired and asdict(paired),
            "outcomes": {str(seed): asdict(one) for seed, one in row.outcomes.items()},
            "failures": {str(seed): reason for seed, reason in row.failures.items()},
        }


def compare(plan: Plan, folder: Path, *, executor: str = "local", say: Say = lambda _: None) -> Comparison:
    """Make a comparison, or go on with it.

    Args:
        plan: what is compared.
        folder: of the comparison; made if need be. It has a run folder for every search.
        executor: where candidates are trained; decides nothing.
        say: told in lines how it goes.

    Raises:
        InputError: the folder holds something else, or another comparison; the budget is too small for any search, or
            none of them found anything.
        DataError: the data cannot be used, or leave no samples to judge by.
        RunError: the folder cannot be written, or another process is at it.
    """
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PLAN).exists() and not (folder / LOCK).exists():
        raise InputError(f"{shown(folder)}: holds something that is no comparison; give a new folder, or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            _keep_plan(plan, folder)
            return _Making(plan, folder, executor, say).made()
    except Timeout:
        raise RunError(f"{shown(folder)}: another process is at this comparison") from None


def _keep_plan(plan: Plan, folder: Path) -> None:
    wanted = json.loads(json.dumps(plan.to_json()))
    if not (folder / PLAN).exists():
        write_text(folder / PLAN, json.dumps(wanted, indent=1), own=True)
        return
    changed = difference(read_json(folder / PLAN), wanted)
    if changed is not None:
        raise InputError(
            f"{shown(folder)}: holds a comparison with {changed}; give its own command again, or another folder"
        )


@dataclass
class _Making:
    """A comparison under way."""

    plan: Plan
    folder: Path
    executor: str
    say: Say
    seconds: list[float] = field(default_factory=list)
    judging: list[float] = field(default_factory=list)

    def made(self) -> Comparison:
        records: dict[int, dict[str, RunRecord]] = {}
        failures: dict[int, dict[str, str]] = {}
        for seed in range(self.plan.seeds):
            records[seed], failures[seed] = self._searched(seed)
            if not seed and not records[seed]:
                names = ", ".join(one.name for one in self.plan.variants)
                reason = next(iter(failures[0].values()))
                raise InputError(f"no search ended with a network ({names}); the first: {reason}")
        outcomes, words = {seed: dict[str, Outcome]() for seed in records}, ""
        for seed, found in records.items():
            if found:
                outcomes[seed], words = self._judged(seed, found)
        every = [*(one.name for one in self.plan.variants), *REFERENCES]
        rows = [
            Row(
                name,
                {seed: own[name] for seed, own in outcomes.items() if name in own},
                {seed: own[name] for seed, own in failures.items() if name in own},
            )
            for name in every
        ]
        shown_rows = tuple(row for row in rows if row.outcomes or row.failures)
        first = self.plan.settings(self.plan.variants[0], 0)
        return Comparison(first, self.plan.budget, self.plan.seeds, self.plan.retrained, words, shown_rows)

    # --- the searches ------------------------------------------------------------------------------------------------

    def _searched(self, seed: int) -> tuple[dict[str, RunRecord], dict[str, str]]:
        """The finished searches of a seed by name, and why others failed."""
        records: dict[str, RunRecord] = {}
        failures: dict[str, str] = {}
        for place, variant in enumerate(self.plan.variants):
            number = seed * len(self.plan.variants) + place + 1
            name = f"seed {seed}, {variant.name} (search {number} of {self.plan.seeds * len(self.plan.variants)})"
            run = self.folder / "runs" / f"{variant.folder}-{seed}"
            try:
                records[variant.name] = self._search(variant, seed, run, name)
            except DataError:
                raise
            except AutoshrinkError as error:
                failures[variant.name] = str(error)
            except Exception as error:  # noqa: BLE001 - of whoever wrote the strategy; the others go on
                failures[variant.name] = f"{type(error).__name__}: {error}"
            exceeded = self._exceeded(run)
            if exceeded is not None:
                failures[variant.name] = exceeded
                records.pop(variant.name, None)
            if variant.name in failures:
                self.say(f"{name}: failed: {failures[variant.name]}")
        return records, failures

    def _exceeded(self, run: Path) -> str | None:
        """Why a search counts for nothing that spent more than the budget on its start; None where it did not."""
        if not has_run(run):
            return None
        first = sum(one.evaluation.spent.training_macs for one in read_record(run).of_step(0))
        if first <= self.plan.budget:
            return None
        spent, budget = formatting.quantity(first), formatting.quantity(self.plan.budget)
        return f"--budget {budget}: what it starts from alone took {spent} training MACs to measure; give more"

    def _search(self, variant: Variant, seed: int, run: Path, name: str) -> RunRecord:
        from autoshrink.launch import resume, search  # noqa: PLC0415 - torch takes seconds to import

        kept = read_record(run) if has_run(run) else None
        done = kept is not None and kept.finished
        observer = Observer(watcher=_Course(name, self.say))
        if kept is None:
            record = search(self.plan.settings(variant, seed), run=run, observer=observer, executor=self.executor)
        else:
            record = resume(run, observer=Observer() if done else observer, executor=self.executor)
        best = record.best()
        assert best is not None, "a search that ends without an error names something"
        self.seconds.append(record.active_seconds)
        left = (self.plan.seeds * len(self.plan.variants) - len(self.seconds)) * _mean(self.seconds)
        spent = formatting.quantity(record.spent_choosing().training_macs)
        more = "" if done else f"; about {formatting.duration(left)} of searching left"
        self.say(formatting.plain(f"{name}: S {formatting.number(best.score, 4)}, {spent} training MACs{more}"))
        return record

    # --- the judgement -----------------------------------------------------------------------------------------------

    def _judged(self, seed: int, records: Mapping[str, RunRecord]) -> tuple[dict[str, Outcome], str]:
        from autoshrink.comparing.judging import Judge  # noqa: PLC0415 - torch takes seconds to import

        first = next(iter(records.values()))
        judge = Judge(first.settings)
        found: dict[str, dict[Design, Resources | None]] = {
            name: dict(self._found(record)) for name, record in records.items()
        }
        found |= {name: {design: None} for name, design in _references(first).items()}
        designs = {design.key: design for own in found.values() for design in own}
        known: dict[str, Resources] = {
            design.key: resources
            for own in found.values()
            for design, resources in own.items()
            if resources is not None
        }
        judged: dict[str, Judged] = {}
        for number, (key, design) in enumerate(designs.items(), start=1):
            networks = len(designs) * (self.plan.seeds - seed) - number + 1
            left = f"; about {formatting.duration(networks * _mean(self.judging))} left" if self.judging else ""
            what = formatting.plain(f"judging, seed {seed}: network {number} of {len(designs)}{left}")
            resources = known.get(key) or judge.resources(design)
            judged[key] = self._judge(first, design, resources, self._trained(judge, design, seed, what))
        chance = 0.0 if first.chance is None else first.chance.performance
        start = first.starting()
        assert start is not None, "every search measures what it starts from"
        cost = first.settings.score.cost(start.resources)
        outcomes: dict[str, Outcome] = {}
        for name, own in found.items():
            named, *others = (judged[design.key] for design in own)
            front = (named, *others)
            volume = hypervolume([(one.cost, one.performance) for one in front], (cost, chance))
            density = (named.performance - chance) / max(1, named.params) * 1e6
            more = _of_search(records[name]) if name in records else {}
            outcomes[name] = Outcome(named, front, volume, density, **more)
        return outcomes, judge.words

    def _found(self, record: RunRecord) -> Iterator[tuple[Design, Resources | None]]:
        """The named network, and others of the front, highest S first."""
        best = record.best()
        assert best is not None, "failed otherwise"
        others = sorted(record.front(), key=lambda one: -one.score)
        taken = [best, *(one for one in others if one.design.key != best.design.key)]
        yield from ((one.design, one.recorded.resources) for one in taken[: self.plan.front])

    def _trained(self, judge: Judge, design: Design, seed: int, what: str) -> list[dict[str, Any]]:
        """A network's trainings as JSON, each kept in a file of its own as soon as it is there."""
        name = hashlib.sha256(design.key.encode()).hexdigest()[:20]
        places = [self.folder / "judged" / f"{seed}-{name}-{repeat}.json" for repeat in range(self.plan.retrained)]
        if all(place.exists() for place in places):
            return [read_json(place) for place in places]
        self.say(what)
        began = time.monotonic()
        for repeat, place in enumerate(places):
            if not place.exists():
                trained = judge.train(design, derive_seed(seed, "retrain", repeat))
                value = asdict(trained) | {"design": design.to_json(), "seed": seed, "repeat": repeat}
                write_text(place, json.dumps(value), own=True)
        self.judging.append(time.monotonic() - began)
        return [read_json(place) for place in places]

    @staticmethod
    def _judge(record: RunRecord, design: Design, resources: Resources, trained: list[dict[str, Any]]) -> Judged:
        score, guess = record.settings.score, 0.0 if record.chance is None else record.chance.performance
        performances = [guess if one["performance"] is None else float(one["performance"]) for one in trained]
        performance = sum(performances) / len(performances)
        macs = sum(int(one["training_macs"]) for one in trained)
        worth = score.of(performance, design, resources)
        return Judged(performance, worth, score.cost(resources), resources.params, macs)


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds)


def _references(record: RunRecord) -> dict[str, Design]:
    """What a search began with, and a chain of the same operations where there is one and its cost is known."""
    start, settings = record.starting(), record.settings
    found = {} if start is None else {"start": start.design}
    chains = space_of(settings, record.start, record.data).chains(record.start)
    if chains and not settings.times:
        found["chain"] = chains[0]
    return found


def _of_search(record: RunRecord) -> dict[str, Any]:
    estimates = [one for one in agreements(record) if one.predictor == record.kind.words.predictor]
    most = max(estimates, key=lambda one: one.cells, default=None)
    evaluations = sum(one.same_as is None for one in record.candidates) + len(record.retrained)
    return {
        "training_macs": record.spent_choosing().training_macs,
        "evaluations": evaluations,
        "spearman": most and most.score,
        "course": tuple(_course(record)),
    }


def _course(record: RunRecord) -> Iterator[tuple[float, float]]:
    """(MACs spent, highest S so far) of what was trained from scratch; in a playoff, of the round under way."""
    score, limits = record.settings.score, record.settings.limits
    spent, best, rung = record.screening.training_macs, None, -1
    trained = [(-1, one.evaluation) for one in record.candidates if one.same_as is None]
    trained += [(one.round, one.evaluation) for one in record.retrained]
    for at, one in trained:
        spent += one.spent.training_macs
        counts = at >= 0 or record.from_scratch(one)
        if not counts or one.failed or limits.broken_by(one.resources) is not None:
            continue
        value = score(one.by_performance())
        if best is None or at > rung or value > best:
            best, rung = value, at
            yield float(spent), value


class _Course(Watcher):
    """Says now and then where a search stands."""

    def __init__(self, name: str, say: Say) -> None:
        self._name, self._say, self._said = name, say, time.monotonic()

    def progress(self, progress: Progress) -> None:
        if time.monotonic() - self._said < SAID_EVERY:
            return
        self._said = time.monotonic()
        left = "" if progress.seconds_left is None else f"; about {formatting.duration(progress.seconds_left)} left"
        at = f"step {progress.step}" if progress.phase == "search" else progress.phase
        self._say(formatting.plain(f"{self._name}: {at}, {progress.done} of {progress.expected}{left} of this search"))
