"""Networks as ONNX models: BN folded, traced by torch's own exporter with nothing fixed that is to stay free, checked.

Shape letters: n images, C channels, s pixels.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autoshrink.errors import InputError
from autoshrink.networks.projection import Projection
from autoshrink.onnx.session import onnx_library

OPSET = 18
"""The oldest that torch's exporter writes: what most programs can read."""

Inputs = Mapping[str, tuple[Tensor, Mapping[int, str]]]
"""By name: an example, no axis that is to stay free of length 0 or 1, and the names of its free axes."""


@dataclass(frozen=True)
class Form:
    """A network as exporters take it.

    Attributes:
        module: in evaluation mode, on the CPU; called with the inputs in order.
        inputs: examples of what it takes, by name.
        outputs: the names of what it gives, in order.
    """

    module: nn.Module
    inputs: Inputs
    outputs: tuple[str, ...]

    def one(self, *, integers: torch.dtype = torch.int64) -> dict[str, Tensor]:
        """Inputs by name, every free axis of length 1, whole numbers of the type given: what edge runtimes take."""
        found = {}
        for name, (example, axes) in self.inputs.items():
            one = example[tuple(slice(0, 1 if axis in axes else None) for axis in range(example.dim()))]
            found[name] = one if one.is_floating_point() else one.to(integers)
        return found


class Named(nn.Module):
    """A form's module with inputs by name, for exporters that take names over from there."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **inputs: Tensor) -> Any:
        """The module's outputs; the inputs' order counts."""
        return self.module(*inputs.values())


def tensor_form(network: nn.Module, shape: tuple[int, ...], names: tuple[str, str]) -> Form:
    """Of a network that makes one tensor of another, (n, …) each.

    Args:
        network: in any mode.
        shape: of one sample.
        names: of input and output.
    """
    return Form(folded(network), {names[0]: (torch.zeros(2, *shape), {0: "batch"})}, (names[1],))


def to_onnx(form: Form, *, opset: int = OPSET) -> Any:
    """The `onnx.ModelProto` of a form.

    Raises:
        InputError: a package is missing, or the exporter cannot write that opset.
    """
    onnx_library()
    if opset < OPSET:
        raise InputError(f"opset {opset}: torch's exporter writes {OPSET} or newer")
    free = {name: Dim(name) for _, axes in form.inputs.values() for name in axes.values()}
    shapes = tuple({axis: free[name] for axis, name in axes.items()} for _, axes in form.inputs.values())
    # That two inputs share a free axis is meant.
    with quiet("torch.onnx", "torch.onnx._internal.exporter", _REGISTRATION, "onnxscript"), torch.no_grad():
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            form.module,
            tuple(example for example, _ in form.inputs.values()),
            dynamo=True,
            input_names=list(form.inputs),
            output_names=list(form.outputs),
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


_REGISTRATION = "torch.onnx._internal.exporter._registration"


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode with the same outputs, in which no `Sequential` has a convolution followed by BN.

    With BN's scale γ/√(σ² + ε) the convolution's weight becomes W·γ/√(σ² + ε) and its bias β − μ·γ/√(σ² + ε), worked
    out in float64. Strides of shortcuts are taken inside their convolutions. The copy is for inference: its BN
    statistics are gone, and the backward pass of such convolutions is not to be trusted on a CPU (torch 2.13).
    """
    twin = copy.deepcopy(network).eval()
    for module in list(twin.modules()):
        if isinstance(module, nn.Sequential):
            _fold(module)
        if isinstance(module, Projection):
            module.take_stride()
    return twin


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Without what exporters say of the age of their own code, and without warnings of the loggers named."""
    named = [logging.getLogger(name) for name in loggers]
    before = [logger.level for logger in named]
    for logger in named:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
                warnings.filterwarnings("ignore", category=category)
            yield
    finally:
        for logger, level in zip(named, before, strict=True):
            logger.setLevel(level)


def _fold(sequence: nn.Sequential) -> None:
    for (name, convolution), (follower, norm) in pairwise(list(sequence.named_children())):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(sequence, name, fuse_conv_bn_eval(convolution.double(), norm.double()).float())
            delattr(sequence, follower)
