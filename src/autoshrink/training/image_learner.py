"""How an image classifier learns: Adam, L2 by role, augmentation, mixed precision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.config import ImageRecipe
from autoshrink.seeding import derive_seed
from autoshrink.training.images import DeviceImages, augment
from autoshrink.training.loop import Batch, Stops, Validation
from autoshrink.training.statistics import take_statistics

VALIDATION_BATCH = 1000


class ImageLearner:
    """One network trained by one recipe; see `autoshrink.training.loop.Learner`.

    Args:
        network: on the images' device; (B, C, H, W) to logits (B, classes).
        recipe: optimiser and augmentation.
        data: training and validation images, on one device.
        classes: how many.
        seed: decides batches and augmentation, epoch by epoch.
        precision: autocast type; float32 for none.

    Attributes:
        network: what is trained.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: ImageRecipe,
        data: tuple[DeviceImages, DeviceImages],
        *,
        classes: int,
        seed: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.network = network
        self._recipe = recipe
        self._train, self._validation = data
        self._seed = seed
        self.epoch_samples = len(self._train)
        self._precision = precision
        self.seen = 0
        self.validated = 0
        self.guess_loss = math.log(classes)
        self._optimiser = torch.optim.Adam(parameter_groups(network, recipe), lr=recipe.learning_rate)

    def scale_learning_rate(self, factor: float) -> None:
        """Learn at the recipe's rate times a factor from now on."""
        for group in self._optimiser.param_groups:
            group["lr"] = factor * self._recipe.learning_rate

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """One pass over the training images in an order of its own."""
        train = self._train
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
        order = torch.randperm(len(train), generator=generator).to(train.device)
        # Near-equal batches of at least the size asked for: none is so small that BN has nothing to average.
        batches = order.tensor_split(max(1, len(train) // self._recipe.batch))
        self.network.train()
        for indices in batches:
            loss, accuracy = self._step(*train.batch(indices), generator)
            self.seen += len(indices)
            yield Batch(loss, len(indices), accuracy)

    def _step(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[float, float]:
        if self._recipe.augment:
            images = augment(images, generator)
        with self._autocast(images.device):
            logits = self.network(images)
        loss = functional.cross_entropy(logits.float(), labels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        # One transfer for both figures: each is a wait for the device.
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        value, hits = torch.stack([loss.detach(), accuracy]).tolist()
        return value, hits

    def validate(self) -> Validation:
        """Accuracy on all validation images."""
        return self._judge(torch.arange(len(self._validation)))

    def validate_share(self, share: float) -> Validation:
        """Accuracy on a share of the validation images: always the same ones, in the same order, whoever is judged."""
        count = max(1, round(share * len(self._validation)))
        order = torch.randperm(len(self._validation), generator=torch.Generator().manual_seed(0))
        return self._judge(order[:count])

    @torch.no_grad()
    def recalibrate_statistics(self, batches: int) -> int:
        """Take BN's running statistics anew, on some training batches of its own, without training.

        Returns:
            The images that were passed forward.
        """
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "settle"))
        wanted = min(len(self._train), batches * self._recipe.batch)
        order = torch.randperm(len(self._train), generator=generator)[:wanted].to(self._train.device)
        parts = order.tensor_split(max(1, wanted // self._recipe.batch))
        take_statistics(self.network, (self._train.batch(indices)[0] for indices in parts), self._passed)
        return wanted

    def _passed(self, images: Tensor) -> Tensor:
        with self._autocast(images.device):
            logits: Tensor = self.network(images)
        return logits

    @torch.no_grad()
    def _judge(self, order: Tensor) -> Validation:
        validation = self._validation
        self.network.eval()
        losses, correct = [], []
        for indices in order.to(validation.device).tensor_split(-(-len(order) // VALIDATION_BATCH)):
            images, labels = validation.batch(indices)
            with self._autocast(images.device):
                logits = self.network(images)
            losses.append(functional.cross_entropy(logits.float(), labels, reduction="sum"))
            correct.append(logits.argmax(dim=1) == labels)
        self.validated += len(order)
        right = tuple(bool(value) for value in torch.cat(correct).tolist())
        return Validation(sum(right) / len(right), float(torch.stack(losses).sum()) / len(right), correct=right)

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self._precision, enabled=self._precision != torch.float32)


def image_stops(recipe: ImageRecipe, classes: int) -> Stops:
    """The recipe's early stops; the floor is .20 for ten classes, as released; twice chance would be perfection for
    two."""
    chance = 1 / classes
    floor = min(2 * chance, chance + (1 - chance) / 9)
    return Stops(
        epochs=recipe.epochs,
        accuracy=recipe.stop_accuracy,
        patience=recipe.patience,
        floor=None if recipe.floor_epoch is None else (recipe.floor_epoch, floor),
        overfit_ratio=recipe.overfit_ratio,
    )


def parameter_groups(network: nn.Module, recipe: ImageRecipe) -> list[dict[str, object]]:
    """L2 by role: dense convolutions and classifier, shortcut projections, and the rest without.

    The released code adds strength · Σw² to the loss, without ½; torch's weight_decay · w is the gradient of
    ½ · weight_decay · Σw², hence the factor 2. It is coupled with Adam's scaling in both.
    """
    strengths: dict[float, list[nn.Parameter]] = {}
    for name, module in network.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            strength = 0.0
            if parameter_name == "weight" and isinstance(module, nn.Conv2d | nn.Linear) and ".depthwise" not in name:
                strength = recipe.shortcut_l2 if ".shortcut." in name else recipe.l2
            strengths.setdefault(2 * strength, []).append(parameter)
    return [{"params": parameters, "weight_decay": strength} for strength, parameters in strengths.items()]
