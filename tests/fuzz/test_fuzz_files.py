"""Damaged files of every format: refused in a line, or read as what they are; no traceback, no hang, nothing silent.

`AUTOSHRINK_FUZZ` says how many inputs are tried, from a seed of their own each (`AUTOSHRINK_FUZZ_SEED` is the first).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from fuzz_settings import FIRST_SEED, INPUTS
from mutations import damaged
from subjects import Subject, subjects
from trying import Outcome, is_json, tried


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    folder = tmp_path_factory.mktemp("fuzz")
    os.environ["AUTOSHRINK_CACHE"] = str(folder / "users-cache")
    return subjects(folder)


@pytest.mark.slow
@pytest.mark.timeout(24 * 3600)
@pytest.mark.filterwarnings("default")
def test_damaged_files(everything: list[Subject], capsys: pytest.CaptureFixture[str]) -> None:
    faults = []
    whole = {one.name: (one.file.read_bytes(), [tried(read) for read in one.reads]) for one in everything}
    for name, (_, outcomes) in whole.items():
        assert [one.fault for one in outcomes] == [None] * len(outcomes), name
        assert any(one.status == 0 for one in outcomes), name
    for seed in range(FIRST_SEED, FIRST_SEED + INPUTS):
        rng = random.Random(seed)
        subject = everything[seed % len(everything)]
        place = rng.randrange(len(subject.reads))
        data, outcomes = whole[subject.name]
        left = _siblings(subject.file)
        changed = damaged(data, rng)
        subject.file.write_bytes(changed)
        fault = _fault(subject, tried(subject.reads[place]), outcomes[place], same=changed == data)
        if fault:
            faults.append(f"seed {seed}: {subject.name}, {subject.reads[place]}: {fault}")
        subject.file.write_bytes(data)
        for path in _siblings(subject.file) - left:
            path.unlink(missing_ok=True)
    assert not faults, f"{len(faults)} of {INPUTS}:\n" + "\n".join(faults)


def _siblings(file: Path) -> set[Path]:
    return {path for path in file.parent.iterdir() if path.is_file()}


def _fault(subject: Subject, outcome: Outcome, whole: Outcome, *, same: bool) -> str | None:
    if outcome.fault:
        return outcome.fault
    if outcome.status == 0 and (subject.exact or same) and outcome.found != whole.found:
        return f"accepted, and says something else: {outcome.found[:300]!r}"
    if outcome.status == 0 and outcome.found.startswith("{") and not is_json(outcome.found):
        return f"no JSON: {outcome.found[:300]!r}"
    return None
