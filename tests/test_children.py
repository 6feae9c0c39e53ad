"""The benchmark of cheap judgements: its gradients are those of what it says it differentiates."""

from __future__ import annotations

import torch
from torch.nn import functional

import children
from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell
from autoshrink.networks import ImageNetwork, build

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (0, 3), (2, 3)))
NETWORK = proxy_architecture(CELL, shape=(2, 6, 6), classes=4, stem=5, widths=(4, 3))


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 2, 6, 6, generator=generator).double(), torch.arange(12) % 4


def _network(seed: int) -> ImageNetwork:
    return build(NETWORK, seed=seed).double().eval()


def test_a_gate_s_gradient_is_what_scaling_its_edge_changes() -> None:
    network, (images, labels) = _network(0), _batch()
    found = children.gates(network, [(images, labels)])
    assert set(found) == set(CELL.edges)
    step = 1e-5
    # Node 2 reads the cell's input and node 1; in the second cell node 0 has the channels of the first one's leaf.
    for edge, columns in {(0, 2): (slice(0, 5), slice(0, 4)), (1, 2): (slice(5, 9), slice(4, 7))}.items():
        losses = []
        for factor in (1 + step, 1 - step):
            other = _network(0)
            for stage, where in enumerate(columns, start=1):
                weight = other.get_parameter(f"cells.stage{stage}_cell1.nodes.node{edge[1]}.pointwise.conv.weight")
                weight.data[:, where] *= factor
            losses.append(functional.cross_entropy(other(images), labels).item())
        assert abs((losses[0] - losses[1]) / (2 * step) - found[edge][0]) < 1e-7


def test_distilling_passes_back_the_gradient_of_its_loss() -> None:
    images, labels = _batch()
    student, teacher, plain = _network(1), _network(0), _network(1)
    for one in (student, plain):
        one.train()
    functional.cross_entropy(children.Distilled(student, teacher)(images), labels).backward()  # type: ignore[no-untyped-call]
    logits, heat = plain(images), children.TEMPERATURE
    soft = (teacher(images).detach() / heat).softmax(dim=1)
    distance = functional.kl_div((logits / heat).log_softmax(dim=1), soft, reduction="batchmean")
    wanted = (1 - children.TAUGHT) * functional.cross_entropy(logits, labels)
    (wanted + children.TAUGHT * heat**2 * distance).backward()  # type: ignore[no-untyped-call]
    for ours, theirs in zip(student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
