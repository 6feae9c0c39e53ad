"""Supernets: the masked sums written out by hand, gradients by block, and blocks that are made when they are needed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink import zoo
from autoshrink.architecture import (
    Architecture,
    ConvArchitecture,
    RecurrentArchitecture,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.cell import Cell
from autoshrink.config import ClassifierRecipe
from autoshrink.errors import InputError
from autoshrink.networks import ImageSupernet, LanguageNetwork, LanguageSupernet, build, reference, supernet
from autoshrink.ops import Convolution, ConvOperation, Pooling, Squeeze, register
from autoshrink.priors import complete_edges
from autoshrink.spaces.cells import CellSpace
from autoshrink.training.optimisers import make_optimiser, take_up

NODES = 5
WIDTHS = (4, 6)
BOTH = frozenset({"edges", "ops"})


def _conv(cell: Cell) -> ConvArchitecture:
    return proxy_architecture(cell, shape=(3, 9, 9), classes=5, stem=4, widths=WIDTHS)


def _recurrent(cell: Cell) -> RecurrentArchitecture:
    return recurrent_proxy(cell, vocabulary=11, width=6)


def _space(kind: str, *ops: str) -> CellSpace:
    return CellSpace(Cell(kind, ("input", *ops), complete_edges(len(ops) + 1)), BOTH)


SEPARABLE = CellSpace(Cell("conv", ("input", *["sepconv3x3"] * (NODES - 1)), complete_edges(NODES)), BOTH, ("conv1x1",))
SPACES: dict[str, tuple[CellSpace, Callable[[Cell], Architecture]]] = {
    # Bottlenecks, squeezed channels and operations without weights among what nodes may become.
    "conv": (_space("conv", "sepconv3x3", "mbconv3x3_se", "conv3x3", "conv1x1"), _conv),
    "recurrent": (_space("recurrent", "tanh", "tanh", "sigmoid", "tanh"), _recurrent),
}


def _cells(space: CellSpace, count: int) -> list[Cell]:
    rng = random.Random(3)
    return [space.start, *(space.random(rng) for _ in range(count))]


class Masked:
    """The sum over all edges of the complete cell, each with its mask; BN by the batch.

    What a node reads of another is its block times that node's output, and zero times that where the cell has no such
    edge.
    """

    def __init__(self, network: ImageSupernet) -> None:
        self._blocks = {name.removeprefix("blocks."): one for name, one in network.named_parameters()}

    def _weight(self, name: str) -> Tensor:
        return self._blocks[f"{name}.weight"]

    def _normal(self, x: Tensor, name: str) -> Tensor:
        return functional.batch_norm(x, None, None, self._weight(name), self._blocks[f"{name}.bias"], training=True)

    def __call__(self, cell: Cell, images: Tensor) -> Tensor:
        first = functional.conv2d(images, self._weight("stem.conv.all.all"), padding=1)
        inputs = {"stem-0": torch.relu(self._normal(first, "stem.bn.all.all"))}
        for stage in range(1, len(WIDTHS) + 1):
            inputs = self._stage(cell, stage, inputs)
        parts = [
            functional.linear(x.mean(dim=(2, 3)), self._weight(f"classifier.all.{name}")) for name, x in inputs.items()
        ]
        return torch.stack(parts).sum(dim=0) + self._blocks["classifier.all.all.bias"]

    def _stage(self, cell: Cell, stage: int, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        place, stride = f"cells.stage{stage}_cell1", 1 if stage == 1 else 2
        known = {
            name: (0, functional.max_pool2d(x, stride, ceil_mode=True) if stride > 1 else x)
            for name, x in inputs.items()
        }
        for j in range(1, NODES):
            if j in cell.reachable:
                own = self._node(cell, j, f"{place}.nodes.node{j}_{cell.ops[j]}", known)
                known[f"stage{stage}_cell1-{j}"] = j, own
        outputs = {}
        for j in cell.leaves:
            row = f"stage{stage}_cell1-{j}"
            short = next(iter(inputs.values()))
            if stride > 1 or len(cell.leaves) * WIDTHS[0] != 4:
                parts = [
                    functional.conv2d(x[:, :, ::stride, ::stride], self._weight(f"{place}.shortcut.conv.{row}.{name}"))
                    for name, x in inputs.items()
                ]
                short = self._normal(torch.stack(parts).sum(dim=0), f"{place}.shortcut.bn.{row}.all")
            outputs[row] = known[row][1] + short
        return outputs

    def _node(self, cell: Cell, j: int, here: str, known: dict[str, tuple[int, Tensor]]) -> Tensor:
        total = torch.zeros(())
        for slot, (i, x) in known.items():
            if f"{here}.pointwise.conv.all.{slot}.weight" not in self._blocks:
                assert (i, j) not in cell.edges, f"node {j} reads {slot} and has no block for it"
                continue
            read = x
            if cell.ops[j] == "sepconv3x3":
                kernel = self._weight(f"{here}.depthwise.conv.{slot}.all")
                within = functional.conv2d(x, kernel, padding=1, groups=x.shape[1])
                read = torch.relu(self._normal(within, f"{here}.depthwise.bn.{slot}.all"))
            mask = float((i, j) in cell.edges)
            total = total + mask * functional.conv2d(read, self._weight(f"{here}.pointwise.conv.all.{slot}"))
        total = self._normal(total, f"{here}.pointwise.bn.all.all")
        return total if j in cell.leaves else torch.relu(total)


def test_a_choice_is_the_masked_sum_over_all_edges() -> None:
    cells = _cells(SEPARABLE, 40)
    cells = list({one.leaves: one for one in cells if one.edges}.values())
    network = supernet(_conv(SEPARABLE.start), seed=1)
    assert isinstance(network, ImageSupernet)
    network.double()
    for cell in cells:
        network.choose(_conv(cell))
    network.train()
    images = torch.randn(6, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for cell in cells:
        network.choose(_conv(cell))
        network.double()
        assert (network(images) - Masked(network)(cell, images)).abs().max() < 1e-10, str(cell)
    assert len({cell.leaves for cell in cells}) > 3
    assert any({"sepconv3x3", "conv1x1"} <= set(cell.ops) for cell in cells)


def test_a_recurrent_choice_is_the_masked_mean() -> None:
    space, around = SPACES["recurrent"]
    network = supernet(around(space.start), seed=1)
    assert isinstance(network, LanguageSupernet)
    inputs, state = torch.randn(5, 3, 6), torch.randn(1, 3, 6)
    for cell in _cells(space, 10):
        architecture = _recurrent(cell)
        network.choose(architecture)
        plan = architecture.plan()
        weights = {(i, j): network.blocks[f"{i}-{j}-{cell.ops[j]}"] for i, j in plan.edges}
        expected = reference.run(plan, inputs, state[0], input_weight=network.input_weight, edge_weights=weights)
        assert (network.core(inputs, state)[0] - expected).abs().max() < 1e-5


def _example(network: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if isinstance(network, LanguageNetwork):
        tokens = torch.randint(11, (7, 3), generator=generator)
        logits: Tensor = network(tokens, network.initial_state(3))[0]
        return logits
    found: Tensor = network(torch.randn(4, 3, 9, 9, generator=generator))
    return found


@pytest.mark.parametrize("kind", SPACES)
def test_an_ordinary_network_with_the_same_blocks_computes_the_same(kind: str) -> None:
    space, around = SPACES[kind]
    network = supernet(around(space.start), seed=1)
    for cell in _cells(space, 5):
        network.choose(around(cell))
        ordinary = build(around(cell), seed=2)
        ordinary.load_state_dict({name: one.detach() for name, one in network.assembled().items()}, strict=False)
        for training in (True, False):
            network.train(training)
            ordinary.train(training)
            assert (_example(network) - _example(ordinary)).abs().max() < 1e-5, f"{cell}, training: {training}"


@pytest.mark.parametrize("kind", SPACES)
def test_gradients_touch_the_blocks_of_the_choice_only(kind: str) -> None:
    space, around = SPACES[kind]
    network = supernet(around(space.start), seed=1)
    for cell in _cells(space, 5):
        network.choose(around(cell))
        network.zero_grad(set_to_none=True)
        _example(network).square().sum().backward()  # type: ignore[no-untyped-call]
        touched = {name for name, one in network.named_parameters() if one.grad is not None}
        if kind == "recurrent":
            assert {one for one in touched if "blocks" in one} == {
                f"blocks.{i}-{j}-{cell.ops[j]}" for i, j in cell.edges
            }
            continue
        for node in range(1, NODES):
            own = [one for one in touched if f".nodes.node{node}_" in one]
            weighs = cell.ops[node] not in {"identity", "avgpool3x3", "maxpool3x3"}
            assert bool(own) == (node in cell.reachable and weighs), f"node {node} of {cell}"
            assert all(f"node{node}_{cell.ops[node]}." in one for one in own)
            # A concatenation's blocks in the first cell are called by the nodes that are read.
            read = {
                int(one.rpartition("stage1_cell1-")[2].split(".")[0].split("-")[0])
                for one in own
                if "stage1_cell1-" in one and "cells.stage1" in one
            }
            assert read == ({i for i in cell.predecessors[node] if i} if weighs else set())


@pytest.mark.parametrize("kind", SPACES)
def test_what_a_block_begins_with_is_decided_by_its_name(kind: str) -> None:
    """Not by when the first cell that has it was chosen; and all of them can be taken over by a new supernet."""
    space, around = SPACES[kind]
    cells = _cells(space, 5)
    one, other = (supernet(around(order[0]), seed=4) for order in (cells, cells[::-1]))
    for ours, theirs in zip(cells, cells[::-1], strict=True):
        one.choose(around(ours))
        other.choose(around(theirs))
    first, second = dict(one.named_parameters()), dict(other.named_parameters())
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not one.choose(around(cells[3])), "nothing is new"
    with torch.no_grad():
        for tensor in first.values():
            tensor.add_(0.5)
    third = supernet(around(cells[2]), seed=9)
    third.take(first)
    for cell in cells:
        assert not third.choose(around(cell))
        one.choose(around(cell))
        assert torch.equal(_example(one), _example(third))


def test_an_optimiser_takes_up_new_blocks_with_their_decay() -> None:
    recipe = ClassifierRecipe(epochs=1, batch=4, optimiser="adam", learning_rate=0.01, l2=0.1, shortcut_l2=0.2)
    cells = _cells(SPACES["conv"][0], 8)
    network = supernet(_conv(cells[1]), seed=1)
    optimiser = make_optimiser(network, recipe)
    _example(network).square().sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    known = len(optimiser.state)
    for cell in cells:
        network.choose(_conv(cell))
    take_up(optimiser, make_optimiser(network, recipe))
    decays = {id(one): group["weight_decay"] for group in optimiser.param_groups for one in group["params"]}
    assert len(decays) == len(list(network.parameters()))
    assert len(optimiser.state) == known > 0
    for name, one in network.named_parameters():
        dense = (".conv." in name and ".depthwise." not in name) or (
            name.startswith("blocks.classifier") and one.dim() == 2
        )
        dense = dense or (".excitation." in name and name.endswith("weight"))
        assert decays[id(one)] == (0.4 if ".shortcut.conv" in name else 0.2 if dense else 0.0), name


# Refusals


def test_weights_that_belong_to_all_channels_together_are_refused() -> None:
    register(ConvOperation("squeezed_first", pieces=(Pooling(3), Squeeze(2), Convolution())))
    cell = Cell("conv", ("input", "squeezed_first"), ((0, 1),))
    with pytest.raises(InputError, match=r"'squeezed_first': its squeeze2 weighs all channels .* --evaluator trained"):
        supernet(_conv(cell), seed=1)


@pytest.mark.parametrize("changes", [{"aggregate": "sum"}, {}])
def test_networks_that_are_no_rows_of_cells_are_refused(changes: dict[str, Any]) -> None:
    one = _conv(SEPARABLE.start).model_copy(update=changes) if changes else zoo.get("lstm")
    with pytest.raises(InputError, match=r"shares no weights; search with --evaluator trained"):
        supernet(one, seed=1)
