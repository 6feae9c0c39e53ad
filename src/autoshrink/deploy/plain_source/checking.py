"""Does a written folder compute what our network does? It is loaded and run where autoshrink cannot be imported."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from autoshrink.bundle import TrainedModel
from autoshrink.cost import count
from autoshrink.deploy.exporter import Array, Call, exporter_of
from autoshrink.deploy.parity import Parity
from autoshrink.errors import RunError

FORBIDDEN = ("autoshrink", "PIL")
"""A network is loaded and computed without them; reading images may take Pillow."""

Samples = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def check(model: TrainedModel, folder: Path, samples: Samples) -> Parity:
    """Compare what the files in `folder` say of real samples with what the network says; of a text, also step by step.

    Args:
        model: what was written there.
        folder: with ``model.py`` and what it reads.
        samples: for an image classifier float32 (n, C, s, s), normalised; for a language model token ids (n,).

    Raises:
        InputError: there is no sample.
        DataError: there are too few tokens.
        RunError: the file cannot be loaded, or has other parameters than the architecture counts.
    """
    exporter = exporter_of(model.architecture)
    with _by_itself(folder):
        network = _loaded(folder / "model.py")
    found = sum(one.numel() for one in network.parameters() if one.requires_grad)
    if found != (expected := count(model.architecture).params_with_bn):
        raise RunError(f"{folder}: model.py has {found:,} parameters, and its architecture {expected:,}")
    parities = [exporter.parity(model, part, _program(network, part, folder), samples) for part in exporter.parts]
    return max(parities, key=lambda one: (math.isnan(one.max_difference), one.max_difference))


def _program(network: Any, part: str, folder: Path) -> Call:
    """The network, or one step of it, with a text's state as ours has it: (k, B, n)."""

    def call(inputs: Array, *states: Array) -> tuple[Array, ...]:
        given = torch.from_numpy(np.ascontiguousarray(inputs))
        with _by_itself(folder), torch.inference_mode():
            if not states:
                return (network(given).numpy(),)
            state = torch.from_numpy(states[0])
            own = network.initial_state(batch=state.shape[1])
            before = state.chunk(len(own)) if isinstance(own, tuple) else state.view(own.shape)
            logits, after = (network.step if part == "step" else network)(given, before)
            joined = torch.cat(after) if isinstance(after, tuple) else after
            return logits.numpy(), joined.reshape(state.shape).numpy()

    return call


def _loaded(path: Path) -> Any:
    # Compiled here, so that nothing but what was written lies in the folder.
    module = sys.modules["model"] = ModuleType("model")
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102 - our own file
    return module.load()


@contextmanager
def _by_itself(folder: Path) -> Iterator[None]:
    """Inside, nothing of what is forbidden can be imported; what fails there is a `RunError`."""
    names = [name for name in (*sys.modules, *FORBIDDEN) if name.partition(".")[0] in FORBIDDEN]
    before = {name: sys.modules[name] for name in (*names, "model") if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type] # None: not to be imported
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{folder}: model.py does not run by itself ({reason}); this is a bug of autoshrink") from error
    finally:
        for name in (*names, "model"):
            sys.modules.pop(name, None)
        sys.modules.update(before)
