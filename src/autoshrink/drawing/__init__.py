"""A cell, or a network without one, as a picture: text for a terminal, SVG for everything else."""

from autoshrink.drawing.layout import BOX_HEIGHT, BOX_WIDTH, Layout, arrange
from autoshrink.drawing.markup import joined, tag
from autoshrink.drawing.network import Part, network_svg
from autoshrink.drawing.svg import CELL_STYLE, cell_marks, cell_svg, cells_svg, edge_mark, node_mark, output_mark
from autoshrink.drawing.terminal import cell_text, cells_text

__all__ = [
    "BOX_HEIGHT",
    "BOX_WIDTH",
    "CELL_STYLE",
    "Layout",
    "Part",
    "arrange",
    "cell_marks",
    "cell_svg",
    "cell_text",
    "cells_svg",
    "cells_text",
    "edge_mark",
    "joined",
    "network_svg",
    "node_mark",
    "output_mark",
    "tag",
]
