"""Where the command line writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from autoshrink.cli import INTERRUPTED
from autoshrink.config import merge
from autoshrink.errors import InputError
from autoshrink.escaping import message, shown_lines, word
from autoshrink.untrusted import brief, parse_json

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]


class Terminal(Console):
    """A console on which nothing that we print is obeyed by the terminal: control characters are shown as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable() or segment.text == "\n":
                yield segment
            else:
                yield Segment(shown_lines(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Hand on what `main` knows how to end; rich would exit with 1."""
        raise BrokenPipeError


stdout = Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)
stderr = Terminal(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def note(text: object) -> None:
    """A remark on standard error."""
    stderr.print(f"note: {message(text)}", markup=False, style="yellow")


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
        where = f"; go on with:\n  autoshrink resume {word(found[0])}" if found else ""
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
