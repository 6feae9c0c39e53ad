"""What a classifier's training begins with: its architecture made for the data, and the weights it starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autoshrink.architecture import ImageArchitecture, proxy_architecture
from autoshrink.bundle import TrainedClassifier, load_as
from autoshrink.cell import Cell
from autoshrink.config import Overrides
from autoshrink.data import open_images
from autoshrink.data.carving import keeping_of
from autoshrink.data.opening import same_data
from autoshrink.data.split_choice import NO_PAST, Past, drawn_ledger
from autoshrink.errors import InputError
from autoshrink.networks import build
from autoshrink.training.feeds import channels_of

CELL_SIZE = 32
"""Height and width of the input of a lone cell's network where the images differ in size: that of the paper's."""
SHOWN = 4
"""Tensors that a message names."""


@dataclass(frozen=True)
class Source:
    """The training split, opened and not read: what it is called, its classes, its images' size, and their number."""

    spec: str
    classes: tuple[str, ...]
    size: int | None
    images: int

    @classmethod
    def of(cls, spec: str) -> Source:
        """Open it.

        Raises:
            DataError: it cannot be.
        """
        source = open_images(spec, split="train")
        return cls(spec, source.classes, source.natural_size, len(source.labels))


def trained_start(overrides: Overrides) -> TrainedClassifier | None:
    """The classifier that ``start`` names, if it names one.

    Raises:
        InputError: there is none, or it is damaged.
    """
    start = overrides.get("start")
    return None if start is None else load_as(TrainedClassifier, Path(str(start)))


def brought(start: TrainedClassifier | None, spec: str) -> dict[str, Any] | None:
    """The settings that trained weights bring with them; of the same data, what was kept back for a test too."""
    if start is None:
        return None
    data: dict[str, Any] = {"crop": start.preprocessing.crop}
    if same_data(spec, start.facts.data.spec):
        keeping = keeping_of(start.facts.data.to_json())
        data |= {"test_share": keeping.share, "group": keeping.group}
    return {"data": data, "recipe": {"bn_epsilon": start.facts.bn_epsilon}}


def past_of(start: TrainedClassifier | None, spec: str, remark: Callable[[str], None]) -> Past:
    """What the weights at the start know of images.

    Files of earlier versions have no list: what they kept back of the same data is drawn again, as they drew it; of
    other data nothing is known. Both are said.
    """
    if start is None:
        return NO_PAST
    if start.ledger is not None:
        return Past(start.ledger)
    data = start.facts.data
    share = data.to_json().get("validation_share")
    if same_data(spec, data.spec) and isinstance(share, float):
        remark(
            "the weights to start from have no list of their images (an earlier version trained them): what they kept "
            "back is drawn again, which is right if no image was added, removed or renamed since"
        )
        return Past(drawn_ledger(spec, validation_share=share, seed=start.facts.seed or 0))
    remark(
        "the weights to start from have no list of their images (an earlier version trained them): if some of these "
        "are among them, validation accuracy flatters"
    )
    return NO_PAST


def fitted(
    target: ImageArchitecture | Cell | None,
    start: TrainedClassifier | None,
    source: Source,
    remark: Callable[[str], None],
) -> ImageArchitecture:
    """The architecture to train: what was asked for, with the data's classes.

    Raises:
        InputError: nothing was asked for, or its input is no square of one or three channels.
    """

    if target is None and start is None:
        raise InputError("nothing to train: give an architecture or a cell, or --from a trained classifier")
    if isinstance(target, Cell):
        size = source.size or CELL_SIZE
        return proxy_architecture(target, shape=(channels_of(source.spec), size, size), classes=len(source.classes))
    architecture = target
    if architecture is None:
        assert start is not None, "refused above"
        architecture = start.architecture
    channels, height, width = architecture.input
    if height != width or channels not in (1, 3):
        raise InputError(f"input {architecture.sizes}: classifiers are trained on squares of 1 or 3 channels")
    classes = len(source.classes)
    if architecture.classes == classes:
        return architecture
    remark(f"{source.spec} has {classes} classes: a classifier for these replaces the one for {architecture.classes}")
    return with_classes(architecture, classes)


def with_classes(architecture: ImageArchitecture, classes: int) -> ImageArchitecture:
    """The same for another number of classes."""
    return type(architecture).from_json(architecture.to_json() | {"classes": classes})


def give_weights(network: nn.Module, architecture: ImageArchitecture, start: TrainedClassifier, *, anew: bool) -> None:
    """Give a network the weights of a trained one; `anew` leaves what depends on the classes as it is.

    Raises:
        InputError: other tensors are missing, too many, or of another shape; the message names some.
    """
    own = network.state_dict()
    given = dict(start.network.state_dict())
    for name in class_tensors(architecture) if anew else ():
        given[name] = own[name]
    wrong = _differences(own, given)
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"the weights to start from do not fit the architecture: {', '.join(wrong[:SHOWN])}{more}; leave the "
            "architecture out to take theirs"
        )
    network.load_state_dict(given)


def class_tensors(architecture: ImageArchitecture) -> set[str]:
    """The names of the tensors whose shape depends on the number of classes."""
    here = build(architecture, seed=0).state_dict()
    there = build(with_classes(architecture, architecture.classes + 1), seed=0).state_dict()
    return {name for name in here if here[name].shape != there[name].shape}


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{name} is missing" for name in own.keys() - given.keys()]
    extra = [f"{name} is not in it" for name in given.keys() - own.keys()]
    shapes = [
        f"{name} is {_shape(given[name])} and not {_shape(own[name])}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    return [*shapes, *sorted(missing), *sorted(extra)]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"
