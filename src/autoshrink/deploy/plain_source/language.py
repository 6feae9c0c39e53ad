"""A language model as readable PyTorch: its cell's equations a node a statement, or torch's own LSTM or GRU."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from autoshrink.architecture import LibraryArchitecture, RecurrentArchitecture, RecurrentNode, RecurrentPlan
from autoshrink.bundle import TrainedLanguageModel
from autoshrink.cost import count
from autoshrink.deploy.plain_source import text
from autoshrink.deploy.plain_source.python import PlainSource, fill, import_lines, total
from autoshrink.errors import InputError
from autoshrink.ops import recurrent
from autoshrink.version import __version__

HEAD = '''
"""A language model: $sizes.

$params trainable parameters.
Written by autoshrink $version, which is not needed here: torch and safetensors are.

    python model.py "the beginning of a text"

    from model import END, TOKENS, encode, load

    network = load()  # the trained weights, in evaluation mode
    state = network.initial_state(batch=1)
    logits, state = network.step(torch.tensor([END]), state)  # of the first token

Shape letters: T time steps, B texts read side by side, n WIDTH.
"""

from __future__ import annotations

$imports

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent

TOKENS = json.loads((HERE / "vocabulary.json").read_text(encoding="utf-8"))
UNKNOWN, END = 0, 1  # their places in TOKENS: any other token, and the end of a line
WIDTH = $width
$constants'''

CELL = '''
def highway(
    s: Tensor, product: Tensor, activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """s + sigmoid(gate) * (activation(transform) - s); product is [gate, transform]."""
    gate, transform = product.chunk(2, dim=1)
    return s + torch.sigmoid(gate) * (activation(transform) - s)


${functions}class Cell(nn.Module):
    """The cell: input x (B, n) and hidden state h (B, n) to the next hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(2 * WIDTH, 2 * WIDTH, bias=False)
$edges
    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Compute the nodes in order, numbered as in the search."""
        s0 = highway(h, self.input(torch.cat([x, h], dim=1)), torch.tanh)
$nodes$output
'''

NETWORK = '''
class Network(nn.Module):
    """Embedding, $core_words, and a decoder whose weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(TOKENS), WIDTH)
$core
        self.decoder_bias = nn.Parameter(torch.zeros(len(TOKENS)))

$state
    def logits(self, hidden: Tensor) -> Tensor:
        """(…, n) to (…, len(TOKENS)): before softmax, one for each token."""
        return functional.linear(hidden, self.embedding.weight, self.decoder_bias)

$step'''

CELL_STATE = '''
    def initial_state(self, batch: int) -> Tensor:
        """The hidden state (B, n) at the beginning of a text."""
        return self.embedding.weight.new_zeros(batch, WIDTH)
'''

CELL_STEP = '''
    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token a text: (B,) to logits (B, len(TOKENS)), and the next state."""
        state = self.cell(self.embedding(tokens), state)
        return self.logits(state), state

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Token numbers (T, B) to logits (T, B, len(TOKENS)), and the next state."""
        hidden = []
        for x in self.embedding(tokens):
            state = self.cell(x, state)
            hidden.append(state)
        return self.logits(torch.stack(hidden)), state
'''

LSTM_STATE = '''
    def initial_state(self, batch: int) -> State:
        """Hidden state and memory at the beginning of a text."""
        zeros = self.embedding.weight.new_zeros(LAYERS, batch, WIDTH)
        return zeros, zeros
'''

GRU_STATE = '''
    def initial_state(self, batch: int) -> State:
        """The hidden state at the beginning of a text."""
        return self.embedding.weight.new_zeros(LAYERS, batch, WIDTH)
'''

LIBRARY_STEP = '''
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One token a text: (B,) to logits (B, len(TOKENS)), and the next state."""
        logits, state = self(tokens.unsqueeze(0), state)
        return logits[0], state

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Token numbers (T, B) to logits (T, B, len(TOKENS)), and the next state."""
        hidden, state = self.$kind(self.embedding(tokens), state)
        return self.logits(hidden), state
'''

LIBRARY_CONSTANTS = """
LAYERS = $layers

State = $state
"""

LIBRARY_STATES = {
    "lstm": (LSTM_STATE, "tuple[Tensor, Tensor]  # hidden state and memory, (LAYERS, B, n) each"),
    "gru": (GRU_STATE, "Tensor  # (LAYERS, B, n)"),
}


def render(model: TrainedLanguageModel) -> PlainSource:
    """``model.py`` with what it reads, for a language model.

    Raises:
        InputError: the kind of its architecture has no plain form.
    """
    match model.architecture:
        case RecurrentArchitecture() as architecture:
            blocks = _recurrent(model, architecture.plan())
        case LibraryArchitecture() as architecture:
            blocks = _library(model, architecture)
        case architecture:
            raise InputError(f"a {architecture.kind} language model has no plain source in this version")
    source = "\n\n".join([*blocks, text.tail(model.vocabulary)])
    texts = {"model.py": source, text.VOCABULARY_FILE: text.vocabulary_file(model.vocabulary)}
    return PlainSource(texts, dict(_renamed(model)))


def _head(model: TrainedLanguageModel, *, constants: str = "", cell: bool) -> str:
    imports = ["import json", "import sys", "from pathlib import Path"]
    imports += ["import re"] if model.vocabulary.rule == "words" else []
    imports += ["from collections.abc import Callable"] if cell else []
    return fill(
        HEAD,
        sizes=model.architecture.sizes,
        params=f"{count(model.architecture).params:,}",
        version=__version__,
        imports=import_lines(imports),
        width=model.architecture.width,
        constants=constants,
    )


def _recurrent(model: TrainedLanguageModel, plan: RecurrentPlan) -> list[str]:
    edges = "".join(f"        self.{_edge(i, j)} = nn.Linear(WIDTH, 2 * WIDTH, bias=False)\n" for i, j in plan.edges)
    sources = [recurrent(name).plain() for name in dict.fromkeys(node.op for node in plan.nodes)]
    return [
        _head(model, cell=True),
        fill(
            CELL,
            functions="".join(f"{source.definition}\n\n" for source in sources if source.definition),
            edges=edges,
            nodes="".join(f"{_node(node, plan)}\n" for node in plan.nodes),
            output=_output(plan),
        ),
        fill(
            NETWORK,
            core_words="the cell",
            core="        self.cell = Cell()",
            state=fill(CELL_STATE),
            step=fill(CELL_STEP),
        ),
    ]


def _node(node: RecurrentNode, plan: RecurrentPlan) -> str:
    terms = [f"highway(s{i}, self.{_edge(i, node.node)}(s{i}), {recurrent(node.op).call})" for i in node.inputs]
    return total(f"s{node.node}", terms, len(terms) if plan.aggregate == "mean" else 1, indent=2)


def _output(plan: RecurrentPlan) -> str:
    states = [f"s{node}" for node in plan.outputs]
    if len(states) == 1:
        return f"        return {states[0]}"
    return f"{total('h', states, len(states), indent=2)}\n        return h"


def _edge(source: int, target: int) -> str:
    return f"edge_{source}_{target}"


def _library(model: TrainedLanguageModel, architecture: LibraryArchitecture) -> list[str]:
    kind = architecture.kind
    initial, state = LIBRARY_STATES[kind]
    return [
        _head(model, constants=fill(LIBRARY_CONSTANTS, layers=architecture.layers, state=state), cell=False),
        fill(
            NETWORK,
            core_words=f"torch's {kind.upper()}",
            core=f"        self.{kind} = nn.{kind.upper()}(WIDTH, WIDTH, LAYERS)",
            state=fill(initial),
            step=fill(LIBRARY_STEP, kind=kind),
        ),
    ]


def _renamed(model: TrainedLanguageModel) -> Iterator[tuple[str, Tensor]]:
    """The network's tensors by their names in the generated file; a cell's matrices as `nn.Linear` has them."""
    for name, tensor in model.network.state_dict().items():
        match name.split("."):
            case ["embedding"]:
                yield "embedding.weight", tensor
            case ["core", "input_weight"]:
                yield "cell.input.weight", tensor.t()
            case ["core", "edges", edge]:
                yield f"cell.edge_{edge.replace('-', '_')}.weight", tensor.t()
            case ["core", "module", library]:
                yield f"{model.architecture.kind}.{library}", tensor
            case _:
                yield name, tensor
