"""Objectives of which the answer is known: a space of free decisions, and what each option is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from autoshrink.change import Change, Changed
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Decision, Space


@dataclass(frozen=True)
class Planted:
    """A design that is its choices."""

    choices: tuple[int, ...]

    @property
    def kind(self) -> str:
        """``planted``."""
        return "planted"

    @property
    def key(self) -> str:
        """The choices."""
        return ",".join(map(str, self.choices))

    def to_json(self) -> dict[str, Any]:
        """For messages: nobody reads it again."""
        return {"format": "planted.design/1", "choices": list(self.choices)}


@dataclass(frozen=True)
class PlantedSpace(Space[Planted]):
    """Every combination of options is a design of its own.

    Attributes:
        start: where a search begins.
        free: the decisions.
    """

    free: tuple[Decision, ...]

    @classmethod
    def switches(cls, count: int) -> PlantedSpace:
        """So many blocks that are absent or present; a search begins with all of them."""
        return cls(
            Planted((1,) * count), tuple(Decision(f"block {place}", ("absent", "present")) for place in range(count))
        )

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """See `Space.decisions`."""
        return self.free

    def choices(self, design: Planted) -> tuple[int, ...]:
        """Its own."""
        return design.choices

    def chosen(self, choices: Sequence[int]) -> Planted:
        """Any of them."""
        self.options(choices)
        return Planted(tuple(choices))

    def moves(self, design: Planted) -> tuple[tuple[Change, Planted], ...]:
        """One decision has a lower option."""
        return self._others(design, lower=True)

    def random(self, rng: Random) -> Planted:
        """Every decision drawn by itself."""
        return Planted(tuple(rng.randrange(len(one.options)) for one in self.free))

    def mutated(self, design: Planted, rng: Random) -> Planted:
        """One decision has another option."""
        return rng.choice(self._others(design, lower=False))[1]

    def _others(self, design: Planted, *, lower: bool) -> tuple[tuple[Change, Planted], ...]:
        return tuple(
            (Changed("option", one.name, one.options[own], one.options[other]), _with(design, place, other))
            for place, (one, own) in enumerate(zip(self.free, design.choices, strict=True))
            for other in (range(own) if lower else range(len(one.options)))
            if other != own
        )


def _with(design: Planted, place: int, option: int) -> Planted:
    return Planted((*design.choices[:place], option, *design.choices[place + 1 :]))


@dataclass(frozen=True)
class Additive:
    """A design is worth the sum of what its options are worth, measured with some noise of its own.

    Attributes:
        effects: of every decision's options.
        noise: standard deviation.
        seed: of the noise.
    """

    effects: tuple[tuple[float, ...], ...]
    noise: float = 0.0
    seed: int = 0

    @classmethod
    def of_switches(cls, count: int, seed: int, noise: float = 0.0) -> Additive:
        """Effects of so many blocks, drawn from the normal distribution."""
        rng = Random(derive_seed(seed, "effects"))
        return cls(tuple((0.0, rng.gauss(0, 1)) for _ in range(count)), noise, seed)

    def worth(self, design: Any) -> float:
        """Of a `Planted` design, without noise."""
        return math.fsum(own[option] for own, option in zip(self.effects, design.choices, strict=True))

    @property
    def best(self) -> float:
        """What no design exceeds."""
        return math.fsum(map(max, self.effects))

    def __call__(self, design: Any, seed: int = 0) -> Evaluation:
        """What measuring a `Planted` design gives; always the same of one design."""
        noise = Random(derive_seed(self.seed, "noise", design.key)).gauss(0, self.noise) if self.noise else 0.0
        resources = Resources(macs=1000 + sum(design.choices), params=1, memory=1)
        return Evaluation(design, resources, seed, "planted", self.worth(design) + noise)
