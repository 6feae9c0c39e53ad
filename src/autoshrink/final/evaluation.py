"""What a trained language model is worth on a whole split."""

from __future__ import annotations

import math
import os
from typing import Any

from autoshrink.bundle import TrainedLanguageModel, load_as, model_path
from autoshrink.config import CorpusData
from autoshrink.data import load_text_split
from autoshrink.errors import InputError
from autoshrink.files import named
from autoshrink.training.checkpoint import understood
from autoshrink.training.device import choose_device
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import measure

EVALUATION_CHUNK = 256
"""Steps between two moments at which losses are computed; the result does not depend on it."""


def evaluate(
    folder: str | os.PathLike[str],
    *,
    data: str | None = None,
    split: str = "test",
    streams: int = 1,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a trained language model on a whole split.

    Args:
        folder: of the training, or its model file.
        data: the text; None is what it was trained on.
        split: ``test``, ``validation`` or ``train``.
        streams: pieces that the text is cut into and read side by side; more are faster, and each starts without
            memory.
        device: where to.

    Returns:
        ``perplexity``, ``loss`` (nats a token), ``bits_per_token``, ``tokens``, ``unknown`` (how many of them are
        `<unk>`), ``split``, ``data``, ``notes`` (sentences about the text).

    Raises:
        InputError: there is no model, or a number is out of range.
        DataError: the text cannot be used, or has no such split.
    """
    if streams < 1:
        raise InputError(f"streams {streams}: the text is cut into at least one")
    place = choose_device(device)
    model = load_as(TrainedLanguageModel, named(folder), device=place)
    with understood(model_path(named(folder))):
        trained_on = CorpusData.model_validate(model.facts.data.to_json())
    spec = data or trained_on.spec
    text = load_text_split(
        spec,
        split,
        model.vocabulary,
        level=model.vocabulary.level,
        tokens=trained_on.tokens,
        max_vocabulary=None,
        min_count=1,
    )
    cut = Streams.of(text.tokens, streams, end=model.vocabulary.end, device=place)
    loss = measure(model.network, cut, EVALUATION_CHUNK).loss
    return {
        "perplexity": math.exp(min(loss, 700.0)),
        "loss": loss,
        "bits_per_token": loss / math.log(2),
        "tokens": len(text.tokens),
        "unknown": text.unknown,
        "split": split,
        "data": spec,
        "notes": list(text.notes),
    }
