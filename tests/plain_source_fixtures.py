"""Models with weights of no meaning to write as plain source, and what was written as a module."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    ImageArchitecture,
    LanguageModel,
    language_model,
    recurrent_proxy,
)
from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel
from autoshrink.cell import Cell
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.data.tokenising import Level, Rule
from autoshrink.deploy.plain_source import PlainSource
from autoshrink.networks import build, set_normalisation
from autoshrink.ops import names
from autoshrink.priors import complete_edges
from deploy_fixtures import shaken
from model_fixtures import trained_classifier, trained_language_model

WORDS = ["the", "cat", "dog", "sees", "likes", "milk", "bones", ".", ",", "don't", "1,000", "(", ")"]


def random_cell(rng: random.Random, kind: str, nodes: int) -> Cell:
    pairs = [(i, j) for j in range(1, nodes) for i in range(j)]
    ops = ("input", *(rng.choice(names(kind)) for _ in range(nodes - 1)))
    return Cell(kind, ops, tuple(pair for pair in pairs if rng.random() < 0.6))


def complete(ops: list[str]) -> Cell:
    return Cell("conv", ("input", *ops), complete_edges(len(ops) + 1))


def classifier(
    architecture: ImageArchitecture, *, names: tuple[str, ...] | None = None, crop: float = 1.0, epsilon: float = 1e-5
) -> TrainedClassifier:
    """Weights and BN statistics at random, as far from their initial values as a trained network's are."""
    network = build(architecture, seed=0)
    set_normalisation(network, epsilon=epsilon)
    channels, size, _ = architecture.input
    preprocessing = Preprocessing(channels, size, (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels], crop)
    classes = names or tuple(f"class {number}" for number in range(architecture.classes))
    facts = {"epoch": 3, "performance": 0.5, "data": {"spec": "digits"}, "bn_epsilon": epsilon}
    return trained_classifier(architecture, shaken(network), classes, preprocessing, facts)


def vocabulary(rule: Rule = "words", *, lines: bool = True) -> Vocabulary:
    level: Level = "char" if rule == "characters" else "word"
    tokens = list("abc de.,(") if rule == "characters" else WORDS
    return Vocabulary.build(
        [[*tokens, *(["<eos>"] if lines else [])]], level=level, max_size=None, min_count=1, rule=rule
    )


def writer(architecture: LanguageModel, known: Vocabulary | None = None) -> TrainedLanguageModel:
    known = known or vocabulary()
    fitting = language_model(architecture, vocabulary=len(known))
    network = build(fitting, seed=0, initial_range=0.5).eval()
    torch.nn.init.normal_(network.decoder_bias, generator=torch.Generator().manual_seed(2))
    return trained_language_model(
        fitting, network, known, {"epoch": 3, "performance": -2.0, "data": {"spec": "a corpus"}}
    )


def loaded(source: PlainSource, folder: Path) -> Any:
    """The written module, imported here; whether it needs autoshrink is for the tests of `write`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in source.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    save_file(dict(source.tensors), folder / "model.safetensors")
    spec = importlib.util.spec_from_file_location("written_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def random_language_model(seed: int) -> LanguageModel:
    rng = random.Random(seed)
    cell = random_cell(rng, "recurrent", 1 + seed % 7)
    architecture = recurrent_proxy(cell, vocabulary=2, width=5, aggregate=rng.choice(["mean", "sum"]))
    if seed % 3 == 0 and len(cell.reachable) > 2:
        chosen = sorted(rng.sample(cell.reachable[1:], 2))
        return architecture.from_json(architecture.to_json() | {"output": chosen})
    return architecture


def library(kind: str, layers: int) -> LanguageModel:
    value = {"format": ARCHITECTURE_FORMAT, "kind": kind, "vocabulary": 2, "width": 5, "layers": layers}
    return LanguageModel.from_json(value)
