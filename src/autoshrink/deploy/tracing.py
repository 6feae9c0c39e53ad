"""A torch module as an ONNX model, by torch's own exporter, quietly and with nothing fixed that is to stay free."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from autoshrink.deploy.onnx_file import onnx_library
from autoshrink.errors import InputError

OPSET = 18
"""The oldest that torch's exporter writes: what most programs can read."""

Inputs = Mapping[str, tuple[Tensor, Mapping[int, str]]]
"""By name: an example, no axis that is to stay free of length 0 or 1, and the names of its free axes."""


def traced(module: nn.Module, inputs: Inputs, outputs: tuple[str, ...], *, opset: int = OPSET) -> Any:
    """The `onnx.ModelProto` of a module in evaluation mode.

    Raises:
        InputError: a package is missing, or the exporter cannot write that opset.
    """
    onnx_library()
    if opset < OPSET:
        raise InputError(f"opset {opset}: torch's exporter writes {OPSET} or newer")
    free = {name: Dim(name) for _, axes in inputs.values() for name in axes.values()}
    shapes = tuple({axis: free[name] for axis, name in axes.items()} for _, axes in inputs.values())
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(example for example, _ in inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            external_data=False,
            opset_version=opset,
            verbose=False,
        )
    assert program is not None, "the exporter that uses torch.export gives a program"
    model = program.model_proto
    written = next(found.version for found in model.opset_import if not found.domain)
    if written != opset:
        raise InputError(f"opset {opset}: torch {torch.__version__} wrote {written} instead; leave --opset out")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about packages that nothing here uses, and about its own code's age."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter", "onnxscript")]
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = [(logger, logger.level) for logger in (*loggers, registration)]
    for logger, _ in before:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning):
                warnings.filterwarnings("ignore", category=category)
            # That two inputs share a free axis is meant.
            warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
            yield
    finally:
        for logger, level in before:
            logger.setLevel(level)
