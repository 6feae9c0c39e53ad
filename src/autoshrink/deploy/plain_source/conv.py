"""A convolutional network as readable PyTorch, its cell's wiring as plain statements."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from torch import Tensor, nn

from autoshrink.architecture import CellPlan, ConvArchitecture, NetworkPlan, NodePlan
from autoshrink.deploy.plain_source import image
from autoshrink.deploy.plain_source.python import INDENT, LINE, PlainSource, fill, listing, table
from autoshrink.training.classifier import TrainedClassifier

CONSTANTS = """
STEM = $stem  # channels of the first convolution
# cells in a row, channels of a node, max-pooling before the first of them
$stages
${head}ACTIVATION = $activation
"""

SEP_CONV = '''
class SepConv(nn.Module):
    """A separable convolution: 3×3 within every channel, then 1×1 across channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        inner: Callable[[], nn.Module],
        outer: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.depthwise = ConvBN(
            in_channels, in_channels, inner, kernel=3, groups=in_channels
        )
        self.pointwise = ConvBN(in_channels, out_channels, outer)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.pointwise(self.depthwise(x))
'''

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


def render(model: TrainedClassifier, architecture: ConvArchitecture) -> PlainSource:
    """``model.py`` with what it reads, for a convolutional classifier."""
    plan = architecture.plan()
    separable = any(node.op == "sepconv3x3" for node in plan.cells[0].nodes)
    blocks = [
        image.head(model, plan.activation) + "\n" + _constants(architecture, plan),
        image.conv_bn(model),
        *([fill(SEP_CONV)] if separable else []),
        _cell(plan.cells[0]),
        _network(plan),
        image.tail(model),
    ]
    texts = {"model.py": "\n\n".join(blocks)} | image.companions(model)
    return PlainSource(texts, dict(_renamed(model.network, plan)))


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


def _cell(plan: CellPlan) -> str:
    leaves = [f"x{leaf}" for leaf in plan.leaves]
    steps = [_step(f"x{node.node}", f"self.node{node.node}", [f"x{i}" for i in node.inputs]) for node in plan.nodes]
    if len(leaves) > 1:
        steps.append(_step("output", "", leaves))
    side_by_side = leaves[0] if len(leaves) == 1 else f"{', '.join(leaves[:-1])} and {leaves[-1]} side by side"
    words = fill(CELL_WORDS, output=side_by_side) if plan.nodes else EMPTY_WORDS
    return fill(
        CELL,
        words=textwrap.fill(words, LINE - len(INDENT)).replace("\n", f"\n{INDENT}"),
        out_channels=_times(len(leaves), "width") if plan.nodes else "channels",
        nodes="".join(f"        self.node{node.node} = {_operation(node)}\n" for node in plan.nodes),
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


def _operation(node: NodePlan) -> str:
    others = len(node.inputs) - (0 in node.inputs)
    parts = [*(["channels"] if 0 in node.inputs else []), *([_times(others, "width")] if others else [])]
    last = "nn.Identity" if node.is_leaf else "ACTIVATION"
    if node.op == "conv1x1":
        return f"ConvBN({' + '.join(parts)}, width, {last})"
    # As in the released networks, a leaf's 3×3 half is followed by ReLU whatever the activation is.
    return f"SepConv({' + '.join(parts)}, width, {'nn.ReLU' if node.is_leaf else 'ACTIVATION'}, {last})"


def _times(count: int, width: str) -> str:
    return width if count == 1 else f"{count} * {width}"


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


def _renamed(network: nn.Module, plan: NetworkPlan) -> Iterator[tuple[str, Tensor]]:
    """The network's tensors by their names in the generated file."""
    positions = {cell.name.replace(".", "_"): str(place) for place, cell in enumerate(plan.cells)}
    single = {f"node{node.node}" for node in plan.cells[0].nodes if node.op == "conv1x1"}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "cells":
            parts[1] = positions[parts[1]]
            if parts[2] == "nodes":
                parts[2:] = [parts[3], *parts[4 + (parts[3] in single) :]]
        yield ".".join(parts), tensor
