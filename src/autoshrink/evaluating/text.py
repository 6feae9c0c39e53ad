"""What a trained language model is worth on a whole split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from autoshrink import formatting
from autoshrink.architecture import first_problem
from autoshrink.bundle import TrainedLanguageModel
from autoshrink.config import CorpusData
from autoshrink.data import load_text_split
from autoshrink.errors import InputError
from autoshrink.escaping import shown

EVALUATION_CHUNK = 256
"""Steps between two moments at which losses are computed; the result does not depend on it."""


@dataclass(frozen=True)
class TextEvaluation:
    """A language model measured on one split.

    Attributes:
        loss: mean of a token, nats.
        tokens: how many.
        unknown: how many of them are `<unk>`.
        split: ``test``, ``validation`` or ``train``.
        data: the text.
        notes: sentences about it.
    """

    loss: float
    tokens: int
    unknown: int
    split: str
    data: str
    notes: tuple[str, ...]

    @property
    def perplexity(self) -> float:
        """Of the mean loss; e⁷⁰⁰ at most, so that it is a float."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_token(self) -> float:
        """The same loss to the base 2."""
        return self.loss / math.log(2)

    def to_json(self) -> dict[str, Any]:
        """The object that ``autoshrink evaluate --json`` prints."""
        figures = {"perplexity": self.perplexity, "bits_per_token": self.bits_per_token}
        return figures | asdict(self) | {"notes": list(self.notes)}

    def shown(self) -> Iterator[str]:
        """What a person reads."""
        yield (
            f"perplexity {self.perplexity:,.2f} on the {self.split} split of {shown(self.data)}: "
            f"{formatting.count(self.tokens, 'token')}, "
            f"{self.loss:.4f} nats ({self.bits_per_token:.4f} bits) each; {self.unknown:,} of them "
            f"<unk> ({formatting.plain(formatting.percent(self.unknown / self.tokens))})"
        )


def evaluate_text(
    model: TrainedLanguageModel, *, data: str | None = None, split: str = "test", streams: int = 1
) -> TextEvaluation:
    """Measure a trained language model on a whole split.

    Args:
        model: on its device.
        data: the text; None is what it was trained on.
        split: ``test``, ``validation`` or ``train``.
        streams: pieces that the text is cut into and read side by side; more are faster, and each starts without
            memory.

    Raises:
        InputError: a number is out of range.
        DataError: the text cannot be used, or has no such split.
    """
    from autoshrink.training.text import Streams  # noqa: PLC0415 - needs torch
    from autoshrink.training.text_learner import measure  # noqa: PLC0415

    if streams < 1:
        raise InputError(f"streams {streams}: the text is cut into at least one")
    known = model.vocabulary
    try:
        trained_on = CorpusData.model_validate(model.facts.data.to_json())
    except ValidationError as error:
        raise InputError(f"the model's file is damaged: data.{first_problem(error)}") from error
    spec = data or trained_on.spec
    text = load_text_split(
        spec, split, known, level=known.level, tokens=trained_on.tokens, max_vocabulary=None, min_count=1
    )
    place = next(model.network.parameters()).device
    cut = Streams.of(text.tokens, streams, end=known.end, device=place)
    loss = measure(model.network, cut, EVALUATION_CHUNK).loss
    return TextEvaluation(loss, len(text.tokens), text.unknown, split, spec, tuple(text.notes))
