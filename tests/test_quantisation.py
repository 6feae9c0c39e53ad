"""int8: smaller, nearly as good, calibrated on what it is given, and its cost measured rightly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from autoshrink.architecture import LibraryArchitecture, recurrent_proxy
from autoshrink.bundle import TrainedClassifier
from autoshrink.cell import Cell
from autoshrink.data import load_split
from autoshrink.deploy.card import read_card
from autoshrink.deploy.image import accuracies, real_samples
from autoshrink.deploy.quantisation import METHODS, int8_path, left_in_float, quantise_classifier, quantise_step
from autoshrink.deploy.text import perplexities
from autoshrink.errors import DataError, InputError
from autoshrink.onnx.session import open_session
from deploy_fixtures import (
    export_classifier,
    export_language_model,
    language,
    logits_of,
    logits_of_network,
    loop_path,
    stepped,
    token_ids,
    trained_digits,
)


@dataclass(frozen=True)
class Digits:
    model: TrainedClassifier
    path: Path
    int8: Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    model, path = trained_digits(), tmp_path_factory.mktemp("digits") / "model.onnx"
    export_classifier(model, path, real_samples(model, count=8))
    return Digits(model, path, quantise_classifier(path, real_samples(model, count=64, seed=1)))


def measured(digits: Digits, **files: Path) -> Any:
    runs = {"pytorch": logits_of_network(digits.model.network)} | {
        name: logits_of(path) for name, path in files.items()
    }
    model = digits.model
    return accuracies(runs, data="digits", classes=model.classes, preprocessing=model.preprocessing)


def test_int8_is_smaller_and_nearly_as_good(digits: Digits) -> None:
    assert digits.int8 == int8_path(digits.path) == digits.path.with_name("model.int8.onnx")
    assert digits.int8.stat().st_size < digits.path.stat().st_size
    found = measured(digits, onnx=digits.path, int8=digits.int8)
    assert found.values["pytorch"] > 0.85
    assert found.values["onnx"] == found.values["pytorch"]
    assert abs(found.values["pytorch"] - found.values["int8"]) < 0.03
    assert found.agreement["pytorch"] == found.agreement["onnx"] == 1
    assert found.agreement["int8"] > 0.9


def test_accuracy_is_the_share_that_is_right_of_the_whole_test_split(digits: Digits) -> None:
    model, split = digits.model, load_split("digits", "test", size=8, channels=1).data
    with torch.no_grad():
        guesses = model.network(torch.from_numpy(model.preprocessing.normalised(split.images))).argmax(1).numpy()
    found = measured(digits)
    assert (found.samples, found.data) == (len(split), "digits, test split")
    assert found.values["pytorch"] == pytest.approx((guesses == split.labels).mean())


def test_the_metadata_is_kept_and_says_how_it_was_quantised(digits: Digits) -> None:
    card = read_card(open_session(digits.path), digits.path)
    smaller = read_card(open_session(digits.int8), digits.int8)
    assert smaller.quantisation == {"weights": "int8", "activations": "uint8", "calibration": "minmax", "images": 64}
    assert (smaller.interface, smaller.facts) == (card.interface, card.facts)


def test_weights_are_int8_one_scale_a_channel_and_hardly_anything_is_left_in_float(digits: Digits) -> None:
    graph = onnx.load(digits.int8).graph
    kinds = [tensor for tensor in graph.initializer if len(tensor.dims) == 4]
    assert kinds
    assert {tensor.data_type for tensor in kinds} == {onnx.TensorProto.INT8}
    scales = [tensor for tensor in graph.initializer if list(tensor.dims) == [kinds[0].dims[0]]]
    assert any(tensor.data_type == onnx.TensorProto.FLOAT for tensor in scales)
    assert left_in_float(digits.int8) == ("ReduceMean",)
    assert {"ReduceMean", "Gemm"} < set(left_in_float(digits.path))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "minmax"])
def test_the_other_calibrations_work_too(method: Any, digits: Digits, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(digits.path.read_bytes())
    int8 = quantise_classifier(path, real_samples(digits.model, count=40, seed=1), method=method)
    assert measured(digits, int8=int8).agreement["int8"] > 0.9
    assert int8.read_bytes() != digits.int8.read_bytes()


def test_calibration_on_nothing_real_shows(digits: Digits, tmp_path: Path) -> None:
    """Proves that the images given decide the ranges: on grey ones they are useless."""
    path = tmp_path / "model.onnx"
    path.write_bytes(digits.path.read_bytes())
    int8 = quantise_classifier(path, np.full((16, 1, 8, 8), 0.01, dtype=np.float32))
    values = measured(digits, int8=int8).values
    assert values["pytorch"] - values["int8"] > 0.2


def test_what_cannot_be_quantised_or_measured_is_refused(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="minmax, percentile, entropy"):
        quantise_classifier(digits.path, np.zeros((1, 1, 8, 8), dtype=np.float32), method="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such file"):
        quantise_classifier(tmp_path / "none.onnx", np.zeros((1, 1, 8, 8), dtype=np.float32))
    preprocessing = digits.model.preprocessing
    with pytest.raises(DataError, match="classes are not those"):
        accuracies({}, data="digits", classes=("cat", "dog"), preprocessing=preprocessing)


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step whose embedding is most of it."""
    path = tmp_path_factory.mktemp("language") / "model.onnx"
    model = language(LibraryArchitecture(kind="gru", vocabulary=300, width=16))
    export_language_model(model, path, token_ids(40, 300))
    quantise_step(path)
    return path


def test_a_language_models_int8_is_smaller_and_holds_its_embedding_once(step: Path) -> None:
    int8 = int8_path(step)
    assert read_card(open_session(int8), int8).quantisation == {
        "weights": "uint8",
        "activations": "uint8",
        "calibration": "dynamic",
    }
    sizes = [math.prod(tensor.dims) for tensor in onnx.load(int8).graph.initializer]
    assert sizes.count(300 * 16) == 1
    assert 4 * int8.stat().st_size < 2 * step.stat().st_size


def test_a_language_models_int8_says_nearly_the_same(step: Path) -> None:
    tokens = token_ids(60, 300, seed=1).reshape(20, 3)
    state = np.zeros((1, 3, 16), dtype=np.float32)
    (exact, _), (rough, _) = (stepped(path)(tokens, state) for path in (step, int8_path(step)))
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


def test_a_cell_and_a_bias_of_zeros_are_no_hindrance(tmp_path: Path) -> None:
    """torch's exporter leaves such a bias out."""
    model = language(recurrent_proxy(Cell("recurrent", ("input", "tanh"), ((0, 1),)), vocabulary=12, width=4))
    torch.nn.init.zeros_(model.network.decoder_bias)
    export_language_model(model, tmp_path / "model.onnx", token_ids(40, 12))
    tokens, state = token_ids(8, 12).reshape(4, 2), np.zeros((1, 2, 4), dtype=np.float32)
    exact, _ = stepped(tmp_path / "model.onnx")(tokens, state)
    rough, _ = stepped(quantise_step(tmp_path / "model.onnx"))(tokens, state)
    assert 0 < np.abs(exact - rough).max() < 0.1 * np.abs(exact).max()


def test_perplexity_by_hand(step: Path, tmp_path: Path) -> None:
    """Three streams of a text: each token but a stream's first is predicted from those before it in its stream."""
    words = [f"w{number}" for number in token_ids(3000, 298, seed=2) + 2]
    (tmp_path / "train.txt").write_text("\n".join(" ".join(words[i : i + 10]) for i in range(0, 2000, 10)))
    (tmp_path / "valid.txt").write_text("w2 w3")
    (tmp_path / "test.txt").write_text(" ".join(words[2000:2005]))
    found = perplexities({"onnx": step, "int8": int8_path(step)}, data=str(tmp_path), rule="spaces")
    ids = np.array([int(word[1:]) for word in words[2000:2005]] + [1])
    laid = ids.reshape(2, 3, order="F")
    logits, _ = stepped(step)(laid, np.zeros((1, 3, 16), dtype=np.float32))
    chances = torch.log_softmax(torch.from_numpy(logits).double(), dim=2).numpy()
    losses = [-chances[0, stream, laid[1, stream]] for stream in range(3)]
    assert (found.samples, found.data) == (3, f"{tmp_path}, test split")
    assert found.values["onnx"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert found.values["int8"] == pytest.approx(found.values["onnx"], rel=0.1)


def test_a_loop_and_a_classifier_have_no_int8_step(step: Path, digits: Digits) -> None:
    for path in (loop_path(step), digits.path):
        with pytest.raises(InputError, match="int8 is for a language model's step"):
            quantise_step(path)
