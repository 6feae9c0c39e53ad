"""Where everything of a cell's picture stands.

Data flow downwards: nodes stand in rows by their longest path from node 0, edges between neighbouring rows are plain
curves, and an edge that passes rows runs down a lane of its own beside their boxes. All lengths are in SVG user units
(pixels at scale 1).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations, pairwise

from autoshrink.cell import Cell, Edge
from autoshrink.drawing.markup import plain
from autoshrink.ops.kinds import cell_kind

Point = tuple[float, float]

BOX_WIDTH, BOX_HEIGHT = 118.0, 30.0
PLUS_RADIUS = 10.0
_SLOT = BOX_WIDTH + 34.0
_MARGIN = 12.0
_CLEARANCE = 9.0


@dataclass(frozen=True)
class Layout:
    """Where everything of a cell stands. Cells made from it by removing edges can be drawn in it too.

    Attributes:
        width: of the picture.
        height: of the picture.
        nodes: centres of the boxes, `BOX_WIDTH` × `BOX_HEIGHT`.
        edges: the SVG path of every edge, from the lower border of its box to the upper border of the next.
        outputs: the path from a node to the output, for every node that may become a leaf.
        shortcut: the path from node 0 to the sum; None for kinds of cells that have none.
        output: centre of the pill where the leaves meet.
        plus: centre of the sum; None without a shortcut.
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
        out, plus = len(cell.ops), len(cell.ops) + 1 if cell_kind(cell.kind).shortcut else None
        last = max(row.values())
        x[out], row[out] = 0.0, last + 1
        wires = [*cell.edges, *((node, out) for node in outputs)]
        if plus is not None:
            x[plus], row[plus] = 0.0, last + 2
            wires += [(out, plus), (0, plus)]
        return cls(x, row, tuple(wires), out, plus)

    def half_width(self, box: int) -> float:
        return {self.out: 36.0, self.plus: PLUS_RADIUS}.get(box, BOX_WIDTH / 2)

    def half_height(self, box: int) -> float:
        return PLUS_RADIUS if box == self.plus else 13.0 if box == self.out else BOX_HEIGHT / 2


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
    reach = round((max(abs(x) for x in grid.x.values()) + BOX_WIDTH) / pitch) + len(long) + 3
    taken = _blocked(grid, pitch, reach)
    lanes: dict[Edge, float] = {}
    load = {-1: 0, 0: 0, 1: 0}
    for wire in sorted(long, key=lambda wire: (grid.row[wire[1]] - grid.row[wire[0]], wire)):
        start, end = wire
        rows = _bits(grid.row[start] + 1, grid.row[end])
        ends = sorted(round(grid.x[box] / pitch) for box in wire)
        around = wire == (0, grid.plus)
        if around:  # the shortcut encloses everything
            used = [lane for lane in taken if taken[lane]]
            ends = [min(used), max(used)]
        free = _free(taken, rows, (ends[0], ends[1]), inside=not around)
        lane = min(free, key=lambda lane: (_detour(grid, wire, lane * pitch), load[_side(lane)], abs(lane), lane))
        taken[lane] |= rows
        load[_side(lane)] += 1
        lanes[wire] = lane * pitch
    return lanes


def _free(taken: dict[int, int], rows: int, ends: tuple[int, int], *, inside: bool) -> list[int]:
    """Lanes free in all `rows`: those between both ends, if wanted, and the nearest beyond either."""
    low, high = ends
    free = [lane for lane in range(low, high + 1) if not taken[lane] & rows] if inside else []
    free.append(next(lane for lane in range(low - 1, min(taken) - 1, -1) if not taken[lane] & rows))
    free.append(next(lane for lane in range(high + 1, max(taken) + 1) if not taken[lane] & rows))
    return free


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
    text = f"M{plain(x)} {plain(y)}"
    for (ax, ay), (bx, by) in pairwise(points):
        if ax == bx:
            text += f"V{plain(by)}"
        else:
            pull = 0.55 * (by - ay)
            text += "C" + " ".join(plain(value) for value in (ax, ay + pull, bx, by - pull, bx, by))
    return text + "m-3-4.5l3 4.5 3-4.5"
