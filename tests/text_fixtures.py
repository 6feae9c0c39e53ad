"""A small text on disk, small trainings on it, and what a training left."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoshrink.final import STATE_FILE
from autoshrink.training import checkpoint
from autoshrink.training.language_model import MODEL_FILE

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


def left(folder: Path) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
    """Tensors and facts of both files of a training."""
    return {name: checkpoint.load(folder / name) for name in (MODEL_FILE, STATE_FILE)}


def assert_same(folder: Path, other: Path) -> None:
    """Two trainings left the same, bit for bit."""
    ours, theirs = left(folder), left(other)
    for name in ours:
        (tensors, facts), (wanted, wanted_facts) = ours[name], theirs[name]
        assert facts == wanted_facts
        assert tensors.keys() == wanted.keys()
        assert all(torch.equal(tensors[key], wanted[key]) for key in tensors), name
    assert (folder / "curve.json").read_text() == (other / "curve.json").read_text()
