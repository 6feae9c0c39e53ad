"""What exports to runtimes of phones and small devices share: the network they take, and the check of what they made.

Every input has a fixed size: one image, or one token of one text with the state handed from step to step.

Shape letters: n images or tokens, C channels, s pixels, V vocabulary, w width, k layers of state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.bundle import TrainedModel
from autoshrink.deploy.card import Card
from autoshrink.deploy.exporter import TOLERANCE, Array, Call, exporter_of, refuse_none
from autoshrink.deploy.parity import Parity, refuse_beyond
from autoshrink.files import replacing, write_text
from autoshrink.results import pretty

FORMAT = "autoshrink.exported/1"


@dataclass(frozen=True)
class Prepared:
    """A network as an edge runtime takes it.

    Attributes:
        module: in evaluation mode, BN folded; for a language model one step.
        inputs: an example of each, by name: ``images`` (1, C, s, s), or ``tokens`` (1,), ``state`` (k, 1, w).
        outputs: their names: ``logits``; for a language model also ``next_state``.
        card: what it is, for the file beside the exported one.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    card: Card

    @property
    def examples(self) -> tuple[Tensor, ...]:
        """The inputs, in order."""
        return tuple(self.inputs.values())


def prepared(model: TrainedModel, *, integers: torch.dtype = torch.int64) -> Prepared:
    """A trained model's network on the CPU, ready to be exported; `integers` is the type of token ids."""
    exporter = exporter_of(model.architecture)
    network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False)
    form = exporter.form(replace(model, network=network))
    return Prepared(form.module, form.one(integers=integers), form.outputs, Card.of(model, exporter.parts[0]))


@dataclass(frozen=True)
class Runtime:
    """A runtime and its exporter.

    Attributes:
        name: of the runtime and its version, for the file beside.
        convert: a network to the bytes of a program.
        start: the file of a network's program to what runs it.
        notes: what its users should know of its inputs.
        integers: the type of token ids.
    """

    name: str
    convert: Callable[[Prepared], bytes]
    start: Callable[[Path, Prepared], Call]
    notes: str
    integers: torch.dtype = torch.int64


def export(model: TrainedModel, path: Path, samples: Array, tolerance: float, runtime: Runtime) -> Parity:
    """Write a model as a runtime's program, and `card_path(path)` beside it, unless it computes something else.

    The program is written whole or not at all; samples and tolerance are those of `exporter.write_onnx`.

    Raises:
        InputError: there is no sample, or the difference is above the tolerance.
        RunError: a file cannot be written.
    """
    refuse_none(samples)
    exporter = exporter_of(model.architecture)
    network = prepared(model, integers=runtime.integers)
    program = runtime.convert(network)
    with replacing(path) as draft:
        draft.write_bytes(program)
        parity = exporter.parity(model, exporter.parts[0], runtime.start(draft, network), samples, batches=False)
        refuse_beyond(tolerance, parity, path)
        write_text(card_path(path), pretty(_card(network, runtime, parity)))
    return parity


def card_path(path: Path) -> Path:
    """Where a program's classes, preprocessing and inputs stand: ``model.pte.json`` for ``model.pte``."""
    return path.with_name(f"{path.name}.json")


def _card(network: Prepared, runtime: Runtime, parity: Parity) -> dict[str, Any]:
    with torch.no_grad():
        results = network.module(*network.examples)
    outputs = dict(zip(network.outputs, results if isinstance(results, tuple) else (results,), strict=True))
    return {
        "format": FORMAT,
        "runtime": runtime.name,
        "inputs": [_described(name, tensor) for name, tensor in network.inputs.items()],
        "outputs": [_described(name, tensor) for name, tensor in outputs.items()],
        "notes": runtime.notes,
        "parity": parity.to_json(),
        **network.card.to_json(),
    }


def _described(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "shape": list(tensor.shape), "type": str(tensor.dtype).removeprefix("torch.")}


__all__ = ["FORMAT", "TOLERANCE", "Array", "Call", "Prepared", "Runtime", "card_path", "export", "prepared"]
