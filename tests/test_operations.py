"""Every operation, built in or from a file outside the package, keeps one contract; nothing falls through."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from autoshrink import ops
from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.cost.latency import every_operation, operations
from autoshrink.errors import InputError
from autoshrink.ops import Convolution, ConvOperation, Pooling, RecurrentOperation
from autoshrink.priors import start_cell
from autoshrink.registry import load_plugin
from autoshrink.testing.operations import check_operation

PLUGIN = Path(__file__).parent / "plugins" / "made_up_ops.py"
MADE_UP: dict[str, dict[str, tuple[str, ...]]] = {
    "conv": {
        "wide5x5": (),
        "avgpool5x5": (),
        "gated": ("latency",),
        "shuffle": ("inherit", "latency", "source"),
    },
    "recurrent": {"softsign": (), "bump": ()},
}


@pytest.fixture(autouse=True)
def _plugin() -> None:
    load_plugin(PLUGIN)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ops.DEFAULTS for name in ops.names(kind)])
def test_every_operation_of_the_package_keeps_the_whole_contract(kind: str, name: str) -> None:
    assert check_operation(kind, name) == ()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in MADE_UP for name in MADE_UP[kind]])
def test_operations_of_others_keep_it_or_refuse_by_name(kind: str, name: str) -> None:
    assert check_operation(kind, name) == MADE_UP[kind][name]


def test_a_contract_that_is_broken_is_noticed() -> None:
    class Wrong(ConvOperation):
        """It says that it costs what another operation costs."""

        def steps(self, *given: Any) -> Any:
            return ops.conv("conv1x1").steps(*given)

    class Bent(RecurrentOperation):
        """It says that it is its own derivative, as e^x is."""

        def derive(self, into: Any, value: Any) -> None:
            into.mul_(value)

    ops.register(Wrong("miscounted", pieces=(Convolution(3),)))
    ops.register(Bent("miderived", call="torch.sin"))
    with pytest.raises(AssertionError, match="parameters and MACs are counted"):
        check_operation("conv", "miscounted")
    with pytest.raises(AssertionError, match="`derive` is not the gradient"):
        check_operation("recurrent", "miderived")


def test_an_unknown_operation_is_named_wherever_it_is_asked_for() -> None:
    expected = r"operation 'maxpool9x9' is unknown in a conv cell; choose from conv1x1, sepconv3x3, .* --plugin"
    for ask in (
        lambda: Cell("conv", ("input", "maxpool9x9"), ((0, 1),)),
        lambda: ops.conv("maxpool9x9"),
        lambda: ops.require("conv", ["maxpool9x9"], "inherit"),
        lambda: start_cell("complete", kind="conv", nodes=3, rng=random.Random(0), ops=["maxpool9x9"]),
    ):
        with pytest.raises(InputError, match=expected):
            ask()
    with pytest.raises(InputError, match="operation 'conv1x1' is unknown in a recurrent cell"):
        ops.recurrent("conv1x1")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(InputError, match=r"'conv.conv1x1': the name is taken"):
        ops.register(ConvOperation("conv1x1", pieces=(Pooling(),)))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ConvOperation("Conv"), "operation 'Conv': a name has up to 32 small letters"),
        (lambda: ConvOperation("a", colours=("red", "#000")), "colours such as '#e6e6ea' are needed"),
        (lambda: ConvOperation("a", pieces=(Convolution(4),)), "conv4x4 would change the size; kernels are odd"),
    ],
)
def test_what_cannot_be_an_operation_says_why(make: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        make()


def test_a_search_draws_from_what_it_is_given_and_by_default_from_the_published_ones() -> None:
    drawn = start_cell("complete", kind="conv", nodes=7, rng=random.Random(0), ops=("gated", "wide5x5"))
    assert set(drawn.ops[1:]) == {"gated", "wide5x5"}
    usual = start_cell("complete", kind="conv", nodes=7, rng=random.Random(0))
    assert set(usual.ops[1:]) == {"conv1x1", "sepconv3x3"}


def test_an_operation_without_weights_costs_nothing_and_keeps_its_channels() -> None:
    """Cells of stage 1 read 32 channels; 16 of node 1 and 32 of the input make 48 for the pooling, and so do leaves."""
    cell = Cell("conv", ("input", "conv1x1", "avgpool5x5"), ((0, 1), (0, 2), (1, 2)))
    plan = proxy_architecture(cell).plan()
    assert [node.out_channels for node in plan.parts[0].nodes] == [16, 48]
    assert plan.parts[0].out_channels == 48
    alone = proxy_architecture(Cell("conv", ("input", "avgpool5x5"), ((0, 1),)))
    empty = proxy_architecture(Cell("conv", ("input", "avgpool5x5"), ()))
    assert count(alone).macs == count(empty).macs


def test_a_table_of_latencies_has_what_cells_of_a_made_up_operation_need() -> None:
    names = ("wide5x5", "conv1x1")
    table = {one.key for one in every_operation(proxy_architecture(Cell("conv", ("input",), ())), 5, names)}
    for seed in range(5):
        cell = start_cell("er:0.6", kind="conv", nodes=5, rng=random.Random(seed), ops=names)
        assert {one.key for one in operations(proxy_architecture(cell))} <= table
    assert any("depthwise5x5d2" in key for key in table)
    for name, why in (("avgpool5x5", "as many channels as it reads"), ("gated", "has no latency; measure the network")):
        with pytest.raises(InputError, match=f"operation '{name}' .*{why}"):
            every_operation(proxy_architecture(Cell("conv", ("input",), ())), 5, (name,))
