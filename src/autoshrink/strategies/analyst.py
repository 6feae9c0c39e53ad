"""Who steers a one-shot search by what its blocks are worth: a person at a page, or a script that says what to do."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autoshrink.errors import InputError
from autoshrink.seeding import derive_seed
from autoshrink.strategies.blocks import Block
from autoshrink.strategies.oneshot import OneShot

Command = tuple[str, Mapping[str, Any]]
"""A command and its arguments, as `Strategy.obey` takes them."""


class Analyst(Protocol):
    """Says commands of what is known; pure, so that told the same it says the same."""

    def __call__(self, blocks: Sequence[Block], step: int) -> Sequence[Command]:
        """What is to be done after a step.

        Args:
            blocks: those that no command has settled, with their fitness, error and count.
            step: that was finished, from 0.
        """
        ...


@dataclass(frozen=True)
class Cutting:
    """Removes a share of the blocks every few rounds: those of the lowest fitness.

    Attributes:
        share: of the blocks that are left.
        every: so many rounds.
        blind: a seed, by which blocks are removed at random instead, as a control; None: by fitness.
        below: only blocks of less fitness go; above 1: whatever their fitness.
    """

    share: float = 0.25
    every: int = 3
    blind: int | None = None
    below: float = math.inf

    def __call__(self, blocks: Sequence[Block], step: int) -> tuple[Command, ...]:
        """See `Analyst`."""
        if step == 0 or step % self.every:
            return ()
        ranked = sorted(blocks, key=lambda one: one.fitness)
        if self.blind is not None:
            random.Random(derive_seed(self.blind, "analyst", step)).shuffle(ranked)
        cut = ranked[: math.ceil(self.share * len(ranked))]
        return tuple(("remove", {"block": one.name}) for one in cut if one.fitness < self.below)


def steer(strategy: OneShot, analyst: Analyst, step: int) -> tuple[Command, ...]:
    """Let an analyst see what a strategy knows after a step, and the strategy obey; those that it could follow.

    A block may be needed by now, since others are removed: then it stays.
    """
    followed = []
    for command, arguments in analyst(strategy.undecided, step):
        try:
            strategy.obey(command, arguments)
        except InputError:
            continue
        followed.append((command, arguments))
    return tuple(followed)
