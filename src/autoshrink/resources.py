"""What a cell costs: the resources that a search may weigh or limit, each one entry of a table.

A resource of yours is a `Resource`, registered by a file (``--plugin``) or by a package (entry point group
``autoshrink.resources``). It is then a choice of ``--resource``, has a limit ``--max-NAME`` in ``search``, and stands
in tables, reports and JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoshrink import formatting
from autoshrink.errors import InputError
from autoshrink.quantity import Quantity
from autoshrink.registry import Registry

if TYPE_CHECKING:
    from autoshrink.architecture import Architecture
    from autoshrink.cost import Cost


@dataclass(frozen=True)
class Unit:
    """How amounts of a resource are written and typed.

    Attributes:
        name: in formulas: ``bytes``; nothing for counts.
        short: with three significant digits: ``38.2M``, ``55.3 KiB``.
        exact: with the digits that a table has room for: ``224,128``, ``0.347 ms``.
        whole: with all digits: ``262,144 bytes``.
        typed: what a person may write behind a number, in lower case, and what it multiplies by.
        about: what a person should type, with examples.
        axis: what an axis divides by, and the unit that it names then; none for counts.
        sizes: what a budget's name is written in, smallest first: ``500k``, ``64KiB``, ``350us``.
        per_json: what JSON divides by, 1 for whole numbers.
        rounded: whether amounts beside a limit are rounded up to a tenth of the unit in which that was typed.
    """

    name: str
    short: Callable[[float], str]
    exact: Callable[[int], str]
    whole: Callable[[float], str]
    typed: Mapping[str, int]
    about: str
    axis: tuple[int, str] = (1, "")
    sizes: tuple[tuple[int, str], ...] = ((1, ""), (10**3, "k"), (10**6, "M"), (10**9, "G"), (10**12, "T"))
    per_json: int = 1
    rounded: bool = True

    @property
    def countable(self) -> bool:
        """Whether there are *fewer* of it, and not *less*."""
        return not self.name

    def limit(self, value: float) -> str:
        """A limit as it was typed; else all its digits, with the unit: ``256KiB``, ``262,144 bytes``."""
        return value.text if isinstance(value, Quantity) else self.whole(value)

    def named(self, value: int) -> str:
        """An amount as the name of a budget, with four significant digits at most: ``500k``, ``1.5M``, ``64KiB``."""
        size, unit = next((one for one in reversed(self.sizes) if value >= one[0]), self.sizes[0])
        return f"{value / size:.4g}{unit}"

    def beside(self, value: int, allowed: float) -> str:
        """An amount in the unit in which a limit was typed, rounded up to a tenth: ``432KiB``; else with all digits."""
        unit = re.sub(r"^[\d.,_]*(e\d+)?\s*", "", allowed.text) if isinstance(allowed, Quantity) else ""
        if not isinstance(allowed, Quantity) or not unit or not self.rounded:
            return self.whole(value)
        tenths = -(-10 * value // allowed.one)
        return f"{tenths / 10:,.{1 if tenths % 10 else 0}f}{unit}"


def _prefixed(base: int, ends: str) -> dict[str, int]:
    return {f"{letter}{ends}": base**power for power, letter in enumerate("kmgt", start=1)}


COUNT = Unit(
    "",
    short=formatting.quantity,
    exact="{:,}".format,
    whole="{:,.0f}".format,
    typed={"": 1} | _prefixed(1000, ""),
    about="a count such as 384M, 250k or 1,000,000",
)
BYTES = Unit(
    "bytes",
    short=formatting.memory,
    exact=lambda value: f"{value / 1024:,.1f} KiB",
    whole="{:,.0f} bytes".format,
    typed={"": 1, "b": 1} | _prefixed(1000, "") | _prefixed(1000, "b") | _prefixed(1024, "i") | _prefixed(1024, "ib"),
    about="a number of bytes such as 256KiB, 1.5MiB or 300kB",
    axis=(1024, "KiB"),
    sizes=((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")),
)
NANOSECONDS = Unit(
    "ns",
    short=formatting.latency,
    exact=lambda value: f"{value / 1e6:,.3f} ms",
    whole=formatting.latency,
    typed={"s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "μs": 10**3, "ns": 1},
    about="a latency such as 5ms or 350us",
    axis=(1000, "µs"),
    sizes=((1, "ns"), (10**3, "us"), (10**6, "ms"), (10**9, "s")),
    per_json=10**9,
    rounded=False,
)


@dataclass(frozen=True)
class Resource:
    """One resource.

    Attributes:
        name: in settings and options: ``--resource NAME``, ``--max-NAME``.
        title: in sentences and tables.
        unit: how amounts are written and typed.
        key: in the JSON of a result.
        count: the amount from an architecture and what was counted of it, a whole number in the unit; None: it is
            measured, on a device.
        limit: of the option ``--max-NAME``, its help; empty: it cannot be limited.
        budget: of ``craft``'s option ``--NAME``, its help; empty where `craft` cannot scale to it (`crafting.Budget`).
        short: the title where there is little room; by default the title.
        amount: what follows a budget's number: ``bytes of activations``; by default the title.
        per_sample: whether titles add what it is the cost of: ``MACs per image``.
    """

    name: str
    title: str
    unit: Unit
    key: str
    count: Callable[[Architecture, Cost], int] | None
    limit: str = ""
    budget: str = ""
    short: str = ""
    amount: str = ""
    per_sample: bool = False

    @property
    def axis(self) -> str:
        """The name of its axis: ``peak memory, KiB``."""
        return f"{self.title}, {self.unit.axis[1]}" if self.unit.axis[1] else self.title

    def json(self, value: int) -> float | None:
        """An amount for JSON; None where it is unknown."""
        return (value / self.unit.per_json if self.unit.per_json > 1 else value) if value else None


MACS = Resource(
    "macs",
    "MACs",
    COUNT,
    key="macs",
    count=lambda _, cost: cost.macs,
    limit="The reported cell has at most these MACs, e.g. 5M.",
    budget="At most these multiply-adds, e.g. 384M.",
    per_sample=True,
)
PARAMS = Resource(
    "params",
    "parameters",
    COUNT,
    key="params",
    count=lambda _, cost: cost.params,
    limit="… at most these parameters, e.g. 20k.",
    budget="At most these parameters, e.g. 3.6M.",
    short="params",
)
MEMORY = Resource(
    "memory",
    "peak memory",
    BYTES,
    key="peak_activation_bytes",
    count=lambda _, cost: cost.peak_activation_bytes,
    limit="… at most this peak activation memory, e.g. 256KiB.",
    budget="At most this peak activation memory, e.g. 256KiB.",
    amount="bytes of activations",
)
CELL_PARAMS = Resource(
    "cell_params",
    "cell parameters",
    COUNT,
    key="cell_params",
    count=lambda _, cost: cost.cell_params,
    short="cell params",
)
LATENCY = Resource(
    "latency",
    "latency",
    NANOSECONDS,
    key="latency_seconds",
    count=None,
    limit="… at most this latency of a batch of one, e.g. 5ms.",
    budget="At most this latency, measured here, e.g. 5ms.",
)

RESOURCES: Registry[Resource] = Registry(
    "autoshrink.resources",
    "resource",
    {name: f"autoshrink.resources:{name.upper()}" for name in ("macs", "params", "memory", "cell_params", "latency")},
)


def every_resource() -> Iterator[Resource]:
    """Every resource there is, this package's first."""
    return (RESOURCES[name] for name in RESOURCES)


def registered_amounts(architecture: Architecture, cost: Cost) -> list[tuple[Resource, int]]:
    """What an architecture costs in the resources that others registered, as far as that can be counted.

    Raises:
        InputError: a count gave no whole number from zero on.
    """
    others = (one for one in every_resource() if one.name not in RESOURCES.own and one.count is not None)
    return [(one, _counted(one, architecture, cost)) for one in others]


@dataclass(frozen=True)
class Resources:
    """What one image, or one token of text, costs, and how large the network is: amounts by the resource's name.

    An amount that is not there is 0: logs lack what was not counted when they were written, and a latency is there
    only where the search asks for it.
    """

    amounts: Mapping[str, int] = field(hash=False)

    def __init__(self, macs: int, params: int, memory: int, cell_params: int = 0, **others: int) -> None:
        first = {"macs": macs, "params": params, "memory": memory, "cell_params": cell_params}
        object.__setattr__(self, "amounts", first | {name: value for name, value in others.items() if value})

    def __getitem__(self, name: str) -> int:
        """The amount of a resource; 0 where it is unknown."""
        return self.amounts.get(name, 0)

    @classmethod
    def of(cls, architecture: Architecture, cost: Cost, **measured: int) -> Resources:
        """All that can be counted, and what was measured.

        Raises:
            InputError: a count gave no whole number from zero on.
        """
        counted = {one.name: _counted(one, architecture, cost) for one in every_resource() if one.count is not None}
        return cls(**counted, **measured)

    @property
    def macs(self) -> int:
        """Multiply-adds of a forward pass."""
        return self["macs"]

    @property
    def params(self) -> int:
        """Parameters without BN."""
        return self["params"]

    @property
    def memory(self) -> int:
        """Peak activation bytes (float32, batch 1)."""
        return self["memory"]

    def to_json(self) -> dict[str, int]:
        """A JSON object."""
        return dict(self.amounts)


def _counted(resource: Resource, architecture: Architecture, cost: Cost) -> int:
    assert resource.count is not None, "it can be counted"
    value: object = resource.count(architecture, cost)
    if not isinstance(value, int) or value < 0:
        raise InputError(f"resource {resource.name!r}: its count gave {value!r}, which is no whole number from zero on")
    return value
