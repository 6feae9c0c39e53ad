"""Final trainings of either kind: stopped as by a person, what they left, and files damaged on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from autoshrink.bundle import MODEL_FILE
from autoshrink.final import STATE_FILE, Epoch, TrainingWatcher
from autoshrink.training import checkpoint


def left(folder: Path) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
    """Tensors and facts of both files of a training, without how long it took."""
    found = {name: checkpoint.load(folder / name) for name in (MODEL_FILE, STATE_FILE)}
    found[STATE_FILE][1].pop("spent", None)
    return found


def assert_same(folder: Path, other: Path) -> None:
    """Two trainings left the same, bit for bit."""
    ours, theirs = left(folder), left(other)
    for name in ours:
        (tensors, facts), (wanted, wanted_facts) = ours[name], theirs[name]
        assert facts == wanted_facts
        assert tensors.keys() == wanted.keys()
        assert all(torch.equal(tensors[key], wanted[key]) for key in tensors), name
    curves = [{one.name: one.read_text() for one in place.glob("curve.*")} for place in (folder, other)]
    assert curves[0] == curves[1] != {}


class Stopped(BaseException):
    """What ends a training from outside, as Ctrl-C does."""


def stopping_after(epochs: int) -> TrainingWatcher:
    """Stops after so many epochs of one session."""
    done: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        done.append(epoch)
        if len(done) == epochs:
            raise Stopped

    return TrainingWatcher(on_epoch=on_epoch)


def stopping_at_batch(batch: int) -> TrainingWatcher:
    told: Iterator[int] = iter(range(1, 10**6))

    def on_batch(*_: int) -> None:
        if next(told) == batch:
            raise Stopped

    return TrainingWatcher(on_batch=on_batch)


def rewritten(change: Callable[[dict[str, str], dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """The same file with changed metadata or tensors, and without the checksum that would tell."""

    def damage(path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            facts, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts.pop(checkpoint.CHECKSUM, None)
        change(facts, tensors)
        save_file(tensors, path, facts)

    return damage
