"""Optuna's samplers on what a space decides: TPE (Bergstra et al., NeurIPS 2011) and NSGA-II (Deb et al., 2002)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.optional import optional
from autoshrink.score import Evaluation
from autoshrink.strategies.base import (
    DRAWS,
    Choice,
    Proposal,
    Strategy,
    StrategyContext,
    best_first,
    choice,
    refuse_others,
)
from autoshrink.strategies.random_search import widths


class OptunaSearch(Strategy):
    """Step 0 is the start. Each further step asks a sampler for designs, `candidates` of them or one where that is
    ``all``: one categorical parameter for each decision. TPE is told S; NSGA-II performance and the weighed resource. A
    design that breaks a limit is told as such and another is asked for, a number of times.

    There is no storage: a study is made anew from its seed and what was told. It is over after as many designs as
    AutoShrink would measure where every move leaves one fewer.

    Raises:
        InputError: Optuna is not installed, the space has no decisions, or the evaluator compares the candidates of one
            step only.
    """

    def __init__(self, context: StrategyContext) -> None:
        settings = context.settings
        if settings.relative:
            raise InputError(
                f"--strategy optuna compares designs of different steps, which --evaluator {settings.evaluator} "
                "cannot; add --evaluator trained"
            )
        with optional("optuna", purpose="--strategy optuna", install="pip install 'autoshrink[optuna]'"):
            self._optuna: Any = import_module("optuna")
        self._context = context
        self._several = settings.optuna.sampler == "nsga2"
        seed = settings.seed % 2**32
        samplers = self._optuna.samplers
        if self._several:
            sampler = samplers.NSGAIISampler(seed=seed, population_size=settings.optuna.population)
        else:
            sampler = samplers.TPESampler(seed=seed)
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        directions = ["maximize", "minimize"][: 1 + self._several]
        self._study = self._optuna.create_study(sampler=sampler, directions=directions)
        category = self._optuna.distributions.CategoricalDistribution
        self._options = {one.name: category(range(len(one.options))) for one in context.space.decisions}
        self._at_once = 1 if settings.candidates == "all" else settings.candidates
        self._left = sum(widths(context)[1:])
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None
        self._trials: list[Any] = []

    def ask(self) -> tuple[Proposal, ...]:
        """The start, then what the sampler draws after what it was told; empty at the end."""
        if self._asked is None:
            designs = self._context.space.starts if self._step == 0 else self._sampled()
            self._asked = tuple(Proposal(self._step, index, one) for index, one in enumerate(designs))
        return self._asked

    def _sampled(self) -> list[Design]:
        self._trials, found = [], list[Design]()
        for _ in range(min(self._left, self._at_once)):
            trial, design = self._trial()
            for _ in range(DRAWS):
                if self._context.allowed(design):
                    break
                # TPE ranks what was pruned last of all.
                states = self._optuna.trial.TrialState
                self._study.tell(trial, state=states.FAIL if self._several else states.PRUNED)
                trial, design = self._trial()
            self._trials.append(trial)
            found.append(design)
        return found

    def _trial(self) -> tuple[Any, Design]:
        trial = self._study.ask(self._options)
        return trial, self._context.space.chosen([trial.params[name] for name in self._options])

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Told on to the sampler."""
        refuse_others(self.ask(), evaluations)
        score = self._context.score
        for trial, one in zip(self._trials, evaluations if self._step else (), strict=True):
            if one.failed:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, [one.judged, score.cost(one.resources)] if self._several else score(one))
        self._left -= len(self._trials)
        self._step += 1
        self._asked, self._trials = None, []
        ranked = best_first(evaluations, score)
        return choice(ranked[0], ranked, evaluations)

    def over(self) -> str:
        """All were asked for."""
        return "as many cells were drawn as AutoShrink would measure"

    def outlook(self) -> tuple[int, ...]:
        """What is left, a step after another."""
        whole, rest = divmod(self._left, self._at_once)
        first = (len(self._context.space.starts),) if self._step == 0 else ()
        return (*first, *[self._at_once] * whole, *([rest] if rest else []))
