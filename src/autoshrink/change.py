"""What was done to a design to make another one of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoshrink.cell import Edge

Value = str | int | float | None
Aim = tuple[Value, ...]


@dataclass(frozen=True)
class RemovedEdge:
    """An edge went, and with it whatever it alone connected."""

    edge: Edge

    @property
    def label(self) -> str:
        """A few signs for tables: ``−(0,2)``."""
        return f"−({self.edge[0]},{self.edge[1]})"

    def to_json(self) -> dict[str, Any]:
        """The fields by which an `evaluated` event says it."""
        return {"edge": list(self.edge)}

    @property
    def aim(self) -> Aim:
        """What it brings about, whatever it is done to."""
        return ("edge", *self.edge)

    @property
    def sort(self) -> str:
        """What is done, wherever in a design."""
        return "edge none"


@dataclass(frozen=True)
class ChangedOp:
    """A node has another operation."""

    node: int
    op: str

    @property
    def label(self) -> str:
        """A few signs for tables: ``3: conv1x1``."""
        return f"{self.node}: {self.op}"

    def to_json(self) -> dict[str, Any]:
        """The fields by which an `evaluated` event says it."""
        return {"edge": None, "change": {"node": self.node, "op": self.op}}

    @property
    def aim(self) -> Aim:
        """What it brings about, whatever it is done to."""
        return ("op", self.node, self.op)

    @property
    def sort(self) -> str:
        """What is done, wherever in a design."""
        return f"op {self.op}"


@dataclass(frozen=True)
class Changed:
    """A value of a design is another one.

    Attributes:
        what: it is, in a word: ``width``.
        where: in the design: ``stage2``; empty for the whole of it.
        before: the parent's value.
        after: the child's.
    """

    what: str
    where: str
    before: Value
    after: Value

    @property
    def label(self) -> str:
        """A few signs for tables: ``stage2 width 32 → 28``."""
        return f"{self.where} {self.what} {_shown(self.before)} → {_shown(self.after)}".lstrip()

    def to_json(self) -> dict[str, Any]:
        """The fields by which an `evaluated` event says it."""
        change = {"what": self.what, "where": self.where, "before": self.before, "after": self.after}
        return {"edge": None, "change": change}

    @property
    def aim(self) -> Aim:
        """What it brings about, whatever it is done to."""
        return (self.what, self.where, self.after)

    @property
    def sort(self) -> str:
        """What is done, wherever in a design: of a number whether it is more."""
        if isinstance(self.before, int | float) and isinstance(self.after, int | float):
            return f"{self.what} {'more' if self.after > self.before else 'less'}"
        return f"{self.what} {self.after}"


def _shown(value: Value) -> str:
    return "none" if value is None else str(value)


Change = RemovedEdge | ChangedOp | Changed
"""A move from a parent to a child."""


def change_from_json(body: dict[str, Any]) -> Change | None:
    """What an `evaluated` event says of the change; None for a design that was made of no other."""
    edge, change = body["edge"], body.get("change")
    if change is not None and "what" in change:
        return Changed(change["what"], change["where"], change["before"], change["after"])
    if change is not None:
        return ChangedOp(change["node"], change["op"])
    return None if edge is None else RemovedEdge((edge[0], edge[1]))
