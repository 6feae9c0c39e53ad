"""The training loop of one network: early stops, best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.config import Recipe
from autoshrink.seeding import derive_seed
from autoshrink.training.images import DeviceImages, augment

EMA_KEEP = 0.99
"""Of the running training accuracy and loss, restarted every epoch (released search)."""
DIVERGED_RATIO = 10.0
"""A mean training loss of an epoch above so many times that of guessing, ln(classes), is a divergence."""
VALIDATION_BATCH = 1000


class TrainingError(Exception):
    """This network cannot be trained; the message says why. It ends the candidate and not the search."""


class DeadlineError(Exception):
    """The deadline of the whole search passed in the middle of a training."""


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        accuracy: validation accuracy of the best epoch, in [0, 1].
        correct: (n,) bool, which validation images the best epoch got right.
        curve: validation accuracy after every epoch.
        ended: why it stopped.
    """

    accuracy: float
    correct: tuple[bool, ...]
    curve: tuple[float, ...]
    ended: str


@dataclass(frozen=True)
class Clock:
    """When to stop, in `now`'s seconds: the candidate with its best epoch so far, or the search at once."""

    candidate: float = math.inf
    search: float = math.inf
    now: Callable[[], float] = time.monotonic


class _Running:
    """Bias-corrected exponential moving average."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        self._sum = EMA_KEEP * self._sum + (1 - EMA_KEEP) * value
        self._weight = EMA_KEEP * self._weight + (1 - EMA_KEEP)
        return self._sum / self._weight


class Training:
    """One network trained by one recipe.

    Args:
        network: on the images' device; (B, C, H, W) to logits (B, classes).
        recipe: optimiser, early stops.
        seed: decides batches and augmentation, epoch by epoch.
        precision: autocast type; float32 for none.
        clock: time limits.
        on_epoch: called after every epoch with its number from 1 and its validation accuracy.

    Attributes:
        images: training images seen so far, repeats counted; also after a failure.
        validated: validation images seen so far.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        seed: int,
        classes: int,
        precision: torch.dtype = torch.float32,
        clock: Clock | None = None,
        on_epoch: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._network = network
        self._recipe = recipe
        self._seed = seed
        self._classes = classes
        self._precision = precision
        self._clock = clock or Clock()
        self._on_epoch = on_epoch
        self.images = 0
        self.validated = 0
        self._optimiser = torch.optim.Adam(_parameter_groups(network, recipe), lr=recipe.learning_rate)

    def run(self, train: DeviceImages, validation: DeviceImages) -> Trained:
        """Train until an early stop or the last epoch.

        Raises:
            TrainingError: the loss became NaN or diverged, or the candidate's time was up within the first epoch.
            DeadlineError: the search's deadline passed.
        """
        curve: list[float] = []
        best: tuple[float, Tensor] | None = None
        ended = "all epochs"
        for epoch in range(self._recipe.epochs):
            running_loss = self._epoch(train, epoch)
            if running_loss is None:
                ended = "time limit"
                break
            loss, correct = self._validate(validation)
            if not math.isfinite(loss):
                raise TrainingError(f"the validation loss became {loss} after epoch {epoch + 1}")
            accuracy = float(correct.sum()) / len(correct)
            curve.append(accuracy)
            if best is None or accuracy > best[0]:
                best = (accuracy, correct)
            self._on_epoch(epoch + 1, accuracy)
            reason = self._early_stop(curve, loss, running_loss)
            if reason is not None:
                ended = reason
                break
        if best is None:
            raise TrainingError("the time limit for a candidate was reached before its first epoch was done")
        right = tuple(bool(value) for value in best[1].tolist())
        return Trained(best[0], right, tuple(curve), ended)

    def _epoch(self, train: DeviceImages, epoch: int) -> float | None:
        """One pass: the running training loss at its end, or None when the candidate's time was up before."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
        order = torch.randperm(len(train), generator=generator).to(train.device)
        # Near-equal batches of at least the size asked for: none is so small that BN has nothing to average.
        batches = order.tensor_split(max(1, len(train) // self._recipe.batch))
        losses, accuracies, seen, total = _Running(), _Running(), 0, 0.0
        running_loss = math.nan
        self._network.train()
        for step, indices in enumerate(batches):
            if self._clock.now() > self._clock.search:
                raise DeadlineError
            if self._clock.now() > self._clock.candidate:
                return None
            loss, accuracy = self._step(*train.batch(indices), generator)
            if not math.isfinite(loss):
                raise TrainingError(f"the training loss became {loss} in epoch {epoch + 1}, batch {step + 1}")
            seen += len(indices)
            self.images += len(indices)
            total += loss * len(indices)
            running_loss = losses.add(loss)
            running_accuracy = accuracies.add(accuracy)
            if self._recipe.stop_accuracy is not None and running_accuracy > self._recipe.stop_accuracy:
                break
        if total / seen > DIVERGED_RATIO * math.log(self._classes):
            raise TrainingError(f"diverged: mean training loss {total / seen:.3g} in epoch {epoch + 1}")
        return running_loss

    def _step(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[float, float]:
        if self._recipe.augment:
            images = augment(images, generator)
        with self._autocast(images.device):
            logits = self._network(images)
        loss = functional.cross_entropy(logits.float(), labels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        # One transfer for both figures: each is a wait for the device.
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        value, hits = torch.stack([loss.detach(), accuracy]).tolist()
        return value, hits

    @torch.no_grad()
    def _validate(self, validation: DeviceImages) -> tuple[float, Tensor]:
        """Mean loss, and (n,) bool on the CPU: which images are classified correctly."""
        self._network.eval()
        losses, correct = [], []
        parts = -(-len(validation) // VALIDATION_BATCH)
        for indices in torch.arange(len(validation), device=validation.device).tensor_split(parts):
            images, labels = validation.batch(indices)
            with self._autocast(images.device):
                logits = self._network(images)
            losses.append(functional.cross_entropy(logits.float(), labels, reduction="sum"))
            correct.append(logits.argmax(dim=1) == labels)
        self.validated += len(validation)
        loss = float(torch.stack(losses).sum()) / len(validation)
        return loss, torch.cat(correct).cpu()

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self._precision, enabled=self._precision != torch.float32)

    def _early_stop(self, curve: list[float], loss: float, running_loss: float) -> str | None:
        """Why to stop after this epoch, by the released search's rules, or None."""
        recipe = self._recipe
        since_best = len(curve) - 1 - curve.index(max(curve))
        if recipe.patience is not None and since_best >= recipe.patience:
            return f"no better for {recipe.patience} epochs"
        # .20 for ten classes, as released; twice chance would be perfection for two.
        chance = 1 / self._classes
        floor = min(2 * chance, chance + (1 - chance) / 9)
        if recipe.floor_epoch is not None and len(curve) - 1 == recipe.floor_epoch and curve[-1] < floor:
            return f"accuracy {curve[-1]:.3f} below {floor:.3f} after epoch {len(curve)}"
        if recipe.overfit_ratio is not None and not loss <= recipe.overfit_ratio * running_loss:
            return f"validation loss above {recipe.overfit_ratio:g} training losses"
        return None


def _parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """L2 by role: dense convolutions and classifier, shortcut projections, and the rest without.

    The released code adds strength · Σw² to the loss, without ½; torch's weight_decay · w is the gradient of
    ½ · weight_decay · Σw², hence the factor 2. It is coupled with Adam's scaling in both.
    """
    strengths: dict[float, list[nn.Parameter]] = {}
    for name, module in network.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            strength = 0.0
            if parameter_name == "weight" and isinstance(module, nn.Conv2d | nn.Linear) and ".depthwise." not in name:
                strength = recipe.shortcut_l2 if ".shortcut." in name else recipe.l2
            strengths.setdefault(2 * strength, []).append(parameter)
    return [{"params": parameters, "weight_decay": strength} for strength, parameters in strengths.items()]
