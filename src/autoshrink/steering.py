"""What the commands of a run so far say together: a fold, so that a log replays to the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from autoshrink.cell import Edge
from autoshrink.commands import (
    Cancel,
    Command,
    Focus,
    Forbid,
    Pause,
    Penalty,
    Pick,
    Pin,
    Resume,
    SetOp,
    Steers,
    Stop,
    Undo,
    Unpin,
)
from autoshrink.spaces.constraints import Constraints


@dataclass(frozen=True)
class Told:
    """A command in a run's log.

    Attributes:
        id: of the command file's line; of a scripted analyst's command ``analyst-STEP-INDEX``.
        author: who gave it.
        at: when, Unix time in seconds.
        command: what was said.
        step: from which on it counts.
        refused: why it was not followed; None where it was.
    """

    id: str
    author: str
    at: float
    command: Command
    step: int
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The body of its `command` event."""
        return dict(vars(self)) | {"command": self.command.to_json()}


@dataclass(frozen=True)
class Steering:
    """The commands that hold.

    Attributes:
        acting: those that ``undo`` can take back, the oldest first.
        paused: whether nothing new is asked for.
        ending: that the search ends, and how; None where it goes on.
    """

    acting: tuple[Steers, ...] = ()
    paused: bool = False
    ending: Literal["stop", "cancel"] | None = None

    def told(self, command: Command) -> Steering:
        """With one more that was not refused."""
        if isinstance(command, Steers):
            return replace(self, acting=(*self.acting, command))
        if isinstance(command, Undo):
            return replace(self, acting=self.acting[:-1])
        if isinstance(command, Pause | Resume):
            return replace(self, paused=isinstance(command, Pause))
        if isinstance(command, Stop | Cancel):
            return replace(self, ending=command.command, paused=False)
        return self

    @cached_property
    def constraints(self) -> Constraints:
        """What designs have to keep."""
        pinned, forbidden, ops = set[Edge](), set[Edge](), dict[int, str]()
        focus: Focus | None = None
        for one in self.acting:
            if isinstance(one, Pin):
                pinned.add(one.edge)
            elif isinstance(one, Forbid):
                forbidden.add(one.edge)
            elif isinstance(one, Unpin):
                pinned.discard(one.edge)
                forbidden.discard(one.edge)
            elif isinstance(one, SetOp):
                ops[one.node] = one.op
            elif isinstance(one, Focus):
                focus = one
        centre, radius = (None, 0) if focus is None else (focus.cell, focus.radius)
        return Constraints(frozenset(pinned), frozenset(forbidden), ops, centre, radius)

    @property
    def penalty(self) -> float | None:
        """λ, where a command says it."""
        return next((one.penalty for one in reversed(self.acting) if isinstance(one, Penalty)), None)

    @property
    def picked(self) -> Pick | None:
        """The last pick."""
        return next((one for one in reversed(self.acting) if isinstance(one, Pick)), None)
