"""What candidates of an image search are trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoshrink import formatting
from autoshrink.architecture import Architecture, ConvArchitecture, ImageArchitecture, network_of, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import ImageNetwork, ImageSettings, SearchSettings
from autoshrink.data import LabelledImages, Proxy, load_proxy
from autoshrink.data.carving import Keeping
from autoshrink.data.decoding import resized
from autoshrink.data.understood import images_understood
from autoshrink.design import Design
from autoshrink.errors import DataError, InputError
from autoshrink.networks import Supernet, build, supernet
from autoshrink.seeding import derive_seed
from autoshrink.tasks.base import Prepared, Unseen
from autoshrink.training.costs import DesignCosts, largest_below
from autoshrink.training.device import choose_precision
from autoshrink.training.gradients import image_gradients, images_a_batch
from autoshrink.training.image_learner import ImageLearner, image_stops, search_learner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.watching import Observer

GRADIENT_BATCH = 64
"""Images a batch at least, where gradients of untrained networks are compared: half of what ZiCo's
paper takes."""


UNSEEN_PER_CLASS = 200
"""Images of each class that judge what compared searches found, at most."""


def prepare(settings: SearchSettings, observer: Observer) -> Prepared:
    """Decode the proxy's images.

    Raises:
        DataError: they cannot be used.
    """
    assert isinstance(settings, ImageSettings)
    proxy = _load(settings, observer)
    settled = settings.model_copy(update={"recipe": settings.recipe.for_images(len(proxy.train))})
    return Prepared(proxy.name, _event(proxy), lambda device: ImageProblem(settled, proxy, device), settled)


def unseen(settings: SearchSettings, observer: Observer) -> Unseen:
    """Images of each class beyond those that a search draws, at most `UNSEEN_PER_CLASS`.

    A proxy draws each class's images in an order that its seed alone decides, validation first and training next. So
    one with more training images begins with the search's own, which is checked, and goes on with images that are in
    neither of its parts. Draws with replacement, and groups that are never parted, have no such order.

    Raises:
        DataError: of a class none is left.
        InputError: images are drawn so that those left cannot be told.
    """
    assert isinstance(settings, ImageSettings)
    data = settings.data
    if data.replacement or data.group is not None:
        name = "--group" if data.group is not None else "replacement=true"
        raise InputError(f"{name}: which images no search saw cannot be told then; leave it out of a comparison")
    own = _load(settings, observer)
    more = settings.changed({"data": {"train_per_class": data.train_per_class + UNSEEN_PER_CLASS}})
    assert isinstance(more, ImageSettings)
    larger = _load(more, Observer())
    used = np.bincount(own.train.labels, minlength=len(own.classes))
    # Images lie class by class.
    rank = np.concatenate([np.arange(many) for many in np.bincount(larger.train.labels)])
    left = rank >= used[larger.train.labels]
    same = np.array_equal(larger.train.images[~left], own.train.images)
    if not (same and np.array_equal(larger.validation.images, own.validation.images)):
        raise DataError(f"{data.spec}: a larger draw does not begin with the search's own, so no image is known unseen")
    judging = LabelledImages(larger.train.images[left], larger.train.labels[left])
    fewest = int(np.bincount(judging.labels, minlength=len(own.classes)).min())
    if not fewest:
        lower = f"lower --train-per-class {data.train_per_class} or --validation-per-class {data.validation_per_class}"
        raise DataError(f"{data.spec}: a class has no image left that the search does not see; {lower}")
    settled = settings.model_copy(update={"recipe": settings.recipe.for_images(len(own.train))})
    words = f"{formatting.count(len(judging), 'image')} of the training split that no search saw"
    return Unseen(words, lambda device: ImageProblem(settled, replace(own, validation=judging), device))


class ImageProblem:
    """See `autoshrink.training.problem.Problem`.

    A candidate gets the images at the size of its own input. Each size is made once, from the images as they are read,
    and kept; the sizes that a search's moves lead to (`autoshrink.spaces.sizes.sides`) take less than 1.5 times their
    memory together.

    Args:
        settings: network and recipe.
        proxy: training and validation images.
        device: where candidates are trained.
    """

    def __init__(self, settings: ImageSettings, proxy: Proxy, device: torch.device) -> None:
        self._norm = Normalisation.of(proxy.train.images)
        self._network = settings.network
        self._recipe = settings.recipe
        self._probabilities = settings.judge == "probability"
        self._gradient_batch = max(GRADIENT_BATCH, self._recipe.images_a_step)
        self._shape = proxy.train.images.shape[1:]
        self._classes = len(proxy.classes)
        self._read = (proxy.train, proxy.validation)
        self._sized: dict[int, tuple[DeviceImages, DeviceImages]] = {}
        self._precision = choose_precision(settings.recipe.precision, device)
        self.device = device
        self.stops = image_stops(settings.recipe, self._classes)
        self.fidelity = (
            f"{formatting.count(settings.recipe.epochs, 'epoch')} × {formatting.count(len(proxy.train), 'image')}"
        )

    def architecture(self, design: Design) -> Architecture:
        """The paper's proxy network (Table 1) for these images, or the network that the design is."""
        return network_of(design, lambda cell: self._around(cell, self._shape[1], self._network))

    def _around(self, cell: Cell, size: int, network: ImageNetwork) -> ConvArchitecture:
        return proxy_architecture(
            cell,
            shape=(self._shape[0], size, size),
            classes=self._classes,
            stem=network.stem,
            widths=network.widths,
            activation=network.activation,
        )

    def fitting(self, cells: Sequence[Cell], name: str, limit: int) -> list[str]:
        """The largest smaller images, and the widest narrower network."""
        network, found = self._network, []

        def fits(size: int, around: ImageNetwork) -> bool:
            costs = (
                DesignCosts(partial(network_of, around=lambda one: self._around(one, size, around)))(cell)
                for cell in cells
            )
            return min(cost[name] for cost in costs) <= limit

        size = largest_below(self._shape[1], lambda size: fits(size, network))
        if size:
            found.append(f"--size {size}")

        def narrower(stem: int) -> ImageNetwork:
            widths = tuple(max(1, width * stem // network.stem) for width in network.widths)
            return network.model_copy(update={"stem": stem, "widths": widths})

        stem = largest_below(network.stem, lambda stem: fits(self._shape[1], narrower(stem)))
        if stem:
            found.append(f"--stem {stem} --widths {','.join(map(str, narrower(stem).widths))}")
        return found

    def learner(self, architecture: Architecture, seed: int, *, batch: int | None = None) -> ImageLearner:
        """A fresh network on the device."""
        return self.learner_of(self._placed(build(architecture, seed=seed)), architecture, seed, batch=batch)

    def supernet(self, architecture: Architecture, seed: int) -> Supernet:
        """See `autoshrink.training.problem.Supernets`."""
        network = supernet(architecture, seed=seed)
        self._placed(network)
        return network

    def learner_of(
        self, network: nn.Module, architecture: Architecture, seed: int, *, batch: int | None = None
    ) -> ImageLearner:
        """See `autoshrink.training.problem.Supernets`."""
        return search_learner(
            network,
            self._recipe if batch is None else self._recipe.model_copy(update={"batch": batch}),
            self._data(architecture),
            classes=self._classes,
            seed=seed,
            precision=self._precision,
            probabilities=self._probabilities,
        )

    def layer_gradients(
        self, architecture: Architecture, seed: int, *, batches: int, draw: int
    ) -> list[dict[str, Tensor]]:
        """See `autoshrink.training.gradients.LayerGradients` and `image_gradients`."""
        network = self._placed(build(architecture, seed=seed))
        images, _ = self._data(architecture)
        return image_gradients(network, images, batch=self._gradient_batch, batches=batches, draw=draw)

    def gradient_samples(self, batches: int) -> int:
        """Images that `layer_gradients` reads."""
        return batches * images_a_batch(self._read[0], batch=self._gradient_batch, batches=batches)

    def _data(self, architecture: Architecture) -> tuple[DeviceImages, DeviceImages]:
        """Training and validation images at the size of a network's input."""
        assert isinstance(architecture, ImageArchitecture), "a network for images"
        side = architecture.input[1]
        if side not in self._sized:
            train, validation = (self._at(side, images) for images in self._read)
            self._sized[side] = train, validation
        return self._sized[side]

    def _at(self, side: int, images: LabelledImages) -> DeviceImages:
        pixels = images.images if side == self._shape[1] else resized(images.images, side)
        return DeviceImages(pixels, images.labels, self._norm, self.device)

    def _placed(self, network: nn.Module) -> nn.Module:
        # Channels last: half as fast again as channels first on the CPU for these small depthwise convolutions.
        network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network


def _load(settings: ImageSettings, observer: Observer) -> Proxy:
    data = settings.data
    keeping = Keeping(data.test_share, data.group)
    for line in images_understood(data.spec, keeping):
        observer.on_data(line)
    proxy = load_proxy(
        data.spec,
        train_per_class=data.train_per_class,
        validation_per_class=data.validation_per_class,
        size=data.size,
        channels=data.channels,
        replacement=data.replacement,
        max_corrupt=data.max_corrupt,
        keeping=keeping,
        seed=derive_seed(settings.seed, "data"),
        progress=observer.on_decoding,
    )
    for note in proxy.notes:
        observer.remark(note)
    for skipped in proxy.skipped:
        observer.remark(f"skipped {skipped.path}: {skipped.reason}")
    if len(proxy.train) < 2 or len(proxy.validation) < 1:
        raise DataError(
            f"{data.spec}: {formatting.count(len(proxy.train), 'training image')} and "
            f"{formatting.count(len(proxy.validation), 'validation image')} are too few"
        )
    return proxy


def _event(proxy: Proxy) -> dict[str, Any]:
    norm = Normalisation.of(proxy.train.images)
    return {
        "name": proxy.name,
        "classes": list(proxy.classes),
        "input": list(proxy.train.images.shape[1:]),
        "train": len(proxy.train),
        "validation": len(proxy.validation),
        "chance": _chance(proxy),
        "mean": list(norm.mean),
        "std": list(norm.std),
        "window": proxy.window and list(proxy.window),
        "fingerprint": proxy.fingerprint,
        "notes": list(proxy.notes),
        "skipped": [asdict(skipped) for skipped in proxy.skipped],
    }


def _chance(proxy: Proxy) -> dict[str, float]:
    """Of always naming the commonest class: its share of the validation images, and the binomial standard error."""
    images = len(proxy.validation)
    share = float(np.bincount(np.asarray(proxy.validation.labels)).max()) / images
    return {"performance": share, "error": math.sqrt(share * (1 - share) / images)}
