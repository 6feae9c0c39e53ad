"""Language models within a budget: their width is the one number to turn."""

from __future__ import annotations

from typing import TypeVar

from autoshrink.architecture import LanguageModel, language_model
from autoshrink.cost import count, widest
from autoshrink.crafting.budget import Budget, Use, binding, too_few
from autoshrink.crafting.fitting import Larger
from autoshrink.errors import InputError

Model = TypeVar("Model", bound=LanguageModel)


def fit_language(model: Model, budget: Budget) -> Model:
    """The same language model with the largest width that keeps every budget.

    Raises:
        InputError: even width 1 breaks one, or the budget is one of latency.
    """
    if budget.latency is not None:
        raise InputError("latency: a budget for image networks; a language model takes macs, params or memory")
    if budget.params is not None:
        model = widest(model, budget.params)
        if _use(model, model.width, budget).share <= 1:
            return model
    low, high = 0, 1
    while _use(model, high, budget).share <= 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _use(model, middle, budget).share <= 1 else (low, middle)
    if low == 0:
        raise InputError(f"{too_few(_use(model, 1, budget), 'width 1')} or take a smaller vocabulary")
    return language_model(model, width=low)


def larger_language(model: LanguageModel, budget: Budget) -> Larger:
    """What the next width would use."""
    return Larger(f"width from {model.width} to {model.width + 1}", _use(model, model.width + 1, budget))


def _use(model: LanguageModel, width: int, budget: Budget) -> Use:
    found = binding(budget.uses(count(language_model(model, width=width))))
    assert found is not None, "there is a budget to fit into"
    return found
