"""A model file whose checksum is right and whose facts cannot be: refused by name, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoshrink.bundle import save
from autoshrink.cli import run
from autoshrink.training import checkpoint
from deploy_fixtures import DIGITS, classifier

ARCHITECTURE = DIGITS.to_json()
NARROW = ARCHITECTURE | {"stages": [{"cells": 1, "width": -8, "pool": 1}]}
OTHER = ARCHITECTURE | {"stages": [{"cells": 1, "width": 16, "pool": 1}]}

IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "names": ({"classes": ["a", "b", "c", "d"]}, "damaged: 4 class names for 10 classes"),
    "equal names": ({"classes": ["a"] * 10}, "damaged: classes: a name stands there twice"),
    "numbers": ({"classes": list(range(10))}, "is no list of names"),
    "width": ({"architecture": NARROW}, "damaged: stages.0.width: Input should be greater than 0 (got -8)"),
    "weights": (
        {"architecture": OTHER},
        "damaged: its weights do not fit its architecture (Unexpected key(s) in state_dict",
    ),
    "epsilon": ({"bn_epsilon": {"a": 1}}, "damaged: bn_epsilon: Input should be a valid number (got {'a': 1})"),
    "accuracy": ({"performance": "high"}, "damaged: performance: Input should be a valid number (got 'high')"),
    "epoch": ({"epoch": True}, "damaged: epoch: Input should be a valid integer (got True)"),
    "data": ({"data": {"spec": 3}}, "damaged: data.spec: Input should be a valid string (got 3)"),
}


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_facts_are_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.safetensors"
    save(path, classifier(DIGITS))
    tensors, facts = checkpoint.load(path)
    checkpoint.save(path, tensors, facts | changes)
    assert run(["evaluate", str(tmp_path), "--data", "digits"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert str(path) in told.err
    assert len(told.err.splitlines()) == 1
    assert len(told.err) < len(str(path)) + 350
