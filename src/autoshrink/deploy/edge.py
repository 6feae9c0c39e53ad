"""What exports to runtimes of phones and small devices share: the network they take, and the check of what they made.

Every input has a fixed size: one image, or one token of one text with the state handed from step to step.

Shape letters: n images or tokens, C channels, s pixels, V vocabulary, w width, k layers of state.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel
from autoshrink.deploy.onnx_export import classifier_card
from autoshrink.deploy.onnx_file import Card
from autoshrink.deploy.parity import Floats, Parity, Tokens, compare, refuse_beyond
from autoshrink.deploy.recurrent_export import language_card, language_parity
from autoshrink.errors import InputError
from autoshrink.files import replacing, write_text
from autoshrink.networks import LanguageNetwork
from autoshrink.onnx.export import folded
from autoshrink.onnx.recurrent import step_form
from autoshrink.results import pretty

FORMAT = "autoshrink.exported/1"
TOLERANCE = 1e-4

Samples = Floats | Tokens
Array = npt.NDArray[Any]
Call = Callable[..., tuple[Array, ...]]
"""A program in a file, run once: inputs to outputs, arrays in the order of `Prepared`."""


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


class Classifier(nn.Module):
    """An image classifier with a name for its input, which LiteRT takes over: images (1, C, s, s) to (1, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = folded(network)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(images)
        return logits


def prepared(model: TrainedClassifier | TrainedLanguageModel, *, integers: torch.dtype = torch.int64) -> Prepared:
    """A trained model's network on the CPU, ready to be exported; `integers` is the type of token ids."""
    network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False)
    if isinstance(model, TrainedClassifier):
        images = torch.zeros(1, *model.architecture.input)
        return Prepared(Classifier(network), {"images": images}, ("logits",), classifier_card(model))
    assert isinstance(network, LanguageNetwork), "what a language model has"
    form = step_form(network)
    return Prepared(form.module, form.one(integers=integers), form.outputs, language_card(model, "step"))


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


def export(
    model: TrainedClassifier | TrainedLanguageModel, path: Path, samples: Samples, tolerance: float, runtime: Runtime
) -> Parity:
    """Write a model as a runtime's program, and `card_path(path)` beside it, unless it computes something else.

    Args:
        model: the model.
        path: the program's file; written whole or not at all.
        samples: real inputs: normalised images (n, C, s, s), or token ids (n,).
        tolerance: how far logits may be from PyTorch's, see `Parity.passes`.
        runtime: exports and runs.

    Raises:
        InputError: there is no sample, or the difference is above the tolerance.
        RunError: a file cannot be written.
    """
    if not len(samples):
        raise InputError("not one real sample to compare with PyTorch; give data that has some")
    network = prepared(model, integers=runtime.integers)
    program = runtime.convert(network)
    with replacing(path) as draft:
        draft.write_bytes(program)
        parity = _parity(model, runtime.start(draft, network), samples)
        refuse_beyond(tolerance, parity, path)
        write_text(card_path(path), pretty(_card(network, runtime, parity)))
    return parity


def card_path(path: Path) -> Path:
    """Where a program's classes, preprocessing and inputs stand: ``model.pte.json`` for ``model.pte``."""
    return path.with_name(f"{path.name}.json")


def _parity(model: TrainedClassifier | TrainedLanguageModel, call: Call, samples: Samples) -> Parity:
    if isinstance(model, TrainedLanguageModel):
        tokens: Tokens = np.asarray(samples, dtype=np.int64)
        return language_parity(model.network, lambda text, state: _read(call, text, state), tokens)
    network = copy.deepcopy(model.network).cpu().eval()
    with torch.no_grad():
        # One at a time, as the program reads them, and so that large images fit.
        expected = [network(torch.from_numpy(image[np.newaxis])).numpy() for image in samples]
    found = [call(image[np.newaxis])[0] for image in samples]
    return compare([((1, *samples.shape[1:]), np.concatenate(expected), np.concatenate(found))])


def _read(call: Call, tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
    """Tokens (T, B) and state (k, B, w) to logits (T, B, V) and the next state, a token and a text at a time."""
    texts, states = [], []
    for stream in range(tokens.shape[1]):
        carried, logits = state[:, stream : stream + 1], []
        for token in tokens[:, stream : stream + 1]:
            answer, carried = call(token, carried)
            logits.append(answer)
        texts.append(np.stack(logits))
        states.append(carried)
    return np.concatenate(texts, axis=1), np.concatenate(states, axis=1)


def _card(network: Prepared, runtime: Runtime, parity: Parity) -> dict[str, Any]:
    told = {name: json.loads(text) for name, text in network.card.to_properties().items() if name != "format"}
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
        **told,
    }


def _described(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "shape": list(tensor.shape), "type": str(tensor.dtype).removeprefix("torch.")}
