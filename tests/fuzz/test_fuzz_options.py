"""Every option of every command with values that cannot be meant: a line, an exit status, never a traceback or a hang.

Commands and options are asked of the application itself, so that a new one is tried from its first day. Data and runs
that are not there keep a value that can be meant from beginning a search.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from fuzz_settings import FIRST_SEED, INPUTS
from mutations import NASTY_TEXTS
from trying import tried

from autoshrink.cli.app import app


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, one in inner.items():
        yield from commands(one, (*words, name))


LONG = ("--make-table",)
"""Options that measure for minutes, whatever they are called with."""
COMMANDS = list(commands(typer.main.get_command(app)))


def _line(words: tuple[str, ...], command: Any, rng: random.Random, folder: Path) -> list[str]:
    """A command with its arguments, of which none exists, and one or two options with strange values."""
    options = [
        one
        for one in command.params
        if one.param_type_name == "option" and not getattr(one, "is_flag", False) and one.opts[0] not in LONG
    ]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    line = list(words)
    for argument in arguments:
        known = {"craft": "shrinkcnn-a", "cost": "shrinkcnn-a", "show": "shrinkcnn-a", "zoo": "shrinkcnn-a"}
        strange = rng.random() < 0.3 or not options
        if argument.required or strange:
            line.append(rng.choice(NASTY_TEXTS) if strange else known.get(words[-1], str(folder / "nothing")))
    for option in rng.sample(options, min(len(options), rng.choice((1, 1, 2)))):
        line += [option.opts[0], _value(option, rng)]
    if any("--data" in one.opts for one in options) and "--data" not in line:
        line += ["--data", str(folder / "nowhere")]
    return line


def _value(option: Any, rng: random.Random) -> str:
    if "--set" in option.opts and rng.random() < 0.8:
        return f"{rng.choice(('recipe.epochs', 'nodes', 'data.spec', 'a.b', 'stop'))}={rng.choice(NASTY_TEXTS)}"
    if option.opts[0] in ("--output", "-o", "--run", "--log", "--report"):
        return rng.choice(("", "x" * 400, "/proc/nothing/here", "\x1b[31m/x", "no/such/folder/x"))
    return rng.choice(NASTY_TEXTS)


@pytest.mark.timeout(24 * 3600)
@pytest.mark.filterwarnings("default")
def test_options_that_cannot_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path / "cache"))
    faults = []
    for seed in range(FIRST_SEED, FIRST_SEED + INPUTS):
        rng = random.Random(seed)
        words, command = COMMANDS[seed % len(COMMANDS)]
        line = _line(words, command, rng, tmp_path)
        fault = tried(line).fault
        if fault:
            faults.append(f"seed {seed}: {[word[:60] for word in line]}: {fault}")
    assert not faults, f"{len(faults)} of {INPUTS}:\n" + "\n".join(faults)


def test_no_command_is_forgotten() -> None:
    assert {" ".join(words) for words, _ in COMMANDS} >= {"search", "craft", "train", "predict", "data fetch", "resume"}
