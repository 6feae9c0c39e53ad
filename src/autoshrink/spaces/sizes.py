"""The numbers of an image network that scaling turns: widths, and how many cells or blocks a stage has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from autoshrink.architecture import ConvArchitecture, Head, MobileArchitecture, MobileStage, Stage

Scalable = ConvArchitecture | MobileArchitecture
"""An image network of stages, each with a width and a number of cells or blocks."""
MOST_CELLS = 100
"""Cells beyond which a network grows in width alone, unless its skeleton has more."""
LEAST_SIDE = 16
"""Height and width, in pixels, below which no input is made smaller."""


def sides(largest: int) -> tuple[int, ...]:
    """The heights and widths, in pixels, that an input may have: ``96, 72, 56, 40, 32, 24, 16``.

    Each is three quarters of the one before, in the nearest multiple of 8 (of two the smaller), so that it can be
    halved without a rest, and all have 16 pixels or more. All smaller inputs together have less than
    1.5 times the pixels of the largest.

    Args:
        largest: of the images as they are read.
    """
    found = [largest]
    while (side := 8 * ((3 * found[-1] + 15) // 32)) >= LEAST_SIDE:
        found.append(side)
    return tuple(found)


def divisible(width: float, divisor: int = 4) -> int:
    """The multiple of `divisor` nearest to a width, at least one: 4·max(1, round(x / 4)) in the released ShrinkCNN."""
    return divisor * max(1, round(width / divisor))


def scaled(width: int, multiplier: float, divisor: int = 4) -> int:
    """A width under a multiplier, as the released ShrinkCNN has it: make_div4(int(16·s·1.4)) for s = ½, 1, 2, 4, 8."""
    return divisible(int(width * multiplier), divisor)


def deepened(cells: tuple[int, ...], total: int) -> tuple[int, ...]:
    """So many cells in the proportions of `cells`, at least one a stage.

    Each further cell goes where the stage is furthest behind its share (Sainte-Laguë), the later stage among equals;
    so a larger total never takes a cell away, and a multiple of `cells` comes out as such.
    """
    given = [1] * len(cells)
    for _ in range(total - len(cells)):
        behind = [
            (share / (2 * so_far + 1), stage) for stage, (share, so_far) in enumerate(zip(cells, given, strict=True))
        ]
        given[max(behind)[1]] += 1
    return tuple(given)


@dataclass(frozen=True)
class Sizes:
    """Widths, in channels, and cells (or blocks) a stage of an image network; `head` is None where it has none."""

    stem: int
    widths: tuple[int, ...]
    cells: tuple[int, ...]
    head: int | None

    @classmethod
    def of(cls, architecture: Scalable) -> Sizes:
        """The sizes that an architecture has."""
        return cls(
            stem=architecture.stem.channels,
            widths=tuple(stage.width for stage in architecture.stages),
            cells=tuple(map(parts_of, architecture.stages)),
            head=architecture.head.channels if architecture.head else None,
        )

    def put_into(self, skeleton: Scalable) -> Scalable:
        """The skeleton with these sizes; strides, pooling and everything else stay."""
        before: tuple[Stage | MobileStage, ...] = skeleton.stages
        stages = zip(before, self.cells, self.widths, strict=True)
        return skeleton.model_copy(
            update={
                "stem": skeleton.stem.sized(self.stem),
                "stages": tuple(_with(old, cells, width) for old, cells, width in stages),
                "head": self.head and Head(channels=self.head),
            }
        )

    def wider(self, multiplier: float, divisor: int) -> Sizes:
        """Every width times a multiplier, in multiples of the divisor."""
        width = partial(scaled, multiplier=multiplier, divisor=divisor)
        return replace(
            self, stem=width(self.stem), widths=tuple(map(width, self.widths)), head=self.head and width(self.head)
        )

    def deeper(self, multiplier: float) -> Sizes:
        """The total of cells times a multiplier, in the proportions that the stages have."""
        most = max(sum(self.cells), MOST_CELLS)
        total = min(round(sum(self.cells) * min(multiplier, most)), most)
        return replace(self, cells=deepened(self.cells, total))

    @property
    def places(self) -> dict[str, int]:
        """The width of every place: ``stem``, ``stage 1``, …, ``head``."""
        stages = {f"stage {number}": width for number, width in enumerate(self.widths, start=1)}
        return {"stem": self.stem} | stages | ({} if self.head is None else {"head": self.head})

    def with_width(self, place: str, width: int) -> Sizes:
        """With another width in one of `places`."""
        if place == "stem":
            return replace(self, stem=width)
        if place == "head":
            return replace(self, head=width)
        stage = int(place.removeprefix("stage ")) - 1
        return replace(self, widths=(*self.widths[:stage], width, *self.widths[stage + 1 :]))

    def stepped(self, step: int, *, least: int = 1, kept: str | None = None) -> Iterator[tuple[str, Sizes]]:
        """Every way to have one width more by a step that leaves `least` channels, with words: ``stage 2 from 24 to 28
        channels``; the width of the place `kept` stays."""
        for place, width in self.places.items():
            if place != kept and width + step >= least:
                yield f"{place} from {width} to {width + step} channels", self.with_width(place, width + step)


def parts_of(stage: Stage | MobileStage) -> int:
    """How often a stage repeats its cell or block."""
    return stage.cells if isinstance(stage, Stage) else stage.blocks


def _with(stage: Stage | MobileStage, cells: int, width: int) -> Stage | MobileStage:
    if isinstance(stage, Stage):
        return stage.sized(cells, width)
    return stage.model_copy(update={"blocks": cells, "width": width})
