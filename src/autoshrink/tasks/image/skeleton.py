"""What stands around a cell, or around blocks, before it is scaled: given, or made for the size of the input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autoshrink import formatting
from autoshrink.architecture import (
    ConvArchitecture,
    MobileArchitecture,
    Stage,
    Stem,
    checked,
)
from autoshrink.cell import Cell
from autoshrink.crafting import Source
from autoshrink.errors import InputError
from autoshrink.spaces.families import CLASSES, INPUT, default_skeleton
from autoshrink.spaces.sizes import Scalable
from autoshrink.untrusted import brief

FEWEST_PIXELS = 3
"""Height and width, in pixels, below which no network of inverted residual blocks is strided for another input."""


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
    elif isinstance(found, ConvArchitecture) and _another(begin, shape) and len(found.cells) == 1:
        skeleton = default_skeleton(found.cells[""], shape or INPUT, said.get("classes") or found.classes)
        skeleton = skeleton.model_copy(update={"aggregate": found.aggregate})
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
    if stages:
        assert isinstance(skeleton, ConvArchitecture), "a network of cells"
        value["stages"] = [stage.model_dump() for stage in _with_cells(stages, skeleton)]
    value |= {"stem": _stem(skeleton.stem, said["stem"]).model_dump()} if "stem" in said else {}
    if "head" in said:
        value["head"] = None if said["head"] == "none" else {"channels": said["head"]}
    made = type(skeleton).from_json(value)
    if isinstance(made, MobileArchitecture) and made.input[1:] != skeleton.input[1:]:
        return strided(made, stem="stem" in said)
    return made


def _another(begin: Source, shape: tuple[int, int, int] | None) -> bool:
    """Whether a network that a search made for the size of its images is wanted for another size."""
    found = begin.found
    return begin.proxy and shape is not None and isinstance(found, ConvArchitecture) and shape[1:] != found.input[1:]


def _with_cells(stages: Sequence[Stage], skeleton: ConvArchitecture) -> tuple[Stage, ...]:
    """Stages that a person gave, with the cells that the skeleton's have of their own."""
    if not any(stage.cell or stage.output for stage in skeleton.stages):
        return tuple(stages)
    if len(stages) != len(skeleton.stages):
        raise InputError(
            f"stages: {formatting.count(len(stages), 'stage')}, and the network has {len(skeleton.stages)}, some with "
            "a cell of their own; give as many"
        )
    pairs = zip(stages, skeleton.stages, strict=True)
    return tuple(its.sized(stage.cells, stage.width).model_copy(update={"pool": stage.pool}) for stage, its in pairs)


def _stem(found: Stem, said: Stem) -> Stem:
    """What was said of channels and stride; the form of the network's, unless it was said too."""
    if said != Stem(channels=said.channels, stride=said.stride):
        return said
    return found.sized(said.channels).model_copy(update={"stride": said.stride})


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
            first = first.model_copy(update={"stride": 1})
        else:
            stages[place] = stages[place].model_copy(update={"stride": 1})
        network = network.model_copy(update={"stem": first, "stages": tuple(stages)})
        place += 1
    return network
