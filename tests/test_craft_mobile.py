"""Networks of inverted residual blocks scaled to budgets, to stand beside a found cell of the same cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autoshrink import zoo
from autoshrink.architecture import ARCHITECTURE_FORMAT, Architecture, BlockName, MobileArchitecture, Stage, Stem
from autoshrink.cli import run
from autoshrink.cost import count
from autoshrink.crafting import craft
from autoshrink.errors import InputError
from autoshrink.networks import build

NAMES = [name for name in zoo.names() if zoo.get(name).kind == "mobile"]


def recounted(architecture: MobileArchitecture) -> tuple[int, int]:
    """MACs by torch's counter, and parameters of everything but batch normalisation."""
    network = build(architecture, seed=0).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *architecture.input))
    params = sum(p.numel() for name, p in network.named_parameters() if "bn" not in name)
    return counter.get_total_flops() // 2, params


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("macs", [1_500_000, 8_000_000])
def test_every_published_one_is_scaled_to_a_budget_of_macs(name: str, macs: int) -> None:
    found = craft(name, shape=(3, 32, 32), classes=10, macs=macs)
    architecture = found.architecture
    assert isinstance(architecture, MobileArchitecture)
    assert 0.97 * macs <= recounted(architecture)[0] == found.cost.macs <= macs
    assert build(architecture, seed=0)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


@pytest.mark.parametrize(
    ("side", "strides", "final"), [(224, 5, 7), (96, 5, 3), (64, 4, 4), (48, 4, 3), (32, 3, 4), (16, 2, 4), (2, 0, 2)]
)
def test_early_strides_go_where_the_input_is_small(side: int, strides: int, final: int) -> None:
    found = craft("mobilenetv2-1.0", shape=(3, side, side)).architecture
    assert isinstance(found, MobileArchitecture)
    published = zoo.get("mobilenetv2-1.0")
    assert isinstance(published, MobileArchitecture)
    kept = [found.stem.stride, *(stage.stride for stage in found.stages)]
    before = [published.stem.stride, *(stage.stride for stage in published.stages)]
    assert sum(stride == 2 for stride in kept) == strides
    assert found.plan().final_size == (final, final)
    first = next((place for place, stride in enumerate(kept) if stride == 2), len(kept))
    assert kept[first:] == before[first:]


def test_a_stem_that_is_given_keeps_its_stride() -> None:
    found = craft("mobilenetv2-1.0", shape=(3, 32, 32), stem=Stem(channels=16, stride=2)).architecture
    assert isinstance(found, MobileArchitecture)
    assert found.stem == Stem(channels=16, stride=2)
    assert found.plan().final_size == (4, 4)


def test_its_own_input_leaves_it_as_published() -> None:
    for name in NAMES:
        assert craft(name, shape=(3, 224, 224)).architecture == zoo.get(name)
        own = count(zoo.get(name)).macs
        assert craft(name, macs=own).architecture == zoo.get(name)


def test_several_budgets_are_all_kept_and_depth_can_stay() -> None:
    both = craft("mnasnet-a1", shape=(3, 96, 96), classes=5, params=100_000, memory=2**20)
    assert max(use.used / use.limit for use in both.uses) <= 1
    assert max(use.share for use in both.uses) > 0.9
    fixed = craft("mobilenetv2-1.0", shape=(3, 32, 32), classes=10, macs=6_000_000, depth="fixed")
    assert [part.cells for part in fixed.parts if part.cells] == [1, 2, 3, 4, 3, 3, 1]
    assert sum(part.macs for part in fixed.parts) == fixed.cost.macs


def test_what_only_cells_have_is_refused() -> None:
    with pytest.raises(InputError, match="stages: cells and widths for a network of cells"):
        craft("mobilenetv2-1.0", stages=(Stage(width=8),))
    with pytest.raises(InputError, match=r"macs: 1,000 MACs are too few: .* blocks of width 4\).*fewer stages"):
        craft("mobilenetv2-1.0", shape=(3, 32, 32), macs=1000)


def test_from_the_command_line_to_a_file_that_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mobile.arch.json"
    command = ["craft", "mobilenetv2-1.0", "--input", "1x8x8", "--classes", "10", "--params", "20k", "-o", str(file)]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "blocks  width" in said
    assert "blocks 1x16,2x24,3x32,4x64,3x96,3x160,1x320 --head 1280" in said
    assert "of 20,000 parameters" in said
    options = ["--epochs", "1", "--threads", "1", "--json", "-o", str(tmp_path / "model")]
    assert run(["train", str(file), "--data", "digits", *options]) == 0
    assert json.loads(capsys.readouterr().out)["params"] <= 20_000


def test_every_block_is_shown_counted_trained_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "blocks.arch.json"
    stages = [{"block": block, "width": 4, "activation": "hardswish"} for block in get_args(BlockName)]
    value = {"format": ARCHITECTURE_FORMAT, "kind": "mobile", "input": [1, 8, 8], "classes": 10, "stages": stages}
    file.write_text(json.dumps(value), encoding="utf-8")
    assert run(["show", str(file)]) == 0
    shown = capsys.readouterr().out
    words = "inverted residual blocks and fused residual blocks and residual blocks and separable convolutions, relu6"
    assert words in " ".join(shown.split())
    assert "hardswish" in shown
    assert run(["cost", str(file), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    options = ["--epochs", "1", "--threads", "1", "--json", "-o", str(tmp_path / "model")]
    assert run(["train", str(file), "--data", "digits", *options]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == counted["params"]
    for to in (["-o", str(tmp_path / "model.onnx")], ["--source", str(tmp_path / "plain")]):
        assert run(["export", str(tmp_path / "model"), *to]) == 0
