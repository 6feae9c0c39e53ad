"""From an architecture of any kind to its cost, and from a number of parameters to the widest language model."""

from __future__ import annotations

from bisect import bisect_right
from typing import TypeVar

from autoshrink.architecture import (
    Architecture,
    ImageArchitecture,
    LanguageModel,
    LibraryArchitecture,
    RecurrentArchitecture,
    language_model,
)
from autoshrink.cost.image import image_steps
from autoshrink.cost.language import library_steps, recurrent_steps, state_names
from autoshrink.errors import InputError
from autoshrink.quantity import Quantity
from autoshrink.steps import Cost, cost_of

Model = TypeVar("Model", bound=LanguageModel)


def count(architecture: Architecture) -> Cost:
    """Count an architecture without building it.

    Raises:
        InputError: its kind cannot be counted.
    """
    match architecture:
        case ImageArchitecture():
            channels, height, width = architecture.input
            return cost_of(image_steps(architecture.plan()), {"input": channels * height * width})
        case RecurrentArchitecture():
            plan = architecture.plan()
            return cost_of(recurrent_steps(plan), {"state": plan.width}, kept=frozenset({"new state"}))
        case LibraryArchitecture():
            before, after = (state_names(architecture, new=new) for new in (False, True))
            return cost_of(
                library_steps(architecture), dict.fromkeys(before, architecture.width), kept=frozenset(after)
            )
    return cost_of(architecture.steps(), {})


def widest(architecture: Model, params: int) -> Model:
    """The same language model with the largest width that has at most `params` parameters (`Cost.params`).

    Raises:
        InputError: even width 1 has more; the message says how many.
    """

    def params_of(width: int) -> int:
        return count(language_model(architecture, width=width)).params

    # The embedding alone has vocabulary · width, so no width beyond this one is worth a try.
    width = bisect_right(range(1, params // architecture.vocabulary + 1), params, key=params_of)
    if width == 0:
        said = params.text if isinstance(params, Quantity) else f"{params:,}"
        raise InputError(
            f"{said} parameters are too few for {architecture.vocabulary:,} words: width 1 has {params_of(1):,}; "
            "allow more parameters or take a smaller vocabulary"
        )
    return language_model(architecture, width=width)
