"""Exported language models: a step, and a loop of any length, that compute what PyTorch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from autoshrink.architecture import Architecture, LanguageModel, LibraryArchitecture, RecurrentArchitecture
from autoshrink.bundle import TrainedLanguageModel
from autoshrink.cell import Cell
from autoshrink.deploy import exporter
from autoshrink.deploy.card import Card, read_card, write_model
from autoshrink.deploy.exporter import exporter_of
from autoshrink.deploy.text import Run
from autoshrink.errors import DataError, InputError
from autoshrink.onnx.session import open_session
from deploy_fixtures import export_language_model, language, loop_path, looped, stepped, token_ids

pytestmark = pytest.mark.usefixtures("graphs_once")
WORDS = 11
CELL = Cell("recurrent", ("input", "relu", "sigmoid", "identity", "tanh"), ((0, 1), (0, 2), (1, 2), (2, 3), (0, 4)))


def recurrent(cell: Cell, **changes: Any) -> RecurrentArchitecture:
    value = {"format": "autoshrink.architecture/1", "kind": "recurrent", "cell": cell.to_json()}
    found = Architecture.from_json(value | {"vocabulary": WORDS, "width": 4} | changes)
    assert isinstance(found, RecurrentArchitecture)
    return found


KINDS: dict[str, LanguageModel] = {
    "mean": recurrent(CELL),
    "sum of named nodes": recurrent(CELL, aggregate="sum", output=[1, 2, 4]),
    "empty cell": recurrent(Cell("recurrent", ("input", "relu"), ())),
    "lstm": LibraryArchitecture(kind="lstm", layers=2, vocabulary=WORDS, width=4),
    "mingru": LibraryArchitecture(kind="mingru", layers=2, vocabulary=WORDS, width=4),
    "gru": LibraryArchitecture(kind="gru", layers=2, vocabulary=WORDS, width=4),
}


@pytest.fixture(scope="module", params=KINDS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainedLanguageModel, Path]:
    model, path = language(KINDS[request.param]), tmp_path_factory.mktemp("exported") / "model.onnx"
    parities = export_language_model(model, path, token_ids(40, WORDS))
    assert all(parity.passes(1e-5) for parity in parities)
    return model, path


def torchs(model: TrainedLanguageModel, tokens: np.ndarray[Any, Any], state: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    with torch.no_grad():
        logits, following = model.network(torch.from_numpy(tokens), torch.from_numpy(state))
    return logits.numpy(), following.numpy()


@pytest.mark.parametrize(("steps", "streams"), [(1, 1), (9, 4), (17, 1)])
def test_logits_and_state_are_pytorchs_at_lengths_never_exported(
    exported: tuple[TrainedLanguageModel, Path], steps: int, streams: int
) -> None:
    model, path = exported
    tokens = token_ids(steps * streams, WORDS, seed=1).reshape(steps, streams)
    layers = model.network.core.layers
    state = np.random.default_rng(2).standard_normal((layers, streams, 4)).astype(np.float32)
    expected = torchs(model, tokens, state)
    assert np.ptp(expected[0]) > 0.5
    for run in (stepped(path), looped(loop_path(path))):
        for found, wanted in zip(run(tokens, state), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_chunk_goes_on_where_the_one_before_ended(exported: tuple[TrainedLanguageModel, Path]) -> None:
    model, path = exported
    tokens = token_ids(12 * 2, WORDS, seed=3).reshape(12, 2)
    state = model.network.initial_state(2).numpy()
    runs: tuple[Run, Run] = (stepped(path), looped(loop_path(path)))
    for run in runs:
        whole, _ = run(tokens, state)
        first, carried = run(tokens[:7], state)
        second, _ = run(tokens[7:], carried)
        np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-6)
        assert not np.allclose(run(tokens[7:], state)[0], second, atol=1e-4)


def test_both_files_say_what_they_are_and_are_valid(exported: tuple[TrainedLanguageModel, Path]) -> None:
    model, path = exported
    assert sorted(one.name for one in path.parent.iterdir()) == ["model.loop.onnx", "model.onnx"]
    for file, part in ((path, "step"), (loop_path(path), "loop")):
        card = read_card(open_session(file), file)
        assert card == Card.of(model, part)
        assert (card.task, card.part, card.interface) == ("text", part, model.interface)
        onnx.checker.check_model(onnx.load(file), full_check=True)
        assert b".py" not in file.read_bytes()
    operations = {node.op_type for node in onnx.load(path).graph.node}
    assert operations <= {
        *("Gather", "Concat", "MatMul", "Split", "Sigmoid", "Tanh", "Relu", "Sub", "Mul", "Add", "Unsqueeze"),
        *("ReduceSum", "ReduceMean", "Div", "Gemm", "Squeeze", "Reshape", "Identity"),
    }


@pytest.mark.parametrize("part", ["step", "loop"])
def test_a_wrong_file_is_refused_with_its_sibling(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = write_model

    def write(proto: Any, path: Path, card: Any) -> None:
        if card.part == part:
            tensor = next(one for one in proto.graph.initializer if "input_weight" in one.name)
            values = onnx.numpy_helper.to_array(tensor) + np.float32(0.05)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        honest(proto, path, card)

    monkeypatch.setattr(exporter, "write_model", write)
    with pytest.raises(InputError, match="does not compute what PyTorch does"):
        export_language_model(language(KINDS["empty cell"]), tmp_path / "model.onnx", token_ids(40, WORDS))
    assert not list(tmp_path.iterdir())


def test_a_loop_that_forgets_its_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state carried over is part of the check: from zeros alone this file would be right."""
    honest = exporter.call_of

    def forgetful(path: Path) -> exporter.Call:
        call = honest(path)
        return (lambda tokens, state: call(tokens, np.zeros_like(state))) if ".loop" in path.name else call

    monkeypatch.setattr(exporter, "call_of", forgetful)
    with pytest.raises(InputError, match=r"loop\.onnx: not written"):
        export_language_model(language(KINDS["empty cell"]), tmp_path / "model.onnx", token_ids(40, WORDS))


def test_it_is_compared_on_real_text(tmp_path: Path) -> None:
    model = language(KINDS["empty cell"])
    tokens = exporter_of(model.architecture).real(model, None, 40)
    assert (tokens.shape, tokens.dtype.name) == ((40,), "int64")
    assert tokens.max() < WORDS
    with pytest.raises(DataError, match="at least 36"):
        export_language_model(model, tmp_path / "model.onnx", tokens[:35])
