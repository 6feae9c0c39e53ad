"""A trained model as a LiteRT program (``.tflite``), for what was called TensorFlow Lite: Android, microcontrollers."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from autoshrink.bundle import TrainedModel
from autoshrink.deploy import edge
from autoshrink.deploy.edge import TOLERANCE, Array, Call, Prepared
from autoshrink.deploy.parity import Parity
from autoshrink.onnx.export import Named, quiet
from autoshrink.optional import optional

INSTALL = "pip install 'autoshrink[litert]'"

NOISY = ("torchao", "torch.utils._pytree", "torch.utils._config_module", "jax", "root")
"""Loggers that tell of GPU libraries which nothing here uses, and of the converter's passes."""


def export(model: TrainedModel, path: Path, samples: Array, tolerance: float = TOLERANCE) -> Parity:
    """Write a model as a ``.tflite`` file and what it is as ``.tflite.json``, unless the file computes something else.

    A classifier reads ``images`` float32 (1, C, s, s), normalised, in PyTorch's layout (channels first, not
    TensorFlow's), and gives logits (1, classes). A language model's program is one step: ``tokens`` int32 (1,) and
    ``state`` (k, 1, w) to logits (1, V) and the next state; a text starts with a state of zeros. The outputs are
    called ``output_0`` and ``output_1``. Arguments and errors as for `edge.export`; the package may be missing.
    """
    with quiet(*NOISY):
        _require()
        runtime = edge.Runtime(
            name=f"LiteRT {version('ai-edge-litert')}, by litert-torch {version('litert-torch')}",
            convert=_program,
            start=_started,
            notes="images as (batch, channels, height, width), as in PyTorch; outputs are output_0, output_1, in order",
            integers=torch.int32,
        )
        return edge.export(model, path, samples, tolerance, runtime)


def _require() -> None:
    with optional("litert_torch", "ai_edge_litert", purpose="writing .tflite files", install=INSTALL):
        import ai_edge_litert.interpreter  # noqa: F401, PLC0415 - an optional package
        import litert_torch  # noqa: F401, PLC0415


def _program(network: Prepared) -> bytes:
    import litert_torch  # noqa: PLC0415 - an optional package

    # It tells of its progress on standard output, which belongs to the results.
    with redirect_stdout(io.StringIO()), torch.no_grad():
        converted = litert_torch.convert(Named(network.module).eval(), sample_kwargs=dict(network.inputs))
        return bytes(converted.model_content())


def _started(path: Path, network: Prepared) -> Call:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - an optional package

    interpreter = Interpreter(model_path=str(path))
    run = interpreter.get_signature_runner()
    details = run.get_input_details()

    def call(*inputs: Array) -> tuple[Array, ...]:
        named = zip(network.inputs, inputs, strict=True)
        outputs = run(**{name: np.asarray(array, dtype=details[name]["dtype"]) for name, array in named})
        return tuple(outputs[name] for name in sorted(outputs))

    return call
