"""What a cell of each kind does around its nodes' operations, as pictures and sentences have it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellKind:
    """How cells of a kind are drawn and read.

    Attributes:
        first: what node 0 does; empty for the name of its operation.
        output: what is done with the leaves, in a box of a picture.
        formula: what comes out, with ``{nodes}`` for the leaves.
        shortcut: whether node 0 is added to what comes out.
        flow: how a picture is read, with ``{joined}`` for what nodes do with what they read.
    """

    first: str = ""
    output: str = "output"
    formula: str = "output of {nodes}"
    shortcut: bool = False
    flow: str = "Data flow downwards."


_KINDS = {
    "conv": CellKind(
        output="concat",
        formula="output = concat({nodes}) + shortcut(0)",
        shortcut=True,
        flow="Data flow downwards. Leaves are concatenated; the dashed line is the cell's shortcut.",
    ),
    "conv sum": CellKind(
        output="sum",
        formula="output = sum({nodes}) + input",
        shortcut=True,
        flow="Data flow downwards. Nodes add what they read; leaves are added, and the input along the dashed line.",
    ),
    "conv merge": CellKind(
        output="conv1x1",
        formula="output = conv1x1(concat({nodes})) + shortcut(0)",
        shortcut=True,
        flow="Data flow downwards. A 1×1 convolution merges the leaves; the dashed line is the cell's shortcut.",
    ),
    "recurrent": CellKind(
        first="tanh(x, h)",
        output="mean → h",
        formula="new hidden state h = mean({nodes})",
        flow="Data flow downwards, once for every token. Node 0 gates the input x into the hidden state h; every edge "
        "is a gated transform; nodes {joined} what they read; the mean of the leaves is the new hidden state.",
    ),
}


def cell_kind(name: str, aggregate: str | None = None) -> CellKind:
    """The kind of cells of a name, in a network that joins tensors so; of one not known here, a plain description."""
    return _KINDS.get(f"{name} {aggregate}") or _KINDS.get(name, CellKind())
