"""Exported classifiers compute what PyTorch does, in one file, for any batch; what does not is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoshrink import zoo
from autoshrink.architecture import (
    Architecture,
    ConvArchitecture,
    ImageArchitecture,
    LibraryArchitecture,
    proxy_architecture,
)
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.data import open_images
from autoshrink.data.carving import Ledger, content_digests
from autoshrink.deploy import exporter
from autoshrink.deploy.card import Card, read_card, write_model
from autoshrink.deploy.image import real_samples
from autoshrink.deploy.parity import Parity, compare
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.networks import build
from autoshrink.onnx.export import folded
from autoshrink.onnx.session import open_session
from autoshrink.onnx.untrained import architecture_to_onnx
from deploy_fixtures import CELL, DIGITS, classifier, export_classifier, logits_of, shaken

pytestmark = pytest.mark.usefixtures("graphs_once")


@st.composite
def architectures(draw: st.DrawFn) -> ConvArchitecture:
    """Small ones: any wiring of four nodes, any activation, odd sizes, pooling or none, head or none."""
    pairs = [(i, j) for j in range(1, 4) for i in range(j)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1).map(sorted))
    ops = draw(st.tuples(*[st.sampled_from(("conv1x1", "sepconv3x3"))] * 3))
    value = proxy_architecture(
        Cell("conv", ("input", *ops), tuple(edges)),
        shape=(draw(st.sampled_from((1, 3))), 9, 9),
        classes=3,
        stem=4,
        widths=(3, 5),
        activation=draw(st.sampled_from(("relu", "swish", "hardswish", "relu6", "gelu", "leaky_relu"))),
    ).to_json()
    value["head"] = draw(st.sampled_from((None, {"channels": 6})))
    value["stem"]["stride"] = draw(st.sampled_from((1, 2)))
    return ConvArchitecture.from_json(value)


@settings(max_examples=25, deadline=None)
@given(architectures(), st.integers(0, 9))
def test_folding_changes_nothing_but_the_layers(architecture: ConvArchitecture, seed: int) -> None:
    network = shaken(build(architecture, seed=seed), seed)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    twin = folded(network)
    images = torch.randn(2, *architecture.input, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        torch.testing.assert_close(twin(images), network(images), atol=1e-5, rtol=1e-5)
    assert not [module for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_folding_knows_the_zoos_mobile_networks() -> None:
    value = zoo.get("mnasnet-a1").to_json() | {"input": [3, 32, 32], "classes": 4}
    architecture = Architecture.from_json(value)
    network = shaken(build(architecture, seed=0))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    twin = folded(network)
    with torch.no_grad():
        torch.testing.assert_close(twin(images), network(images), atol=1e-4, rtol=1e-4)
    assert not [module for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]


BLOCKS = {
    "format": "autoshrink.architecture/1",
    "kind": "mobile",
    "input": [3, 9, 9],
    "classes": 4,
    "stem": {"channels": 4, "stride": 1},
    "stages": [
        {"width": 4, "block": "basic"},
        {"width": 6, "block": "basic", "stride": 2, "squeeze": 0.5},
        {"width": 6, "block": "fused", "expansion": 1},
        {"width": 6, "block": "fused", "expansion": 1.5, "activation": "hardswish"},
        {"width": 8, "block": "separable", "kernel": 5},
    ],
}


def varied(**changes: Any) -> ImageArchitecture:
    base = proxy_architecture(CELL, shape=(1, 8, 8), classes=4, stem=4, widths=(3, 5)).to_json()
    return ImageArchitecture.from_json(base | changes)


@pytest.mark.parametrize(
    "architecture",
    [
        varied(),
        varied(activation="hardswish", head={"channels": 6}),
        varied(activation="swish", stem={"channels": 4, "stride": 2}, input=[3, 9, 9]),
        ImageArchitecture.from_json(BLOCKS),
    ],
    ids=["relu", "hardswish and head", "swish, odd size", "every block"],
)
def test_any_batch_gives_what_pytorch_gives(architecture: ImageArchitecture, tmp_path: Path) -> None:
    model = classifier(architecture)
    samples = np.random.default_rng(0).standard_normal((6, *architecture.input)).astype(np.float32)
    parity = export_classifier(model, tmp_path / "model.onnx", samples)
    assert parity.passes(1e-5)
    assert parity.samples == 6
    assert [shape[0] for shape in parity.shapes] == [1, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    run = logits_of(tmp_path / "model.onnx")
    for batch in (samples[:1], samples[:4], np.repeat(samples, 7, axis=0)):
        with torch.no_grad():
            expected = model.network(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(run(batch), expected, atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    model = classifier(DIGITS, {"remark": "é ∅"})
    export_classifier(model, path, real_samples(model, count=8))
    return path


def test_the_file_says_all_that_is_needed_to_use_it(exported: Path) -> None:
    model = classifier(DIGITS, {"remark": "é ∅"})
    card = read_card(open_session(exported), exported)
    assert card == Card.of(model)
    assert card.interface == model.interface
    assert card.architecture == DIGITS
    assert (card.params, card.macs) == (count(DIGITS).params, count(DIGITS).macs)
    assert card.facts.data.spec == "digits"
    assert (card.task, card.quantisation, card.torch) == ("image", None, torch.__version__)


def test_the_file_is_valid_folded_and_tells_nothing_of_this_machine(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, [one.dim_value for one in shape[1:]]) == ("batch", [1, 8, 8])
    text = exported.read_bytes()
    assert b".py" not in text
    assert b"stack_trace" not in text


def test_the_exporter_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    model = classifier(varied(classes=5))  # that no other test exports
    export_classifier(model, tmp_path / "model.onnx", np.zeros((3, 1, 8, 8), dtype=np.float32))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_newer_opset_can_be_asked_for_an_older_one_cannot(tmp_path: Path) -> None:
    model = classifier(varied())
    samples = np.zeros((3, 1, 8, 8), dtype=np.float32)
    export_classifier(model, tmp_path / "model.onnx", samples, opset=20)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 20
    with pytest.raises(InputError, match="opset 17"):
        export_classifier(model, tmp_path / "old.onnx", samples, opset=17)


def tampering(change: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file be written with one weight changed."""
    honest = write_model

    def write(model: Any, path: Path, card: Any) -> None:
        tensor = next(one for one in model.graph.initializer if "classifier.weight" in one.name)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[0, 0] += change
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        honest(model, path, card)

    monkeypatch.setattr(exporter, "write_model", write)


@pytest.mark.parametrize("change", [0.1, float("nan")])
def test_a_file_that_computes_something_else_is_refused(
    change: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampering(change, monkeypatch)
    model, path = classifier(varied()), tmp_path / "model.onnx"
    path.write_text("what stood there before")
    with pytest.raises(InputError, match="not written, for it does not compute what PyTorch does"):
        export_classifier(model, path, real_samples(model, count=8))
    assert [one.read_text() for one in tmp_path.iterdir()] == ["what stood there before"]


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = classifier(varied())
    with pytest.raises(RunError, match="cannot be written"):
        export_classifier(model, tmp_path / "file" / "model.onnx", np.zeros((3, 1, 8, 8), dtype=np.float32))


def test_real_samples_are_training_images_normalised() -> None:
    model = classifier(DIGITS)
    some, again = real_samples(model, count=9), real_samples(model, count=9)
    assert (some.shape, some.dtype.name) == ((9, 1, 8, 8), "float32")
    np.testing.assert_array_equal(some, again)
    assert not np.array_equal(some, real_samples(model, count=9, seed=1))
    pixels = (some * 0.4 + 0.3) * 255
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-3)
    assert len(np.unique(pixels)) > 5
    with pytest.raises(DataError, match="nowhere"):
        real_samples(model, data="nowhere/at/all")
    with pytest.raises(InputError, match="--data"):
        real_samples(classifier(DIGITS, {"data": {}}))


def test_what_a_training_kept_back_is_no_sample() -> None:
    model, source = classifier(DIGITS), open_images("digits", split="train")
    everything = np.arange(len(source.labels))
    digests = content_digests(source, everything)
    kept = np.unique(digests)[::2]
    held = replace(model, ledger=Ledger.of(np.setdiff1d(digests, kept), kept))
    found = real_samples(held, count=10_000)
    learned = everything[~np.isin(digests, kept)]
    assert len(found) == len(learned) < len(real_samples(model, count=10_000)) == len(everything)
    images = np.stack([model.preprocessing.pixels(payload) for _, payload in source.payloads(learned)])
    np.testing.assert_array_equal(found, model.preprocessing.normalised(images))


def test_parity_by_hand() -> None:
    reference = np.array([[1.0, 0.0], [0.0, 2.0]])
    parity = compare([((2, 3), reference, np.array([[1.0, 0.25], [2.5, 2.0]]))])
    assert parity == Parity(2.5, 0.5, 2, ((2, 3),), 2.0)
    assert parity.passes(1.25)
    assert not parity.passes(1.24)
    assert not Parity(float("nan"), 1, 1, ((1,),)).passes(1e9)
    with pytest.raises(RunError, match="turns"):
        compare([((2, 3), reference, reference[:1])])


@pytest.mark.parametrize(
    "architecture", [varied(), LibraryArchitecture(kind="gru", vocabulary=7, width=4)], ids=["image", "text"]
)
def test_untrained_networks_for_latencies(architecture: Architecture, tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.onnx"
    architecture_to_onnx(architecture, path, seed=3)
    session = open_session(path)
    inputs = {one.name: one.shape for one in session.get_inputs()}
    if isinstance(architecture, ImageArchitecture):
        assert inputs == {"images": ["batch", 1, 8, 8]}
        images = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
        expected = build(architecture, seed=3).eval()(torch.from_numpy(images)).detach().numpy()
        np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, atol=1e-5)
    else:
        assert inputs == {"tokens": ["batch"], "state": [1, "batch", 4]}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_way_to_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'autoshrink\[onnx\]'"):
        export_classifier(
            classifier(varied(classes=6)), tmp_path / "model.onnx", np.zeros((3, 1, 8, 8), dtype=np.float32)
        )
    assert not list(tmp_path.iterdir())
