"""The form in which a network is exported, and architectures with random weights as files, to measure latencies on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from autoshrink.architecture import Architecture
from autoshrink.files import write_bytes
from autoshrink.networks import build
from autoshrink.onnx.export import Form, tensor_form, to_onnx
from autoshrink.onnx.session import checked_content
from autoshrink.tasks import task_of


def form_of(architecture: Architecture, network: nn.Module, shape: Callable[[], tuple[int, ...]] | None = None) -> Form:
    """What exporters take of a network: what its task says, or one tensor made of another.

    `shape` gives that of one sample; without it, the task says it.

    Raises:
        InputError: the task has no such form.
    """
    task = task_of(architecture)
    own: Form | None = task.form(architecture, network)
    return own or tensor_form(
        network, shape() if shape else task.example(architecture), (task.input_name, task.output_name)
    )


def architecture_to_onnx(architecture: Architecture, path: Path, *, seed: int = 0) -> None:
    """Write an untrained network as an ONNX file without metadata.

    Of an image classifier, ``images`` float32 (n, C, s, s) to ``logits`` (n, classes). Of a language model one step:
    ``tokens`` int64 (B,) and ``state`` float32 (k, B, n) to ``logits`` (B, V) and ``next_state``.

    Raises:
        InputError: a package is missing, or the architecture cannot be built.
        RunError: the file cannot be written.
    """
    network = build(architecture, seed=seed)
    write_bytes(path, checked_content(to_onnx(form_of(architecture, network)), path))
