"""How an image classifier learns, in a search and in full: one learner over feeds, and one recipe.

Micro-batches, mixed precision, averaged weights and several processes are for final trainings.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from autoshrink.config import ClassifierRecipe, ImageRecipe
from autoshrink.errors import InputError
from autoshrink.score import LEVELS
from autoshrink.training.averaging import AveragedWeights
from autoshrink.training.device import choose_precision
from autoshrink.training.distributed import Processes
from autoshrink.training.feeds import MeasuringFeed, TrainingFeed
from autoshrink.training.feeds.base import Batches
from autoshrink.training.feeds.proxy import ProxyMeasuring, ProxyTraining
from autoshrink.training.images import DeviceImages
from autoshrink.training.loop import Batch, Stops, Validation
from autoshrink.training.optimisers import Rates, make_optimiser, restore_state, state_tensors, take_up
from autoshrink.training.statistics import SETTLED, normalising, take_statistics

FRESH = 32
"""Batches, at most, on which BN's statistics are taken anew."""
CLIMB = 0.05
"""Share of a search's training in which a cosine's learning rate climbs to its peak."""
NETWORK, AVERAGE, OPTIMISER = "network.", "average.", "optimiser."
"""Before the names of tensors in a state file."""


class ImageLearner:
    """One classifier trained by one recipe; see `autoshrink.training.loop.Learner`.

    Args:
        network: on its device; (B, C, H, W) to logits (B, classes).
        recipe: optimiser and averaging.
        data: training and validation images.
        classes: how many.
        precision: autocast type; float32 for none.
        processes: who trains along.
        refreshes: whether BN's statistics are taken anew where they cannot have settled yet.
        probabilities: whether a validation on a part of the images says the probability of each one's class: few
            images say more by that than by which were right.

    Attributes:
        network: what is trained.
        average: the mean of its weights; None where the recipe has none.
        rates: the learning rate of every step.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: ClassifierRecipe,
        data: tuple[TrainingFeed, MeasuringFeed],
        *,
        classes: int,
        precision: torch.dtype = torch.float32,
        processes: Processes | None = None,
        refreshes: bool = True,
        probabilities: bool = False,
    ) -> None:
        self._probabilities = probabilities
        self._scaled: float | None = None
        self._processes = processes or Processes()
        self.device = next(network.parameters()).device
        self.network = _normalised_together(network, recipe, self._processes, self.device)
        self.average = None if recipe.ema is None else AveragedWeights(self.network, recipe.ema)
        self._recipe = recipe
        self._train, self._validation = data
        self._precision = precision
        self.seen = 0
        self.validated = 0
        self.epoch_samples = len(self._train)
        self._updates = 0
        self.guess_loss = math.log(classes)
        self._optimiser = make_optimiser(self.network, recipe)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self.rates = _rates(recipe, self._train.batches)
        # Layers may be kept as they are, whatever the batches.
        self._normalises = refreshes and any(layer.training for layer in normalising(self.network.train()))
        self._parallel = self._parallelised()
        forward = self._parallel or self.network
        self._forward: nn.Module = torch.compile(forward) if recipe.compile else forward  # type: ignore[assignment]

    def _parallelised(self) -> DistributedDataParallel | None:
        if self._processes.count == 1:
            return None
        # With the first process's weights for all, whatever each began with.
        own = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.network, device_ids=own, gradient_as_bucket_view=True)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Train one pass from a step on, a batch each time the iterator is asked for one."""
        self._forward.train()
        self._count_updates(epoch * self._train.batches + start)
        for step, (images, labels) in enumerate(self._train.epoch(epoch, start=start), start=start):
            place = epoch * self._train.batches + step
            rate = self.rates.at(place) if self._scaled is None else self._scaled * self.rates.peak
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            batch = self._step(images, labels)
            self._count_updates(epoch * self._train.batches + step + 1)
            self.seen += batch.samples
            yield batch

    def scale_learning_rate(self, factor: float) -> None:
        """Learn at the recipe's rate, of a schedule its peak, times a factor from now on."""
        self._scaled = factor

    def take_up(self) -> None:
        """Learn all parameters of the network, also those that it has got since."""
        take_up(self._optimiser, make_optimiser(self.network, self._recipe))

    def _step(self, images: Tensor, labels: Tensor) -> Batch:
        """One step on a batch; its figures are over all processes."""
        sums = self.accumulate(images, labels)
        self._scaler.unscale_(self._optimiser)
        if self._recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.network)
        # One transfer for both: each is a wait for the device.
        loss, hits, count = self._processes.total([*sums.tolist(), float(len(labels))], self.device)
        return Batch(loss / count, round(count), hits / count)

    def accumulate(self, images: Tensor, labels: Tensor) -> Tensor:
        """Add the gradient of a batch's mean loss to the parameters', micro-batch by micro-batch.

        Returns:
            Of this process the sum of the losses, and how many images were right, (2,).
        """
        everybody = self._processes.summed(torch.tensor(float(len(labels)), device=self.device))
        # A micro-batch of one image leaves BN nothing to average.
        pieces = max(1, min(self._recipe.accumulation, len(labels) // 2))
        sums = []
        parts = zip(images.tensor_split(pieces), labels.tensor_split(pieces), strict=True)
        for number, (part, truth) in enumerate(parts, start=1):
            with self._alone(last=number == pieces):
                with self._autocast():
                    logits = self._forward(part)
                loss = _losses(logits, truth, smoothing=self._recipe.label_smoothing)
                # DDP takes the mean of the processes' gradients; sums over the number of all images are wanted.
                self._scaler.scale(loss * (self._processes.count / everybody)).backward()  # type: ignore[no-untyped-call]
            sums.append(torch.stack([loss.detach(), (logits.detach().argmax(dim=1) == truth).sum()]))
        return torch.stack(sums).sum(dim=0)

    def _alone(self, *, last: bool) -> AbstractContextManager[None]:
        """Processes tell each other their gradients once a step, with the last micro-batch."""
        if self._parallel is None or last:
            return nullcontext()
        quiet: AbstractContextManager[None] = self._parallel.no_sync()
        return quiet

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self._precision, enabled=self._precision != torch.float32)

    def validate(self) -> Validation:
        """Accuracy on all validation images, of the averaged weights where there are any."""
        network = self.evaluated
        if self._normalises and self._recipe.bn_momentum * self._updates < SETTLED:
            self._take_statistics(network, FRESH)
        self._processes.agree(network)
        return self._measured(network, self._validation.batches())

    def validate_share(self, share: float) -> Validation:
        """Accuracy on a share of a proxy's validation images: always the same ones, in the same order."""
        assert isinstance(self._validation, ProxyMeasuring), "what a search measures on"
        return self._measured(self.evaluated, self._validation.share(share), probabilities=share < 1)

    @torch.no_grad()
    def _measured(self, network: nn.Module, batches: Batches, *, probabilities: bool = False) -> Validation:
        network.eval()
        losses, right, given = [], [], []
        for images, labels in batches:
            with self._autocast():
                logits = network(images)
            losses.append(_losses(logits, labels))
            right.append(logits.argmax(dim=1) == labels)
            given.append(logits.float().softmax(dim=1).gather(1, labels.view(-1, 1)).flatten())
        correct = tuple(torch.cat(right).tolist()) if right else ()
        mine = float(torch.stack(losses).cpu().double().sum()) if losses else 0.0
        loss, hits, count = self._processes.total([mine, float(sum(correct)), float(len(correct))], self.device)
        self.validated += round(count)
        if self._processes.count > 1:
            return Validation(hits / count, loss / count)
        parts = _levels(torch.cat(given)) if given and probabilities and self._probabilities else None
        return Validation(hits / count, loss / count, correct=correct, parts=parts)

    def losses(self, batches: int) -> Iterator[Tensor]:
        """See `autoshrink.training.problem.Differentiable`."""
        network = self.evaluated.eval()
        for images, labels in self._train.for_statistics(batches):
            with self._autocast():
                logits = network(images)
            yield _losses(logits, labels) / len(labels)

    def recalibrate_statistics(self, batches: int) -> int:
        """Take BN's running statistics anew on some training batches; how many images were passed forward."""
        return self._take_statistics(self.evaluated, batches)

    @property
    def stale(self) -> bool:
        """Whether BN's running statistics would still remember their start when the last epoch is over."""
        steps = self._recipe.epochs * self._train.batches * self._recipe.accumulation
        return self._normalises and self._recipe.bn_momentum * steps < SETTLED

    def _count_updates(self, steps: int) -> None:
        """BN is updated by every micro-batch."""
        self._updates = steps * self._recipe.accumulation

    @torch.no_grad()
    def _take_statistics(self, network: nn.Module, batches: int) -> int:
        """Take BN's statistics anew, always on the same training images: a function of the weights alone."""
        passed = 0

        def forward(images: Tensor) -> None:
            nonlocal passed
            passed += len(images)
            with self._autocast():
                network(images)

        take_statistics(network, (images for images, _ in self._train.for_statistics(batches)), forward)
        for layer in normalising(network):
            for tensor in (layer.running_mean, layer.running_var):
                # Each process has seen its part of every batch.
                if tensor is not None and self._processes.count > 1:
                    self._processes.summed(tensor).div_(self._processes.count)
        return passed

    @property
    def evaluated(self) -> nn.Module:
        """The network to judge and to keep."""
        return self.network if self.average is None else self.average.network

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on, as tensors and facts."""
        parts = {NETWORK: self.network.state_dict(), OPTIMISER: state_tensors(self._optimiser, self.network)}
        if self.average is not None:
            parts[AVERAGE] = self.average.network.state_dict()
        tensors = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
        return tensors, {
            "averaged": 0 if self.average is None else self.average.steps,
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], curve: Sequence[float]) -> None:
        """Go on from what `state` said.

        Raises:
            RuntimeError: weights do not fit the network.
            ValueError: the optimiser's tensors do not.
        """
        del curve
        self.network.load_state_dict(_named(tensors, NETWORK))
        restore_state(self._optimiser, self.network, _named(tensors, OPTIMISER))
        if self.average is not None:
            self.average.network.load_state_dict(_named(tensors, AVERAGE))
            self.average.steps = facts["averaged"]
        if facts.get("scaler"):
            self._scaler.load_state_dict(dict(facts["scaler"]))

    @property
    def averaging(self) -> bool:
        """Never: where a recipe averages, it does from the first step on."""
        return False

    def learning_rate(self, epoch: int) -> float:
        """Of the last step of an epoch."""
        return self.rates.at((epoch + 1) * self._train.batches - 1)


def search_learner(
    network: nn.Module,
    recipe: ImageRecipe,
    data: tuple[DeviceImages, DeviceImages],
    *,
    classes: int,
    seed: int,
    precision: torch.dtype = torch.float32,
    probabilities: bool = False,
) -> ImageLearner:
    """A search's learner: Adam, L2 by role, on training and validation images on the device.

    The seed decides batches and augmentation, epoch by epoch.
    """
    cosine = recipe.schedule == "cosine"
    full = ClassifierRecipe(
        epochs=recipe.epochs,
        batch=recipe.images_a_step,
        optimiser="adam",
        learning_rate=recipe.learning_rate,
        final_rate=0.0 if cosine else recipe.learning_rate,
        warmup=CLIMB * recipe.epochs if cosine else 0.0,
        l2=recipe.l2,
        shortcut_l2=recipe.shortcut_l2,
        label_smoothing=0.0,
        ema=None,
    )
    train, validation = data
    feeds = (ProxyTraining(train, recipe.images_a_step, seed, augmented=recipe.augment), ProxyMeasuring(validation))
    return ImageLearner(
        network, full, feeds, classes=classes, precision=precision, refreshes=False, probabilities=probabilities
    )


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


def autocast_type(name: str, device: torch.device) -> torch.dtype:
    """The autocast type of a recipe's precision.

    Raises:
        InputError: the device has no such arithmetic.
    """
    if name == "float16":
        if device.type != "cuda":
            raise InputError(f"precision float16 is for CUDA, not {device.type}; try bfloat16 or float32")
        return torch.float16
    return choose_precision(name, device)


def _losses(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """The sum of the cross-entropies, in float32 at least."""
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(precise, labels, reduction="sum", label_smoothing=smoothing)


def _levels(probabilities: Tensor) -> tuple[float, ...]:
    """As multiples of 1/`LEVELS`, which a log keeps exactly."""
    return tuple((probabilities.cpu().double().mul(LEVELS).round() / LEVELS).tolist())


def _rates(recipe: ClassifierRecipe, batches: int) -> Rates:
    return Rates(
        peak=recipe.learning_rate,
        last=recipe.final_rate,
        climb=round(min(recipe.warmup, recipe.epochs) * batches),
        steps=recipe.epochs * batches,
    )


def _normalised_together(
    network: nn.Module, recipe: ClassifierRecipe, processes: Processes, device: torch.device
) -> nn.Module:
    """The network, its BN over the batches of all processes where the recipe wants that."""
    if not recipe.sync_bn or processes.count == 1:
        return network
    if device.type != "cuda":
        raise InputError(f"recipe.sync_bn is for CUDA, not {device.type}; train with larger batches instead")
    together: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return together


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
