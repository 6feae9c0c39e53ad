"""Whether a command can be followed, and how it gets to the search."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoshrink.architecture import first_problem
from autoshrink.commands import (
    Cancel,
    Command,
    Focus,
    Forbid,
    Note,
    Pause,
    Penalty,
    Pick,
    Pin,
    Resume,
    SetOp,
    Undo,
    Unpin,
    command_of,
)
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.files import named
from autoshrink.mailbox import Inbox, post
from autoshrink.record import RunRecord
from autoshrink.registry import EVALUATORS
from autoshrink.spaces import space_of
from autoshrink.spaces.cells import CellSpace, cheaper
from autoshrink.steering import Steering
from autoshrink.store import read_record

Held = Pin | Forbid | Unpin | SetOp | Focus


def refusal(record: RunRecord, steering: Steering, command: Command) -> str | None:
    """Why a run cannot follow a command now, or None.

    Args:
        record: of the run; over a range of budgets, of the search at the last one.
        steering: the commands before.
        command: the next one.
    """
    try:
        _check(record, steering, command)
    except InputError as error:
        return str(error)
    return None


def _check(record: RunRecord, steering: Steering, command: Command) -> None:
    if isinstance(command, Note):
        return
    _check_open(record, steering, command)
    if isinstance(command, Pause | Resume):
        _check_pause(steering, command)
    elif isinstance(command, Undo):
        if not steering.acting:
            raise InputError("there is no command to take back")
        _check_held(record, steering.told(command))
    elif isinstance(command, Pick):
        _check_pick(record, steering, command)
    elif isinstance(command, Penalty):
        _check_penalty(record, command)
    elif isinstance(command, Held):
        _check_edges(steering, command)
        _check_held(record, steering.told(command))
        if isinstance(command, SetOp):
            _check_op(record, command)


def _check_open(record: RunRecord, steering: Steering, command: Command) -> None:
    if record.finished and not isinstance(command, Pick | Undo | Unpin):
        raise InputError("the run is finished; pick a candidate first, and it goes on from that")
    if record.stopped is not None and not record.finished and command != Cancel():
        raise InputError(f"the steps are over ({record.stopped}); the finals are being measured")
    if not record.finished and steering.ending is not None and not (steering.ending == "stop" and command == Cancel()):
        raise InputError(f"the search ends already ({steering.ending})")


def _check_pause(steering: Steering, command: Pause | Resume) -> None:
    if isinstance(command, Pause) and steering.paused:
        raise InputError("the search is paused already")
    if isinstance(command, Resume) and not steering.paused:
        raise InputError("the search is not paused")


def _check_edges(steering: Steering, command: Held) -> None:
    held = steering.constraints
    if isinstance(command, Pin | Forbid | Unpin):
        name = f"edge {command.edge[0]}-{command.edge[1]}"
        if isinstance(command, Pin) and command.edge in held.forbidden:
            raise InputError(f"{name} is forbidden; unpin it first")
        if isinstance(command, Forbid) and command.edge in held.pinned:
            raise InputError(f"{name} is pinned; unpin it first")
        if isinstance(command, Unpin) and command.edge not in held.pinned | held.forbidden:
            raise InputError(f"{name} is neither pinned nor forbidden")


def _check_held(record: RunRecord, after: Steering) -> None:
    """That some design keeps all that is held."""
    constraints = after.constraints
    if constraints:
        space_of(record.settings, record.start, record.data).constrained(constraints)


def _check_op(record: RunRecord, command: SetOp) -> None:
    """That whatever measures the candidates knows the operation at this node."""
    kind = EVALUATORS[record.settings.evaluator]
    space = space_of(record.settings, record.start, record.data)
    assert isinstance(space, CellSpace), "operations are held of cells alone"
    own = space.start.ops[command.node]
    options = (own, *(cheaper(space.start.kind, own) if "ops" in space.allowed else ()))
    if kind.shares and command.op not in options:
        raise InputError(
            f"with --evaluator {record.settings.evaluator} all cells are parts of one network, in which node "
            f"{command.node} is {', '.join(options)}, not {shown(command.op)}"
        )


def _check_pick(record: RunRecord, steering: Steering, command: Pick) -> None:
    if record.finished and EVALUATORS[record.settings.evaluator].shares:
        raise InputError("the weights that its candidates shared are gone since the run ended; start a new run")
    found = next((one for one in record.candidates if (one.step, one.index) == command.place), None)
    if found is None:
        raise InputError(f"there is no candidate {command.candidate}; {_candidates(record)}")
    if found.evaluation.failed:
        raise InputError(f"candidate {command.candidate} failed ({found.evaluation.reason}); pick another")
    broken = steering.constraints.broken_by(found.design)
    if broken is not None:
        raise InputError(f"candidate {command.candidate} cannot be picked: {broken}")


def _candidates(record: RunRecord) -> str:
    if not record.candidates:
        return "none was measured yet"
    last = record.candidates[-1]
    return f"they go from 0.0 to {last.step}.{last.index} (STEP.INDEX)"


def _check_penalty(record: RunRecord, command: Penalty) -> None:
    if record.settings.filter != "none" or not EVALUATORS[record.settings.evaluator].trains:
        raise InputError("what is not trained is scored by a scale that was fitted to the penalty; start a new run")
    try:
        record.settings.changed({"penalty": command.penalty})
    except ValidationError as error:
        raise InputError(first_problem(error)) from error


# --- telling ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Receipt:
    """What became of a command that was posted.

    Attributes:
        id: of the command.
        finished: whether the run is finished, so that only `resume` takes the command in.
    """

    id: str
    finished: bool


def tell(run: str | os.PathLike[str], command: str | Command, *, author: str | None = None, **fields: Any) -> Receipt:
    """Leave a command for a search, which takes it in between two steps: ``tell("runs/a", "forbid", edge=(1, 4))``.

    Args:
        run: its folder.
        command: its name, or the value itself.
        author: who gives it; None: the user of this process.
        fields: what belongs to it (`autoshrink.commands`).

    Returns:
        Its id, and when it will be taken in.

    Raises:
        InputError: it is no command, or cannot be followed as far as can be read of the run and of the commands that
            wait; nothing was left then.
        RunError: there is no run, or the command file cannot be written.
    """
    folder = named(run)
    value = command_of({"command": command, **fields}) if isinstance(command, str) else command
    record = read_record(folder)
    check_told(folder, record, value)
    return Receipt(post(folder, value, author or this_user()), record.finished)


def check_told(folder: Path, record: RunRecord, command: Command) -> None:
    """Refuse a command that cannot be followed, as far as can be read of the run and of the commands that wait.

    Raises:
        InputError: why.
        RunError: the command file cannot be read.
    """
    if record.octaves and record.finished:
        raise InputError(f"{command.command}: the search over a range of budgets is finished; nothing goes on from it")
    waiting = Inbox(folder, (one.id for one in record.commands)).waiting()
    record = record.latest
    steering = record.steering
    for one in waiting:
        if refusal(record, steering, one.command) is None:
            if record.finished and isinstance(one.command, Pick):
                record = record.reopened()
                steering = record.steering
            steering = steering.told(one.command)
    why = refusal(record, steering, command)
    if why is not None:
        raise InputError(f"{command.command}: {why}")


def this_user() -> str:
    """The name of the user that runs this process."""
    try:
        return getpass.getuser() or "somebody"
    except (OSError, KeyError, ImportError):
        return "somebody"
