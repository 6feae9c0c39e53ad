"""What every search space promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from autoshrink.change import Change
from autoshrink.design import Design
from autoshrink.errors import InputError


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
