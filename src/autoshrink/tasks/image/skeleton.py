"""What stands around a cell, or around blocks, before it is scaled: given, or made for the size of the input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from autoshrink import formatting
from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    ConvArchitecture,
    Head,
    MobileArchitecture,
    MobileStage,
    Stage,
    Stem,
    checked,
)
from autoshrink.cell import Cell
from autoshrink.crafting import Source
from autoshrink.errors import InputError
from autoshrink.untrusted import brief

Scalable = ConvArchitecture | MobileArchitecture
"""An image network of stages, each with a width and a number of cells, or of inverted residual blocks."""
INPUT, CLASSES = (3, 32, 32), 10
"""Of a cell whose file names neither: the paper's proxy (Table 1)."""
SMALLEST_MAP = 4
"""Height and width, in pixels, below which a default skeleton does not pool."""
FEWEST_PIXELS = 3
"""Height and width, in pixels, below which no network of inverted residual blocks is strided for another input."""
FEW_PIXELS = 64
"""Largest height or width for which it has the paper's proxy network rather than ShrinkCNN's."""
SHRINKCNN = ((1, 12), (3, 24), (4, 44), (6, 88), (4, 180))
"""Cells and width of each stage (AutoShrink, released ShrinkCNN-A and -B at 224×224)."""


def image_skeleton(begin: Source, said: Mapping[str, Any]) -> Scalable:
    """The network that is scaled: what was found, or one made for the input's size, with what was said of it.

    That of a search is made for the size of its images, so another size has another. Strides that are too many for
    another input are taken out.

    Args:
        begin: where crafting begins.
        said: what a person says: ``shape``, ``classes``, ``stages``, ``pool``, ``stem``, ``head``, ``activation``.

    Raises:
        InputError: a value is out of range, or stages are given to a network without cells; the message names it.
    """
    found, shape = begin.found, said.get("shape")
    skeleton: Scalable
    if isinstance(found, Cell):
        skeleton = default_skeleton(found, shape or INPUT, said.get("classes") or CLASSES)
    elif isinstance(found, ConvArchitecture) and begin.proxy and shape and shape[1:] != found.input[1:]:
        skeleton = default_skeleton(found.cell, shape, said.get("classes") or found.classes)
    else:
        assert isinstance(found, ConvArchitecture | MobileArchitecture), "the kinds of image networks"
        skeleton = found
    stages = _stages(said.get("stages"), said.get("pool"))
    if stages and isinstance(skeleton, MobileArchitecture):
        raise InputError(
            "stages: cells and widths for a network of cells; one of inverted residual blocks has its own, which "
            "budgets scale"
        )
    value = skeleton.to_json() | {name: said[name] for name in ("classes", "activation") if name in said}
    value |= {"input": list(shape)} if shape else {}
    value |= {"stages": [stage.model_dump() for stage in stages]} if stages else {}
    value |= {"stem": said["stem"].model_dump()} if "stem" in said else {}
    if "head" in said:
        value["head"] = None if said["head"] == "none" else {"channels": said["head"]}
    made = type(skeleton).from_json(value)
    if isinstance(made, MobileArchitecture) and made.input[1:] != skeleton.input[1:]:
        return strided(made, stem="stem" in said)
    return made


def stem(text: str) -> Stem:
    """Channels, or channels and stride: ``44/2``."""
    match = re.fullmatch(r"([1-9]\d{0,8})(?:/([1-9]\d{0,8}))?", text.strip(), re.ASCII)
    if match is None:
        raise InputError(f"{brief(text)} is not a stem such as 32 or 44/2, channels and stride")
    return checked(Stem, "--stem", channels=int(match[1]), stride=int(match[2] or 1))


def head(text: str) -> int | str:
    """Channels, or ``none``."""
    if text != "none" and not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise InputError(f"{brief(text)} is neither a number of channels nor none")
    return text if text == "none" else int(text)


def depth(text: str) -> str:
    """``auto`` or ``fixed``."""
    if text not in ("auto", "fixed"):
        raise InputError(f"{text!r} is neither auto nor fixed")
    return text


def _stages(stages: str | Sequence[Stage] | None, pool: Sequence[int] | None) -> tuple[Stage, ...]:
    """Stages as values, or as they are typed: ``1x12,3x24,4x44``, with the pooling before each."""
    typed = "" if pool is None else ",".join(map(str, pool))
    if stages is None and pool is not None:
        raise InputError(f"--pool {typed}: it goes with --stages, which says how many there are")
    if not isinstance(stages, str):
        return tuple(stages or ())
    parts = [re.fullmatch(r"(\d{1,9})[x×](\d{1,9})", part.strip().lower(), re.ASCII) for part in stages.split(",")]
    pools = pool or [1, *[2] * (len(parts) - 1)]
    if len(pools) != len(parts):
        raise InputError(
            f"--pool {brief(typed)}: {formatting.count(len(pools), 'number')} for the "
            f"{formatting.count(len(parts), 'stage')} of --stages {brief(stages)}"
        )
    found = []
    for part, before in zip(parts, pools, strict=True):
        if part is None or min(int(part[1]), int(part[2]), before) < 1:
            raise InputError(
                f"--stages {brief(stages)}{f' --pool {brief(typed)}' if pool else ''}: write cells x width, all "
                "above zero, such as 1x12,3x24,4x44"
            )
        found.append(checked(Stage, "--stages", cells=int(part[1]), width=int(part[2]), pool=before))
    return tuple(found)


def strided(network: MobileArchitecture, *, stem: bool = False) -> MobileArchitecture:
    """A network of inverted residual blocks without the strides that leave fewer than 3 pixels at its end.

    MobileNetV2 has five, for 224 pixels. At 32 the first two go, the stem's and the second stage's, as in the versions
    for CIFAR that people use; at 48 and 64 the stem's goes, and at 96 none.

    Args:
        network: with its input.
        stem: keep the stem's stride whatever follows.
    """
    first, stages = network.stem, list(network.stages)
    place = 0 if stem else -1
    while min(network.plan().final_size) < FEWEST_PIXELS and place < len(stages):
        if place < 0:
            first = Stem(channels=first.channels, stride=1)
        else:
            stages[place] = stages[place].model_copy(update={"stride": 1})
        network = network.model_copy(update={"stem": first, "stages": tuple(stages)})
        place += 1
    return network


def default_skeleton(cell: Cell, shape: tuple[int, int, int] = INPUT, classes: int = CLASSES) -> ConvArchitecture:
    """A skeleton for a size of input, (channels, height, width).

    Up to 64 pixels it is the paper's proxy network (Table 1, T = 1): widths 16, 32, …, doubled and pooled until the map
    has 8 pixels or fewer, in two stages at least. Above that it is ShrinkCNN's: 1, 3, 4, 6, 4 cells, a stem of stride 2
    and a head. No stage pools to less than 4 pixels.

    Raises:
        InputError: the cell is not convolutional, or a number is out of range.
    """
    if min(shape) < 1:
        raise InputError(f"input: channels, height and width, each above zero, not {shape}")
    if max(shape[1:]) <= FEW_PIXELS:
        count = 2
        while _after(shape, count - 1) > 2 * SMALLEST_MAP:
            count += 1
        parts = [(1, 16 * 2**stage) for stage in range(count)]
        around: dict[str, Any] = {"stem": {"channels": 32, "stride": 1}, "head": None}
        size = min(shape[1:])
    else:
        parts, around = list(SHRINKCNN), {"stem": {"channels": 44, "stride": 2}, "head": {"channels": 1280}}
        size = -(-min(shape[1:]) // 2)
    stages = []
    for number, (cells, width) in enumerate(parts):
        pool = 2 if number > 0 and -(-size // 2) >= SMALLEST_MAP else 1
        size = -(-size // pool)
        stages.append({"cells": cells, "width": width, "pool": pool})
    value = {"format": ARCHITECTURE_FORMAT, "kind": "conv", "cell": cell, "input": list(shape), "classes": classes}
    return ConvArchitecture.from_json(value | {"stages": stages} | around)


def _after(shape: tuple[int, int, int], pools: int) -> int:
    """The smaller side after so many poolings by 2."""
    side: int = min(shape[1:])
    return -(-side // (1 << pools))


# --- the numbers that crafting turns -------------------------------------------------------------------------------


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
