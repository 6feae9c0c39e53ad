"""Weights inherited through every move of whole networks: what must stay the same function does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoshrink.architecture import Architecture, ConvArchitecture, MobileArchitecture
from autoshrink.budget import Budget
from autoshrink.change import Changed
from autoshrink.networks import ImageNetwork, build, inherit
from autoshrink.networks.resizing import keeps_channels, strongest
from autoshrink.spaces import AtBudget
from autoshrink.spaces.families import at_budget, families
from autoshrink.spaces.moves import USUAL, neighbours
from autoshrink.spaces.sizes import Scalable, Sizes

BUDGET = Budget(macs=300_000)
STARTS = at_budget(families((2, 16, 16), 5), BUDGET)
EVERY = pytest.mark.parametrize("name", STARTS)
BLOCKS = MobileArchitecture.from_json(
    {
        "format": "autoshrink.architecture/1",
        "kind": "mobile",
        "input": [2, 9, 9],
        "classes": 3,
        "stem": {"channels": 6, "stride": 1},
        "stages": [
            {"width": 6, "expansion": 1, "block": "fused"},
            {"blocks": 2, "width": 8, "expansion": 2, "stride": 2, "kernel": 5, "squeeze": 0.5},
            {"blocks": 2, "width": 8, "expansion": 3, "block": "fused"},
            {"blocks": 2, "width": 10, "block": "basic", "stride": 2},
            {"width": 9, "block": "separable"},
        ],
        "head": {"channels": 12},
        "activation": "relu",
    }
)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def lively(architecture: Scalable, seed: int = 0) -> ImageNetwork:
    """As in the middle of a training: normalisations and biases that are not those of a fresh network."""
    network, generator = build(architecture, seed=seed).double().eval(), torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator)
    network.classifier.bias.data.normal_(generator=generator)
    return network


def born(architecture: Scalable, parent: ImageNetwork) -> ImageNetwork:
    child = lively(architecture, seed=1)
    inherit(child, parent)
    return child


def shortcuts(architecture: Scalable) -> list[bool]:
    """Which parts add their input as it is."""
    return [keeps_channels(part) for part in architecture.plan().parts]


def images(architecture: Scalable) -> Tensor:
    return torch.randn(3, *architecture.input, generator=torch.Generator().manual_seed(5))


def assert_one_function(child: ImageNetwork, parent: ImageNetwork, architecture: Scalable) -> None:
    with torch.no_grad():
        torch.testing.assert_close(child(images(architecture)), parent(images(architecture)))


def changed(architecture: Scalable, **changes: Any) -> Scalable:
    """With a stage's fields changed: `stage`, from 1, and what is new."""
    value = architecture.to_json()
    value["stages"][changes.pop("stage") - 1] |= changes
    found = Architecture.from_json(value)
    assert isinstance(found, ConvArchitecture | MobileArchitecture)
    return found


@pytest.mark.parametrize("architecture", [BLOCKS, *STARTS.values()], ids=["blocks", *STARTS])
def test_equal_shapes_are_the_same_function(architecture: Scalable) -> None:
    parent = lively(architecture)
    assert_one_function(born(architecture, parent), parent, architecture)


@EVERY
def test_a_network_that_is_only_wider_is_the_same_function(name: str) -> None:
    start = STARTS[name]
    if isinstance(start, ConvArchitecture):
        # The identity of a cell whose input and output have as many channels takes BN to be told so.
        start = start.model_copy(update={"stem": start.stem.model_copy(update={"channels": 13})})
    parent, sizes = lively(start), Sizes.of(start)
    for _, step in sizes.stepped(5):
        wider = step.put_into(start)
        if shortcuts(wider) == shortcuts(start):
            assert_one_function(born(wider, parent), parent, start)
    everywhere = sizes.wider(2.0, 1).put_into(start)
    assert_one_function(born(everywhere, parent), parent, start)


def test_wider_blocks_of_all_kinds_are_the_same_function() -> None:
    parent = lively(BLOCKS)
    # Stages 2 and 3 are added to one another while they are as wide.
    assert_one_function(born(Sizes.of(BLOCKS).wider(1.5, 1).put_into(BLOCKS), parent), parent, BLOCKS)
    for place, width in Sizes.of(BLOCKS).places.items():
        if place not in ("stem", "stage 1", "stage 2", "stage 3"):
            wider = Sizes.of(BLOCKS).with_width(place, width + 3).put_into(BLOCKS)
            assert_one_function(born(wider, parent), parent, BLOCKS)


@EVERY
def test_channels_that_do_nothing_go_first(name: str) -> None:
    """Where γ and β are 0, a channel is 0 whatever it reads: without it the network is the same function."""
    start = STARTS[name]
    if not isinstance(start, MobileArchitecture) or "V3" in name or "squeezed" in name:
        pytest.skip("squeeze and excitation counts its channels; nodes of a cell keep the same ones")
    start = start.model_copy(update={"activation": "relu"})
    wide = Sizes.of(start).wider(2.0, 1).put_into(start)
    assert isinstance(wide, MobileArchitecture)
    parent = lively(wide)
    small = {key: len(m.weight) for key, m in lively(start).named_modules() if isinstance(m, nn.BatchNorm2d)}
    for key, module in parent.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data[small[key] :] = 0.0
            module.bias.data[small[key] :] = 0.0
    child = born(start, parent)
    assert_one_function(child, parent, start)


def test_the_strongest_channels_are_kept_in_their_order() -> None:
    score = torch.tensor([[0.5, 0.9, 0.1, 0.9, 0.5], [1.0, 1.0, 9.0, 2.0, 3.0]])
    kept = {count: strongest(score, count).tolist() for count in (1, 2, 3, 4, 5, 7)}
    assert kept == {
        1: [3],
        2: [1, 3],
        3: [1, 3, 4],
        4: [0, 1, 3, 4],
        5: [0, 1, 2, 3, 4],
        7: [0, 1, 2, 3, 4, -1, -1],
    }


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        (2, {"kernel": 7}),
        (2, {"blocks": 3}),
        (3, {"blocks": 3}),
        (4, {"blocks": 4}),
        (5, {"kernel": 5}),
        (3, {"kernel": 5}),
        (4, {"kernel": 5}),
    ],
)
def test_a_larger_kernel_or_a_block_more_is_the_same_function(stage: int, changes: dict[str, int]) -> None:
    parent = lively(BLOCKS)
    assert_one_function(born(changed(BLOCKS, stage=stage, **changes), parent), parent, BLOCKS)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_block_less_is_the_same_function_where_that_did_nothing(stage: int) -> None:
    parent = lively(BLOCKS)
    last = parent.trunk.get_submodule(f"stage{stage}_block2.layers.project.bn")
    with torch.no_grad():
        last.weight.zero_()  # type: ignore[operator]
        last.bias.zero_()  # type: ignore[operator]
    assert_one_function(born(changed(BLOCKS, stage=stage, blocks=1), parent), parent, BLOCKS)


def test_a_stage_that_goes_leaves_the_others_their_weights() -> None:
    value = BLOCKS.to_json()
    del value["stages"][2]
    less = MobileArchitecture.from_json(value)
    parent = lively(BLOCKS)
    child = born(less, parent)
    ours, theirs = child.state_dict(), parent.state_dict()
    for name in ours:
        renamed = name.replace("stage4", "stage5").replace("stage3", "stage4")
        assert torch.equal(ours[name], theirs[renamed]), name


def test_new_squeezes_gate_alike_and_old_ones_go() -> None:
    parent = lively(BLOCKS)
    child = born(changed(BLOCKS, stage=3, squeeze=0.25), parent)
    excitation = child.trunk.get_submodule("stage3_block1.layers.excitation")
    x = torch.rand(2, 24, 3, 3)
    gates = excitation(x) / x
    torch.testing.assert_close(gates, torch.full_like(gates, 0.5))
    less = born(changed(BLOCKS, stage=2, squeeze=None), parent).state_dict()
    assert all(torch.equal(tensor, parent.state_dict()[name]) for name, tensor in less.items())


@EVERY
def test_every_move_is_inherited_through(name: str) -> None:
    """By itself, and with all widths scaled to the budget again; nothing is lost but what the move takes."""
    start = STARTS[name]
    parent = lively(start)
    for change, network in (*neighbours(start, USUAL), *AtBudget(start, BUDGET).moves(start)):
        child = lively(network, seed=1)
        before = {key: tensor.clone() for key, tensor in child.state_dict().items()}
        inherit(child, parent)
        with torch.no_grad():
            assert child(images(network)).isfinite().all(), change.label
        after = child.state_dict()
        names = [key for key in before if key.endswith("conv.weight")]
        # A block of another kind is the one thing of a stage that its blocks need not survive.
        taken = f"blocks.{change.where}_" if isinstance(change, Changed) and change.what == "block" else None
        fresh = [key for key in names if torch.equal(before[key], after[key]) and not (taken and key.startswith(taken))]
        most = len(names) if isinstance(start, ConvArchitecture) else 3 + len(names) / 3
        assert len(fresh) < most or "aggregate" in change.label, (change.label, fresh)


def test_a_block_of_another_kind_leaves_its_readers_their_weights() -> None:
    parent = lively(BLOCKS)
    for block in ("inverted", "fused", "basic", "separable"):
        if block != BLOCKS.stages[3].block:
            child = born(changed(BLOCKS, stage=4, block=block, expansion=1), parent)
            ours, theirs = child.state_dict(), parent.state_dict()
            same = {key for key in ours.keys() & theirs.keys() if torch.equal(ours[key], theirs[key])}
            assert {key for key in theirs if "stage4" not in key} <= same
