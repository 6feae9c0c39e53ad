"""An image classifier as evaluation sees it, whatever file it comes from. Torch is imported only where it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autoshrink.cost import count
from autoshrink.data import Preprocessing
from autoshrink.data.carving import NOTHING_KEPT, Draw, Keeping, Ledger, keeping_of
from autoshrink.errors import InputError

if TYPE_CHECKING:
    import torch

    from autoshrink.bundle import TrainedClassifier

Floats = npt.NDArray[np.float32]

ONNX_SUFFIX = ".onnx"


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


def open_image_model(target: Path, *, device: str = "auto", unchecked: bool = False) -> ImageModel | None:
    """The image classifier in a training's folder, its `model.safetensors`, or an exported `.onnx` file.

    Args:
        target: the folder or file.
        device: where a network of torch computes; an ONNX file computes on the CPU.
        unchecked: an ONNX file also where another tool rewrote it, against its checksum.

    Returns:
        None where it is a language model.

    Raises:
        InputError: there is no model, it is damaged, or the device cannot be used.
    """
    if target.suffix.lower() == ONNX_SUFFIX:
        return _exported(target, device, unchecked=unchecked)
    from autoshrink.bundle import TrainedClassifier, load  # noqa: PLC0415
    from autoshrink.training.device import choose_device  # noqa: PLC0415 - needs torch

    place = choose_device(device)
    model = load(target, device=place)
    return _trained(target, model, place) if isinstance(model, TrainedClassifier) else None


def _trained(target: Path, model: TrainedClassifier, device: torch.device) -> ImageModel:
    import torch  # noqa: PLC0415 - torch takes seconds to import

    def logits(images: Floats) -> Floats:
        try:
            with torch.inference_mode():
                found: Floats = model.network(torch.from_numpy(images).to(device)).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{device}: no memory for a batch of {len(images)} images; try a smaller --batch"
            ) from error
        return found

    cost = count(model.architecture)
    return ImageModel(
        name=str(target),
        classes=model.classes,
        preprocessing=model.preprocessing,
        logits=logits,
        trained_on=_spec(model.facts.to_json()),
        carving=_carving(model.facts.to_json(), model.ledger),
        params=cost.params,
        macs=cost.macs,
        activation_bytes=cost.peak_activation_bytes,
    )


def _exported(target: Path, device: str, *, unchecked: bool) -> ImageModel:
    from autoshrink.deploy.predict import OnnxClassifier, open_exported  # noqa: PLC0415 - needs the extra `onnx`

    if device not in ("auto", "cpu"):
        raise InputError(f"{target}: an ONNX file computes on the CPU here; leave out --device {device}")
    model = open_exported(target, unchecked=unchecked)
    if not isinstance(model, OnnxClassifier):
        raise InputError(f"{target}: an exported language model; evaluate the folder that `autoshrink train` left")
    return ImageModel(
        name=str(target),
        classes=model.classes,
        preprocessing=model.preprocessing,
        logits=model.logits,
        trained_on=_spec(model.facts),
        carving=_carving(model.facts),
        params=model.params,
        macs=model.macs,
        activation_bytes=count(model.card.architecture).peak_activation_bytes,
    )


def _spec(facts: Mapping[str, Any]) -> str | None:
    """The data that a model's facts say it was trained on."""
    data = facts.get("data")
    spec = data.get("spec") if isinstance(data, Mapping) else None
    return spec if isinstance(spec, str) else None


def _carving(facts: Mapping[str, Any], ledger: Ledger | None = None) -> Carving | None:
    data, seed, seal = facts.get("data"), facts.get("seed"), facts.get("kept_back")
    if not isinstance(data, Mapping) or not isinstance(data.get("validation_share"), float):
        return None
    if not isinstance(seed, int):
        return None
    draw = Draw(data["validation_share"], seed)
    return Carving(draw, keeping_of(data), seal if isinstance(seal, str) else None, ledger)
