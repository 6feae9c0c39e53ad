"""An operation from a file outside the package goes the whole way, and never without the file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoshrink.cell import Cell, cell_of
from autoshrink.cli import run
from autoshrink.cli.command import PLUGINS
from autoshrink.store import read_record

PLUGIN = Path(__file__).parent / "plugins" / "made_up_ops.py"
Say = Callable[..., str]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command with the plug-in, in a folder of its own; what it prints."""
    monkeypatch.chdir(tmp_path)

    def told(*arguments: str) -> str:
        capfd.readouterr()
        status = run([*arguments, "--plugin", str(PLUGIN)])
        said = capfd.readouterr()
        assert status == 0, said.err
        return said.out

    return told


def alone(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which knows no operation but the package's."""
    code = "import sys; from autoshrink.cli import main; sys.argv[0] = 'autoshrink'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_made_up_operation_goes_from_search_to_prediction(say: Say, tmp_path: Path) -> None:
    sizes = ("--set", "data.train_per_class=20", "--set", "data.validation_per_class=10")
    search = ("search", "--nodes", "4", "--ops", "wide5x5,gated,avgpool5x5", "--epochs", "1", "--candidates", "2")
    short = ("--repeats", "1", "--finalists", "1", "--widths", "4,8", "--stem", "4", "--evaluator", "inherited")
    say(*search, *short, *sizes, "--beside", "none", "--run", "r", "--max-evaluations", "3", "--set", "playoff.cells=1")
    record = read_record(tmp_path / "r")
    digest = hashlib.sha256(PLUGIN.read_bytes()).hexdigest()
    assert f"{PLUGIN.name} sha256:{digest}" in record.environment["plugins"]
    assert record.settings.ops == ("wide5x5", "gated", "avgpool5x5")
    assert set(cell_of(record.start).ops[1:]) < {"wide5x5", "gated", "avgpool5x5"}
    say("resume", "r")
    assert "wide 5×5" in say("show", "r")
    say("report", "r")
    assert "wide 5×5" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")

    # One that has every operation, whichever the search took.
    cell = Cell("conv", ("input", "wide5x5", "gated", "avgpool5x5"), ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)))
    (tmp_path / "c.cell.json").write_text(json.dumps(cell.to_json()), encoding="utf-8")
    shape = ("--input", "1x8x8", "--classes", "10", "--stem", "4")
    say("craft", "c.cell.json", "--macs", "40k", *shape, "-o", "c.arch.json")
    say("train", "c.arch.json", "--data", "digits", "-o", "t", "--epochs", "1", "--batch", "256")
    assert 0 <= json.loads(say("evaluate", "t", "--json"))["accuracy"] <= 1
    say("export", "t", "-o", "m.onnx")
    say("export", "t", "--source", "plain")
    assert "class Gate(nn.Module)" in (tmp_path / "plain" / "model.py").read_text(encoding="utf-8")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "i.png")
    assert json.loads(say("predict", "m.onnx", "i.png", "--json"))

    for arguments in (("show", "r"), ("cost", "c.arch.json")):
        refused = alone(*arguments)
        assert refused.returncode == 2
        assert "'wide5x5' is unknown in a conv cell; choose from conv1x1, sepconv3x3" in refused.stderr
        assert "--plugin" in refused.stderr
    assert alone("cost", "c.arch.json", **{PLUGINS: str(PLUGIN)}).returncode == 0


def test_a_made_up_function_goes_from_search_to_prediction(say: Say, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sees the dog .\nthe dog likes milk .\n" * 60, encoding="utf-8")
    search = ("search", "--task", "text", "--data", "a.txt", "--nodes", "3", "--ops", "softsign,bump", "--epochs", "1")
    short = ("--width", "6", "--batch", "4", "--candidates", "1", "--repeats", "1", "--finalists", "1")
    say(*search, *short, "--beside", "none", "--evaluator", "trained", "--run", "r", "--max-evaluations", "2")
    cell = Cell("recurrent", ("input", "softsign", "bump"), ((0, 1), (0, 2), (1, 2)))
    (tmp_path / "c.cell.json").write_text(json.dumps(cell.to_json()), encoding="utf-8")
    say("train", "c.cell.json", "--data", "a.txt", "-o", "t", "--epochs", "1", "--batch", "4", "--width", "6")
    say("export", "t", "-o", "m.onnx")
    say("export", "t", "--source", "plain")
    source = (tmp_path / "plain" / "model.py").read_text(encoding="utf-8")
    assert "def bump(x: Tensor)" in source
    assert "torch.nn.functional.softsign" in source
    assert say("generate", "t", "--prompt", "the", "--length", "5")


def test_a_plugin_that_cannot_be_used_is_named() -> None:
    missing = alone("show", "r", "--plugin", "nowhere.py")
    assert (missing.returncode, missing.stderr) == (2, "autoshrink: --plugin nowhere.py: no such file\n")
    missing = alone("show", "r", **{PLUGINS: "nowhere.py"})
    assert (missing.returncode, missing.stderr) == (2, f"autoshrink: {PLUGINS} nowhere.py: no such file\n")
