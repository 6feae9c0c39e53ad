"""A small text on disk, and small trainings on it, killed and gone on with."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

SUBJECTS, VERBS, OBJECTS = ("the cat", "the dog", "a bird"), ("sees", "likes", "chases"), ("milk", "bones", "seeds")


def sentences(count: int, seed: int) -> str:
    """Subject, verb, object and a full stop, a line each: ten words, learned in a few epochs."""
    rng = random.Random(seed)
    lines = [f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)} ." for _ in range(count)]
    return "\n".join(lines) + "\n"


def corpus(root: Path) -> Path:
    """A folder with a file for each split."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate((("train", 60), ("valid", 20), ("test", 15))):
        (root / f"{name}.txt").write_text(sentences(count, seed))
    return root


def asked(text: Path, **recipe: Any) -> dict[str, Any]:
    """Settings of a training that takes a blink."""
    base = {"epochs": 3, "batch": 4, "bptt": 15, "learning_rate": 10.0, "dropout": {"hidden": 0.2, "output": 0.2}}
    return {"data": {"spec": str(text), "min_count": 1}, "recipe": base | recipe, "threads": 1}


UNTIL_DONE = """
rng, deaths = random.Random(0), 0
while True:
    child = os.fork()
    if child == 0:
        try:
            attempt()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    time.sleep(rng.uniform(0, patience * (deaths + 1)))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(print(deaths) if status == 0 else 1)
    deaths += 1
"""
"""The end of a program that has defined `attempt` and `patience` (seconds): children of one process, which has imported
torch already, are killed at random times, until one comes through; prints how many died."""


def deaths_until_done(program: str, *arguments: str) -> int:
    """Run a program that ends in `UNTIL_DONE`; how many of its children were killed."""
    imports = "import json, os, pathlib, random, signal, sys, time, traceback\n"
    # An optimiser imports the second, which takes seconds: it should not do so in every child.
    command = [sys.executable, "-c", f"{imports}import torch._dynamo\n{program}{UNTIL_DONE}", *arguments]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=200).stdout)


SEARCH = """
from autoshrink import resume, search
from autoshrink.errors import RunError
from autoshrink.store import read_record
folder, settings = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
patience = 0.1

def begun():
    try:
        return bool(read_record(folder))
    except RunError:
        return False

def attempt():
    resume(folder) if begun() else search(settings, run=folder)
"""
"""A program for `deaths_until_done`: searches in a folder with settings (JSON), or goes on with the search there."""
