"""A cell as a picture: text for a terminal, SVG for everything else.

`arrange` decides where things go and `cell_svg` draws them. Data flow downwards: nodes stand in rows by their longest
path from node 0, edges between neighbouring rows are plain curves, and an edge that passes rows runs down a lane of its
own beside their boxes. All lengths are in SVG user units (pixels at scale 1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from html import escape
from itertools import combinations, pairwise

from autoshrink.cell import Cell, Edge

Point = tuple[float, float]

BOX_WIDTH, BOX_HEIGHT = 118.0, 30.0
_SLOT = BOX_WIDTH + 34.0
_MARGIN = 12.0
_CLEARANCE = 9.0

CELL_STYLE = """
.as-cell{--as-paper:#fff;--as-ink:#1c2126;--as-soft:#5b6570;--as-line:#6b7680;--as-cut:#b3261e;--as-mark:#0b6b6b;
--as-input:#eceff1;--as-conv1x1:#dbe8f6;--as-sepconv3x3:#fbe6c8;--as-relu:#dbe8f6;--as-sigmoid:#fbe6c8;
--as-tanh:#dcefdc;--as-identity:#ece3f3;--as-out:#fff;font-family:system-ui,-apple-system,"Segoe UI",sans-serif}
@media (prefers-color-scheme:dark){.as-cell{--as-paper:#15191d;--as-ink:#e8eaec;--as-soft:#a5aeb7;--as-line:#87929c;
--as-cut:#ff8a80;--as-mark:#5cc7bd;--as-input:#2b3238;--as-conv1x1:#22405f;--as-sepconv3x3:#5a4214;--as-relu:#22405f;
--as-sigmoid:#5a4214;--as-tanh:#244a2b;--as-identity:#43325a;--as-out:#15191d}}
.as-wire{fill:none;stroke:var(--as-wire,var(--as-line));stroke-width:var(--as-width,1.4);stroke-linecap:round;
stroke-linejoin:round}
.as-leaf{stroke-dasharray:none;opacity:.6}.as-shortcut{stroke-dasharray:2 5;opacity:.8}
.as-removed{--as-wire:var(--as-cut);stroke-dasharray:5 4}.as-highlight{--as-wire:var(--as-mark);--as-width:3}
.as-node rect{stroke:var(--as-soft);stroke-width:1}.as-node text{fill:var(--as-ink);font-size:12.5px;
opacity:var(--as-label,1)}.as-node .as-number{fill:var(--as-soft);font-size:10.5px}
.as-node .as-out{fill:var(--as-out)}.as-node .as-plus{fill:none;stroke:var(--as-soft);stroke-width:1.4}
"""
"""The style of every cell's SVG, light and dark: a page that embeds cells with ``standalone=False`` needs it once."""


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element as text: `content` is markup already, attribute values are escaped.

    Underscores in attribute names become hyphens and one at the end falls away, so ``class_`` and ``stroke_width``
    work. An attribute that is None is left out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{shown}>{''.join(content)}</{name}>" if content else f"<{name}{shown}/>"


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


# --- text ----------------------------------------------------------------------------------------------------------


def cell_text(cell: Cell) -> str:
    """The cell for a terminal: a row for every reachable node, and a lane down from it to the nodes that read it.

    Every ● is an edge: the row's node reads the node whose lane it stands on. About 16 + 2 columns a node wide.
    """
    lanes = {node: lane for lane, node in enumerate(cell.reachable)}
    digits = len(str(cell.reachable[-1]))
    width = max(len(cell.ops[node]) for node in cell.reachable)
    lines = [f"{node:>{digits}} {cell.ops[node]:<{width}} {_text_row(cell, node, lanes)}" for node in cell.reachable]
    unused = len(cell.ops) - len(cell.reachable)
    lines.append("")
    lines.append(f"output = {_output_words(cell)}")
    lines.append(f"{_count(len(cell.edges), 'edge')}: ● reads from this lane" if cell.edges else "no edges: empty cell")
    if unused:
        lines.append(f"{_count(unused, 'node')} out of use, left out")
    return "\n".join(line.rstrip() for line in lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


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


def _output_words(cell: Cell) -> str:
    leaves = ", ".join(map(str, cell.leaves))
    if cell.kind == "recurrent":
        return f"mean({leaves})"
    return f"concat({leaves}) + shortcut(0)"


# --- where things go -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Where everything of a cell stands. Cells made from it by removing edges can be drawn in it too.

    Attributes:
        width: of the picture.
        height: of the picture.
        nodes: centres of the boxes, `BOX_WIDTH` × `BOX_HEIGHT`.
        edges: the SVG path of every edge, from the lower border of its box to the upper border of the next.
        outputs: the path from a node to the output, for every node that may become a leaf.
        shortcut: the path from node 0 to the sum; None for recurrent cells, which have none.
        output: centre of the pill where the leaves meet.
        plus: centre of the sum; None for recurrent cells.
    """

    width: float
    height: float
    nodes: dict[int, Point]
    edges: dict[Edge, str]
    outputs: dict[int, str]
    shortcut: str | None
    output: Point
    plus: Point | None


def arrange(cell: Cell, *, outputs: Collection[int] | None = None) -> Layout:
    """A layout for a cell; `outputs` are the nodes that get a way to the output, the leaves unless given.

    For a film give it the starting cell and all its reachable nodes: every smaller cell then fits into the layout.
    """
    grid = _Grid.of(cell, tuple(cell.leaves if outputs is None else sorted(outputs)))
    lanes = _lanes(grid)
    return _Plotter(grid, lanes).layout()


@dataclass(frozen=True)
class _Grid:
    """Boxes on rows, before any length is decided vertically: x of the centre and row of every box.

    Boxes are node numbers; `out` and `plus` are two more. `wires` are pairs of boxes.
    """

    x: dict[int, float]
    row: dict[int, int]
    wires: tuple[Edge, ...]
    out: int
    plus: int | None

    @classmethod
    def of(cls, cell: Cell, outputs: tuple[int, ...]) -> _Grid:
        row = _depths(cell)
        x = {node: slot * _SLOT for node, slot in _slots(cell, row).items()}
        out, plus = len(cell.ops), len(cell.ops) + 1 if cell.kind == "conv" else None
        last = max(row.values())
        x[out], row[out] = 0.0, last + 1
        wires = [*cell.edges, *((node, out) for node in outputs)]
        if plus is not None:
            x[plus], row[plus] = 0.0, last + 2
            wires += [(out, plus), (0, plus)]
        return cls(x, row, tuple(wires), out, plus)

    def half_width(self, box: int) -> float:
        return {self.out: 36.0, self.plus: _PLUS_RADIUS}.get(box, BOX_WIDTH / 2)

    def half_height(self, box: int) -> float:
        return _PLUS_RADIUS if box == self.plus else 13.0 if box == self.out else BOX_HEIGHT / 2


_PLUS_RADIUS = 10.0


def _depths(cell: Cell) -> dict[int, int]:
    """Longest path from node 0, in edges, of every reachable node."""
    depth = {0: 0}
    for node in cell.reachable[1:]:
        depth[node] = 1 + max(depth[i] for i in cell.predecessors[node])
    return depth


def _slots(cell: Cell, row: dict[int, int]) -> dict[int, float]:
    """Horizontal places in units of one slot, 0 in the middle: rows ordered so that few edges cross."""
    rows: list[list[int]] = [[] for _ in range(max(row.values()) + 1)]
    for node, depth in row.items():
        rows[depth].append(node)
    best = _placed(cell, rows)
    for _ in range(6):
        rows = [sorted(members, key=lambda node: (_pull(cell, best, node), best[node])) for members in rows]
        candidate = _placed(cell, rows)
        if _tangle(cell, row, candidate) >= _tangle(cell, row, best):
            break
        best = candidate
    return _untangle(cell, row, rows, best)


def _untangle(cell: Cell, row: dict[int, int], rows: list[list[int]], best: dict[int, float]) -> dict[int, float]:
    """Swap nodes of a row while that helps."""
    lowest, improved = _tangle(cell, row, best), True
    # A large cell's crossings cost seconds to count again and again, and no order of rows makes it readable.
    while improved and len(cell.edges) <= 60:
        improved = False
        for members in rows:
            for a, b in combinations(range(len(members)), 2):
                members[a], members[b] = members[b], members[a]
                candidate = _placed(cell, rows)
                tangle = _tangle(cell, row, candidate)
                if tangle < lowest:
                    best, lowest, improved = candidate, tangle, True
                else:
                    members[a], members[b] = members[b], members[a]
    return best


def _neighbours(cell: Cell, node: int) -> tuple[int, ...]:
    return cell.predecessors[node] + cell.successors[node]


def _pull(cell: Cell, slots: dict[int, float], node: int) -> float:
    near = _neighbours(cell, node)
    return sum(slots[other] for other in near) / len(near) if near else 0.0


def _placed(cell: Cell, rows: list[list[int]]) -> dict[int, float]:
    """Slots for given orders: first centred, then drawn towards the neighbours by half slots, never closer than one."""
    slots = {node: i - (len(row) - 1) / 2 for row in rows for i, node in enumerate(row)}
    for members in (*rows, *reversed(rows)):
        if len(members) == len(rows[0]) == 1 and members == rows[0]:
            continue
        wanted = [_pull(cell, slots, node) for node in members]
        slots.update(zip(members, _spread(wanted), strict=True))
    return slots


def _spread(wanted: list[float]) -> list[float]:
    """The values nearest to `wanted` (least squares) in their order, at least one apart, rounded to halves."""
    blocks: list[tuple[float, int]] = []
    for i, value in enumerate(wanted):
        blocks.append((value - i, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    means = [round(2 * mean) / 2 for mean, size in blocks for _ in range(size)]
    return [mean + i for i, mean in enumerate(means)]


def _tangle(cell: Cell, row: dict[int, int], slots: dict[int, float]) -> float:
    """Crossings of straight edges, and a little for their sideways length."""
    ends = [((slots[i], row[i]), (slots[j], row[j])) for i, j in cell.edges]
    crossings = sum(_cross(a, b) for a, b in combinations(ends, 2)) if len(ends) <= 120 else 0
    return crossings + 0.1 * sum(abs(a[0] - b[0]) for a, b in ends)


def _cross(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    (a, b), (c, d) = first, second
    if a == c or b == d or a[1] >= d[1] or c[1] >= b[1]:
        return False
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _lanes(grid: _Grid) -> dict[Edge, float]:
    """An x for every wire that passes rows: free of boxes and of other lanes there, short ones inside long ones."""
    long = [wire for wire in grid.wires if grid.row[wire[1]] - grid.row[wire[0]] > 1]
    pitch = 10.0 if len(long) <= 40 else 6.0 if len(long) <= 160 else 3.0
    reach = round((max(abs(x) for x in grid.x.values()) + BOX_WIDTH) / pitch) + len(long) + 2
    taken = _blocked(grid, pitch, reach)
    lanes: dict[Edge, float] = {}
    load = {-1: 0, 0: 0, 1: 0}
    for wire in sorted(long, key=lambda wire: (grid.row[wire[1]] - grid.row[wire[0]], wire)):
        start, end = wire
        rows = _bits(grid.row[start] + 1, grid.row[end])
        free = [lane for lane in taken if not taken[lane] & rows]
        if wire == (0, grid.plus):  # goes around everything
            used = [lane for lane in taken if taken[lane]]
            free = [lane for lane in free if not min(used) < lane < max(used)]
        lane = min(free, key=lambda lane: (_detour(grid, wire, lane * pitch), load[_side(lane)], abs(lane), lane))
        taken[lane] |= rows
        load[_side(lane)] += 1
        lanes[wire] = lane * pitch
    return lanes


def _blocked(grid: _Grid, pitch: float, reach: int) -> dict[int, int]:
    """For every lane number the rows (as bits) where a box stands in its way."""
    taken = dict.fromkeys(range(-reach, reach + 1), 0)
    for box, x in grid.x.items():
        for lane in taken:
            if abs(lane * pitch - x) < grid.half_width(box) + _CLEARANCE:
                taken[lane] |= 1 << grid.row[box]
    return taken


def _bits(low: int, high: int) -> int:
    return (1 << high) - (1 << low)


def _detour(grid: _Grid, wire: Edge, x: float) -> float:
    return round(abs(x - grid.x[wire[0]]) + abs(x - grid.x[wire[1]]), 3)


def _side(lane: int) -> int:
    return (lane > 0) - (lane < 0)


class _Plotter:
    """Turns a grid and its lanes into lengths and paths."""

    def __init__(self, grid: _Grid, lanes: dict[Edge, float]) -> None:
        self._grid, self._lanes = grid, lanes
        left = min([grid.x[box] - grid.half_width(box) for box in grid.x] + list(lanes.values()))
        right = max([grid.x[box] + grid.half_width(box) for box in grid.x] + list(lanes.values()))
        self._shift, self._width = _MARGIN - left, right - left + 2 * _MARGIN
        # Wide fans of curves need height, or they become flat.
        self._gap = 28.0 + min(26.0, 0.16 * max((abs(x) for x in lanes.values()), default=0.0))
        self._leave = self._ports(0)
        self._enter = self._ports(1)

    def layout(self) -> Layout:
        grid = self._grid
        nodes = {box: self._centre(box) for box in grid.x if box not in (grid.out, grid.plus)}
        paths = {wire: self._path(wire) for wire in grid.wires}
        bottom = grid.out if grid.plus is None else grid.plus
        return Layout(
            width=self._width,
            height=self._centre(bottom)[1] + grid.half_height(bottom) + _MARGIN,
            nodes=nodes,
            edges={wire: path for wire, path in paths.items() if wire[1] in nodes},
            outputs={wire[0]: path for wire, path in paths.items() if wire[1] == grid.out},
            shortcut=None if grid.plus is None else paths[0, grid.plus],
            output=self._centre(grid.out),
            plus=None if grid.plus is None else self._centre(grid.plus),
        )

    def _centre(self, box: int) -> Point:
        row = self._grid.row[box]
        y = _MARGIN + BOX_HEIGHT / 2 + row * (BOX_HEIGHT + self._gap)
        # The sum follows the output closely.
        return self._grid.x[box] + self._shift, y - (0.45 * self._gap if box == self._grid.plus else 0.0)

    def _ports(self, end: int) -> dict[Edge, float]:
        """Where wires leave (end 0) or enter (end 1) their box: x from its centre, in the order of where they go."""
        by_box: dict[int, list[Edge]] = {}
        for wire in self._grid.wires:
            by_box.setdefault(wire[end], []).append(wire)
        ports: dict[Edge, float] = {}
        for box, wires in by_box.items():
            room = 2 * self._grid.half_width(box) - 20.0
            step = min(10.0, room / max(len(wires) - 1, 1))
            away = {wire: self._lanes.get(wire, self._grid.x[wire[1 - end]]) - self._grid.x[box] for wire in wires}
            ports |= _fan(away, step)
        return ports

    def _path(self, wire: Edge) -> str:
        start, end = wire
        (ax, ay), (bx, by) = self._centre(start), self._centre(end)
        ax, ay = ax + self._leave[wire], ay + self._grid.half_height(start)
        bx, by = bx + self._enter[wire], by - self._grid.half_height(end)
        points = [(ax, ay), (bx, by)]
        if wire in self._lanes:
            lane = self._lanes[wire] + self._shift
            first, last = self._grid.row[start] + 1, self._grid.row[end] - 1
            top, bottom = (_MARGIN + row * (BOX_HEIGHT + self._gap) for row in (first, last))
            dip, rise = self._bend(lane, ax, first), self._bend(lane, bx, last)
            points[1:1] = [(lane, top + dip), (lane, bottom + BOX_HEIGHT - rise)]
        return _curve(points)

    def _bend(self, lane: float, port: float, row: int) -> float:
        """How far a wide curve may reach into a row that it passes: half of it where no box is near the lane."""
        grid = self._grid
        clear = min(abs(lane - self._centre(b)[0]) - grid.half_width(b) for b in grid.x if grid.row[b] == row)
        # A cubic with vertical tangents has less than a quarter of its way left at two thirds of its height.
        return BOX_HEIGHT / 2 if clear > 0.35 * abs(lane - port) else 0.0


def _fan(away: dict[Edge, float], step: float) -> dict[Edge, float]:
    """Ports for wires by where they go: those straight ahead in the middle if there are any."""
    order = sorted(away, key=lambda wire: (away[wire], wire))
    straight = [i for i, wire in enumerate(order) if abs(away[wire]) < 1.0]
    middle = straight[0] if len(straight) == 1 else (len(order) - 1) / 2
    most = max(middle, len(order) - 1 - middle, 1)
    step = min(step, step * max(len(order) - 1, 1) / 2 / most) if len(straight) == 1 else step
    return {wire: (i - middle) * step for i, wire in enumerate(order)}


def _curve(points: list[Point]) -> str:
    """A path down through the points with vertical tangents, and a small open arrowhead."""
    x, y = points[0]
    text = f"M{_plain(x)} {_plain(y)}"
    for (ax, ay), (bx, by) in pairwise(points):
        if ax == bx:
            text += f"V{_plain(by)}"
        else:
            pull = 0.55 * (by - ay)
            text += "C" + " ".join(_plain(value) for value in (ax, ay + pull, bx, by - pull, bx, by))
    return text + "m-3-4.5l3 4.5 3-4.5"


# --- SVG -----------------------------------------------------------------------------------------------------------


def cell_svg(
    cell: Cell,
    *,
    removed: Collection[Edge] = (),
    highlight: Edge | None = None,
    layout: Layout | None = None,
    standalone: bool = True,
    title: str | None = None,
) -> str:
    """The cell as one SVG element.

    Args:
        cell: what to draw.
        removed: edges to draw in red although the cell lacks them; `layout` must have them.
        highlight: one edge to draw strongly.
        layout: where things stand; without it the cell is arranged on its own.
        standalone: a file of its own, with namespace and style; otherwise the page brings `CELL_STYLE`.
        title: what a screen reader says; without it the cell in words.
    """
    layout = layout or arrange(cell)
    words = title or f"Cell with {_count(len(cell.edges), 'edge')}: {cell}"
    return tag(
        "svg",
        tag("title", escape(words)),
        tag("style", CELL_STYLE) if standalone else "",
        cell_marks(cell, layout, removed=removed, highlight=highlight),
        xmlns="http://www.w3.org/2000/svg" if standalone else None,
        class_="as-cell",
        viewBox=f"0 0 {_plain(layout.width)} {_plain(layout.height)}",
        width=layout.width,
        height=layout.height,
        role="img",
    )


def cell_marks(cell: Cell, layout: Layout, *, removed: Iterable[Edge] = (), highlight: Edge | None = None) -> str:
    """The inside of the picture, for an SVG that draws more than the cell; an ancestor has the class ``as-cell``."""
    parts = [tag("path", class_="as-wire as-leaf", d=layout.outputs[leaf], data_leaf=leaf) for leaf in cell.leaves]
    if layout.shortcut:
        parts.append(tag("path", class_="as-wire as-shortcut", d=layout.shortcut))
    for edge in cell.edges:
        kind = "as-wire as-edge as-highlight" if edge == highlight else "as-wire as-edge"
        parts.append(edge_mark(layout, edge, kind))
    parts += [edge_mark(layout, edge, "as-wire as-removed") for edge in removed if edge not in cell.edges]
    parts += [node_mark(cell, layout, node) for node in cell.reachable]
    return "".join([*parts, output_mark(cell, layout)])


def edge_mark(layout: Layout, edge: Edge, kind: str = "as-wire as-edge", **attributes: object) -> str:
    """One edge, with its CSS classes."""
    return tag("path", class_=kind, d=layout.edges[edge], data_edge=f"{edge[0]}-{edge[1]}", **attributes)


def node_mark(cell: Cell, layout: Layout, node: int, **attributes: object) -> str:
    """One node's box with its number and operation."""
    x, y = layout.nodes[node]
    op = cell.ops[node]
    return tag(
        "g",
        tag("rect", x=x - BOX_WIDTH / 2, y=y - BOX_HEIGHT / 2, width=BOX_WIDTH, height=BOX_HEIGHT, rx=7.0,
            style=f"fill:var(--as-{op})"),
        tag("text", str(node), class_="as-number", x=x - BOX_WIDTH / 2 + 8, y=y + 4),
        tag("text", escape(op), x=x + 7, y=y + 4.5, text_anchor="middle"),
        class_="as-node",
        data_node=node,
        **attributes,
    )  # fmt: skip


def output_mark(cell: Cell, layout: Layout, **attributes: object) -> str:
    """Where the leaves meet, and the sum with the shortcut."""
    x, y = layout.output
    word = "mean" if cell.kind == "recurrent" else "concat"
    parts = [
        tag("rect", class_="as-out", x=x - 36, y=y - 13, width=72.0, height=26.0, rx=13.0),
        tag("text", word, x=x, y=y + 4.5, text_anchor="middle"),
    ]
    if layout.plus:
        px, py = layout.plus
        parts.append(tag("circle", class_="as-plus", cx=px, cy=py, r=_PLUS_RADIUS))
        parts.append(tag("path", class_="as-plus", d=f"M{_plain(px - 5)} {_plain(py)}h10m-5-5v10"))
        start, end = y + 13, py - _PLUS_RADIUS
        parts.append(tag("path", class_="as-wire", d=f"M{_plain(x)} {_plain(start)}V{_plain(end)}m-3-4.5l3 4.5 3-4.5"))
    return tag("g", *parts, class_="as-node as-output", **attributes)
