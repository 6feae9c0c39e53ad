"""What cannot fit into memory is refused before it is asked for, by the option that asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoshrink import machine
from autoshrink.architecture import proxy_architecture
from autoshrink.bundle import save
from autoshrink.cell import Cell
from autoshrink.cli.app import app
from autoshrink.errors import InputError
from deploy_fixtures import DIGITS, classifier


def refusal(*arguments: str | Path) -> str:
    error = CliRunner().invoke(app, [str(one) for one in arguments]).exception
    assert isinstance(error, InputError), error
    return str(error)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--batch", "1000000000"], "images=1000000000x1x8x8"),
        (["--batch", "99999999999999999999999"], "images=99999999999999999999999x1x8x8"),
        (["--shape", "images=1x1x100000x100000"], "images=1x1x100000x100000"),
    ],
)
def test_inputs_of_a_latency(options: list[str], named: str, tmp_path: Path) -> None:
    (tmp_path / "net.arch.json").write_text(json.dumps(DIGITS.to_json()))
    said = refusal("latency", tmp_path / "net.arch.json", *options)
    assert f"inputs of {named} take at least" in said
    assert "are free; try a smaller --batch, or --shape" in said


def test_a_batch_to_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model.safetensors", classifier(DIGITS))
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path), "--batch", "99999999999999999999", "--json"])
    assert done.exit_code == 0, "a batch is never more than there are"
    monkeypatch.setattr(machine, "free_memory", lambda: 10_000)
    assert "--batch 359: so many images at once take at least" in refusal("evaluate", tmp_path, "--batch", "1000000000")


def test_a_batch_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("conv", ("input", "conv1x1"), ((0, 1),))
    architecture = proxy_architecture(cell, shape=(1, 8, 8), stem=4, widths=(4,))
    (tmp_path / "net.arch.json").write_text(json.dumps(architecture.to_json()))
    train = ["train", str(tmp_path / "net.arch.json"), "--data", "digits", "--epochs", "1", "--batch", "1000000000"]
    done = CliRunner().invoke(app, [*train, "-o", str(tmp_path / "all")])
    assert done.exit_code == 0, done.exception
    assert "a batch of 1,000,000,000 is all" in done.stderr
    monkeypatch.setattr(machine, "free_memory", lambda: 10_000)
    said = refusal(*train, "-o", tmp_path / "none")
    assert "images in one batch take at least" in said
    assert "try a smaller --batch, or more --accumulate" in said


def test_free_memory_is_below_the_machines() -> None:
    found = machine.free_memory()
    assert found is None or 0 < found < 2**50


FAULTS = """
import resource, sys
from autoshrink.machine import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("no glibc")
import torch
def step():
    [torch.zeros(2**20).add_(1) for _ in range(8)]
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator of other systems has no such switch")
def test_freed_memory_is_used_again() -> None:
    faults = {}
    for one in ("default", "kept"):
        done = subprocess.run([sys.executable, "-c", FAULTS, one], capture_output=True, text=True, check=False)
        if "no glibc" in done.stderr:
            pytest.skip("there is no glibc here")
        faults[one] = int(done.stdout)
    # 20 times 8 tensors of 4 MiB are 163,840 pages of 4 KiB.
    assert faults["kept"] < faults["default"] / 4
