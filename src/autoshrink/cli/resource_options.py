"""Options that are made of the table of resources: a limit for each, and what ``--resource`` may name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from autoshrink.cli.quantities import amount
from autoshrink.quantity import Quantity
from autoshrink.resources import RESOURCES, Resource, Unit, every_resource


def resource_choice() -> str:
    """The help of ``--resource``: ``macs, params, memory, cell_params or latency.``"""
    *others, last = RESOURCES
    return f"{', '.join(others)} or {last}."


def amount_of(unit: Unit) -> Callable[[str], Quantity]:
    """What reads an amount in a unit; help shows its name for what is to be typed."""

    def read(text: str) -> Quantity:
        return amount(unit, text)

    read.__name__ = unit.name or "count"
    return read


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the option ``--max-NAME`` for every resource that may be limited, before ``--latency-table``.

    The command gets them as keywords, ``max_NAME``, None where one was not given.
    """

    @wraps(command)
    def limited(*args: Any, **options: Any) -> None:
        command(*args, **options)

    signature = inspect.signature(command, eval_str=True)
    parameters = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
    place = list(parameters).index("latency_table")
    limits = [_limit(one) for one in every_resource() if one.limit]
    ordered = [*parameters.values()]
    limited.__signature__ = signature.replace(parameters=[*ordered[:place], *limits, *ordered[place:]])  # type: ignore[attr-defined]
    return limited


def _limit(resource: Resource) -> inspect.Parameter:
    option = typer.Option(parser=amount_of(resource.unit), help=resource.limit)
    name, annotation = f"max_{resource.name}", Annotated[int | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
