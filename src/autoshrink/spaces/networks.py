"""The spaces of whole image networks: all that moves make of one, and those that cost a budget.

A move changes one thing of a network: a width, a depth, a stride, what a block is and has, an edge or an operation of
the cell. Most have a way back, and of the two ways one costs less. `NetworkSpace` goes the cheaper ways only, down to
nothing. `AtBudget` goes all of them, and gives back as width what a move saves, or takes it (an exchange): its networks
cost the same, so that what they are worth can be compared directly. NetAdapt (Yang et al. 2018) and MorphNet (Gordon
et al. 2018) scale a network to a budget in the course of a search likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from autoshrink.budget import NEAR, Budget
from autoshrink.change import Change, Changed
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.spaces.base import HeldSpace, Space, refuse_unknown
from autoshrink.spaces.cells import is_chain
from autoshrink.spaces.families import at_budget, divisors_for, families
from autoshrink.spaces.fitting import Fitting, Seconds, share
from autoshrink.spaces.moves import MOVES, USUAL, Choices, neighbours
from autoshrink.spaces.sizes import Scalable, Sizes, sides

LEAST = 0.9
"""Share of a budget below which a network that cannot be scaled nearer is no candidate."""
ROOMY = 8
"""Channels, of the narrowest place of a hand-made network, below which it gets a smaller input."""
STEPS = 6
"""Moves that a random network is away from a start, at most."""


@lru_cache(maxsize=65536)
def _macs(network: Scalable) -> int:
    return count(network).macs


@dataclass(frozen=True)
class NetworkSpace(Space[Scalable]):
    """The networks that moves make of a start, each of fewer MACs than the one before.

    Attributes:
        start: the largest network of the space.
        allowed: which moves there are, of `MOVES`.
        ops: the operations that nodes may come to have; None: every cheaper one.

    Raises:
        InputError: there is no such move.
    """

    allowed: frozenset[str] = USUAL
    ops: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        refuse_unknown(self.allowed, MOVES, "networks")

    def moves(self, design: Scalable) -> tuple[tuple[Change, Scalable], ...]:
        """Every change of one thing that takes MACs away."""
        found: dict[str, tuple[Change, Scalable]] = {}
        for change, network in neighbours(design, self.allowed, Choices(self.ops, self.start.input[1])):
            if _macs(network) < _macs(design):
                found.setdefault(network.key, (change, network))
        return tuple(found.values())

    def random(self, rng: Random) -> Scalable:
        """What up to 6 random moves make of the start."""
        design = self.start
        for _ in range(rng.randint(1, STEPS)):
            design = rng.choice([design, *(network for _, network in self.moves(design))])
        return design

    def mutated(self, design: Scalable, rng: Random) -> Scalable:
        """One change of one thing, either way, that costs no more than the start."""
        most = _macs(self.start)
        found = [
            network
            for _, network in neighbours(design, self.allowed, Choices(self.ops, self.start.input[1]))
            if _macs(network) <= most
        ]
        return rng.choice(found) if found else design


@dataclass(frozen=True)
class AtBudget(HeldSpace[Scalable]):
    """The networks that cost a budget: 90 to 100 % of it, nearly all at least 97 %.

    A move changes one thing, and all widths but the changed one are then scaled until the network costs the budget
    again, in multiples of 4 where these come near enough to it, else of 2 or 1; at a latency of 8 or 4. A change after
    which that cannot be done is no move.

    Attributes:
        start: one network of the budget, by which a search begins.
        budget: what they cost.
        seconds: what a network takes, as predicted; needed with a budget of latency.
        others: further networks of the budget that a search measures before its first move.
        allowed: which moves there are, of `MOVES`.
        ops: the operations that nodes may come to have; None: every cheaper or dearer one.
        called: what the starts are called, the first one's name first; empty for no names.
        side: height and width of the images as they are read, pixels; None: of the largest input of a start.

    Raises:
        InputError: there is no such move, or a start breaks the budget or does not use it.
    """

    budget: Budget
    seconds: Seconds | None = None
    allowed: frozenset[str] = USUAL
    ops: tuple[str, ...] | None = None
    side: int | None = None

    def __post_init__(self) -> None:
        refuse_unknown(self.allowed, MOVES, "networks")
        if self.budget == Budget() or (self.seconds is None) != (self.budget.latency is None):
            raise InputError("a space at a budget takes macs, params, memory, or latency and what predicts it")
        for network in self.starts:
            used = share(network, self.budget, self.seconds)
            if not LEAST <= used <= 1:
                raise InputError(f"a start uses {used:.1%} of the budget; between {LEAST:.0%} and 100 % is needed")

    @property
    def _choices(self) -> Choices:
        return Choices(self.ops, self.side or max(network.input[1] for network in self.starts))

    def moves(self, design: Scalable) -> tuple[tuple[Change, Scalable], ...]:
        """Every exchange: what one change makes of a network, scaled to the budget again."""
        found: dict[str, tuple[Change, Scalable]] = {}
        for change, changed in neighbours(design, self.allowed, self._choices):
            network = exchanged(changed, change, self.budget, self.seconds)
            if network is not None and network.key != design.key:
                found.setdefault(network.key, (change, network))
        return tuple(found.values())

    def chains(self, design: Scalable) -> tuple[Scalable, ...]:
        """The starts whose cells are chains."""
        del design
        return tuple(one for one in self.starts if one.cells and all(map(is_chain, one.cells.values())))

    def random(self, rng: Random) -> Scalable:
        """What up to 6 random exchanges make of a random start."""
        design = rng.choice(self.starts)
        for _ in range(rng.randint(1, STEPS)):
            design = self.mutated(design, rng)
        return design

    def mutated(self, design: Scalable, rng: Random) -> Scalable:
        """A random exchange."""
        found = neighbours(design, self.allowed, self._choices)
        for change, changed in rng.sample(found, len(found)):
            network = exchanged(changed, change, self.budget, self.seconds)
            if network is not None and network.key != design.key:
                return network
        return design


@lru_cache(maxsize=65536)
def exchanged(network: Scalable, change: Change, budget: Budget, seconds: Seconds | None = None) -> Scalable | None:
    """A changed network scaled to the budget again, the changed width as it is; None where that cannot be done."""
    kept = None
    if isinstance(change, Changed) and change.what == "width":
        kept = change.where.replace("stage", "stage ")
    best: tuple[float, Scalable] | None = None
    for divisor in divisors_for(budget):
        try:
            fitting = Fitting(network, budget, deepens=False, divisor=divisor, seconds=seconds, kept=kept, close=NEAR)
            fitted = fitting.fit()
        except InputError:  # too large even with the fewest channels
            continue
        used = share(fitted, budget, seconds)
        if best is None or used > best[0]:
            best = used, fitted
        if used >= NEAR:
            break
    return best[1] if best is not None and best[0] >= LEAST else None


def starts(
    shape: tuple[int, int, int], classes: int, budget: Budget, seconds: Seconds | None = None, *, smaller: bool = True
) -> dict[str, Scalable]:
    """The hand-made networks that use a budget, each with the largest input that leaves it room, by what they are.

    A network has room where no place of it has fewer than 8 channels. Where no input leaves it that, it has the largest
    of those that leave its narrowest place most.

    Args:
        shape: channels, height and width of the images as they are read.
        classes: to tell apart.
        budget: what they cost.
        seconds: what a network takes, as predicted; needed with a budget of latency.
        smaller: whether inputs may be smaller than the images as they are read.
    """
    channels, largest, _ = shape
    found: dict[str, Scalable] = {}
    for side in sides(largest) if smaller else (largest,):
        made = families((channels, side, side), classes, read=largest)
        for name, network in at_budget(made, budget, seconds=seconds).items():
            if share(network, budget, seconds) < LEAST:
                continue
            if name not in found or _narrowest(found[name]) < min(ROOMY, _narrowest(network)):
                found[name] = network
    return found


def _narrowest(network: Scalable) -> int:
    return min(Sizes.of(network).places.values())
