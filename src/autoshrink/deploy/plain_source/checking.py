"""Does a written folder compute what our network does? Asked in a process where autoshrink cannot be imported."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load, save
from torch import Tensor

from autoshrink.bundle import TrainedModel
from autoshrink.cost import count
from autoshrink.deploy.exporter import refuse_none
from autoshrink.deploy.parity import Parity, compare
from autoshrink.deploy.plain_source import isolated
from autoshrink.errors import RunError

STREAMS = 4
"""A text is read as a whole, and once more cut into so many pieces side by side."""

Samples = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def check(model: TrainedModel, folder: Path, samples: Samples) -> Parity:
    """Compare what the files in `folder` say of real samples with what the network says.

    Args:
        model: what was written there.
        folder: with ``model.py`` and what it reads.
        samples: for an image classifier float32 (n, C, s, s), normalised; for a language model token ids (n,).

    Raises:
        InputError: there is no sample.
        RunError: the file cannot be loaded, or has other parameters than the architecture counts.
    """
    inputs = _inputs(samples)
    outputs = _outputs(folder, inputs)
    found, expected = int(outputs.pop(isolated.PARAMETERS)), count(model.architecture).params_with_bn
    if found != expected:
        raise RunError(f"{folder}: model.py has {found:,} parameters, and its architecture {expected:,}")
    return compare(_pairs(model, inputs, outputs))


def _inputs(samples: Samples) -> dict[str, Tensor]:
    refuse_none(samples)
    tensor = torch.from_numpy(np.ascontiguousarray(samples))
    if tensor.dtype != torch.int64:
        return {"one image": tensor[:1]} | ({"images": tensor[1:]} if len(tensor) > 1 else {})
    steps = len(tensor) // STREAMS
    pieces = tensor[: steps * STREAMS].view(STREAMS, steps).t().contiguous()
    return {"text": tensor.unsqueeze(1)} | ({"pieces": pieces} if steps else {})


def _outputs(folder: Path, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    # Training images are among the inputs: they go through a pipe, and never lie on a disk where a kill leaves them.
    job = {"path": sys.path, "threads": torch.get_num_threads(), "folder": str(folder)}
    command = [sys.executable, "-I", "-B", isolated.__file__, json.dumps(job)]
    answer = subprocess.run(command, input=save(inputs), capture_output=True, check=False)  # noqa: S603 - our own file
    if answer.returncode:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = (said or [f"exit status {answer.returncode}"])[-1]
        raise RunError(f"{folder}: model.py does not run by itself ({reason}); this is a bug of autoshrink")
    return load(answer.stdout)


def _pairs(
    model: TrainedModel, inputs: dict[str, Tensor], outputs: dict[str, Tensor]
) -> Iterator[tuple[tuple[int, ...], npt.ArrayLike, npt.ArrayLike]]:
    network = copy.deepcopy(model.network).cpu().eval()
    for name, tensor in inputs.items():
        tokens = tensor.dtype == torch.int64
        with torch.inference_mode():
            if tokens:
                expected, _ = network(tensor, network.initial_state(tensor.shape[1]))
            else:
                expected = torch.cat([network(images) for images in torch.split(tensor, isolated.BATCH)])
        yield tuple(tensor.shape), expected.numpy(), outputs[name].numpy()
        if tokens:
            # Each token by itself, with the state handed from one to the next.
            yield (1, *tensor.shape[1:]), expected.numpy(), outputs[name + isolated.STEPWISE].numpy()
