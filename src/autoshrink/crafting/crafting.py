"""From a cell to an architecture that keeps its budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from autoshrink.architecture import (
    ActivationName,
    ConvArchitecture,
    LanguageModel,
    MobileArchitecture,
    Stage,
    Stem,
    recurrent_proxy,
)
from autoshrink.architecture import language_model as with_sizes
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.crafting.budget import NEAR, Budget, Use, binding
from autoshrink.crafting.fitting import Fitting, Freedom, smallest
from autoshrink.crafting.language import fit_language, larger_language
from autoshrink.crafting.result import Crafted
from autoshrink.crafting.sizes import Scalable
from autoshrink.crafting.skeleton import CLASSES, INPUT, Surroundings, default_skeleton
from autoshrink.crafting.sources import Source, Target, source_of
from autoshrink.crafting.timing import Measure, fit_latency
from autoshrink.errors import InputError

VOCABULARY, WIDTH = 10_000, 200
"""Of a recurrent cell whose file names neither (AutoShrink, §"RNN")."""


def craft(  # noqa: PLR0913 - the parts of four values, as a person says them
    source: Target,
    *,
    macs: int | None = None,
    params: int | None = None,
    memory: int | None = None,
    latency: float | None = None,
    measure: Measure | None = None,
    pick: int | None = None,
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    stages: Sequence[Stage] | None = None,
    stem: Stem | None = None,
    head: int | Literal["none"] | None = None,
    activation: ActivationName | None = None,
    vocabulary: int | None = None,
    depth: Literal["auto", "fixed"] | None = None,
    divisor: int = 4,
) -> Crafted:
    """Stack a cell into a network and scale it to budgets: never above one, close below the one that binds.

    A network of inverted residual blocks (MobileNetV2 and its kin) is scaled alike, blocks in place of cells, so that a
    found cell can be put beside a hand-made network of the same cost.

    Without a budget the network is the skeleton as it is: the architecture's own, the one a run compared cells in, or
    one made for the input's size (`default_skeleton`). With budgets, widths and depths are scaled until a budget is
    used to 97 % and more, or no width can be a step wider; `Crafted.remark` says which. Nothing is trained, and
    nothing built unless a latency is asked for.

    Args:
        source: a cell or architecture, its file, a name in the zoo, or the folder of a search (its best cell).
        macs: multiply-adds of one image, or one token.
        params: parameters, BN's not counted.
        memory: peak activation memory in bytes (float32, batch 1).
        latency: seconds of one forward pass, as `measure` has it; image networks only.
        measure: an architecture's seconds; called a few times, needed with `latency`.
        pick: of a run, the cell at this place of its Pareto front, from 1.
        shape: the input's (channels, height, width).
        classes: to tell apart.
        stages: cells, width and pooling of every stage.
        stem: channels and stride of the first convolution.
        head: channels of the 1×1 convolution before the global pooling, or ``"none"``.
        activation: the activation's name.
        vocabulary: of a language model.
        depth: ``"auto"`` scales the number of cells too, ``"fixed"`` keeps it; None is fixed where `stages` are given.
        divisor: widths are multiples of it; not so without a budget, nor in language models.

    Raises:
        InputError: the source or a number cannot be used, or even the smallest network breaks a budget.
        RunError: the folder holds no run, or no cell yet.
    """
    begin = source_of(source, pick=pick)
    budget = Budget(macs, params, memory, latency)
    said = Surroundings(shape, classes, tuple(stages) if stages else None, stem, head, activation)
    if begin.found.kind == "recurrent" or isinstance(begin.found, LanguageModel):
        if said != Surroundings():
            raise InputError(
                "a language model has no input shape, classes, stages, stem, head or activation; "
                "it takes a vocabulary and a budget of macs, params or memory"
            )
        return _language(begin, budget, vocabulary)
    if vocabulary is not None:
        raise InputError("vocabulary: a number for language models; this cell is for images")
    freedom = Freedom(depth == "auto" or (depth is None and stages is None), divisor)
    return _image(begin, said, budget, freedom, measure)


def _image(begin: Source, said: Surroundings, budget: Budget, freedom: Freedom, measure: Measure | None) -> Crafted:
    skeleton = said.around(_skeleton(begin, said))
    uses: tuple[Use, ...] = ()
    architecture = skeleton
    if budget.latency is not None:
        if measure is None:
            raise InputError("latency: it takes a `measure` that times an architecture")
        architecture, seconds = _timed(skeleton, budget, freedom, measure)
        uses = (Use("latency", budget.latency, seconds),)
    elif budget.counted:
        architecture = Fitting(skeleton, budget, freedom).fit()
    cost = count(architecture)
    uses = (*budget.uses(cost), *uses)
    larger = None
    used = binding(uses)
    if used is not None and used.share < NEAR and used.name != "latency":
        larger = Fitting(skeleton, budget, freedom).larger(architecture)
    return Crafted(architecture, cost, uses, larger, skeleton, begin.data, begin.reading)


def _skeleton(begin: Source, said: Surroundings) -> Scalable:
    """The network to begin with. That of a search is made for the size of its images, so another size has another."""
    found = begin.found
    if isinstance(found, Cell):
        return default_skeleton(found, said.shape or INPUT, said.classes or CLASSES)
    if isinstance(found, MobileArchitecture):
        return found
    assert isinstance(found, ConvArchitecture), "the other image network"
    if begin.proxy and said.shape and said.shape[1:] != found.input[1:]:
        return default_skeleton(found.cell, said.shape, said.classes or found.classes)
    return found


def _timed(skeleton: Scalable, budget: Budget, freedom: Freedom, measure: Measure) -> tuple[Scalable, float]:
    """The architecture and its seconds."""
    assert budget.latency is not None, "asked for"

    def fit(macs: int | None) -> Scalable:
        limits = [limit for limit in (macs, budget.macs) if limit is not None]
        return Fitting(skeleton, replace(budget, macs=min(limits, default=None)), freedom).fit()

    least = smallest(skeleton, freedom)
    first = None if budget.counted else max(count(skeleton).macs, count(least).macs)
    timed = fit_latency(fit, measure, limit=budget.latency, first=first, smallest=least)
    return timed.architecture, timed.seconds


def _language(begin: Source, budget: Budget, vocabulary: int | None) -> Crafted:
    found = begin.found
    if isinstance(found, Cell):
        found = recurrent_proxy(found, vocabulary=VOCABULARY, width=WIDTH)
    assert isinstance(found, LanguageModel), "a recurrent cell makes one"
    skeleton = with_sizes(found, vocabulary=vocabulary)
    cost = count(skeleton)
    if budget == Budget():
        return Crafted(skeleton, cost, (), None, skeleton, begin.data, begin.reading)
    architecture = fit_language(skeleton, budget)
    cost = count(architecture)
    uses = budget.uses(cost)
    used = binding(uses)
    larger = larger_language(architecture, budget) if used is not None and used.share < NEAR else None
    return Crafted(architecture, cost, uses, larger, skeleton, begin.data, begin.reading)
