"""Crafting: budgets are kept and used whatever the cell, widths and depths grow by the rules, runs are read right."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink import zoo
from autoshrink.architecture import (
    Architecture,
    ConvArchitecture,
    ImageArchitecture,
    LanguageModel,
    Stage,
    Stem,
    language_model,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.cell import Cell
from autoshrink.cost import Cost, count, widest
from autoshrink.crafting import Crafted, craft, deepened, default_skeleton, divisible, scaled
from autoshrink.errors import InputError, RunError
from autoshrink.priors import random_cells
from autoshrink.run import Loop
from autoshrink.store import read_record
from fakes import FakeEvaluator, new_store

COUNTED: dict[str, Callable[[Cost], int]] = {
    "macs": lambda cost: cost.macs,
    "params": lambda cost: cost.params,
    "memory": lambda cost: cost.peak_activation_bytes,
}
CELLS = random_cells("conv", 8, 60, seed=4)
SMALL = Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (1, 3)))


def conv(crafted: Crafted) -> ConvArchitecture:
    assert isinstance(crafted.architecture, ConvArchitecture)
    return crafted.architecture


def shrinkcnn() -> ConvArchitecture:
    found = zoo.get("shrinkcnn-a")
    assert isinstance(found, ConvArchitecture)
    return found


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


# --- budgets -------------------------------------------------------------------------------------------------------


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


# --- widths and depths ---------------------------------------------------------------------------------------------


def test_widths_of_shrinkcnn_come_from_its_rule() -> None:
    """make_div4(int(16·s·1.4)) for s = ½, 1, 2, 4, 8, and int(32·1.4) for the stem (the released prototxt)."""
    assert [scaled(round(16 * s), 1.4) for s in (0.5, 1, 2, 4, 8)] == [12, 24, 44, 88, 180]
    assert scaled(32, 1.4) == 44
    assert [divisible(width) for width in (1, 5, 6, 7, 10, 100)] == [4, 4, 8, 8, 8, 100]
    assert [divisible(width, 1) for width in (0.2, 5, 7.6)] == [1, 5, 8]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 60), st.integers(1, 5))
def test_cells_grow_one_by_one_and_in_proportion(cells: list[int], more: int, times: int) -> None:
    shape, total = tuple(cells), len(cells) + more
    found, larger = deepened(shape, total), deepened(shape, total + 1)
    assert sum(found) == total
    assert min(found) >= 1
    assert sorted(after - before for before, after in zip(found, larger, strict=True)) == [0] * (len(cells) - 1) + [1]
    assert deepened(shape, times * sum(shape)) == tuple(times * one for one in shape)


def test_width_and_depth_share_the_growth() -> None:
    skeleton = proxy_architecture(CELLS[3], widths=(32, 64, 128), stem=64)
    skeleton = skeleton.model_copy(
        update={"stages": tuple(stage.model_copy(update={"cells": 2}) for stage in skeleton.stages)}
    )
    limit = 16 * count(skeleton).macs
    deep = conv(craft(skeleton, macs=limit))
    # 16 = t⁴ for t = 2: four times the cells, twice the width.
    assert sum(stage.cells for stage in deep.stages) == pytest.approx(4 * 6, rel=0.15)
    assert [stage.width for stage in deep.stages] == pytest.approx([64, 128, 256], rel=0.15)
    flat = conv(craft(skeleton, macs=limit, depth="fixed"))
    assert [stage.cells for stage in flat.stages] == [2, 2, 2]
    assert [stage.width for stage in flat.stages] == pytest.approx([128, 256, 512], rel=0.15)


def test_memory_holds_back_the_widths_and_not_the_depth() -> None:
    skeleton = shrinkcnn()
    cells = [stage.cells for stage in skeleton.stages]
    limit = count(skeleton).peak_activation_bytes // 2
    alone = conv(craft(skeleton, memory=limit))
    assert [stage.cells for stage in alone.stages] == cells
    both = conv(craft(skeleton, memory=limit, macs=300_000_000))
    assert [stage.cells for stage in both.stages] == cells
    assert count(both).macs <= 300_000_000


def test_memory_takes_cells_away_only_where_nothing_else_is_left() -> None:
    """A stage's second cell reads all of the leaves of the first, and a cell without a second one less."""
    wide = Cell("conv", ("input", *["conv1x1"] * 6), tuple((0, node) for node in range(1, 7)))
    stages = tuple(Stage(cells=3, width=width, pool=pool) for width, pool in ((16, 1), (32, 2)))
    three, one = (
        count(
            craft(
                wide, stem=Stem(channels=4), stages=tuple(stage.model_copy(update=change) for stage in stages)
            ).architecture
        )
        for change in ({"width": 4}, {"width": 4, "cells": 1})
    )
    assert one.peak_activation_bytes < three.peak_activation_bytes
    enough = craft(wide, stages=stages, depth="auto", memory=three.peak_activation_bytes)
    assert [stage.cells for stage in conv(enough).stages] == [3, 3]
    scarce = craft(wide, stages=stages, depth="auto", memory=three.peak_activation_bytes - 1)
    assert sum(stage.cells for stage in conv(scarce).stages) < 6
    assert scarce.cost.peak_activation_bytes < three.peak_activation_bytes


@pytest.mark.parametrize("divisor", [1, 4, 8, 16])
def test_scaled_widths_are_multiples_of_the_divisor(divisor: int) -> None:
    for found in (
        craft("shrinkcnn-a", macs=200_000_000, divisor=divisor),
        craft(SMALL, params=90_001, divisor=divisor),
    ):
        architecture = conv(found)
        widths = [architecture.stem.channels, *(stage.width for stage in architecture.stages)]
        widths += [architecture.head.channels] if architecture.head else []
        assert not [width for width in widths if width % divisor]
    with pytest.raises(InputError, match="divisor"):
        craft(SMALL, macs=1_000_000, divisor=0)


def test_what_is_not_scaled_stays() -> None:
    skeleton = shrinkcnn()
    found = conv(craft(skeleton, macs=100_000_000))
    assert [stage.pool for stage in found.stages] == [stage.pool for stage in skeleton.stages]
    assert (found.stem.stride, found.input, found.classes, found.cell) == (2, (3, 224, 224), 1001, skeleton.cell)
    assert ConvArchitecture.from_json(found.to_json()) == found


def test_a_budget_without_measure_for_many_cells_ends() -> None:
    """Beyond a hundred cells a network grows in width alone."""
    found = craft(SMALL, macs=10**13)
    assert sum(stage.cells for stage in conv(found).stages) <= 100
    assert found.binding is not None
    assert found.binding.share > 0.97


# --- skeletons -----------------------------------------------------------------------------------------------------

WIDE = {"stem": Stem(channels=44, stride=2), "cells": [1, 3, 4, 6, 4], "widths": [12, 24, 44, 88, 180], "head": 1280}


@pytest.mark.parametrize(
    ("side", "pools", "final"),
    [
        (1, [1, 1], 1),
        (8, [1, 2], 4),
        (16, [1, 2], 8),
        (28, [1, 2, 2], 7),
        (32, [1, 2, 2], 8),
        (64, [1, 2, 2, 2], 8),
        (96, [1, 2, 2, 2, 1], 6),
        (160, [1, 2, 2, 2, 2], 5),
        (224, [1, 2, 2, 2, 2], 7),
    ],
)
def test_a_default_skeleton_fits_the_size_of_the_input(side: int, pools: list[int], final: int) -> None:
    found = default_skeleton(SMALL, (3, side, side), 7)
    assert [stage.pool for stage in found.stages] == pools
    assert found.plan().final_size == (final, final)
    assert found.classes == 7
    if side > 64:
        assert found.stem == WIDE["stem"]
        assert [stage.cells for stage in found.stages] == WIDE["cells"]
        assert [stage.width for stage in found.stages] == WIDE["widths"]
    else:
        assert [stage.width for stage in found.stages] == [16 * 2**stage for stage in range(len(pools))]
        assert all(stage.cells == 1 for stage in found.stages)


def test_at_32_pixels_it_is_the_papers_proxy_and_at_224_shrinkcnn() -> None:
    assert craft(SMALL).architecture == proxy_architecture(SMALL)
    skeleton = shrinkcnn()
    assert craft(skeleton.cell, shape=(3, 224, 224), classes=1001).architecture == skeleton


def test_what_a_person_says_goes_first() -> None:
    stages = (Stage(cells=2, width=20), Stage(cells=1, width=40, pool=4))
    found = conv(
        craft(
            "shrinkcnn-a",
            shape=(1, 28, 28),
            classes=26,
            stages=stages,
            stem=Stem(channels=10),
            head="none",
            activation="swish",
        )
    )
    assert (found.input, found.classes, found.stages, found.stem) == ((1, 28, 28), 26, stages, Stem(channels=10))
    assert (found.head, found.activation) == (None, "swish")
    assert conv(craft(SMALL, head=64)).head is not None


def test_given_stages_keep_their_cells_unless_told() -> None:
    stages = (Stage(cells=2, width=16), Stage(cells=2, width=32, pool=2))
    kept = conv(craft(SMALL, stages=stages, macs=60_000_000))
    assert [stage.cells for stage in kept.stages] == [2, 2]
    free = conv(craft(SMALL, stages=stages, macs=60_000_000, depth="auto"))
    assert sum(stage.cells for stage in free.stages) > 4


def test_parts_add_up_to_the_network() -> None:
    for found in (craft("shrinkcnn-a"), craft("shrinkrnn"), craft("lstm")):
        if not found.parts[0].name.startswith("embedding"):
            assert [part.cells for part in found.parts] == [None, 1, 3, 4, 6, 4, None, None]
        assert sum(part.params for part in found.parts) == found.cost.params
        assert sum(part.macs for part in found.parts) == found.cost.macs
        assert math.isclose(sum(part.share for part in found.parts), 1)


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search on images of 1×8×8 in three classes."""
    folder = tmp_path_factory.mktemp("craft") / "run"
    with new_store(folder, network={"stem": 12, "widths": [8, 24], "activation": "gelu"}) as store:
        store.append("data", {"name": "digits", "classes": ["a", "b", "c"], "input": [1, 8, 8]})
        Loop(store, FakeEvaluator()).run()
    return folder


def test_a_run_gives_its_best_cell_in_the_network_it_was_compared_in(run_folder: Path) -> None:
    best = read_record(run_folder).best()
    assert best is not None
    found = craft(run_folder)
    same = proxy_architecture(best.cell, shape=(1, 8, 8), classes=3, stem=12, widths=(8, 24), activation="gelu")
    assert found.architecture == same
    assert found.data == "digits"
    assert craft(str(run_folder), macs=300_000).skeleton == same


def test_a_run_at_another_size_has_a_skeleton_for_that_size(run_folder: Path) -> None:
    found = conv(craft(run_folder, shape=(1, 32, 32)))
    assert found == default_skeleton(found.cell, (1, 32, 32), 3)
    assert conv(craft(run_folder, shape=(3, 8, 8))).stem.channels == 12


def test_any_cell_of_the_front_can_be_picked(run_folder: Path) -> None:
    front = read_record(run_folder).front()
    assert len(front) > 1
    for place, one in enumerate(front, start=1):
        assert craft(run_folder, pick=place).architecture.cell == one.cell
    for place in (0, len(front) + 1):
        with pytest.raises(InputError, match=f"no cell {place} to pick; its Pareto front has places 1 to {len(front)}"):
            craft(run_folder, pick=place)
    with pytest.raises(InputError, match="only a run's folder has a Pareto front"):
        craft(SMALL, pick=1)


def test_a_run_without_a_cell_and_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    new_store(tmp_path / "begun").close()
    with pytest.raises(RunError, match="nothing usable"):
        craft(tmp_path / "begun")
    with pytest.raises(RunError, match="no run"):
        craft(tmp_path)


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


# --- latency -------------------------------------------------------------------------------------------------------


class Machine:
    """Seconds from MACs and layers, with a noise that only ever adds; it keeps what it measured."""

    def __init__(self, *, noise: float = 0.0, seed: int = 0) -> None:
        self.measured: list[tuple[ConvArchitecture, float]] = []
        self._noise, self._rng = noise, random.Random(seed)

    def truth(self, architecture: ConvArchitecture) -> float:
        cost = count(architecture)
        return 1e-9 * cost.macs + 2e-6 * len(cost.layers)

    def __call__(self, architecture: ConvArchitecture) -> float:
        seconds = self.truth(architecture) * (1 + self._noise * self._rng.expovariate(1))
        self.measured.append((architecture, seconds))
        return seconds

    def of(self, architecture: ConvArchitecture) -> list[float]:
        return [seconds for one, seconds in self.measured if one == architecture]


@pytest.mark.parametrize("number", range(0, 20, 2))
def test_a_latency_is_kept_and_used_with_few_measurements(number: int) -> None:
    machine, rng = Machine(), random.Random(number)
    skeleton = proxy_architecture(CELLS[number])
    limit = machine.truth(skeleton) * 10 ** rng.uniform(-0.3, 1.5)
    found = craft(skeleton, latency=limit, measure=machine)
    assert found.binding is not None
    assert found.binding.used == machine.truth(conv(found)) <= limit
    assert found.binding.share > 0.94
    assert len(machine.measured) <= 2 * 9


@pytest.mark.parametrize("seed", range(8))
def test_with_noise_the_network_that_comes_back_kept_the_latency_when_it_was_measured(seed: int) -> None:
    machine = Machine(noise=0.3, seed=seed)
    found = craft(proxy_architecture(CELLS[seed]), latency=0.01, measure=machine)
    times = sorted(machine.of(conv(found)))
    assert len(times) in (2, 3)
    assert sum(seconds <= 0.01 for seconds in times) >= 2
    assert found.binding is not None
    assert found.binding.used == times[1] <= 0.01


def test_one_slow_moment_decides_nothing() -> None:
    calm = Machine()
    expected = craft(SMALL, latency=0.02, measure=calm)
    seen: set[str] = set()

    def jammed(architecture: ConvArchitecture) -> float:
        """Every network's first measurement is ten times too slow."""
        key = architecture.model_dump_json()
        slow = 1 if key in seen else 10
        seen.add(key)
        return slow * calm.truth(architecture)

    assert craft(SMALL, latency=0.02, measure=jammed).architecture == expected.architecture


def test_a_latency_beside_other_budgets() -> None:
    machine = Machine()
    skeleton = proxy_architecture(CELLS[5])
    cost = count(skeleton)
    loose = craft(skeleton, latency=10.0, macs=2 * cost.macs, measure=machine)
    assert loose.architecture == craft(skeleton, macs=2 * cost.macs).architecture
    assert len({one.model_dump_json() for one, _ in machine.measured}) == 1
    tight = craft(skeleton, latency=1e-9 * cost.macs, macs=2 * cost.macs, memory=10**9, measure=Machine())
    assert [use.name for use in tight.uses] == ["macs", "memory", "latency"]
    assert all(use.share <= 1 for use in tight.uses)
    assert tight.binding is not None
    assert tight.binding.name == "latency"
    assert tight.binding.share > 0.94


def test_a_latency_below_the_smallest_network_is_refused_with_its_figure() -> None:
    machine = Machine()
    smallest = proxy_architecture(SMALL, stem=4, widths=(4, 4, 4))
    with pytest.raises(InputError, match=f"smallest network takes {1000 * machine.truth(smallest):.3g} ms"):
        craft(SMALL, latency=1e-6, measure=machine)
    assert len(machine.measured) <= 4
    assert craft(SMALL, latency=machine.truth(smallest), measure=machine).architecture == smallest


def test_a_latency_needs_something_that_measures() -> None:
    with pytest.raises(InputError, match="latency: it takes a `measure`"):
        craft(SMALL, latency=1.0)


def test_an_architecture_without_a_cell_of_ours_is_refused() -> None:
    images = [name for name in zoo.names() if isinstance(zoo.get(name), ImageArchitecture)]
    others = [name for name in images if zoo.get(name).kind != "conv"]
    assert others
    for name in others:
        with pytest.raises(InputError, match="has no cell to craft with"):
            craft(name)
