"""A cell as SVG."""

from __future__ import annotations

from collections.abc import Collection
from importlib import resources

from markupsafe import Markup

from autoshrink.cell import Cell, Edge
from autoshrink.drawing.layout import BOX_HEIGHT, BOX_WIDTH, PLUS_RADIUS, Layout, arrange
from autoshrink.drawing.markup import joined, plain, tag
from autoshrink.drawing.terminal import node_word
from autoshrink.formatting import count
from autoshrink.ops import operation
from autoshrink.ops.kinds import cell_kind

CELL_STYLE = Markup(resources.files("autoshrink.drawing").joinpath("cell.css").read_text(encoding="utf-8"))  # noqa: S704
"""The style of every cell's SVG, light and dark: a page that embeds cells with ``standalone=False`` needs it once."""

_INPUT_COLOURS = ("#eceff1", "#2b3238")


def cell_svg(
    cell: Cell,
    *,
    layout: Layout | None = None,
    outputs: Collection[int] | None = None,
    standalone: bool = True,
    title: str | None = None,
) -> Markup:
    """The cell as one SVG element.

    Args:
        cell: what to draw.
        layout: where things stand; without it the cell is arranged on its own.
        outputs: the nodes that make the output, the leaves unless given; a given `layout` must have ways for them.
        standalone: a file of its own, with namespace and style; otherwise the page brings `CELL_STYLE`.
        title: what a screen reader says; without it the cell in words.
    """
    layout = layout or arrange(cell, outputs=outputs)
    words = title or f"Cell with {count(len(cell.edges), 'edge')}: {cell}"
    return tag(
        "svg",
        tag("title", words),
        tag("style", CELL_STYLE) if standalone else "",
        cell_marks(cell, layout, outputs),
        xmlns="http://www.w3.org/2000/svg" if standalone else None,
        class_="as-cell",
        viewBox=f"0 0 {plain(layout.width)} {plain(layout.height)}",
        width=layout.width,
        height=layout.height,
        role="img",
    )


def cell_marks(cell: Cell, layout: Layout, outputs: Collection[int] | None = None) -> Markup:
    """The inside of the picture, for an SVG that draws more than the cell; an ancestor has the class ``as-cell``."""
    last = cell.leaves if outputs is None else outputs
    parts = [tag("path", class_="as-wire as-leaf", d=layout.outputs[node], data_leaf=node) for node in last]
    if layout.shortcut:
        parts.append(tag("path", class_="as-wire as-shortcut", d=layout.shortcut))
    parts += [edge_mark(layout, edge) for edge in cell.edges]
    parts += [node_mark(cell, layout, node) for node in cell.reachable]
    return joined([*parts, output_mark(cell, layout)])


def edge_mark(layout: Layout, edge: Edge, **attributes: object) -> Markup:
    """One edge."""
    return tag("path", class_="as-wire as-edge", d=layout.edges[edge], data_edge=f"{edge[0]}-{edge[1]}", **attributes)


def node_mark(cell: Cell, layout: Layout, node: int, **attributes: object) -> Markup:
    """One node's box with its number and operation."""
    x, y = layout.nodes[node]
    light, dark = _INPUT_COLOURS if node == 0 else operation(cell.kind, cell.ops[node]).colours
    return tag(
        "g",
        tag("rect", x=x - BOX_WIDTH / 2, y=y - BOX_HEIGHT / 2, width=BOX_WIDTH, height=BOX_HEIGHT, rx=7.0,
            class_="as-op", style=f"--as-light:{light};--as-dark:{dark}"),
        tag("text", str(node), class_="as-number", x=x - BOX_WIDTH / 2 + 8, y=y + 4),
        tag("text", node_word(cell, node), x=x + 7, y=y + 4.5, text_anchor="middle"),
        class_="as-node",
        data_node=node,
        **attributes,
    )  # fmt: skip


def output_mark(cell: Cell, layout: Layout, **attributes: object) -> Markup:
    """Where the leaves meet, and the sum with the shortcut."""
    x, y = layout.output
    parts = [
        tag("rect", class_="as-out", x=x - 36, y=y - 13, width=72.0, height=26.0, rx=13.0),
        tag("text", cell_kind(cell.kind).output, x=x, y=y + 4.5, text_anchor="middle"),
    ]
    if layout.plus:
        px, py = layout.plus
        parts.append(tag("circle", class_="as-plus", cx=px, cy=py, r=PLUS_RADIUS))
        parts.append(tag("path", class_="as-plus", d=f"M{plain(px - 5)} {plain(py)}h10m-5-5v10"))
        start, end = y + 13, py - PLUS_RADIUS
        parts.append(tag("path", class_="as-wire", d=f"M{plain(x)} {plain(start)}V{plain(end)}m-3-4.5l3 4.5 3-4.5"))
    return tag("g", *parts, class_="as-node as-output", **attributes)
