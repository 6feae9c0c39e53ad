"""The comparison of networks at equal cost: the budget is kept, and a comparison that was killed goes on."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import beside
from autoshrink.spaces.families import families
from recipe import Images


@pytest.mark.slow
def test_a_comparison_keeps_to_the_budget_and_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "results.jsonl"
    command = ["beside.py", "--data", "digits", "--macs", "100k", "--train", "128", "--epochs", "1"]
    command += ["--seeds", "2", "--no-flip", "--peers", "resnet8", "chain", "--no-complete"]
    command += ["--resume", str(kept), "--json"]
    monkeypatch.setattr(sys, "argv", command)

    def run() -> dict[str, object]:
        beside.main()
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    first, lines = run(), kept.read_text().splitlines()
    trainings = [line for line in lines if '"network"' in line]
    rows = first["rows"]
    assert isinstance(rows, list)
    assert sorted((row["network"], row["stem"]) for row in rows) == [
        ("chain", 1),
        ("chain", 2),
        ("resnet8", 1),
        ("resnet8", 2),
    ]
    assert all(95_000 <= row["macs"] <= 100_000 for row in rows)
    assert len(trainings) == 8

    kept.write_text("".join(f"{line}\n" for line in lines if line != trainings[-1]))
    again = run()
    assert len(kept.read_text().splitlines()) == len(lines)
    assert [row["accuracies"] for row in rows] == [row["accuracies"] for row in again["rows"]]  # type: ignore[attr-defined]


def test_a_given_network_may_read_smaller_images(tmp_path: Path) -> None:
    def written(side: int, channels: int = 3) -> Path:
        network = next(iter(families((channels, side, side), 10).values()))
        path = tmp_path / f"{channels}x{side}.arch.json"
        path.write_text(json.dumps(network.to_json()))
        return path

    assert beside.given(written(32), (3, 32, 32), 10).side is None
    entry = beside.given(written(24), (3, 32, 32), 10)
    assert entry.shape((3, 32, 32)) == (3, 24, 24)
    for wrong in (written(40), written(32, channels=1)):
        with pytest.raises(SystemExit, match="made for"):
            beside.given(wrong, (3, 32, 32), 10)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (4, 32, 32, 3), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(4), pixels[:2], torch.arange(2), 4).at(24)
    assert images.shape == (3, 24, 24)
    wanted = Image.fromarray(pixels[1].numpy()).resize((24, 24), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(images.test[1].numpy(), np.asarray(wanted))
