"""The folder of a reproduction: what it is, and each outcome as soon as it is there: work that can be gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autoshrink.errors import InputError, RunError
from autoshrink.files import write_text
from autoshrink.reproduce.study import Outcome
from autoshrink.results import pretty
from autoshrink.untrusted import parse_json, read_json, read_text

PLAN_FILE, OUTCOMES_FILE = "plan.json", "outcomes.jsonl"


@dataclass(frozen=True)
class Journal:
    """A folder that holds a plan (what is measured, at which size) and outcomes, one JSON object a line."""

    folder: Path

    def plan(self) -> dict[str, Any] | None:
        """What was begun here; None for nothing.

        Raises:
            InputError: the file is damaged.
        """
        path = self.folder / PLAN_FILE
        if not path.exists():
            return None
        try:
            plan = read_json(path)
        except InputError as error:
            raise InputError(f"{error}; delete the folder, or choose another --run") from error
        if not isinstance(plan, dict):
            raise InputError(f"{path}: damaged: no JSON object; delete the folder, or choose another --run")
        return plan

    def begin(self, plan: dict[str, Any]) -> None:
        """Write the plan; RunError where that fails."""
        write_text(self.folder / PLAN_FILE, pretty(plan), own=True)

    def outcomes(self) -> tuple[Outcome, ...]:
        """What has been measured so far; a last line that was cut off by a kill is measured again.

        Raises:
            InputError: another line is damaged.
        """
        path = self.folder / OUTCOMES_FILE
        if not path.exists():
            return ()
        text = read_text(path)
        whole, _, torn = text.rpartition("\n")
        if torn:
            # What follows the last line's end was being written when the process died.
            write_text(path, whole + "\n" if whole else "", own=True)
        found = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                found.append(Outcome.from_json(parse_json(line)))
            except (InputError, ValueError, TypeError) as error:
                raise InputError(f"{path}: line {number} is damaged ({error}); delete that line") from error
        return tuple(found)

    def add(self, outcome: Outcome) -> None:
        """Append one outcome, on disk when this returns.

        Raises:
            RunError: it cannot be written; what was measured before is still there.
        """
        path = self.folder / OUTCOMES_FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(outcome.to_json()) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    """A folder's journal, for one process at a time.

    Raises:
        RunError: another process works here, or the folder cannot be made.
    """
    lock = FileLock(folder / "reproduce.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process works here") from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
    try:
        yield Journal(folder)
    finally:
        lock.release()
