"""What a language model writes, whoever computes its steps: the same seed gives the same text from PyTorch and ONNX."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from autoshrink.bundle import TrainedLanguageModel, load_as
from autoshrink.data import Vocabulary
from autoshrink.errors import InputError
from autoshrink.files import named
from autoshrink.seeding import derive_seed

if TYPE_CHECKING:
    from autoshrink.networks import LanguageNetwork

Floats = npt.NDArray[np.float32]
Step = Callable[[npt.NDArray[np.int64], Any], tuple[Floats, Any]]
"""Tokens (1,) and a state to logits (1, V) and the next state."""


@dataclass(frozen=True)
class Generated:
    """A prompt and what follows.

    Attributes:
        text: prompt and continuation, as the vocabulary writes them.
        continuation: what follows alone.
        unknown: the prompt's tokens that the model does not know, in order, once each.
    """

    text: str
    continuation: str
    unknown: tuple[str, ...]


class Draws(TypedDict, total=False):
    """What decides a text beside model and prompt; see `continued`."""

    length: int
    temperature: float
    top_k: int | None
    seed: int


def generate(folder: str | os.PathLike[str], prompt: str = "", **options: Unpack[Draws]) -> Generated:
    """Let a trained language model go on with a prompt.

    Args:
        folder: of the training, or its model file.
        prompt: text; cut into tokens as the model's own text was.
        options: ``length``, ``temperature``, ``top_k`` and ``seed``, see `continued`.

    Raises:
        InputError: there is no model, a number is out of range, or the network's output is not finite.
    """
    model = load_as(TrainedLanguageModel, named(folder))
    return continued(prompt, model.vocabulary, steps_of(model.network), model.network.initial_state(1), **options)


def steps_of(network: LanguageNetwork) -> Step:
    """The steps of a network of torch."""
    import torch  # noqa: PLC0415 - torch takes seconds to import

    def step(tokens: npt.NDArray[np.int64], state: Any) -> tuple[Floats, Any]:
        with torch.no_grad():
            features, state = network.features(torch.from_numpy(tokens)[None], state)
            logits: Floats = network.logits(features[0]).numpy()
        return logits, state

    return step


def continued(
    prompt: str,
    vocabulary: Vocabulary,
    step: Step,
    state: Any,
    *,
    length: int = 80,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int = 0,
) -> Generated:
    """Go on with a prompt.

    Args:
        prompt: text; cut into tokens as the model's own text was.
        vocabulary: of the model.
        step: one step of the model.
        state: with which a text begins.
        length: how many tokens to write.
        temperature: divides the logits before a token is drawn; 0 takes the likeliest.
        top_k: draw among so many likeliest tokens; None for all.
        seed: decides the draws.

    Raises:
        InputError: a number is out of range, or the network's output is not finite.
    """
    tokens = vocabulary.tokenise(prompt)
    ids = vocabulary.encode(tokens).tolist()
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "generate")))
    written = sample(
        step, state, vocabulary, ids, length=length, temperature=temperature, top_k=top_k, generator=generator
    )
    before, text = vocabulary.decode(ids), vocabulary.decode([*ids, *written])
    continuation = text.removeprefix(before) if text.startswith(before) else vocabulary.decode(written)
    unknown = [token for token, number in zip(tokens, ids, strict=True) if number == vocabulary.unknown]
    return Generated(text, continuation, tuple(dict.fromkeys(unknown)))


def sample(
    step: Step,
    state: Any,
    vocabulary: Vocabulary,
    start: Sequence[int],
    *,
    length: int,
    temperature: float,
    top_k: int | None,
    generator: np.random.Generator,
) -> list[int]:
    """Ids of `length` tokens after those of a beginning; `<unk>` is never written. See `continued`."""
    if length < 1:
        raise InputError(f"length {length}: at least one token is written")
    if not 0 <= temperature < np.inf:
        raise InputError(f"temperature {temperature}: it is 0 (the likeliest token) or above, and finite")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k {top_k}: at least one token is left to draw from")
    written: list[int] = []
    waiting = [vocabulary.end, *start]
    while len(written) < length:
        for token in waiting:
            logits, state = step(np.array([token], dtype=np.int64), state)
        if not np.isfinite(logits).all():
            raise InputError(
                "the model's output for the text is not finite: its weights are damaged, or its training diverged"
            )
        values = logits[0].astype(np.float64)
        values[vocabulary.unknown] = -np.inf
        waiting = [_drawn(values, temperature, top_k, generator)]
        written += waiting
    return written


def _drawn(
    values: npt.NDArray[np.float64], temperature: float, top_k: int | None, generator: np.random.Generator
) -> int:
    if temperature == 0:
        return int(values.argmax())
    # The likeliest is 0 first, so that no temperature is too low to divide by.
    values = values - values.max()
    if top_k is not None and top_k < len(values):
        values[values < np.sort(values)[-top_k]] = -np.inf
    with np.errstate(over="ignore"):
        return int(generator.choice(len(values), p=softmax(values / temperature)))


def softmax(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Logits (…, classes) to probabilities."""
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    chances: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return chances
