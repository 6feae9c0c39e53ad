"""The folder of a final training: its files, who may write there, and how a state is read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from autoshrink.bundle import MODEL_FILE
from autoshrink.errors import RunError
from autoshrink.escaping import printable, shown
from autoshrink.files import check_folder, remove_drafts
from autoshrink.training.loop import Course, Validation

STATE_FILE = "training.safetensors"
CURVE_FILE = "curve.json"
LOCK_FILE = "training.lock"


class Facts(BaseModel):
    """What a state file says of its tensors, whatever the task; its fields are checked when it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    fingerprint: list[str]
    curve: tuple[float, ...]
    ended: str | None

    @property
    def course(self) -> Course:
        """How far the training is. Of the best epoch only its performance is known."""
        best = Validation(max(self.curve), -max(self.curve)) if self.curve else None
        return Course(self.curve, best, self.ended)


@contextmanager
def locked(folder: Path, *, mine: bool = True) -> Iterator[None]:
    """One training a folder, which is made if need be; nothing where the lock is another process's business.

    Raises:
        RunError: another process is training there, or the folder cannot be written.
    """
    if not mine:
        yield
        return
    check_folder(folder)
    if printable(str(folder)) != str(folder):
        raise RunError(f"{shown(folder)}: the name is not UTF-8, and safetensors opens no such file; choose another")
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process is training here") from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
    try:
        # What a process that was killed in the middle of writing left behind; whoever has the lock writes alone.
        remove_drafts(folder)
        yield
    finally:
        lock.release()


def refuse_used(folder: Path) -> None:
    """Refuse a folder in which there is a training or a model.

    Raises:
        RunError: there is; the message says how to go on.
    """
    begun = (folder / STATE_FILE).exists()
    if begun or (folder / MODEL_FILE).exists():
        way_out = f"go on with `autoshrink resume {folder}` or choose" if begun else "choose"
        raise RunError(f"{folder}: holds a {'training' if begun else 'model'} already; {way_out} another folder")
