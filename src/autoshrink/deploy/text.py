"""Language models leaving PyTorch: a step and a loop, checked together, and what int8 costs in perplexity.

Shape letters: T time steps, B streams, V vocabulary, n width, k layers of state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from autoshrink.bundle import TextInterface, TrainedLanguageModel, TrainedModel
from autoshrink.data import load_text_split, open_text
from autoshrink.data.text_opening import Tokens as Tokenisation
from autoshrink.deploy.card import Card
from autoshrink.deploy.exporter import Array, Call, Exporter, random_numbers, refuse_none
from autoshrink.deploy.image import refuse_other_count
from autoshrink.deploy.parity import Floats, Parity, Tokens, compare, trained_on
from autoshrink.deploy.predict import OnnxLanguageModel, softmax
from autoshrink.deploy.quantisation import Int8, Int8Result, Measured, quantise_step
from autoshrink.errors import DataError
from autoshrink.metrics import PERPLEXITY
from autoshrink.quantity import counted

LENGTHS = (12, 7, 5)
"""In steps: chunks of the second and third length have to give what the first gives in one."""
STREAMS = 3
MEASURED_TOKENS, MEASURED_STREAMS = 20_000, 32
"""Of the test text, and in how many pieces it is read side by side."""

Run = Callable[[Tokens, Floats], tuple[Floats, Floats]]
"""Tokens (T, B) and state (k, B, n) to logits (T, B, V) and the next state."""


class TextExporter(Exporter):
    """See `Exporter`."""

    parts: ClassVar[tuple[str, ...]] = ("step", "loop")
    samples_count: ClassVar[int] = 512
    example: ClassVar[str] = '--prompt "The"'

    def names(self, part: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of both parts."""
        del part
        return ("tokens", "state"), ("logits", "next_state")

    def proto(self, model: TrainedModel, part: str, opset: int) -> Any:
        """See `Exporter.proto`."""
        from autoshrink.onnx.recurrent import loop_model  # noqa: PLC0415 - torch

        return loop_model(model.network, opset=opset) if part == "loop" else super().proto(model, part, opset)

    def real(self, model: TrainedModel, data: str | None, count: int, seed: int = 0) -> Tokens:
        """The first token ids, int64 (count,) or fewer, of the model's training text."""
        del seed
        assert isinstance(model, TrainedLanguageModel), "the task's own"
        vocabulary = model.vocabulary
        rule = "auto" if vocabulary.rule == "characters" else vocabulary.rule
        source = open_text(data or trained_on(model), level=vocabulary.level, tokens=rule)
        tokens = islice(chain.from_iterable(source.segments("train")), count)
        return vocabulary.encode(tokens).astype(np.int64)

    def noise(self, model: TrainedModel) -> Tokens:
        """Random token ids."""
        assert isinstance(model, TrainedLanguageModel), "the task's own"
        return random_numbers().integers(0, model.architecture.vocabulary, self.samples_count)

    def parity(self, model: TrainedModel, part: str, call: Call, samples: Array, *, batches: bool = True) -> Parity:
        """Of one stream and several, at two lengths, whole and in chunks, the state carried over."""
        refuse_none(samples)
        run: Any = call if part == "loop" else stepped(call, batches=batches)
        return language_parity(model.network, run, samples)

    def verify(self, card: Card, session: Any, path: Path) -> None:
        """Also: as many words as outputs."""
        super().verify(card, session, path)
        assert isinstance(card.interface, TextInterface), "the task's own"
        tokens = card.interface.vocabulary.tokens
        logits = next(one for one in session.get_outputs() if one.name == "logits")
        refuse_other_count(path, f"{len(tokens)} words", tokens, logits)

    def int8(
        self, model: TrainedModel, path: Path, how: Int8, data: str | None, progress: Callable[[str, int, int], None]
    ) -> Int8Result:
        """See `Exporter.int8`."""
        del progress
        target = quantise_step(path)
        if not how.evaluate:
            return Int8Result(target)
        rule = model.facts.data.to_json().get("tokens", "auto")
        try:
            measured = perplexities({"onnx": path, "int8": target}, data=data or trained_on(model), rule=rule)
        except DataError as error:
            return Int8Result(target, notes=(f"what int8 costs was not measured: {error}",))
        return Int8Result(target, measured=measured)

    def source(self) -> Any:
        """See `Exporter.source`."""
        from autoshrink.deploy.plain_source import language  # noqa: PLC0415 - torch

        return language


def stepped(call: Call, *, batches: bool = True) -> Run:
    """A step's program, called once a token; without `batches` for one stream after the other."""

    def together(tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
        logits = []
        for step in tokens:
            found, state = call(step, state)
            logits.append(found)
        return np.stack(logits), state

    def apart(tokens: Tokens, state: Floats) -> tuple[Floats, Floats]:
        streams = range(tokens.shape[1])
        found = [together(tokens[:, one : one + 1], state[:, one : one + 1]) for one in streams]
        logits, states = zip(*found, strict=True)
        return np.concatenate(logits, axis=1), np.concatenate(states, axis=1)

    return together if batches else apart


def language_parity(network: Any, run: Run, tokens: Tokens) -> Parity:
    """How far a program is from a `LanguageNetwork`: one stream and several, two lengths, whole and in chunks.

    Raises:
        DataError: there are too few tokens.
    """
    import torch  # noqa: PLC0415 - a network has brought it

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


def perplexities(
    versions: Mapping[str, Path], *, data: str, rule: Tokenisation, limit: int = MEASURED_TOKENS
) -> Measured:
    """Measure steps of a language model on the beginning of a text's test split.

    Args:
        versions: files by name.
        data: a name or path.
        rule: how the text was cut when the model was trained: ``auto``, ``spaces`` or ``words``.
        limit: how many tokens are read, at most.

    Raises:
        InputError: a file cannot be used.
        DataError: there is no test split.
    """
    models = {name: OnnxLanguageModel.open(path) for name, path in versions.items()}
    vocabulary = next(iter(models.values())).vocabulary
    text = load_text_split(data, "test", vocabulary, level=vocabulary.level, tokens=rule).tokens[:limit]
    losses = {name: _losses(model, text.astype(np.int64)) for name, model in models.items()}
    values = {name: PERPLEXITY.value(-float(loss.mean())) for name, loss in losses.items()}
    return Measured("perplexity", f"{data}, test split", next(iter(losses.values())).size, values)


def _losses(model: OnnxLanguageModel, text: Tokens) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Negative log-likelihoods, nats, of every token but the first of each stream, (T − 1, B)."""
    streams = min(MEASURED_STREAMS, len(text) // 2)
    laid = text[: len(text) // streams * streams].reshape(streams, -1).T
    state = model.initial_state(streams)
    losses = []
    for step, following in pairwise(laid):
        logits, state = model.step(np.ascontiguousarray(step), state)
        losses.append(-np.log(softmax(logits))[np.arange(streams), following])
    return np.stack(losses)
