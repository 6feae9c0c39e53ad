"""An exported image classifier in 8-bit integers, and what that costs in accuracy.

Weights are int8, one scale a channel; activations are uint8, their ranges measured on training images (calibration).
That is what onnxruntime runs fastest on CPUs: there int8 activations took twice as long (docs/deploy.md).

Shape letters: n images, C channels, s pixels.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from autoshrink.data import Preprocessing
from autoshrink.data.carving import NOTHING_KEPT, Keeping
from autoshrink.data.split_choice import tested_part
from autoshrink.deploy.onnx_file import read_card, write_model
from autoshrink.deploy.parity import Floats, decoded
from autoshrink.errors import DataError, InputError
from autoshrink.files import replacing, scratch
from autoshrink.onnx.session import onnx_library, onnxruntime, open_session

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
BATCH = 16
"""Images that are calibrated, or measured, at a time: what bounds the memory."""
LARGE_DROP = 0.02
"""Of accuracy: what deserves a word."""

Run = Callable[[Floats], Floats]
"""(n, C, s, s) normalised to logits (n, classes)."""


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
    """Write the int8 version of an exported classifier beside it, with its metadata.

    Args:
        path: the float32 file, from `autoshrink.deploy.onnx_export`.
        samples: normalised training images (n, C, s, s) on which the activations' ranges are measured.
        method: ``minmax`` takes the whole range, ``percentile`` leaves out the most extreme 1 in 100,000 values at
            each end, ``entropy`` takes the range that loses least information.

    Returns:
        The file: `int8_path(path)`.

    Raises:
        InputError: a package is missing, no such method, or the file is no classifier exported here.
        RunError: the file cannot be written.
    """
    calibration_method(method)
    card = read_card(open_session(path), path)
    onnx = onnx_library()
    target = int8_path(path)
    with scratch() as folder, replacing(target) as draft:
        prepared, written = folder / "prepared.onnx", folder / "int8.onnx"
        with quiet():
            _quantise(path, prepared, written, samples, method)
        model = onnx.load(written)
        compact(model.graph)
        del model.metadata_props[:]
        said = {"weights": "int8", "activations": "uint8", "calibration": method, "images": len(samples)}
        write_model(model, draft, replace(card, quantisation=said))
        open_session(draft)
    return target


def _quantise(path: Path, prepared: Path, written: Path, samples: Floats, method: Method) -> None:
    from onnxruntime import quantization  # noqa: PLC0415 - an optional package
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    quant_pre_process(str(path), str(prepared))
    methods = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
    quantization.quantize_static(
        str(prepared),
        str(written),
        _Reader(samples),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=getattr(quantization.CalibrationMethod, methods[method]),
        # One batch at a time: the histograms would else keep every activation of every image.
        extra_options={"CalibStridedMinMax": 1},
    )


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
def quiet() -> Iterator[None]:
    """Without what onnxruntime's tools print and log about their progress."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(before)


def compact(graph: Any) -> None:
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
    runtime, onnx = onnxruntime(), onnx_library()
    with scratch() as folder:
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(folder / "run.onnx")
        runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    floats = {value.name for value in graph.input}
    found = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            floats.update(node.output)
        elif node.op_type != "QuantizeLinear" and floats & set(node.input):
            floats.update(node.output)
            found.add(node.op_type)
    return tuple(sorted(found - {"Transpose"}))


@dataclass(frozen=True)
class Accuracies:
    """What versions of one classifier are worth on the same images.

    Attributes:
        data: where the images are from, and of which split.
        images: how many.
        accuracy: share that is right, by version.
        agreement: share of predictions that are the first version's, by version.
    """

    data: str
    images: int
    accuracy: Mapping[str, float]
    agreement: Mapping[str, float]

    def drop(self, version: str) -> float:
        """How much accuracy a version loses against the first."""
        first = next(iter(self.accuracy.values()))
        return first - self.accuracy[version]


def accuracies(
    versions: Mapping[str, Run],
    *,
    data: str,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    keeping: Keeping = NOTHING_KEPT,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Accuracies:
    """Measure versions of a classifier on the test split.

    Args:
        versions: by name; agreement is with the first.
        data: a name or path.
        classes: of the classifier, in the order of its outputs.
        preprocessing: its own.
        keeping: what its training kept back as test images.
        progress: told (images done, images in all).

    Raises:
        DataError: there is no test split, it has other classes, or not one of its images can be decoded.
    """
    part = tested_part(data, keeping)
    source, total = part.source, len(part)
    if source.classes != tuple(classes):
        raise DataError(f"{source.location}: its classes are not those that the model tells apart")
    right, same, seen = dict.fromkeys(versions, 0), dict.fromkeys(versions, 0), 0
    step = BATCH * max(1, math.ceil(64 / BATCH))
    for start in range(0, total, step):
        images, labels = decoded(preprocessing, source, part.indices[start : start + step])
        if len(images):
            normalised = preprocessing.normalised(images)
            found = {name: run(normalised).argmax(axis=1) for name, run in versions.items()}
            first = next(iter(found.values()))
            for name, guesses in found.items():
                right[name] += int((guesses == labels).sum())
                same[name] += int((guesses == first).sum())
        seen += len(images)
        progress(min(start + step, total), total)
    if not seen:
        raise DataError(f"{source.location}: not one test image can be decoded")
    return Accuracies(
        data=f"{data}, test split",
        images=seen,
        accuracy={name: count / seen for name, count in right.items()},
        agreement={name: count / seen for name, count in same.items()},
    )
