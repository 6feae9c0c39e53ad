"""Where jobs run: in this process, in others, by name (`autoshrink.registry.EXECUTORS`)."""

from typing import NoReturn

from autoshrink.evaluation import Executor, Workplace
from autoshrink.registry import EXECUTORS


def execute(name: str, workplace: Workplace) -> Executor:
    """The executor of a name, perhaps with an argument after a colon: ``processes:4``.

    Raises:
        InputError: the name is unknown, or its argument cannot be one.
    """
    kind, _, argument = name.partition(":")
    return EXECUTORS[kind](workplace, argument)


def check(name: str) -> None:
    """Raise `InputError` unless `execute` knows the name and its argument."""

    def never(*_: object) -> NoReturn:
        raise AssertionError("nothing is measured in a check")

    execute(name, Workplace(never, never))
