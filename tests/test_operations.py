"""Every operation, built in or from a file outside the package, keeps one contract; nothing falls through."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoshrink import ops
from autoshrink.architecture import Architecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.cost.latency import every_operation, operations
from autoshrink.errors import InputError
from autoshrink.networks import build
from autoshrink.onnx.export import to_onnx
from autoshrink.onnx.session import open_session
from autoshrink.onnx.untrained import form_of
from autoshrink.ops import Convolution, ConvOperation, NodePlan, Pooling, RecurrentOperation
from autoshrink.ops.inheriting import Slot
from autoshrink.priors import complete_edges, start_cell
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


READS, KNOWN = (Slot(("b",), 3), Slot(("a",), 2)), (Slot(("a",), 2), Slot(("c",), 1), Slot(("b",), 3))
CHANNELS = [3, 4, 5, 0, 1]
"""Of a parent's six channels those that a child reads, in its order."""


def _pair(parent: str, child: str) -> tuple[nn.Module, nn.Module]:
    """A parent's module and a child's, of 4 channels out, the child's with what it inherits."""
    modules = []
    for name, reads in ((parent, 6), (child, 5)):
        module = ops.conv(name).module(NodePlan(1, name, (0,), reads, 4, is_leaf=False), "relu")
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in layer.state_dict().values():
                    if tensor.dim():
                        nn.init.uniform_(tensor, 0.5, 1.5)
        modules.append(module)
    with torch.no_grad():
        ops.conv(child).inherit_from(ops.conv(parent), modules[1], modules[0], READS, KNOWN)
    return modules[0], modules[1]


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name.removesuffix(".conv.weight"): value for name, value in module.state_dict().items() if "conv" in name}


def test_all_operations_added_in_several_cells_leave_pytorch_and_are_timed(tmp_path: Path) -> None:
    """ONNX gives what PyTorch gives; a latency table made beforehand has what the network needs."""
    own = ops.names("conv")[:9]
    first, second = (Cell("conv", ("input", *part), complete_edges(len(part) + 1)) for part in (own[:5], own[5:]))
    network = proxy_architecture(first, shape=(1, 9, 9), stem=3, widths=(4, 6), classes=3, aggregate="sum")
    stages = (network.stages[0], network.stages[1].model_copy(update={"cell": second, "cells": 2}))
    architecture = network.model_copy(update={"stages": stages})
    assert list(architecture.cells) == ["stage 1", "stage 2"]
    assert Architecture.from_json(architecture.to_json()) == architecture
    form = form_of(architecture, build(architecture, seed=0))
    images = torch.randn(2, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(form).SerializeToString())
    with torch.no_grad():
        expected = form.module.eval()(images).numpy()
    (found,) = open_session(path).run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    table = {one.key for one in every_operation(architecture, 6, own)}
    assert {one.key for one in operations(architecture)} <= table


def test_a_smaller_kernel_keeps_the_middle_of_a_larger_one() -> None:
    parent, child = map(_weights, _pair("sepconv5x5", "sepconv3x3"))
    torch.testing.assert_close(child["depthwise"], parent["depthwise"][CHANNELS, :, 1:4, 1:4])
    torch.testing.assert_close(child["pointwise"], parent["pointwise"][:, CHANNELS])


def test_a_single_tap_does_what_a_dense_convolution_does_to_a_flat_picture() -> None:
    parent, child = map(_weights, _pair("conv3x3", "conv1x1"))
    torch.testing.assert_close(child["pointwise"][:, :, 0, 0], parent["dense"][:, CHANNELS].sum(dim=(2, 3)))


def test_a_separable_convolution_is_the_nearest_product_to_a_dense_one() -> None:
    """Of all rank-1 matrices the first singular vectors' is nearest: what is left has the other singular values."""
    parent, child = map(_weights, _pair("conv3x3", "sepconv5x5"))
    kernels = child["depthwise"][:, 0, 1:4, 1:4]
    assert torch.count_nonzero(child["depthwise"]) == kernels.numel()
    product = child["pointwise"] * kernels
    for place, channel in enumerate(CHANNELS):
        dense = parent["dense"][:, channel].flatten(1)
        left = torch.linalg.matrix_norm(dense - product[:, place].flatten(1)) ** 2
        torch.testing.assert_close(left, torch.linalg.svdvals(dense)[1:].square().sum())
        assert kernels[place].sum() >= 0


def test_a_bottleneck_leaves_the_product_of_its_convolutions() -> None:
    parent, child = _pair("mbconv3x3_se", "sepconv3x3")
    one, dw, two = (_weights(parent)[part] for part in ("pointwise", "depthwise", "pointwise2"))
    state = parent.state_dict()
    gains = [
        state[f"{part}.bn.weight"] / (state[f"{part}.bn.running_var"] + 1e-5).sqrt()
        for part in ("pointwise", "depthwise")
    ]
    middle = gains[0] * dw.sum(dim=(1, 2, 3)) * gains[1]
    expected = two[:, :, 0, 0] @ torch.diag(middle) @ one[:, :, 0, 0]
    torch.testing.assert_close(_weights(child)["pointwise"][:, :, 0, 0], expected[:, CHANNELS])


def test_a_bottleneck_without_excitation_keeps_all_else() -> None:
    parent, child = map(_weights, _pair("mbconv3x3_se", "mbconv3x3"))
    torch.testing.assert_close(child["pointwise"], parent["pointwise"][:, CHANNELS])
    for part in ("depthwise", "pointwise2"):
        torch.testing.assert_close(child[part], parent[part])


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
