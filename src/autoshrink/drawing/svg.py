"""A cell as SVG."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
_HEADING = 28.0
"""Height of the line above each of several cells."""


def cell_svg(
    cell: Cell,
    *,
    layout: Layout | None = None,
    outputs: Collection[int] | None = None,
    standalone: bool = True,
    title: str | None = None,
    aggregate: str | None = None,
) -> Markup:
    """The cell as one SVG element.

    Args:
        cell: what to draw.
        layout: where things stand; without it the cell is arranged on its own.
        outputs: the nodes that make the output, the leaves unless given; a given `layout` must have ways for them.
        standalone: a file of its own, with namespace and style; otherwise the page brings `CELL_STYLE`.
        title: what a screen reader says; without it the cell in words.
        aggregate: how its network joins tensors (``sum``), where that is not the usual way.
    """
    layout = layout or arrange(cell, outputs=outputs)
    size = layout.width, layout.height
    return picture(cell_marks(cell, layout, outputs, aggregate), size, title or _words(cell), standalone=standalone)


def cells_svg(
    cells: Mapping[str, Cell],
    outputs: Collection[int] | None = None,
    aggregate: str | None = None,
    *,
    layouts: Mapping[str, Layout] | None = None,
    standalone: bool = True,
) -> Markup:
    """The cells of a network as one SVG element: several stand below one another, under the words for where each is.

    Args:
        cells: by these words.
        outputs: as of `cell_svg`, of each.
        aggregate: how their network joins tensors, see `cell_svg`.
        layouts: where things stand in each; without them each is arranged on its own.
        standalone: as of `cell_svg`.
    """
    layouts = layouts or {words: arrange(cell, outputs=outputs) for words, cell in cells.items()}
    if len(cells) == 1:
        ((words, cell),) = cells.items()
        return cell_svg(cell, layout=layouts[words], outputs=outputs, aggregate=aggregate, standalone=standalone)
    width, height, marks = max(layout.width for layout in layouts.values()), 0.0, []
    for words, layout in layouts.items():
        heading = tag("text", words, x=width / 2, y=_HEADING - 6, text_anchor="middle")
        drawn = tag(
            "g",
            cell_marks(cells[words], layout, outputs, aggregate),
            transform=f"translate({plain((width - layout.width) / 2)} {plain(_HEADING)})",
        )
        marks.append(tag("g", heading, drawn, transform=f"translate(0 {plain(height)})"))
        height += _HEADING + layout.height
    said = "; ".join(f"{words}: {_words(cell)}" for words, cell in cells.items())
    return picture(joined(marks), (width, height), said, standalone=standalone)


def picture(marks: Markup, size: tuple[float, float], words: str, *, standalone: bool) -> Markup:
    """Marks of a size as one SVG element; the words are for a screen reader."""
    return tag(
        "svg",
        tag("title", words),
        tag("style", CELL_STYLE) if standalone else "",
        marks,
        xmlns="http://www.w3.org/2000/svg" if standalone else None,
        class_="as-cell",
        viewBox=f"0 0 {plain(size[0])} {plain(size[1])}",
        width=size[0],
        height=size[1],
        role="img",
    )


def _words(cell: Cell) -> str:
    return f"Cell with {count(len(cell.edges), 'edge')}: {cell}"


def cell_marks(
    cell: Cell, layout: Layout, outputs: Collection[int] | None = None, aggregate: str | None = None
) -> Markup:
    """The inside of the picture, for an SVG that draws more than the cell; an ancestor has the class ``as-cell``."""
    last = cell.leaves if outputs is None else outputs
    parts = [tag("path", class_="as-wire as-leaf", d=layout.outputs[node], data_leaf=node) for node in last]
    if layout.shortcut:
        parts.append(tag("path", class_="as-wire as-shortcut", d=layout.shortcut))
    parts += [edge_mark(layout, edge) for edge in cell.edges]
    parts += [node_mark(cell, layout, node) for node in cell.reachable]
    return joined([*parts, output_mark(cell, layout, aggregate)])


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


def output_mark(cell: Cell, layout: Layout, aggregate: str | None = None, **attributes: object) -> Markup:
    """Where the leaves meet, and the sum with the shortcut."""
    x, y = layout.output
    parts = [
        tag("rect", class_="as-out", x=x - 36, y=y - 13, width=72.0, height=26.0, rx=13.0),
        tag("text", cell_kind(cell.kind, aggregate).output, x=x, y=y + 4.5, text_anchor="middle"),
    ]
    if layout.plus:
        px, py = layout.plus
        parts.append(tag("circle", class_="as-plus", cx=px, cy=py, r=PLUS_RADIUS))
        parts.append(tag("path", class_="as-plus", d=f"M{plain(px - 5)} {plain(py)}h10m-5-5v10"))
        start, end = y + 13, py - PLUS_RADIUS
        parts.append(tag("path", class_="as-wire", d=f"M{plain(x)} {plain(start)}V{plain(end)}m-3-4.5l3 4.5 3-4.5"))
    return tag("g", *parts, class_="as-node as-output", **attributes)
