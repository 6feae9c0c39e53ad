"""Spaces of whole networks: what a move is, that it is cheaper, and that at a budget all cost the same."""

from __future__ import annotations

import json
from random import Random

import pytest

from autoshrink.architecture import Architecture, ConvArchitecture, MobileArchitecture, MobileStage, Stem
from autoshrink.budget import NEAR, Budget
from autoshrink.change import Changed
from autoshrink.cost import count
from autoshrink.cost.latency import operations
from autoshrink.errors import InputError
from autoshrink.spaces import AtBudget, NetworkSpace
from autoshrink.spaces.families import at_budget, families
from autoshrink.spaces.fitting import share
from autoshrink.spaces.moves import ALL, MOVES, Choices, narrower, neighbours, wider
from autoshrink.spaces.networks import LEAST, ROOMY, starts
from autoshrink.spaces.sizes import LEAST_SIDE, Scalable, Sizes, sides
from test_families import recounted

BUDGET = Budget(macs=1_000_000)
STARTS = at_budget(families((3, 32, 32), 10), BUDGET)
SMALL = MobileArchitecture(
    input=(1, 8, 8),
    classes=3,
    stem=Stem(channels=8, stride=1),
    stages=(MobileStage(width=8, expansion=1), MobileStage(blocks=2, width=12, expansion=3, stride=2, squeeze=0.25)),
    activation="relu",
)
EVERY = pytest.mark.parametrize("name", STARTS)


def space(name: str, budget: Budget = BUDGET) -> AtBudget:
    return AtBudget(STARTS[name], budget)


def test_the_moves_of_a_small_network_by_hand() -> None:
    labels = [change.label for change, _ in neighbours(SMALL, ALL)]
    assert labels == [
        *("stem width 8 → 6", "stem width 8 → 12"),
        *("stage1 width 8 → 6", "stage1 width 8 → 12", "stage2 width 12 → 8", "stage2 width 12 → 16"),
        *("stage1 depth 1 → 0", "stage1 depth 1 → 2", "stage2 depth 2 → 1", "stage2 depth 2 → 3"),
        "stem stride 1 → 2",
        *("stage1 pool 1 → 2", "pool stage2 → stage1", "stage2 pool 2 → 1"),
        "head none → 48",
        *("stage1 expansion 1 → 2", "stage2 expansion 3 → 2", "stage2 expansion 3 → 4"),
        *("stage1 kernel 3 → 5", "stage2 kernel 3 → 5"),
        *("stage1 squeeze none → 0.25", "stage2 squeeze 0.25 → none"),
        *(f"stage1 block inverted → {block}" for block in ("fused", "basic", "separable")),
        *(f"stage2 block inverted → {block}" for block in ("fused", "basic", "separable")),
        "activation relu → hardswish",
    ]
    cheaper = [change.label for change, _ in NetworkSpace(SMALL).moves(SMALL)]
    assert cheaper == [
        *("stem width 8 → 6", "stage1 width 8 → 6", "stage2 width 12 → 8"),
        *("stage1 depth 1 → 0", "stage2 depth 2 → 1"),
        *("stem stride 1 → 2", "stage1 pool 1 → 2", "pool stage2 → stage1"),
        *("stage2 expansion 3 → 2", "stage2 squeeze 0.25 → none", "stage2 block inverted → separable"),
    ]


def test_widths_go_down_to_one_channel_and_up_again() -> None:
    for width in range(1, 2000):
        assert narrower(width) < width or width == 1
        assert wider(width) > width
        assert 0.55 * width <= narrower(width) or width < 16
        assert wider(width) <= 1.5 * width or width < 16
    assert [narrower(width) for width in (64, 32, 24, 12, 8, 4, 2, 1)] == [48, 24, 16, 8, 6, 2, 1, 1]


def test_inputs_are_three_quarters_of_one_another() -> None:
    assert sides(96) == (96, 72, 56, 40, 32, 24, 16)
    assert sides(28) == (28, 24, 16)
    assert sides(LEAST_SIDE) == (16,)
    assert sides(8) == (8,)
    for largest in range(1, 1025):
        first, *smaller = sides(largest)
        assert first == largest
        assert all(side % 8 == 0 and side >= LEAST_SIDE for side in smaller)
        assert all(0.6 < small / large < 0.95 for large, small in zip((first, *smaller), smaller, strict=False))
        assert sum(side**2 for side in smaller) < 1.5 * largest**2


@EVERY
def test_a_smaller_input_buys_channels_and_there_is_a_way_back(name: str) -> None:
    start, size = STARTS[name], frozenset({"size"})
    read = AtBudget(start, BUDGET, allowed=size)
    ((change, smaller),) = read.moves(start)
    assert change == Changed("size", "input", 32, 24)
    assert smaller.input == (3, 24, 24)
    assert share(smaller, BUDGET) >= NEAR
    assert sum(Sizes.of(smaller).places.values()) > sum(Sizes.of(start).places.values())
    back = {network.input[1]: network for _, network in read.moves(smaller)}
    assert back.keys() == {16, 32}
    assert AtBudget(smaller, BUDGET, allowed=size, side=32).moves(smaller) == read.moves(smaller)
    assert [network.input[1] for _, network in AtBudget(smaller, BUDGET, allowed=size).moves(smaller)] == [16]
    for _, cheaper in NetworkSpace(start, size).moves(start):
        assert Sizes.of(cheaper) == Sizes.of(start)
        assert [one.input[1] for _, one in neighbours(cheaper, size, Choices(side=32))] == [16, 32]


@pytest.mark.parametrize(("side", "macs"), [(64, 300_000), (96, 10**6), (32, 10**6), (224, 10**6)])
def test_a_start_has_the_largest_input_that_leaves_it_room(side: int, macs: int) -> None:
    budget = Budget(macs=macs)

    def narrowest(network: Scalable) -> int:
        return min(Sizes.of(network).places.values())

    def at(input_side: int) -> dict[str, Scalable]:
        return at_budget(families((3, input_side, input_side), 10, read=side), budget)

    read, found = at(side), starts((3, side, side), 10, budget)
    assert found.keys() == families((3, side, side), 10).keys()
    assert read.keys() == found.keys() or (side, macs) == (224, 10**6), "there even the narrowest network is too large"
    assert starts((3, side, side), 10, budget, smaller=False) == read
    assert AtBudget(next(iter(found.values())), budget, others=tuple(found.values())[1:], side=side).starts
    for name, network in found.items():
        every = {other: at(other).get(name) for other in sides(side)}
        widths = {other: narrowest(one) for other, one in every.items() if one is not None}
        assert all(
            width < min(ROOMY, narrowest(network)) for other, width in widths.items() if other > network.input[1]
        )
        assert narrowest(network) >= min(ROOMY, max(widths.values()))
    assert any(network.input[1] < side for network in found.values())


@EVERY
def test_a_move_is_cheaper_and_another_network(name: str) -> None:
    found = NetworkSpace(STARTS[name]).moves(STARTS[name])
    keys = {network.key for _, network in found}
    assert len(found) > 7
    assert len(keys) == len(found)
    for _, network in found:
        assert count(network).macs < count(STARTS[name]).macs
        assert Architecture.from_json(json.loads(json.dumps(network.to_json()))) == network


@EVERY
def test_moves_come_to_an_end(name: str) -> None:
    design, rng, steps = STARTS[name], Random(name), 0
    while found := NetworkSpace(STARTS[name]).moves(design):
        design, steps = rng.choice(found)[1], steps + 1
    assert 5 < steps < 200
    assert count(design).macs < count(STARTS[name]).macs / 50


@EVERY
def test_an_exchange_keeps_the_budget_and_uses_it(name: str) -> None:
    found = space(name).moves(STARTS[name])
    assert found == space(name).moves(STARTS[name])
    assert len({network.key for _, network in found}) == len(found) > 25
    shares = [share(network, BUDGET) for _, network in found]
    assert LEAST <= min(shares) <= max(shares) <= 1
    assert sum(one >= NEAR for one in shares) >= 0.9 * len(shares)
    for change, network in Random(name).sample(found, 3):
        assert recounted(network) == count(network).macs, change.label
        assert Architecture.from_json(json.loads(json.dumps(network.to_json()))) == network


@EVERY
def test_what_was_changed_is_changed(name: str) -> None:
    """Scaling leaves a width that was changed as it is, and everything that is no width."""
    for change, network in space(name).moves(STARTS[name]):
        if not isinstance(change, Changed):
            continue
        if change.what == "width":
            sizes = {place.replace(" ", ""): width for place, width in Sizes.of(network).places.items()}
            assert sizes[change.where] == change.after
        elif change.what in ("expansion", "kernel", "block", "squeeze"):
            stage = network.stages[int(change.where.removeprefix("stage")) - 1]
            assert getattr(stage, change.what) == change.after


@pytest.mark.parametrize("what", ["depth", "stem", "pool", "expansion", "kernel", "activation"])
def test_there_is_a_way_back(what: str) -> None:
    allowed = frozenset({what})
    for network in (STARTS["MobileNetV3, stem of stride 2"], STARTS["chain, stem of stride 1"]):
        for _, changed in neighbours(network, allowed):
            if len(changed.stages) == len(network.stages):
                assert network.key in {back.key for _, back in neighbours(changed, allowed)}


def test_every_kind_of_move_is_made_somewhere() -> None:
    labels = dict.fromkeys(MOVES, 0)
    for network in STARTS.values():
        for move in MOVES:
            labels[move] += len(neighbours(network, frozenset({move})))
    assert min(labels.values()) > 0, labels


@pytest.mark.parametrize("budget", [Budget(params=16_000), Budget(memory=2**16), Budget(macs=10**6, params=12_000)])
def test_other_budgets(budget: Budget) -> None:
    starts = at_budget(families((3, 32, 32), 10), budget)
    for name in ("MobileNetV2, stem of stride 2", "chain, stem of stride 2"):
        found = AtBudget(starts[name], budget).moves(starts[name])
        assert len(found) > 20
        assert all(LEAST <= share(network, budget) <= 1 for _, network in found)


def seconds(network: Scalable) -> float:
    """Of a made-up device that computes 8 channels at once."""
    ends = ((one.reads, one.writes, one.size[0] * one.size[1]) for one in operations(network))
    return 1e-9 * sum(500 + area * (-(-sum(reads) // 8) + -(-writes // 8)) for reads, writes, area in ends)


def test_a_predicted_latency_is_a_budget_too() -> None:
    budget = Budget(latency=100e-6)
    starts = at_budget(families((3, 32, 32), 10), budget, seconds=seconds)
    assert len(starts) == len(families((3, 32, 32), 10))
    for name in ("MobileNetV2, stem of stride 2", "chain, stem of stride 1"):
        whole = AtBudget(starts[name], budget, seconds)
        found = whole.moves(starts[name])
        assert len(found) > 20
        for network in (*whole.starts, *(network for _, network in found)):
            assert LEAST <= seconds(network) / 100e-6 <= 1
            assert share(network, budget, seconds) == seconds(network) / 100e-6


def test_a_stage_gets_a_cell_of_its_own() -> None:
    start = STARTS["complete graph, stem of stride 1"]
    found = AtBudget(start, BUDGET, allowed=frozenset({"own"})).moves(start)
    assert len(found) > 60
    assert {change.label.partition("→")[0] for change, _ in found} == {f"stage{n} cell shared " for n in (1, 2, 3)}
    for change, network in found:
        assert isinstance(network, ConvArchitecture)
        own = [stage.cell is not None for stage in network.stages]
        assert own == [change.label.startswith(f"stage{n}") for n in (1, 2, 3)]
    changed = next(network for change, network in found if change.label.endswith("stage1 cell shared → −(2,3)"))
    ways_back = [other for _, other in neighbours(changed, frozenset({"own"}))]
    assert any(len(other.cells) == 1 for other in ways_back if isinstance(other, ConvArchitecture))
    for _, other in neighbours(changed, frozenset({"edges"})):
        assert isinstance(other, ConvArchitecture)
        assert other.cell_of(other.stages[0]) == changed.cells["stage 1"]


def test_random_networks_are_decided_by_the_generator() -> None:
    first, *others = STARTS.values()
    whole = AtBudget(first, BUDGET, others=tuple(others))
    drawn = [whole.random(Random(seed)) for seed in range(8)]
    assert drawn == [whole.random(Random(seed)) for seed in range(8)]
    assert len({network.key for network in drawn}) == 8
    assert {network.kind for network in drawn} == {"conv", "mobile"}
    assert all(LEAST <= share(network, BUDGET) <= 1 for network in drawn)
    for space_ in (whole, NetworkSpace(first)):
        mutated: Scalable = space_.mutated(first, Random(1))
        assert mutated == space_.mutated(first, Random(1)) != first
        assert count(space_.random(Random(3))).macs <= BUDGET.macs  # type: ignore[operator]


def test_what_a_space_cannot_be() -> None:
    start = STARTS["chain, stem of stride 1"]
    with pytest.raises(InputError, match=r"moves of networks are edges, ops, own, .*, not luck"):
        NetworkSpace(start, frozenset({"luck"}))
    with pytest.raises(InputError, match="not none"):
        AtBudget(start, BUDGET, allowed=frozenset())
    with pytest.raises(InputError, match=r"a start uses 49\.\d% of the budget"):
        AtBudget(start, Budget(macs=2_000_000))
    with pytest.raises(InputError, match="takes macs, params, memory, or latency and what predicts it"):
        AtBudget(start, Budget(latency=0.001))
