"""What one move makes of an image network: another input, width, depth, stride, block, edge or operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from autoshrink.architecture import (
    ActivationName,
    BlockName,
    ConvArchitecture,
    Head,
    MobileStage,
    Stage,
)
from autoshrink.architecture.mobile import WIDENING
from autoshrink.cell import Cell
from autoshrink.change import Change, Changed, ChangedOp
from autoshrink.ops import names
from autoshrink.spaces.cells import CellSpace, cheaper
from autoshrink.spaces.sizes import Scalable, Sizes, parts_of, sides

Found = Iterator[tuple[Change, Scalable]]

EXPANSIONS = (1, 2, 3, 4, 6)
KERNELS = (3, 5, 7)
ACTIVATIONS: tuple[ActivationName, ...] = ("relu", "hardswish")
"""What a network's activation may become: the cheapest, and the best of those that are cheap everywhere."""
SQUEEZE = 0.25
"""Of the squeezed channels, as in MobileNetV3 (Howard et al. 2019, §5.3)."""
SMALLEST = 2
"""Height and width, in pixels, that no move goes below."""


@dataclass(frozen=True)
class Choices:
    """What moves may choose from.

    Attributes:
        ops: the operations that nodes may come to have; None: every one that is cheaper or dearer than the node's.
        side: height and width of the images as they are read, pixels, above which no input goes; None: those of the
            network's own input.
    """

    ops: Sequence[str] | None = None
    side: int | None = None


def neighbours(network: Scalable, allowed: frozenset[str], choices: Choices | None = None) -> list[Any]:
    """Every change of one thing, both ways where there are two, with the network that it makes, in a fixed order.

    Args:
        network: to be changed.
        allowed: which moves there are, of `MOVES`.
        choices: what they may choose from; None: everything.
    """
    choices, found = choices or Choices(), list[tuple[Change, Scalable]]()
    for move, ways in MOVES.items():
        if move in allowed:
            found += ways(network, choices)
    return found


def _widths(network: Scalable) -> Found:
    """Three quarters or four thirds of each width."""
    sizes = Sizes.of(network)
    for place, width in sizes.places.items():
        for other in dict.fromkeys((narrower(width), wider(width))):
            if other != width:
                change = Changed("width", place.replace(" ", ""), width, other)
                yield change, sizes.with_width(place, other).put_into(network)


def narrower(width: int) -> int:
    """Three quarters of a width, rounded down to a multiple of 4 from 8 on, to an even number from 2 on."""
    less = 3 * width // 4
    return max(1, less - less % _grain(less))


def wider(width: int) -> int:
    """Four thirds of a width, rounded up likewise."""
    more = -(-4 * width // 3)
    return more + -more % _grain(more)


def _grain(width: int) -> int:
    return 4 if width >= 8 else 2 if width >= 2 else 1


def _depths(network: Scalable) -> Found:
    """A block or cell less, or more; the last one of a stage takes the stage with it."""
    stages = _stages(network)
    for number, stage in enumerate(stages):
        parts = parts_of(stage)
        for other in (parts - 1, parts + 1):
            change = Changed("depth", _place(number), parts, other)
            if other:
                yield change, _with(network, number, {_count(stage): other})
            elif len(stages) > 1:
                yield from ((change, less) for less in _without(network, number))


def _without(network: Scalable, number: int) -> Iterator[Scalable]:
    """Without a stage, whose stride the next one takes; there is no such network where that has one itself."""
    stages = list(_stages(network))
    stride = _stride(stages.pop(number))
    if stride > 1 and number < len(stages):
        if _stride(stages[number]) > 1:
            return
        stages[number] = stages[number].model_copy(update={_strides(stages[number]): stride})
    yield network.model_copy(update={"stages": tuple(stages)})


def _stems(network: Scalable) -> Found:
    """A stem of stride 2, or 1."""
    stride = network.stem.stride
    other = 1 if stride > 1 else 2
    yield from _large_enough(Changed("stride", "stem", stride, other), _stemmed(network, other))


def _pools(network: Scalable) -> Found:
    """A stride one stage earlier or later, one less, or one more."""
    strides = [network.stem.stride, *map(_stride, _stages(network))]
    for place, stride in enumerate(strides[1:], start=1):
        for other in (place - 1, place + 1):
            if stride > 1 and other < len(strides) and strides[other] == 1:
                moved = [*strides]
                moved[place], moved[other] = 1, stride
                change = Changed("pool", "", *(_place(each - 1) if each else "stem" for each in (place, other)))
                yield change, _strided(network, moved)
        other = 1 if stride > 1 else 2
        moved = [*strides[:place], other, *strides[place + 1 :]]
        yield from _large_enough(Changed("pool", _place(place - 1), stride, other), _strided(network, moved))


def _inputs(network: Scalable, choices: Choices) -> Found:
    """The next smaller and the next larger input (`sides`); strides stay."""
    channels, side, width = network.input
    if side == width:
        for other in _beside(side, sides(choices.side or side)):
            resized = network.model_copy(update={"input": (channels, other, other)})
            yield from _large_enough(Changed("size", "input", side, other), resized)


def _large_enough(change: Change, network: Scalable) -> Found:
    if min(network.plan().final_size) >= SMALLEST:
        yield change, network


def _heads(network: Scalable) -> Found:
    """Without the 1×1 convolution at the end, or with one of four times the channels before it."""
    before = network.head.channels if network.head else None
    after = None if before else 4 * network.plan().parts[-1].out_channels
    head = Head(channels=after) if after else None
    yield Changed("head", "", before, after), network.model_copy(update={"head": head})


def _activations(network: Scalable) -> Found:
    for other in ACTIVATIONS:
        if other != network.activation:
            yield (
                Changed("activation", "", network.activation, other),
                network.model_copy(update={"activation": other}),
            )


def _ladder(name: Literal["expansion", "kernel"], steps: Sequence[int]) -> Callable[[Scalable], Found]:
    """The next lower and the next higher value of a stage's field."""

    def ways(network: Scalable) -> Found:
        for number, stage in enumerate(network.stages):
            if not isinstance(stage, MobileStage) or (name == "expansion" and stage.block not in WIDENING):
                continue
            before: float = getattr(stage, name)
            for other in _beside(before, steps):
                yield Changed(name, _place(number), before, other), _with(network, number, {name: other})

    return ways


def _beside(value: float, steps: Sequence[int]) -> tuple[int, ...]:
    """The next lower and the next higher of some steps, where there are any."""
    lower, higher = sorted(step for step in steps if step < value), sorted(step for step in steps if step > value)
    return (*lower[-1:], *higher[:1])


def _squeezes(network: Scalable) -> Found:
    for number, stage in enumerate(network.stages):
        if isinstance(stage, MobileStage):
            other = SQUEEZE if stage.squeeze is None else None
            changes = {"squeeze": other, "squeeze_of": "expanded" if other else "input"}
            yield Changed("squeeze", _place(number), stage.squeeze, other), _with(network, number, changes)


def _blocks(network: Scalable) -> Found:
    """Each other kind of block; one that widens again does so by 4, and a dense one not at all."""
    for number, stage in enumerate(network.stages):
        if not isinstance(stage, MobileStage):
            continue
        for block in get_args(BlockName):
            if block == stage.block:
                continue
            expansion = stage.expansion if {block, stage.block} <= set(WIDENING) else FRESH.get(block, 1)
            changes = {"block": block, "expansion": expansion}
            yield Changed("block", _place(number), stage.block, block), _with(network, number, changes)


FRESH: dict[BlockName, int] = {"inverted": 4}
"""Expansions of blocks that come in place of such as have none; 1 of all others."""


def _cells(cell: Cell, move: str, ops: Sequence[str] | None) -> Iterator[tuple[Change, Cell]]:
    """An edge less, or more; an operation that is cheaper than a node's, or dearer."""
    if move == "edges":
        yield from CellSpace(cell).moves(cell)
        for j in range(len(cell.ops)):
            for i in range(j):
                more = cell if (i, j) in cell.edges else Cell(cell.kind, cell.ops, (*cell.edges, (i, j)))
                if more != cell:
                    yield Changed("edge", "", "none", f"({i},{j})"), more
        return
    for node in cell.reachable[1:]:
        op = cell.ops[node]
        for other in names(cell.kind) if ops is None else ops:
            if other in cheaper(cell.kind, op) or op in cheaper(cell.kind, other):
                yield (
                    ChangedOp(node, other),
                    Cell(cell.kind, (*cell.ops[:node], other, *cell.ops[node + 1 :]), cell.edges),
                )


def _shared(network: Scalable, move: str, ops: Sequence[str] | None) -> Found:
    """In the cell of all stages that have none of their own."""
    if isinstance(network, ConvArchitecture) and any(stage.cell is None for stage in network.stages):
        for change, cell in _cells(network.cell, move, ops):
            if cell.edges:
                yield change, _celled(network, cell, [stage.cell for stage in network.stages])


def _own(network: Scalable, move: str, ops: Sequence[str] | None) -> Found:
    """In one stage alone, whose cell is then its own."""
    if not isinstance(network, ConvArchitecture) or len(network.stages) == 1:
        return
    for number, stage in enumerate(network.stages):
        own = stage.cell or network.cell
        for change, cell in _cells(own, move, ops):
            if cell.edges:
                cells = [other.cell for other in network.stages]
                cells[number] = cell
                before = "shared" if stage.cell is None else "own"
                yield Changed("cell", _place(number), before, change.label), _celled(network, network.cell, cells)


def _celled(network: ConvArchitecture, cell: Cell, own: Sequence[Cell | None]) -> ConvArchitecture:
    """With a cell, and the stages' own where they are others."""
    pairs = zip(network.stages, own, strict=True)
    stages = tuple(stage.model_copy(update={"cell": None if its == cell else its}) for stage, its in pairs)
    return network.model_copy(update={"cell": cell, "stages": stages})


def _aggregates(network: Scalable) -> Found:
    """Nodes that add what they read, or concatenate it."""
    if isinstance(network, ConvArchitecture) and not any(stage.output for stage in network.stages):
        other = "sum" if network.aggregate == "concat" else "concat"
        change = Changed("aggregate", "", network.aggregate, other)
        yield change, network.model_copy(update={"aggregate": other})


Way = Callable[[Scalable, Choices], Found]


def _of(ways: Callable[[Scalable], Found]) -> Way:
    """Changes that choose from nothing that a caller could narrow."""
    return lambda network, _: ways(network)


MOVES: dict[str, Way] = {
    "edges": lambda network, choices: _shared(network, "edges", choices.ops),
    "ops": lambda network, choices: _shared(network, "ops", choices.ops),
    "own": lambda network, choices: (found for move in ("edges", "ops") for found in _own(network, move, choices.ops)),
    "aggregate": _of(_aggregates),
    "width": _of(_widths),
    "depth": _of(_depths),
    "stem": _of(_stems),
    "pool": _of(_pools),
    "head": _of(_heads),
    "expansion": _of(_ladder("expansion", EXPANSIONS)),
    "kernel": _of(_ladder("kernel", KERNELS)),
    "squeeze": _of(_squeezes),
    "block": _of(_blocks),
    "activation": _of(_activations),
    "size": _inputs,
}
"""By name, from a network and what may be chosen from to its changes."""
ALL = frozenset(MOVES)
USUAL = ALL - {"own"}
"""What is done where nothing is said: a cell of its own in each stage makes as many moves again for every stage."""


def _place(number: int) -> str:
    return f"stage{number + 1}"


def _stages(network: Scalable) -> tuple[Stage | MobileStage, ...]:
    return network.stages


def _count(stage: Stage | MobileStage) -> str:
    return "cells" if isinstance(stage, Stage) else "blocks"


def _strides(stage: Stage | MobileStage) -> str:
    return "pool" if isinstance(stage, Stage) else "stride"


def _stride(stage: Stage | MobileStage) -> int:
    return stage.pool if isinstance(stage, Stage) else stage.stride


def _with(network: Scalable, number: int, changes: dict[str, Any]) -> Scalable:
    stages = list(_stages(network))
    stages[number] = stages[number].model_copy(update=changes)
    return network.model_copy(update={"stages": tuple(stages)})


def _stemmed(network: Scalable, stride: int) -> Scalable:
    return network.model_copy(update={"stem": network.stem.model_copy(update={"stride": stride})})


def _strided(network: Scalable, strides: Sequence[int]) -> Scalable:
    """With the stem's stride, and each stage's."""
    stem, *others = strides
    pairs = zip(_stages(network), others, strict=True)
    stages = (stage.model_copy(update={_strides(stage): stride}) for stage, stride in pairs)
    return _stemmed(network, stem).model_copy(update={"stages": tuple(stages)})
