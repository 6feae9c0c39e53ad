"""One recipe for every network of a comparison: images in memory, SGD with momentum, cosine, flips and crops.

Shape letters: n images, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.data.decoding import resized
from autoshrink.data.opening import splits_of
from autoshrink.data.proxy import load_split

HELD_OUT = 5
"""Where data has no test split, every so-manieth training image of a fixed order is one."""
MOMENTUM, WARM_UP, EVALUATION_BATCH = 0.9, 0.05, 500


@dataclass(frozen=True, eq=False)
class Images:
    """Training and test images, uint8 (n, H, W, C), and their classes, int64 (n,)."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, height, width, channels = self.train.shape
        return channels, height, width

    def at(self, side: int) -> Images:
        """The same images, scaled as the product scales them."""
        smaller = (
            torch.from_numpy(resized(one.permute(0, 3, 1, 2).numpy(), side)).permute(0, 2, 3, 1).contiguous()
            for one in (self.train, self.test)
        )
        train, test = smaller
        return replace(self, train=train, test=test)

    @classmethod
    def read(cls, spec: str, *, size: int | None, train: int | None, held_out: bool = False) -> Images:
        """All test images, and the first `train` training images of an order that is the same for good.

        With `held_out`, or where the data has no test split, a fifth of the training images are the test images.
        """
        learned = load_split(spec, "train", size=size)
        images, labels = learned.data.images, learned.data.labels
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(labels))
        if "test" in splits_of(spec) and not held_out:
            tested = load_split(spec, "test", size=size, channels=images.shape[1]).data
            test, test_labels = tested.images, tested.labels
        else:
            held, order = order[::HELD_OUT], np.delete(order, np.s_[::HELD_OUT])
            test, test_labels = images[held], labels[held]
        order = order[:train]
        as_rows = [torch.from_numpy(np.ascontiguousarray(one.transpose(0, 2, 3, 1))) for one in (images[order], test)]
        classes = len(learned.classes)
        return cls(as_rows[0], torch.from_numpy(labels[order]), as_rows[1], torch.from_numpy(test_labels), classes)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        epochs: over the training images; what is left of the last batch is left out.
        batch: images.
        rate: the highest learning rate; it rises for a twentieth of the steps and falls to zero as a cosine.
        decay: L2 on weights with more than one axis.
        flip: whether half of the images are mirrored.
    """

    epochs: int = 12
    batch: int = 64
    rate: float = 0.1
    decay: float = 1e-4
    flip: bool = True


@dataclass(frozen=True)
class Trained:
    """Accuracy and mean cross-entropy (nats) on the test images, the last epoch's mean training loss, and seconds on
    the core."""

    accuracy: float
    loss: float
    training_loss: float
    seconds: float


def train(network: nn.Module, images: Images, recipe: Recipe, *, seed: int) -> Trained:
    """Train a network from new weights, and test it. The same seed means the same images in the same batches."""
    torch.manual_seed(seed)
    initialise(network)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    whole = images.train.float()
    mean, deviation = whole.mean((0, 1, 2)), whole.std((0, 1, 2))

    def prepared(rows: Tensor) -> Tensor:
        return ((rows.float() - mean) / deviation).permute(0, 3, 1, 2)

    weights = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": recipe.decay}, {"params": others}]
    optimiser = torch.optim.SGD(groups, recipe.rate, MOMENTUM, nesterov=True)
    steps = len(images.train) // recipe.batch * recipe.epochs
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / (WARM_UP * steps), (1 + math.cos(math.pi * step / steps)) / 2)
    )
    generator, began = torch.Generator().manual_seed(seed), time.process_time()
    losses: list[Tensor] = []
    for _ in range(recipe.epochs):
        losses = []
        for rows, labels in batches(images, recipe, generator):
            optimiser.zero_grad()
            loss = functional.cross_entropy(network(prepared(rows)), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
            losses.append(loss.detach())
    seconds = time.process_time() - began
    with torch.inference_mode():
        logits = torch.cat([network.eval()(prepared(rows)) for rows in torch.split(images.test, EVALUATION_BATCH)])
    right = (logits.argmax(1) == images.test_labels).float().mean().item()
    test_loss = functional.cross_entropy(logits, images.test_labels).item()
    return Trained(right, test_loss, torch.stack(losses).mean().item(), seconds)


def batches(images: Images, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch: random crops of images padded by an eighth of their side with black, half of them mirrored."""
    _, height, width = images.shape
    pad = max(1, min(height, width) // 8)
    padded = functional.pad(images.train, (0, 0, pad, pad, pad, pad))
    order = torch.randperm(len(padded), generator=generator)
    for index in order[: len(order) // recipe.batch * recipe.batch].view(-1, recipe.batch):
        down, right = torch.randint(2 * pad + 1, (2, recipe.batch, 1), generator=generator)
        rows, columns = down + torch.arange(height), right + torch.arange(width)
        if recipe.flip:
            mirrored = torch.rand(recipe.batch, 1, generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        yield padded[index[:, None, None], rows[:, :, None], columns[:, None, :]], images.train_labels[index]


def initialise(network: nn.Module) -> None:
    """He-normal weights by fan-out, whatever a network's own habit (He et al. 2015); biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
