"""Weights of candidates in a run's folder, each file named by the SHA-256 of its content."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from autoshrink.errors import InputError, RunError
from autoshrink.files import write_bytes
from autoshrink.training import checkpoint

FOLDER = "weights"
"""In the run folder."""


class WeightFiles:
    """The weights that a run's log names. A file is there before the log names it.

    Args:
        folder: made when the first weights are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, tensors: Mapping[str, Tensor]) -> str:
        """Write the weights of a network; their name.

        Raises:
            RunError: they cannot be written.
        """
        content = checkpoint.packed(tensors, {})
        name = hashlib.sha256(content).hexdigest()
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"{self._folder}: cannot be made ({error.strerror}); make room for it") from error
        write_bytes(self._path(name), content, own=True)
        return name

    def read(self, name: str) -> tuple[dict[str, Tensor], Path]:
        """The tensors of a name, and the file that holds them.

        Raises:
            RunError: the file is gone.
            InputError: it is damaged.
        """
        path = self._path(name)
        if not path.exists():
            raise RunError(
                f"{path}: gone, and with it the weights that the search goes on with; put it back, or start a new run"
            )
        tensors, _ = checkpoint.load(path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != name:
            raise InputError(f"{path}: damaged: its content is not what its name says; restore it, or start a new run")
        return tensors, path

    def drop_others(self, *names: str | None) -> None:
        """Remove all weights but these."""
        for path in self._folder.glob("*.safetensors"):
            if path.stem not in names:
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


def drop_weights(run: Path) -> None:
    """Remove what a finished search needs no more."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
