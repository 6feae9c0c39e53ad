"""Networks written as plain PyTorch: the same function, readable."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoshrink import zoo
from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    ConvArchitecture,
    ImageArchitecture,
    LanguageModel,
    MobileArchitecture,
    language_model,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.deploy.plain_source import render
from autoshrink.deploy.plain_source.image import ACTIVATIONS
from autoshrink.ops import DEFAULTS
from plain_source_fixtures import (
    classifier,
    complete,
    library,
    loaded,
    parameters,
    random_cell,
    random_language_model,
    vocabulary,
    writer,
)

# The same function


def random_network(seed: int) -> ConvArchitecture:
    """Every seed another activation, odd sizes, pools up to 3, some with a head, some cells empty or with one node."""
    rng = random.Random(seed)
    aggregate = rng.choice(["concat", "sum"])
    stages = [
        {
            "cells": rng.randint(1, 2),
            "width": rng.randint(2, 6),
            "pool": rng.randint(1, 3),
            "cell": random_cell(rng, "conv", rng.randint(1, 5)) if seed % 4 == 3 else None,
            "output": rng.choice([None, 3, 5]) if aggregate == "concat" else None,
        }
        for _ in range(rng.randint(1, 3))
    ]
    size = rng.choice([1, 5, 7, 8, 13])
    value = {
        "format": ARCHITECTURE_FORMAT,
        "kind": "conv",
        "cell": random_cell(rng, "conv", 1 + seed % 8),
        "input": [rng.choice([1, 3]), size, size],
        "classes": rng.randint(2, 5),
        "stem": random_stem(rng),
        "stages": stages,
        "head": {"channels": 7} if rng.random() < 0.5 else None,
        "activation": list(ACTIVATIONS)[seed % len(ACTIVATIONS)],
        "aggregate": aggregate,
    }
    return ConvArchitecture.from_json(value)


def random_stem(rng: random.Random) -> dict[str, Any]:
    """One convolution half the time."""
    stem = {"channels": rng.randint(2, 6), "stride": rng.randint(1, 2)}
    more = {"kernel": rng.choice([1, 5, 7]), "separable": rng.choice([None, 4]), "pool": rng.randint(1, 3)}
    return stem | rng.choice([{}, more])


def random_blocks(seed: int) -> MobileArchitecture:
    rng = random.Random(seed)

    def stage() -> dict[str, Any]:
        block = rng.choice(
            ["inverted", "fused", "basic", "separable"] if seed > 5 else ["inverted", "fused"][seed % 2 :]
        )
        return {
            "block": block,
            "activation": rng.choice([None, "relu", "leaky_relu"]) if seed % 4 == 1 else None,
            "blocks": rng.randint(1, 2),
            "width": rng.randint(2, 4),
            "expansion": rng.choice([1, 1.5, 2, 6]) if block in ("inverted", "fused") else 1,
            "kernel": rng.choice([3, 5, 7]),
            "stride": rng.randint(1, 2),
            "squeeze": rng.choice([None, 0.25, 1.0]) if seed % 2 else None,
            "squeeze_of": rng.choice(["input", "expanded"]),
        }

    value = {
        "format": ARCHITECTURE_FORMAT,
        "kind": "mobile",
        "input": [rng.choice([1, 3]), *[rng.choice([1, 7, 12])] * 2],
        "classes": rng.randint(2, 5),
        "stem": random_stem(rng),
        "stages": [stage() for _ in range(rng.randint(1, 3))],
        "head": {"channels": 7} if rng.random() < 0.5 else None,
        "activation": list(ACTIVATIONS)[seed % len(ACTIVATIONS)],
    }
    return MobileArchitecture.from_json(value)


@pytest.mark.parametrize("make", [random_network, random_blocks])
@pytest.mark.parametrize("seed", range(16))
def test_a_written_image_network_is_ours(make: Callable[[int], ImageArchitecture], seed: int, tmp_path: Path) -> None:
    model = classifier(make(seed), epsilon=1e-5 if seed % 2 else 1e-3)
    network = loaded(render(model), tmp_path).load()
    images = torch.randn(3, *model.architecture.input, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        ours, written = model.network(images), network(images)
    assert (ours - written).abs().max() < 1e-6 * max(1.0, float(ours.abs().max()))
    assert parameters(network) == parameters(model.network) == count(model.architecture).params_with_bn


def test_it_trains_as_ours_does(tmp_path: Path) -> None:
    """A step of SGD in training mode, BN statistics included, leaves both with the same logits."""
    model = classifier(random_network(6))
    network = loaded(render(model), tmp_path).load()
    images = torch.randn(4, *model.architecture.input, generator=torch.Generator().manual_seed(0))
    for one in (model.network, network):
        one.train()
        optimiser = torch.optim.SGD(one.parameters(), lr=0.1)
        loss: torch.Tensor = torch.nn.functional.cross_entropy(one(images), torch.tensor([0, 1, 0, 1]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        one.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images), model.network(images))


LANGUAGE_MODELS = [
    *map(random_language_model, range(14)),
    *(library(k, n) for k in ("lstm", "gru", "mingru") for n in (1, 2)),
]


@pytest.mark.parametrize("architecture", LANGUAGE_MODELS, ids=lambda one: f"{one.kind} {one.cell}")
def test_a_written_language_model_is_ours_at_once_and_step_by_step(architecture: LanguageModel, tmp_path: Path) -> None:
    model = writer(architecture)
    network = loaded(render(model), tmp_path).load()
    tokens = torch.randint(len(model.vocabulary), (9, 3), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, _ = model.network(tokens, model.network.initial_state(3))
        at_once, _ = network(tokens, network.initial_state(3))
        state, steps = network.initial_state(3), []
        for now in tokens:
            logits, state = network.step(now, state)
            steps.append(logits)
    torch.testing.assert_close(at_once, ours, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(torch.stack(steps), ours, atol=1e-6, rtol=1e-6)
    assert parameters(network) == parameters(model.network) == count(model.architecture).params


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shrinkcnn-a", "mobilenetv2-1.0", "mnasnet-a1", "efficientnet-b0"])
def test_published_image_networks_are_written_too(name: str, tmp_path: Path) -> None:
    architecture = zoo.get(name)
    assert isinstance(architecture, ImageArchitecture)
    smaller = architecture.from_json(architecture.to_json() | {"input": [3, 64, 64]})
    model = classifier(smaller)
    network = loaded(render(model), tmp_path).load()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(images), model.network(images), atol=1e-6, rtol=1e-6)
    assert parameters(network) == count(architecture).params_with_bn


@pytest.mark.parametrize("name", ["shrinkrnn", "darts-rnn", "enas-rnn", "rhn"])
def test_published_cells_are_written_too(name: str, tmp_path: Path) -> None:
    architecture = zoo.get(name)
    assert isinstance(architecture, LanguageModel)
    model = writer(language_model(architecture, width=8))
    network = loaded(render(model), tmp_path).load()
    tokens = torch.randint(len(model.vocabulary), (5, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, _ = model.network(tokens, model.network.initial_state(2))
        torch.testing.assert_close(network(tokens, network.initial_state(2))[0], ours, atol=1e-6, rtol=1e-6)


# Readable


def test_the_wiring_reads_as_statements(tmp_path: Path) -> None:
    ops = ("input", "sepconv3x3", "conv1x1", "sepconv3x3", "conv1x1")
    cell = Cell("conv", ops, ((0, 1), (0, 2), (1, 2), (2, 3), (1, 4)))
    text = render(classifier(proxy_architecture(cell, shape=(1, 8, 8), activation="swish"))).texts["model.py"]
    for line in (
        "    (1, 16, 1),",
        "ACTIVATION = nn.SiLU",
        "        self.out_channels = 2 * width",
        "        self.node2 = ConvBN(channels + width, width, ACTIVATION)",
        "        self.node3 = SepConv3x3(width, width, nn.ReLU, nn.Identity)",
        "        x2 = self.node2(torch.cat([x0, x1], dim=1))",
        "        x3 = self.node3(x2)",
        "        output = torch.cat([x3, x4], dim=1)",
    ):
        assert f"\n{line}\n" in text
    recurrent = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2)))
    text = render(writer(recurrent_proxy(recurrent, vocabulary=2, width=5))).texts["model.py"]
    assert "        s1 = highway(s0, self.edge_0_1(s0), torch.tanh)\n" in text
    assert "            + highway(s1, self.edge_1_2(s1), torch.relu)\n        ) / 2\n        return s2\n" in text


@pytest.mark.skipif(shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="ruff is not installed")
def test_ruff_would_change_nothing(tmp_path: Path) -> None:
    """Neither format nor check, over cells from empty to 30 nodes, names of all lengths, every rule of cutting."""
    models: list[TrainedClassifier | TrainedLanguageModel] = [classifier(random_network(seed)) for seed in range(12)]
    models += [classifier(random_blocks(seed)) for seed in range(12)]
    for nodes in (12, 14, 17, 18, 19, 20, 30):
        ops = [DEFAULTS["conv"][n % 2] for n in range(nodes - 1)]
        models.append(classifier(proxy_architecture(complete(ops), widths=(2,), shape=(3, 8, 8))))
        # Every node a leaf.
        star = Cell("conv", ("input", *ops), tuple((0, n) for n in range(1, nodes)))
        models.append(classifier(proxy_architecture(star, widths=(2,), shape=(3, 8, 8)), crop=0.875))
        stars = Cell("recurrent", ("input", *["tanh"] * (nodes - 1)), star.edges)
        models.append(writer(recurrent_proxy(stars, vocabulary=2, width=3)))
    models += map(writer, LANGUAGE_MODELS)
    models += [
        writer(random_language_model(3), vocabulary(rule, lines=lines))
        for rule in ("spaces", "words", "characters")
        for lines in (True, False)
    ]
    tiny = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(1, 8, 8), classes=3)
    models += [classifier(tiny, names=("it's", 'a "b"', "c" * length)) for length in range(50, 70)]
    for number, model in enumerate(models):
        (tmp_path / f"model_{number}.py").write_text(render(model).texts["model.py"], encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    rules = "E,F,W,I,UP,B,C4,SIM,D1,N"
    for command in (["format", "--diff", "--isolated"], ["check", "--isolated", "--select", rules, "--ignore", "D107"]):
        done = subprocess.run([*ruff, *command, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_equal_models_are_written_alike() -> None:
    one, other = (render(writer(random_language_model(5))) for _ in range(2))
    assert one.texts == other.texts
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


NAMES = (
    'quo"te',
    "apo'strophe",
    "both ' and \"",
    "back\\slash",
    "new\nline",
    "Äpfel 苹果",
    "${x} {y} $z",
    "\u200b",
    "x" * 99,
)


def test_class_names_survive_as_they_are(tmp_path: Path) -> None:
    architecture = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(1, 8, 8), classes=len(NAMES))
    assert tuple(loaded(render(classifier(architecture, names=NAMES)), tmp_path).CLASSES) == NAMES


def test_many_classes_have_a_file_of_their_own(tmp_path: Path) -> None:
    architecture = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(1, 8, 8), classes=1000)
    model = classifier(architecture)
    source = render(model)
    assert tuple(loaded(source, tmp_path).CLASSES) == model.classes
    assert "class 500" not in source.texts["model.py"]
    assert len(source.texts["model.py"].splitlines()) < 250
