"""Optimisers, learning rates, averages and losses of final trainings, against tables and rules worked out by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoshrink.errors import InputError
from autoshrink.networks import build
from autoshrink.training.averaging import AveragedWeights
from autoshrink.training.image_learner import autocast_type
from autoshrink.training.optimisers import Rates, RMSprop, make_optimiser, restore_state, state_tensors
from classifier_fixtures import SMALL, StillNormalised, learner_of, recipe_of

# RMSprop


def test_rmsprop_by_a_table() -> None:
    """One weight, three steps of gradients 3, −1 and 0 at rate .1, worked out on paper: m, v, w."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = RMSprop([weight], 0.1)
    table = [
        (3.0, 1.8, 0.3 / math.sqrt(2.8)),
        (-1.0, 1.72, 0.9 * 0.3 / math.sqrt(2.8) - 0.1 / math.sqrt(2.72)),
        (0.0, 1.548, 0.9 * (0.9 * 0.3 / math.sqrt(2.8) - 0.1 / math.sqrt(2.72))),
    ]
    stands = 2.0
    for gradient, square, velocity in table:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        stands -= velocity
        assert float(optimiser.state[weight]["square"]) == pytest.approx(square, rel=1e-12)
        assert float(optimiser.state[weight]["velocity"]) == pytest.approx(velocity, rel=1e-12)
        assert float(weight.detach()) == pytest.approx(stands, rel=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(1e-3, 1), st.floats(0, 0.1), st.floats(1e-3, 2))
@settings(max_examples=50, deadline=None)
def test_rmsprop_is_tensorflows_rule(gradients: list[float], rate: float, decay: float, epsilon: float) -> None:
    """Against the rule written with numpy, the rate changing from step to step, L2 in the gradient."""
    start = np.array([1.5, -0.25])
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = RMSprop([weight], rate, epsilon=epsilon, weight_decay=decay)
    w, m, v = start.copy(), np.ones(2), np.zeros(2)
    for step, value in enumerate(gradients):
        slope = np.array([value, -2 * value])
        weight.grad = torch.from_numpy(slope.copy())
        optimiser.param_groups[0]["lr"] = now = rate / (step + 1)
        optimiser.step()
        g = slope + decay * w
        m = 0.9 * m + 0.1 * g**2
        v = 0.9 * v + now * g / np.sqrt(m + epsilon)
        w = w - v
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-10, atol=1e-12)


def test_rmsprop_leaves_what_has_no_gradient() -> None:
    weight, frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    RMSprop([weight, frozen], 0.1).step()
    assert not torch.equal(weight, torch.ones(2))
    assert torch.equal(frozen, torch.ones(2))


# Who is held small


@pytest.mark.parametrize(
    ("changes", "strength"),
    [
        ({"l2": 4e-5}, 8e-5),
        ({"l2": 4e-5, "optimiser": "rmsprop"}, 8e-5),
        ({"weight_decay": 0.05, "optimiser": "adamw"}, 0.05),
    ],
)
def test_dense_weights_alone_are_held_small(changes: dict[str, Any], strength: float) -> None:
    """Σw² without ½ is twice torch's; AdamW's decay is what it says."""
    network = build(SMALL, seed=0)
    optimiser = make_optimiser(network, recipe_of(**changes))
    held = {id(one): group["weight_decay"] for group in optimiser.param_groups for one in group["params"]}
    for name, parameter in network.named_parameters():
        dense = name.endswith(("conv.weight", "classifier.weight")) and ".depthwise." not in name
        assert held[id(parameter)] == (strength if dense else 0.0), name
    assert len(held) == len(list(network.parameters()))


def test_l2_is_the_gradient_of_its_term_in_the_loss() -> None:
    """One step of plain SGD against autograd of loss + l2·Σw² over the dense weights."""
    recipe = recipe_of(l2=0.01, momentum=0.0, nesterov=False, warmup=0.0)
    learner = learner_of(recipe, dtype=torch.float64)
    twin = copy.deepcopy(learner.network).train()
    images, labels = next(learner._train.epoch(0))
    dense = [p for n, p in twin.named_parameters() if p.ndim > 1 and ".depthwise." not in n]
    loss = nn.functional.cross_entropy(twin(images), labels) + 0.01 * sum((p**2).sum() for p in dense)
    loss.backward()  # type: ignore[no-untyped-call]
    next(learner.epoch(0))
    for (name, moved), before in zip(learner.network.named_parameters(), twin.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(moved, before - 0.05 * before.grad, rtol=1e-9, atol=1e-12, msg=name)


# What an optimiser remembers


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop", "adamw"])
def test_an_optimiser_goes_on_from_its_tensors(optimiser: str) -> None:
    recipe = recipe_of(optimiser=optimiser, ema=0.9)
    whole, first, second = (learner_of(recipe) for _ in range(3))
    for epoch in range(2):
        list(whole.epoch(epoch))
    list(first.epoch(0))
    tensors, facts = first.state()
    second.restore({name: tensor.clone() for name, tensor in tensors.items()}, facts, [])
    list(second.epoch(1))
    wanted, found = whole.state(), second.state()
    assert wanted[1] == found[1]
    assert wanted[0].keys() == found[0].keys()
    assert all(torch.equal(wanted[0][name], found[0][name]) for name in wanted[0])


def test_foreign_tensors_are_refused() -> None:
    network = build(SMALL, seed=0)
    optimiser = make_optimiser(network, recipe_of())
    with pytest.raises(ValueError, match=r"optimiser's gone.velocity belongs to no parameter"):
        restore_state(optimiser, network, {"gone.velocity": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"classifier.bias.momentum_buffer is \[3\], its parameter \[10\]"):
        restore_state(optimiser, network, {"classifier.bias.momentum_buffer": torch.zeros(3)})
    assert state_tensors(optimiser, network) == {}


# The learning rate


def test_the_rate_by_a_table() -> None:
    """A climb of four equal parts, the peak, and half a cosine: at its middle half way, at its end the last rate."""
    rates = Rates(peak=1.0, last=0.2, climb=3, steps=11)
    told = [rates.at(step) for step in range(11)]
    assert told[:4] == [0.25, 0.5, 0.75, 1.0]
    assert told[7] == pytest.approx(0.6)
    assert told[10] == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert rates.at(11) == pytest.approx(0.2)
    assert told[3:] == sorted(told[3:], reverse=True)


@given(st.integers(0, 20), st.integers(1, 50), st.floats(1e-4, 1), st.floats(0, 1e-4))
def test_the_rate_climbs_and_falls_within_its_bounds(climb: int, more: int, peak: float, last: float) -> None:
    rates = Rates(peak, last, climb, climb + more)
    told = [rates.at(step) for step in range(climb + more)]
    assert max(told) == told[climb] == pytest.approx(peak)
    assert told[:climb] == sorted(told[:climb])
    assert told[climb:] == sorted(told[climb:], reverse=True)
    assert all(0 < one <= peak * (1 + 1e-9) for one in told)


def test_the_learner_sets_the_rate_of_each_step() -> None:
    learner = learner_of(recipe_of(epochs=3, warmup=1.0))
    told = []
    for epoch in range(3):
        for _ in learner.epoch(epoch):
            told.append(learner._optimiser.param_groups[0]["lr"])
    wanted = Rates(0.05, 0.0, 2, 6)
    assert told == [wanted.at(step) for step in range(6)]


# The average


def test_the_average_by_a_table() -> None:
    """Decay .2: (1 + n) / (10 + n) is .1, .1818…, then .25, which is more."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = AveragedWeights(network, 0.2)
    wanted = 0.0
    for keep, weight in ((0.1, 10.0), (2 / 11, -3.0), (0.2, 4.0)):
        nn.init.constant_(network.weight, weight)
        average.update(network)
        wanted = keep * wanted + (1 - keep) * weight
        assert float(next(average.network.parameters())) == pytest.approx(wanted, rel=1e-6)
    assert average.steps == 3


def test_the_average_follows_statistics_and_counters_and_is_what_is_measured() -> None:
    learner = learner_of(recipe_of(ema=0.5))
    list(learner.epoch(0))
    assert learner.average is not None
    ours, theirs = learner.average.network.state_dict(), learner.network.state_dict()
    assert ours["stem.bn.num_batches_tracked"] == theirs["stem.bn.num_batches_tracked"] == 2
    assert not torch.equal(ours["stem.bn.running_mean"], theirs["stem.bn.running_mean"])
    assert learner.evaluated is learner.average.network
    assert not any(parameter.requires_grad for parameter in learner.evaluated.parameters())
    assert learner_of(recipe_of()).evaluated is not None


# The loss


def test_label_smoothing_by_hand() -> None:
    """.1 spreads a tenth of the truth over ten classes: .91 on the right one, .01 on every other."""
    learner = learner_of(recipe_of(label_smoothing=0.1), dtype=torch.float64)
    twin = copy.deepcopy(learner.network).train()
    images, labels = next(learner._train.epoch(0))
    truth = torch.full((len(labels), 10), 0.01, dtype=torch.float64)
    truth[torch.arange(len(labels)), labels] = 0.91
    wanted = -(truth * twin(images).log_softmax(dim=1)).sum(dim=1).mean()
    assert next(learner.epoch(0)).loss == pytest.approx(float(wanted.detach()), rel=1e-12)


@pytest.mark.parametrize("pieces", [1, 2, 4, 5])
def test_micro_batches_are_the_batch(pieces: int) -> None:
    """Where BN looks at no batch: the same gradients, of even and uneven pieces."""
    whole, cut = (
        learner_of(
            recipe_of(accumulation=n, label_smoothing=0.1),
            network=StillNormalised(build(SMALL, seed=0).double()),
            dtype=torch.float64,
        )
        for n in (1, pieces)
    )
    images, labels = next(whole._train.epoch(0))
    losses = []
    for learner in (whole, cut):
        learner.network.train()
        losses.append(float(learner.accumulate(images, labels)[0]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for (name, one), other in zip(whole.network.named_parameters(), cut.network.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_the_gradient_is_clipped() -> None:
    recipe = recipe_of(clip=1e-3, momentum=0.0, nesterov=False, warmup=0.0)
    learner = learner_of(recipe)
    before = [parameter.detach().clone() for parameter in learner.network.parameters()]
    next(learner.epoch(0))
    moved = math.sqrt(
        sum(float(((p.detach() - b) ** 2).sum()) for p, b in zip(learner.network.parameters(), before, strict=True))
    )
    assert moved == pytest.approx(0.05 * 1e-3, rel=1e-2)


def test_bfloat16_is_autocast_on_a_cpu() -> None:
    plain, rough = (learner_of(recipe_of(), precision=kind) for kind in (torch.float32, torch.bfloat16))
    losses = [next(learner.epoch(0)).loss for learner in (plain, rough)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in rough.network.parameters())
    assert 0 <= rough.validate().performance <= 1


def test_float16_is_for_cuda() -> None:
    with pytest.raises(InputError, match="precision float16 is for CUDA, not cpu; try bfloat16 or float32"):
        autocast_type("float16", torch.device("cpu"))
    assert autocast_type("float16", torch.device("cuda")) == torch.float16
    assert autocast_type("auto", torch.device("cpu")) == torch.float32
