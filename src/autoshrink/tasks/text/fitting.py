"""Language models within a budget: their width is the one number to turn."""

from __future__ import annotations

from dataclasses import dataclass

from autoshrink.architecture import LanguageModel, language_model
from autoshrink.budget import Budget, Larger, Use, too_few
from autoshrink.cost import widest
from autoshrink.errors import InputError
from autoshrink.spaces.languages import use, widest_within


@dataclass(frozen=True)
class LanguageScaling:
    """See `autoshrink.crafting.budget.Scaling`."""

    skeleton: LanguageModel
    budget: Budget

    def fit(self) -> tuple[LanguageModel, tuple[Use, ...]]:
        """The same language model with the largest width that keeps every budget.

        Raises:
            InputError: even width 1 breaks one, or the budget is one of latency.
        """
        if self.budget.latency is not None:
            raise InputError("latency: a budget for image networks; a language model takes macs, params or memory")
        if self.budget.params is not None:
            model = widest(self.skeleton, self.budget.params)
            if self._use(model.width).share <= 1:
                return model, ()
        width = widest_within(self.skeleton, self.budget)
        if width == 0:
            raise InputError(f"{too_few(self._use(1), 'width 1')} or take a smaller vocabulary")
        return language_model(self.skeleton, width=width), ()

    def larger(self, architecture: LanguageModel) -> Larger:
        """What the next width would use."""
        width = architecture.width
        return Larger(f"width from {width} to {width + 1}", self._use(width + 1))

    def _use(self, width: int) -> Use:
        return use(language_model(self.skeleton, width=width), self.budget)
