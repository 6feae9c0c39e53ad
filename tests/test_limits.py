"""What no machine could build is refused by a limit that the message names, before time or memory is spent on it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from autoshrink import zoo
from autoshrink.cli import run

CONV, MOBILE = zoo.get("shrinkcnn-a").to_json(), zoo.get("mobilenetv2-1.4").to_json()
LSTM = {"format": "autoshrink.architecture/1", "kind": "lstm", "vocabulary": 100, "width": 20}


def _with(value: dict[str, Any], **changes: object) -> dict[str, Any]:
    stages = [value["stages"][0] | changes] if "stages" in value else []
    return value | ({"stages": stages} if stages else changes)


REFUSED = {
    "cells": (_with(CONV, cells=10**8), "stages.0.cells: Input should be less than or equal to 1000 (got 100000000)"),
    "blocks": (_with(MOBILE, blocks=10**8), "stages.0.blocks: Input should be less than or equal to 1000"),
    "layers": (_with(LSTM, layers=10**7), "layers: Input should be less than or equal to 1000 (got 10000000)"),
    "all cells": (CONV | {"stages": [CONV["stages"][0] | {"cells": 600}] * 2}, "1,200 cells in all stages; at most"),
    "stages": (CONV | {"stages": CONV["stages"] * 10_000}, "stages; at most 1,000 can be built"),
    "width": (_with(CONV, width=10**12), "stages.0.width: Input should be less than or equal to 1000000"),
    "classes": (CONV | {"classes": 10**9}, "classes: Input should be less than or equal to 10000000"),
    "true": (CONV | {"classes": True}, "classes: Input should be a valid integer (got True)"),
    "fraction": (_with(CONV, width=16.0), "stages.0.width: Input should be a valid integer (got 16.0)"),
    "negative": (_with(CONV, width=-3), "stages.0.width: Input should be greater than 0 (got -3)"),
    "text": (_with(CONV, width="3"), "stages.0.width: Input should be a valid integer (got '3')"),
    "pixels": (CONV | {"input": [3, 10**9, 10**9]}, "input.1: Input should be less than or equal to 1000000"),
    "unknown name": (CONV | {"x" * 400: 1}, "'xxxxx"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_an_architecture_that_cannot_be_built_is_one_line(
    value: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.arch.json"
    path.write_text(json.dumps(value))
    began = time.process_time()
    for command in (["show"], ["cost"], ["craft"]):
        assert run([*command, str(path)]) == 2
        told = capsys.readouterr().err
        assert f"{path}: " in told
        assert message in told
        assert len(told.splitlines()) == 1
        assert len(told) < len(str(path)) + 300
    assert time.process_time() - began < 5


def test_the_deepest_that_is_taken_is_counted_in_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.arch.json"
    path.write_text(json.dumps(_with(CONV, cells=1000)))
    began = time.process_time()
    assert run(["cost", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] > 10**6
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "options",
    [
        ["--stages", "100000000x16"],
        ["--stages", "1x1000000000"],
        ["--stages", "²x16"],
        ["--stages", "9" * 5000 + "x16"],
        ["--stem", "99999999"],
        ["--head", "²"],
        ["--input", "3x²x32"],
        ["--input", "3x" + "9" * 5000 + "x32"],
        ["--classes", "9" * 5000],
        ["--classes", "1000000000"],
        ["--macs", "9" * 5000],
        ["--macs", "²"],
    ],
    ids=lambda options: f"{options[0]}-{options[1][:12]}",
)
def test_an_option_that_cannot_be_is_one_short_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["craft", "shrinkcnn-a", *options]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert options[1][:3] in told.err
    assert len(told.err.splitlines()) == 1
    assert len(told.err) < 400
