"""Commands whose options are tables: a row an option, those of every task's own among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from inspect import Parameter, Signature, signature
from keyword import iskeyword
from typing import Annotated, Any, get_type_hints

import typer

from autoshrink.cli import quantities
from autoshrink.cli.quantities import amount
from autoshrink.config import merge
from autoshrink.data.spec import ANY_COLUMNS, Columns, with_columns
from autoshrink.errors import InputError
from autoshrink.registry import TASKS
from autoshrink.resources import RESOURCES, Unit, every_resource
from autoshrink.tasks import Option, Task

ImageColumnOption = Annotated[
    str | None, typer.Option("--image-column", help="Parquet: the column of the images. Default: as the file says.")
]
LabelColumnOption = Annotated[
    str | None, typer.Option("--label-column", help="Parquet: the column of the labels. Default: as the file says.")
]

_KINDS: Mapping[str, Any] = {"count": int, "seconds": float, "threads": int, "workers": int}
"""What the grammars of `quantities` read; the others read no single number."""


def with_options(command: Callable[..., None], table: Iterable[Option]) -> Callable[..., None]:
    """A command for typer: its own parameters, and an option for every row of a table.

    Args:
        command: called with what was typed as nested settings in its parameter `options`, None for what was not.
        table: rows that say the same twice are one option.

    Raises:
        InputError: two rows have one name for different settings.
    """
    rows: dict[str, Option] = {}
    for row in table:
        if rows.setdefault(_name(row), row) != row:
            raise InputError(f"{row.flag}: two tasks have an option of this name that are not the same")
    hints = get_type_hints(command, include_extras=True)
    parameters: list[Parameter] = []
    for own in signature(command).parameters.values():
        if own.name == "options":
            parameters += [
                Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(row))
                for name, row in rows.items()
            ]
        else:
            parameters.append(own.replace(annotation=hints[own.name], kind=Parameter.KEYWORD_ONLY))

    def run(**values: Any) -> None:
        options: dict[str, Any] = {}
        for name, row in rows.items():
            options = merge(options, nested(row.setting, values.pop(name)))
        command(**values, options=options)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def of_tasks(table: str) -> list[Option]:
    """The rows of every task's own options for a command: ``search_options``."""
    return [row for name in TASKS for row in getattr(TASKS[name], table)]


def resource_rows(what: str, *, read: Callable[[Unit, str], object] = amount) -> list[Option]:
    """``--max-NAME`` for every resource that has a ``limit``, or ``--NAME`` for those that have a ``budget``.

    Args:
        what: ``limit`` or ``budget``.
        read: an amount in a unit from what was typed.
    """
    places = ("--max-{}", "limits.max_{}") if what == "limit" else ("--{}", "{}")
    rows = []
    for one in every_resource():
        if getattr(one, what):
            flag, setting = (place.format(one.name) for place in places)
            rows.append(
                Option(flag.replace("_", "-"), setting, partial(read, one.unit), getattr(one, what), number=True)
            )
    return rows


def resource_choice() -> str:
    """The help of ``--resource``: ``macs, params, memory, cell_params or latency.``"""
    *others, last = RESOURCES
    return f"{', '.join(others)} or {last}."


def refuse_foreign(said: Iterable[str], task: Task, table: str, what: str) -> None:
    """Refuse an option that only other tasks have.

    Args:
        said: the settings that somebody named.
        task: of `what`.
        table: of a task's own options: ``craft_options``.
        what: the file or name that this is about.

    Raises:
        InputError: there is one; the message has its name.
    """
    for setting in set(said) - {row.setting for row in getattr(task, table)}:
        others = (TASKS[name] for name in TASKS if setting in flags(getattr(TASKS[name], table)))
        other = next(others, None)
        if other is not None:
            option = flags(getattr(other, table))[setting]
            raise InputError(f"{option}: it goes with {other.model}s, and {what} is {task.a_model}; leave it out")


def flags(table: Iterable[Option]) -> dict[str, str]:
    """By a setting's full name, its option."""
    return {row.setting: row.flag.partition("/")[0] for row in table}


def nested(place: str, value: object) -> dict[str, Any]:
    """``recipe.epochs`` and a value as nested settings."""
    for part in reversed(place.split(".")):
        value = {part: value}
    assert isinstance(value, dict), "a place has one part at least"
    return value


def _name(row: Option) -> str:
    name = row.flag.partition("/")[0].removeprefix("--").replace("-", "_")
    return f"{name}_" if iskeyword(name) else name


def _annotation(row: Option) -> Any:
    metavar = None
    if isinstance(row.read, str):
        kind, parser, metavar = _KINDS.get(row.read, Any), getattr(quantities, row.read), f"<{row.read}>"
    elif isinstance(row.read, type):
        kind, parser = row.read, None
    else:
        kind, parser, metavar = (
            (int, _complaining(row), "<amount>") if row.number else (Any, _complaining(row), "<text>")
        )
    return Annotated[kind | None, typer.Option(row.flag, parser=parser, help=row.help, metavar=metavar)]


def _complaining(row: Option) -> Callable[[str], object]:
    """A row's own way to read a text, whose errors name the option; help shows its name for what is to be typed."""

    def parser(text: str) -> object:
        try:
            return row.read(text)  # type: ignore[operator] # no name of a grammar
        except InputError as error:
            raise typer.BadParameter(str(error)) from None

    parser.__name__ = row.setting.rpartition(".")[2]
    return parser


def named_data(data: str | None, image_column: str | None, label_column: str | None) -> str | None:
    """The data SPEC of ``--data``, ``--image-column`` and ``--label-column``.

    Raises:
        InputError: columns without data.
    """
    columns = Columns(image_column, label_column)
    if columns == ANY_COLUMNS:
        return data
    if data is None:
        raise InputError("--image-column and --label-column: name the data with --data, too")
    return with_columns(data, columns)
