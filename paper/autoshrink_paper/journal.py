"""The folder of a reproduction: its plan, and each outcome as soon as it is there, so that work can be gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autoshrink.errors import InputError, RunError
from autoshrink.files import write_text
from autoshrink.untrusted import parse_json, read_json, read_text
from autoshrink_paper.study import Outcome

PLAN, OUTCOMES = "plan.json", "outcomes.jsonl"


@dataclass(frozen=True)
class Journal:
    """A folder that holds a plan (what is measured, at which size) and outcomes, one JSON object a line."""

    folder: Path

    def plan(self) -> dict[str, Any] | None:
        """What was begun here; None for nothing.

        Raises:
            InputError: the file is damaged.
            RunError: there are outcomes without a plan.
        """
        path = self.folder / PLAN
        if not path.exists():
            if (self.folder / OUTCOMES).exists():
                raise RunError(f"{self.folder}: has outcomes but no {PLAN}; choose another --run")
            return None
        try:
            return dict(read_json(path))
        except (InputError, TypeError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); delete the folder, or choose another --run") from error

    def outcomes(self) -> tuple[Outcome, ...]:
        """What has been measured so far; a last line that was cut off by a kill is measured again.

        Raises:
            InputError: another line is damaged.
        """
        path = self.folder / OUTCOMES
        if not path.exists():
            return ()
        whole, _, torn = read_text(path).rpartition("\n")
        if torn:
            # What follows the last line's end was being written when the process died.
            write_text(path, whole + "\n" if whole else "", own=True)
        found = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                found.append(Outcome(**parse_json(line)))
            except (InputError, ValueError, TypeError) as error:
                raise InputError(f"{path}: line {number} is damaged ({error}); delete that line") from error
        return tuple(found)

    def add(self, outcome: Outcome) -> None:
        """Append one outcome, on disk when this returns.

        Raises:
            RunError: it cannot be written; what was measured before is still there.
        """
        path = self.folder / OUTCOMES
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
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
