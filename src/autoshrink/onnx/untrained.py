"""Architectures with random weights as ONNX files: what a latency is measured on."""

from __future__ import annotations

from pathlib import Path

from autoshrink.architecture import Architecture, ImageArchitecture, LanguageModel
from autoshrink.errors import InputError
from autoshrink.files import write_bytes
from autoshrink.networks import build
from autoshrink.onnx.export import Form, image_form, to_onnx
from autoshrink.onnx.recurrent import step_form
from autoshrink.onnx.session import checked_content


def architecture_to_onnx(architecture: Architecture, path: Path, *, seed: int = 0) -> None:
    """Write an untrained network as an ONNX file without metadata.

    Of an image classifier, ``images`` float32 (n, C, s, s) to ``logits`` (n, classes). Of a language model one step:
    ``tokens`` int64 (B,) and ``state`` float32 (k, B, n) to ``logits`` (B, V) and ``next_state``.

    Raises:
        InputError: a package is missing, or the architecture cannot be built.
        RunError: the file cannot be written.
    """
    write_bytes(path, checked_content(to_onnx(_form(architecture, seed)), path))


def _form(architecture: Architecture, seed: int) -> Form:
    if isinstance(architecture, ImageArchitecture):
        return image_form(build(architecture, seed=seed), architecture.input)
    if isinstance(architecture, LanguageModel):
        return step_form(build(architecture, seed=seed))
    raise InputError(f"a {architecture.kind} architecture has no ONNX form here")
