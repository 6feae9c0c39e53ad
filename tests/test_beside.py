"""The comparison of networks at equal cost, run as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[1] / "benchmarks" / "beside.py"


@pytest.mark.slow
def test_a_comparison_keeps_to_the_budget_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    kept = tmp_path / "results.jsonl"
    command = [sys.executable, str(BESIDE), "--data", "digits", "--macs", "100k", "--train", "128", "--epochs", "1"]
    command += ["--seeds", "2", "--no-flip", "--peers", "resnet8", "chain", "--no-complete"]
    command += ["--resume", str(kept), "--json"]

    def run() -> dict[str, object]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, object] = json.loads(done.stdout)
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
