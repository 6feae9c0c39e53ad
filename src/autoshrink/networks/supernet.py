"""One network whose weights all cells of a search share: every cell is a choice among its blocks.

A convolution of a concatenation is a sum of blocks, one for every tensor that is concatenated, so that

- a 1×1 convolution's node is y_j = act(BN_j(Σ_i m_ij · W_ij x_i)),
- a separable one's y_j = act(BN_j(Σ_i m_ij · P_ij · act(BN_ij(D_ij ∗ x_i)))), D within channels, P across them,
- and one of a recurrent cell s_j = Σ_i m_ij · (s_i + σ(s_i U_ij) ⊙ (op_j(s_i V_ij) − s_i)) / Σ_i m_ij,

with a mask m over the edges. A cell's output is a concatenation of leaves; whatever reads it, the next cell's nodes,
shortcuts and the classifier, has a block for every leaf that there may be. A node that may have several operations has
the weights of each. All of this is exact but for the statistics of BN, which depend on the mask and belong to no block.

No network is written down a second time for that: a chosen architecture's own network, without weights, is called with
tensors that are joined of blocks, and gradients go through the joint to those blocks and to no others. So what is
masked costs nothing, and a block is made when the first cell that has it is chosen, its start decided by its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autoshrink.architecture import Architecture, CellPlan, ConvArchitecture, RecurrentArchitecture
from autoshrink.errors import InputError
from autoshrink.networks import recurrent
from autoshrink.networks.image import ImageNetwork, initialise_layer
from autoshrink.networks.inheritance import leaf_slots, output_slots, read_slots, stem_slots
from autoshrink.networks.recurrent import LanguageNetwork, RecurrentCell
from autoshrink.ops import conv
from autoshrink.ops.inheriting import Slot
from autoshrink.seeding import derive_seed

ALL = "all"
"""In a block's name, where it belongs to no single tensor."""


class Vectors(nn.Module):
    """One value a channel: BN's weights and biases, or the biases of a layer whose weights are cut."""

    def __init__(self, sizes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        for name, size in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.full(size, float(name == "weight"))))


@dataclass(frozen=True)
class _Layer:
    """A layer of a network with weights: its name there, what its blocks are called, and the tensors that its output
    and its input channels belong to, in order; None where all belong to no single one."""

    path: str
    name: str
    rows: Sequence[Slot] | None = None
    columns: Sequence[Slot] | None = None

    def grid(self, tensor: Tensor, *, cut: bool) -> list[list[tuple[str, torch.Size]]]:
        """Names and sizes of the blocks of a tensor, rows of columns; only what is `cut` has columns."""
        columns = self.columns if cut else None
        return [
            [
                (f"{self.name}.{row}.{column}", torch.Size((height, width, *tensor.shape[2:])[: tensor.dim()]))
                for column, width in _parts(columns, tensor.shape[1] if tensor.dim() > 1 else 0)
            ]
            for row, height in _parts(self.rows, tensor.shape[0])
        ]


def _parts(slots: Sequence[Slot] | None, channels: int) -> list[tuple[str, int]]:
    if slots is None:
        return [(ALL, channels)]
    return [("-".join(map(str, slot.owner)).replace(".", "_"), slot.channels) for slot in slots]


class ImageSupernet(nn.Module):
    """See the module's words; (B, C, H, W) to logits (B, classes) of the chosen architecture's network.

    Args:
        architecture: chosen first.
        seed: decides what blocks begin with.

    Attributes:
        blocks: layers of the blocks' sizes, by place.
        chosen: the network that is called, without parameters of its own; its BN has the statistics.
    """

    def __init__(self, architecture: Architecture, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self.blocks = nn.ModuleDict()
        self._by_path: dict[str, nn.Module] = {}
        self._joints: list[tuple[str, list[list[nn.Parameter]]]] = []
        self.choose(architecture)

    def choose(self, architecture: Architecture) -> bool:
        """Be the network of an architecture from now on; whether that brought new blocks.

        Raises:
            InputError: it is no network of cells, or has an operation whose weights cannot be shared.
        """
        if not isinstance(architecture, ConvArchitecture) or architecture.aggregate == "sum":
            raise InputError(
                f"a {architecture.kind} network that is no row of cells with concatenated tensors shares no weights; "
                "search with --evaluator trained"
            )
        network = ImageNetwork(architecture.plan())
        grids: list[tuple[str, str, list[list[tuple[str, torch.Size]]]]] = []
        sizes: dict[str, dict[str, torch.Size]] = defaultdict(dict)
        for layer in _layers(network):
            for what, tensor in network.get_submodule(layer.path).named_parameters():
                grid = layer.grid(tensor, cut=what == "weight")
                grids.append((f"{layer.path}.{what}", what, grid))
                for path, size in (block for row in grid for block in row):
                    sizes[path][what] = size
        new = [path for path in sizes if path not in self._by_path]
        self._grow({path: sizes[path] for path in new})
        known = self._by_path
        self._joints = [
            (name, [[getattr(known[path], what) for path, _ in row] for row in grid]) for name, what, grid in grids
        ]
        self.chosen = _emptied(network, next(self.parameters()).device).train(self.training)
        return bool(new)

    def _grow(self, sizes: Mapping[str, Mapping[str, torch.Size]]) -> None:
        first = next(self.parameters(), None)
        for path, own in sizes.items():
            layer = _layer(path, own)
            initialise_layer(layer, self._seed, path)
            self._by_path[path] = layer if first is None else layer.to(first)
            _put(self.blocks, path, self._by_path[path])

    def assembled(self) -> dict[str, Tensor]:
        """The chosen network's parameters, by their names there; gradients go to the blocks."""
        return {name: _joined([_joined(row, 1) for row in rows], 0) for name, rows in self._joints}

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (B, classes)."""
        logits: Tensor = functional_call(self.chosen, self.assembled(), (x,), tie_weights=False)
        return logits

    def take(self, blocks: Mapping[str, Tensor]) -> None:
        """Have these blocks, by the names of `named_parameters`; those that are missing are made."""
        sizes: dict[str, dict[str, torch.Size]] = defaultdict(dict)
        for name, tensor in blocks.items():
            path, _, what = name.removeprefix("blocks.").rpartition(".")
            sizes[path][what] = tensor.shape
        self._grow({path: own for path, own in sizes.items() if path not in self._by_path})
        _fill(self, blocks)


class LanguageSupernet(LanguageNetwork):
    """See the module's words: a language model whose core is that of the chosen architecture, of shared weights.

    Args:
        architecture: chosen first; its width and vocabulary are everybody's.
        seed: decides what blocks begin with.
        initial_range: as for `autoshrink.networks.build`.

    Attributes:
        input_weight: W₀, (2n, 2n), of all cells.
        blocks: W_ij (n, 2n) by edge and operation of its reader: ``0-2-tanh``.
    """

    core: RecurrentCell

    def __init__(self, architecture: Architecture, seed: int, initial_range: float | None = None) -> None:
        if not isinstance(architecture, RecurrentArchitecture):
            raise InputError(
                f"a {architecture.kind} network is no language model around a cell and shares no weights; "
                "search with --evaluator trained"
            )
        super().__init__(architecture)
        # What is chosen is no part of the module: its weights are the blocks.
        core = cast("RecurrentCell", self._modules.pop("core"))
        object.__setattr__(self, "core", core)
        self.input_weight = core.input_weight
        self.blocks = nn.ParameterDict()
        self._seed, self._range = seed, initial_range
        recurrent.initialise(self, seed, initial_range=initial_range)
        self.choose(architecture)

    def choose(self, architecture: Architecture) -> bool:
        """See `ImageSupernet.choose`."""
        assert isinstance(architecture, RecurrentArchitecture), "the supernet of recurrent cells"
        plan = architecture.plan()
        ops = {node.node: node.op for node in plan.nodes}
        names = {f"{i}-{j}": f"{i}-{j}-{ops[j]}" for i, j in plan.edges}
        new = [name for name in names.values() if name not in self.blocks]
        for name in new:
            self._grow(name)
        core = RecurrentCell(plan).to(self.embedding.device)
        core.input_weight = self.input_weight
        core.edges = nn.ParameterDict({edge: self.blocks[name] for edge, name in names.items()})
        object.__setattr__(self, "core", core)
        return bool(new)

    def _grow(self, name: str) -> None:
        width = self.embedding.shape[1]
        bound = self._range or recurrent.usual_range(width)
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "weights", name))
        weight = nn.init.uniform_(torch.empty(width, 2 * width), -bound, bound, generator=generator)
        self.blocks[name] = nn.Parameter(weight.to(self.embedding))

    def assembled(self) -> dict[str, Tensor]:
        """See `ImageSupernet.assembled`."""
        own: dict[str, Tensor] = {"embedding": self.embedding, "decoder_bias": self.decoder_bias}
        return own | {f"core.{name}": tensor for name, tensor in self.core.named_parameters()}

    def take(self, blocks: Mapping[str, Tensor]) -> None:
        """See `ImageSupernet.take`."""
        for name in blocks:
            if name.startswith("blocks.") and name.removeprefix("blocks.") not in self.blocks:
                self._grow(name.removeprefix("blocks."))
        _fill(self, blocks)


@torch.no_grad()
def _fill(network: nn.Module, blocks: Mapping[str, Tensor]) -> None:
    own = dict(network.named_parameters())
    for name, tensor in blocks.items():
        own[name].copy_(tensor)


Supernet = ImageSupernet | LanguageSupernet
"""A module whose parameters are the blocks; see `ImageSupernet` for what it can do."""


def supernet(architecture: Architecture, *, seed: int, initial_range: float | None = None) -> Supernet:
    """The supernet of all networks that differ from an architecture in their cell, freshly initialised on the CPU.

    Args:
        architecture: chosen first.
        seed: decides what blocks begin with, whenever they are made.
        initial_range: of language models, as for `autoshrink.networks.build`.

    Raises:
        InputError: its weights cannot be shared.
    """
    if architecture.kind == "recurrent":
        return LanguageSupernet(architecture, seed, initial_range)
    return ImageSupernet(architecture, seed)


def _joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=dim)


def _emptied(network: nn.Module, device: torch.device) -> nn.Module:
    """A network without parameters, its statistics on a device."""
    for module in network.modules():
        for name in module._parameters:
            module._parameters[name] = None
    return network.to(device)


def _layers(network: ImageNetwork) -> Iterator[_Layer]:
    """Every layer that has weights."""
    slots: Sequence[Slot] = stem_slots(network.plan)
    for name, layer in network.stem.named_modules(prefix="stem"):
        if layer._parameters:
            yield _Layer(name, name)
    for plan, (name, cell) in zip(network.plan.parts, network.trunk.named_children(), strict=True):
        place = f"{network.trunk_name}.{name}"
        yield from _nodes(plan, place, slots)
        after = output_slots(plan, slots)
        if cell.merge is not None:
            yield _Layer(f"{place}.merge.conv", f"{place}.merge.conv", None, leaf_slots(plan, slots))
            yield _Layer(f"{place}.merge.bn", f"{place}.merge.bn")
        if cell.shortcut is not None:
            yield _Layer(f"{place}.shortcut.conv", f"{place}.shortcut.conv", after, slots)
            yield _Layer(f"{place}.shortcut.bn", f"{place}.shortcut.bn", after)
        slots = after
    if network.head is None:
        yield _Layer("classifier", "classifier", None, slots)
    else:
        yield _Layer("head.conv", "head.conv", None, slots)
        yield from (_Layer(layer, layer) for layer in ("head.bn", "classifier"))


def _nodes(plan: CellPlan, place: str, slots: Sequence[Slot]) -> Iterator[_Layer]:
    for node in plan.nodes:
        reads = read_slots(plan, slots, node.inputs)
        for layer, cut in conv(node.op).cuts():
            yield _Layer(
                f"{place}.nodes.node{node.node}.{layer}",
                f"{place}.nodes.node{node.node}_{node.op}.{layer}",
                reads if cut == "rows" else None,
                reads if cut == "columns" else None,
            )


def _layer(path: str, sizes: Mapping[str, torch.Size]) -> nn.Module:
    """A layer for blocks of these sizes, of a kind that optimisers and initialisation know."""
    weight = sizes.get("weight", ())
    if len(weight) == 4:
        # The only convolutions whose rows are cut but not their columns are those within channels.
        groups = weight[0] if weight[1] == 1 and ".depthwise" in path else 1
        return nn.Conv2d(weight[1] * groups, weight[0], weight[2:], groups=groups, bias="bias" in sizes)
    if len(weight) == 2:
        return nn.Linear(weight[1], weight[0], bias="bias" in sizes)
    return Vectors(sizes)


def _put(blocks: nn.ModuleDict, path: str, layer: nn.Module) -> None:
    *places, last = path.split(".")
    inside = blocks
    for name in places:
        if name not in inside:
            inside[name] = nn.ModuleDict()
        inside = cast("nn.ModuleDict", inside[name])
    inside[last] = layer
