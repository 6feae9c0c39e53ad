"""The one call for every kind of model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoshrink.bundle import load
from autoshrink.errors import DataError, InputError, MissingDataError
from autoshrink.files import named
from autoshrink.registry import TASKS
from autoshrink.tasks import Task, task_of

ONNX_SUFFIX = ".onnx"


def evaluate(
    target: str | os.PathLike[str],
    *,
    data: str | None = None,
    split: str = "test",
    device: str = "auto",
    **said: Any,
) -> dict[str, Any]:
    """Measure a trained model on a whole split.

    Args:
        target: a training's folder, its model file, or an exported `.onnx` image classifier.
        data: name or path of the data; None is what the model was trained on.
        split: ``test``, ``validation`` or ``train``.
        device: where to: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        said: what the model's task can be told. Of a language model ``streams``: pieces that the text is cut into and
            read side by side; more are faster, and each starts without memory (1). Of an image classifier ``batch``:
            images that go through it at once (128).

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
    if data is not None:
        named(data)
    found: dict[str, Any] = measured(named(target), data=data, split=split, device=device, said=said)[1].to_json()
    return found


def measured(
    target: Path,
    *,
    data: str | None,
    split: str,
    device: str,
    said: Mapping[str, Any],
    unchecked: bool = False,
    progress: Callable[[int, int], None] | None = None,
    understood: Callable[[str], None] = lambda _: None,
) -> tuple[Task, Any]:
    """The task of a model, and what `Task.evaluate` finds; arguments and errors as for `evaluate`.

    Args:
        target: the model.
        data: its name or path.
        split: of it.
        device: where a network of torch computes; an ONNX file computes on the CPU.
        said: options by setting; None for what was not given.
        unchecked: measure an ONNX file also where another tool rewrote it, against its checksum.
        progress: called with (samples tried, samples to try) after each batch.
        understood: called with a line about what is going to be measured.
    """
    task, model = open_model(target, device=device, unchecked=unchecked)
    options = {row.setting: row.flag for row in task.evaluate_options}
    for name, value in said.items():
        if value is not None and name not in options:
            raise InputError(f"{target}: holds {task.a_model}, which has no use for {_flag(name)}; leave it out")
    given = {name: value for name, value in said.items() if value is not None}
    try:
        return task, task.evaluate(
            model, name=str(target), data=data, split=split, said=given, progress=progress, understood=understood
        )
    except MissingDataError as error:
        if data is not None:
            raise
        missing = str(error).partition("\n")[0]
        raise DataError(f"{missing}\n{target} was trained on that; say with --data where the data are now") from error


def open_model(target: Path, *, device: str = "auto", unchecked: bool = False) -> tuple[Task, Any]:
    """The model in a training's folder, its `model.safetensors`, or an exported `.onnx` file, and its task.

    Raises:
        InputError: there is no model, it is damaged, or the device cannot be used.
    """
    if target.suffix.lower() == ONNX_SUFFIX:
        from autoshrink.deploy.predict import open_exported  # noqa: PLC0415 - needs the extra `onnx`

        if device not in ("auto", "cpu"):
            raise InputError(f"{target}: an ONNX file computes on the CPU here; leave out --device {device}")
        exported = open_exported(target, unchecked=unchecked)
        return task_of(exported.card.architecture), exported
    from autoshrink.training.device import choose_device  # noqa: PLC0415 - needs torch

    model = load(target, device=choose_device(device))
    return task_of(model.architecture), model


def _flag(setting: str) -> str:
    rows = (row for name in TASKS for row in TASKS[name].evaluate_options)
    return next((row.flag for row in rows if row.setting == setting), setting)
