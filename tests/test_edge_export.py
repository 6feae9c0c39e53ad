"""Programs for phones and small devices: they say what PyTorch says, or are not written."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoshrink import zoo
from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    Architecture,
    ImageArchitecture,
    LanguageModel,
    language_model,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel
from autoshrink.cell import Cell
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.deploy import edge, executorch, litert
from autoshrink.deploy.edge import Array, Call, Prepared, Runtime, card_path
from autoshrink.deploy.image import real_samples
from autoshrink.deploy.parity import Parity
from autoshrink.errors import InputError, RunError
from autoshrink.networks import build
from autoshrink.onnx.export import Named, folded
from model_fixtures import trained_classifier, trained_language_model

Model = TrainedClassifier | TrainedLanguageModel
Export = Callable[..., Parity]


def classifier(architecture: Architecture) -> TrainedClassifier:
    """BN statistics of random images, so that folding matters."""
    assert isinstance(architecture, ImageArchitecture)
    network = build(architecture, seed=0)
    channels, size, _ = architecture.input
    with torch.no_grad():
        network(torch.randn(8, *architecture.input, generator=torch.Generator().manual_seed(0)))
    preprocessing = Preprocessing(channels, size, (0.3,) * channels, (0.4,) * channels)
    classes = tuple(f"class {number}" for number in range(architecture.classes))
    facts = {"epoch": 3, "performance": 0.5, "data": {"spec": "digits"}}
    return trained_classifier(architecture, network.eval(), classes, preprocessing, facts)


def writer(architecture: LanguageModel) -> TrainedLanguageModel:
    words = [f"word{number}" for number in range(20)]
    known = Vocabulary.build([[*words, "<eos>"]], level="word", max_size=None, min_count=1)
    fitting = language_model(architecture, vocabulary=len(known))
    network = build(fitting, seed=0, initial_range=0.5).eval()
    facts = {"epoch": 3, "performance": -2.0, "data": {"spec": "pydocs"}}
    return trained_language_model(fitting, network, known, facts)


def digits() -> TrainedClassifier:
    ops = ("input", "sepconv3x3", "conv1x1", "sepconv3x3")
    cell = Cell("conv", ops, ((0, 1), (0, 2), (1, 2), (1, 3)))
    return classifier(proxy_architecture(cell, shape=(1, 8, 8), widths=(4, 6), activation="swish"))


def blocks() -> TrainedClassifier:
    stage = {"blocks": 2, "width": 6, "expansion": 2, "kernel": 5, "stride": 2, "squeeze": 0.5}
    value = {"format": ARCHITECTURE_FORMAT, "kind": "mobile", "input": [1, 8, 8], "classes": 10, "stages": [stage]}
    return classifier(Architecture.from_json(value | {"stem": {"channels": 4, "stride": 1}, "activation": "hardswish"}))


def step() -> TrainedLanguageModel:
    ops = ("input", "tanh", "relu", "sigmoid", "identity")
    cell = Cell("recurrent", ops, ((0, 1), (0, 2), (1, 2), (2, 3), (1, 4)))
    return writer(recurrent_proxy(cell, vocabulary=2, width=8))


def library(kind: str) -> TrainedLanguageModel:
    value = {"format": ARCHITECTURE_FORMAT, "kind": kind, "vocabulary": 2, "width": 8, "layers": 2}
    return writer(LanguageModel.from_json(value))


MODELS: dict[str, Callable[[], Model]] = {
    "cell": digits,
    "blocks": blocks,
    "recurrent": step,
    "lstm": lambda: library("lstm"),
    "gru": lambda: library("gru"),
}


def samples(model: Model) -> Array:
    """Real digits, and tokens, for which any numbers do."""
    if isinstance(model, TrainedClassifier):
        return real_samples(model, count=8)
    return np.random.default_rng(0).integers(0, len(model.vocabulary), 60)


def torch_runtime() -> Runtime:
    """torch's own exported programs, on disk and back: a runtime that is always there."""

    def convert(network: Prepared) -> bytes:
        buffer = io.BytesIO()
        torch.export.save(torch.export.export(network.module, network.examples), buffer)
        return buffer.getvalue()

    def start(path: Path, _: Prepared) -> Call:
        module = torch.export.load(path).module()

        def call(*inputs: Array) -> tuple[Array, ...]:
            with torch.no_grad():
                results: Any = module(*(torch.from_numpy(np.ascontiguousarray(one)) for one in inputs))
            return tuple(one.numpy() for one in (results if isinstance(results, tuple) else (results,)))

        return call

    return Runtime(name="torch.export", convert=convert, start=start, notes="none")


def by_torch(model: Model, path: Path, inputs: Array, tolerance: float = edge.TOLERANCE) -> Parity:
    return edge.export(model, path, inputs, tolerance, torch_runtime())


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"the optional package {package} is not installed")


RUNTIMES = [
    pytest.param(by_torch, ".pt2", id="torch"),
    pytest.param(executorch.export, ".pte", id="executorch", marks=needs("executorch")),
    pytest.param(litert.export, ".tflite", id="litert", marks=needs("litert_torch")),
]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("export", "suffix"), RUNTIMES)
def test_a_program_says_what_pytorch_says(
    export: Export, suffix: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And leaves nothing else, says nothing on standard output, and tells what it is in the file beside it."""
    model = MODELS[kind]()
    path = tmp_path / f"model{suffix}"
    parity = export(model, path, samples(model))
    assert parity.max_difference < 1e-5
    assert parity.agreement == 1
    assert sorted(tmp_path.iterdir()) == [path, card_path(path)]
    assert not capfd.readouterr().out
    card = json.loads(card_path(path).read_text(encoding="utf-8"))
    assert card["parity"] == json.loads(json.dumps(parity.to_json()))
    assert Architecture.from_json(card["architecture"]) == model.architecture
    names = [one["name"] for one in card["inputs"]]
    if isinstance(model, TrainedClassifier):
        assert parity.samples == 8
        assert tuple(card["classes"]) == model.classes
        assert Preprocessing.from_json(card["preprocessing"]) == model.preprocessing
        assert (names, card["inputs"][0]["shape"]) == (["images"], [1, 1, 8, 8])
        assert card["outputs"] == [{"name": "logits", "shape": [1, 10], "type": "float32"}]
    else:
        assert Vocabulary.from_json(card["vocabulary"]) == model.vocabulary
        assert names == ["tokens", "state"]
        assert card["outputs"][1]["shape"] == card["inputs"][1]["shape"] == list(model.network.initial_state(1).shape)


@pytest.mark.parametrize(("export", "suffix"), RUNTIMES)
def test_what_is_too_far_off_is_not_written(export: Export, suffix: str, tmp_path: Path) -> None:
    model = digits()
    with pytest.raises(InputError, match="does not compute what PyTorch does"):
        export(model, tmp_path / f"model{suffix}", samples(model), 1e-12)
    assert not list(tmp_path.iterdir())


def test_a_program_of_another_network_is_not_written(tmp_path: Path) -> None:
    """An old file stays as it was."""
    model, path = digits(), tmp_path / "model.pt2"
    path.write_text("what was there")
    right = torch_runtime()

    def of_another(network: Prepared) -> bytes:
        other = digits().network
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.01)
        return right.convert(replace(network, module=folded(other)))

    with pytest.raises(InputError, match="not written"):
        edge.export(model, path, samples(model), 1e-4, replace(right, convert=of_another))
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_and_data_that_is_not_there(tmp_path: Path) -> None:
    model = digits()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match="cannot be written"):
        by_torch(model, tmp_path / "file" / "model.pt2", samples(model))
    with pytest.raises(InputError, match="not one real sample"):
        by_torch(model, tmp_path / "model.pt2", samples(model)[:0])
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(
    ("export", "package", "line"),
    [
        (executorch.export, "executorch", r"pip install 'autoshrink\[executorch\]'"),
        (litert.export, "litert_torch", r"pip install 'autoshrink\[litert\]'"),
    ],
    ids=["executorch", "litert"],
)
def test_a_missing_package_is_named_with_the_way_out(
    export: Export, package: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    model = digits()
    with pytest.raises(InputError, match=line):
        export(model, tmp_path / "model", samples(model))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", MODELS)
def test_names_of_inputs_are_taken_over(kind: str) -> None:
    """As LiteRT's converter does it: by keyword, through torch.export."""
    model = edge.prepared(MODELS[kind]())
    with torch.no_grad():
        program = torch.export.export(Named(model.module).eval(), (), dict(model.inputs))
        found, expected = program.module()(**model.inputs), model.module(*model.examples)
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("export", "suffix"), RUNTIMES[1:])
def test_shrinkcnn_a_at_its_full_size(export: Export, suffix: str, tmp_path: Path) -> None:
    model = classifier(zoo.get("shrinkcnn-a"))
    images = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    path = tmp_path / f"model{suffix}"
    parity = export(model, path, images)
    print(f"{path.name}: {path.stat().st_size:,} bytes, {parity}")  # docs/edge.md quotes it; see with pytest -s
    assert parity.max_difference < 1e-4 * max(1.0, parity.largest)
    assert path.stat().st_size < 1.1 * 4 * 3_636_301
