"""Inherited weights: what every entry becomes, what a child computes, where it learns, and what a shortcut does."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import CellPlan, ConvArchitecture, NetworkPlan, recurrent_proxy
from autoshrink.architecture.base import ARCHITECTURE_FORMAT
from autoshrink.cell import Cell
from autoshrink.config import ImageRecipe
from autoshrink.networks import ImageNetwork, LanguageNetwork, build, inherit, reference, undo_normalisation
from autoshrink.networks.conv import ConvCell
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.ops import DEFAULTS
from autoshrink.training.image_learner import search_learner
from autoshrink.training.images import DeviceImages, Normalisation

SEEDS = range(60)
Label = tuple[str, int, int]
"""A channel: of the stem, or of a node of a cell, and its number there."""


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Family(NamedTuple):
    """A parent, the child that lacks one of its edges, and the child as it was before it inherited."""

    parent: ImageNetwork
    child: ImageNetwork
    fresh: dict[str, Tensor]
    edge: tuple[int, int]
    undone: tuple[nn.BatchNorm2d, ...]


def _lively(network: ImageNetwork, seed: int) -> ImageNetwork:
    """As in the middle of a training: normalisations and biases that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator)
    network.classifier.bias.data.normal_(generator=generator)
    return network


def _born(cell: Cell, edge: tuple[int, int], frame: dict[str, Any], seed: int = 0) -> Family:
    without = dict(cell.shrink_space())[edge]
    plain = {"format": ARCHITECTURE_FORMAT, "classes": 4, "input": [2, 7, 6]} | frame
    parent, child = (
        _lively(build(ConvArchitecture.from_json(plain | {"cell": each}), seed=seed + number), seed + number)
        for number, each in enumerate((cell, without))
    )
    fresh = {name: tensor.clone() for name, tensor in child.state_dict().items()}
    return Family(parent, child, fresh, edge, inherit(child, parent))


def _family(seed: int) -> Family:
    """Any cell in any frame, one edge removed."""
    draw = random.Random(seed)
    nodes = draw.randint(2, 6)
    ops = ("input", *draw.choices(DEFAULTS["conv"], k=nodes - 1))
    pairs = [(i, j) for j in range(nodes) for i in range(j)]
    share = draw.choice([0.5, 0.8, 1.0])
    cell = Cell("conv", ops, tuple(pair for pair in pairs if pair[0] == 0 or draw.random() < share))
    frame: dict[str, Any] = {
        "stem": {"channels": draw.choice([3, 4]), "stride": draw.choice([1, 2])},
        "stages": [
            {"cells": draw.randint(1, 3), "width": draw.choice([3, 4]), "pool": draw.choice([1, 2])}
            for _ in range(draw.randint(1, 3))
        ],
        "head": draw.choice([None, {"channels": 5}]),
        "activation": draw.choice(["relu", "swish"]),
    }
    return _born(cell, draw.choice(cell.edges), frame, seed)


# Every entry


def _labels(plan: NetworkPlan[CellPlan]) -> Iterator[tuple[str, list[Label], list[Label]]]:
    """Of each convolution and the classifier: its name, and whose its output and its input channels are."""
    stem = [("stem", 0, i) for i in range(plan.stem.channels)]
    yield "stem.conv", stem, [("image", 0, i) for i in range(plan.input[0])]
    arriving = stem
    for cell in plan.parts:
        own = {node.node: [(cell.name, node.node, i) for i in range(node.out_channels)] for node in cell.nodes}
        own[0] = arriving
        place = f"cells.{cell.name.replace('.', '_')}"
        for node in cell.nodes:
            reads = [label for source in node.inputs for label in own[source]]
            if node.op == "sepconv3x3":
                yield f"{place}.nodes.node{node.node}.depthwise.conv", reads, [("one", 0, 0)]
            yield f"{place}.nodes.node{node.node}.pointwise.conv", own[node.node], reads
        leaving = [label for leaf in cell.leaves for label in own[leaf]]
        if cell.projects:
            yield f"{place}.shortcut.conv", leaving, arriving
        arriving = leaving
    if plan.head:
        head = [("head", 0, i) for i in range(plan.features)]
        yield "head.conv", head, arriving
        arriving = head
    yield "classifier", [("class", 0, i) for i in range(plan.classes)], arriving


def _expected(family: Family) -> dict[str, Tensor]:
    """The child's state, entry by entry: the parent's, zero, or fresh."""
    parent, expected = family.parent.state_dict(), {name: tensor.clone() for name, tensor in family.fresh.items()}
    theirs = {name: (rows, columns) for name, rows, columns in _labels(family.parent.plan)}
    for name, rows, columns in _labels(family.child.plan):
        identity = name not in theirs
        if identity:
            # The parent's shortcut was the identity: the i-th channel that leaves is the i-th that arrives.
            known_rows, known_columns = _around(family.parent.plan, name)
            source = torch.eye(len(known_columns))
        else:
            known_rows, known_columns = theirs[name]
            source = parent[f"{name}.weight"]
            _expect_rows(expected, parent, name, [(row, _at(known_rows, label)) for row, label in enumerate(rows)])
        if not set(columns) & set(known_columns):
            continue
        for (row, whose), (column, label) in product(enumerate(rows), enumerate(columns)):
            if whose in known_rows:
                there = source[known_rows.index(whose)]
                known = label in known_columns
                expected[f"{name}.weight"][row, column] = there[known_columns.index(label)] if known else 0.0
    return expected


def _at(labels: list[Label], label: Label) -> int | None:
    return labels.index(label) if label in labels else None


def _expect_rows(
    expected: dict[str, Tensor], parent: dict[str, Tensor], name: str, places: list[tuple[int, int | None]]
) -> None:
    """What a convolution's BN, or the classifier's bias, has of every channel that the parent knew."""
    norm = name.removesuffix(".conv") + ".bn"
    parts = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    for each in parts if name.endswith(".conv") else [f"{name}.bias"]:
        for row, there in places:
            if there is not None:
                expected[each][row] = parent[each][there]


def _around(plan: NetworkPlan[CellPlan], shortcut: str) -> tuple[list[Label], list[Label]]:
    """The channels that leave a cell and those that arrive at it."""
    arriving: list[Label] = [("stem", 0, i) for i in range(plan.stem.channels)]
    for cell in plan.parts:
        own = {node.node: [(cell.name, node.node, i) for i in range(node.out_channels)] for node in cell.nodes}
        own[0] = arriving
        leaving = [label for leaf in cell.leaves for label in own[leaf]]
        if shortcut == f"cells.{cell.name.replace('.', '_')}.shortcut.conv":
            return leaving, arriving
        arriving = leaving
    raise AssertionError(shortcut)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_entry_is_the_parents_or_zero_or_fresh(seed: int) -> None:
    family = _family(seed)
    expected, found = _expected(family), family.child.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(found[name], tensor), name


def test_the_drawn_families_have_every_special_case() -> None:
    new_leaf = vanished = identity = empty = 0
    for seed in SEEDS:
        family = _family(seed)
        ours, theirs = family.child.plan.parts[0], family.parent.plan.parts[0]
        new_leaf += not set(ours.leaves) <= set(theirs.leaves)
        vanished += len(ours.nodes) < len(theirs.nodes)
        empty += not ours.nodes
        identity += bool(family.undone)
    assert min(new_leaf, vanished, identity, empty) > 0


# What a child computes


def _same_structure(family: Family) -> bool:
    pairs = zip(family.child.plan.parts, family.parent.plan.parts, strict=True)
    return all(
        ours.leaves == theirs.leaves and len(ours.nodes) == len(theirs.nodes) and ours.projects == theirs.projects
        for ours, theirs in pairs
    )


def _cut(family: Family) -> None:
    """The parent no longer reads what the removed edge brought."""
    source, target = family.edge
    for plan, cell in zip(family.parent.plan.parts, family.parent.trunk, strict=True):
        assert isinstance(cell, ConvCell)
        node = next(node for node in plan.nodes if node.node == target)
        widths = [plan.in_channels if each == 0 else node.out_channels for each in node.inputs]
        place = node.inputs.index(source)
        start = sum(widths[:place])
        weight = cell.nodes[f"node{target}"].get_submodule("pointwise.conv").get_parameter("weight")
        weight.data[:, start : start + widths[place]] = 0


def test_a_child_computes_what_its_parent_does_without_the_edge() -> None:
    found = 0
    for seed in range(100):
        family = _family(seed)
        if not _same_structure(family):
            continue
        found += 1
        images = torch.randn(3, 2, 7, 6, generator=torch.Generator().manual_seed(seed))
        whole = family.parent.eval()(images)
        _cut(family)
        torch.testing.assert_close(family.child.eval()(images), family.parent.eval()(images), rtol=0, atol=1e-6)
        assert not torch.allclose(whole, family.child(images), atol=1e-6), "the edge made a difference"
        assert family.undone == ()
    assert found > 20


# New leaves

TWO_NEXT = Cell("conv", ("input", "conv1x1", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 3), (2, 3)))
"""Without (1, 3) node 1 is a leaf beside node 3."""


@pytest.mark.parametrize("head", [None, {"channels": 5}])
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_a_new_leafs_readers_start_at_zero_and_learn_at_once(head: dict[str, int] | None, activation: str) -> None:
    stages = [{"cells": 2, "width": 4, "pool": 1}, {"cells": 1, "width": 3, "pool": 2}]
    frame = {"stem": {"channels": 4}, "stages": stages, "head": head, "activation": activation}
    family = _born(TWO_NEXT, (1, 3), frame)
    blocks = dict(_zero_blocks(family))
    last = "head.conv" if head else "classifier"
    assert {last, "cells.stage1_cell2.nodes.node2.pointwise.conv", "cells.stage2_cell1.shortcut.conv"} <= set(blocks)
    # Node 1 of a later cell is a new leaf itself, which nobody reads yet: it learns from the second step on.
    unread = {name for name in blocks if ".node1." in name}
    assert len(unread) == 2
    assert {name for name, sizes in _learning(family.child, blocks).items() if not any(sizes)} == unread
    with torch.no_grad():
        for parameter in family.child.parameters():
            assert parameter.grad is not None
            parameter.add_(parameter.grad, alpha=-0.1)
    later = _learning(family.child, blocks)
    assert all(gradient > 0 for _, gradient in later.values())
    assert {name for name, (size, _) in later.items() if size > 0} == set(blocks) - unread


def _zero_blocks(family: Family) -> Iterator[tuple[str, tuple[list[int], list[int]]]]:
    """Rows and columns of each weight at which a known channel reads new ones; they are zero."""
    theirs = {name: (rows, columns) for name, rows, columns in _labels(family.parent.plan)}
    for name, rows, columns in _labels(family.child.plan):
        if name not in theirs or ".depthwise." in name:
            continue
        new = [place for place, label in enumerate(columns) if label not in theirs[name][1]]
        known = [place for place, label in enumerate(rows) if label in theirs[name][0]]
        if new:
            block = family.child.get_parameter(f"{name}.weight").detach()[known][:, new]
            assert torch.equal(block, torch.zeros_like(block))
            yield name, (known, new)


def _learning(network: ImageNetwork, blocks: dict[str, tuple[list[int], list[int]]]) -> dict[str, tuple[float, float]]:
    """Size of each block, and of its gradient after one backward pass."""
    images = torch.randn(8, 2, 7, 6, generator=torch.Generator().manual_seed(0))
    network.zero_grad()
    functional.cross_entropy(network.train()(images), torch.arange(8) % 4).backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, (rows, columns) in blocks.items():
        weight = network.get_parameter(f"{name}.weight")
        assert weight.grad is not None
        sizes = [float(tensor.detach()[rows][:, columns].abs().sum()) for tensor in (weight, weight.grad)]
        found[name] = (sizes[0], sizes[1])
    return found


# A shortcut that was the identity


def _images(count: int = 40) -> DeviceImages:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 2, 7, 6), dtype=np.uint8)
    return DeviceImages(pixels, rng.integers(0, 4, count), Normalisation.of(pixels), torch.device("cpu"))


def test_a_projection_in_place_of_an_identity_leaves_its_input_as_it_is() -> None:
    frame = {"stem": {"channels": 4}, "stages": [{"cells": 1, "width": 4}]}
    torch.set_default_dtype(torch.float32)
    family = _born(TWO_NEXT, (1, 3), frame)
    child, data = family.child, _images()
    cell = child.trunk[0]
    assert isinstance(cell, ConvCell)
    assert cell.shortcut is not None
    assert family.undone == (cell.shortcut.get_submodule("bn"),)
    learner = search_learner(child, ImageRecipe(batch=20), (data, data), classes=4, seed=0)
    known = [place for place, label in enumerate(_shortcut_channels(child.plan)) if label[1] == 3]

    def error(train: bool) -> float:
        """How far the shortcut's known channels are from its input, in standard deviations."""
        seen: list[tuple[Tensor, Tensor]] = []
        assert isinstance(cell, ConvCell)
        assert cell.shortcut is not None
        hook = cell.shortcut.register_forward_hook(lambda _, given, out: seen.append((given[0], out[:, known])))
        with torch.no_grad():
            child.train(train)(data.batch(torch.arange(40))[0])
        hook.remove()
        (given, out), *_ = seen
        return float((given - out).std() / given.std())

    assert learner.recalibrate_statistics(2) == 40
    assert error(train=False) > 0.1, "as it comes from its normalisation"
    assert learner.recalibrate_statistics(2) == 40
    for layer in family.undone:
        undo_normalisation(layer)
    assert error(train=False) < 1e-5
    assert error(train=True) < 0.05, "also where it normalises by the batch"


def _shortcut_channels(plan: NetworkPlan[CellPlan]) -> list[Label]:
    """Channels that leave the only shortcut."""
    return next(rows for name, rows, _ in _labels(plan) if name.endswith("shortcut.conv"))


# Recurrent cells


def _language(cell: Cell, seed: int) -> LanguageNetwork:
    network: LanguageNetwork = build(recurrent_proxy(cell, vocabulary=9, width=5), seed=seed)
    return network


@pytest.mark.parametrize("seed", range(10))
def test_a_recurrent_child_computes_with_its_parents_weights(seed: int) -> None:
    draw = random.Random(seed)
    nodes = draw.randint(2, 5)
    ops = ("input", *draw.choices(DEFAULTS["recurrent"], k=nodes - 1))
    cell = Cell("recurrent", ops, tuple((i, j) for j in range(nodes) for i in range(j)))
    _, without = draw.choice(cell.shrink_space())
    parent, child = _language(cell, 1), _language(without, 2)
    before = {name: tensor.clone() for name, tensor in parent.state_dict().items()}
    assert inherit(child, parent) == ()
    known = dict(parent.named_parameters())
    assert all(torch.equal(parameter, known[name]) for name, parameter in child.named_parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in parent.state_dict().items())
    core, theirs = child.core, parent.core
    assert isinstance(core, RecurrentCell)
    assert isinstance(theirs, RecurrentCell)
    tokens = torch.randint(9, (6, 3), generator=torch.Generator().manual_seed(seed))
    outputs, _ = child.features(tokens[:-1], child.initial_state(3))
    plain = reference.run(
        core.plan,
        parent.embedding[tokens[:-1]],
        torch.zeros(3, 5),
        input_weight=theirs.input_weight,
        edge_weights=theirs.edge_weights(),
    )
    logits = plain @ parent.embedding.T + parent.decoder_bias
    expected = functional.cross_entropy(logits.flatten(0, 1), tokens[1:].flatten())
    assert child.loss(outputs, tokens[1:]).item() == pytest.approx(expected.item(), rel=1e-9)
    assert not math.isclose(expected.item(), math.log(9), rel_tol=1e-9)


def test_networks_of_other_kinds_cannot_inherit() -> None:
    image = _family(0).parent
    text = _language(Cell("recurrent", ("input", "tanh"), ((0, 1),)), 0)
    for child, parent in ((image, text), (text, image), (nn.Linear(2, 2), image)):
        with pytest.raises(TypeError, match=f"a {type(child).__name__} cannot inherit from a {type(parent).__name__}"):
            inherit(child, parent)
