"""Latencies of operations that nobody measured: exact where the law holds, never less for a wider network."""

from __future__ import annotations

import random

import pytest

from autoshrink.budget import Budget
from autoshrink.cost.latency import operations
from autoshrink.errors import InputError
from autoshrink.latency.predicting import LatencyModel, features, sampled, table_operations
from autoshrink.latency.table import LatencyTable
from autoshrink.spaces.families import at_budget, families
from autoshrink.spaces.moves import USUAL, neighbours
from autoshrink.spaces.sizes import Sizes
from autoshrink.steps import RuntimeOperation

FAMILIES = families((3, 32, 32), 10)
KNOWN = [network for macs in (10**6, 4 * 10**6) for network in at_budget(FAMILIES, Budget(macs=macs)).values()]
TIMES = {"calls": 900.0, "macs": 0.03, "read": 0.1, "written": 0.2, "hardswish": 0.5, "swish": 0.7}


def law(one: RuntimeOperation) -> float:
    return sum(TIMES.get(column, 0.0) * value for column, value in features(one).items())


def table(noise: float = 0.0) -> LatencyTable:
    rng = random.Random(0)
    found = {one.key: max(1, round(law(one) * rng.uniform(1 - noise, 1 + noise))) for one in sampled(KNOWN)}
    return LatencyTable({"cpu": "made up"}, found)


def test_what_follows_the_law_is_predicted() -> None:
    model = LatencyModel.fitted(table())
    for name, network in at_budget(FAMILIES, Budget(macs=2 * 10**6)).items():
        expected = 1e-9 * sum(law(one) for one in operations(network))
        assert model(network) == pytest.approx(expected, rel=0.02), name


def test_a_wider_operation_is_never_faster() -> None:
    model = LatencyModel.fitted(table(noise=0.5))
    for network in KNOWN:
        for _, sizes in Sizes.of(network).stepped(8):
            wider = sizes.put_into(network)
            # Widths that come to agree or differ bring a shortcut, or take one away.
            if [one.name for one in operations(wider)] == [one.name for one in operations(network)]:
                assert model(wider) >= model(network)


def test_a_table_for_networks_knows_what_every_exchange_needs() -> None:
    """So a search at a latency never meets a name that the table lacks."""
    wanted = table_operations((3, 16, 16), 10)
    assert len(wanted) < 700
    made_up = LatencyTable({}, {one.key: max(1, round(law(one))) for one in wanted})
    model = LatencyModel.fitted(made_up)
    for network in at_budget(families((3, 16, 16), 10), Budget(macs=300_000)).values():
        for _, changed in neighbours(network, USUAL):
            assert model(changed) == pytest.approx(1e-9 * sum(law(one) for one in operations(changed)), rel=0.05)


def test_features_by_hand() -> None:
    wide = RuntimeOperation("dense5x5", (4,), 6, (3, 2), 2, "relu")
    assert features(wide) == {"calls": 1, "macs": 25 * 24 * 6, "read": 4 * 6 * 4, "written": 36, "relu": 36}
    assert features(RuntimeOperation("depthwise3x3", (6,), 6, (3, 2)))["macs"] == 9 * 6 * 6
    assert features(RuntimeOperation("excite", (6, 2), 6, (3, 2)))["macs"] == 12
    assert features(RuntimeOperation("squeeze", (6,), 2, (3, 2)))["written"] == 2
    assert features(RuntimeOperation("linear", (6,), 10))["macs"] == 60


def test_an_operation_that_no_one_measured_anything_like_is_named() -> None:
    few = {key: taken for key, taken in table().nanoseconds.items() if not key.startswith("squeeze")}
    with pytest.raises(InputError, match=r"has no 'squeeze' of any size, so 'squeeze \d+>\d+ .*' cannot be predicted"):
        LatencyModel.fitted(LatencyTable({}, few))(FAMILIES["MobileNetV3, stem of stride 2"])
