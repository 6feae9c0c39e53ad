"""The network of a convolutional classifier, its cell's wiring as plain statements."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autoshrink.architecture import CellPlan, ConvArchitecture, Stage
from autoshrink.cell import Cell
from autoshrink.deploy.plain_source.layout import INDENT, LINE, call, listing
from autoshrink.ops import NodePlan, Source
from autoshrink.ops import conv as operation

_Width = tuple[int, int]
"""Channels: multiples of a cell's arguments `channels` and `width`."""


def network(architecture: ConvArchitecture) -> tuple[dict[str, Any], Callable[[str], str]]:
    """What the template needs, and what a tensor of the network is called in the generated file."""
    plan = architecture.plan()

    def kind(stage: Stage) -> tuple[Cell, bool]:
        """What has a class of its own."""
        return architecture.cell_of(stage), stage.output is not None

    ops = dict.fromkeys(node.op for part in plan.parts for node in part.nodes)
    sources = {name: operation(name).plain() for name in ops}
    definitions = [source.definition for source in sources.values() if source.definition]
    different = tuple(dict.fromkeys(map(kind, architecture.stages)))
    names = {one: "Cell" if len(different) == 1 else f"Cell{place}" for place, one in enumerate(different, start=1)}
    firsts = [part for part in plan.parts if part.name.endswith(".cell1")]
    stages = list(zip(architecture.stages, firsts, strict=True))
    plans = {names[kind(stage)]: first for stage, first in stages}
    values = {
        "plan": plan,
        "trunk": "cells",
        "last": "channels",
        "dilated": any("dilation=" in definition for definition in definitions),
        "several": True,
        "squeezes": any("SqueezeExcite(" in definition for definition in definitions),
        "definitions": definitions,
        "adds": architecture.aggregate == "sum",
        "merges": any(part.merges for part in plan.parts),
        "cells": {name: _cell(plans[name], sources) for name in names.values()},
        # One pixel is not pooled any further, and its shortcut is that of a cell without pooling.
        "stages": [
            (names[kind(stage)], stage.cells, stage.width, 1 if one.in_size == one.size else stage.pool, stage.output)
            for stage, one in stages
        ],
    }
    places = {part.name.replace(".", "_"): str(place) for place, part in enumerate(plan.parts)}
    dropped = {
        (part.name.replace(".", "_"), f"node{node.node}"): sources[node.op].dropped
        for part in plan.parts
        for node in part.nodes
    }

    def renamed(name: str) -> str:
        parts = name.split(".", 4)
        if parts[0] == "cells":
            cell, parts[1] = parts[1], places[parts[1]]
            if parts[2] == "nodes":
                parts[2:] = [parts[3], parts[4].removeprefix(dropped[cell, parts[3]])]
        return ".".join(parts)

    return values, renamed


def _cell(plan: CellPlan, sources: Mapping[str, Source]) -> dict[str, Any]:
    widths = _widths(plan)
    leaves = [f"x{leaf}" for leaf in plan.leaves]
    join = _sum if plan.adds else _concat
    steps = [
        _step(f"x{node.node}", f"self.node{node.node}", [f"x{i}" for i in node.inputs], join) for node in plan.nodes
    ]
    if len(leaves) > 1:
        steps.append(_step("output", "", leaves, join))
    listed = leaves[0] if len(leaves) == 1 else f"{', '.join(leaves[:-1])} and {leaves[-1]}"
    beside = " side by side" if len(leaves) > 1 and not plan.adds else ""
    added = "x0" if plan.adds else "the shortcut"
    made = f"made of {listed}{beside} by `merge`" if plan.merges else f"{listed}{beside}"
    words = (
        f"Nodes are numbered as in the search; x0 is the cell's input. The output is {made}, plus {added}."
        if plan.nodes
        else f"It has no node: the output is the pooled input plus {added}."
    )
    return {
        "words": textwrap.fill(words, LINE - len(INDENT)).replace("\n", f"\n{INDENT}"),
        "merges": plan.merges,
        "out_channels": _channels([widths[leaf] for leaf in plan.leaves[: 1 if plan.adds else None]]),
        "nodes": [
            call(f"self.node{node.node}", _module(node, widths, sources[node.op], adds=plan.adds), indent=2)
            for node in plan.nodes
        ],
        "steps": steps,
        "output": leaves[0] if len(leaves) == 1 else "output",
    }


def _concat(tensors: str) -> str:
    return f"torch.cat({tensors}, dim=1)"


def _sum(tensors: str) -> str:
    return f"sum({tensors})"


def _step(target: str, layer: str, names: list[str], join: Callable[[str], str]) -> str:
    """What one tensor is made from: a layer, or nothing, applied to others joined."""
    if len(names) == 1:
        return f"{INDENT * 2}{target} = {layer}({names[0]})"
    listed = f"[{', '.join(names)}]"
    line = f"{INDENT * 2}{target} = {_applied(layer, join(listed))}"
    if len(line) <= LINE:
        return line
    return f"{listing('parts = ', names, indent=2)}\n{INDENT * 2}{target} = {_applied(layer, join('parts'))}"


def _applied(layer: str, joined: str) -> str:
    return f"{layer}({joined})" if layer else joined


def _widths(plan: CellPlan) -> dict[int, _Width]:
    """Every node's channels, which are the same in every cell of the network, in terms of the cell's arguments."""
    if plan.adds:
        return dict.fromkeys([0, *(node.node for node in plan.nodes)], (0, 1))
    widths: dict[int, _Width] = {0: (1, 0)}
    for node in plan.nodes:
        reads = [widths[i] for i in node.inputs]
        widths[node.node] = (0, 1) if operation(node.op).mixes else _added(reads)
    return widths


def _module(node: NodePlan, widths: Mapping[int, _Width], source: Source, *, adds: bool) -> str:
    # As in the released networks, what comes before a leaf's end is followed by ReLU whatever the activation is.
    return source.call.format(
        reads=_channels([widths[i] for i in (node.inputs[:1] if adds else node.inputs)]),
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
