"""A network of other widths, depths and block parts started from a trained one of the same kind.

Where a tensor has fewer channels than it had, those are kept whose BN scales |γ| are largest (Liu et al. 2017, network
slimming), among equals those whose filters have the largest L1 norm (Li et al. 2017); tensors that shortcuts add to one
another keep the same ones. Where it has more, the others are new: their filters are fresh, and whoever reads them
starts with zeros for them, so that a network that is only wider computes what its parent does (as Net2Net of Chen et
al. 2016 does by doubling channels). Kernels are cut to their middles, or get zeros around them. A new block that adds
its input starts as the identity (a BN scale of 0: Goyal et al. 2017, §5.1), and new squeeze and excitation with equal
gates. What has no equal in the parent stays fresh: the convolutions of a block of another kind, of which only the last
normalisation is the old one's, or the depthwise one of a block that widens for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.architecture import BlockPlan, CellPlan, PartPlan
from autoshrink.networks.image import ImageNetwork
from autoshrink.ops import conv
from autoshrink.ops.inheriting import fitted
from autoshrink.ops.layers import SqueezeExcite


@dataclass(frozen=True)
class Channels:
    """Whose channels a tensor has: of each the parent's number, −1 for a new one.

    `source` names the parent's tensors that they are counted in: tensors that are added to one another have one name;
    None where none of them are the parent's.
    """

    source: int | None
    kept: Tensor

    @classmethod
    def new(cls, count: int) -> Channels:
        """None of them the parent's."""
        return cls(None, torch.full((count,), -1))

    def within(self, source: int | None) -> Tensor:
        """Their numbers in a tensor of a name."""
        return self.kept if self.source == source else torch.full_like(self.kept, -1)


def resize(child: ImageNetwork, parent: ImageNetwork) -> tuple[nn.BatchNorm2d, ...]:
    """Copy into `child` what it shares with `parent`, in place; cells have the same nodes and operations in both.

    Returns:
        The BN layers of projections that take the place of an identity, see `undo_normalisation`.
    """
    with torch.no_grad():
        return tuple(_Resizing(child, parent).run())


class _Resizing:
    """What a child and its parent are, and the parent's tensors by their places: 0 the stem's, k + 1 that of part k."""

    def __init__(self, child: ImageNetwork, parent: ImageNetwork) -> None:
        self._child, self._parent = child, parent
        self._theirs: Sequence[Any] = parent.plan.parts
        self._pairs = matched(child.plan.parts, self._theirs)
        self._source = list(range(len(self._theirs) + 1))
        for place, part in enumerate(self._theirs):
            if keeps_channels(part):
                self._source[place + 1] = self._source[place]
        self._scores: dict[int, Tensor] = {}
        self._score(0, dict(parent.stem.named_children()).get("pointwise", parent.stem))
        for place, module in enumerate(parent.trunk, start=1):
            for writer in _writers(self._theirs[place - 1], module):
                self._score(place, writer)

    def run(self) -> Iterator[nn.BatchNorm2d]:
        """Stem, parts, head, classifier, in order."""
        child, parent = self._child, self._parent
        now = self._stem()
        image = Channels(-1, torch.arange(child.plan.input[0]))
        copy_stem(child.stem, parent.stem, now.kept, image.kept)
        for place, (part, module) in enumerate(zip(child.plan.parts, child.trunk, strict=True)):
            at = self._pairs[place]
            if at is None:
                now = _begin(part, module, now)
                continue
            reads = now.within(self._source[at])
            theirs, its = self._theirs[at], parent.trunk[at]
            if isinstance(part, CellPlan):
                now, fresh = self._cell((part, module), (theirs, its), reads, at)
                if fresh is not None:
                    yield fresh
            else:
                writes = self._kept(at + 1, part.out_channels)
                if part.block != theirs.block:
                    _take_place((part, module), (theirs, its), writes.kept)
                    now = writes
                    continue
                copy_row(module.get_submodule("layers"), its.get_submodule("layers"), reads, writes.kept)
                if {"shortcut"} <= dict(module.named_children()).keys() & dict(its.named_children()).keys():
                    copy_layer(module.get_submodule("shortcut"), its.get_submodule("shortcut"), writes.kept, reads)
                now = writes
        features = now.within(self._source[-1])
        if child.head is not None and parent.head is not None:
            rows = strongest(score_of(parent.head), child.plan.features)
            copy_layer(child.head, parent.head, rows, features)
            features = rows
        elif child.head is not None or parent.head is not None:
            features = torch.full((child.plan.features,), -1)
        copy_weight(child.classifier, parent.classifier, torch.arange(child.plan.classes), features)

    def _stem(self) -> Channels:
        """Its channels: those of the first cell's leaves where that adds its input to them as it is."""
        first, known, count = self._child.plan.parts[0], self._theirs[0], self._child.plan.stem.out_channels
        kept = self._pairs[0] == 0 and keeps_channels(first) and keeps_channels(known)
        if not isinstance(first, CellPlan) or first.merges or not kept:
            return self._kept(0, count)
        each = self._nodes(0, count // len(first.leaves))
        width = known.out_channels // len(known.leaves)
        return Channels(self._source[0], _joined(first, [(each, width)] * len(first.leaves)))

    def _kept(self, place: int, count: int) -> Channels:
        source = self._source[place]
        return Channels(source, strongest(self._scores[source], count))

    def _score(self, place: int, layer: nn.Module) -> None:
        source, score = self._source[place], score_of(layer)
        known = self._scores.get(source)
        self._scores[source] = score if known is None else known + score

    def _cell(
        self, ours: tuple[CellPlan, Any], theirs: tuple[CellPlan, Any], reads: Tensor, at: int
    ) -> tuple[Channels, nn.BatchNorm2d | None]:
        """A cell of the same nodes: its output's channels, and the BN of a projection that was an identity."""
        (plan, cell), (known, its) = ours, theirs
        entry = reads
        if plan.adds:
            entry = self._nodes(at, plan.first_channels)
            if cell.entry is not None and its.entry is not None:
                copy_layer(cell.entry, its.entry, entry, reads)
        tensors = {0: (entry, known.first_channels)}
        for node, old in zip(plan.nodes, known.nodes, strict=True):
            columns = _joined(plan, [tensors[i] for i in node.inputs])
            mixes = conv(node.op).mixes
            rows = self._nodes(at, node.out_channels) if mixes else columns
            name = f"node{node.node}"
            copy_row(cell.nodes[name], its.nodes[name], columns, rows)
            tensors[node.node] = rows, old.out_channels
        out = _joined(plan, [tensors[leaf] for leaf in plan.leaves])
        if plan.merges:
            leaves, out = out, self._kept(at + 1, plan.out_channels).kept
            copy_layer(cell.merge, its.merge, out, leaves)
        fresh = None
        if cell.shortcut is not None and its.shortcut is not None:
            copy_layer(cell.shortcut, its.shortcut, out, reads)
        elif cell.shortcut is not None and known.in_channels == known.out_channels:
            # The identity sent the i-th channel of the cell's input to the i-th of its output.
            weight = cell.shortcut.conv.weight
            same = torch.eye(known.out_channels, dtype=weight.dtype, device=weight.device)[:, :, None, None]
            weight.copy_(mixed(weight, same, out, reads))
            fresh = cell.shortcut.bn
        return Channels(self._source[at + 1], out), fresh

    def _nodes(self, at: int, count: int) -> Tensor:
        """The channels of every node of a cell: those that matter most in it and in all cells whose outputs are added
        to its own."""
        score: Tensor | None = None
        for place, (part, module) in enumerate(zip(self._theirs, self._parent.trunk, strict=True), start=1):
            for node in part.nodes if self._source[place] == self._source[at + 1] else ():
                last = _last_layer(module.get_submodule("nodes").get_submodule(f"node{node.node}"))
                if conv(node.op).mixes and last is not None:
                    score = score_of(last) if score is None else score + score_of(last)
        return torch.full((count,), -1) if score is None else strongest(score, count)


def matched(ours: Sequence[PartPlan], theirs: Sequence[PartPlan]) -> list[int | None]:
    """For each part of a child the parent's that it comes from, None for a new one.

    Parts are matched stage by stage, and within a stage from the first on. Where one network has stages fewer, those
    are left out of the other's whose absence leaves the most alike.
    """
    mine, others = _by_stage(ours), _by_stage(theirs)
    count = min(len(mine), len(others))
    ways = product(combinations(range(len(mine)), count), combinations(range(len(others)), count))

    def likeness(way: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
        return sum(_alike(ours[mine[a][0]], theirs[others[b][0]]) for a, b in zip(*way, strict=True))

    found: list[int | None] = [None] * len(ours)
    for a, b in zip(*max(ways, key=likeness), strict=True):
        for place, at in zip(mine[a], others[b], strict=False):
            found[place] = at
    return found


def _by_stage(parts: Sequence[PartPlan]) -> list[list[int]]:
    stages: dict[str, list[int]] = {}
    for place, part in enumerate(parts):
        stages.setdefault(part.name.partition(".")[0], []).append(place)
    return list(stages.values())


def _alike(one: Any, other: Any) -> float:
    """How much two parts have in common: what they are, and how wide."""
    fields = ("block", "kernel", "stride", "activation", "leaves", "adds")
    same = sum(getattr(one, name, None) == getattr(other, name, None) for name in fields)
    widths = sorted((one.out_channels, other.out_channels))
    return float(same + widths[0] / widths[1])


def keeps_channels(part: Any) -> bool:
    """Whether a part's input is added to its output as it is."""
    if isinstance(part, CellPlan):
        return not part.projects and not part.enters
    return part.adds and part.shortcut is None


def _writers(part: Any, module: nn.Module) -> Iterator[nn.Module]:
    """The layers whose sum a part's output is; of a cell that merges nothing, its nodes' count (`_Resizing._nodes`)."""
    if isinstance(part, CellPlan):
        yield from (one for name, one in module.named_children() if part.merges and name in ("merge", "shortcut"))
    if isinstance(part, BlockPlan):
        yield module.get_submodule("layers").get_submodule(part.layers[-1].name)
        if part.shortcut is not None:
            yield module.get_submodule("shortcut")


def _begin(part: PartPlan, module: nn.Module, reads: Channels) -> Channels:
    """A new part: the identity where it adds its input, whose channels its output then has; else fresh."""
    if not keeps_channels(part) or isinstance(part, CellPlan):
        return Channels.new(part.out_channels)
    assert isinstance(part, BlockPlan), "the parts of image networks"
    last = module.get_submodule("layers").get_submodule(part.layers[-1].name)
    bn = last.get_submodule("bn")
    assert isinstance(bn, nn.BatchNorm2d), "a convolution is followed by BN"
    bn.weight.zero_()
    bn.bias.zero_()
    return replace(reads)


def _take_place(ours: tuple[BlockPlan, nn.Module], theirs: tuple[BlockPlan, nn.Module], writes: Tensor) -> None:
    """A block of another kind: its output has the old one's scales and shifts, so that what reads it can stay."""
    last, its = (module.get_submodule("layers").get_submodule(plan.layers[-1].name) for plan, module in (ours, theirs))
    weight = last.get_submodule("conv").weight
    assert isinstance(weight, Tensor), "a convolution has weights"
    copy_layer(last, its, writes, torch.full((weight.shape[1],), -1))


def _joined(plan: CellPlan, tensors: Sequence[tuple[Tensor, int]]) -> Tensor:
    """The channels of tensors that are concatenated or added; each with how many its parent's had."""
    if plan.adds:
        return tensors[0][0]
    start, found = 0, []
    for kept, count in tensors:
        found.append(torch.where(kept < 0, kept, kept + start))
        start += count
    return torch.cat(found)


# --- layers ----------------------------------------------------------------------------------------------------------


def score_of(layer: nn.Module) -> Tensor:
    """What each output channel of a convolution with BN is worth: |γ| and the L1 norm of its filter, (2, C)."""
    bn, weight = layer.get_submodule("bn"), layer.get_submodule("conv").weight
    assert isinstance(bn, nn.BatchNorm2d), "a convolution is followed by BN"
    assert isinstance(weight, Tensor), "a convolution has weights"
    return torch.stack([bn.weight.abs(), weight.abs().flatten(1).sum(dim=1)])


def strongest(score: Tensor, count: int) -> Tensor:
    """So many channels in their old order, the strongest where there are too many, new ones after them else."""
    have = score.shape[1]
    if count >= have:
        return torch.cat([torch.arange(have), torch.full((count - have,), -1)])
    by_filter = score[1].argsort(descending=True, stable=True)
    order = by_filter[score[0][by_filter].argsort(descending=True, stable=True)]
    return order[:count].sort().values.cpu()


def copy_row(ours: nn.Module, theirs: nn.Module, reads: Tensor, writes: Tensor) -> None:
    """Layers one after the other, by their names; `writes` are the channels that the last dense one gives.

    A layer whose input the parent's layer of that name did not read has nothing of its columns.
    """
    known, fed, last = dict(theirs.named_children()), _fed(theirs), _dense(theirs)[-1:]
    now = reads
    for name, layer in ours.named_children():
        its = known.get(name)
        if its is not None and fed[name] != _fed(ours)[name]:
            now = torch.full_like(now, -1)
        if isinstance(layer, SqueezeExcite):
            _copy_excitation(layer, its, now)
        elif name not in _dense(ours):
            if its is not None and hasattr(layer, "conv"):
                copy_layer(layer, its, now, torch.zeros(1, dtype=torch.long))
        else:
            ends = _dense(ours)[-1:] == [name]
            its = its if (last == [name]) == ends else None
            if ends:
                rows = writes
            else:
                count = len(layer.get_submodule("conv").weight)  # type: ignore[arg-type]
                rows = torch.full((count,), -1) if its is None else strongest(score_of(its), count)
            if its is not None:
                copy_layer(layer, its, rows, now)
            now = rows


def _dense(row: nn.Module) -> list[str]:
    """The names of its convolutions across channels."""
    return [name for name, layer in row.named_children() if hasattr(layer, "conv") and not _depthwise(name)]


def _fed(row: nn.Module) -> dict[str, str]:
    """For each layer the convolution across channels before it; empty for the row's own input."""
    found, last = {}, ""
    for name, _ in row.named_children():
        found[name] = last
        last = name if name in _dense(row) else last
    return found


def _depthwise(name: str) -> bool:
    return name.startswith("depthwise")


def _last_layer(row: nn.Module) -> nn.Module | None:
    """The last dense convolution of a node."""
    return row.get_submodule(_dense(row)[-1]) if _dense(row) else None


def _copy_excitation(ours: SqueezeExcite, theirs: nn.Module | None, channels: Tensor) -> None:
    if not isinstance(theirs, SqueezeExcite):
        # Equal gates: BN after the next convolution takes no notice of them.
        ours.excite.weight.zero_()
        return
    weight = theirs.squeeze.weight
    score = torch.stack([torch.zeros(len(weight), device=weight.device), weight.abs().flatten(1).sum(dim=1)])
    between = strongest(score, len(ours.squeeze.weight))
    copy_weight(ours.squeeze, theirs.squeeze, between, channels)
    copy_weight(ours.excite, theirs.excite, channels, between)


def copy_stem(ours: nn.Module, theirs: nn.Module, rows: Tensor, columns: Tensor) -> None:
    """The first convolution, and the separable one after it, which stems of two sizes both have or neither."""
    mine, known = dict(ours.named_children()), dict(theirs.named_children())
    if "pointwise" not in mine:
        copy_layer(ours, theirs, rows, columns)
        return
    between = strongest(score_of(theirs), len(mine["conv"].get_parameter("weight")))
    copy_layer(ours, theirs, between, columns)
    copy_layer(mine["depthwise"], known["depthwise"], between, torch.zeros(1, dtype=torch.long))
    copy_layer(mine["pointwise"], known["pointwise"], rows, between)


def copy_layer(ours: nn.Module, theirs: nn.Module, rows: Tensor, columns: Tensor) -> None:
    """A convolution with BN."""
    copy_weight(ours.get_submodule("conv"), theirs.get_submodule("conv"), rows, columns)
    known, mine = theirs.get_submodule("bn").state_dict(), rows >= 0
    for name, tensor in ours.get_submodule("bn").state_dict().items():
        if tensor.dim() == 0:
            tensor.copy_(known[name])
        else:
            tensor[mine] = known[name][rows[mine]]


def copy_weight(ours: Any, theirs: Any, rows: Tensor, columns: Tensor) -> None:
    """A convolution's or a linear layer's weight, and its bias where it has one."""
    weight = theirs.weight if theirs.weight.dim() == 2 else fitted(theirs.weight, ours.weight.shape[-1])
    ours.weight.copy_(mixed(ours.weight, weight, rows, columns))
    if ours.bias is not None:
        ours.bias[rows >= 0] = theirs.bias[rows[rows >= 0]]


def mixed(weight: Tensor, parent: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(rows, columns, …): the parent's entries, zero where it read nothing; fresh rows, and all of it where it read
    nothing of this."""
    found = weight.clone()
    mine, known = rows >= 0, columns >= 0
    if bool(known.any()):
        block = torch.zeros_like(weight[mine])
        block[:, known] = parent[rows[mine]][:, columns[known]]
        found[mine] = block
    return found
