"""Steps of language models, for one token at batch 1: recurrent cells, torch's own LSTM and GRU, and minGRU.

What works in place: activations, the addition of a second predecessor's message, a node's mean, and the mean over the
output nodes, which overwrites the first of them. A tensor of its own: the concatenation [x ; h], every matrix product,
a gated message, the state made from gates. The states that the next token needs stay alive to the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoshrink.architecture import LibraryArchitecture, RecurrentPlan
from autoshrink.steps import Layer, Step

GATES = {"lstm": 4, "gru": 3}
"""Vectors of one width that each of the two matrix products of a layer gives."""


def recurrent_steps(plan: RecurrentPlan) -> Iterator[Step]:
    """One token through a recurrent cell, from tensor ``state`` to ``new state``; the plan's equations in order."""
    n = plan.width
    yield _embedding(plan.vocabulary, n)
    yield Step(("x", "state"), "x+state", 2 * n)
    yield Step(("x+state",), "input", 2 * n, _matrix("cell.input", 2 * n, 2 * n))
    nodes = {0: "node0"}
    yield Step(("input", "state"), nodes[0], n)
    for node in plan.nodes:
        name = nodes[node.node] = f"node{node.node}"
        for position, i in enumerate(node.inputs):
            edge = f"edge{i}-{node.node}"
            message = f"{edge}.message" if position else name
            yield Step((nodes[i],), edge, 2 * n, _matrix(f"cell.{edge}", n, 2 * n))
            yield Step((edge, nodes[i]), message, n)
            if position:
                yield Step((name, message), name, n, in_place=True)
    yield Step(tuple(nodes[i] for i in plan.outputs), "new state", n, in_place=True)
    yield _decoder("new state", plan.vocabulary, n)


def library_steps(architecture: LibraryArchitecture) -> Iterator[Step]:
    """One token through ``torch.nn.LSTM``, ``torch.nn.GRU`` or minGRU, layer by layer."""
    n, gates = architecture.width, GATES.get(architecture.kind, 2)
    yield _embedding(architecture.vocabulary, n)
    below = "x"
    for layer in range(1, architecture.layers + 1):
        name, hidden, new = f"layer{layer}", f"layer{layer}.state", f"layer{layer}.new state"
        if architecture.kind == "mingru":
            yield Step((below,), f"{name}.gates", gates * n, _matrix(f"cell.{name}.input", n, gates * n, bias=True))
            yield Step((hidden, f"{name}.gates"), new, n, in_place=True)
            below = new
            continue
        for source, part in ((below, "input"), (hidden, "hidden")):
            matrix = _matrix(f"cell.{name}.{part}", n, gates * n, bias=True)
            yield Step((source,), f"{name}.{part}", gates * n, matrix)
        gated = f"{name}.gates"
        yield Step((f"{name}.input", f"{name}.hidden"), gated, gates * n, in_place=True)
        if architecture.kind == "lstm":
            yield Step((f"{name}.cell", gated), f"{name}.new cell", n, in_place=True)
            yield Step((f"{name}.new cell", gated), new, n)
        else:
            yield Step((hidden, gated), new, n, in_place=True)
        below = new
    yield _decoder(below, architecture.vocabulary, n)


def state_names(architecture: LibraryArchitecture, *, new: bool) -> tuple[str, ...]:
    """The tensors of one width that a module carries from token to token, before or after a token."""
    parts = ("state", "cell") if architecture.kind == "lstm" else ("state",)
    return tuple(
        f"layer{layer}.{'new ' if new else ''}{part}" for layer in range(1, architecture.layers + 1) for part in parts
    )


def _embedding(vocabulary: int, width: int) -> Step:
    return Step((), "x", width, Layer("embedding", "embedding", vocabulary, width, (1, 1), vocabulary * width, 0, 0))


def _decoder(source: str, vocabulary: int, width: int) -> Step:
    """Its weight is the embedding's, so only the bias is new."""
    layer = Layer("decoder", "linear, tied", width, vocabulary, (1, 1), vocabulary, 0, vocabulary * width)
    return Step((source,), "logits", vocabulary, layer)


def _matrix(name: str, inputs: int, outputs: int, *, bias: bool = False) -> Layer:
    weights = inputs * outputs
    return Layer(name, "linear", inputs, outputs, (1, 1), weights + bias * outputs, 0, weights)
