"""Latency as a search's resource: tables, what measures them, and searches by them."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autoshrink
from autoshrink import formatting, report
from autoshrink.architecture import ActivationName, Architecture, ConvArchitecture, network_of, proxy_architecture
from autoshrink.cell import INPUT, Cell
from autoshrink.config import resolve
from autoshrink.config.base import Limits
from autoshrink.cost.latency import every_operation, operations
from autoshrink.errors import InputError, RunError
from autoshrink.latency.operations import OperationTimer, device_facts, operation_model
from autoshrink.latency.table import Latencies, LatencyTable, begin_latencies, resume_latencies
from autoshrink.metrics import shown_resources
from autoshrink.priors import random_cells, start_cell
from autoshrink.resources import LATENCY, MACS, MEMORY, Resources
from autoshrink.results import summary
from autoshrink.score import Evaluation, Score
from autoshrink.steps import RuntimeOperation
from autoshrink.store import read_record
from autoshrink.training.costs import DesignCosts
from autoshrink.zoo import get
from fakes import story

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

TINY: dict[str, Any] = {
    "resource": "latency",
    "nodes": 4,
    "candidates": 2,
    "finalists": 2,
    "repeats": 1,
    "data": {"train_per_class": 12, "validation_per_class": 6},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 4, "widths": [4, 4]},
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def cells(nodes: int = 5) -> st.SearchStrategy[Cell]:
    pairs = [(i, j) for j in range(nodes) for i in range(j)]
    ops = st.lists(st.sampled_from(("conv1x1", "sepconv3x3")), min_size=nodes - 1, max_size=nodes - 1)
    return st.builds(
        lambda ops, edges: Cell("conv", (INPUT, *ops), tuple(sorted(edges))),
        ops,
        st.sets(st.sampled_from(pairs)),
    )


def around(cell: Cell, **changes: Any) -> ConvArchitecture:
    return proxy_architecture(cell, **{"shape": (3, 16, 16), "stem": 8, "widths": (4, 8), **changes})


def growing(architecture: ConvArchitecture) -> LatencyTable:
    """A table in which whatever reads or writes more takes longer."""
    found = {
        one.key: 100 + (sum(one.reads) + one.writes) * one.size[0] * one.size[1] for one in operations(architecture)
    }
    return LatencyTable({"cpu": "made up"}, found)


# Operations and tables


def test_the_operations_of_a_small_cell_by_hand() -> None:
    cell = Cell("conv", (INPUT, "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2)))
    architecture = proxy_architecture(cell, shape=(1, 8, 8), stem=4, widths=(4, 6), activation="swish", classes=3)
    assert [one.key for one in operations(architecture)] == [
        "call",
        "conv3x3 1>4 8x8 swish",
        "conv1x1 4>4 8x8 swish",
        "concat 4+4>8 8x8",
        "depthwise3x3 8>8 8x8 relu",
        "conv1x1 8>4 8x8",
        "add 4+4>4 8x8",
        "maxpool 4>4 4x4 /2",
        "conv1x1 4>6 4x4 swish",
        "concat 4+6>10 4x4",
        "depthwise3x3 10>10 4x4 relu",
        "conv1x1 10>6 4x4",
        "shortcut 4+6>6 4x4 /2",
        "average 6>6 4x4",
        "linear 6>3 1x1",
    ]


def test_the_operations_of_blocks_by_hand() -> None:
    value = {"format": "autoshrink.architecture/1", "kind": "mobile", "input": [1, 8, 8], "classes": 3}
    stages = [
        {"width": 4, "expansion": 2, "squeeze": 0.5, "kernel": 5, "activation": "hardswish"},
        {"block": "fused", "width": 6, "expansion": 3, "stride": 2},
        {"block": "basic", "width": 6},
        {"block": "basic", "width": 8, "stride": 2},
        {"block": "separable", "width": 8},
    ]
    value |= {"stem": {"channels": 4, "stride": 1}, "activation": "relu", "stages": stages, "head": {"channels": 9}}
    assert [one.key for one in operations(Architecture.from_json(value))] == [
        "call",
        "conv3x3 1>4 8x8 relu",
        "conv1x1 4>8 8x8 hardswish",
        "depthwise5x5 8>8 8x8 hardswish",
        "squeeze 8>2 8x8 hardswish",
        "excite 8+2>8 8x8",
        "conv1x1 8>4 8x8",
        "add 4+4>4 8x8",
        "dense3x3 4>12 4x4 /2 relu",
        "conv1x1 12>6 4x4",
        "dense3x3 6>6 4x4 relu",
        "dense3x3 6>6 4x4",
        "add 6+6>6 4x4 relu",
        "dense3x3 6>8 2x2 /2 relu",
        "dense3x3 8>8 2x2",
        "shortcut 6+8>8 2x2 /2 relu",
        "depthwise3x3 8>8 2x2 relu",
        "conv1x1 8>8 2x2 relu",
        "conv1x1 8>9 2x2 relu",
        "average 9>9 2x2",
        "linear 9>3 1x1",
    ]


@given(cells(), st.randoms(use_true_random=False))
def test_a_network_takes_the_sum_of_its_operations(cell: Cell, rng: random.Random) -> None:
    architecture = around(cell)
    wanted = [one.key for one in operations(architecture)]
    table = LatencyTable({}, {key: rng.randrange(1, 10**9) for key in dict.fromkeys(wanted)})
    assert table.of(architecture) == sum(table.nanoseconds[key] for key in wanted)


@given(cells())
def test_an_edge_more_is_never_cheaper(cell: Cell) -> None:
    """Where it leaves the cell its nodes and leaves; a leaf more makes the next stage wider."""
    table_of = growing
    for edge in cell.edges:
        smaller = cell.without(edge)
        if smaller.reachable == cell.reachable and smaller.leaves == cell.leaves:
            assert table_of(around(smaller)).of(around(smaller)) < table_of(around(cell)).of(around(cell))


@pytest.mark.parametrize("activation", get_args(ActivationName))
@pytest.mark.parametrize("nodes", [2, 5])
def test_all_operations_are_enumerated(nodes: int, activation: ActivationName) -> None:
    sizes: dict[str, Any] = {"activation": activation, "widths": (4, 8, 8)}
    known = {one.key for one in every_operation(around(Cell("conv", (INPUT,), ()), **sizes), nodes)}
    met = set()
    complete = start_cell("complete", kind="conv", nodes=nodes, rng=random.Random(0))
    some = random_cells("conv", nodes, 3, 1) if nodes > 2 else ()
    for cell in (Cell("conv", (INPUT,), ()), complete, *some, *(complete.without(edge) for edge in complete.edges)):
        met |= {one.key for one in operations(around(cell, **sizes))}
    assert met <= known


def test_a_missing_operation_is_named() -> None:
    architecture = around(Cell("conv", (INPUT, "conv1x1"), ((0, 1),)))
    table = growing(architecture)
    known = {key: value for key, value in table.nanoseconds.items() if not key.startswith("average")}
    lacking = LatencyTable({}, known)
    assert [one.name for one in lacking.missing(architecture)] == ["average"]
    with pytest.raises(InputError, match="the latency table has no 'average 8>8 8x8'"):
        lacking.of(architecture)
    assert lacking.extended(table.nanoseconds).of(architecture) == table.of(architecture)


def test_only_convolutional_networks_have_tables() -> None:
    with pytest.raises(InputError, match="a recurrent architecture has no latency table"):
        operations(get("shrinkrnn"))


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    table = growing(around(Cell("conv", (INPUT, "conv1x1"), ((0, 1),))))
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table.to_json()))
    assert LatencyTable.read(path) == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "table.json: not JSON"),
        ("[]", 'table.json: a latency table has "format": "autoshrink.latency-table/1"'),
        ('{"format": "autoshrink.latency-table/1"}', "has the objects device and nanoseconds"),
        (
            '{"format": "autoshrink.latency-table/1", "device": {}, "nanoseconds": {"call": 0}}',
            r"nanoseconds of 'call': a whole number above 0 is needed \(got 0\)",
        ),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(InputError, match=message):
        LatencyTable.read(tmp_path / "table.json")


# Measuring operations


def test_every_operation_is_a_file_that_runs() -> None:
    """All kinds, all activations; the copies are there, each with its own end."""
    seen = set()
    for activation in get_args(ActivationName):
        cell = Cell("conv", (INPUT, "conv1x1", "sepconv3x3", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (1, 3)))
        architecture = around(cell, activation=activation, shape=(3, 7, 5))
        for one in operations(architecture):
            if one.name == "call" or (one.name, one.activation) in seen:
                continue
            seen.add((one.name, one.activation))
            session = onnxruntime.InferenceSession(operation_model(one, 2), providers=["CPUExecutionProvider"])
            feed = {value.name: np.zeros(value.shape, dtype=np.float32) for value in session.get_inputs()}
            (output,) = session.run(None, feed)
            assert output.shape[:2] == (1, 2 * one.writes)
    assert len({name for name, _ in seen}) == 9


@pytest.mark.parametrize(
    ("name", "writes"),
    [("depthwise5x5", 6), ("depthwise3x3d2", 6), ("dense3x3", 4), ("avgpool3x3", 6), ("maxpool3x3", 6), ("conv1x1", 4)],
)
def test_a_plug_ins_pieces_are_files_that_run(name: str, writes: int) -> None:
    model = operation_model(RuntimeOperation(name, (6,), writes, (7, 5)), 2)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {value.name: np.zeros(value.shape, dtype=np.float32) for value in session.get_inputs()}
    assert session.run(None, feed)[0].shape[:2] == (1, 2 * writes)


@pytest.mark.parametrize(
    ("one", "shape"),
    [
        (RuntimeOperation("squeeze", (6,), 2, (7, 5), activation="relu"), (1, 4, 1, 1)),
        (RuntimeOperation("excite", (6, 2), 6, (7, 5)), (1, 12, 1, 1)),
        (RuntimeOperation("add", (6, 6), 6, (7, 5), activation="relu"), (1, 12, 1, 1)),
        (RuntimeOperation("shortcut", (6, 8), 8, (7, 5), 2, "hardswish"), (1, 16, 1, 1)),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_what_blocks_need_besides_is_files_that_run(one: RuntimeOperation, shape: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(operation_model(one, 2), providers=["CPUExecutionProvider"])
    feed = {value.name: np.ones(value.shape, dtype=np.float32) for value in session.get_inputs()}
    (output,) = session.run(None, feed)
    assert output.shape == shape
    if one.activation == "relu":
        assert output.min() >= 0


def test_an_operation_of_which_nothing_is_known_is_named() -> None:
    with pytest.raises(InputError, match="no way is known to measure the operation 'luck 6>6 7x5'"):
        operation_model(RuntimeOperation("luck", (6,), 6, (7, 5)), 2)


def test_a_larger_operation_takes_longer() -> None:
    timer = OperationTimer(pairs=20)
    small, large = (timer(RuntimeOperation("conv1x1", (channels,), channels, (32, 32))) for channels in (16, 128))
    assert 1 <= small < large


# Latencies of a run


def counting(asked: list[str]) -> Any:
    def timer(operation: RuntimeOperation) -> int:
        asked.append(operation.key)
        return 1000 + len(asked)

    return timer


def test_each_operation_is_measured_once_and_kept(tmp_path: Path) -> None:
    asked: list[str] = []
    latencies = Latencies(LatencyTable({"cpu": "made up"}, {}), counting(asked))
    small, large = (around(start_cell("complete", kind="conv", nodes=n, rng=random.Random(0))) for n in (2, 4))
    first = latencies(small)
    latencies.keep(tmp_path)
    assert LatencyTable.read(tmp_path / "latency.json").of(small) == first
    second = latencies(large)
    assert LatencyTable.read(tmp_path / "latency.json").of(large) == second
    assert len(asked) == len(set(asked)) == len(latencies.table.nanoseconds)
    assert latencies(small) == first


def test_a_table_that_was_given_is_never_extended(tmp_path: Path) -> None:
    architecture = around(Cell("conv", (INPUT, "conv1x1"), ((0, 1),)))
    path = tmp_path / "board.json"
    path.write_text(json.dumps(growing(architecture).to_json()))
    latencies = begin_latencies(str(path))
    assert latencies(architecture) == growing(architecture).of(architecture)
    wider = around(Cell("conv", (INPUT, "sepconv3x3"), ((0, 1),)))
    with pytest.raises(InputError, match=r"no latency is known of .*'depthwise3x3 8>8 16x16 relu': make .*board.json"):
        latencies(wider)


def test_another_device_does_not_extend_a_runs_table(tmp_path: Path) -> None:
    architecture = around(Cell("conv", (INPUT, "conv1x1"), ((0, 1),)))
    elsewhere = replace(growing(architecture), device=device_facts() | {"cpu": "a phone"})
    (tmp_path / "latency.json").write_text(json.dumps(elsewhere.to_json()))
    latencies = resume_latencies(tmp_path, None, fresh=False)
    assert latencies(architecture) == elsewhere.of(architecture)
    with pytest.raises(InputError, match=r"another device \(cpu a phone there, .* here\); resume the run there"):
        latencies(around(Cell("conv", (INPUT, "sepconv3x3"), ((0, 1),))))


def test_this_device_extends_its_own(tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text(json.dumps(LatencyTable(device_facts(), {}).to_json()))
    latencies = resume_latencies(tmp_path, None, fresh=False)
    latencies.learn([RuntimeOperation("linear", (4,), 2)])
    assert list(LatencyTable.read(tmp_path / "latency.json").nanoseconds) == ["linear 4>2 1x1"]


def test_a_table_that_is_gone_is_missed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"latency.json: the run's latencies are gone"):
        resume_latencies(tmp_path, None, fresh=False)
    assert not resume_latencies(tmp_path, None, fresh=True).table.nanoseconds
    assert (tmp_path / "latency.json").exists()


# Scores, settings, words


def test_milliseconds_are_the_scores_unit() -> None:
    score = Score(0.1, "latency")
    cell = Cell("conv", (INPUT,), ())
    assert score.of(0.9, cell, Resources(1, 1, 1, latency=1_000_000)) == pytest.approx(0.9)
    assert score.of(0.9, cell, Resources(1, 1, 1, latency=10_000_000)) == pytest.approx(0.8)


def test_logs_without_latency_stay_as_they_were() -> None:
    evaluation = Evaluation(Cell("conv", (INPUT,), ()), Resources(3, 2, 1), 0, "none", 0.5)
    assert evaluation.to_json()["resources"] == {"macs": 3, "params": 2, "memory": 1, "cell_params": 0}
    timed = replace(evaluation, resources=Resources(3, 2, 1, latency=7))
    assert Evaluation.from_json(timed.to_json()) == timed
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_costs_are_timed_where_somebody_asks() -> None:
    cell = Cell("conv", (INPUT, "conv1x1"), ((0, 1),))
    network = partial(network_of, around=around)
    assert DesignCosts(network, lambda architecture: len(str(architecture.kind)))(cell)["latency"] == len("conv")
    assert DesignCosts(network)(cell)["latency"] == 0


def test_what_asks_for_latency() -> None:
    assert not resolve({}).times
    assert resolve({"resource": "latency"}).times
    limited = resolve({"limits": {"max_latency": 5_000_000}})
    assert limited.times
    assert shown_resources(limited) == ("latency", "macs", "params", "memory")
    assert shown_resources(resolve({"resource": "latency"})) == ("latency", "macs", "params", "memory")
    assert Limits.model_validate({"max_latency": 10}).broken_by(Resources(1, 1, 1, latency=11)) == "latency"
    assert Limits.model_validate({"max_latency": 10}).broken_by(Resources(1, 1, 1, latency=10)) is None


@pytest.mark.parametrize("asked", [{"resource": "latency"}, {"limits": {"max_latency": 5}}])
def test_text_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--resource cell_params weighs the same"):
        resolve({"task": "text"} | asked)


def test_latencies_in_words() -> None:
    table = {950: "950 ns", 44_012: "44.0 µs", 999_400: "999 µs", 999_600: "1.00 ms", 1_500_000_000: "1.50 s"}
    assert {value: formatting.plain(LATENCY.unit.short(value)) for value in table} == table
    assert LATENCY.unit.exact(347_123) == "0.347 ms"
    assert MEMORY.unit.exact(1_536) == "1.5 KiB"
    assert MACS.unit.exact(1_536) == "1,536"


# Searches


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    autoshrink.search(TINY | {"limits": {"max_latency": 10**9}}, run=folder)
    return folder


def test_a_search_by_latency(whole: Path) -> None:
    record, table = read_record(whole), LatencyTable.read(whole / "latency.json")
    assert record.finished
    for one in record.candidates:
        architecture = proxy_architecture(one.cell, shape=(1, 8, 8), stem=4, widths=(4, 4))
        assert one.evaluation.resources["latency"] == table.of(architecture)
    best = summary(record, run=whole)["best"]
    assert best["latency_seconds"] == record.best().recorded.resources["latency"] / 1e9  # type: ignore[union-attr]
    page = report.render(record, name="run")
    assert "latency, µs" in page
    assert "latency in ns" in page


def test_stopped_and_resumed_with_the_same_table(whole: Path, tmp_path: Path) -> None:
    """The second run is given the first one's table, so that both must end alike; once it has begun, it has its own."""
    table = tmp_path / "table.json"
    shutil.copy(whole / "latency.json", table)
    folder, epochs = tmp_path / "run", itertools.count(1)

    class Stopped(BaseException):
        pass

    def stop(*_: Any) -> None:
        if next(epochs) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        autoshrink.search(
            TINY | {"limits": {"max_latency": 10**9}, "latency_table": str(table)},
            run=folder,
            observer=autoshrink.Observer(on_epoch=stop),
        )
    assert not read_record(folder).finished
    table.unlink()
    autoshrink.resume(folder)
    latencies = {one.cell: one.evaluation.resources["latency"] for one in read_record(whole).candidates}
    assert {one.cell: one.evaluation.resources["latency"] for one in read_record(folder).candidates} == latencies
    # All but the settings, of which one run's name a table.
    ours, theirs = (story(path)[1:] for path in (folder, whole))
    assert ours == theirs


def test_a_limit_that_no_cell_keeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--max-latency 5 ns: even the smallest cell costs \d.* here"):
        autoshrink.search(TINY | {"limits": {"max_latency": 5}}, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_table_for_other_sizes_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_text(json.dumps(LatencyTable({}, {"call": 5}).to_json()))
    with pytest.raises(InputError, match=r"no latency is known of .*--make-table"):
        autoshrink.search(TINY | {"latency_table": str(path)}, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_table_that_nothing_would_read_is_refused(tmp_path: Path) -> None:
    settings = {**TINY, "resource": "macs", "latency_table": "board.json"}
    with pytest.raises(
        InputError, match=r"--latency-table board\.json: add --resource latency or --max-latency, or --latency"
    ):
        autoshrink.search(settings, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
