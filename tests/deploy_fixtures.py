"""Small models to export: classifiers with weights of no meaning or trained for seconds, and language models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from autoshrink.architecture import ImageArchitecture, LanguageModel, proxy_architecture
from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel
from autoshrink.cell import Cell
from autoshrink.data import Preprocessing, Vocabulary, load_proxy
from autoshrink.deploy.exporter import call_of, reference, write_onnx
from autoshrink.deploy.image import Run as ImageRun
from autoshrink.deploy.parity import Parity
from autoshrink.deploy.text import Run
from autoshrink.deploy.text import stepped as by_steps
from autoshrink.networks import build
from autoshrink.training.images import DeviceImages, Normalisation
from model_fixtures import trained_classifier, trained_language_model

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (0, 3)))
DIGITS = proxy_architecture(CELL, shape=(1, 8, 8), stem=8, widths=(8, 12))


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """With BN scales, shifts and statistics that folding cannot take for none."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ):
                assert tensor is not None
                nn.init.uniform_(tensor, low, high, generator=generator)
    return network.eval()


def classifier(architecture: ImageArchitecture, facts: Mapping[str, Any] | None = None) -> TrainedClassifier:
    """One with weights of no meaning that says it was trained on the digits."""
    channels, size, _ = architecture.input
    return trained_classifier(
        architecture,
        shaken(build(architecture, seed=0)),
        tuple(map(str, range(architecture.classes))),
        Preprocessing(channels, size, (0.3,) * channels, (0.4,) * channels),
        {"epoch": 1, "performance": 0.5, "data": {"spec": "digits"}} | dict(facts or {}),
    )


def trained_digits(epochs: int = 8) -> TrainedClassifier:
    """One that tells most digits apart, after a second or two."""
    proxy = load_proxy("digits", train_per_class=100, validation_per_class=20, size=8, seed=0)
    norm = Normalisation.of(proxy.train.images)
    images = DeviceImages(proxy.train.images, proxy.train.labels, norm, torch.device("cpu"))
    network = build(DIGITS, seed=0)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(epochs):
        for indices in torch.split(torch.randperm(len(images), generator=generator), 100):
            pixels, labels = images.batch(indices)
            optimiser.zero_grad()
            torch.autograd.backward(functional.cross_entropy(network(pixels), labels))
            optimiser.step()
    return trained_classifier(
        DIGITS,
        network.eval(),
        proxy.classes,
        Preprocessing(1, 8, norm.mean, norm.std),
        {"epoch": epochs, "performance": 0.9, "data": {"spec": "digits"}},
    )


def vocabulary(size: int) -> Vocabulary:
    """Words w2, w3, … after the two special tokens."""
    return Vocabulary(
        ("<unk>", "<eos>", *(f"w{number}" for number in range(2, size))), (1,) * size, level="word", rule="spaces"
    )


def language(architecture: LanguageModel, spec: str = "pydocs") -> TrainedLanguageModel:
    """One with weights of no meaning, but large enough for logits to differ."""
    network = build(architecture, seed=0, initial_range=0.8)
    for name, parameter in network.named_parameters():
        if name.startswith("core.module"):
            parameter.data *= 3
    nn.init.uniform_(network.decoder_bias, -1, 1, generator=torch.Generator().manual_seed(0))
    known, data = vocabulary(architecture.vocabulary), {"spec": spec, "level": "word", "tokens": "auto"}
    return trained_language_model(architecture, network, known, {"epoch": 1, "data": data})


def token_ids(count: int, size: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Random token ids."""
    return np.random.default_rng(seed).integers(0, size, count)


def export_classifier(model: TrainedClassifier, path: Path, samples: Any, **options: Any) -> Parity:
    """One ONNX file, and how far it is from PyTorch."""
    return write_onnx(model, path, samples, **options)["network"]


def export_language_model(model: TrainedLanguageModel, path: Path, tokens: Any) -> tuple[Parity, Parity]:
    """A step and a loop, and how far they are from PyTorch."""
    found = write_onnx(model, path, tokens)
    return found["step"], found["loop"]


def loop_path(path: Path) -> Path:
    """The loop's place beside a step's."""
    return path.with_suffix(".loop.onnx")


def logits_of(path: Path) -> ImageRun:
    """A file's (n, C, s, s) to (n, classes)."""
    call = call_of(path)
    return lambda images: call(images)[0]


def logits_of_network(network: nn.Module) -> ImageRun:
    """A network's (n, C, s, s) to (n, classes)."""
    call = reference(network)
    return lambda images: call(images)[0]


def stepped(path: Path) -> Run:
    """A step's file, called once a token."""
    return by_steps(call_of(path))


def looped(path: Path) -> Run:
    """A loop's file."""
    call = call_of(path)

    def run(tokens: Any, state: Any) -> tuple[Any, Any]:
        logits, following = call(tokens, state)
        return logits, following

    return run
