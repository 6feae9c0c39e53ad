"""What a network may cost, and how much of that it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoshrink import formatting
from autoshrink.errors import InputError
from autoshrink.quantity import Quantity
from autoshrink.resources import RESOURCES
from autoshrink.steps import Cost

BudgetName = Literal["macs", "params", "memory", "latency"]
COUNTED: tuple[BudgetName, ...] = ("macs", "params", "memory")
"""What is worked out from the shapes; latency alone is measured."""
NEAR = 0.97
"""Share of the binding budget that is promised wherever widths allow it."""


@dataclass(frozen=True)
class Budget:
    """What a network may cost at most; None for no limit.

    Attributes:
        macs: multiply-adds of one image, or one token (`Cost.macs`).
        params: parameters without BN's (`Cost.params`).
        memory: peak activation memory in bytes (`Cost.peak_activation_bytes`: float32, batch 1).
        latency: seconds of one forward pass, as measured.

    Raises:
        InputError: a limit is not above zero.
    """

    macs: int | None = None
    params: int | None = None
    memory: int | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        for name in (*COUNTED, "latency"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(f"{name}: a budget is above zero, not {limit}")

    @property
    def counted(self) -> bool:
        """Whether there is a budget that can be counted."""
        return any(getattr(self, name) is not None for name in COUNTED)

    def uses(self, cost: Cost) -> tuple[Use, ...]:
        """What a network uses of the budgets that can be counted."""
        used = {"macs": cost.macs, "params": cost.params, "memory": cost.peak_activation_bytes}
        limits = ((name, getattr(self, name)) for name in COUNTED)
        return tuple(Use(name, limit, used[name]) for name, limit in limits if limit is not None)


@dataclass(frozen=True)
class Use:
    """How much of one budget a network uses; units as in `Budget`."""

    name: BudgetName
    limit: float
    used: float

    @property
    def share(self) -> float:
        """What is used over what is allowed; at most 1 within the budget."""
        return self.used / self.limit

    def __str__(self) -> str:
        used = shown(self.used, self.name)
        return f"{used.partition(' ')[0]} of {shown(self.limit, self.name)}"


@dataclass(frozen=True)
class Larger:
    """The cheapest single width step that breaks a budget: what it is, and what the network would use with it."""

    change: str
    use: Use


def octaves(least: int, most: int) -> tuple[int, ...]:
    """The budgets of a range: `least` doubled again and again, and `most` as the last.

    A doubled one less than half an octave (√2) below `most` is left out, so that two neighbours are half an octave to
    one and a half apart: 500k to 4M is 500k, 1M, 2M, 4M; 500k to 3M is 500k, 1M, 2M, 3M; 500k to 2.5M is 500k, 1M,
    2.5M.

    Raises:
        InputError: the range is no half octave, or its ends are the wrong way round.
    """
    if least > most:
        raise InputError(f"its ends are {least:,} and {most:,}; the smaller one comes first")
    # Squared, so that whole numbers are compared.
    if not least * least * 2 <= most * most:
        raise InputError(
            f"from {least:,} to {most:,} is less than half an octave upwards; give one budget, or a larger range"
        )
    found = [least]
    while 8 * found[-1] * found[-1] <= most * most:
        found.append(2 * found[-1])
    return (*found, most)


def binding(uses: tuple[Use, ...]) -> Use | None:
    """The budget that is used most; None where there is none."""
    return max(uses, key=lambda use: use.share, default=None)


def too_few(use: Use, smallest: str) -> str:
    """That even the smallest network breaks a budget: both figures in the unit in which the budget was typed."""
    limit, used = shown(use.limit, use.name), shown(use.used, use.name)
    if isinstance(use.limit, Quantity) and use.limit.one > 1:
        resource = RESOURCES[use.name]
        amount = (resource.amount or resource.title).removeprefix("bytes ")
        limit = f"{resource.unit.limit(use.limit)} {amount}"
        used = f"{resource.unit.beside(int(use.used), use.limit)} {amount}"
    return f"{use.name}: {limit} are too few: {smallest} has {used}; allow more"


def shown(value: float, name: BudgetName) -> str:
    """A figure with its unit: ``383,677,672 MACs``, ``262,144 bytes of activations``, ``4.87 ms``."""
    if name == "latency":
        return formatting.plain(formatting.latency(1e9 * value))
    return f"{value:,.0f} {RESOURCES[name].amount or RESOURCES[name].title}"
