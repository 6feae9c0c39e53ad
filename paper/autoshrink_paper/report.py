"""A study's rows beside the paper's: as JSON, as a Markdown table, as a picture."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

from autoshrink.errors import InputError
from autoshrink.optional import optional
from autoshrink_paper.published import Published
from autoshrink_paper.study import Outcome, Row, Study

HEADS = ("", "the paper", "its params", "its MACs", "ours", "draws", "our params", "our MACs")


@dataclass(frozen=True)
class Reproduction:
    """What was rebuilt of a published table.

    Attributes:
        study: the table.
        outcomes: what was measured.
        folder: where the outcomes lie; None where nothing was trained.
        data: what was trained on.
    """

    study: Study
    outcomes: tuple[Outcome, ...]
    folder: str | None
    data: str = ""

    @property
    def title(self) -> str:
        """The table's, with the data."""
        return self.study.heading(self.data)

    @property
    def rows(self) -> dict[str, Row]:
        """Ours beside the paper's, by key."""
        return self.study.results(self.outcomes)

    @property
    def spent(self) -> int:
        """Multiply-adds of all trainings."""
        return sum(one.spent for one in self.outcomes)

    @property
    def seconds(self) -> float:
        """Of all trainings."""
        return sum(one.seconds for one in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink reproduce --json``."""
        return {
            "name": self.study.name,
            "title": self.title,
            "unit": self.study.unit,
            "rows": [_row_json(one) for one in self.rows.values()],
            "differences": list(self.study.differences),
            "verdict": list(self.study.verdict(self.rows)),
            "done": len(self.outcomes),
            "total": len(self.study.measurements()),
            "cost": {"training_macs": self.spent},
            "seconds": round(self.seconds, 1),
            "folder": self.folder,
        }

    def markdown(self) -> str:
        """Title, table, conditions and verdict; columns that nobody has anything in are left out."""
        cells = [_cells(one) for one in self.rows.values()]
        kept = [number for number in range(len(HEADS)) if number == 0 or any(row[number] for row in cells)]
        lines = [f"**{self.title}** ({self.study.unit})", ""]
        lines += [_line(tuple(HEADS[number] for number in kept)), "| --- |" + " ---: |" * (len(kept) - 1)]
        lines += [_line(tuple(row[number] for number in kept)) for row in cells]
        lines += ["", "Where conditions differ:", "", *(f"- {text}" for text in self.study.differences)]
        verdict = self.study.verdict(self.rows)
        lines += ["", *(f"- {text}" for text in verdict)] if verdict else []
        return "\n".join(lines) + "\n"

    def picture(self) -> str:
        """Value against MACs of our rows, with standard deviations, as SVG.

        Raises:
            InputError: fewer than two rows have both, or matplotlib is not there.
        """
        shown = [one for one in self.rows.values() if one.mean is not None and one.macs]
        if len(shown) < 2:
            raise InputError(f"{self.study.name} has nothing to draw; write the table with -o {self.study.name}.md")
        with optional("matplotlib", purpose="a picture", install="pip install matplotlib"):
            from matplotlib import rc_context  # noqa: PLC0415 - an optional package
            from matplotlib.figure import Figure  # noqa: PLC0415
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.add_subplot(xscale="log", xlabel="MACs", ylabel=self.study.unit, title=self.title)
        axes.grid(color="#e3e6ea")
        means = [one.mean or 0.0 for one in shown]
        axes.errorbar(
            [one.macs for one in shown], means, [one.deviation or 0.0 for one in shown], fmt="o", color="#2f6fb0"
        )
        low, high = axes.get_ylim()
        for one, height in zip(shown, spread_out(means, (high - low) / 25), strict=True):
            axes.annotate(one.name, (one.macs, height), xytext=(7, -3), textcoords="offset points")
        file = io.StringIO()
        with rc_context({"svg.fonttype": "none"}):  # text stays text
            figure.savefig(file, format="svg")
        return file.getvalue()


def spread_out(heights: list[float], gap: float) -> list[float]:
    """Heights of labels, moved up where they would stand in one another."""
    placed: dict[int, float] = {}
    last = min(heights) - gap
    for number in sorted(range(len(heights)), key=heights.__getitem__):
        last = placed[number] = max(heights[number], last + gap)
    return [placed[number] for number in range(len(heights))]


def _row_json(one: Row) -> dict[str, Any]:
    paper = None if one.paper is None else asdict(one.paper)
    if paper is not None:
        del paper["name"]
    return {
        "row": one.row,
        "name": one.name,
        "paper": paper,
        "values": list(one.values),
        "mean": one.mean,
        "sd": one.deviation,
        "failed": one.failed,
        "params": round(one.params) or None,
        "macs": round(one.macs) or None,
    }


def _cells(one: Row) -> tuple[str, ...]:
    paper = one.paper or Published(one.name)
    draws = str(len(one.values)) if one.values else ""
    return (
        one.name,
        "" if paper.value is None else f"{paper.value:g}{_deviation(paper.spread)}",
        paper.params,
        paper.macs,
        "" if one.mean is None else f"{one.mean:.2f}{_deviation(one.deviation)}",
        f"{draws or '0'}, {one.failed} failed" if one.failed else draws,
        f"{one.params:,.0f}" if one.params else "",
        f"{one.macs:,.0f}" if one.macs else "",
    )


def _deviation(value: float | None) -> str:
    return "" if value is None else f" ± {value:.2f}"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
