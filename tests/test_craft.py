"""Crafting: widths and depths grow by the rules, skeletons fit their input, runs are read right."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.architecture import ConvArchitecture, Stage, Stem, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.crafting import craft
from autoshrink.errors import InputError, RunError
from autoshrink.run import Loop
from autoshrink.spaces.families import default_skeleton
from autoshrink.spaces.sizes import deepened, divisible, scaled
from autoshrink.store import read_record
from craft_fixtures import CELLS, SMALL, conv, shrinkcnn
from fakes import FakeEvaluator, new_store

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


def test_stages_keep_their_own_cells_and_nodes_what_they_do_with_what_they_read() -> None:
    value = default_skeleton(SMALL, (3, 16, 16)).to_json() | {"aggregate": "sum"}
    value["stages"][1]["cell"] = CELLS[3].to_json()
    network = ConvArchitecture.from_json(value)
    given = tuple(Stage(cells=2, width=width) for width in (8, 12))
    for found in (conv(craft(network, macs=3_000_000)), conv(craft(network, stages=given))):
        assert [stage.cell for stage in found.stages] == [None, CELLS[3]]
        assert (found.cell, found.aggregate) == (SMALL, "sum")
    with pytest.raises(InputError, match="stages: 1 stage, and the network has 2, some with a cell of their own"):
        craft(network, stages=given[:1])


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
    with new_store(folder, network={"stem": 12, "widths": [8, 24], "activation": "gelu"}, beside="none") as store:
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
