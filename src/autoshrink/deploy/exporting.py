"""From a trained model's folder to a file that runs elsewhere, checked, and on request in int8 with what that costs."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel, load
from autoshrink.data.carving import keeping_of
from autoshrink.deploy import onnx_export, recurrent_export
from autoshrink.deploy.edge import card_path
from autoshrink.deploy.parity import Floats, Parity, Tokens, real_samples, real_tokens, trained_on
from autoshrink.deploy.quantisation import (
    LARGE_DROP,
    METHODS,
    Method,
    accuracies,
    int8_path,
    left_in_float,
    quantise_classifier,
)
from autoshrink.deploy.recurrent_quantisation import perplexities, quantise_step
from autoshrink.errors import DataError, InputError
from autoshrink.files import check_new_folder, check_output, named
from autoshrink.latency.measuring import Session, race
from autoshrink.onnx.export import OPSET
from autoshrink.quantity import counted

SUFFIXES = (".onnx", ".pte", ".tflite")
SAMPLES = 64
"""Images that are compared with PyTorch."""
TOKENS = 512
ROUNDS, ROUND_SECONDS = 5, 0.1
"""In which the float32 and the int8 file take turns."""

Model = TrainedClassifier | TrainedLanguageModel
Writer = Callable[[Model, Path, Floats | Tokens, float], Parity]
"""Writes a model, compares it on samples with a tolerance, and leaves it only if it passes."""
Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and how much there is."""


@dataclass(frozen=True)
class Check:
    """What an exported file has to pass before it is left in its place.

    Attributes:
        data: the training data, by name or path; None is what the model was trained on. int8 is calibrated on it too.
        random_inputs: compare on noise, without data.
        tolerance: how far logits may be from PyTorch's, see `autoshrink.deploy.parity.Parity.passes`.
    """

    data: str | None = None
    random_inputs: bool = False
    tolerance: float = onnx_export.TOLERANCE

    def __post_init__(self) -> None:
        """Refuse a tolerance that nothing could pass.

        Raises:
            InputError: `tolerance` is not above 0.
        """
        if not self.tolerance > 0:
            raise InputError(f"tolerance {self.tolerance}: it is above 0")

    def samples(self, model: TrainedClassifier) -> Floats:
        """Images to compare on, (n, C, s, s), normalised.

        Raises:
            DataError: the data cannot be used; the message says how to do without.
        """
        if self.random_inputs:
            return _noise().standard_normal((SAMPLES, *model.architecture.input)).astype(np.float32)
        with _pointing_out():
            return real_samples(model, data=self.data, count=SAMPLES)

    def tokens(self, model: TrainedLanguageModel) -> Tokens:
        """Token ids (n,) to compare on.

        Raises:
            DataError: the data cannot be used; the message says how to do without.
        """
        if self.random_inputs:
            return _noise().integers(0, model.architecture.vocabulary, TOKENS)
        with _pointing_out():
            return real_tokens(model, data=self.data, count=TOKENS)


@dataclass(frozen=True)
class Int8:
    """How a model is quantised.

    Attributes:
        images: training images for the calibration (image classifiers).
        method: of the calibration, see `autoshrink.deploy.quantisation.quantise_classifier`.
        evaluate: whether what it costs is measured on the test split.
    """

    images: int = 256
    method: Method = "minmax"
    evaluate: bool = True

    def __post_init__(self) -> None:
        """Refuse a calibration without images.

        Raises:
            InputError: `images` is below 1.
        """
        if self.images < 1:
            raise InputError(f"calibration {self.images}: at least one image")


@dataclass(frozen=True)
class Measured:
    """What versions of one model are worth on the test split.

    Attributes:
        metric: ``accuracy`` or ``perplexity``.
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
class Times:
    """How long one image, or token, takes here, on one thread: both files in turns, seconds on the core.

    Attributes:
        onnx: of the float32 file: the median of the rounds.
        int8: likewise.
        ratio: int8 over float32: the median of the rounds' ratios.
        low: the least of them.
        high: the most.
        rounds: how many.
    """

    onnx: float
    int8: float
    ratio: float
    low: float
    high: float
    rounds: int = ROUNDS

    @property
    def said(self) -> str:
        """In words; a difference that the rounds do not agree on is none."""
        times = f"{1e6 * self.int8:,.0f} µs in int8, {1e6 * self.onnx:,.0f} µs in float32"
        if self.low > 1:
            return f"int8 is slower here: {times} (one thread, {self.ratio:.2f} times as long)"
        if self.high < 1:
            return f"int8 is faster here: {times} (one thread, {self.ratio:.2f} times as long)"
        return f"int8 is no faster here beyond the noise: {times} (one thread)"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        files: by what they are: ``model``; of a language model also ``loop``; and ``int8``.
        parity: with PyTorch, of ``model`` and ``loop``.
        real: whether that was measured on real data.
        left_in_float: operations of a classifier's int8 file that still run in float32. (Of a language model's
            everything but the products does.)
        measured: what the versions are worth; None where that was not asked for, or not possible.
        times: of the float32 and the int8 file; None where there is no int8 file.
        notes: sentences for a person.
    """

    files: Mapping[str, Path]
    parity: Mapping[str, Parity]
    real: bool = True
    left_in_float: tuple[str, ...] = ()
    measured: Measured | None = None
    times: Times | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        measured = self.measured
        return {
            "files": {name: {"path": str(path), "bytes": size(path)} for name, path in self.files.items()},
            "parity": {name: parity.to_json() for name, parity in self.parity.items()},
            "real_inputs": self.real,
            "left_in_float": list(self.left_in_float),
            "measured": measured and dict(vars(measured)),
            "times": self.times and asdict(self.times),
            "notes": list(self.notes),
        }


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    inside = path.rglob("*") if path.is_dir() else (path,)
    return sum(one.stat().st_size for one in inside if one.is_file())


def export(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    check: Check = Check(),
    int8: Int8 | None = None,
    opset: int = OPSET,
    progress: Progress = lambda *_: None,
) -> Exported:
    """Write a trained model as a file of another format, unless the file computes something else than PyTorch.

    Args:
        folder: of the training, or its model file.
        output: a ``.onnx``, ``.pte`` (ExecuTorch) or ``.tflite`` (LiteRT) file.
        check: what it is compared on, and how near it has to be.
        int8: also write ``model.int8.onnx``, and measure on the test split what that costs; None for no.
        opset: of ONNX.
        progress: told of every part of the test split.

    Raises:
        InputError: there is no model, its kind has no such format, a package is missing, or the file computes
            something else.
        DataError: the data cannot be used.
        RunError: a file cannot be written.
    """
    path = named(output)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: exported files end in {', '.join(SUFFIXES)}; --source DIR writes plain PyTorch")
    if int8 is not None and path.suffix != ".onnx":
        raise InputError(f"{path}: int8 is for .onnx files")
    check_output(path)
    model = _loaded(named(folder))
    for beside in _beside(path, model, int8=int8 is not None):
        check_output(beside)
    if path.suffix != ".onnx":
        return _written(_writer(path.suffix), model, path, check)
    if isinstance(model, TrainedLanguageModel):
        done = _language(model, path, check, opset)
        return done if int8 is None else _timed(_language_int8(model, done, int8, check))
    if int8 is not None and check.random_inputs:
        raise InputError("int8 is calibrated on real images; leave --int8 out, or --random-inputs")
    done = _classifier(model, path, check, opset)
    return done if int8 is None else _timed(_classifier_int8(model, done, int8, check, progress))


def _loaded(folder: Path) -> Model:
    model = load(folder)
    assert isinstance(model, TrainedClassifier | TrainedLanguageModel), "what is exported"
    return model


def is_language(folder: Path) -> bool:
    """Whether a trained model is a language model, whose int8 needs no calibration.

    Raises:
        InputError: there is no model, or it is damaged.
    """
    return isinstance(_loaded(folder), TrainedLanguageModel)


def export_source(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    check: Check = Check(),
) -> Exported:
    """Write a trained model as plain PyTorch source, which needs nothing of autoshrink, into a new folder.

    Arguments and errors as for `export`.
    """
    from autoshrink.deploy.plain_source import write  # noqa: PLC0415 - only here

    check_new_folder(named(output))
    return _written(write, _loaded(named(folder)), Path(output), check)


def _beside(path: Path, model: Model, *, int8: bool) -> list[Path]:
    """The files that are written beside the exported one."""
    if path.suffix != ".onnx":
        return [card_path(path)]
    loop = [recurrent_export.loop_path(path)] if isinstance(model, TrainedLanguageModel) else []
    return loop + ([int8_path(path)] if int8 else [])


def _writer(suffix: str) -> Writer:
    """What writes a format other than ONNX."""
    if suffix == ".pte":
        from autoshrink.deploy.executorch import export as to_executorch  # noqa: PLC0415 - only here

        return to_executorch
    from autoshrink.deploy.litert import export as to_litert  # noqa: PLC0415 - only here

    return to_litert


def _written(writer: Writer, model: Model, path: Path, check: Check) -> Exported:
    samples = check.tokens(model) if isinstance(model, TrainedLanguageModel) else check.samples(model)
    parity = writer(model, path, samples, check.tolerance)
    return Exported({"model": path}, {"model": parity}, real=not check.random_inputs)


def _classifier(model: TrainedClassifier, path: Path, check: Check, opset: int) -> Exported:
    parity = onnx_export.export_classifier(model, path, check.samples(model), tolerance=check.tolerance, opset=opset)
    return Exported({"model": path}, {"model": parity}, real=not check.random_inputs)


def _classifier_int8(
    model: TrainedClassifier, done: Exported, int8: Int8, check: Check, progress: Progress
) -> Exported:
    path = done.files["model"]
    calibration = real_samples(model, data=check.data, count=int8.images, seed=1)
    target = quantise_classifier(path, calibration, method=int8.method)
    notes: tuple[str, ...] = ()
    if len(calibration) < int8.images:
        notes = (f"calibrated on {counted(len(calibration), 'image')}: there are no more",)
    done = replace(done, files={**done.files, "int8": target}, left_in_float=left_in_float(target), notes=notes)
    if not int8.evaluate:
        return done
    versions = {
        "pytorch": onnx_export.logits_of_network(model.network),
        "onnx": onnx_export.logits_of(path),
        "int8": onnx_export.logits_of(target),
    }
    try:
        found = accuracies(
            versions,
            data=check.data or trained_on(model),
            classes=model.classes,
            preprocessing=model.preprocessing,
            keeping=keeping_of(model.facts.data.to_json()),
            progress=lambda done, total: progress("test images", done, total),
        )
    except DataError as error:
        return replace(done, notes=(*notes, f"what int8 costs was not measured: {error}"))
    if found.drop("int8") > LARGE_DROP:
        others = " or ".join(other for other in METHODS if other != int8.method)
        lost = f"int8 loses {100 * found.drop('int8'):.1f} points of accuracy"
        notes = (*notes, f"{lost}; another --calibration-method ({others}) may lose less")
    return replace(
        done, measured=Measured("accuracy", found.data, found.images, found.accuracy, found.agreement), notes=notes
    )


def _timed(done: Exported) -> Exported:
    """With what the int8 file takes beside the float32 one on this machine."""
    sessions = [Session(done.files[name]) for name in ("model", "int8")]
    floats, integers = race(sessions, rounds=ROUNDS, seconds=ROUND_SECONDS)
    ratio, low, high = integers.ratio(floats)
    times = Times(statistics.median(floats.rounds), statistics.median(integers.rounds), ratio, low, high)
    notes = (*done.notes, times.said) if low > 1 else done.notes
    return replace(done, times=times, notes=notes)


def _language(model: TrainedLanguageModel, path: Path, check: Check, opset: int) -> Exported:
    step, loop = recurrent_export.export_language_model(
        model, path, check.tokens(model), tolerance=check.tolerance, opset=opset
    )
    files = {"model": path, "loop": recurrent_export.loop_path(path)}
    return Exported(files, {"model": step, "loop": loop}, real=not check.random_inputs)


def _language_int8(model: TrainedLanguageModel, done: Exported, int8: Int8, check: Check) -> Exported:
    path = done.files["model"]
    target = quantise_step(path)
    done = replace(done, files={**done.files, "int8": target})
    if not int8.evaluate:
        return done
    try:
        found = perplexities(
            {"onnx": path, "int8": target},
            data=check.data or trained_on(model),
            rule=model.facts.data.to_json().get("tokens", "auto"),
        )
    except DataError as error:
        return replace(done, notes=(f"what int8 costs was not measured: {error}",))
    return replace(done, measured=Measured("perplexity", found.data, found.tokens, found.perplexity))


def _noise() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(0))


@contextmanager
def _pointing_out() -> Iterator[None]:
    """Around the reading of training data: what to do where there is none."""
    try:
        yield
    except DataError as error:
        raise DataError(
            f"{error}\nthe file is compared with PyTorch on training data: name it with --data, or compare on noise "
            "with --random-inputs"
        ) from error
