"""A run as one self-contained HTML page, and as one picture."""

from autoshrink.report.page import render
from autoshrink.report.poster import summary_svg

__all__ = ["render", "summary_svg"]
