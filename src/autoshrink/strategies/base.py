"""What every strategy promises, and what it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoshrink.cell import Cell, cell_of
from autoshrink.change import Change
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score
from autoshrink.spaces import Space

DRAWS = 100
"""A design that breaks a limit is drawn again, at most so often."""


@dataclass(frozen=True)
class Proposal:
    """A design to measure: the `index`-th of `step`.

    `parent` is the design that it was made of, from which weights may be inherited, and `change` what was done to that;
    both are None where a search starts, and `change` is None where it is not one move. One that is asked for `anew` is
    measured with this step's seed though it was measured before: where it was chosen for that figure, say. One that
    gets a `share` of the recipe's epochs is trained from scratch for as long, and the best is chosen among those of the
    highest `rung`: whoever trains designs for different times numbers the times so, the longest last.
    """

    step: int
    index: int
    design: Design
    parent: Design | None = None
    change: Change | None = None
    anew: bool = False
    share: float = 1.0
    rung: int = 0

    @property
    def cell(self) -> Cell:
        """The design, of a search for cells; raises `InputError` where it is none."""
        return cell_of(self.design)


@dataclass(frozen=True)
class Choice:
    """What a strategy made of a step: the index it went on with, and that of the best other one, if there was one.

    What is one network with the chosen is no other.
    """

    index: int
    runner_up: int | None


@dataclass(frozen=True)
class StrategyContext:
    """What a strategy is made of.

    Attributes:
        settings: all of the search's, its seed among them.
        space: what may be proposed, and where to begin.
        resources: what a design costs, without training it.
        allowed: whether a design keeps the search's limits.
        stop: why the search ends at this design, in words, or None.
        rank: a score that needs no training, by which a step's candidates are chosen; None: they are drawn.
        grace: how many standard errors a child with a new leaf may be behind the best and still be gone on with, since
            the evaluator is unjust to it; 0 where it is not.
    """

    settings: SearchSettings
    space: Space[Any]
    resources: Callable[[Design], Resources]
    allowed: Callable[[Design], bool] = lambda _: True
    stop: Callable[[Design], str | None] = lambda _: None
    rank: Callable[[Design], float] | None = None
    grace: float = 0.0

    @property
    def start(self) -> Design:
        """What the space begins with."""
        start: Design = self.space.start
        return start

    @property
    def score(self) -> Score:
        """How performance is weighed against cost."""
        return self.settings.score


class Strategy(ABC):
    """Asked and told in turn; deterministic from its seed and what it was told.

    `ask` has no effect: it gives the same proposals until `tell`. That is what makes a killed run resumable: told the
    recorded evaluations again, a new strategy stands where the old one stood. `autoshrink.testing` has the tests that
    any strategy has to pass.
    """

    @abstractmethod
    def ask(self) -> tuple[Proposal, ...]:
        """The designs of the next step, to be measured together; empty when the search is over."""

    @abstractmethod
    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Learn the evaluations of the asked proposals, in their order, and go on to the next step.

        Raises:
            ValueError: they are not those of the asked proposals.
        """

    @abstractmethod
    def over(self) -> str:
        """Why `ask` proposes nothing, in words."""

    @abstractmethod
    def outlook(self) -> tuple[int, ...]:
        """At most how many designs each following step will propose, the asked one first: for estimates of time."""

    @staticmethod
    def learned(settings: SearchSettings, space: Space[Any], steps: Sequence[Sequence[Evaluation]]) -> dict[str, Any]:
        """What a run's log and its page say that was learned, as JSON by name; nothing, unless a strategy says more.

        Args:
            settings: of the run.
            space: of its designs.
            steps: the evaluations of all finished steps, each in the order of its proposals.
        """
        del settings, space, steps
        return {}

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Go on with other designs, or by another score, from the next `ask` on, as a person's commands leave it.

        Args:
            context: what holds from now on. Its space has only designs that keep the commands, and brings others to
                keep them (`Space.projected`); its score may have another penalty.
            design: to go on from, where a person picked it; None: from wherever the strategy is.

        Returns:
            Whether it goes on so. Unless a strategy says otherwise it does not, and a new one of its kind begins in
            that space, or with that design.
        """
        del context, design
        return False

    def obey(self, command: str, arguments: Mapping[str, Any]) -> None:
        """Take a person's command into account from the next `ask` on; a strategy says here which it knows.

        Raises:
            InputError: it does not know the command, or cannot follow it now; nothing has changed then.
        """
        raise InputError(f"{type(self).__name__} cannot obey {command!r} ({dict(arguments)}); it knows no such command")


def drawn(draw: Callable[[], Design], allowed: Callable[[Design], bool]) -> Design:
    """The first draw that keeps the limits; after `DRAWS` of them the last one, which breaks a limit."""
    for _ in range(DRAWS):
        design = draw()
        if allowed(design):
            break
    return design


def refuse_others(asked: Sequence[Proposal], told: Sequence[Evaluation]) -> None:
    """Raise `ValueError` unless the evaluations are those of the asked proposals, in their order."""
    if [one.design for one in told] != [proposal.design for proposal in asked]:
        raise ValueError("told other designs than were asked for")


def best_first(evaluations: Sequence[Evaluation], score: Score) -> list[int]:
    """Indices by S; of complete ties the lowest index wins. Failed ones are last, the cheapest of them first. What
    the evaluator left behind on the way comes after what it measured further."""

    def place(index: int) -> tuple[bool, int, tuple[float, int, int]]:
        one = evaluations[index]
        return not one.failed, one.rung, score.preference(one)

    # sorted is stable, with reverse=True as well.
    return sorted(range(len(evaluations)), key=place, reverse=True)


def choice(index: int, ranked: Sequence[int], evaluations: Sequence[Evaluation]) -> Choice:
    """To go on with an index; the runner-up is the best of the others by rank."""
    chosen = evaluations[index].design.key
    return Choice(index, next((other for other in ranked if evaluations[other].design.key != chosen), None))
