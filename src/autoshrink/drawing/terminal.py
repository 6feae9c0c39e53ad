"""A cell as text for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autoshrink.cell import Cell
from autoshrink.formatting import count
from autoshrink.ops import operation
from autoshrink.ops.kinds import cell_kind


def cell_text(cell: Cell, *, outputs: Collection[int] | None = None, aggregate: str | None = None) -> str:
    """The cell for a terminal: a row for every reachable node, and a lane down from it to the nodes that read it.

    `outputs` are the nodes that make the output, the leaves unless given; `aggregate` is how its network joins tensors
    (``sum``), where that is not the usual way. Every ● is an edge: the row's node reads the
    node whose lane it stands on. About 16 + 2 columns a node wide.
    """
    lanes = {node: lane for lane, node in enumerate(cell.reachable)}
    digits = len(str(cell.reachable[-1]))
    names = {node: node_word(cell, node) for node in cell.reachable}
    width = max(map(len, names.values()))
    lines = [f"{node:>{digits}} {name:<{width}} {_text_row(cell, node, lanes)}" for node, name in names.items()]
    unused = len(cell.ops) - len(cell.reachable)
    lines.append("")
    nodes = ", ".join(map(str, cell.leaves if outputs is None else outputs))
    lines.append(cell_kind(cell.kind, aggregate).formula.format(nodes=nodes))
    lines.append(f"{count(len(cell.edges), 'edge')}: ● reads from this lane" if cell.edges else "no edges: empty cell")
    if unused:
        lines.append(f"{count(unused, 'node')} out of use, left out")
    return "\n".join(line.rstrip() for line in lines)


def cells_text(cells: Mapping[str, Cell], outputs: Collection[int] | None = None, aggregate: str | None = None) -> str:
    """The cells of a network as `cell_text` has each, under the words for where it is."""
    drawn = ((words, cell_text(cell, outputs=outputs, aggregate=aggregate)) for words, cell in cells.items())
    return "\n".join(f"{words}:\n{text}" if words else text for words, text in drawn)


def _text_row(cell: Cell, node: int, lanes: dict[int, int]) -> str:
    parts, reads = [], cell.predecessors[node]
    for other in [other for other in lanes if other < node]:
        alive = cell.successors[other] and cell.successors[other][-1] > node
        started = bool(reads) and reads[0] <= other
        if other in reads:
            mark = "●"
        elif alive:
            mark = "┼" if started else "│"
        else:
            mark = "─" if started else " "
        parts.append(mark + ("─" if started else " "))
    return "".join(parts) + ("┐" if cell.successors[node] else "→ leaf")


def node_word(cell: Cell, node: int) -> str:
    """What a node does, for a box of a picture: its operation."""
    if node == 0:
        return cell_kind(cell.kind).first or cell.ops[0]
    return operation(cell.kind, cell.ops[node]).shown
