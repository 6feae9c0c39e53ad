"""Language models as ONNX: one step with explicit state, and a loop of any length around the same step.

torch's exporters fix the length of a loop over time, or get it wrong silently; so torch exports one step, and the loop
is ONNX's own `Scan` around that step's graph.

Shape letters: T time steps, B streams, V vocabulary, n width, k layers of state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.networks import LanguageNetwork, reference
from autoshrink.networks.mingru import MinGRU
from autoshrink.networks.recurrent import Core, LibraryCore, RecurrentCell
from autoshrink.onnx.export import OPSET, Form, to_onnx
from autoshrink.onnx.session import onnx_library


def step_form(network: LanguageNetwork) -> Form:
    """Of one step: ``tokens`` (B,), ``state`` (k, B, n) to ``logits`` (B, V), ``next_state`` (k, B, n)."""
    state = network.initial_state(2)
    inputs = {"tokens": (torch.zeros(2, dtype=torch.int64), {0: "batch"}), "state": (state, {1: "batch"})}
    return Form(Step(network).eval(), inputs, ("logits", "next_state"))


def loop_model(network: LanguageNetwork, *, opset: int = OPSET) -> Any:
    """A loop of any length as an `onnx.ModelProto`: tokens (T, B), state (k, B, n) to logits (T, B, V), next state.

    Embedding and decoder stand outside the loop: one product for a whole chunk.
    """
    onnx = onnx_library()
    helper, kinds = onnx.helper, onnx.TensorProto
    state = network.initial_state(2)
    inputs = {"state": (state, {1: "batch"}), "embedded": (state[0], {0: "batch"})}
    core = to_onnx(Form(CoreStep(network.core).eval(), inputs, ("next_state", "hidden")), opset=opset).graph
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
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "loop",
        [tensor("tokens", kinds.INT64, ["time", "batch"]), tensor("state", kinds.FLOAT, memory)],
        [tensor("logits", kinds.FLOAT, ["time", "batch", vocabulary]), tensor("next_state", kinds.FLOAT, memory)],
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
        hiddens, cells = [], []
        layers = core.module.num_layers
        for layer in range(layers):
            if isinstance(core.module, MinGRU):
                gate, candidate = core.module.gates(layer, x)
                x = state[layer] + gate * (candidate - state[layer])
                hiddens.append(x)
                continue
            weights = [getattr(core.module, f"{name}_l{layer}") for name in _WEIGHTS]
            if isinstance(core.module, nn.LSTM):
                x, cell = torch.lstm_cell(x, (state[layer], state[layers + layer]), *weights)
                cells.append(cell)
            else:
                x = torch.gru_cell(x, state[layer], *weights)
            hiddens.append(x)
        return torch.stack(hiddens + cells), x


_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


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
