"""The one call for every kind of model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoshrink.errors import InputError
from autoshrink.evaluating.images import DEFAULT_BATCH, evaluate_images
from autoshrink.evaluating.models import open_image_model
from autoshrink.files import named


def evaluate(
    target: str | os.PathLike[str],
    *,
    data: str | None = None,
    split: str = "test",
    streams: int | None = None,
    batch: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a trained model on a whole split.

    Args:
        target: a training's folder, its model file, or an exported `.onnx` image classifier.
        data: name or path of the data; None is what the model was trained on.
        split: ``test``, ``validation`` or ``train``.
        streams: of a language model: pieces that the text is cut into and read side by side; more are faster, and each
            starts without memory. None is 1.
        batch: of an image classifier: images that go through it at once. None is 128.
        device: where to: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Returns:
        Of a language model ``perplexity``, ``loss`` (nats a token), ``bits_per_token``, ``tokens``, ``unknown`` (how
        many of them are `<unk>`), ``split``, ``data``, ``notes``. Of an image classifier ``accuracy``, ``interval``
        (95 %), ``top5`` (null for five classes or fewer), ``loss`` (nats), ``macro``, ``calibration``, ``per_class``,
        ``confusion`` (a row for each true class), ``confusions`` (the most frequent), ``images``, ``skipped``,
        ``model``, ``data``, ``split``, ``params``, ``macs``, ``notes``.

    Raises:
        InputError: there is no model, it is damaged, a number is out of range, or one is given that is for the other
            kind of model.
        DataError: the data cannot be used, has no such split, or has classes that the model does not know.
    """
    path = named(target)
    if data is not None:
        named(data)
    model = open_image_model(path, device=device)
    if model is None:
        refuse_given(path, "a language model", {"batch": batch})
        from autoshrink.final.evaluation import evaluate as evaluate_text  # noqa: PLC0415 - needs torch

        return evaluate_text(path, data=data, split=split, streams=1 if streams is None else streams, device=device)
    refuse_given(path, "an image classifier", {"streams": streams})
    return evaluate_images(model, data=data, split=split, batch=DEFAULT_BATCH if batch is None else batch).to_json()


def refuse_given(target: Path, kind: str, options: Mapping[str, object]) -> None:
    """Refuse what only the other kind of model has a use for.

    Raises:
        InputError: one of the options is not None; the message names the first.
    """
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None:
        raise InputError(f"{target}: holds {kind}, which has no use for {given}; leave it out")
