"""What a trained language model writes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch
from torch import Tensor

from autoshrink.bundle import TrainedLanguageModel, load_as
from autoshrink.data import Vocabulary
from autoshrink.errors import InputError
from autoshrink.files import named
from autoshrink.networks import LanguageNetwork
from autoshrink.seeding import derive_seed


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


def generate(
    folder: str | os.PathLike[str],
    prompt: str = "",
    *,
    length: int = 80,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int = 0,
) -> Generated:
    """Let a trained language model go on with a prompt.

    Args:
        folder: of the training, or its model file.
        prompt: text; cut into tokens as the model's own text was.
        length: how many tokens to write.
        temperature: divides the logits before a token is drawn; 0 takes the likeliest.
        top_k: draw among so many likeliest tokens; None for all.
        seed: decides the draws.

    Raises:
        InputError: there is no model, or a number is out of range.
    """
    if length < 1:
        raise InputError(f"length {length}: at least one token is written")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature {temperature}: it is 0 (the likeliest token) or above, and finite")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k {top_k}: at least one token is left to draw from")
    model = load_as(TrainedLanguageModel, named(folder))
    vocabulary = model.vocabulary
    tokens = vocabulary.tokenise(prompt)
    ids = vocabulary.encode(tokens)
    unknown = [token for token, number in zip(tokens, ids, strict=True) if number == vocabulary.unknown]
    start = torch.from_numpy(ids.astype("int64"))
    draw = torch.Generator().manual_seed(derive_seed(seed, "generate"))
    written = sample(
        model.network, vocabulary, start, length=length, temperature=temperature, top_k=top_k, generator=draw
    )
    before = vocabulary.decode(ids.tolist())
    text = vocabulary.decode([*ids.tolist(), *written])
    continuation = text.removeprefix(before) if text.startswith(before) else vocabulary.decode(written)
    return Generated(text, continuation, tuple(dict.fromkeys(unknown)))


@torch.no_grad()
def sample(
    network: LanguageNetwork,
    vocabulary: Vocabulary,
    start: Tensor,
    *,
    length: int,
    temperature: float,
    top_k: int | None,
    generator: torch.Generator,
) -> list[int]:
    """Ids of `length` tokens after the ids (n,) of a beginning; `<unk>` is never written."""
    begun = torch.cat([torch.tensor([vocabulary.end]), start])
    features, state = network.features(begun.unsqueeze(1), network.initial_state(1))
    written: list[int] = []
    while True:
        logits = network.logits(features[-1, 0])
        logits[vocabulary.unknown] = -torch.inf
        written.append(_draw(logits, temperature, top_k, generator))
        if len(written) == length:
            return written
        features, state = network.features(torch.tensor([[written[-1]]]), state)


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        least = logits.topk(top_k).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    # The likeliest is 0 first, so that no temperature is too low to divide by.
    chances = torch.softmax((logits - logits.max()).double() / temperature, dim=0)
    return int(torch.multinomial(chances, 1, generator=generator))
