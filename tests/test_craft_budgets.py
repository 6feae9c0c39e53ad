"""Crafting: budgets are kept and used whatever the cell, of language models too."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink import zoo
from autoshrink.architecture import (
    Architecture,
    ConvArchitecture,
    LanguageModel,
    language_model,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.cell import Cell
from autoshrink.cost import Cost, count, widest
from autoshrink.crafting import Crafted, craft
from autoshrink.errors import InputError
from craft_fixtures import CELLS, SMALL, conv

COUNTED: dict[str, Callable[[Cost], int]] = {
    "macs": lambda cost: cost.macs,
    "params": lambda cost: cost.params,
    "memory": lambda cost: cost.peak_activation_bytes,
}


def changed(architecture: ConvArchitecture, step: int) -> Iterator[ConvArchitecture]:
    """Every network with a single width changed by a step, made from the architecture file."""
    for number in range(len(architecture.stages) + 2):
        value = architecture.to_json()
        places = [(stage, "width") for stage in value["stages"]] + [(value["stem"], "channels")]
        places += [(value["head"], "channels")] if value["head"] else []
        if number < len(places):
            part, name = places[number]
            part[name] += step
            if part[name] > 0:
                yield ConvArchitecture.from_json(value)


def most_used(architecture: Architecture, limits: dict[str, int]) -> float:
    cost = count(architecture)
    return max(COUNTED[name](cost) / limit for name, limit in limits.items())


def check_budgets(crafted: Crafted, limits: dict[str, int], divisor: int) -> float:
    """The law: no budget is exceeded; and 99 % of one is used, or no single width step both fits and uses more; and
    97 % of one, or no step up against a step down does."""
    architecture = conv(crafted)
    used = most_used(architecture, limits)
    assert used <= 1
    assert {use.name: use.limit for use in crafted.uses} == limits
    assert crafted.binding is not None
    assert crafted.binding.share == used
    if used < 0.99:
        assert not [one for one in changed(architecture, divisor) if used < most_used(one, limits) <= 1]
    if used < 0.97:
        swaps = (two for one in changed(architecture, -divisor) for two in changed(one, divisor))
        assert not [one for one in swaps if used < most_used(one, limits) <= 1]
    assert (crafted.remark is None) == (used >= 0.97)
    return used


@pytest.mark.parametrize("name", COUNTED)
def test_a_budget_is_kept_and_used_whatever_the_cell(name: str) -> None:
    rng, far = random.Random(f"budget {name}"), 0
    for cell in CELLS:
        skeleton = proxy_architecture(cell, stem=rng.choice((8, 16, 32)))
        limit = round(COUNTED[name](count(skeleton)) * 10 ** rng.uniform(-0.3, 1.2))
        divisor = rng.choice((1, 4))
        crafted = craft(skeleton, **{name: limit}, divisor=divisor)  # type: ignore[arg-type]
        far += check_budgets(crafted, {name: limit}, divisor) < 0.97
    # Only peak memory has steps that no combination of widths can make small: it lies in one place of the network.
    assert far == 0 or (name == "memory" and far <= 15)


def test_swaps_bring_small_networks_of_coarse_widths_nearer() -> None:
    rng = random.Random("coarse")
    for cell in CELLS[:30]:
        skeleton = proxy_architecture(cell, stem=8, widths=(8, 16, 32))
        limit = round(count(skeleton).macs * rng.uniform(1.5, 4))
        check_budgets(craft(skeleton, macs=limit, divisor=8), {"macs": limit}, 8)


def test_a_narrower_width_that_costs_more_breaks_no_budget() -> None:
    """Beside a pooling: where channels agree no shortcut's convolution is needed, and one channel fewer needs one."""
    cell = Cell("conv", ("input", "avgpool3x3", "conv1x1"), ((0, 1), (1, 2)))
    network = proxy_architecture(cell, shape=(1, 8, 8), stem=8, widths=(8, 8))
    assert craft(network, macs=15_952, depth="fixed", divisor=2).cost.macs <= 15_952


@pytest.mark.parametrize("names", [("macs", "params"), ("macs", "memory"), ("macs", "params", "memory")])
def test_several_budgets_are_all_kept(names: tuple[str, ...]) -> None:
    rng = random.Random("+".join(names))
    for cell in CELLS[:20]:
        skeleton = proxy_architecture(cell)
        cost = count(skeleton)
        limits = {name: round(COUNTED[name](cost) * 10 ** rng.uniform(-0.3, 1)) for name in names}
        check_budgets(craft(skeleton, **limits), limits, 4)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(CELLS) - 1), st.floats(0.5, 20), st.booleans())
def test_a_larger_budget_never_makes_a_cheaper_network_by_more_than_the_gap(
    number: int, factor: float, deep: bool
) -> None:
    skeleton = proxy_architecture(CELLS[number])
    limit = round(count(skeleton).macs * factor)
    depth = "auto" if deep else "fixed"
    found = [craft(skeleton, macs=round(limit * more), depth=depth).cost.macs for more in (1, 1.04)]  # type: ignore[arg-type]
    assert found[1] >= 0.99 * found[0]


def test_shrinkcnn_a_is_itself_without_a_budget_and_at_the_papers() -> None:
    crafted = craft("shrinkcnn-a")
    assert (crafted.cost.params, crafted.cost.macs) == (3_600_981, 383_677_672)
    assert crafted.architecture == zoo.get("shrinkcnn-a")
    assert crafted.uses == ()
    assert crafted.remark is None
    assert craft("shrinkcnn-a", macs=384_000_000).architecture == zoo.get("shrinkcnn-a")


def test_a_budget_that_even_the_smallest_network_breaks_is_refused_with_its_figure() -> None:
    smallest = proxy_architecture(SMALL, stem=4, widths=(4, 4, 4))
    for name, figure in COUNTED.items():
        least = figure(count(smallest))
        with pytest.raises(
            InputError, match=f"{name}: .*the smallest network .*1\\+1\\+1 cells of width 4.* {least:,} "
        ):
            craft(SMALL, **{name: least - 1})  # type: ignore[arg-type]
        assert check_budgets(craft(SMALL, **{name: least}), {name: least}, 4) == 1  # type: ignore[arg-type]


def test_what_keeps_it_from_the_budget_is_named() -> None:
    skeleton = proxy_architecture(SMALL, stem=4, widths=(4,), shape=(3, 16, 16))
    limit = round(1.2 * count(skeleton).macs)
    crafted = craft(skeleton, macs=limit)
    assert crafted.larger is not None
    above = min(count(one).macs for one in changed(conv(crafted), 4) if count(one).macs > limit)
    assert crafted.larger.use.used == above
    assert crafted.remark is not None
    assert f"{above:,} MACs" in crafted.remark
    closer = craft(skeleton, macs=limit, divisor=1)
    assert closer.binding is not None
    assert closer.binding.share > 0.97


@pytest.mark.parametrize("name", ["macs", "params", "memory", "latency"])
@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_a_budget_is_above_zero(name: str, limit: Any) -> None:
    with pytest.raises(InputError, match=f"{name}: a budget is above zero"):
        craft(SMALL, **{name: limit}, measure=lambda _: 1.0)


# --- language models -----------------------------------------------------------------------------------------------


RECURRENT = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (1, 2)))


def test_a_language_model_is_the_widest_with_so_many_parameters() -> None:
    model = zoo.get("shrinkrnn")
    assert isinstance(model, LanguageModel)
    assert craft("shrinkrnn", params=3_600_000).architecture == widest(model, 3_600_000)
    assert craft("shrinkrnn").architecture == model


@pytest.mark.parametrize("target", [RECURRENT, "shrinkrnn", "lstm"])
@pytest.mark.parametrize("names", [("params",), ("macs",), ("memory",), ("macs", "params", "memory")])
def test_the_next_width_of_a_language_model_breaks_a_budget(target: Cell | str, names: tuple[str, ...]) -> None:
    limits = {name: {"params": 1_000_000, "macs": 400_000, "memory": 9_000}[name] for name in names}
    found = craft(target, vocabulary=300, **limits).architecture  # type: ignore[arg-type]
    assert isinstance(found, LanguageModel)
    assert most_used(found, limits) <= 1 < most_used(language_model(found, width=found.width + 1), limits)
    assert found.vocabulary == 300


def test_language_models_are_refused_what_they_cannot_have() -> None:
    with pytest.raises(InputError, match="latency: a budget for image networks"):
        craft(RECURRENT, latency=0.001, measure=lambda _: 0.0)
    with pytest.raises(InputError, match="no input shape"):
        craft(RECURRENT, classes=10)
    with pytest.raises(InputError, match="vocabulary: a number for language models"):
        craft(SMALL, vocabulary=10)
    for name in ("macs", "memory"):
        least = COUNTED[name](count(recurrent_proxy(RECURRENT, vocabulary=10_000, width=1)))
        with pytest.raises(InputError, match=f"{name}: .*too few: width 1 has {least:,} "):
            craft(RECURRENT, **{name: 10})  # type: ignore[arg-type]
