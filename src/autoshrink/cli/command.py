"""What holds for the options of every command: none is empty, given twice or left unread; numbers are plain digits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from autoshrink.errors import InputError
from autoshrink.escaping import word
from autoshrink.registry import load_plugin, loaded_plugins
from autoshrink.untrusted import LONGEST_NUMBER, brief

PLUGINS = "AUTOSHRINK_PLUGINS"
"""The environment's variable with files for ``--plugin``, apart as in PATH."""
MAY_BE_EMPTY = frozenset({"prompt"})
"""Parameters that an empty text says something of."""


class Command(TyperCommand):
    """A command that looks at what was typed before anything is made of it.

    An empty path would be the current folder, the second of two values would win in silence, and Python reads digits
    of other scripts.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(_plugin_option())

    def invoke(self, ctx: Any) -> Any:
        """Run it; Ctrl-C is handed on, where typer would end without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None

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


def load_plugins(files: Iterable[str]) -> None:
    """Run the files of the environment's variable, then others.

    Raises:
        InputError: as `load_plugin`.
    """
    for file in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        load_plugin(file, PLUGINS)
    for file in files:
        load_plugin(file)


def named_plugins(arguments: Sequence[str]) -> list[str]:
    """The files that a command line names with ``--plugin``, before anything else is made of it."""
    after = [value for option, value in pairwise(arguments) if option == "--plugin"]
    return after + [text.partition("=")[2] for text in arguments if text.startswith("--plugin=")]


def plugins_again() -> str:
    """What a command has to be given again: `` --plugin FILE`` for each file that the environment does not name."""
    known = {Path(file).expanduser().resolve() for file in os.environ.get(PLUGINS, "").split(os.pathsep) if file}
    here = Path.cwd()
    files = (
        path.relative_to(here) if path.is_relative_to(here) else path for path in loaded_plugins() if path not in known
    )
    return "".join(f" --plugin {word(file)}" for file in files)


PluginOption = Annotated[
    list[str] | None,
    typer.Option(
        callback=lambda files: load_plugins(files or ()),
        is_eager=True,
        expose_value=False,
        metavar="FILE",
        help=f"Python that registers operations or other parts; may be repeated. Also: {PLUGINS}.",
    ),
]


@cache
def _plugin_option() -> Any:
    """The option as the parser has it, which typer makes of functions only."""
    app = typer.Typer(add_completion=False)
    app.command()(_with_plugins)
    return typer.main.get_command(app).params[0]


def _with_plugins(plugin: PluginOption = None) -> None:
    del plugin


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
