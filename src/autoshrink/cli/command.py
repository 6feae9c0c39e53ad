"""What holds for the options of every command: none is empty, given twice or left unread; numbers are plain digits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from autoshrink.errors import InputError
from autoshrink.untrusted import LONGEST_NUMBER, brief

MAY_BE_EMPTY = frozenset({"prompt"})
"""Parameters that an empty text says something of."""


class Command(TyperCommand):
    """A command that looks at what was typed before anything is made of it.

    An empty path would be the current folder, the second of two values would win in silence, and Python reads digits
    of other scripts.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse, or parse as usual."""
        # Parsing takes the list apart.
        typed, _, order = self.make_parser(ctx).parse_args(args=list(args))
        hints = get_type_hints(self.callback)
        for parameter in self.params:
            hint = hints.get(str(parameter.name))
            numeric = bool({int, float} & {hint, *get_args(hint)})
            for value in _texts(typed.get(str(parameter.name))):
                _check(parameter, value, ctx, numeric=numeric)
        for parameter, times in Counter(cast("list[Any]", order)).items():
            if times > 1 and not _may_repeat(parameter):
                often = "twice" if times == 2 else f"{times} times"
                raise typer.BadParameter(f"it is given {often}; leave all but one out", ctx, parameter)
        return super().parse_args(ctx, args)


def refuse_unread(context: typer.Context, names: Collection[str], reader: str) -> None:
    """Refuse an option that somebody typed where nothing reads it.

    Args:
        context: of the command.
        names: of the parameters that are not read here.
        reader: what they go with.

    Raises:
        InputError: one of them was typed, be it with its default; the message has it and the reader.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            option = "/".join((*parameter.opts[-1:], *parameter.secondary_opts))
            raise InputError(f"{option}: it goes with {reader}; leave it out")


def _texts(value: object) -> Iterator[str]:
    """Whatever text the parser found for a parameter, one or several."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        for one in value:
            yield from _texts(one)


def _check(parameter: Any, value: str, context: Any, *, numeric: bool) -> None:
    if not value.strip() and parameter.name not in MAY_BE_EMPTY:
        raise typer.BadParameter(f"{value!r} is empty; give a value, or leave it out", context, parameter)
    if numeric and not (value.isascii() and len(value) <= LONGEST_NUMBER):
        raise typer.BadParameter(f"{brief(value)} is not a number in plain digits", context, parameter)


def _may_repeat(parameter: Any) -> bool:
    """Lists, arguments, and switches that can only say yes."""
    if parameter.param_type_name == "argument" or parameter.multiple or parameter.count:
        return True
    return bool(parameter.is_flag and not parameter.secondary_opts)
