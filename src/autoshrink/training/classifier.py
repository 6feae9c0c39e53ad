"""A trained image classifier as a file: weights, architecture, classes and preprocessing, in one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.architecture import Architecture, ImageArchitecture
from autoshrink.data import Preprocessing
from autoshrink.data.carving import Ledger
from autoshrink.errors import InputError
from autoshrink.networks import BN_EPSILON, build, set_normalisation
from autoshrink.tasks import task_of
from autoshrink.training import checkpoint
from autoshrink.training.language_model import MODEL_FILE, TrainedModel, model_path
from autoshrink.training.ledger_file import ledger_tensors, parted
from autoshrink.untrusted import brief


@dataclass(frozen=True)
class TrainedClassifier:
    """An image classifier with what it needs to be used.

    Attributes:
        architecture: its network.
        network: the weights of its best epoch, (B, C, H, W) to logits (B, classes).
        classes: names; an output's index is an index into them.
        preprocessing: from an image file to the network's input.
        facts: `epoch` (from 1) and `performance` (validation accuracy) of the weights, `data` (what it was trained
            on: `spec` at least), `bn_epsilon`.
        ledger: the images that it was trained on and those that were kept back; None in files of earlier versions.
    """

    architecture: ImageArchitecture
    network: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    facts: Mapping[str, Any]
    ledger: Ledger | None = None

    @property
    def bn_epsilon(self) -> float:
        """What BN adds to the variance under the root."""
        return float(self.facts.get("bn_epsilon", BN_EPSILON))


def save_classifier(path: Path, model: TrainedClassifier) -> None:
    """Write a model.

    Raises:
        RunError: the file cannot be written.
    """
    facts = dict(model.facts) | {
        "architecture": model.architecture.to_json(),
        "classes": list(model.classes),
        "preprocessing": model.preprocessing.to_json(),
        "bn_epsilon": model.bn_epsilon,
    }
    checkpoint.save(path, model.network.state_dict() | ledger_tensors(model.ledger), facts)


def load_trained(folder: Path, *, device: torch.device | None = None) -> TrainedClassifier | TrainedModel:
    """The model in a folder that a training left, or in a `model.safetensors` file, on a device, in evaluation mode.

    Raises:
        InputError: there is none, or it is damaged; the message names the file.
    """
    path = model_path(folder)
    tensors, facts = checkpoint.load(path)
    with checkpoint.understood(path):
        architecture = Architecture.from_json(facts.pop("architecture"))
    device = device or torch.device("cpu")
    model: TrainedClassifier | TrainedModel = task_of(architecture).read_model(
        path, architecture, tensors, facts, device
    )
    return model


def load_classifier(folder: Path, *, device: torch.device | None = None) -> TrainedClassifier:
    """As `load_trained`, of image classifiers only.

    Raises:
        InputError: there is none, it is damaged, or a language model.
    """
    model = load_trained(folder, device=device)
    if not isinstance(model, TrainedClassifier):
        raise InputError(f"{folder}: holds a {model.architecture.kind} network, and this needs an image classifier")
    return model


def read_classifier(
    path: Path,
    architecture: ImageArchitecture,
    tensors: Mapping[str, Tensor],
    facts: dict[str, Any],
    device: torch.device,
) -> TrainedClassifier:
    """A classifier from what its file holds.

    Raises:
        InputError: the file is damaged.
    """
    with checkpoint.understood(path):
        checkpoint.ModelFacts.model_validate(facts)
        classes = _class_names(facts.pop("classes"))
        preprocessing = Preprocessing.from_json(facts.pop("preprocessing"))
        if len(classes) != architecture.classes:
            raise InputError(f"{len(classes)} class names for {architecture.classes} classes")
        if (preprocessing.channels, preprocessing.size, preprocessing.size) != architecture.input:
            raise InputError(f"preprocessing for {preprocessing.size} pixels, the network reads {architecture.sizes}")
    tensors, ledger = parted(tensors, path)
    network = build(architecture, seed=0)
    checkpoint.fill(network, tensors, path)
    model = TrainedClassifier(architecture, network.to(device).eval(), classes, preprocessing, facts, ledger)
    set_normalisation(network, epsilon=model.bn_epsilon)
    return model


def _class_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(f"classes: {brief(value)} is no list of names")
    if len(set(value)) != len(value):
        raise InputError("classes: a name stands there twice")
    return tuple(value)


__all__ = ["MODEL_FILE", "TrainedClassifier", "load_classifier", "load_trained", "read_classifier", "save_classifier"]
