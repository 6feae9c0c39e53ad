"""The numbers of an image network that scaling turns: widths, and how many cells or blocks a stage has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from autoshrink.architecture import ConvArchitecture, Head, MobileArchitecture, MobileStage, Stage, Stem

Scalable = ConvArchitecture | MobileArchitecture
"""An image network of stages, each with a width and a number of cells or blocks."""
MOST_CELLS = 100
"""Cells beyond which a network grows in width alone, unless its skeleton has more."""


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
            cells=tuple(map(_cells, architecture.stages)),
            head=architecture.head.channels if architecture.head else None,
        )

    def put_into(self, skeleton: Scalable) -> Scalable:
        """The skeleton with these sizes; strides, pooling and everything else stay."""
        before: tuple[Stage | MobileStage, ...] = skeleton.stages
        stages = zip(before, self.cells, self.widths, strict=True)
        return skeleton.model_copy(
            update={
                "stem": Stem(channels=self.stem, stride=skeleton.stem.stride),
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

    def wider_by_one(self, divisor: int) -> Iterator[tuple[str, Sizes]]:
        """Every way to be wider in one place by one divisor, with words: ``stage 2 from 24 to 28 channels``."""
        for place, width, sizes in self._stepped(divisor):
            yield f"{place} from {width} to {width + divisor} channels", sizes

    def narrower_by_one(self, divisor: int) -> Iterator[Sizes]:
        """Every way to be narrower in one place by one divisor that leaves a divisor at least."""
        for _, width, sizes in self._stepped(-divisor):
            if width >= 2 * divisor:
                yield sizes

    def _stepped(self, step: int) -> Iterator[tuple[str, int, Sizes]]:
        """Place, its width, and the sizes with that width changed."""
        yield "stem", self.stem, replace(self, stem=self.stem + step)
        for stage, width in enumerate(self.widths):
            widths = (*self.widths[:stage], width + step, *self.widths[stage + 1 :])
            yield f"stage {stage + 1}", width, replace(self, widths=widths)
        if self.head is not None:
            yield "head", self.head, replace(self, head=self.head + step)


def _cells(stage: Stage | MobileStage) -> int:
    """How often a stage repeats its cell or block."""
    return stage.cells if isinstance(stage, Stage) else stage.blocks


def _with(stage: Stage | MobileStage, cells: int, width: int) -> Stage | MobileStage:
    return stage.model_copy(update={"cells" if isinstance(stage, Stage) else "blocks": cells, "width": width})
