"""Optimisers of final trainings: what they hold small, TensorFlow's RMSprop, and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.config import ClassifierRecipe


class RMSprop(torch.optim.Optimizer):
    """RMSprop by TensorFlow's rule, which released networks were trained by; torch's is another one.

    With g the gradient (plus `weight_decay`·w), m starting at one and v at zero:
    m = α·m + (1 − α)·g², v = μ·v + lr·g / √(m + ε), w = w − v. The ε stands inside the root, and the learning rate
    inside the velocity, so that a change of rate works its way in slowly.

    Args:
        params: tensors, or groups of them.
        lr: learning rate.
        decay: α.
        momentum: μ.
        epsilon: ε.
        weight_decay: strength of ½Σw² in the loss.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        constants = {"decay": decay, "momentum": momentum, "epsilon": epsilon}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay} | constants)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        assert closure is None, "the loss is not computed again"
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._move(group, parameters, [parameter.grad for parameter in parameters])

    def _move(self, group: Mapping[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {"square": torch.ones_like(parameter), "velocity": torch.zeros_like(parameter)}
        squares = [self.state[parameter]["square"] for parameter in parameters]
        velocities = [self.state[parameter]["velocity"] for parameter in parameters]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_addcdiv_(velocities, gradients, roots, group["lr"])
        torch._foreach_sub_(parameters, velocities)


@dataclass(frozen=True)
class Rates:
    """The learning rate of every step: a straight climb, then half a cosine.

    Attributes:
        peak: at the end of the climb.
        last: at the end of the training.
        climb: steps of the climb.
        steps: of the whole training.
    """

    peak: float
    last: float
    climb: int
    steps: int

    def at(self, step: int) -> float:
        """The learning rate of a step, numbered from 0; the first after the climb has the peak."""
        if step < self.climb:
            return self.peak * (step + 1) / (self.climb + 1)
        part = (step - self.climb) / max(1, self.steps - self.climb)
        return self.last + (self.peak - self.last) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))


def make_optimiser(network: nn.Module, recipe: ClassifierRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over a network's trainable parameters."""
    rate = recipe.learning_rate
    if recipe.optimiser == "adamw":
        # torch multiplies AdamW's decay by the learning rate only: it is decoupled, and no factor 2 is due.
        return torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=rate, foreach=True)
    # The released code adds strength · Σw² to the loss, without ½; torch's weight_decay · w is the gradient of
    # ½ · weight_decay · Σw².
    shortcut_l2 = recipe.l2 if recipe.shortcut_l2 is None else recipe.shortcut_l2
    groups = _groups(network, 2 * recipe.l2, 2 * shortcut_l2)
    if recipe.optimiser == "adam":
        # Coupled with Adam's scaling, as in the released search.
        return torch.optim.Adam(groups, lr=rate)
    if recipe.optimiser == "rmsprop":
        return RMSprop(groups, rate, momentum=recipe.momentum)
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, foreach=True)


def take_up(optimiser: torch.optim.Optimizer, fresh: torch.optim.Optimizer) -> None:
    """Let an optimiser learn all parameters that a fresh one of the same recipe has; what it remembers stays."""
    known = {group["weight_decay"]: group for group in optimiser.param_groups}
    for group in fresh.param_groups:
        if group["weight_decay"] in known:
            known[group["weight_decay"]]["params"] = group["params"]
        else:
            optimiser.add_param_group(group)


def _groups(network: nn.Module, strength: float, shortcuts: float | None = None) -> list[dict[str, Any]]:
    """Weights of dense convolutions and of linear layers are held small, those of projections in shortcuts perhaps by
    another strength; depthwise kernels, BN and biases are not."""
    groups: dict[float, list[nn.Parameter]] = {strength: [], 0.0: []}
    for place, module in network.named_modules():
        held = strength if shortcuts is None or ".shortcut." not in place else shortcuts
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                dense = name == "weight" and ".depthwise." not in place and _is_dense(module)
                groups.setdefault(held if dense else 0.0, []).append(parameter)
    return [{"params": group, "weight_decay": decay} for decay, group in groups.items() if group]


def _is_dense(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    return isinstance(module, nn.Conv2d) and (module.groups == 1 or module.groups < module.in_channels)


def state_tensors(optimiser: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """What an optimiser remembers, as ``parameter.what``."""
    return {
        f"{name}.{what}": value
        for name, parameter in network.named_parameters()
        for what, value in optimiser.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_state(optimiser: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser what `state_tensors` said.

    Raises:
        ValueError: a tensor belongs to no parameter, or has another shape.
    """
    parameters = dict(network.named_parameters())
    for key, tensor in tensors.items():
        name, _, what = key.rpartition(".")
        parameter = parameters.get(name)
        if parameter is None:
            raise ValueError(f"the optimiser's {key} belongs to no parameter")
        if tensor.ndim == 0:
            # Adam counts its steps on the CPU.
            optimiser.state[parameter][what] = tensor.clone()
        elif tensor.shape == parameter.shape:
            optimiser.state[parameter][what] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        else:
            raise ValueError(f"the optimiser's {key} is {list(tensor.shape)}, its parameter {list(parameter.shape)}")
