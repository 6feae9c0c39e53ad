"""What is compared: strategies and variants of them, the budget of each, the seeds, and what is the same for all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoshrink.config import DEFAULT_TASK, Overrides, SearchSettings, leaves, merge, resolve
from autoshrink.errors import InputError
from autoshrink.registry import BY_PLUGIN, STRATEGIES, TASKS, near
from autoshrink.untrusted import brief, parse_json

FORMAT = "autoshrink.comparison/1"
ALONE: Overrides = {"repeats": 0, "beside": []}
"""What a compared search does otherwise: whatever it spends is within its budget, and the fresh seeds come after it."""
COMMON = (
    "task",
    "data",
    "network",
    "recipe",
    "penalty",
    "resource",
    "formula",
    "limits",
    "budget",
    "device",
    "threads",
)
"""Settings that say what is compared, and so are the same for all."""


@dataclass(frozen=True)
class Variant:
    """A strategy, perhaps with settings of its own.

    Attributes:
        name: as it was typed: ``autoshrink:evaluator=trained``.
        strategy: of the registry.
        changes: nested settings.
    """

    name: str
    strategy: str
    changes: Overrides = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """A file name."""
        return re.sub(r"[^\w.=-]+", "-", self.name).strip("-")[:80]


def variants(text: str) -> tuple[Variant, ...]:
    """What ``--strategies`` names, apart by commas: ``autoshrink,autoshrink:evaluator=trained,random``.

    After a strategy's name stand settings, each after a colon, by their full names and as ``--set`` reads them. Commas
    and colons within brackets or quotes belong to a value: ``autoshrink:moves=["edges","ops"]``.

    Raises:
        InputError: a strategy is unknown or there twice, or a setting cannot be read; the message names it.
    """
    found = tuple(_variant(part.strip()) for part in _split(text, ","))
    for place, one in enumerate(found):
        same = [other for other in found[:place] if (other.strategy, other.changes) == (one.strategy, one.changes)]
        if same or one.folder in {other.folder for other in found[:place]}:
            raise InputError(f"--strategies {brief(text)}: {one.name} is there twice; leave one out")
    return found


def _split(text: str, sign: str) -> list[str]:
    """Parts between a sign where it stands outside of brackets and quotes."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "[{") - (letter in "]}")
        if letter == sign and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _variant(text: str) -> Variant:
    strategy, *settings = _split(text, ":")
    if strategy not in STRATEGIES:
        choices = f"choose from {', '.join(STRATEGIES)}, {BY_PLUGIN}"
        raise InputError(f"--strategies: strategy {brief(strategy)} is unknown{near(strategy, STRATEGIES)}; {choices}")
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not all(name.split(".")):
            raise InputError(
                f"--strategies {brief(text)}: {brief(setting)} is no setting; write {strategy}:evaluator=trained"
            )
        changes = merge(changes, _nested(name, value))
    return Variant(text, strategy, changes)


def _nested(name: str, text: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except InputError:
        value = text
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict), "a name has one part at least"
    return value


@dataclass(frozen=True)
class Plan:
    """A comparison before it is made.

    Attributes:
        variants: the others are held against the first.
        asked: nested settings of all.
        budget: training MACs of each search.
        seeds: how many; each draws the samples anew, and is the seed of every strategy.
        retrained: fresh seeds with which what was found is trained.
        front: how many networks of a search are, at most, the one that it names among them.
    """

    variants: tuple[Variant, ...]
    asked: Overrides
    budget: int
    seeds: int = 5
    retrained: int = 2
    front: int = 3

    def __post_init__(self) -> None:
        for name, number in (("seeds", self.seeds), ("retrain-seeds", self.retrained), ("retrain-front", self.front)):
            if number < 1:
                raise InputError(f"--{name} {number}: at least one is needed")
        first, *others = (self.settings(one, 0).to_json() for one in self.variants)
        for variant, other in zip(self.variants[1:], others, strict=True):
            for name, value in leaves({key: first.get(key) for key in COMMON}):
                found = dict(leaves({key: other.get(key) for key in COMMON})).get(name)
                if found != value:
                    raise InputError(
                        f"--strategies: {variant.name} has {name} {brief(found)}, and {self.variants[0].name} "
                        f"{brief(value)}: what is compared is the same for all; give it to all, or leave it out"
                    )

    def settings(self, variant: Variant, seed: int) -> SearchSettings:
        """Of a search.

        Raises:
            InputError: they cannot be used; the message names the variant.
        """
        task = TASKS[str(self.asked.get("task", DEFAULT_TASK))]
        spec = self.asked.get("data", {}).get("spec", task.built_in)
        base = merge(ALONE, task.compared if spec == task.built_in else {})
        own = {"strategy": variant.strategy, "seed": seed, "stop": {"training_macs": self.budget}}
        try:
            return resolve(merge(merge(merge(base, self.asked), variant.changes), own))
        except InputError as error:
            raise InputError(f"--strategies {variant.name}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """What a folder keeps, so that nothing else is ever put into it."""
        settings = {one.name: self.settings(one, 0).to_json() for one in self.variants}
        return {
            "format": FORMAT,
            "strategies": [one.name for one in self.variants],
            "budget": self.budget,
            "seeds": self.seeds,
            "retrain_seeds": self.retrained,
            "retrain_front": self.front,
            "settings": settings,
        }


def difference(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first setting in which two plans' JSON differs, in words; None where they are one."""
    before, now = dict(leaves(kept)), dict(leaves(wanted))
    names = (name for name in {**before, **now} if before.get(name) != now.get(name))
    name = next(names, None)
    return name and f"{name} {brief(before.get(name))}, and not {brief(now.get(name))}"
