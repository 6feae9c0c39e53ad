"""Packages that are not always there: not installed and not loadable are two things, with two ways out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autoshrink.errors import InputError


@contextmanager
def optional(
    *packages: str, purpose: str, install: str, instead: str = "", kind: type[InputError] = InputError
) -> Iterator[None]:
    """Around the import of packages that an extra brings.

    Args:
        packages: the names that are imported.
        purpose: what needs them, the beginning of the message.
        install: the command that installs them.
        instead: how to do without them.
        kind: of the error.

    Raises:
        InputError: one is not installed, or is and cannot be loaded; the message says which of the two, and why.
    """
    names = " and ".join(packages)
    verb = "are" if len(packages) > 1 else "is"
    way = f"; {instead}" if instead else ""
    try:
        yield
    except (ImportError, OSError, MemoryError) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and missing.partition(".")[0] in packages:
            raise kind(f"{purpose} needs {names}, which {verb} not installed: {install}{way}") from error
        why = " ".join(str(error).split())[:200] or "too little memory"
        raise kind(f"{purpose} needs {names}, which {verb} installed but cannot be loaded ({why}){way}") from error
