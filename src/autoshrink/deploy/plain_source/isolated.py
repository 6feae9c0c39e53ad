"""Run by itself, in a process where autoshrink cannot be imported: what a written network says of some inputs.

    python -I -B isolated.py JOB <inputs >outputs

JOB is JSON: `path` (module search path), `threads`, `folder` (with ``model.py``). Inputs and outputs are safetensors;
inputs are images (n, C, s, s), or token numbers (T, B), which are read at once and token by token.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

FORBIDDEN = ("autoshrink", "PIL")
"""Marked as not to be imported: a network is loaded and computed without them; reading images may take Pillow."""

BATCH = 16
"""Images that are computed at once."""

PARAMETERS, STEPWISE = "parameters", ", token by token"
"""The output that is a number, and what is added to a text's name for its second reading."""


def main(job: dict[str, Any]) -> None:
    """Write the logits of every input, and the number of trainable parameters, to standard output."""
    inputs, outputs = sys.stdin.buffer.read(), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no output
    with outputs:
        outputs.write(_answers(job, inputs))


def _answers(job: dict[str, Any], packed: bytes) -> bytes:
    sys.path[:] = job["path"]
    for name in FORBIDDEN:
        sys.modules[name] = None  # type: ignore[assignment]
    import torch  # noqa: PLC0415 - after the search path is set
    from safetensors.torch import load, save  # noqa: PLC0415

    torch.set_num_threads(job["threads"])
    network = _imported(Path(job["folder"]) / "model.py").load()
    outputs = {PARAMETERS: torch.tensor(sum(one.numel() for one in network.parameters() if one.requires_grad))}
    with torch.inference_mode():
        for name, inputs in load(packed).items():
            if inputs.dtype == torch.int64:
                outputs[name], _ = network(inputs, network.initial_state(batch=inputs.shape[1]))
                outputs[name + STEPWISE] = torch.stack(_stepwise(network, inputs))
            else:
                outputs[name] = torch.cat([network(images) for images in torch.split(inputs, BATCH)])
    answers: bytes = save(outputs)
    return answers


def _stepwise(network: Any, tokens: Any) -> list[Any]:
    """Logits (B, V) after each of the token numbers (T, B), the state handed on from one to the next."""
    state, logits = network.initial_state(batch=tokens.shape[1]), []
    for now in tokens:
        after, state = network.step(now, state)
        logits.append(after)
    return logits


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None, "the file is Python"
    assert spec.loader is not None, "so is what loads it"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
