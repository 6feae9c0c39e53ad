"""Recurrent architectures: a language model around a cell (AutoShrink, §"RNN", Eq. 1–3, and its released model).

With n the width, E the vocabulary × n embedding, and no biases in the cell, one token x_t makes the new state h_t::

    [c_0 | h_0] = [E[x_t] ; h_{t-1}] · W_0              W_0: 2n × 2n
    s_0         = h_{t-1} + sigmoid(c_0) · (tanh(h_0) − h_{t-1})
    [c | h]     = s_i · W_ij                            W_ij: n × 2n, one for every edge (i, j)
    m_ij        = s_i + sigmoid(c) · (op_j(h) − s_i)
    s_j         = mean (or sum) of m_ij over the predecessors i of j
    h_t         = mean of s_j over the output nodes j
    logits      = h_t · Eᵀ + bias

Node 0 is always tanh. Parameters: V·n + V + 4n² + edges·2n², for a vocabulary of V words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, field_validator

from autoshrink.architecture.base import ARCHITECTURE_FORMAT, CellField
from autoshrink.architecture.language import LanguageModel
from autoshrink.cell import Cell

AggregateName = Literal["mean", "sum"]


Output = Literal["leaves"] | tuple[int, ...]


def _output(value: object) -> Output:
    if value == "leaves":
        return "leaves"
    nodes = value if isinstance(value, list | tuple) else ()
    if not nodes or any(isinstance(node, bool) or not isinstance(node, int) for node in nodes):
        raise ValueError("the output is 'leaves' or a list of node numbers")
    return tuple(nodes)


def _output_json(output: Output) -> str | list[int]:
    return output if output == "leaves" else list(output)


OutputField = Annotated[Output, PlainValidator(_output), PlainSerializer(_output_json, return_type=Any)]


@dataclass(frozen=True)
class RecurrentNode:
    """A node after node 0: its number in the cell, its operation, and the nodes it reads, ascending."""

    node: int
    op: str
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class RecurrentPlan:
    """Everything a network of a recurrent architecture is built and counted from.

    Attributes:
        vocabulary: words; rows of the embedding.
        width: n, the size of embedding, node and hidden state.
        aggregate: how a node joins what comes from several predecessors.
        nodes: the reachable nodes after node 0, ascending.
        outputs: the nodes whose mean is the new hidden state, ascending; ``(0,)`` for the empty cell.
    """

    vocabulary: int
    width: int
    aggregate: AggregateName
    nodes: tuple[RecurrentNode, ...]
    outputs: tuple[int, ...]

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Every edge (i, j), in the order in which a step computes them: by j, then by i."""
        return tuple((i, node.node) for node in self.nodes for i in node.inputs)


class RecurrentArchitecture(LanguageModel):
    """A language model around a recurrent cell.

    Attributes:
        aggregate: ``"mean"`` as in the released code, which divides a node's sum by its in-degree, or ``"sum"`` as
            in the paper's Eq. 3.
        output: the nodes whose mean is the new hidden state: ``"leaves"`` as AutoShrink does, or node numbers,
            reachable and ascending (DARTS averages all nodes after node 0).
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: CellField
    aggregate: AggregateName = "mean"
    output: OutputField = "leaves"

    @field_validator("output")
    @classmethod
    def _usable(cls, output: Output, info: ValidationInfo) -> Output:
        cell: Cell | None = info.data.get("cell")
        if cell is None or output == "leaves":
            return output
        usable = cell.reachable[1:] or (0,)
        if sorted(set(output) & set(usable)) != list(output):
            raise ValueError(f"output nodes must ascend and be among the nodes in use, {', '.join(map(str, usable))}")
        return output

    def plan(self) -> RecurrentPlan:
        """The nodes in use, what they read, and which of them are the output."""
        nodes = (RecurrentNode(j, self.cell.ops[j], self.cell.predecessors[j]) for j in self.cell.reachable[1:])
        outputs = self.cell.leaves if self.output == "leaves" else self.output
        return RecurrentPlan(self.vocabulary, self.width, self.aggregate, tuple(nodes), outputs)

    def identity(self) -> dict[str, Any]:
        """See `Architecture.identity`; output nodes that are named mean this numbering of the cell's."""
        return super().identity() if self.output == "leaves" else self.to_json()

    def to_json(self) -> dict[str, Any]:
        """The architecture file's object; `aggregate` and `output` stand there only where they differ from default."""
        value = super().to_json()
        defaults = {"aggregate": "mean", "output": "leaves"}
        return {name: field for name, field in value.items() if field != defaults.get(name)}


def recurrent_proxy(
    cell: Cell, *, vocabulary: int, width: int, aggregate: AggregateName = "mean"
) -> RecurrentArchitecture:
    """The language model in which candidates are compared (AutoShrink, §"RNN": V = 10,000, n = 200).

    Raises:
        InputError: the cell is not recurrent, or a number is out of range.
    """
    value = {"format": ARCHITECTURE_FORMAT, "kind": "recurrent", "cell": cell, "aggregate": aggregate}
    return RecurrentArchitecture.from_json(value | {"vocabulary": vocabulary, "width": width})
