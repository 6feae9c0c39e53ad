"""Exported ONNX files in 8-bit integers, by ONNX Runtime's own tools.

Of an image classifier weights are int8, one scale a channel, and activations uint8, their ranges measured on training
images (calibration): that is what onnxruntime runs fastest on CPUs; there int8 activations took twice as long
(docs/deploy.md). Of a language model weights are uint8, one scale a matrix, and activations are quantised as they come
(dynamic quantisation), so that no text is needed for it; the embedding is stored once although it is the decoder's
weight too.

Shape letters: n images, C channels, s pixels.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from autoshrink.deploy.card import read_card, write_model
from autoshrink.deploy.parity import Floats
from autoshrink.errors import InputError
from autoshrink.files import replacing, scratch
from autoshrink.onnx.session import onnx_library, open_session, session_options

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
BATCH = 16
"""Images that are calibrated at a time: what bounds the memory."""
DECODER = "decoder"


@dataclass(frozen=True)
class Int8:
    """How a model is quantised: images for the calibration, its method, and whether the cost is measured."""

    images: int = 256
    method: Method = "minmax"
    evaluate: bool = True

    def __post_init__(self) -> None:
        """Refuse a calibration without images, by an `InputError`."""
        if self.images < 1:
            raise InputError(f"calibration {self.images}: at least one image")


@dataclass(frozen=True)
class Measured:
    """What versions of one model are worth on the test split, ``accuracy`` or ``perplexity``.

    Attributes:
        data: where the test split is from, in words.
        samples: images or tokens.
        values: by version: ``pytorch`` (image classifiers), ``onnx``, ``int8``.
        agreement: share of the predictions that are PyTorch's, by version (image classifiers).
    """

    metric: str
    data: str
    samples: int
    values: Mapping[str, float]
    agreement: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Int8Result:
    """The file, the operations in it that still run in float32 where that was looked into, notes, and its worth."""

    path: Path
    in_float: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measured: Measured | None = None


def int8_path(path: Path) -> Path:
    """Where the int8 version of a file lies: ``model.int8.onnx`` for ``model.onnx``."""
    return path.with_suffix(f".int8{path.suffix}")


def calibration_method(name: str) -> Method:
    """The method of that name.

    Raises:
        InputError: there is none.
    """
    for method in METHODS:
        if method == name:
            return method
    raise InputError(f"no calibration method is called {name!r}; there are {', '.join(METHODS)}")


def quantise_classifier(path: Path, samples: Floats, *, method: Method = "minmax") -> Path:
    """Write the int8 version of an exported classifier beside it, in `int8_path(path)`, with its metadata.

    Args:
        path: the float32 file.
        samples: normalised training images (n, C, s, s) on which the activations' ranges are measured.
        method: ``minmax`` takes the whole range, ``percentile`` leaves out the most extreme 1 in 100,000 values at
            each end, ``entropy`` takes the range that loses least information.

    Raises:
        InputError: a package is missing, no such method, or the file is no classifier exported here.
        RunError: the file cannot be written.
    """
    calibration_method(method)

    def quantise(folder: Path) -> Path:
        from onnxruntime import quantization  # noqa: PLC0415 - an optional package
        from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

        prepared, written = folder / "prepared.onnx", folder / "int8.onnx"
        quant_pre_process(str(path), str(prepared))
        quantization.quantize_static(
            str(prepared),
            str(written),
            _Reader(samples),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[_CALIBRATIONS[method]],
            # One batch at a time: the histograms would else keep every activation of every image.
            extra_options={"CalibStridedMinMax": 1},
        )
        return written

    said = {"weights": "int8", "activations": "uint8", "calibration": method, "images": len(samples)}
    return _written(path, "network", quantise, said)


_CALIBRATIONS: dict[Method, str] = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}


def quantise_step(path: Path) -> Path:
    """Write the int8 version of an exported language model's step beside it, in `int8_path(path)`, with its metadata.

    Raises:
        InputError: a package is missing, or the file is no step exported here.
        RunError: the file cannot be written.
    """

    def quantise(folder: Path) -> Path:
        from onnxruntime import quantization  # noqa: PLC0415 - an optional package

        onnx = onnx_library()
        untied, written = folder / "untied.onnx", folder / "int8.onnx"
        model = onnx.load(path)
        _untie(model.graph)
        onnx.save(model, untied)
        quantization.quantize_dynamic(str(untied), str(written), weight_type=quantization.QuantType.QUInt8)
        return written

    said = {"weights": "uint8", "activations": "uint8", "calibration": "dynamic"}
    return _written(path, "step", quantise, said)


def _written(path: Path, part: str, quantise: Callable[[Path], Path], said: Mapping[str, Any]) -> Path:
    """The quantised file beside another; `quantise` makes it in a folder."""
    card = read_card(open_session(path), path)
    if card.part != part:
        wanted = "an image classifier" if part == "network" else "a language model's step"
        raise InputError(f"{path}: int8 is for {wanted}, and this is a {card.part}")
    onnx = onnx_library()
    target = int8_path(path)
    with scratch() as folder, replacing(target) as draft:
        with _quiet():
            written = quantise(folder)
        model = onnx.load(written)
        _share_decoder(model.graph)
        _compact(model.graph)
        del model.metadata_props[:]
        write_model(model, draft, replace(card, quantisation=said))
        open_session(draft)
    return target


class _Reader:
    """What onnxruntime's calibration draws batches from: its `CalibrationDataReader`, by shape."""

    def __init__(self, samples: Floats) -> None:
        self._batches = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
        self._left: Iterator[Floats] = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, Floats] | None:
        batch = next(self._left, None)
        return None if batch is None else {"images": batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what onnxruntime's tools print and log about their progress."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(before)


def _compact(graph: Any) -> None:
    """Give a graph's inner values short names, its nodes none: in a small quantised network names outweigh weights."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {name: name for name in kept} | {"": ""}

    def short(name: str) -> str:
        return names.setdefault(name, f"v{len(names) - len(kept) - 1}")

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.name = ""
        for values in (node.input, node.output):
            values[:] = [short(name) for name in values]
    del graph.value_info[:]


def left_in_float(path: Path) -> tuple[str, ...]:
    """The kinds of operations that onnxruntime runs in float32 when it runs a quantised file here, sorted.

    Raises:
        InputError: the file cannot be run.
    """
    with scratch() as folder:
        options = session_options(1)
        options.optimized_model_filepath = str(folder / "run.onnx")
        open_session(path, options)
        graph = onnx_library().load(options.optimized_model_filepath).graph
    floats = {value.name for value in graph.input}
    found = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            floats.update(node.output)
        elif node.op_type != "QuantizeLinear" and floats & set(node.input):
            floats.update(node.output)
            found.add(node.op_type)
    return tuple(sorted(found - {"Transpose"}))


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
    if decoder not in arrays:
        return
    twins = [name for name, array in arrays.items() if name != decoder and _equal(array.T, arrays[decoder])]
    if not twins:
        return
    tensor = next(tensor for tensor in graph.initializer if tensor.name == decoder)
    graph.initializer.remove(tensor)
    graph.node.insert(0, onnx.helper.make_node("Transpose", [twins[0]], [decoder], perm=[1, 0]))


def _equal(array: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return array.dtype == other.dtype and np.array_equal(array, other)
