"""A trained language model as ONNX files: its step and its loop, checked together.

Shape letters: T time steps, B streams, V vocabulary, n width, k layers of state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoshrink.bundle import TrainedLanguageModel
from autoshrink.cost import count
from autoshrink.deploy.onnx_file import Card, Part, write_model
from autoshrink.deploy.parity import Floats, Parity, Tokens, compare, refuse_beyond
from autoshrink.errors import DataError
from autoshrink.files import replacing
from autoshrink.networks import LanguageNetwork
from autoshrink.onnx.export import OPSET, to_onnx
from autoshrink.onnx.recurrent import loop_model, step_form
from autoshrink.onnx.session import open_session
from autoshrink.quantity import counted

TOLERANCE = 1e-4
LENGTHS = (12, 7, 5)
"""In steps: chunks of the second and third length have to give what the first gives in one."""
STREAMS = 3

Run = Callable[[Tokens, Floats], tuple[Floats, Floats]]
"""Tokens (T, B) and state (k, B, n) to logits (T, B, V) and the next state."""


def export_language_model(
    model: TrainedLanguageModel, path: Path, tokens: Tokens, *, tolerance: float = TOLERANCE, opset: int = OPSET
) -> tuple[Parity, Parity]:
    """Write a language model's step as `path` and its loop beside it, unless they compute something else.

    The step: ``tokens`` int64 (B,), ``state`` float32 (k, B, n) to ``logits`` (B, V), ``next_state`` (k, B, n). The
    loop, in `loop_path(path)`: ``tokens`` (T, B) and ``state`` to ``logits`` (T, B, V), ``next_state``. A text starts
    with a state of zeros. Both are checked with one stream and with several, at two lengths, and in chunks.

    Args:
        model: the language model.
        path: the step's file; both are written whole, and both or none.
        tokens: real ones, int64 (at least 36,): `autoshrink.deploy.parity.real_tokens`.
        tolerance: how far logits may be from PyTorch's, see `Parity.passes`.
        opset: of ONNX.

    Returns:
        Of the step and of the loop.

    Raises:
        InputError: a package is missing, the opset cannot be written, or the difference is above the tolerance.
        DataError: there are too few tokens.
        RunError: a file cannot be written.
    """
    exported: dict[Part, Any] = {
        "step": to_onnx(step_form(model.network), opset=opset),
        "loop": loop_model(model.network, opset=opset),
    }
    places = {"step": path, "loop": loop_path(path)}
    parities = []
    with ExitStack() as drafts:
        for part, proto in exported.items():
            draft = drafts.enter_context(replacing(places[part]))
            write_model(proto, draft, language_card(model, part))
            run = stepped(draft) if part == "step" else looped(draft)
            parity = language_parity(model.network, run, tokens)
            refuse_beyond(tolerance, parity, places[part])
            parities.append(parity)
    step, loop = parities
    return step, loop


def loop_path(path: Path) -> Path:
    """Where the loop of the step in a file lies: ``model.loop.onnx`` for ``model.onnx``."""
    return path.with_suffix(f".loop{path.suffix}")


def language_card(model: TrainedLanguageModel, part: Part) -> Card:
    """What a file of a language model says of itself."""
    counted = count(model.architecture)
    return Card(
        architecture=model.architecture,
        params=counted.params,
        macs=counted.macs,
        facts=model.facts.to_json(),
        part=part,
        vocabulary=model.vocabulary,
        torch=torch.__version__,
    )


def language_parity(network: LanguageNetwork, run: Run, tokens: Tokens) -> Parity:
    """How far a program is from a network: one stream and several, two lengths, whole and in chunks.

    Raises:
        DataError: there are too few tokens.
    """
    whole, *chunks = LENGTHS
    needed = whole * STREAMS
    if len(tokens) < needed:
        raise DataError(
            f"{counted(len(tokens), 'token')} of training text; at least {needed} are compared with PyTorch"
        )

    def outputs() -> Iterator[tuple[tuple[int, ...], Any, Any]]:
        for streams in (1, STREAMS):
            text = np.ascontiguousarray(tokens[: whole * streams].reshape(streams, whole).T)
            state = network.initial_state(streams)
            with torch.no_grad():
                expected = network(torch.from_numpy(text), state)[0].numpy()
            yield text.shape, expected, run(text, state.numpy())[0]
            found, carried, start = [], state.numpy(), 0
            for length in chunks:
                logits, carried = run(text[start : start + length], carried)
                found.append(logits)
                start += length
            yield (chunks[0], streams), expected, np.concatenate(found)

    return compare(outputs())


def stepped(path: Path, *, threads: int = 1) -> Run:
    """A step's file, called once a token."""
    session = open_session(path, threads=threads)

    def run(tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
        logits = []
        for step in tokens:
            found, state = session.run(["logits", "next_state"], {"tokens": step, "state": state})
            logits.append(found)
        return np.stack(logits), state

    return run


def looped(path: Path, *, threads: int = 1) -> Run:
    """A loop's file."""
    session = open_session(path, threads=threads)

    def run(tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
        logits, state = session.run(["logits", "next_state"], {"tokens": tokens, "state": state})
        return logits, state

    return run
