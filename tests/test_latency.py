"""Latency: measured files, per-node times, and the ``latency`` command."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from autoshrink.architecture import proxy_architecture
from autoshrink.cli import latency_commands, quantities
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.latency.measuring import (
    Latency,
    NodeTime,
    Run,
    Session,
    architecture_latency,
    by_type,
    conditions,
    measure,
    profile,
    race,
)
from autoshrink.latency.table import LatencyTable
from autoshrink.onnx.session import session_options
from autoshrink.priors import start_cell
from autoshrink.resources import NANOSECONDS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def write_model(path: Path, inputs: dict[str, tuple[int, list[Any]]], nodes: list[Any]) -> Path:
    """An ONNX file that is not ours; `inputs` are (element type, shape) by name, and the output is ``y``."""
    helper = onnx.helper
    given = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "test", given, [output])
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """(n, 64) by itself, transposed: a file with an open batch."""
    nodes = [
        onnx.helper.make_node("Transpose", ["x"], ["t"], name="turned"),
        onnx.helper.make_node("MatMul", ["x", "t"], ["p"], name="product"),
        onnx.helper.make_node("Tanh", ["p"], ["y"], name="squashed"),
    ]
    return write_model(tmp_path / "product.onnx", {"x": (onnx.TensorProto.FLOAT, ["n", 64])}, nodes)


def run_cli(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.callback()
    def _root() -> None:
        pass

    latency_commands.register(app)
    return CliRunner().invoke(app, ["latency", *arguments])


# Figures


def made_up(*walls: float, threads: int = 1) -> Latency:
    return Latency.of([[Run(wall, wall / 2)] for wall in walls], replace(conditions(), threads=threads))


def test_quartiles_by_hand() -> None:
    found = made_up(5.0, 1.0, 2.0, 4.0, 3.0)
    assert (found.minimum, found.low, found.median, found.high) == (1.0, 2.0, 3.0, 4.0)
    assert (found.core, found.runs, found.waited) == (1.5, 5, True)


def test_the_core_of_many_threads_is_not_one() -> None:
    assert made_up(1.0, threads=2).core is None
    assert not made_up(1.0, threads=2).waited


def test_ratios_are_of_rounds() -> None:
    """Drift that doubles both hides in their sums, not in their ratios."""
    slow, fast = made_up(3.0, 6.0, 8.0), made_up(2.0, 4.0, 4.0)
    assert slow.ratio(fast) == (1.5, 1.5, 2.0)
    assert fast.ratio(fast) == (1.0, 1.0, 1.0)


def test_types_add_up() -> None:
    nodes = [NodeTime("a", "Conv", 3.0, 0.3), NodeTime("b", "Add", 5.0, 0.5), NodeTime("c", "Conv", 2.0, 0.2)]
    conv, add = sorted(by_type(nodes), key=lambda one: one.op, reverse=True)
    assert (conv.op, conv.seconds, conv.share, conv.count) == ("Conv", 5.0, 0.5, 2)
    assert (add.op, add.seconds, add.count) == ("Add", 5.0, 1)


# Measuring


def test_a_measurement_is_in_order(product: Path) -> None:
    found = measure(product, seconds=0.02)
    assert 0 < found.minimum <= found.low <= found.median <= found.high < math.inf
    assert found.runs >= 10
    assert found.core is not None
    assert found.conditions.threads == 1
    assert found.conditions.runtime.startswith("onnxruntime ")
    assert not found.conditions.spinning


def test_a_larger_batch_takes_longer(product: Path) -> None:
    small, large = (measure(product, batch=batch, seconds=0.02) for batch in (1, 512))
    assert small.core is not None
    assert large.core is not None
    assert large.core > 2 * small.core


@pytest.mark.parametrize("threads", [1, 2])
def test_the_session_has_the_threads_that_were_asked_for(threads: int) -> None:
    options = session_options(threads, spinning=False)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert "SEQUENTIAL" in str(options.execution_mode)
    assert not options.enable_profiling


def test_files_take_turns(product: Path) -> None:
    first, second = race([Session(product), Session(product, batch=256)], rounds=3, seconds=0.01)
    assert len(first.rounds) == len(second.rounds) == 3
    assert first.runs >= 30
    middle, least, most = second.ratio(first)
    assert 1 < least <= middle <= most


def test_the_profile_has_the_files_nodes(product: Path) -> None:
    nodes = profile(product, batch=8, runs=5)
    assert "Tanh" in {one.op for one in nodes}
    assert sum(one.share for one in nodes) == pytest.approx(1)
    assert all(one.seconds >= 0 for one in nodes)


def test_an_architecture_takes_time() -> None:
    small, large = (
        architecture_latency(proxy_architecture(start_cell_of(nodes), shape=(1, 8, 8), stem=4, widths=(4,)))
        for nodes in (2, 9)
    )
    assert 0 < small < large


def start_cell_of(nodes: int) -> Any:
    return start_cell("complete", kind="conv", nodes=nodes, rng=random.Random(0))


# Inputs of foreign files


def test_inputs_are_of_the_files_types(tmp_path: Path) -> None:
    kinds = onnx.TensorProto
    inputs = {"a": (kinds.INT64, ["b", 3]), "m": (kinds.BOOL, ["b", 3]), "h": (kinds.FLOAT16, [2, "b", 3])}
    nodes = [onnx.helper.make_node("Cast", [name], [f"{name}f"], to=kinds.FLOAT) for name in inputs] + [
        onnx.helper.make_node("Sum", ["af", "mf", "hf"], ["y"])
    ]
    path = write_model(tmp_path / "kinds.onnx", inputs, nodes)
    assert measure(path, batch=4, seconds=0.0).median > 0


def test_an_open_axis_needs_a_shape(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    path = write_model(tmp_path / "open.onnx", {"x": (onnx.TensorProto.FLOAT, ["n", 3, "height", 5])}, nodes)
    with pytest.raises(InputError, match=r"open.onnx: input 'x' has the shape .*'height'.* --shape x=1x3x1x5$"):
        measure(path)
    assert measure(path, shapes={"x": (1, 3, 7, 5)}, seconds=0.0).median > 0
    with pytest.raises(InputError, match=r"open.onnx: no input is called 'images'; it has x"):
        measure(path, shapes={"images": (1, 3, 7, 5)})


def test_text_cannot_be_made_up(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Shape", ["x"], ["s"]), onnx.helper.make_node("Cast", ["s"], ["y"], to=1)]
    path = write_model(tmp_path / "text.onnx", {"x": (onnx.TensorProto.STRING, [2])}, nodes)
    with pytest.raises(InputError, match=r"input 'x' is a tensor\(string\), which cannot be made at random"):
        measure(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.onnx: no such file"):
        measure(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"bad.onnx: not an ONNX file, or cut off or damaged"):
        measure(tmp_path / "bad.onnx")


def test_a_shape_that_does_not_fit_is_refused(product: Path) -> None:
    with pytest.raises(InputError, match=r"product.onnx: ONNX Runtime cannot run it"):
        measure(product, shapes={"x": (1, 3)})


# The command


def test_targets_beside_each_other_as_json(product: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(product.read_bytes())
    result = run_cli(str(product), str(other), "--rounds", "1", "--against", str(other), "--nodes", "--json")
    value = json.loads(result.stdout)
    assert set(value) == {"conditions", "results"}
    assert value["conditions"]["threads"] == 1
    first, second = value["results"]
    assert [first["target"], second["target"]] == [str(other), str(product)]
    assert first["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert set(second) == {
        "target", "median", "low", "high", "minimum", "core", "runs", "rounds", "ratio", "types", "nodes",
    }  # fmt: skip
    assert second["minimum"] <= second["median"]
    assert len(second["rounds"]) == 1
    assert set(second["nodes"][0]) == {"name", "op", "seconds", "share", "count"}


def test_a_table_for_people(product: Path) -> None:
    result = run_cli(str(product), "--rounds", "1", "--nodes")
    assert "1 thread, batch 1" in result.stdout
    assert "product.onnx" in result.stdout
    assert "Tanh" in result.stdout


def test_a_table_is_made(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    sizes = ("--input", "1x4x4", "--stem", "4", "--widths", "4", "--cell-nodes", "2", "--classes", "3")
    value = json.loads(run_cli("--make-table", str(path), *sizes, "--json").stdout)
    table = LatencyTable.read(path)
    assert value == {"table": str(path), "operations": len(table.nanoseconds), "device": dict(table.device)}
    assert table.of(proxy_architecture(start_cell_of(2), shape=(1, 4, 4), stem=4, widths=(4,), classes=3)) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure: name ONNX files"),
        (["no-such-thing"], "no-such-thing: neither a file nor a name in the zoo"),
        (["--make-table", "t.json", "lstm"], "--make-table measures operations, not lstm"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], message: str) -> None:
    error = run_cli(*arguments).exception
    assert isinstance(error, AutoshrinkError)
    assert message in str(error)


@pytest.mark.parametrize(
    "arguments",
    [
        ["lstm", "--shape", "tokens"],
        ["lstm", "--shape", "=2"],
        ["lstm", "--threads", "0"],
        ["--make-table", "t.json", "--input", "3x8"],
        ["--make-table", "t.json", "--input", "axbxc"],
        ["--make-table", "t.json", "--activation", "luck"],
    ],
)
def test_misspelt_options_are_refused(arguments: list[str]) -> None:
    assert run_cli(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("5ms", 5_000_000), ("350us", 350_000), ("1.5 µs", 1_500), ("0.2s", 200_000_000)]
)
def test_short_times_are_read(text: str, nanoseconds: int) -> None:
    assert quantities.amount(NANOSECONDS, text) == nanoseconds


@pytest.mark.parametrize("text", ["5", "ms", "-1ms", "0ms", "0.1ns", "5 minutes"])
def test_other_times_are_not(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a latency such as 5ms or 350us"):
        quantities.amount(NANOSECONDS, text)


def test_random_inputs_repeat(product: Path) -> None:
    first, second = Session(product, batch=3), Session(product, batch=3)
    np.testing.assert_array_equal(first._feed["x"], second._feed["x"])
    assert first._feed["x"].shape == (3, 64)


@pytest.mark.parametrize("name", ["model.pte", "model.safetensors", "folder"])
def test_a_trained_model_is_told_how_it_becomes_a_file_to_measure(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    error = run_cli(str(tmp_path / name)).exception
    assert isinstance(error, InputError)
    assert "`autoshrink export FOLDER -o model.onnx`" in str(error)


def test_a_batch_that_the_file_has_no_place_for_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    path = write_model(tmp_path / "fixed.onnx", {"x": (onnx.TensorProto.FLOAT, [4, 2])}, [node])
    assert measure(path, seconds=0.0).runs > 0
    with pytest.raises(InputError, match="no input leaves its first axis open for a batch of 8"):
        measure(path, batch=8)
