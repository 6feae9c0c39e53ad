"""The comparison of networks at equal cost: the budget is kept, and a comparison that was killed goes on."""

import json
import sys
from pathlib import Path

import pytest

import beside


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
