"""The command line, as a person or a script meets it: what it prints, where, and with which exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoshrink import zoo
from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cli import quantities, run
from autoshrink.run import Loop
from autoshrink.store import read_record
from fakes import FakeEvaluator, new_store

QUICK = (
    "--nodes 3 --candidates 2 --epochs 2 --batch 8 --lr 0.02 --finalists 1 --repeats 1 "
    "--beside none --train-per-class 8 --validation-per-class 8 --threads 1"
)
COMMANDS = {"search", "resume", "craft", "train", "evaluate", "export", "predict", "generate", "latency"}
COMMANDS |= {"show", "cost", "zoo", "report", "reproduce", "data", "compare", "watch", "tell"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("AUTOSHRINK_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("found") / "run"
    with new_store(folder) as store:
        Loop(store, FakeEvaluator()).run()
    return folder


@pytest.fixture
def cell_file(tmp_path: Path) -> Path:
    cell = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
    (tmp_path / "mine.cell.json").write_text(json.dumps(cell.to_json()))
    return tmp_path / "mine.cell.json"


def test_a_search_prints_json_alone_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(["search", "--run", str(folder), "--json", *QUICK.split()]) == 0
    output, progress = capsys.readouterr()
    result = json.loads(output)
    assert set(result) >= {"run", "best", "complete", "cost", "evaluations", "steps", "seconds"}
    for figures in (result["best"], result["complete"]):
        assert set(figures) >= {"cell", "score", "performance", "accuracy", "macs", "params", "cell_params"}
        assert Cell.from_json(figures["cell"]).to_json() == figures["cell"]
    assert set(result["cost"]) == {"training_macs", "images"}
    assert (result["task"], result["metric"]) == ("image", "accuracy")
    assert result["run"] == str(folder)
    assert len(result["complete"]["cell"]["edges"]) == 3
    assert "step   0  start     3 edges   S " in progress
    assert run(["show", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert run(["resume", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result


def test_a_search_ends_with_what_a_person_wants_to_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run(["search", "--run", str(folder), *QUICK.split()]) == 0
    output = capsys.readouterr().out
    for wanted in ("complete graph", "MACs", "accuracy", str(folder / "report.html"), "next:"):
        assert wanted in output
    assert ("best cell" in output) != output.startswith("The search found nothing better")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("search --nodes x", r"Invalid value for '--nodes': .* \(got 'x'\); see `autoshrink search --help`"),
        ("search --nodes 1", r"setting nodes: Input should be greater than or equal to 2 \(got 1\)"),
        ("search --nope 1", r"No such option: --nope.*; see `autoshrink search --help`"),
        ("search --candidates some", "'some' is neither 'all' nor a positive whole number"),
        ("search --max-macs lots", "'lots' is not a count such as 384M, 250k or 1,000,000"),
        ("search --time-limit soon", "'soon' is not a time such as 90s, 20m .minutes. or 1.5h"),
        ("search --widths 16,x", "'16,x' is not a list of whole numbers above zero such as 16,32,64"),
        ("search --task poetry", "task 'poetry' is unknown; choose from image, text"),
        ("search --set task=[1]", r"task \[1\] is unknown; choose from image, text"),
        (
            "search --resource luck",
            r"setting resource: Input should be 'macs', .* or 'latency', or name the file .* --plugin \(got 'luck'\)",
        ),
        ("search --set recipe.patience", "write it as section.name=value, for example recipe.patience=3"),
        ("search --set recipe.patiense=3", "setting recipe.patiense: there is no such setting for the task 'image'"),
        ("search --sentences 9", "setting data.sentences: there is no such .* 'image'; it belongs to --task text"),
        ("search --task text --stem 9", "setting network.stem: there is no .* 'text'; it belongs to --task image"),
        ("search --task text --nodes 1", r"setting nodes: Input should be greater than or equal to 2 \(got 1\)"),
        (
            "search --set recipe.patience=never",
            r"setting recipe.patience: Input should be a valid integer.*got 'never'",
        ),
        ("search --penalty -1", r"setting penalty: Input should be greater than or equal to 0 \(got -1"),
        ("search --data /no/such/place", "no data set and no path is called /no/such/place"),
        ("search --data cifar10", "autoshrink data fetch cifar10"),
        ("search --data digit", "digits"),
        ("search --start ring", "start 'ring' is unknown; choose complete, er:0.3, ba:2 or ws:4,0.75"),
        ("search --start gone.cell.json", "gone.cell.json: no such file"),
        (
            "search --max-macs 1k",
            "--max-macs 1k: even the smallest cell costs 14.5k here; raise it, or take --size 2, or --stem",
        ),
        (
            "search --max-memory 1KiB",
            "--max-memory 1KiB: even the smallest cell costs 6KiB here; raise it, or take --size 2, or --stem",
        ),
        ("search --device abacus", "device 'abacus' is unknown; there are auto, cpu, cuda, cuda:1 .* and mps"),
        ("search --set threads=100000", "100,000 threads are too many: at most "),
        (
            "resume gone",
            "gone: neither a search nor a training .*; `autoshrink search --run gone` or `autoshrink train -o gone`",
        ),
        ("report gone", "gone: no run here"),
        ("show gone", "gone: neither a file nor a name in the zoo; it has complete-rnn, .*shrinkcnn-a, shrinkcnn-b"),
        ("cost shrinkcnn-c", "shrinkcnn-c: neither a file nor a name in the zoo; did you mean shrinkcnn-"),
        ("cost gone.json", "gone.json: no such file"),
        ("cost .", "a folder, not the file of a cell or architecture"),
        ("cost shrinkcnn-a --width 9", "--width: it goes with language models, and shrinkcnn-a is an image classifier"),
        ("cost lstm --width 0", r"width: Input should be greater than 0 \(got 0\)"),
        ("show lstm --svg cell.svg", "lstm: an lstm architecture has no cell to draw; leave --svg out"),
        ("show shrinkcnn-a --svg cell.png", "--svg cell.png: the picture is an .svg file; give it such a name"),
        ("data fetch gone", "gone"),
        ("conjure", "No such command 'conjure'"),
    ],
)
def test_wrong_input_is_named_in_a_line_or_two(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    complaint = errors[errors.index("autoshrink: ") :]
    assert re.search(message, complaint, re.DOTALL), complaint
    assert complaint.count("\n") <= 2
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", r"bad.json: not JSON \(line 1, column 1: "),
        ("[1, 2]", "bad.json: "),
        (
            '{"format": "autoshrink.cell/1", "kind": "conv", "ops": ["input", "magic"], "edges": []}',
            "operation 'magic'",
        ),
        ('{"format": "autoshrink.cell/9"}', "bad.json: "),
        ('{"format": "autoshrink.architecture/1", "kind": "conv"}', "bad.json: cell: Field required"),
        (
            '{"format": "autoshrink.architecture/1", "kind": "rnn"}',
            "bad.json: architecture kind 'rnn' cannot be built by this version; it knows conv, ",
        ),
        ('{"format": "autoshrink.architecture/1", "kind": "gru", "width": 3}', "bad.json: vocabulary: Field required"),
    ],
)
def test_a_bad_file_is_named(content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text(content)
    assert run(["cost", str(tmp_path / "bad.json")]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("autoshrink.cli.inspect_commands.published.names", broken)
    with pytest.raises(ZeroDivisionError):
        run(["zoo"])


def test_cost_of_the_zoo_and_of_a_cell(cell_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", "shrinkcnn-a", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    expected = {"params": 3_600_981, "params_with_bn": 3_636_301, "macs": 383_677_672}
    assert {name: counted[name] for name in expected} == expected
    assert counted["peak_activation_bytes"] > 0
    assert run(["cost", str(cell_file), "--json", "--layers"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert sum(layer["macs"] for layer in counted["layers"]) == counted["macs"]
    # By hand, in the paper's proxy network: stem 3·32·9, then per cell node 1 (9c + cb), node 2 (c + b)b, shortcut cb.
    macs = 3 * 32 * 9 * 1024 + 64 * 10
    for channels, width, area in ((32, 16, 1024), (16, 32, 256), (32, 64, 64)):
        macs += area * (9 * channels + channels * width + (channels + width) * width + channels * width)
    assert counted["macs"] == macs
    assert run(["cost", str(cell_file), "--layers"]) == 0
    assert "stage3.cell1.node2.pointwise" in capsys.readouterr().out


def test_cost_of_language_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2)))
    file = tmp_path / "mine.cell.json"
    file.write_text(json.dumps(cell.to_json()))

    def counted(arguments: str) -> dict[str, int]:
        assert run(["cost", *arguments.split(), "--json"]) == 0
        value: dict[str, int] = json.loads(capsys.readouterr().out)
        return {name: value[name] for name in ("params", "cell_params", "macs", "vocabulary", "width")}

    # By hand: 4n² + 2 edges of 2n² in the cell, V·n of the embedding and again of the decoder's MACs, V biases.
    paper, small = (8 * 200**2, 10_000 * 200), (8 * 3**2, 50 * 3)
    for arguments, (inside, embedding), v, n in (
        (str(file), paper, 10_000, 200),
        (f"{file} --vocabulary 50 --width 3", small, 50, 3),
    ):
        assert counted(arguments) == {
            "params": embedding + v + inside,
            "cell_params": inside,
            "macs": embedding + inside,
            "vocabulary": v,
            "width": n,
        }
    for name in ("shrinkrnn", "lstm"):
        changed = counted(f"{name} --vocabulary 50")
        assert changed == counted(name) | {key: changed[key] for key in ("params", "macs", "vocabulary")}
        assert changed["vocabulary"] == 50

    assert run(["cost", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "10,000 words, width 200\n" in shown
    assert "--vocabulary and --width set others than the paper's" in shown
    assert run(["cost", str(file), "--vocabulary", "50", "--width", "3", "--layers"]) == 0
    shown = capsys.readouterr().out
    assert "50 words, width 3\n" in shown
    assert "cell.edge0-2" in shown
    assert "the paper's" not in shown


def test_show_of_language_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "shrinkrnn", "--svg", str(tmp_path / "cell.svg")]) == 0
    shown = capsys.readouterr().out
    for wanted in ("3 sigmoid", "mean(4, 5)", "the mean over its predecessors", "23,000,700", "width 745"):
        assert wanted in shown
    assert "<svg" in (tmp_path / "cell.svg").read_text()
    assert run(["show", "darts-rnn"]) == 0
    shown = capsys.readouterr().out
    assert "mean(1, 2, 3, 4, 5, 6, 7, 8)" in shown
    assert "mean(4, 6, 7, 8)" not in shown
    for name, module in (
        ("lstm", "torch.nn.LSTM, 1 layer: no cell"),
        ("gru", "torch.nn.GRU, 1 layer: no cell"),
        ("mingru", "minGRU, 2 layers: no cell"),
    ):
        assert run(["show", name]) == 0
        assert module in capsys.readouterr().out
        assert run(["show", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == zoo.get(name).to_json()


def test_show_tells_a_run_and_what_to_do_next(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", str(found)]) == 0
    shown = capsys.readouterr().out
    front = read_record(found).front()
    assert "Pareto front" in shown
    for evaluation in front:
        assert f"{evaluation.recorded.resources.macs:,}" in shown
    new_store(tmp_path / "begun").close()
    assert run(["show", str(tmp_path / "begun")]) == 0
    assert "nothing usable was measured yet" in capsys.readouterr().out


def test_show_draws_and_writes_pictures(
    cell_file: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", str(cell_file), "--svg", str(tmp_path / "cell.svg")]) == 0
    assert "sepconv3x3" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "cell.svg").read_text()
    several = proxy_architecture(Cell.read(cell_file), aggregate="sum").to_json()
    several["stages"][1]["cell"] = Cell("conv", ("input", "mbconv3x3", "identity"), ((0, 1), (1, 2))).to_json()
    (tmp_path / "several.arch.json").write_text(json.dumps(several))
    assert run(["show", str(tmp_path / "several.arch.json"), "--svg", str(tmp_path / "several.svg")]) == 0
    shown, drawn = capsys.readouterr().out, (tmp_path / "several.svg").read_text()
    assert shown.startswith("stages 1, 3:\n0 input")
    for words in ("stages 1, 3", "stage 2", "identity", "mbconv3x3", "sum"):
        assert words in shown
        assert words in drawn
    for name in ("page.html", "poster.svg"):
        assert run(["report", str(found), "-o", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert run(["report", str(found), "-o", str(tmp_path / "page.pdf")]) == 2
    assert "a report ends in .html (the page) or .svg (a summary picture)" in capsys.readouterr().err
    assert run(["report", str(found), "-o", str(tmp_path / "new" / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "page.html")
    assert run(["report", str(found), "-o", str(tmp_path / "page.html" / "page.html")]) == 2
    assert f"cannot be written: {tmp_path / 'page.html'} is a file, not a folder" in capsys.readouterr().err


def test_the_zoo_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == set(zoo.names())
    wanted = {
        "kind": "conv",
        "params": 3_600_981,
        "macs": 383_677_672,
        "published": {"error": 26.1, "params": 3_600_000, "macs": 384_000_000},
        "source": zoo.source("shrinkcnn-a"),
    }
    assert listed["shrinkcnn-a"] == wanted
    assert {row["kind"] for row in listed.values()} == {"conv", "mobile", "recurrent", "lstm", "gru", "mingru"}
    assert run(["zoo"]) == 0
    shown = capsys.readouterr().out
    for told in ("3,600,981", "3×224×224", "23,000,700", "10,000 words, width 745", zoo.source("shrinkrnn")):
        assert told in shown


def test_the_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["digits"]["path"] == "built in"
    assert listed["cifar10"]["path"] is None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "cifar.tar.gz").write_bytes(b"not the archive")

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/cifar.tar.gz"
        http.shutdown()


def test_a_download_with_a_wrong_checksum_is_refused(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "fetch", "cifar10", "--url", server, "--folder", str(tmp_path / "data")]) == 2
    assert "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd" in capsys.readouterr().err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    commands = re.findall(r"^  (\w+)  ", capsys.readouterr().out, re.MULTILINE)
    assert set(commands) == COMMANDS
    for command in commands:
        assert run([command, "--help"]) == 0
        assert f"autoshrink {command}" in capsys.readouterr().out


def test_a_training_killed_before_its_first_save_is_begun_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "training.lock").touch()
    assert run(["resume", str(tmp_path)]) == 2
    assert "stopped before its first step; give the same `autoshrink train` again" in capsys.readouterr().err


def test_it_starts_as_a_module_and_says_its_version() -> None:
    command = [sys.executable, "-m", "autoshrink", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"autoshrink \d+\.\d+\.\d+\n", told.stdout)


@pytest.mark.parametrize(
    ("text", "value"),
    [("384M", 384_000_000), ("3.6M", 3_600_000), ("250k", 250_000), ("1_000", 1000), ("7", 7)],
)
def test_counts(text: str, value: int) -> None:
    assert quantities.count(text) == value


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("20m", 1200), ("1.5h", 5400), ("2 min", 120)])
def test_times(text: str, value: float) -> None:
    assert quantities.seconds(text) == value
