"""What learns rows of arrays, in a search and in a final training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoshrink import formatting
from autoshrink.architecture import Architecture, network_of
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.errors import DataError
from autoshrink.networks import Supernet, build, supernet
from autoshrink.seeding import derive_seed
from autoshrink.tasks.arrays import ArrayRecipe, Arrays, ArraySettings, ArrayTask, Floats, event_of
from autoshrink.tasks.base import Prepared
from autoshrink.training.loop import Batch, Stops, Validation
from autoshrink.watching import Observer

VALIDATION_BATCH = 1000


class ArrayLearner:
    """One network that learns by Adam; see `autoshrink.training.problem.SearchLearner`.

    Args:
        task: whose loss and performance count.
        network: on a device; inputs (n, …) to outputs (n, …).
        data: training and validation data.
        recipe: epochs, batch and learning rate.
        seed: decides the order of samples, epoch by epoch.
        falls: whether the learning rate falls to zero over the recipe's epochs.
    """

    def __init__(
        self,
        task: ArrayTask,
        network: nn.Module,
        data: tuple[Arrays, Arrays],
        recipe: ArrayRecipe,
        *,
        seed: int,
        falls: bool = False,
    ) -> None:
        self.network = network
        self.seen = self.validated = 0
        self.epoch_samples = len(data[0])
        self.averaging = False
        self._task, self._recipe, self._seed, self._falls = task, recipe, seed, falls
        self._device = next(network.parameters()).device
        self._train, self._validation = data
        guessed = task.guess(data[0].targets)
        targets = torch.from_numpy(data[0].targets)
        self.guess_loss = float(task.losses(torch.from_numpy(guessed), targets).mean())
        self._optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)

    @property
    def evaluated(self) -> nn.Module:
        """The network to judge and to keep."""
        return self.network

    def learning_rate(self, epoch: int) -> float:
        """In an epoch, numbered from 0."""
        left = 1 - epoch / self._recipe.epochs if self._falls else 1.0
        return self._recipe.learning_rate * left

    def scale_learning_rate(self, factor: float) -> None:
        """Learn at the recipe's rate times a factor from now on."""
        for group in self._optimiser.param_groups:
            group["lr"] = factor * self._recipe.learning_rate

    def take_up(self) -> None:
        """Learn all parameters of the network, also those that it has got since."""
        self._optimiser.param_groups[0]["params"] = list(self.network.parameters())

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """One pass over the training data in an order of its own, from a step on."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
        order = torch.randperm(len(self._train), generator=generator)
        if self._falls:
            self.scale_learning_rate(self.learning_rate(epoch) / self._recipe.learning_rate)
        for rows in order.tensor_split(max(1, len(order) // self._recipe.batch))[start:]:
            self.network.train()
            loss = self._task.losses(*self._passed(self._train, rows)).mean()
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            self.seen += len(rows)
            yield Batch(float(loss.detach()), len(rows))

    def validate(self) -> Validation:
        """The task's performance on all validation data."""
        return self.validate_share(1.0)

    @torch.no_grad()
    def validate_share(self, share: float) -> Validation:
        """On a share of them: always the same ones, whoever is judged."""
        count = max(1, round(share * len(self._validation)))
        order = torch.randperm(len(self._validation), generator=torch.Generator().manual_seed(0))[:count]
        self.network.eval()
        outputs, targets = zip(
            *(self._passed(self._validation, rows) for rows in order.tensor_split(-(-count // VALIDATION_BATCH))),
            strict=True,
        )
        made, wanted = torch.cat(outputs), torch.cat(targets)
        self.validated += count
        loss = float(self._task.losses(made, wanted).mean())
        return Validation(self._task.performance(made.cpu().numpy(), wanted.cpu().numpy()), loss)

    def recalibrate_statistics(self, batches: int) -> int:
        """Nothing: there are no statistics to take."""
        del batches
        return 0

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and Adam's moments."""
        tensors = dict(self.network.state_dict())
        for number, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return tensors, {"averaged": 0}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], curve: Sequence[float]) -> None:
        """Go on from what `state` gave."""
        del facts, curve
        self.network.load_state_dict({name: one for name, one in tensors.items() if not name.startswith("adam.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, number, part = name.split(".")
                moments.setdefault(int(number), {})[part] = tensor
        self._optimiser.load_state_dict(self._optimiser.state_dict() | {"state": moments})

    def _passed(self, data: Arrays, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and targets of some rows."""
        chosen = rows.numpy()
        inputs = torch.from_numpy(data.inputs[chosen]).to(self._device)
        return self.network(inputs), torch.from_numpy(data.targets[chosen]).to(self._device)


class ArrayProblem:
    """See `autoshrink.training.problem.TaskProblem`."""

    def __init__(
        self,
        task: ArrayTask,
        settings: ArraySettings,
        data: tuple[Arrays, Arrays],
        event: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        self.device = device
        self.latency: Callable[[Architecture], int] | None = None
        self.stops = Stops(epochs=settings.recipe.epochs)
        epochs = formatting.count(settings.recipe.epochs, "epoch")
        self.fidelity = f"{epochs} × {formatting.count(len(data[0]), task.metric.sample)}"
        self._task, self._settings, self._data, self._event = task, settings, data, event

    def architecture(self, design: Design) -> Architecture:
        """The task's network around a cell, or the network that the design is."""
        return network_of(design, lambda cell: self._task.proxy(cell, self._settings, self._event))

    def learner(self, architecture: Architecture, seed: int, *, batch: int | None = None) -> ArrayLearner:
        """A fresh network on the device."""
        return self.learner_of(build(architecture, seed=seed).to(self.device), architecture, seed, batch=batch)

    def supernet(self, architecture: Architecture, seed: int) -> Supernet:
        """See `autoshrink.training.problem.Supernets`."""
        return supernet(architecture, seed=seed).to(self.device)

    def learner_of(
        self,
        network: nn.Module,
        architecture: Architecture,  # noqa: ARG002 - all have the same data
        seed: int,
        *,
        batch: int | None = None,
    ) -> ArrayLearner:
        """See `autoshrink.training.problem.Supernets`."""
        recipe = self._settings.recipe
        recipe = recipe if batch is None else recipe.model_copy(update={"batch": batch})
        return ArrayLearner(self._task, network, self._data, recipe, seed=seed)


def prepare(task: ArrayTask, settings: SearchSettings, observer: Observer) -> Prepared:
    """Read training and validation data.

    Raises:
        DataError: they cannot be used, or are too few.
    """
    assert isinstance(settings, ArraySettings)
    spec = settings.data.spec
    train, validation = data = read(task, spec)
    event = event_of(task, spec, train, validation, fingerprint(*data))
    shape = "×".join(map(str, train.inputs.shape[1:]))
    sample = task.metric.sample
    observer.on_data(
        f"data: {spec}: {formatting.count(len(train), f'training {sample}')}, {len(validation):,} for validation, "
        f"{shape} numbers each"
    )
    return Prepared(event["name"], event, lambda device: ArrayProblem(task, settings, data, event, device))


def read(task: ArrayTask, spec: str) -> tuple[Arrays, Arrays]:
    """Training and validation data.

    Raises:
        DataError: they cannot be used, or are too few.
    """
    train, validation = task.read(spec, "train"), task.read(spec, "validation")
    if len(train) < 2 or len(validation) < 1:
        raise DataError(f"{spec}: {len(train)} training and {len(validation)} validation samples are too few")
    return train, validation


def fingerprint(*splits: Arrays) -> str:
    """SHA-256 of everything that is learned and measured."""
    found = hashlib.sha256()
    for split in splits:
        for array in (split.inputs, split.targets):
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


__all__ = ["ArrayLearner", "ArrayProblem", "Floats", "fingerprint", "prepare", "read"]
