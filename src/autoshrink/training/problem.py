"""What a task has to provide so that its cells can be searched: little, and nothing of any evaluator.

What an evaluator asks for beyond that is a capability that a problem has or lacks: that of training candidates
together (`autoshrink.training.population.Populations`), of gradients before any training
(`autoshrink.training.gradients.LayerGradients`) or of a trained network (its learner is `Differentiable`), of naming
options with which a limit can be kept (`Fitting`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.design import Design
from autoshrink.networks import Supernet
from autoshrink.training.loop import Learner, Stops, Validation


class SearchLearner(Learner, Protocol):
    """A learner that can be trained for a short time, inherit weights, and be judged on a part of the validation
    samples."""

    @property
    def network(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def evaluated(self) -> nn.Module:
        """What is measured: the network, or the average of its weights."""
        ...

    def scale_learning_rate(self, factor: float) -> None:
        """Learn at the recipe's rate, of a schedule its peak, times a factor from now on."""
        ...

    def validate_share(self, share: float) -> Validation:
        """Measure on a share of the validation samples, the same ones for every network."""
        ...

    def recalibrate_statistics(self, batches: int) -> int:
        """Take BN's running statistics anew on some batches, where there are any; the samples that were passed forward
        for that."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A learner that lets others differentiate what it minimises."""

    def losses(self, batches: int) -> Iterator[Tensor]:
        """The mean loss, nats, of the network in evaluation mode on each of so many training batches, fewer where there
        are no more: always the same ones, without augmentation or dropout; gradients flow."""
        ...


class Problem(Protocol):
    """What candidates are trained on: a task's data and recipe, on a device.

    Attributes:
        device: where it runs.
        stops: when a training ends.
        fidelity: how much training a candidate gets, in words.
    """

    device: torch.device
    stops: Stops
    fidelity: str

    def architecture(self, design: Design) -> Architecture:
        """A design as a network: the proxy network around a cell, a network as it is (`network_of`)."""
        ...

    def learner(self, architecture: Architecture, seed: int, *, batch: int | None = None) -> SearchLearner:
        """A freshly initialised network that is ready to learn, by batches of so many where that is given."""
        ...


class SharedLearner(SearchLearner, Protocol):
    """A learner whose network may get parameters while it learns."""

    def take_up(self) -> None:
        """Learn all parameters of the network, also those that it has got since."""
        ...


@runtime_checkable
class Supernets(Protocol):
    """A problem whose networks can share their weights, which is a thing that problems need not be able to."""

    def supernet(self, architecture: Architecture, seed: int) -> Supernet:
        """A fresh one on the device, with an architecture chosen.

        Raises:
            InputError: its weights cannot be shared.
        """
        ...

    def learner_of(
        self, network: nn.Module, architecture: Architecture, seed: int, *, batch: int | None = None
    ) -> SharedLearner:
        """A network as it is, of an architecture's input and output, ready to learn like a fresh one."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """A problem that knows how its networks can be made smaller."""

    def fitting(self, cells: Sequence[Cell], name: str, limit: int) -> list[str]:
        """Options with which the cheapest of some cells would keep a limit, each with its largest value that does."""
        ...
