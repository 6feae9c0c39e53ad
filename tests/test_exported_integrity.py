"""Exported files that are not what was exported: damaged, rewritten, of another network, foreign."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner, Result

from autoshrink.architecture import LibraryArchitecture
from autoshrink.bundle import load
from autoshrink.cli.app import app
from autoshrink.cost import count
from autoshrink.deploy.card import checksum_of, open_card, write_model
from autoshrink.deploy.exporter import call_of, exporter_of
from autoshrink.deploy.image import real_samples
from autoshrink.deploy.quantisation import quantise_classifier, quantise_step
from autoshrink.errors import InputError
from deploy_fixtures import DIGITS, classifier, export_classifier, export_language_model, language, loop_path, token_ids

pytestmark = pytest.mark.usefixtures("graphs_once")
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    model = classifier(DIGITS)
    samples = real_samples(model, count=4)
    export_classifier(model, path, samples)
    quantise_classifier(path, samples)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.full((9, 9, 3), 200, dtype=np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def rewritten(path: Path, out: Path, change: Any) -> Path:
    """The file as another tool writes it, after a change, with its checksum taken anew."""
    _, card = open_card(path)
    model = onnx.load(path)
    del model.metadata_props[:]
    card = change(model, card) or card
    write_model(model, out, card)
    return out


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_no_flipped_bit_is_silent(exported: Path, tmp_path: Path, name: str) -> None:
    content = exported.with_name(name).read_bytes()
    flipped, draw = tmp_path / "flipped.onnx", np.random.default_rng(0)
    for place in draw.integers(0, len(content), 60).tolist():
        flipped.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << int(draw.integers(8)))]) + content[place + 1 :]
        )
        assert checksum_of(flipped) is not True


def test_damage_is_refused_with_the_ways_out(exported: Path, photo: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
    weights.raw_data = bytes(len(weights.raw_data))
    onnx.save(model, tmp_path / "changed.onnx")
    for command in (("predict", tmp_path / "changed.onnx", photo), ("evaluate", tmp_path / "changed.onnx")):
        done = run(*command)
        assert isinstance(done.exception, InputError)
        assert "changed.onnx: its content is not what was exported (checksum)" in str(done.exception)
        assert "--unchecked" in str(done.exception)
    trusted = run("predict", tmp_path / "changed.onnx", photo, "--unchecked", "--json")
    assert trusted.exit_code == 0
    timed = run("latency", tmp_path / "changed.onnx", "--rounds", "1")
    assert timed.exit_code == 0
    assert "another tool rewrote it, or it is damaged" in timed.stderr


def test_an_older_file_is_read_and_said(exported: Path, photo: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    (checksum,) = (one for one in model.metadata_props if one.key == "checksum")
    model.metadata_props.remove(checksum)
    onnx.save(model, tmp_path / "older.onnx")
    done = run("predict", tmp_path / "older.onnx", photo)
    assert done.exit_code == 0
    assert "older.onnx has no checksum" in done.stderr
    assert "checksum" not in run("predict", exported, photo).stderr


def test_language_models_have_checksums_too(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_language_model(language(LibraryArchitecture(kind="gru", vocabulary=20, width=6)), path, token_ids(40, 20))
    assert [checksum_of(one) for one in (path, loop_path(path), quantise_step(path))] == [True] * 3
    path.write_bytes(path.read_bytes().replace(b"w12", b"w21", 1))
    assert isinstance(run("predict", path, "--prompt", "w3").exception, InputError)


def test_weights_that_are_no_numbers_are_refused(exported: Path, photo: Path, tmp_path: Path) -> None:
    def poison(model: Any, card: Any) -> None:
        weights = next(one for one in model.graph.initializer if len(one.dims) == 4)
        weights.raw_data = np.full(len(weights.raw_data) // 4, np.nan, dtype=np.float32).tobytes()

    path = rewritten(exported, tmp_path / "nan.onnx", poison)
    for options in ((), ("--json",)):
        done = run("predict", path, photo, *options)
        assert "photo.png is not finite: its weights are damaged, or its training diverged" in str(done.exception)
        assert "nan" not in done.stdout


def test_names_for_another_number_of_outputs_are_refused(exported: Path, photo: Path, tmp_path: Path) -> None:
    path = rewritten(
        exported,
        tmp_path / "names.onnx",
        lambda _, card: replace(card, interface=replace(card.interface, classes=(*card.interface.classes, "more"))),
    )
    for command in (("predict", path, photo), ("evaluate", path)):
        error = run(*command).exception
        assert isinstance(error, InputError)
        assert "11 class names for 10 classes" in str(error)


def test_another_preprocessing_is_refused(exported: Path, photo: Path, tmp_path: Path) -> None:
    path = rewritten(
        exported,
        tmp_path / "size.onnx",
        lambda _, card: replace(
            card, interface=replace(card.interface, preprocessing=replace(card.interface.preprocessing, size=16))
        ),
    )
    error = run("predict", path, photo).exception
    assert "preprocessing for 16 pixels, the network reads 1×8×8" in str(error)


def graph(
    kind: int = TensorProto.FLOAT, shape: tuple[Any, ...] = (1, 4), *, op: str = "Identity", domain: str = ""
) -> Any:
    made = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], domain=domain)],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


FOREIGN = {
    "metadata": (graph().SerializeToString(), "without autoshrink's metadata .*`autoshrink latency` measures any"),
    "empty": (b"", "an empty file, not an ONNX file"),
    "text": (b"hello", "not an ONNX file, or cut off or damaged"),
    "cut": (graph().SerializeToString()[:50], "not an ONNX file, or cut off or damaged"),
    "operator": (
        graph(op="Mine", domain="mine").SerializeToString(),
        "an operator that this onnxruntime does not have",
    ),
    "unknown": (graph(op="Mine").SerializeToString(), "an operator that this onnxruntime does not have"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_in_one_line(name: str, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(FOREIGN[name][0])
    for command in (("predict", path, photo), ("evaluate", path, "--data", "digits")):
        with pytest.raises(InputError, match=FOREIGN[name][1]) as found:
            raise run(*command).exception or AssertionError
        assert "\n" not in str(found.value)
        assert ".cc:" not in str(found.value)


@pytest.mark.parametrize("change", ["opset", "ir"])
def test_a_version_too_new_is_named(change: str, photo: Path, tmp_path: Path) -> None:
    model = graph()
    if change == "opset":
        model.opset_import[0].version = 99
    else:
        model.ir_version = 99
    (tmp_path / "new.onnx").write_bytes(model.SerializeToString())
    error = str(run("predict", tmp_path / "new.onnx", photo).exception)
    assert "of a version that this onnxruntime does not know" in error
    assert "99" in error


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(photo: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for command in (("predict", tmp_path / "pipe.onnx", photo), ("latency", tmp_path / "pipe.onnx")):
        assert "pipe.onnx: is a" in str(run(*command).exception)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (TensorProto.UINT8, ("n", 8, 8, 3)),
        (TensorProto.FLOAT16, (1, 3)),
        (TensorProto.UINT16, (2,)),
        (TensorProto.INT64, ()),
    ],
)
def test_a_foreign_file_is_measured(kind: int, shape: tuple[Any, ...], tmp_path: Path) -> None:
    (tmp_path / "foreign.onnx").write_bytes(graph(kind, shape).SerializeToString())
    done = run("latency", tmp_path / "foreign.onnx", "--rounds", "1", "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["results"][0]["runs"] > 0


@pytest.mark.parametrize("command", ["cost", "show"])
def test_a_network_is_no_architecture_file(command: str, exported: Path) -> None:
    error = run(command, exported).exception
    assert "model.onnx: a network, and this reads the file of a cell or architecture" in str(error)


def test_a_package_that_cannot_be_loaded_is_not_called_missing(exported: Path, photo: Path, tmp_path: Path) -> None:
    """As with too little memory for its libraries."""
    (tmp_path / "onnxruntime").mkdir()
    said = "raise ImportError('libonnx.so: failed to map segment: Cannot allocate memory')"
    (tmp_path / "onnxruntime" / "__init__.py").write_text(said)
    done = subprocess.run(
        [sys.executable, "-m", "autoshrink", "predict", str(exported), str(photo)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "onnxruntime, which is installed but cannot be loaded (libonnx.so" in done.stderr
    assert "pip install" not in done.stderr


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx", "text.loop.onnx"])
def test_files_of_the_first_version_open_and_compute_what_they_did(name: str) -> None:
    """Written by version 0.1 of the models in trained-0.1, when facts were any values."""
    path, model = GOLDEN / "exported-0.1" / name, load(GOLDEN / "trained-0.1" / name.partition(".")[0])
    assert checksum_of(path) is True
    _, card = open_card(path)
    assert card.interface == model.interface
    assert card.facts == model.facts
    assert (card.params, card.architecture) == (count(model.architecture).params, model.architecture)
    exporter = exporter_of(model.architecture)
    assert exporter.parity(model, card.part, call_of(path), exporter.noise(model)).passes(1e-4)
