"""The commands of a run, taken in between steps: appended to the log before they act, and replayed from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoshrink.commands import Cancel, Command, Pause, Pick, Resume, Steers, Undo
from autoshrink.mailbox import Inbox, Posted
from autoshrink.record import RunRecord
from autoshrink.replaying import replay
from autoshrink.spaces.constraints import Constraints
from autoshrink.steering import Steering, Told
from autoshrink.store import Log
from autoshrink.telling import refusal

POLL_SECONDS = 0.2
"""How often a paused search looks for commands."""
ANALYST = "analyst"
"""Author of the commands of a script that watches the run."""
RESUMED = "autoshrink resume"
"""Author of the command by which a paused run goes on when it is resumed."""


class Analyst(Protocol):
    """Says commands of what is known after a step; pure, so that told the same it says the same."""

    def __call__(self, record: RunRecord, /) -> Sequence[Command]:
        """What is to be done before the next step."""
        ...


@dataclass(frozen=True)
class Held:
    """What commands make of a search.

    Attributes:
        constraints: what designs keep.
        penalty: λ; None for that of the settings.
        picks: the picks that hold, each with the step from which on it counts.
    """

    constraints: Constraints
    penalty: float | None
    picks: tuple[tuple[int, Pick], ...]


class Obeying:
    """What a run was told, step by step: that of the log first, then what waits.

    Args:
        log: of the run.
        inbox: the commands that wait.
        analyst: a script that says commands; None for none.
        sleep: waits so many seconds.
        clock: Unix time, seconds.
    """

    def __init__(
        self,
        log: Log,
        inbox: Inbox,
        *,
        analyst: Analyst | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        record = replay(log.events())
        self._log = log
        self._inbox = inbox
        self._analyst = analyst
        self._sleep = sleep
        self._clock = clock
        self._logged = record.commands
        self._paused_before = record.steering.paused
        self._sessions = record.sessions
        self._acting: list[tuple[int, Steers]] = []
        self.steering = Steering()

    def replay_step(self, step: int) -> None:
        """Take the commands that the log has from a step on."""
        for one in self._logged:
            if one.step == step and one.refused is None:
                self._follow(one)

    def goes_beyond(self, step: int) -> bool:
        """Whether the log has commands of a later step."""
        return any(one.step > step for one in self._logged)

    def _follow(self, told: Told) -> None:
        if isinstance(told.command, Steers):
            self._acting.append((told.step, told.command))
        elif isinstance(told.command, Undo):
            del self._acting[-1:]
        if isinstance(told.command, Pick) and self.steering.ending is not None:
            # It begins a branch after that end.
            self.steering = Steering(self.steering.acting)
        self.steering = self.steering.told(told.command)

    @property
    def held(self) -> Held:
        """What holds from the step on of which commands were taken last."""
        picks = tuple((step, one) for step, one in self._acting if isinstance(one, Pick))
        return Held(self.steering.constraints, self.steering.penalty, picks)

    # --- what waits --------------------------------------------------------------------------------------------------

    def take(self, step: int, waiting: Callable[[], None] = lambda: None) -> float:
        """Take in everything that waits, to count from a step on; where that is a pause, wait for its end.

        Args:
            step: the next one.
            waiting: called when it begins to wait.

        Returns:
            How long it waited, seconds.
        """
        if self._paused_before and self.steering.paused:
            self._append(Posted(f"session-{self._sessions}", self._clock(), RESUMED, Resume()), step)
        self._paused_before = False
        self._ask_analyst(step)
        self.drain(step)
        began = time.monotonic()
        if self.steering.paused:
            waiting()
        while self.steering.paused:
            self._sleep(POLL_SECONDS)
            self.drain(step)
        return time.monotonic() - began

    def drain(self, step: int) -> None:
        """Take in what waits, to count from a step on, and wait for nothing."""
        while (posted := self._inbox.take()) is not None:
            self._append(posted, step)

    def _ask_analyst(self, step: int) -> None:
        """Let the script see the run as it was before its own commands of this step, of which some may be logged."""
        if self._analyst is None or step == 0:
            return
        events = list(self._log.events())
        own = f"{ANALYST}-{step}-"
        first = next(
            (at for at, one in enumerate(events) if one.kind == "command" and str(one.body.get("id")).startswith(own)),
            len(events),
        )
        known = {one.body["id"] for one in events[first:] if one.kind == "command"}
        for index, command in enumerate(self._analyst(replay(events[:first]))):
            if f"{own}{index}" not in known:
                self._append(Posted(f"{own}{index}", self._clock(), ANALYST, command), step)

    def _append(self, posted: Posted, step: int) -> None:
        record = replay(self._log.events())
        why = refusal(record, record.steering, posted.command)
        told = Told(posted.id, posted.author, posted.at, posted.command, step, why)
        self._log.append("command", told.to_json())
        if why is None:
            self._follow(told)

    def reopen(self) -> bool:
        """Take in what waits for a finished run; whether it goes on, since a candidate was picked."""
        record = replay(self._log.events())
        self.steering = record.steering
        self.drain(1 + max((one.step for one in record.candidates), default=-1))
        return not replay(self._log.events()).finished

    def waits(self, kind: type[Pause | Cancel]) -> bool:
        """Whether somebody waits for a pause, or for the end."""
        return any(isinstance(one.command, kind) for one in self._inbox.waiting())
