"""A trained language model as a file: weights, architecture, vocabulary and where it came from, in one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoshrink.architecture import Architecture, LanguageModel
from autoshrink.config import CorpusData
from autoshrink.data import Vocabulary
from autoshrink.errors import InputError
from autoshrink.networks import LanguageNetwork, build
from autoshrink.training import checkpoint

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class TrainedModel:
    """A language model with what it needs to be used.

    Attributes:
        architecture: its network.
        network: the weights of its best epoch.
        vocabulary: its tokens.
        facts: `epoch` (from 1) and `performance` (−ln validation perplexity) of the weights, `data` (what it was
            trained on: spec, level, name).
    """

    architecture: LanguageModel
    network: LanguageNetwork
    vocabulary: Vocabulary
    facts: Mapping[str, Any]


def save_model(path: Path, model: TrainedModel) -> None:
    """Write a model.

    Raises:
        RunError: the file cannot be written.
    """
    facts = dict(model.facts) | {
        "architecture": model.architecture.to_json(),
        "vocabulary": model.vocabulary.to_json(),
    }
    checkpoint.save(path, model.network.state_dict(), facts)


def load_model(folder: Path, *, device: torch.device | None = None) -> TrainedModel:
    """The model in a folder that a training left, or in a `model.safetensors` file.

    Raises:
        InputError: there is none, or it is damaged; the message names the file.
    """
    path = model_path(folder)
    tensors, facts = checkpoint.load(path)
    with checkpoint.understood(path):
        architecture = Architecture.from_json(facts.pop("architecture"))
    return trained_model(path, architecture, tensors, facts, device or torch.device("cpu"))


def model_path(folder: Path) -> Path:
    """The model file in a folder that a training left, or the file itself.

    Raises:
        InputError: there is none.
    """
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder")
    path = folder / MODEL_FILE if folder.is_dir() else folder
    if not path.exists():
        raise InputError(f"{folder}: holds no {MODEL_FILE}; `autoshrink train` makes one")
    return path


def trained_model(
    path: Path, architecture: Architecture, tensors: Mapping[str, Tensor], facts: dict[str, Any], device: torch.device
) -> TrainedModel:
    """A language model from what its file holds.

    Raises:
        InputError: it is no language model, or the file is damaged.
    """
    if not isinstance(architecture, LanguageModel):
        raise InputError(f"{path}: holds a {architecture.kind} network, and this needs a language model")
    with checkpoint.understood(path):
        vocabulary = Vocabulary.from_json(facts.pop("vocabulary"))
        CorpusData.model_validate(facts["data"])
        checkpoint.ModelFacts.model_validate(facts)
    network = build(architecture, seed=0)
    checkpoint.fill(network, tensors, path)
    return TrainedModel(architecture, network.to(device), vocabulary, facts)
