"""An image classifier as evaluation sees it, whatever file it comes from. Torch is imported only where it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autoshrink.bundle import Facts
from autoshrink.cost import count
from autoshrink.data import Preprocessing
from autoshrink.data.carving import NOTHING_KEPT, Draw, Keeping, Ledger, keeping_of
from autoshrink.errors import InputError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Carving:
    """How a training kept validation images back from data without a validation split.

    Attributes:
        draw: of each class's training images.
        keeping: what it kept back as test images before.
        seal: see `Ledger.seal`; None in files of earlier versions.
        ledger: its list of images; None where the file has none.
    """

    draw: Draw
    keeping: Keeping = NOTHING_KEPT
    seal: str | None = None
    ledger: Ledger | None = None


@dataclass(frozen=True)
class ImageModel:
    """An image classifier that can be asked.

    Attributes:
        name: its file or folder, as it was given.
        classes: k names; an output's index is an index into them.
        preprocessing: from an image file to the network's input.
        logits: from normalised images (n, channels, size, size), float32, to (n, k), float32.
        trained_on: the data it was trained on; None where its file does not say.
        carving: how it got its validation images if these data have no such split; None where its file does not say.
        params: None where its file does not say.
        macs: of one image; likewise.
        activation_bytes: at the peak, of one image.
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    logits: Callable[[Floats], Floats]
    trained_on: str | None = None
    carving: Carving | None = None
    params: int | None = None
    macs: int | None = None
    activation_bytes: int = 0


def image_model(model: Any, name: str) -> ImageModel:
    """A `TrainedClassifier`, or an exported `OnnxClassifier`, as evaluation sees it."""
    exported = getattr(model, "card", None)
    architecture = model.architecture if exported is None else exported.architecture
    facts = model.facts if isinstance(model.facts, Facts) else Facts.model_validate(dict(model.facts))
    cost = count(architecture)
    return ImageModel(
        name=name,
        classes=model.classes,
        preprocessing=model.preprocessing,
        logits=_logits(model.network) if exported is None else model.logits,
        trained_on=facts.data.spec or None,
        carving=_carving(facts, getattr(model, "ledger", None)),
        params=cost.params,
        macs=cost.macs,
        activation_bytes=cost.peak_activation_bytes,
    )


def _logits(network: Any) -> Callable[[Floats], Floats]:
    import torch  # noqa: PLC0415 - torch takes seconds to import

    device = next(network.parameters()).device

    def logits(images: Floats) -> Floats:
        try:
            with torch.inference_mode():
                found: Floats = network(torch.from_numpy(images).to(device)).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{device}: no memory for a batch of {len(images)} images; try a smaller --batch"
            ) from error
        return found

    return logits


def _carving(facts: Facts, ledger: Ledger | None) -> Carving | None:
    data = facts.data.to_json()
    if not isinstance(data.get("validation_share"), float) or facts.seed is None:
        return None
    return Carving(Draw(data["validation_share"], facts.seed), keeping_of(data), facts.kept_back, ledger)
