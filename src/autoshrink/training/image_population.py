"""How K image classifiers learn as one program; each learns what `ImageLearner` teaches it alone.

Shape letters: K candidates, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.config import ImageRecipe
from autoshrink.networks.conv import ConvNetwork
from autoshrink.networks.population import ConvPopulation
from autoshrink.seeding import derive_seed
from autoshrink.training.image_learner import VALIDATION_BATCH, parameter_groups
from autoshrink.training.images import DeviceImages, augment
from autoshrink.training.loop import Validation
from autoshrink.training.population import PopulationBatch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""torch's defaults for Adam."""


class PopulationAdam:
    """Adam with coupled L2, as torch's, over all candidates' parameters at once, each with a step count of its own.

    The parameters become views of one vector, parameter after parameter, so that a step is a dozen kernels.

    Args:
        parameters: each with the leading axis K.
        decays: weight_decay of each.
        absent: for each, which elements stay as they are.
        learning_rate: constant.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        decays: Sequence[float],
        absent: Sequence[Tensor],
        *,
        learning_rate: float,
    ) -> None:
        self._parameters = list(parameters)
        self._decays = list(decays)
        self._learning_rate = learning_rate
        zeros = [torch.zeros_like(parameter) for parameter in self._parameters]
        steps = torch.zeros(len(self._parameters[0]), dtype=torch.float64, device=zeros[0].device)
        self._flatten(absent, zeros, zeros, steps)

    def step(self, losses: Tensor) -> None:
        """One update down the gradient of each of the losses (K,), on which only its own candidate has influence."""
        gradients = torch.autograd.grad(losses.sum(), self._parameters)
        with torch.no_grad():
            gradient = torch.cat([gradient.reshape(-1) for gradient in gradients])
            gradient.addcmul_(self._decay, self._values).masked_fill_(self._absent, 0)
            self._first.lerp_(gradient, 1 - BETA1)
            self._second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            self._steps += 1
            # In float64: 1 − .999 in float32 is off by 5e-5.
            size = (self._learning_rate / (1 - BETA1**self._steps)).to(gradient.dtype)
            scale = (1 - BETA2**self._steps).sqrt().to(gradient.dtype)
            divisor = (self._second.sqrt() / scale[self._owner]).add_(EPSILON)
            self._values.sub_(size[self._owner] * (self._first / divisor))

    def rows(self) -> list[Tensor]:
        """Everything that a step changes, as views with the leading axis K."""
        return [
            *(parameter.data for parameter in self._parameters),
            *self._views(self._first),
            *self._views(self._second),
            self._steps,
        ]

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these candidates only, to which the parameters have been cut down."""
        chosen = list(positions)
        absent, first, second = (
            [view[chosen] for view in self._views(flat)] for flat in (self._absent, self._first, self._second)
        )
        self._flatten(absent, first, second, self._steps[chosen])

    def _flatten(
        self, absent: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor], steps: Tensor
    ) -> None:
        def flat(tensors: Sequence[Tensor]) -> Tensor:
            return torch.cat([tensor.reshape(-1) for tensor in tensors])

        self._shapes = [parameter.shape for parameter in self._parameters]
        self._values = flat([parameter.data for parameter in self._parameters])
        self._absent, self._first, self._second, self._steps = flat(absent), flat(first), flat(second), steps
        pairs = list(zip(self._parameters, self._decays, strict=True))
        self._decay = flat([torch.full_like(parameter.data, decay) for parameter, decay in pairs])
        order = torch.arange(len(steps), device=steps.device)
        self._owner = flat([order.repeat_interleave(shape.numel() // len(steps)) for shape in self._shapes])
        for parameter, view in zip(self._parameters, self._views(self._values), strict=True):
            parameter.data = view

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]


class ImagePopulation:
    """K networks trained by one recipe; see `autoshrink.training.population.Population`.

    Args:
        networks: one group (`autoshrink.networks.population.groups`), freshly initialised; their weights are copied.
        recipe: optimiser and augmentation.
        data: training and validation images, on one device.
        classes: how many.
        seeds: one for each network; decides its batches and augmentation. Equal seeds share them.
        precision: autocast type; float32 for none.
    """

    def __init__(
        self,
        networks: Sequence[ConvNetwork],
        recipe: ImageRecipe,
        data: tuple[DeviceImages, DeviceImages],
        *,
        classes: int,
        seeds: Sequence[int],
        precision: torch.dtype = torch.float32,
    ) -> None:
        self._recipe = recipe
        self._train, self._validation = data
        self._seeds = list(seeds)
        self._precision = precision
        self.size = len(networks)
        self.seen = 0
        self.validated = 0
        self.epoch_samples = len(self._train)
        self.guess_loss = math.log(classes)
        self._network = ConvPopulation([network.plan for network in networks], networks).to(self._train.device)
        decays = _decays(networks, recipe)
        self._optimiser = PopulationAdam(
            list(self._network.parameters()),
            [decays[name] for name in self._network.names()],
            self._network.absent(),
            learning_rate=recipe.learning_rate,
        )
        self._paused: dict[int, list[Tensor]] = {}

    def epoch(self, epoch: int) -> Iterator[PopulationBatch]:
        """One pass over the training images, by each candidate in an order of its own seed's."""
        train = self._train
        seeds = self._seeds[:1] if len(set(self._seeds)) == 1 else self._seeds
        generators = [torch.Generator().manual_seed(derive_seed(seed, "epoch", epoch)) for seed in seeds]
        orders = torch.stack([torch.randperm(len(train), generator=generator) for generator in generators])
        batches = orders.to(train.device).tensor_split(max(1, len(train) // self._recipe.batch), dim=1)
        self._network.train()
        for indices in batches:
            samples = indices.shape[1]
            losses, accuracies = self._step(*self._batch(indices, generators))
            self.seen += samples
            yield PopulationBatch(losses, samples, accuracies)

    def _batch(self, indices: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) or (K, B, C, H, W), and labels (1, B) or (K, B), of indices of that shape."""
        images, labels = self._train.batch(indices.flatten())
        parts = images.chunk(len(indices))
        if self._recipe.augment:
            parts = tuple(augment(part, generator) for part, generator in zip(parts, generators, strict=True))
        return parts[0] if len(parts) == 1 else torch.stack(parts), labels.view(indices.shape)

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._logits(images)
        losses = _cross_entropy(logits, labels).mean(dim=1)
        self._optimiser.step(losses)
        return losses.detach(), (logits.detach().argmax(dim=2) == labels).float().mean(dim=1)

    def pause(self, positions: Sequence[int]) -> None:
        """Until the epoch is over; they go on learning, so that shapes stay as they are, and then forget it."""
        for k in positions:
            self._paused[k] = [tensor[k].clone() for tensor in self._rows()]

    def _forget(self) -> None:
        with torch.no_grad():
            for k, state in self._paused.items():
                for tensor, before in zip(self._rows(), state, strict=True):
                    tensor[k] = before
        self._paused = {}

    def _rows(self) -> list[Tensor]:
        return [*self._optimiser.rows(), *self._network.buffers()]

    @torch.no_grad()
    def validate(self) -> list[Validation]:
        """Accuracy of each on all validation images."""
        self._forget()
        validation = self._validation
        self._network.eval()
        losses, correct = [], []
        # Together no more images than one candidate's batch, which is what memory was there for.
        parts = -(-len(validation) * self.size // VALIDATION_BATCH)
        for indices in torch.arange(len(validation), device=validation.device).tensor_split(
            min(parts, len(validation))
        ):
            images, labels = validation.batch(indices)
            logits = self._logits(images)
            losses.append(_cross_entropy(logits, labels[None]).sum(dim=1))
            correct.append(logits.argmax(dim=2) == labels)
        self.validated += len(validation)
        totals = torch.stack(losses).sum(dim=0).tolist()
        found = []
        for total, right in zip(totals, torch.cat(correct, dim=1).tolist(), strict=True):
            found.append(Validation(sum(right) / len(right), total / len(right), correct=tuple(right)))
        return found

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these only."""
        self._forget()
        self._network.keep(positions)
        self._optimiser.keep(positions)
        self._seeds = [self._seeds[k] for k in positions]
        self.size = len(positions)

    def export(self, k: int) -> dict[str, Tensor]:
        """The k-th candidate's `ConvNetwork.state_dict()`, copied."""
        return self._network.export(k)

    def _logits(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, self._precision, enabled=self._precision != torch.float32):
            logits: Tensor = self._network(images)
        return logits


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of logits (K, B, classes) and labels (K, B) or (1, B), in float32 at least: (K, B), nats."""
    size, batch, classes = logits.shape
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = labels.expand(size, batch).reshape(-1)
    return functional.cross_entropy(logits.reshape(-1, classes), targets, reduction="none").view(size, batch)


def _decays(networks: Sequence[ConvNetwork], recipe: ImageRecipe) -> dict[str, float]:
    """The optimiser's weight_decay of every parameter that any network has, by its name."""
    found: dict[str, float] = {}
    for network in networks:
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        for group in parameter_groups(network, recipe):
            parameters, decay = group["params"], group["weight_decay"]
            assert isinstance(parameters, list)
            assert isinstance(decay, float)
            found |= {names[id(parameter)]: decay for parameter in parameters}
    return found
