"""What every search space promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Generic, TypeVar

from autoshrink.change import Change
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.spaces.constraints import Constraints
from autoshrink.spaces.growing import Seedling


def refuse_unknown(allowed: frozenset[str], known: Collection[str], of: str) -> None:
    """Refuse moves that a space has not, or none at all.

    Args:
        allowed: what is asked for.
        known: the moves there are.
        of: what they are moves of, in the plural.

    Raises:
        InputError: the message lists those that there are.
    """
    unknown = sorted(allowed - set(known))
    if unknown or not allowed:
        raise InputError(f"moves of {of} are {', '.join(known)}, not {', '.join(unknown) or 'none'}")


DesignT = TypeVar("DesignT", bound=Design)

UNDECIDED = (
    "these designs are made by one move after another, and not of decisions that can be taken apart; "
    "--strategy autoshrink, exchange, evolution and random go"
)
"""Why a space has no `Space.decisions`."""


@dataclass(frozen=True)
class Decision:
    """One thing to be decided of a design, whatever is decided of the others.

    Attributes:
        name: what it is about: ``0-3``, an edge.
        options: at least two.
    """

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Space(ABC, Generic[DesignT]):
    """The designs that a search may propose, as a frozen value. Strategies know spaces and no kind of design.

    Attributes:
        start: where a search begins.
    """

    start: DesignT

    @property
    def falls(self) -> bool:
        """Whether designs cost ever less in the course of a search, for estimates of time."""
        return True

    @property
    def used_up(self) -> str:
        """Why a search ends whose design has no moves."""
        return "no move is left"

    @property
    def names(self) -> dict[str, str]:
        """What starts are called, by key, where there are several."""
        return {}

    @property
    def starts(self) -> tuple[DesignT, ...]:
        """What a search measures before its first move; `start` is the first of them."""
        return (self.start,)

    @property
    def hand_made(self) -> Mapping[str, Design]:
        """Networks that people would otherwise take, of a design's cost and no designs of the space themselves, by what
        they are called: what a search has to beat, where the space knows that cost."""
        return {}

    @abstractmethod
    def moves(self, design: DesignT) -> tuple[tuple[Change, DesignT], ...]:
        """Everything that one move makes of a design, in a fixed order.

        A move takes something away, so what it makes costs less, unless that opens outputs (an edge that goes may leave
        a new leaf). Where a space holds the cost, by giving back as width what a move saves, each costs about as much.
        """

    @abstractmethod
    def random(self, rng: Random) -> DesignT:
        """A design of the space, decided by the generator alone."""

    @abstractmethod
    def mutated(self, design: DesignT, rng: Random) -> DesignT:
        """Another design of the space, one move away in either direction; the design itself where there is none."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What a design is made of: any option of each makes a design of the space. Strategies of distributions and
        of blocks are written on them.

        Raises:
            InputError: designs of this space are no such list.
        """
        raise InputError(UNDECIDED)

    def choices(self, design: DesignT) -> tuple[int, ...]:
        """(decisions,) which option a design has of each, from 0; `chosen` makes the design of them again.

        Raises:
            InputError: it is no design of the space, or there are no `decisions`.
        """
        del design
        raise InputError(UNDECIDED)

    def chosen(self, choices: Sequence[int]) -> DesignT:
        """The design that has these options, one of each decision. Several lists may make one design.

        Raises:
            InputError: they are no such list, or there are no `decisions`.
        """
        del choices
        raise InputError(UNDECIDED)

    def options(self, choices: Sequence[int]) -> dict[str, str]:
        """What is chosen, by the decision's name.

        Raises:
            InputError: it is not one option of each decision.
        """
        decisions = self.decisions
        if len(choices) != len(decisions):
            raise InputError(f"{len(decisions)} choices are needed, one of each decision, not {len(choices)}")
        for decision, choice in zip(decisions, choices, strict=True):
            if not 0 <= choice < len(decision.options):
                raise InputError(f"decision {decision.name} has options 0 … {len(decision.options) - 1}, not {choice}")
        return {one.name: one.options[choice] for one, choice in zip(decisions, choices, strict=True)}

    def constrained(self, constraints: Constraints) -> Space[DesignT]:
        """Its designs that keep what a person holds of them.

        Raises:
            InputError: there are none, or such things cannot be held of these designs; the message says what.
        """
        del constraints
        raise InputError(
            "this search proposes no cells whose edges and operations could be held; pick, penalty, note, pause, stop "
            "and cancel go"
        )

    def projected(self, design: DesignT) -> DesignT:
        """The design, or one near it that is one of the space where it is none."""
        return design

    def begun_at(self, design: DesignT) -> Space[DesignT]:
        """The same space, begun with another of its designs."""
        return replace(self, start=design)

    def seedling(self, way: Seedling) -> DesignT:
        """The small design that a search begins with which grows up to `start`; see `growths`."""
        raise self._shrinks(way)

    def growths(self, design: DesignT) -> tuple[tuple[Change, DesignT], ...]:
        """Everything that one move adds to a design, up to `start`, so that a trained network may get it without
        computing anything else at first; in a fixed order.

        Raises:
            InputError: designs of this space do not grow.
        """
        raise self._shrinks(design)

    def united(self, designs: Sequence[DesignT]) -> DesignT:
        """What several of the growths of one design make of it together."""
        raise self._shrinks(designs)

    def _shrinks(self, asked: object) -> InputError:
        del asked
        return InputError(f"designs of a {type(self).__name__} do not grow; take another --strategy than firefly")

    def chains(self, design: DesignT) -> tuple[DesignT, ...]:
        """Plain chains of the operations that a design is made of: what a search has to beat. None where a space has
        none, or where the design is one itself and nothing else would be."""
        del design
        return ()

    def outlook(self, design: DesignT) -> tuple[int, ...]:
        """At most how many moves there will be, step by step, from a design on: for estimates of time.

        Unless a space says otherwise, every move leaves at least one move fewer.
        """
        return tuple(range(len(self.moves(design)), 0, -1))

    def widened(self, parent: DesignT, child: DesignT) -> bool:
        """Whether a child has outputs that its parent had not: with inherited weights it seems worse than it is."""
        del parent, child
        return False


@dataclass(frozen=True)
class HeldSpace(Space[DesignT], ABC):
    """A space that holds the cost: several starts of about one, and moves that give back as width what they save.

    Attributes:
        others: what it starts with too.
        called: the names of the starts, in their order.
    """

    others: tuple[DesignT, ...] = field(default=(), kw_only=True)
    called: tuple[str, ...] = field(default=(), kw_only=True)

    def begun_at(self, design: DesignT) -> Space[DesignT]:
        """See `Space.begun_at`: of several starts only this one."""
        return replace(self, start=design, others=(), called=())

    @property
    def falls(self) -> bool:
        """See `Space.falls`."""
        return False

    @property
    def starts(self) -> tuple[DesignT, ...]:
        """See `Space.starts`."""
        return (self.start, *self.others)

    @property
    def names(self) -> dict[str, str]:
        """See `Space.names`."""
        return {one.key: name for one, name in zip(self.starts, self.called, strict=False)}
