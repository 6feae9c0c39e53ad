"""Where the command line writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table

from autoshrink.cli import INTERRUPTED
from autoshrink.cli.command import plugins_again
from autoshrink.config import Overrides, leaves, merge
from autoshrink.errors import InputError
from autoshrink.escaping import message, shown, shown_lines, word
from autoshrink.quantity import Quantity
from autoshrink.results import finite
from autoshrink.untrusted import MOST_DEPTH, brief, parse_json

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
UncheckedOption = Annotated[
    bool, typer.Option("--unchecked", help="Use an .onnx file that another tool rewrote, against its checksum.")
]


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


def table(heads: Iterable[str], *, words: Container[str] = ("",)) -> Table:
    """A plain table for the terminal: columns of `words` are aligned to the left, those of figures to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        made.add_column(head, justify="left" if head in words else "right")
    return made


@contextmanager
def bar(*, shows: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """A bar where standard error is a terminal; it is told what is done, how much of it, and how much there is."""
    columns = (
        *(TextColumn("{task.description}"), BarColumn()),
        *(TextColumn("{task.completed:,} of {task.total:,}"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=stderr, disable=not (shows and stderr.is_terminal), transient=True) as made:
        task = made.add_task("", total=1, visible=False)

        def told(what: str, done: int, total: int) -> None:
            made.update(task, description=what, completed=done, total=total, visible=True)

        yield told


def note(text: object) -> None:
    """A remark on standard error."""
    stderr.print(f"note: {message(text)}", markup=False, style="yellow")


def print_json(value: dict[str, Any]) -> None:
    """One JSON object, on standard output, and nothing else there. What is not finite is null: JSON has no NaN."""
    print(json.dumps(finite(value), indent=1, allow_nan=False))


def note_unchecked(model: Path) -> None:
    """Say that a file has no checksum."""
    note(f"{model} has no checksum, as older exports: damage to it would not be seen")


@contextmanager
def resumable(folder: Path | Sequence[Path]) -> Iterator[None]:
    """Where Ctrl-C ends a command, say how to go on with what lies in the folder (or the first of some)."""
    try:
        yield
    except KeyboardInterrupt:
        found = [folder] if isinstance(folder, Path) else list(folder)
        where = f"; go on with:\n  autoshrink resume {word(found[0])}{plugins_again()}" if found else ""
        stderr.print(f"interrupted{where}", markup=False)
        raise typer.Exit(INTERRUPTED) from None


def asked(options: Mapping[str, Any], assignments: Sequence[str], names: Mapping[str, str]) -> Overrides:
    """What a person asked for, by options and by ``--set``, as nested settings.

    Args:
        options: nested settings with the options' values; None for what was not given.
        assignments: every ``section.name=value``; the value is JSON where it can be read as such, else text.
        names: an option's name by the full name of its setting, where it is another than the setting's last part.

    Raises:
        InputError: an assignment cannot be read, or one setting is given two values; the message has both.
    """
    nested: dict[str, Any] = {}
    found: dict[str, tuple[str, Any]] = {}
    chosen = given(options)
    for place, value in leaves(chosen):
        found[place] = (_said(names.get(place) or option_name(place), value), value)
    for assignment in assignments:
        laid = _assigned(assignment)
        for place, value in leaves(laid):
            _refuse_second(found, place, value, f"--set {assignment}")
            found[place] = (f"--set {assignment}", value)
        nested = merge(nested, laid)
    return merge(chosen, nested)


def option_name(place: str) -> str:
    """Of a setting, where nothing else is said: ``recipe.weight_decay`` → ``--weight-decay``."""
    return "--" + place.rpartition(".")[2].replace("_", "-")


def _said(option: str, value: object) -> str:
    """An option as it was typed."""
    if isinstance(value, bool):
        return option if value else f"--no-{option[2:]}"
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"{option} {value.text if isinstance(value, Quantity) else value}"


def given(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without the options that were not given."""
    inner = {key: given(entry) if isinstance(entry, dict) else entry for key, entry in value.items()}
    return {key: entry for key, entry in inner.items() if entry is not None and entry != {}}


def _refuse_second(found: Mapping[str, tuple[str, Any]], place: str, value: object, said: str) -> None:
    """Refuse another value for the same setting, or for a section that it lies in."""
    for other, (first, before) in found.items():
        inside = place.startswith(f"{other}.") or other.startswith(f"{place}.")
        if inside or (other == place and before != value):
            raise InputError(f"{shown(first)} and {shown(said)}: two values for one setting; leave one out")


def _assigned(assignment: str) -> dict[str, Any]:
    name, equals, text = assignment.partition("=")
    parts = name.split(".")
    if not equals or not all(parts) or len(parts) > MOST_DEPTH:
        raise InputError(f"--set {brief(assignment)}: write it as section.name=value, for example recipe.patience=3")
    try:
        value = parse_json(text)
    except InputError:
        value = text
    for part in reversed(parts):
        value = {part: value}
    assert isinstance(value, dict), "there is one part at least"
    return value
