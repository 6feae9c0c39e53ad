"""A convolutional network as readable PyTorch, its cell's wiring as plain statements."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from autoshrink.architecture import CellPlan, ConvArchitecture, NetworkPlan
from autoshrink.bundle import TrainedClassifier
from autoshrink.deploy.plain_source import image
from autoshrink.deploy.plain_source.python import INDENT, LINE, PlainSource, fill, listing, table
from autoshrink.ops import NodePlan, Source
from autoshrink.ops import conv as operation

CONSTANTS = """
STEM = $stem  # channels of the first convolution
# cells in a row, channels of a node, max-pooling before the first of them
$stages
${head}ACTIVATION = $activation
"""

CELL = '''
class Cell(nn.Module):
    """The cell: (B, channels, H, W) to (B, out_channels, H / pool, W / pool).

    $words
    """

    def __init__(self, channels: int, width: int, pool: int) -> None:
        super().__init__()
        self.out_channels = $out_channels
        self.pool = nn.MaxPool2d(pool, ceil_mode=True) if pool > 1 else nn.Identity()
$nodes        self.stride = pool
        if pool > 1 or channels != self.out_channels:
            self.shortcut = ConvBN(channels, self.out_channels, nn.Identity)
        else:
            self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the nodes in order, each from those that it reads."""
        x0 = self.pool(x)
$steps        # The shortcut is not pooled: it takes the first pixel of those pooled together.
        return $output + self.shortcut(x[:, :, :: self.stride, :: self.stride])
'''

CELL_WORDS = "Nodes are numbered as in the search; x0 is the cell's input. The output is $output, plus the shortcut."
EMPTY_WORDS = "It has no node: the output is the pooled input plus the shortcut."

NETWORK = '''
class Network(nn.Module):
    """Images (B, $channels, INPUT_SIZE, INPUT_SIZE) to logits (B, len(CLASSES))."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN($channels, STEM, ACTIVATION, kernel=3, stride=$stride)
        channels, cells = STEM, []
        for count, width, pool in STAGES:
            for position in range(count):
                cells.append(Cell(channels, width, pool if position == 0 else 1))
                channels = cells[-1].out_channels
        self.cells = nn.Sequential(*cells)
$head        self.classifier = nn.Linear($features, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: before softmax, one for each of CLASSES."""
        x = self.cells(self.stem(x))
$apply_head        return self.classifier(x.mean(dim=(2, 3)))
'''

_Width = tuple[int, int]
"""Channels: multiples of a cell's arguments `channels` and `width`."""


def render(model: TrainedClassifier, architecture: ConvArchitecture) -> PlainSource:
    """``model.py`` with what it reads, for a convolutional classifier."""
    plan = architecture.plan()
    sources = {name: operation(name).plain() for name in dict.fromkeys(node.op for node in plan.cells[0].nodes)}
    definitions = [source.definition for source in sources.values() if source.definition]
    blocks = [
        image.head(model, plan.activation) + "\n" + _constants(architecture, plan),
        image.conv_bn(model, dilated=any("dilation=" in definition for definition in definitions)),
        *definitions,
        _cell(plan.cells[0], sources),
        _network(plan),
        image.tail(model),
    ]
    texts = {"model.py": "\n\n".join(blocks)} | image.companions(model)
    return PlainSource(texts, dict(_renamed(model.network, plan, sources)))


def _constants(architecture: ConvArchitecture, plan: NetworkPlan) -> str:
    firsts = {cell.name.removesuffix(".cell1"): cell for cell in plan.cells if cell.name.endswith(".cell1")}
    rows = []
    for number, stage in enumerate(architecture.stages, start=1):
        first = firsts[f"stage{number}"]
        # One pixel is not pooled any further, and its shortcut is that of a cell without pooling.
        rows.append(f"({stage.cells}, {stage.width}, {1 if first.in_size == first.size else stage.pool})")
    return fill(
        CONSTANTS,
        stem=plan.stem.channels,
        stages=table("STAGES = ", rows),
        head=f"HEAD = {plan.head.channels}  # channels before the global pooling\n" if plan.head else "",
        activation=image.ACTIVATIONS[plan.activation],
    )


def _cell(plan: CellPlan, sources: Mapping[str, Source]) -> str:
    widths = _widths(plan)
    leaves = [f"x{leaf}" for leaf in plan.leaves]
    steps = [_step(f"x{node.node}", f"self.node{node.node}", [f"x{i}" for i in node.inputs]) for node in plan.nodes]
    if len(leaves) > 1:
        steps.append(_step("output", "", leaves))
    side_by_side = leaves[0] if len(leaves) == 1 else f"{', '.join(leaves[:-1])} and {leaves[-1]} side by side"
    words = fill(CELL_WORDS, output=side_by_side) if plan.nodes else EMPTY_WORDS
    return fill(
        CELL,
        words=textwrap.fill(words, LINE - len(INDENT)).replace("\n", f"\n{INDENT}"),
        out_channels=_channels([widths[leaf] for leaf in plan.leaves]),
        nodes="".join(
            f"        self.node{node.node} = {_module(node, widths, sources[node.op])}\n" for node in plan.nodes
        ),
        steps="".join(f"{step}\n" for step in steps),
        output=leaves[0] if len(leaves) == 1 else "output",
    )


def _step(target: str, layer: str, names: list[str]) -> str:
    """What one tensor is made from: a layer, or nothing, applied to others side by side."""
    if len(names) == 1:
        return f"{INDENT * 2}{target} = {layer}({names[0]})"
    listed = f"[{', '.join(names)}]"
    line = f"{INDENT * 2}{target} = {_applied(layer, listed)}"
    if len(line) <= LINE:
        return line
    return f"{listing('parts = ', names, indent=2)}\n{INDENT * 2}{target} = {_applied(layer, 'parts')}"


def _applied(layer: str, tensors: str) -> str:
    joined = f"torch.cat({tensors}, dim=1)"
    return f"{layer}({joined})" if layer else joined


def _widths(plan: CellPlan) -> dict[int, _Width]:
    """Every node's channels, which are the same in every cell of the network, in terms of the cell's arguments."""
    widths: dict[int, _Width] = {0: (1, 0)}
    for node in plan.nodes:
        reads = [widths[i] for i in node.inputs]
        widths[node.node] = (0, 1) if operation(node.op).mixes else _added(reads)
    return widths


def _module(node: NodePlan, widths: Mapping[int, _Width], source: Source) -> str:
    # As in the released networks, what comes before a leaf's end is followed by ReLU whatever the activation is.
    return source.call.format(
        reads=_channels([widths[i] for i in node.inputs]),
        writes=_channels([widths[node.node]]),
        inner="nn.ReLU" if node.is_leaf else "ACTIVATION",
        last="nn.Identity" if node.is_leaf else "ACTIVATION",
    )


def _channels(parts: Sequence[_Width]) -> str:
    """A sum: ``channels + 2 * width``."""
    named = zip(_added(parts), ("channels", "width"), strict=True)
    return " + ".join(name if times == 1 else f"{times} * {name}" for times, name in named if times)


def _added(parts: Sequence[_Width]) -> _Width:
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def _network(plan: NetworkPlan) -> str:
    head = "        self.head = ConvBN(channels, HEAD, ACTIVATION)\n"
    return fill(
        NETWORK,
        channels=plan.input[0],
        stride=plan.stem.stride,
        head=head if plan.head else "",
        features="HEAD" if plan.head else "channels",
        apply_head="        x = self.head(x)\n" if plan.head else "",
    )


def _renamed(network: nn.Module, plan: NetworkPlan, sources: Mapping[str, Source]) -> Iterator[tuple[str, Tensor]]:
    """The network's tensors by their names in the generated file."""
    positions = {cell.name.replace(".", "_"): str(place) for place, cell in enumerate(plan.cells)}
    dropped = {f"node{node.node}": sources[node.op].dropped for node in plan.cells[0].nodes}
    for name, tensor in network.state_dict().items():
        parts = name.split(".", 4)
        if parts[0] == "cells":
            parts[1] = positions[parts[1]]
            if parts[2] == "nodes":
                parts[2:] = [parts[3], parts[4].removeprefix(dropped[parts[3]])]
        yield ".".join(parts), tensor
