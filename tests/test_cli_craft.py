"""``autoshrink craft`` as a person or a script meets it: the table, the file, the JSON, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from autoshrink import load, zoo
from autoshrink.architecture import ConvArchitecture, MobileArchitecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cli import craft_commands, run
from autoshrink.cost import count
from autoshrink.crafting import craft
from autoshrink.run import Loop
from fakes import FakeEvaluator, new_store

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))


@pytest.fixture
def cell_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.cell.json"
    path.write_text(json.dumps(CELL.to_json()))
    return path


def said(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Standard output of a command that works."""
    assert run(["craft", *shlex.split(arguments)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def found(arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(said(f"{arguments} --json", capsys))
    return value


def refusal(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["craft", *shlex.split(arguments)]) == 2
    output, message = capsys.readouterr()
    assert output == ""
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 2
    return message


def test_the_table_shows_every_stage_and_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    text = said("shrinkcnn-a", capsys)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["stage4"][1:7] == ["6", "88", "14×14", "176", "480,040", "94,087,840"]
    assert rows["stage4"][7:] == ["24.5", "%", craft_commands.bar(94_087_840 / 383_677_672)]
    assert rows["stem"][1:5] == ["112×112", "44", "1,188", "14,902,272"]
    assert "parameters 3,600,981 (3,636,301 with BN)   MACs 383,677,672   peak activations 8,429,568 bytes" in text
    assert "nothing is written yet" in text
    assert "budget" not in text


def test_a_budget_ends_with_a_file_and_the_command_that_trains_it(
    tmp_path: Path, cell_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.arch.json"
    text = said(f"--cell {cell_file} --macs 20M -o {file}", capsys)
    written = load(file)
    assert written == craft(CELL, macs=20_000_000).architecture
    used = re.search(r"budget: ([\d,]+) of 20,000,000 MACs, ([\d.]+) %", text)
    assert used is not None
    assert int(used[1].replace(",", "")) == count(written).macs
    assert 97 <= float(used[2]) <= 100
    assert "scaled from --stem 32 --stages 1x16,1x32,1x64\n" in text
    assert f"autoshrink train {file} --data path/to/data -o models/x " in text


def test_what_scaled_to_says_makes_the_same_network(cell_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(f"{cell_file} --macs 300M --input 3x224x224 --classes 50", capsys)
    options = re.search(r"^ *to +(--stem.*)$", text, re.MULTILINE)
    assert options is not None
    again = found(f"{cell_file} --input 3x224x224 --classes 50 {options[1]}", capsys)
    assert again["macs"] == craft(CELL, macs=300_000_000, shape=(3, 224, 224), classes=50).cost.macs


def test_a_run_needs_nothing_but_its_folder_and_a_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = tmp_path / "run", tmp_path / "x.arch.json"
    with new_store(folder, beside="none") as store:
        store.append("data", {"name": "digits", "classes": ["a", "b", "c"], "input": [1, 8, 8]})
        Loop(store, FakeEvaluator()).run()
    text = said(f"{folder} --macs 1M -o {file}", capsys)
    written = load(file)
    assert isinstance(written, ConvArchitecture)
    assert (written.input, written.classes) == ((1, 8, 8), 3)
    assert 970_000 <= count(written).macs <= 1_000_000
    assert f"autoshrink train {file} --data digits -o models/x " in text
    first = found(f"{folder} --pick 1", capsys)["architecture"]["cell"]
    assert first == craft(folder, pick=1).architecture.to_json()["cell"]
    assert f"{folder}: there is no cell 99 to pick" in refusal(f"{folder} --pick 99", capsys)


def test_a_run_that_a_hand_made_network_won_gives_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = tmp_path / "run", tmp_path / "x.arch.json"
    with new_store(folder) as store:
        store.append("data", {"name": "digits", "classes": ["a", "b", "c"], "input": [1, 8, 8]})
        record = Loop(store, FakeEvaluator()).run()
    best = record.best()
    assert best is not None
    assert isinstance(best.design, MobileArchitecture), "as the made-up evaluator has it"
    said(f"{folder} --macs 1M -o {file}", capsys)
    written = load(file)
    assert isinstance(written, MobileArchitecture)
    assert [stage.block for stage in written.stages] == [stage.block for stage in best.design.stages]
    assert 970_000 <= count(written).macs <= 1_000_000


def test_json_says_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.arch.json"
    value = found(f"shrinkcnn-a --macs 0.2G --params 3M --memory 8MiB -o {file}", capsys)
    assert value["architecture"] == json.loads(file.read_text())
    assert value["file"] == str(file)
    cost = count(load(file))  # type: ignore[arg-type]
    assert (value["params"], value["params_with_bn"]) == (cost.params, cost.params_with_bn)
    assert (value["macs"], value["peak_activation_bytes"]) == (cost.macs, cost.peak_activation_bytes)
    limits = {"macs": 200_000_000, "params": 3_000_000, "memory": 8 << 20}
    used = {"macs": cost.macs, "params": cost.params, "memory": cost.peak_activation_bytes}
    assert value["budgets"] == {
        name: {"limit": limit, "used": used[name], "share": used[name] / limit} for name, limit in limits.items()
    }
    stages = value["stages"]
    assert [part["name"] for part in stages] == ["stem", *(f"stage{n}" for n in range(1, 6)), "head", "classifier"]
    assert sum(part["macs"] for part in stages) == cost.macs
    assert found("shrinkcnn-a", capsys)["file"] is None


@pytest.mark.parametrize(("written", "limit"), [("300KB", 300_000), ("300KiB", 307_200), ("300k", 300_000)])
def test_memory_in_either_kilobyte(
    written: str, limit: int, cell_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = found(f"{cell_file} --memory {written}", capsys)["budgets"]["memory"]
    assert budget["limit"] == limit
    assert budget["used"] <= limit


def test_stages_stem_and_head_as_they_are_typed(cell_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--stages 1x12,3x24,4×44 --pool 1,4,2 --stem 20/2 --head 96 --activation swish --input 1x64×48 --classes 5"
    )
    value = found(f"{cell_file} {options}", capsys)["architecture"]
    assert value["stages"] == [
        {"cells": 1, "width": 12, "pool": 1},
        {"cells": 3, "width": 24, "pool": 4},
        {"cells": 4, "width": 44, "pool": 2},
    ]
    assert (value["stem"], value["head"]) == ({"channels": 20, "stride": 2}, {"channels": 96})
    assert (value["input"], value["classes"], value["activation"]) == ([1, 64, 48], 5, "swish")
    pools = [stage["pool"] for stage in found(f"{cell_file} --stages 1x8,1x8,1x8", capsys)["architecture"]["stages"]]
    assert pools == [1, 2, 2]
    assert found("shrinkcnn-a --head none", capsys)["architecture"]["head"] is None
    fixed = found(f"{cell_file} --macs 90M --depth fixed --divisor 8", capsys)["architecture"]
    assert [stage["cells"] for stage in fixed["stages"]] == [1, 1, 1]
    assert not [stage for stage in fixed["stages"] if stage["width"] % 8]


def test_a_language_model(capsys: pytest.CaptureFixture[str]) -> None:
    text = said("shrinkrnn --params 3.6M", capsys)
    assert "10,000 words, width 221" in text
    assert "scaled from --width 745" in text
    value = found("shrinkrnn --macs 2M --vocabulary 500", capsys)
    assert value["architecture"]["vocabulary"] == 500
    assert [part["name"] for part in value["stages"]] == ["embedding", "cell", "decoder"]


def test_a_latency_is_measured_and_told(
    cell_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latency = pytest.importorskip("autoshrink.latency.measuring")
    asked: list[int] = []

    def pretended(architecture: ConvArchitecture, *, threads: int = 1) -> float:
        asked.append(threads)
        return 1e-9 * count(architecture).macs

    monkeypatch.setattr(latency, "architecture_latency", pretended)
    assert run(["craft", str(cell_file), "--latency", "5ms", "--threads", "2", "--json"]) == 0
    output, progress = capsys.readouterr()
    budget = json.loads(output)["budgets"]["latency"]
    assert budget["limit"] == pytest.approx(0.005)
    assert 0.97 <= budget["share"] <= 1
    assert set(asked) == {2}
    assert progress.count("measured --stem") == len(asked)


@pytest.mark.slow
def test_a_latency_in_onnx_runtime(capsys: pytest.CaptureFixture[str], cell_file: Path) -> None:
    pytest.importorskip("onnxruntime")
    value = found(f"{cell_file} --input 1x8x8 --latency 2s --macs 1M", capsys)
    assert 0 < value["budgets"]["latency"]["used"] <= 2
    assert value["budgets"]["macs"]["share"] >= 0.97


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "craft needs a run folder, a cell or architecture file, or a name in the zoo; give one"),
        ("shrinkcnn-a --cell shrinkcnn-b", "shrinkcnn-a and shrinkcnn-b: give one of them"),
        ("nothing", "nothing: neither a file nor a name in the zoo"),
        ("missing.cell.json", "missing.cell.json: no such file"),
        ("shrinkcnn-a --macs many", "'many' is not a count"),
        ("shrinkcnn-a --macs 1M", "the smallest network (1+1+1+1+1 cells of width 4) has 6.8M MACs"),
        (
            "shrinkcnn-a --macs 1000000",
            "macs: 1,000,000 MACs are too few: the smallest network (1+1+1+1+1 cells of width 4) has 6,754,832 MACs",
        ),
        ("shrinkcnn-a --memory 20KiB", "memory: 20KiB of activations are too few: the smallest network ("),
        ("shrinkcnn-a --memory 20KiB", "KiB of activations; allow more, or take"),
        ("shrinkrnn --params 9.9k", "9.9k parameters are too few for 10,000 words"),
        ("shrinkrnn --macs 9k", "macs: 9k MACs are too few: width 1 has "),
        ("shrinkcnn-a --latency 5", "'5' is not a latency such as 5ms"),
        ("shrinkcnn-a --latency 0ms", "'0ms' is not a latency"),
        ("shrinkcnn-a --input 224", "'224' is not channels, height and width such as 3x224x224"),
        ("shrinkcnn-a --input 3x0x8", "'3x0x8' is not a shape such as 3x224x224"),
        ("shrinkcnn-a --stages 1x12,24", "--stages '1x12,24': write cells x width"),
        ("shrinkcnn-a --stages 0x12", "--stages '0x12': write cells x width, all above zero"),
        ("shrinkcnn-a --stages 1x12 --pool 1,2", "--pool '1,2': 2 numbers for the 1 stage of --stages '1x12'"),
        ("shrinkcnn-a --pool 2", "--pool 2: it goes with --stages"),
        ("shrinkcnn-a --stem 0", "'0' is not a stem such as 32 or 44/2"),
        ("shrinkcnn-a --head wide", "'wide' is neither a number of channels nor none"),
        ("shrinkcnn-a --activation tanh", "activation: Input should be 'relu'"),
        ("shrinkcnn-a --classes 1", "classes: Input should be greater than or equal to 2"),
        ("shrinkcnn-a --macs 99M --depth deep", "'deep' is neither auto nor fixed"),
        ("shrinkcnn-a --macs 99M --divisor 0", "divisor: widths are multiples of 1 or more"),
        ("shrinkcnn-a --pick 1", "only a run's folder has a Pareto front"),
        ("shrinkcnn-a -o /dev/null/x.arch.json", "/dev/null: cannot be written: /dev/null is a device, not a folder"),
        ("shrinkrnn --latency 1ms", "latency: a budget for image networks"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_way_out(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(arguments, capsys)


def test_a_corrupt_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "{", '{"format": "autoshrink.cell/1"}', "[]"):
        path = tmp_path / "broken.cell.json"
        path.write_text(text)
        assert f"{path}: " in refusal(str(path), capsys)


def test_bars_are_as_long_as_their_shares() -> None:
    assert craft_commands.bar(1, 4) == "████"
    assert craft_commands.bar(0.5, 4) == "██"
    assert craft_commands.bar(0.53125, 4) == "██▏"
    assert craft_commands.bar(0, 4) == ""
    eighths = [craft_commands.bar(share / 32, 4) for share in range(33)]
    assert [sum(" ▏▎▍▌▋▊▉█".index(mark) for mark in bar) for bar in eighths] == list(range(33))


def test_a_cell_alone_is_the_papers_proxy(cell_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(str(cell_file), capsys)["architecture"] == proxy_architecture(CELL).to_json()
    assert found("--cell shrinkcnn-b", capsys)["architecture"] == zoo.get("shrinkcnn-b").to_json()
