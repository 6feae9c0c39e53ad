"""A trained model as an ExecuTorch program (``.pte``), run by PyTorch's own runtime for phones and small devices.

Convolutions and matrix products go to XNNPACK, the runtime's fast library for CPUs; the rest runs on its own kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoshrink.bundle import TrainedModel
from autoshrink.deploy import edge
from autoshrink.deploy.edge import TOLERANCE, Array, Call, Prepared
from autoshrink.deploy.parity import Parity
from autoshrink.onnx.export import quiet
from autoshrink.optional import optional

INSTALL = "pip install 'autoshrink[executorch]'"

NOISY = ("torchao", "torch.utils._pytree", "torch.utils._config_module", "executorch")
"""Loggers that tell of GPU libraries which nothing here uses, and of the exporter's passes."""


def export(
    model: TrainedModel,
    path: Path,
    samples: Array,
    tolerance: float = TOLERANCE,
    *,
    xnnpack: bool = True,
) -> Parity:
    """Write a model as a ``.pte`` file and what it is as ``.pte.json``, unless the file computes something else.

    The program's method is ``forward``. A classifier's takes one image (1, C, s, s), normalised, in PyTorch's layout,
    and gives logits (1, classes). A language model's is one step: tokens int64 (1,) and state (k, 1, w) to logits
    (1, V) and the next state; a text starts with a state of zeros. Arguments and errors as for `edge.export`; the
    package may be missing. Without `xnnpack` the program runs on every build of the runtime, slowly.
    """
    version = _version()
    runtime = edge.Runtime(
        name=f"executorch {version}{' with XNNPACK' if xnnpack else ''}",
        convert=lambda network: _program(network, xnnpack=xnnpack),
        start=_started,
        notes="method forward; inputs and outputs in this order; images as (batch, channels, height, width)",
    )
    with quiet(*NOISY):
        return edge.export(model, path, samples, tolerance, runtime)


def _version() -> str:
    with optional("executorch", purpose="writing .pte files", install=INSTALL), quiet(*NOISY):
        from executorch.exir import to_edge_transform_and_lower  # noqa: F401, PLC0415 - an optional package
        from executorch.version import __version__  # noqa: PLC0415
    return str(__version__)


def _program(network: Prepared, *, xnnpack: bool) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # noqa: PLC0415 - optional
    from executorch.exir import to_edge_transform_and_lower  # noqa: PLC0415

    with torch.no_grad():
        exported = torch.export.export(network.module, network.examples)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()] if xnnpack else [])
    return bytes(lowered.to_executorch().buffer)


def _started(path: Path, _: Prepared) -> Call:
    from executorch.runtime import Runtime  # noqa: PLC0415 - an optional package

    method = Runtime.get().load_program(path).load_method("forward")
    assert method is not None, "a program has the method it was made of"

    def call(*inputs: Array) -> tuple[Array, ...]:
        outputs: list[Any] = method.execute([torch.from_numpy(np.ascontiguousarray(one)) for one in inputs])
        # The runtime's memory is its own and used again by the next call.
        return tuple(output.detach().clone().numpy() for output in outputs)

    return call
