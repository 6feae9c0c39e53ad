"""Where the command line writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from autoshrink.config import merge
from autoshrink.errors import InputError
from autoshrink.untrusted import brief, parse_json

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130
"""Exit statuses."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object, on standard output, and nothing else there."""
    print(json.dumps(value, indent=1))


@contextmanager
def resumable(folder: Path | Sequence[Path]) -> Iterator[None]:
    """Where Ctrl-C ends a command, say how to go on with what lies in the folder (or the first of some)."""
    try:
        yield
    except KeyboardInterrupt:
        found = [folder] if isinstance(folder, Path) else list(folder)
        where = f"; go on with:\n  autoshrink resume {shlex.quote(str(found[0]))}" if found else ""
        stderr.print(f"interrupted{where}", markup=False)
        raise typer.Exit(INTERRUPTED) from None


def given(value: dict[str, Any]) -> dict[str, Any]:
    """Without the options that were not given."""
    inner = {key: given(entry) if isinstance(entry, dict) else entry for key, entry in value.items()}
    return {key: entry for key, entry in inner.items() if entry is not None and entry != {}}


def assigned(assignments: list[str]) -> dict[str, Any]:
    """``a.b=c`` as nested settings; the value is JSON where it can be read as such, else text."""
    nested: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(
                f"--set {brief(assignment)}: write it as section.name=value, for example recipe.patience=3"
            )
        try:
            value = parse_json(text)
        except InputError:
            value = text
        for part in reversed(name.split(".")):
            value = {part: value}
        nested = merge(nested, value)
    return nested
