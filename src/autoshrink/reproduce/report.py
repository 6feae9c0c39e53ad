"""A study's rows beside the paper's: as JSON, as a Markdown table, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoshrink import formatting
from autoshrink.drawing import tag
from autoshrink.report import charts
from autoshrink.reproduce.published import Published
from autoshrink.reproduce.study import Result


@dataclass(frozen=True)
class Reproduction:
    """What was rebuilt of a published table.

    Attributes:
        name: ``table4`` and so on.
        title: a line about it.
        unit: of the values.
        results: ours beside the paper's, row by row.
        differences: where our conditions differ.
        verdict: whether the paper's direction is seen.
        done: measurements that are there.
        total: of how many.
        spent: multiply-adds of all trainings.
        seconds: of all trainings.
        folder: where the outcomes lie; None where nothing was trained.
    """

    name: str
    title: str
    unit: str
    results: tuple[Result, ...]
    differences: tuple[str, ...]
    verdict: tuple[str, ...]
    done: int
    total: int
    spent: int
    seconds: float
    folder: str | None

    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink reproduce --json``."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "rows": [_row_json(one) for one in self.results],
            "differences": list(self.differences),
            "verdict": list(self.verdict),
            "done": self.done,
            "total": self.total,
            "cost": {"training_macs": self.spent},
            "seconds": round(self.seconds, 1),
            "folder": self.folder,
        }

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Heads and rows, as text; columns that nobody has anything in are left out."""
        heads = ("", "the paper", "its params", "its MACs", "ours", "draws", "our params", "our MACs")
        rows = [_cells(one) for one in self.results]
        kept = [number for number in range(len(heads)) if number == 0 or any(row[number] for row in rows)]
        return tuple(heads[number] for number in kept), tuple(tuple(row[number] for number in kept) for row in rows)

    def markdown(self) -> str:
        """Title, table, conditions and verdict."""
        heads, rows = self.table()
        lines = [f"**{self.title}** ({self.unit})", ""]
        lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += ["", "Where conditions differ:", "", *(f"- {text}" for text in self.differences)]
        lines += ["", *(f"- {text}" for text in self.verdict)] if self.verdict else []
        return "\n".join(lines) + "\n"


def _row_json(one: Result) -> dict[str, Any]:
    paper = one.paper
    return {
        "row": one.row,
        "name": one.name,
        "paper": None
        if paper is None
        else {"value": paper.value, "spread": paper.spread, "params": paper.params, "macs": paper.macs},
        "values": list(one.values),
        "mean": one.mean,
        "sd": one.deviation,
        "failed": one.failed,
        "params": round(one.params) or None,
        "macs": round(one.macs) or None,
    }


def _cells(one: Result) -> tuple[str, ...]:
    paper = one.paper or Published(one.name)
    ours = "" if one.mean is None else f"{one.mean:.2f}{_spread(one.deviation)}"
    draws = str(len(one.values)) if one.values else ""
    if one.failed:
        draws = f"{draws or '0'}, {one.failed} failed"
    return (
        one.name,
        "" if paper.value is None else f"{paper.value:g}{_spread(paper.spread)}",
        paper.params,
        paper.macs,
        ours,
        draws,
        f"{one.params:,.0f}" if one.params else "",
        f"{one.macs:,.0f}" if one.macs else "",
    )


def _spread(value: float | None) -> str:
    return "" if value is None else f" ± {value:.2f}"


STYLE = """
.ground{fill:#fff}.rule{stroke:#e3e6ea}.axis{stroke:#7a828c}.tick{fill:#59616b;font-size:11px}
.name{fill:#20262d;font-size:12px}.head{fill:#20262d;font-size:14px;font-weight:600}.dot{fill:#2f6fb0}
.error{stroke:#2f6fb0;fill:none;stroke-width:1.5}
@media(prefers-color-scheme:dark){.ground{fill:#15191e}.rule{stroke:#2c333b}.axis{stroke:#7f8994}.tick{fill:#a3adb8}
.name,.head{fill:#e6eaee}.dot{fill:#7ab3ea}.error{stroke:#7ab3ea}}
"""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 760, 420, 60, 150, 56, 48


def picture(reproduction: Reproduction) -> str | None:
    """Value against MACs of our rows, with standard deviations, as SVG; None for fewer than two rows with both."""
    shown = [one for one in reproduction.results if one.mean is not None and one.macs]
    if len(shown) < 2:
        return None
    ends = [value for one in shown for value in _range(one)]
    panel = charts.Panel(
        charts.Scale.around([one.macs for one in shown], LEFT, WIDTH - RIGHT, log=True),
        charts.Scale.around(ends, HEIGHT - FOOT, TOP),
    )
    parts = [
        f"<style>{STYLE}</style>",
        tag("rect", class_="ground", width=WIDTH, height=HEIGHT),
        charts.label(LEFT - 44, 24, reproduction.title, kind="head"),
        charts.label(LEFT - 44, 42, reproduction.unit, kind="tick"),
        panel.rules(panel.y.ticks(), lambda value: f"{value:g}"),
        panel.foot(panel.x.ticks(), formatting.round_quantity),
        charts.label(WIDTH - RIGHT, HEIGHT - 10, "MACs", kind="tick", anchor="end"),
    ]
    for one, height in zip(shown, _apart([panel.y(one.mean or 0.0) for one in shown]), strict=True):
        x, y = panel.x(one.macs), panel.y(one.mean or 0.0)
        low, high = _range(one)
        parts.append(charts.error_bar(x, panel.y(low), panel.y(high)))
        parts.append(charts.dot(x, y, "dot", radius=4.5, tip=f"{one.name}: {one.mean:.2f}{_spread(one.deviation)}"))
        parts.append(charts.label(x + 9, height + 4, one.name, kind="name"))
    return tag(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        font_family="system-ui, sans-serif",
        role="img",
    )


def _range(one: Result) -> tuple[float, float]:
    mean, spread = one.mean or 0.0, one.deviation or 0.0
    return mean - spread, mean + spread


def _apart(heights: list[float], gap: float = 15.0) -> list[float]:
    """Heights of labels, moved down where they would stand in one another."""
    placed: dict[int, float] = {}
    last = -gap
    for number in sorted(range(len(heights)), key=heights.__getitem__):
        last = max(heights[number], last + gap)
        placed[number] = last
    return [placed[number] for number in range(len(heights))]
