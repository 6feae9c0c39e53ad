"""Language models: a vocabulary, a width, a tied decoder, and between them a cell, torch's LSTM or GRU, or minGRU."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field

from autoshrink.architecture.base import Architecture, Depth, Names, Size
from autoshrink.errors import InputError

Model = TypeVar("Model", bound=Architecture)


class LanguageModel(Architecture):
    """What every language model has.

    The embedding (vocabulary × width) is the decoder's weight as well (Press and Wolf 2017; Inan et al. 2017), so the
    hidden state has the embedding's width; the decoder has a bias of its own.
    """

    vocabulary: Names
    width: Size

    @property
    def sizes(self) -> str:
        """Vocabulary and width, for example ``10,000 words, width 745``."""
        return f"{self.vocabulary:,} words, width {self.width}"


class LibraryArchitecture(LanguageModel):
    """A baseline without a cell: ``torch.nn.LSTM(width, width, layers)``, ``torch.nn.GRU`` of the same sizes, or minGRU
    (Feng et al. 2024), whose gates read its input alone (`autoshrink.networks.mingru`)."""

    kind: Literal["lstm", "gru", "mingru"]
    cell: None = Field(default=None, exclude=True)
    layers: Depth = 1


def language_model(architecture: Model, *, vocabulary: int | None = None, width: int | None = None) -> Model:
    """The same language model for another vocabulary or width; None keeps what it has.

    Raises:
        InputError: the architecture is no language model, or a number is out of range.
    """
    if not isinstance(architecture, LanguageModel):
        raise InputError(f"a {architecture.kind} architecture has no vocabulary and no width to set")
    changes = {"vocabulary": vocabulary, "width": width}
    changed = {name: number for name, number in changes.items() if number is not None}
    return architecture.from_json(architecture.to_json() | changed)
