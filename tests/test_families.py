"""Hand-made networks where a search begins: for every size of picture, at every budget, built and counted again."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autoshrink.architecture import Architecture
from autoshrink.budget import NEAR, Budget
from autoshrink.cost import count
from autoshrink.networks import build
from autoshrink.spaces.families import at_budget, families
from autoshrink.spaces.fitting import share
from autoshrink.spaces.sizes import Scalable


def recounted(network: Scalable) -> int:
    """MACs by torch's counter."""
    module = build(network, seed=0).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        assert module(torch.zeros(2, *network.input)).shape == (2, network.classes)
    flops: int = counter.get_total_flops()
    return flops // 4


@pytest.mark.parametrize(
    ("side", "macs", "least"),
    [(8, 20_000, 4), (8, 200_000, 6), (28, 100_000, 7), (32, 100_000, 6), (32, 1_000_000, 8), (32, 4_000_000, 8)],
)
def test_they_use_the_budget_and_keep_it(side: int, macs: int, least: int) -> None:
    found = at_budget(families((3, side, side), 10), Budget(macs=macs))
    used = {name: recounted(network) / macs for name, network in found.items()}
    assert all(share <= 1 for share in used.values())
    assert sum(share >= NEAR for share in used.values()) >= least, used
    for network in found.values():
        assert min(network.plan().final_size) >= 4
        assert Architecture.from_json(json.loads(json.dumps(network.to_json()))) == network


@pytest.mark.parametrize("budget", [Budget(params=20_000), Budget(memory=2**16), Budget(macs=10**6, params=10_000)])
def test_other_budgets_are_kept_too(budget: Budget) -> None:
    found = at_budget(families((1, 28, 28), 10), budget)
    assert len(found) == len(families((1, 28, 28), 10))
    assert all(0.85 < share(network, budget) <= 1 for network in found.values())


def test_small_budgets_take_depth_as_well_as_width() -> None:
    skeletons = families((3, 32, 32), 10)
    small, large = (at_budget(skeletons, Budget(macs=macs)) for macs in (10**6, 50 * 10**6))
    for name in small.keys() & large.keys():
        parts = [len(each[name].plan().parts) for each in (small, large)]
        widths = [max(stage.width for stage in each[name].stages) for each in (small, large)]
        assert widths[0] < widths[1]
        assert parts[0] < parts[1]


def test_large_pictures_are_halved_more_often() -> None:
    for side in (8, 12, 28, 32, 48, 64, 96, 224):
        found = families((3, side, side), 10)
        assert len(found) == (8 if side < 12 or side >= 64 else 12)
        for name, network in found.items():
            assert 4 <= min(network.plan().final_size) <= 8, (side, name)
            assert name.endswith(f"stem of stride {network.stem.stride}")
    assert {network.stem.stride for network in families((3, 224, 224), 10).values()} == {2}


def test_they_are_what_their_names_say() -> None:
    found = families((3, 32, 32), 10)
    kinds = {name.partition(",")[0]: network for name, network in found.items()}
    v2, v3, fused, residual = (kinds[name] for name in ("MobileNetV2", "MobileNetV3", "EfficientNetV2", "ResNet"))
    assert {block.block for block in v2.plan().parts} == {"inverted"}  # type: ignore[union-attr]
    assert [block.squeezed is not None for block in v3.plan().parts].count(True) == 3  # type: ignore[union-attr]
    assert v3.activation == "hardswish"
    assert {block.kernel for block in v3.plan().parts} == {3, 5}  # type: ignore[union-attr]
    assert [stage.block for stage in fused.stages] == ["fused", "fused", "inverted"]  # type: ignore[union-attr]
    assert (count(residual).macs, count(residual).params_with_bn) == (12_501_632, 78_042)  # MLPerf Tiny's ResNet-8
