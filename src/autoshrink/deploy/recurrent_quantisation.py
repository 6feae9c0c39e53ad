"""An exported language model in 8-bit integers, and what that costs in perplexity.

Weights become uint8, one scale a matrix; activations are quantised as they come (dynamic quantisation), so that no text
is needed for it. The embedding is stored once although it is the decoder's weight too.

Shape letters: T time steps, B streams, V vocabulary, k layers of state, n width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from autoshrink.data import Vocabulary, load_text_split
from autoshrink.data.text_opening import Tokens as Tokenisation
from autoshrink.deploy.onnx_file import read_card, write_model
from autoshrink.deploy.parity import Tokens
from autoshrink.deploy.predict import OnnxLanguageModel
from autoshrink.deploy.quantisation import compact, int8_path, quiet
from autoshrink.errors import InputError
from autoshrink.files import replacing, scratch
from autoshrink.onnx.session import onnx_library, open_session

MEASURED_TOKENS, STREAMS = 20_000, 32
"""Of the test text, and in how many pieces it is read side by side."""
DECODER = "decoder"


def quantise_step(path: Path) -> Path:
    """Write the int8 version of an exported language model's step beside it, with its metadata.

    Args:
        path: the float32 step, from `autoshrink.deploy.recurrent_export`.

    Returns:
        The file: `int8_path(path)`.

    Raises:
        InputError: a package is missing, or the file is no step exported here.
        RunError: the file cannot be written.
    """
    card = read_card(open_session(path), path)
    if card.part != "step":
        raise InputError(f"{path}: int8 is for a language model's step, and this is a {card.part}")
    onnx = onnx_library()
    target = int8_path(path)
    with scratch() as folder, replacing(target) as draft:
        untied, written = folder / "untied.onnx", folder / "int8.onnx"
        model = onnx.load(path)
        _untie(model.graph)
        onnx.save(model, untied)
        with quiet():
            from onnxruntime import quantization  # noqa: PLC0415 - an optional package

            quantization.quantize_dynamic(str(untied), str(written), weight_type=quantization.QuantType.QUInt8)
        model = onnx.load(written)
        _share_decoder(model.graph)
        compact(model.graph)
        del model.metadata_props[:]
        said = {"weights": "uint8", "activations": "uint8", "calibration": "dynamic"}
        write_model(model, draft, replace(card, quantisation=said))
        open_session(draft)
    return target


def _untie(graph: Any) -> None:
    """Write every linear layer as a product with a weight of its own, then the addition of the bias.

    torch's exporter writes Gemm with the weight transposed. onnxruntime's tools would transpose the weight in its
    place: the embedding too, which the decoder shares with the layer that looks words up.
    """
    onnx = onnx_library()
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        given, weight, *bias = node.input
        own = DECODER if node.output[0] == "logits" else f"{weight}.transposed"
        transposed = np.ascontiguousarray(onnx.numpy_helper.to_array(weights[weight]).T)
        graph.initializer.append(onnx.numpy_helper.from_array(transposed, own))
        product = f"{own}.product" if bias else node.output[0]  # torch's exporter leaves a bias of zeros out
        nodes.append(onnx.helper.make_node("MatMul", [given, own], [product]))
        if bias:
            nodes.append(onnx.helper.make_node("Add", [product, *bias], [node.output[0]]))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


def _share_decoder(graph: Any) -> None:
    """Make the decoder's quantised weight the embedding's, transposed when the file is opened, where they are equal."""
    onnx = onnx_library()
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    decoder = f"{DECODER}_quantized"
    twins = [name for name, array in arrays.items() if name != decoder and _equal(array.T, arrays[decoder])]
    if not twins:
        return
    tensor = next(tensor for tensor in graph.initializer if tensor.name == decoder)
    graph.initializer.remove(tensor)
    graph.node.insert(0, onnx.helper.make_node("Transpose", [twins[0]], [decoder], perm=[1, 0]))


def _equal(array: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return array.dtype == other.dtype and np.array_equal(array, other)


@dataclass(frozen=True)
class Perplexities:
    """What versions of one language model are worth on the same text.

    Attributes:
        data: where the text is from, and of which split.
        tokens: how many were predicted.
        perplexity: by version.
    """

    data: str
    tokens: int
    perplexity: Mapping[str, float]


def perplexities(
    versions: Mapping[str, Path], *, data: str, rule: Tokenisation, limit: int = MEASURED_TOKENS
) -> Perplexities:
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
    text = _test_text(data, next(iter(models.values())).vocabulary, rule)[:limit]
    losses = {name: _losses(model, text) for name, model in models.items()}
    return Perplexities(
        data=f"{data}, test split",
        tokens=next(iter(losses.values())).size,
        perplexity={name: math.exp(min(float(loss.mean()), 700.0)) for name, loss in losses.items()},
    )


def _test_text(data: str, vocabulary: Vocabulary, rule: Tokenisation) -> Tokens:
    text = load_text_split(data, "test", vocabulary, level=vocabulary.level, tokens=rule)
    return text.tokens.astype(np.int64)


def _losses(model: OnnxLanguageModel, text: Tokens) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Negative log-likelihoods, nats, of every token but the first of each stream, (T − 1, B)."""
    streams = min(STREAMS, len(text) // 2)
    laid = text[: len(text) // streams * streams].reshape(streams, -1).T
    state = model.initial_state(streams)
    losses = []
    for step, following in pairwise(laid):
        logits, state = model.step(np.ascontiguousarray(step), state)
        values = logits.astype(np.float64)
        values -= values.max(axis=1, keepdims=True)
        losses.append(np.log(np.exp(values).sum(axis=1)) - np.take_along_axis(values, following[:, None], axis=1)[:, 0])
    return np.stack(losses)
