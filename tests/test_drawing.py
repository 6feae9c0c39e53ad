"""Pictures of cells show the cell: every edge once, between the right boxes, and no box on another."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import Cell, Edge
from autoshrink.drawing import (
    BOX_HEIGHT,
    BOX_WIDTH,
    CELL_STYLE,
    Layout,
    Part,
    arrange,
    cell_svg,
    cell_text,
    cells_svg,
    network_svg,
    tag,
)
from autoshrink.ops import DEFAULTS

SVG = "{http://www.w3.org/2000/svg}"
SHRINK_CNN = Cell(
    "conv",
    ("input", "sepconv3x3", "sepconv3x3", "sepconv3x3", "conv1x1"),
    ((0, 1), (0, 2), (0, 3), (1, 3), (0, 4), (2, 4)),
)


def complete(nodes: int) -> Cell:
    ops = ("input", *("conv1x1" for _ in range(nodes - 1)))
    return Cell("conv", ops, tuple((i, j) for j in range(nodes) for i in range(j)))


@st.composite
def cells(draw: st.DrawFn, most: int = 10) -> Cell:
    kind = draw(st.sampled_from(list(DEFAULTS)))
    nodes = draw(st.integers(2, most))
    ops = ("input", *(draw(st.sampled_from(DEFAULTS[kind])) for _ in range(nodes - 1)))
    pairs = [(i, j) for j in range(nodes) for i in range(j)]
    # Few edges make wide pictures and many make deep ones; drawing the number first gives both.
    number = draw(st.integers(0, len(pairs)))
    chosen = draw(st.randoms(use_true_random=False)).sample(pairs, number)
    return Cell(kind, ops, tuple(chosen))


def path_ends(path: str) -> tuple[float, float, float, float]:
    """Where a path starts and where it ends, without its arrowhead."""
    drawn = path.partition("m")[0]
    start = re.match(r"M([-\d.]+) ([-\d.]+)", drawn)
    assert start
    x, y = float(start[1]), float(start[2])
    ax, ay = x, y
    for command, numbers in re.findall(r"([CV])([-\d. ]+)", drawn):
        values = [float(value) for value in numbers.split()]
        x, y = (x, values[0]) if command == "V" else (values[4], values[5])
    return ax, ay, x, y


def path_points(path: str) -> list[tuple[float, float]]:
    """Points along a path, close together."""
    drawn = path.partition("m")[0]
    x, y = path_ends(re.split("[CV]", drawn)[0])[:2]
    points = [(x, y)]
    for command, numbers in re.findall(r"([CV])([-\d. ]+)", drawn):
        v = [float(value) for value in numbers.split()]
        a, b, c, d = (
            ((x, y), (x, y), (x, v[0]), (x, v[0]))
            if command == "V"
            else ((x, y), (v[0], v[1]), (v[2], v[3]), (v[4], v[5]))
        )
        for step in range(1, 25):
            t = step / 24
            w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            px, py = (w[0] * p + w[1] * q + w[2] * r + w[3] * u for p, q, r, u in zip(a, b, c, d, strict=True))
            points.append((px, py))
        x, y = d
    return points


@given(cells(16))
@settings(max_examples=150, deadline=None)
def test_no_boxes_overlap_and_all_lie_in_the_picture(cell: Cell) -> None:
    layout = arrange(cell)
    assert set(layout.nodes) == set(cell.reachable)
    for (ax, ay), (bx, by) in combinations(layout.nodes.values(), 2):
        assert abs(ax - bx) > BOX_WIDTH or abs(ay - by) > BOX_HEIGHT
    for x, y in layout.nodes.values():
        assert BOX_WIDTH / 2 <= x <= layout.width - BOX_WIDTH / 2
        assert BOX_HEIGHT / 2 <= y <= layout.output[1] < layout.height


@given(cells())
@settings(max_examples=100, deadline=None)
def test_edges_leave_below_their_first_node_and_enter_above_their_second(cell: Cell) -> None:
    layout = arrange(cell)
    assert set(layout.edges) == set(cell.edges)
    for (i, j), path in layout.edges.items():
        ax, ay, bx, by = path_ends(path)
        assert abs(ay - (layout.nodes[i][1] + BOX_HEIGHT / 2)) < 0.2
        assert abs(by - (layout.nodes[j][1] - BOX_HEIGHT / 2)) < 0.2
        assert abs(ax - layout.nodes[i][0]) < BOX_WIDTH / 2
        assert abs(bx - layout.nodes[j][0]) < BOX_WIDTH / 2


def touched(layout: Layout, edge: Edge, path: str) -> list[int]:
    """Boxes of other nodes that a path runs through."""
    return [
        node
        for node, (x, y) in layout.nodes.items()
        if node not in edge
        and any(abs(px - x) < BOX_WIDTH / 2 and abs(py - y) < BOX_HEIGHT / 2 for px, py in path_points(path))
    ]


@given(cells())
@settings(max_examples=100, deadline=None)
def test_no_wire_runs_through_a_node(cell: Cell) -> None:
    layout = arrange(cell, outputs=cell.reachable)
    for edge, path in layout.edges.items():
        assert touched(layout, edge, path) == []
    for node, path in layout.outputs.items():
        assert touched(layout, (node, node), path) == []
    if layout.shortcut:
        assert touched(layout, (0, 0), layout.shortcut) == []


@pytest.mark.parametrize("nodes", [2, 4, 8, 16])
def test_no_wire_of_a_complete_graph_runs_through_a_node(nodes: int) -> None:
    layout = arrange(complete(nodes))
    assert all(touched(layout, edge, path) == [] for edge, path in layout.edges.items())


@given(cells())
@settings(max_examples=60, deadline=None)
def test_svg_draws_every_edge_and_node_once(cell: Cell) -> None:
    root = ET.fromstring(cell_svg(cell))
    edges = [path.get("data-edge", "") for path in root.iter(f"{SVG}path") if path.get("data-edge")]
    assert sorted(edges) == sorted(f"{i}-{j}" for i, j in cell.edges)
    nodes = [group.get("data-node") for group in root.iter(f"{SVG}g") if group.get("data-node")]
    assert nodes == [str(node) for node in cell.reachable]
    leaves = [path.get("data-leaf") for path in root.iter(f"{SVG}path") if path.get("data-leaf")]
    assert leaves == [str(leaf) for leaf in cell.leaves]


def test_svg_alone_brings_style_and_namespace_and_a_page_brings_them_otherwise() -> None:
    alone, embedded = cell_svg(SHRINK_CNN), cell_svg(SHRINK_CNN, standalone=False)
    assert CELL_STYLE in alone
    assert "prefers-color-scheme" in alone
    assert "<style>" not in embedded
    assert "xmlns" not in embedded
    for source in (alone, embedded):
        root = ET.fromstring(source)
        assert root.get("role") == "img"
        assert root[0].tag.endswith("title")


def test_output_is_named_after_the_kind() -> None:
    recurrent = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2)))
    assert "mean → h" in "".join(ET.fromstring(cell_svg(recurrent)).itertext())
    assert arrange(recurrent).shortcut is None
    assert "concat" in "".join(ET.fromstring(cell_svg(SHRINK_CNN)).itertext())
    assert arrange(SHRINK_CNN).shortcut


def test_film_keeps_every_place() -> None:
    start = complete(6)
    layout = arrange(start, outputs=start.reachable)
    cell = start
    while cell.edges:
        edge = cell.edges[len(cell.edges) // 2]
        smaller = cell.without(edge)
        root = ET.fromstring(cell_svg(smaller, layout=layout))
        whole = ET.fromstring(cell_svg(start, layout=layout))
        assert root.get("height") == whole.get("height")
        paths = {path.get("data-edge"): path.get("d") for path in whole.iter(f"{SVG}path")}
        drawn = [path for path in root.iter(f"{SVG}path") if path.get("data-edge")]
        assert len(drawn) == len(smaller.edges)
        assert all(path.get("d") == paths[path.get("data-edge")] for path in drawn)
        cell = smaller


def test_title_is_escaped() -> None:
    root = ET.fromstring(cell_svg(SHRINK_CNN, title="<script>&"))
    assert root[0].text == "<script>&"
    assert tag("a", title='"<>') == '<a title="&quot;&lt;&gt;"/>'


def test_equal_cells_have_equal_pictures() -> None:
    assert cell_svg(complete(7)) == cell_svg(complete(7))


@pytest.mark.timeout(60)
def test_the_largest_cell_can_be_drawn() -> None:
    assert len(arrange(complete(64)).edges) == 64 * 63 // 2


@given(cells(16))
@settings(max_examples=100, deadline=None)
def test_text_has_a_mark_for_every_edge_and_a_row_for_every_node(cell: Cell) -> None:
    rows = cell_text(cell).split("\n\n")[0].splitlines()
    assert sum(row.count("●") for row in rows) == len(cell.edges)
    assert [int(row.split()[0]) for row in rows] == list(cell.reachable)
    assert [int(row.split()[0]) for row in rows if row.endswith("leaf")] == list(cell.leaves)
    assert max(map(len, rows)) <= 80


def test_text_marks_stand_on_the_lane_of_the_node_that_is_read() -> None:
    cell = complete(8).without((0, 5)).without((3, 6))
    rows = cell_text(cell).splitlines()
    lane = {node: max(rows[node].find("┐"), rows[node].find("→")) for node in cell.reachable}
    for j in cell.reachable:
        read = [i for i in cell.reachable if i < j and rows[j][lane[i]] == "●"]
        assert tuple(read) == cell.predecessors[j]


def test_text_of_the_empty_cell_says_so() -> None:
    text = cell_text(Cell("conv", ("input", "conv1x1"), ()))
    assert "empty cell" in text
    assert "1 node out of use" in text


def test_a_recurrent_cell_shows_what_node_0_does_and_what_the_output_is() -> None:
    cell = Cell("recurrent", ("input", "relu", "sigmoid", "identity"), ((0, 1), (0, 2), (1, 3)))
    drawn = list(ET.fromstring(cell_svg(cell)).itertext())
    for wanted in ("tanh(x, h)", "relu", "sigmoid", "identity", "mean → h"):
        assert wanted in drawn
    assert "input" not in drawn
    rows = cell_text(cell).splitlines()
    assert rows[0].startswith("0 tanh(x, h) ")
    assert [row.split()[1] for row in rows[1:4]] == ["relu", "sigmoid", "identity"]
    assert "new hidden state h = mean(2, 3)" in rows
    assert cell_text(SHRINK_CNN).startswith("0 input ")


def test_cells_that_add_say_so() -> None:
    assert "output = concat(3, 4) + shortcut(0)" in cell_text(SHRINK_CNN)
    assert "output = sum(3, 4) + input" in cell_text(SHRINK_CNN, aggregate="sum")
    assert ">concat<" in cell_svg(SHRINK_CNN)
    assert ">sum<" in cell_svg(SHRINK_CNN, aggregate="sum")


def test_the_cells_of_a_network_stand_below_one_another() -> None:
    cells = {"stages 1, 3": SHRINK_CNN, "stage 2": complete(3)}
    picture = ET.fromstring(cells_svg(cells, aggregate="sum"))
    assert len(picture.findall(f".//{SVG}style")) == 1
    drawn = [one for one in picture if one.tag == f"{SVG}g"]
    headings = [one.find(f"{SVG}text") for one in drawn]
    assert [heading.text for heading in headings if heading is not None] == list(cells)
    for one, cell in zip(drawn, cells.values(), strict=True):
        assert len([path for path in one.iter(f"{SVG}path") if "data-edge" in path.attrib]) == len(cell.edges)
    layouts = [arrange(cell) for cell in cells.values()]
    assert float(picture.attrib["height"]) > sum(layout.height for layout in layouts)
    assert float(picture.attrib["width"]) == pytest.approx(max(layout.width for layout in layouts), abs=0.01)
    tops = [float(one.attrib["transform"].rpartition(" ")[2].rstrip(")")) for one in drawn]
    assert tops[1] - tops[0] > layouts[0].height


def test_a_network_without_a_cell_is_bars_by_its_channels() -> None:
    parts = [Part("input", "", 3, (32, 32)), Part("stem", "3×3", 16, (16, 16)), Part("stage1", "<2> × a", 64, (8, 8))]
    drawn = network_svg(parts)
    root = ET.fromstring(str(drawn))
    bars = [float(one.attrib["width"]) for one in root.iter() if one.tag.endswith("rect")]
    assert bars == sorted(bars)
    assert bars[2] == 2 * bars[1], "the root of four times the channels"
    texts = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert texts[:3] == ["3", "input", "32×32"]
    assert texts[6:] == ["64", "stage1", "<2> × a, 8×8"]
    assert "xmlns" not in network_svg(parts, standalone=False)
