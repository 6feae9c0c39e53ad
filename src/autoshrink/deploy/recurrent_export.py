"""A language model as ONNX: one step with explicit state, and a loop of any length around the same step.

torch's exporters fix the length of a loop over time, or get it wrong silently; so torch exports one step, and the loop
is ONNX's own `Scan` around that step's graph.

Shape letters: T time steps, B streams, V vocabulary, n width, k layers of state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.cost import count
from autoshrink.deploy.onnx_file import Card, Part, onnx_library, open_session, write_model
from autoshrink.deploy.parity import Floats, Parity, Tokens, compare, refuse_beyond
from autoshrink.deploy.tracing import OPSET, Inputs, traced
from autoshrink.errors import DataError
from autoshrink.files import replacing
from autoshrink.networks import LanguageNetwork, reference
from autoshrink.networks.recurrent import Core, LibraryCore, RecurrentCell
from autoshrink.quantity import counted
from autoshrink.training.language_model import TrainedModel

TOLERANCE = 1e-4
LENGTHS = (12, 7, 5)
"""In steps: chunks of the second and third length have to give what the first gives in one."""
STREAMS = 3

Run = Callable[[Tokens, Floats], tuple[Floats, Floats]]
"""Tokens (T, B) and state (k, B, n) to logits (T, B, V) and the next state."""


def export_language_model(
    model: TrainedModel, path: Path, tokens: Tokens, *, tolerance: float = TOLERANCE, opset: int = OPSET
) -> tuple[Parity, Parity]:
    """Write a language model's step as `path` and its loop beside it, unless they compute something else.

    The step: ``tokens`` int64 (B,), ``state`` float32 (k, B, n) to ``logits`` (B, V), ``next_state`` (k, B, n). The
    loop, in `loop_path(path)`: ``tokens`` (T, B) and ``state`` to ``logits`` (T, B, V), ``next_state``. A text starts
    with a state of zeros. Both are checked with one stream and with several, at two lengths, and in chunks.

    Args:
        model: the language model.
        path: the step's file; both are written whole, and both or none.
        tokens: real ones, int64 (at least 36,): `autoshrink.deploy.parity.real_tokens`.
        tolerance: how far logits may be from PyTorch's, see `Parity.passes`.
        opset: of ONNX.

    Returns:
        Of the step and of the loop.

    Raises:
        InputError: a package is missing, the opset cannot be written, or the difference is above the tolerance.
        DataError: there are too few tokens.
        RunError: a file cannot be written.
    """
    exported: dict[Part, Any] = {
        "step": step_model(model.network, opset=opset),
        "loop": loop_model(model.network, opset=opset),
    }
    places = {"step": path, "loop": loop_path(path)}
    parities = []
    with ExitStack() as drafts:
        for part, proto in exported.items():
            draft = drafts.enter_context(replacing(places[part]))
            write_model(proto, draft, language_card(model, part))
            run = stepped(draft) if part == "step" else looped(draft)
            parity = language_parity(model.network, run, tokens)
            refuse_beyond(tolerance, parity, places[part])
            parities.append(parity)
    step, loop = parities
    return step, loop


def loop_path(path: Path) -> Path:
    """Where the loop of the step in a file lies: ``model.loop.onnx`` for ``model.onnx``."""
    return path.with_suffix(f".loop{path.suffix}")


def language_card(model: TrainedModel, part: Part) -> Card:
    """What a file of a language model says of itself."""
    counted = count(model.architecture)
    return Card(
        architecture=model.architecture,
        params=counted.params,
        macs=counted.macs,
        facts=model.facts,
        part=part,
        vocabulary=model.vocabulary,
        torch=torch.__version__,
    )


def step_model(network: LanguageNetwork, *, opset: int = OPSET) -> Any:
    """One step as an `onnx.ModelProto`: tokens (B,), state (k, B, n) to logits (B, V), next state."""
    state = network.initial_state(2)
    inputs: Inputs = {"tokens": (torch.zeros(2, dtype=torch.int64), {0: "batch"}), "state": (state, {1: "batch"})}
    return traced(Step(network).eval(), inputs, ("logits", "next_state"), opset=opset)


def loop_model(network: LanguageNetwork, *, opset: int = OPSET) -> Any:
    """A loop of any length as an `onnx.ModelProto`: tokens (T, B), state (k, B, n) to logits (T, B, V), next state.

    Embedding and decoder stand outside the loop: one product for a whole chunk.
    """
    onnx = onnx_library()
    helper, kinds = onnx.helper, onnx.TensorProto
    state = network.initial_state(2)
    inputs: Inputs = {"state": (state, {1: "batch"}), "embedded": (state[0], {0: "batch"})}
    core = traced(CoreStep(network.core).eval(), inputs, ("next_state", "hidden"), opset=opset).graph
    # In a step of its own no name may be one of the graph around it.
    body = onnx.compose.add_prefix_graph(core, "step/")
    weights = list(body.initializer)
    del body.initializer[:]
    vocabulary, width = network.embedding.shape
    constants = {
        "embedding": network.embedding.detach().numpy(),
        "decoder_bias": network.decoder_bias.detach().numpy(),
        "words": np.array([vocabulary], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["embedding", "tokens"], ["embedded"]),
        helper.make_node("Scan", ["state", "embedded"], ["next_state", "hidden"], body=body, num_scan_inputs=1),
        helper.make_node("Flatten", ["hidden"], ["features"], axis=2),
        helper.make_node("Gemm", ["features", "embedding", "decoder_bias"], ["flat"], transB=1),
        helper.make_node("Shape", ["tokens"], ["times"]),
        helper.make_node("Concat", ["times", "words"], ["shape"], axis=0),
        helper.make_node("Reshape", ["flat", "shape"], ["logits"]),
    ]
    memory = [network.core.layers, "batch", width]
    graph = helper.make_graph(
        nodes,
        "loop",
        [
            helper.make_tensor_value_info("tokens", kinds.INT64, ["time", "batch"]),
            helper.make_tensor_value_info("state", kinds.FLOAT, memory),
        ],
        [
            helper.make_tensor_value_info("logits", kinds.FLOAT, ["time", "batch", vocabulary]),
            helper.make_tensor_value_info("next_state", kinds.FLOAT, memory),
        ],
        initializer=[
            *(onnx.numpy_helper.from_array(array, name) for name, array in constants.items()),
            *weights,
        ],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model_gen_version(graph, opset_imports=opsets, producer_name="autoshrink")


class CoreStep(nn.Module):
    """What stands between embedding and decoder, for one step: state (k, B, n), x (B, n) to next state, output (B, n).

    Written out in plain operations, so that no exporter needs to know a recurrent kernel.
    """

    def __init__(self, core: Core) -> None:
        super().__init__()
        assert isinstance(core, RecurrentCell | LibraryCore), "there are no other kinds"
        self.core = core

    def forward(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        core = self.core
        if isinstance(core, RecurrentCell):
            hidden = reference.step(
                core.plan, x, state[0], input_weight=core.input_weight, edge_weights=core.edge_weights()
            )
            return hidden.unsqueeze(0), hidden
        return _lstm(core.module, state, x) if isinstance(core.module, nn.LSTM) else _gru(core.module, state, x)


class Step(nn.Module):
    """Embedding, one step, decoder: tokens (B,) and state (k, B, n) to logits (B, V) and the next state."""

    def __init__(self, network: LanguageNetwork) -> None:
        super().__init__()
        self.network = network
        self.core = CoreStep(network.core)

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        state, hidden = self.core(state, functional.embedding(tokens, self.network.embedding))
        return self.network.logits(hidden), state


def _lstm(module: nn.LSTM, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    hiddens, cells = [], []
    for layer in range(module.num_layers):
        from_input, from_hidden = _products(module, layer, x, state[layer])
        write, keep, new, show = (from_input + from_hidden).chunk(4, dim=1)
        cell = torch.sigmoid(keep) * state[module.num_layers + layer] + torch.sigmoid(write) * torch.tanh(new)
        x = torch.sigmoid(show) * torch.tanh(cell)
        hiddens.append(x)
        cells.append(cell)
    return torch.stack(hiddens + cells), x


def _gru(module: nn.GRU, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    hiddens = []
    for layer in range(module.num_layers):
        from_input, from_hidden = _products(module, layer, x, state[layer])
        (reset, keep, new), (reset_, keep_, old) = from_input.chunk(3, dim=1), from_hidden.chunk(3, dim=1)
        candidate = torch.tanh(new + torch.sigmoid(reset + reset_) * old)
        gate = torch.sigmoid(keep + keep_)
        x = candidate + gate * (state[layer] - candidate)
        hiddens.append(x)
    return torch.stack(hiddens), x


def _products(module: nn.LSTM | nn.GRU, layer: int, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer makes of its input and of its own last output, gates side by side as torch has them."""
    return (
        functional.linear(x, getattr(module, f"weight_ih_l{layer}"), getattr(module, f"bias_ih_l{layer}")),
        functional.linear(hidden, getattr(module, f"weight_hh_l{layer}"), getattr(module, f"bias_hh_l{layer}")),
    )


def language_parity(network: LanguageNetwork, run: Run, tokens: Tokens) -> Parity:
    """How far a program is from a network: one stream and several, two lengths, whole and in chunks.

    Raises:
        DataError: there are too few tokens.
    """
    whole, *chunks = LENGTHS
    needed = whole * STREAMS
    if len(tokens) < needed:
        raise DataError(
            f"{counted(len(tokens), 'token')} of training text; at least {needed} are compared with PyTorch"
        )

    def outputs() -> Iterator[tuple[tuple[int, ...], Any, Any]]:
        for streams in (1, STREAMS):
            text = np.ascontiguousarray(tokens[: whole * streams].reshape(streams, whole).T)
            state = network.initial_state(streams)
            with torch.no_grad():
                expected = network(torch.from_numpy(text), state)[0].numpy()
            yield text.shape, expected, run(text, state.numpy())[0]
            found, carried, start = [], state.numpy(), 0
            for length in chunks:
                logits, carried = run(text[start : start + length], carried)
                found.append(logits)
                start += length
            yield (chunks[0], streams), expected, np.concatenate(found)

    return compare(outputs())


def stepped(path: Path, *, threads: int = 1) -> Run:
    """A step's file, called once a token."""
    session = open_session(path, threads=threads)

    def run(tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
        logits = []
        for step in tokens:
            found, state = session.run(["logits", "next_state"], {"tokens": step, "state": state})
            logits.append(found)
        return np.stack(logits), state

    return run


def looped(path: Path, *, threads: int = 1) -> Run:
    """A loop's file."""
    session = open_session(path, threads=threads)

    def run(tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
        logits, state = session.run(["logits", "next_state"], {"tokens": tokens, "state": state})
        return logits, state

    return run
