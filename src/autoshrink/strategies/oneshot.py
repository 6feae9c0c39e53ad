"""The evolutionary one-shot search of NAS-Navigator (Tyagi et al., IEEE TVCG 2022), which a person may steer.

Sub-networks of one network are drawn, and what those with a block are worth more than those without it says how likely
the block is from then on. Who watches that may lock blocks, remove them, and search around a network alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoshrink.config import SearchSettings
from autoshrink.design import Design, design_from_json
from autoshrink.errors import InputError
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Decision, Space
from autoshrink.strategies.base import (
    DRAWS,
    Choice,
    Proposal,
    Strategy,
    StrategyContext,
    best_first,
    choice,
    refuse_others,
)
from autoshrink.strategies.blocks import (
    ABSENT,
    Block,
    Choices,
    Place,
    Told,
    drawn,
    grown,
    is_switch,
    place_of,
    places,
    told_of,
    worths,
)

LEAST, MOST = 0.05, 0.95
"""No block becomes rarer, or commoner, than that."""
KEPT = 0.8
"""Share of a block's probability that stays in a round; the rest is its fitness."""
ANEW = 10
"""So often it is drawn again what was proposed before; in a small space there may be nothing else."""
FITNESS = 0.5
"""Blocks of at least this fitness make the network that ends the search: there is as much for them as against them."""


@dataclass(frozen=True)
class Held:
    """What commands leave to be drawn.

    Attributes:
        removed: options that no design may have.
        locked: options that every design has.
        centre: what designs may differ from in `radius` decisions at most; None for any design.
        radius: see there.
    """

    removed: frozenset[Place] = frozenset()
    locked: frozenset[Place] = frozenset()
    centre: Choices | None = None
    radius: int = 0

    def open(self, place: int, decision: Decision) -> list[int]:
        """The options that a decision has left; none where commands contradict each other."""
        kept = [option for option in range(len(decision.options)) if (place, option) not in self.removed]
        own = {option for at, option in self.locked if at == place}
        return [option for option in kept if not own or own == {option}]

    def allows(self, choices: Choices) -> bool:
        """Whether a design of these choices keeps all of it."""
        if any(choices[place] != option for place, option in self.locked):
            return False
        if any((place, option) in self.removed for place, option in enumerate(choices)):
            return False
        return self.centre is None or distance(choices, self.centre) <= self.radius


def distance(one: Choices, other: Choices) -> int:
    """In how many decisions two designs differ (Hamming)."""
    return sum(first != second for first, second in zip(one, other, strict=True))


class OneShot(Strategy):
    """Step 0 is the start. Each further step is a round: designs drawn by every block's probability, which begins at ½,
    and mutations of the best so far, one decision each. Then p ← clip(0.8·p + 0.2·fitness, 0.05, 0.95), with the
    fitness of `strategies.blocks`, in which all rounds count. Among options of one decision the probabilities are
    relative to each other. The last step measures the network of all blocks that have more for them than against them.

    A person's commands (`obey`) hold from the next round on:

    ==========  ====================================================================================================
    lock        block: every design has it
    remove      block: no design has it
    focus       design (its JSON), radius: designs differ from that one in so many decisions at most
    finish      threshold (½ where none is said): measure the network of the blocks of at least this fitness, and end
    ==========  ====================================================================================================

    Raises:
        InputError: the space has no decisions.
    """

    learns_of_each = True
    """What designs say of blocks does not depend on who proposed them."""

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._decisions = context.space.decisions
        self._odds = {
            (place, option): 0.5
            for place, decision in enumerate(self._decisions)
            for option in range(len(decision.options))
        }
        self._held = Held()
        self._anchor = context.space.choices(context.start)
        self._told: list[Evaluation] = []
        self._worth: list[Told] = []
        self._blocks = worths(self._decisions, ())
        self._threshold: float | None = None
        self._ended = False
        self._first = context.start
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What each block is worth by all rounds so far, in the order of the decisions."""
        return self._blocks

    @property
    def undecided(self) -> tuple[Block, ...]:
        """Those that no command has settled: there are designs with it, and designs without it."""
        found = places(self._decisions)

        def open_still(block: Block) -> bool:
            place, option = found[block.name]
            left = self._held.open(place, self._decisions[place])
            return option in left and len(left) > 1

        return tuple(filter(open_still, self._blocks))

    @staticmethod
    def learned(settings: SearchSettings, space: Space[Any], steps: Sequence[Sequence[Evaluation]]) -> dict[str, Any]:
        """``blocks``, as JSON."""
        told = told_of(space, (one for step in steps[1:] for one in step), settings.score)
        return {"blocks": [one.to_json() for one in worths(space.decisions, told)]}

    # --- ask and tell ------------------------------------------------------------------------------------------------

    def ask(self) -> tuple[Proposal, ...]:
        """Drawn from the seed, the step's number, what was told and what was commanded; empty at the end."""
        if self._asked is None:
            self._asked = tuple(self._proposals())
        return self._asked

    def _proposals(self) -> Iterator[Proposal]:
        start, settings = self._first, self._context.settings.oneshot
        if self._step == 0:
            yield Proposal(0, 0, start)
        elif self._threshold is not None:
            if not self._ended:
                yield Proposal(self._step, 0, self._fittest(self._threshold), start)
        else:
            rng = random.Random(derive_seed(self._context.settings.seed, "one-shot", self._step))
            known = {one.design.key for one in self._told}
            best = self._best(settings.mutated)
            for index in range(settings.designs):
                parent = best[index] if index < len(best) else None
                design = self._new(rng, parent, known)
                known.add(design.key)
                yield Proposal(self._step, index, design, start if parent is None else parent)

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Learn what blocks are worth; the best of the round is named."""
        refuse_others(self.ask(), evaluations)
        if self._step:
            self._ended = self._threshold is not None
            self._told += evaluations
            self._worth += told_of(self._context.space, evaluations, self._context.score)
            self._blocks = worths(self._decisions, self._worth)
            fitness = self._fitness()
            for place, odds in self._odds.items():
                self._odds[place] = min(MOST, max(LEAST, KEPT * odds + (1 - KEPT) * fitness[place]))
            if self._step == self._context.settings.oneshot.rounds:
                self._threshold = FITNESS
        self._step += 1
        self._asked = None
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def over(self) -> str:
        """All rounds are done, or a person has ended them."""
        return "the network of the fittest blocks is measured"

    def outlook(self) -> tuple[int, ...]:
        """What is left of the start, the rounds, and the network of the fittest blocks."""
        settings = self._context.settings.oneshot
        if self._threshold is not None:
            return () if self._ended else (1,) * (1 + (self._step == 0))
        return (1,) * (self._step == 0) + (settings.designs,) * (settings.rounds - max(0, self._step - 1)) + (1,)

    # --- what is drawn -----------------------------------------------------------------------------------------------

    def _best(self, most: int) -> list[Design]:
        """The best designs so far, of different networks."""
        found: dict[str, Design] = {}
        for index in best_first(self._told, self._context.score):
            if len(found) == most or self._told[index].failed:
                break
            found.setdefault(self._told[index].design.key, self._told[index].design)
        return list(found.values())

    def _new(self, rng: random.Random, parent: Design | None, known: set[str]) -> Design:
        """A design within the limits that was not proposed yet, if some draws have one; else what they had."""
        found: list[Design] = []
        for _ in range(DRAWS):
            design = self._drawn(rng, parent)
            if self._context.allowed(design):
                found.append(design)
                if design.key not in known or len(found) == ANEW:
                    return design
        return found[0] if found else design

    def _drawn(self, rng: random.Random, parent: Design | None) -> Design:
        """By the blocks' probabilities, or with one decision of a parent's otherwise."""
        left = {
            (place, option): self._odds[place, option]
            for place, decision in enumerate(self._decisions)
            for option in self._held.open(place, decision)
        }
        if parent is None:
            wish = drawn(self._decisions, left, rng)
        else:
            had = self._context.space.choices(parent)
            wish = tuple(one if (at, one) in left else self._anchor[at] for at, one in enumerate(had))
            others = [at for at in left if wish[at[0]] != at[1]]
            if others:
                wish = _with(wish, rng.choice(others))
        return self._legal(wish, rng)

    def _legal(self, wish: Choices, rng: random.Random) -> Design:
        """The design of a wish, brought nearer to one that keeps all commands, one decision after another, until it
        keeps them too. (That an edge is locked says nothing of the edges by which its tail is reached.)"""
        space = self._context.space
        differing = [place for place, option in enumerate(wish) if option != self._anchor[place]]
        rng.shuffle(differing)
        while not self._held.allows(space.choices(space.chosen(wish))) and differing:
            place = differing.pop()
            wish = _with(wish, (place, self._anchor[place]))
        design: Design = space.chosen(wish)
        return design

    def _fitness(self) -> dict[Place, float]:
        """Of every option; that something is absent is as fit as its presence is not."""
        named = places(self._decisions)
        found = {named[one.name]: one.fitness for one in self._blocks}
        for place, decision in enumerate(self._decisions):
            if is_switch(decision):
                absent = decision.options.index(ABSENT)
                found[place, absent] = 1 - found[place, 1 - absent]
        return found

    def _fittest(self, threshold: float) -> Design:
        """The network of the fittest blocks: the fittest first, as long as the limits hold. One block less fit than the
        threshold after another, where without it nothing would be connected."""
        space, fitness = self._context.space, self._fitness()
        base: list[int] = []
        more: list[Place] = []
        for place, decision in enumerate(self._decisions):
            left = self._held.open(place, decision)
            if is_switch(decision):
                absent = decision.options.index(ABSENT)
                base.append(absent if absent in left else 1 - absent)
                more += [(place, option) for option in left if option != base[-1]]
            else:
                base.append(max(left, key=lambda option: (fitness[place, option], -option)))
        more.sort(key=lambda at: -fitness[at])
        enough = sum(fitness[at] >= threshold for at in more)
        nothing = space.chosen(tuple(base)).key
        while True:
            wish = grown(space, tuple(base), more[:enough], self._context.allowed)
            if space.chosen(wish).key != nothing or enough >= len(more):
                return self._legal(wish, random.Random(derive_seed(self._context.settings.seed, "fittest")))
            enough += 1

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Blocks keep their probabilities, and what designs that keep the commands say of them. A search that `obey`
        steered as well begins anew."""
        if design is not None or self._held != Held():
            return False
        named = {
            (decision.name, name): self._odds[place, option]
            for place, decision in enumerate(self._decisions)
            for option, name in enumerate(decision.options)
        }
        space = context.space
        self._context, self._decisions, self._asked = context, space.decisions, None
        self._odds = {
            (place, option): named.get((decision.name, name), 0.5)
            for place, decision in enumerate(space.decisions)
            for option, name in enumerate(decision.options)
        }
        self._first = self._first if self._step else context.start
        self._anchor = space.choices(space.projected(context.start))
        self._told = [one for one in self._told if space.projected(one.design) == one.design]
        self._worth = told_of(space, self._told, context.score)
        self._blocks = worths(space.decisions, self._worth)
        return True

    # --- commands ----------------------------------------------------------------------------------------------------

    def obey(self, command: str, arguments: Mapping[str, Any]) -> None:
        """See the class. Raises `InputError` where it cannot be followed; nothing has changed then."""
        if command == "finish":
            self._finish(arguments)
            return
        if command in ("lock", "remove"):
            at = place_of(self._decisions, arguments.get("block"))
            held = replace(
                self._held,
                locked=self._held.locked | ({at} if command == "lock" else set()),
                removed=self._held.removed | ({at} if command == "remove" else set()),
            )
            said = f"{command} {arguments['block']}"
        elif command == "focus":
            held, said = self._focused(arguments), command
        else:
            super().obey(command, arguments)
            return
        anchor = self._anchored(held)
        if anchor is None:
            raise InputError(f"{said}: no design keeps that and the commands before it; undo one of them first")
        self._held, self._anchor, self._asked = held, anchor, None

    def _focused(self, arguments: Mapping[str, Any]) -> Held:
        radius = arguments.get("radius")
        if not isinstance(radius, int) or isinstance(radius, bool) or radius < 1:
            raise InputError(f"focus: a radius is a number of decisions, 1 at least, not {radius!r}")
        design = design_from_json(arguments.get("design"))
        return replace(self._held, centre=self._context.space.choices(design), radius=radius)

    def _finish(self, arguments: Mapping[str, Any]) -> None:
        threshold = arguments.get("threshold", FITNESS)
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise InputError(f"finish: a threshold of fitness is a number from 0 to 1, not {threshold!r}")
        if self._threshold is not None:
            raise InputError("finish: the rounds are over already")
        self._threshold, self._asked = float(threshold), None

    def _anchored(self, held: Held) -> Choices | None:
        """A design that keeps all commands, as near as can be to the centre or else the start; None where that, changed
        in nothing but what commands say, does not."""
        space = self._context.space
        near = space.choices(self._context.start) if held.centre is None else held.centre
        found = []
        for place, decision in enumerate(self._decisions):
            left = held.open(place, decision)
            if not left:
                return None
            found.append(near[place] if near[place] in left else left[0])
        anchor = tuple(found)
        return anchor if held.allows(space.choices(space.chosen(anchor))) else None


def _with(choices: Choices, at: Place) -> Choices:
    """Choices with another option of one decision."""
    return (*choices[: at[0]], at[1], *choices[at[0] + 1 :])
