"""How candidates are measured: what a job is, what evaluators, rankings and executors promise. Knows no strategy and no
store; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autoshrink.cell import Cell, cell_of
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent

if TYPE_CHECKING:
    from autoshrink.metrics import Metric
    from autoshrink.record import RunRecord
    from autoshrink.training.problem import Problem


@dataclass(frozen=True)
class Job:
    """A design to measure.

    Attributes:
        design: to measure.
        seed: decides its initial weights and batches.
        parent: the design that it was made of; None for one that was made of no other.
        weights: the parent's, by the SHA-256 of the file that holds them, or those that all candidates share; None
            where nobody kept some.
        epochs: of a short training from scratch, perhaps a fraction; None for a whole one, by the recipe.
    """

    design: Design
    seed: int
    parent: Design | None = None
    weights: str | None = None
    epochs: float | None = None

    @property
    def cell(self) -> Cell:
        """The design, of a search for cells; raises `InputError` where it is none."""
        return cell_of(self.design)


class Evaluator(Protocol):
    """Measures designs. All jobs of a step come at once, so that an evaluator may share work between them.

    Attributes:
        joint: an evaluation depends, if only in its last digits, on what is evaluated together with it. A step that was
            interrupted is then asked for as a whole again.
        grace: how many standard errors a child with a new leaf may be behind the best and still be gone on with: 0
            where the evaluator is just to it.
    """

    joint: bool
    grace: float

    def resources(self, design: Design) -> Resources:
        """What a design costs, without training it."""
        ...

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Yield (position in `jobs`, evaluation) as each is done, in any order.

        A candidate that cannot be trained (NaN, divergence, no memory) is yielded as failed, with its reason.

        Args:
            jobs: no two of one network.
            deadline: `time.monotonic` value after which nothing more is yielded; what is in flight is dropped.
        """
        ...


class Ranking(Protocol):
    """A score of designs that needs no training; higher is better. What it cost adds up until it is asked for."""

    def __call__(self, design: Design) -> float:
        """The score.

        Raises:
            ValueError: the design has none.
        """
        ...

    def take_spent(self) -> Spent:
        """What was spent since this was last asked."""
        ...


@dataclass(frozen=True)
class EvaluatorContext:
    """What an evaluator, or a ranking, is made of.

    Attributes:
        record: the run so far: its settings, and what is known of its data.
        problem: what candidates are trained on.
        resources: what a design costs.
        folder: of the run, for files that the log only names.
        executor: where jobs run: a name in `autoshrink.registry.EXECUTORS`, perhaps with an argument after a colon.
        on_epoch: told design, epoch from 1 and validation performance.
    """

    record: RunRecord
    problem: Problem
    resources: Callable[[Design], Resources]
    folder: Path
    executor: str = "local"
    on_epoch: Callable[[Design, int, float], None] = lambda *_: None

    @property
    def settings(self) -> SearchSettings:
        """Of the run."""
        return self.record.settings


@dataclass(frozen=True)
class EvaluatorWords:
    """How what an evaluator does is said, in reports and on the terminal.

    Attributes:
        done: what was done with a candidate.
        measured: how a candidate's performance was measured.
        note: what the figures of the steps are worth; ``{metric}`` is the task's.
        compared: how the candidates of a step were compared.
        candidate: the mark of a candidate in a chart.
        chosen: the mark of one that the search went on with.
        predictor: its figures, as what orders cells before they are trained.
    """

    done: str = "trained from scratch"
    measured: str = "recorded in the search, one seed"
    note: str = ""
    compared: str = ""
    candidate: str = "candidate"
    chosen: str = "chosen"
    predictor: str = "estimate"


@dataclass(frozen=True)
class EvaluatorKind:
    """A way to evaluate, as `autoshrink.registry.EVALUATORS` has it by name. Importing it imports no torch.

    Attributes:
        make: the evaluator of a run.
        relative: its figures compare the candidates of one step with each other and nothing else, always or with some
            settings. They are then never shared between steps.
        estimates: its figures are no trainings from scratch, though they may compare across steps; those of a relative
            one never are. The best cell is then chosen among cells trained from scratch.
        trains: its figures are performances of networks.
        start_from_scratch: and the starting cell's is of one trained from scratch.
        shares: all of its candidates share their weights: a job has those that the last step left, whatever its parent.
        metric: how its figures are shown, from the task's metric; None: as that, as estimates of it where they are
            relative, and as plain scores where nothing was trained.
        words: how that is said.
        needs: the part that every operation of a cell has to provide for it (`autoshrink.ops.require`); None for none.
    """

    make: Callable[[EvaluatorContext], Evaluator]
    relative: bool | Callable[[SearchSettings], bool] = False
    estimates: bool = False
    trains: bool = True
    start_from_scratch: bool = True
    shares: bool = False
    metric: Callable[[Metric], Metric] | None = None
    words: EvaluatorWords = EvaluatorWords()
    needs: str | None = None

    @property
    def start_trained(self) -> bool:
        """Whether the starting cell's figure is of a network trained from scratch."""
        return self.trains and self.start_from_scratch

    def shown(self, usual: Metric) -> Metric:
        """How its figures are shown, from the task's metric."""
        if self.metric is not None:
            return self.metric(usual)
        if not self.trains:
            return usual.untrained("score")
        return usual.estimated() if self.relative or self.estimates else usual


@dataclass(frozen=True)
class Filter:
    """A score by which a step's candidates are chosen, as `autoshrink.registry.FILTERS` has it by name.

    Attributes:
        make: the ranking of a run.
        name: what the score is called.
        about: what it is, in words.
    """

    make: Callable[[EvaluatorContext], Ranking]
    name: str
    about: str


Measure = Callable[[Job, float | None], Evaluation | None]
"""Measures a job in so many seconds at most; None where they were not enough."""


@dataclass(frozen=True)
class Workplace:
    """What an executor works with.

    Attributes:
        here: measures a job in this process.
        elsewhere: does the same in any process that it is sent to (it can be pickled).
        threads: CPU threads that a job takes.
    """

    here: Measure
    elsewhere: Measure
    threads: int = 1


class Executor(Protocol):
    """Runs jobs somewhere. What comes of a job does not depend on where it ran."""

    def run(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[Evaluation | str]:
        """Yield what each job gave, in the order of the jobs, or why whatever ran it died again and again.

        Args:
            jobs: independent of one another.
            deadline: `time.monotonic` value after which nothing more is yielded.
        """
        ...
