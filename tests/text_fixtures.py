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
start = time.monotonic()
attempt(sys.argv[1] + " beforehand")
patience = (time.monotonic() - start) / 20
rng, deaths = random.Random(0), 0
gc.freeze()
while True:
    child = os.fork()
    if child == 0:
        try:
            attempt(sys.argv[1])
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
"""The end of a program that has defined `attempt`: an attempt of its own beside the folder imports what any needs and
tells how long one takes; then children are killed at random times, until one comes through; prints how many died."""


def deaths_until_done(program: str, folder: Path, *arguments: str) -> int:
    """Run a program that ends in `UNTIL_DONE`, on a folder; how many of its children were killed."""
    imports = "import gc, json, os, random, signal, sys, time, traceback\n"
    command = [sys.executable, "-c", f"{imports}{program}{UNTIL_DONE}", str(folder), *arguments]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=280).stdout)


SEARCH = """
from autoshrink import resume, search
from autoshrink.errors import RunError
from autoshrink.store import read_record
settings = json.loads(sys.argv[2])

def begun(folder):
    try:
        return bool(read_record(folder))
    except RunError:
        return False

def attempt(folder):
    resume(folder) if begun(folder) else search(settings, run=folder)
"""
"""A program for `deaths_until_done`: searches in a folder with settings (JSON), or goes on with the search there."""
