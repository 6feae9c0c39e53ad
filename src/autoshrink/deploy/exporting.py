"""From a trained model's folder to a file that runs elsewhere, checked, and on request in int8 with what that costs."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from autoshrink.bundle import TrainedModel, load
from autoshrink.deploy.edge import card_path
from autoshrink.deploy.exporter import TOLERANCE, Array, exporter_of, write_onnx
from autoshrink.deploy.parity import Parity
from autoshrink.deploy.quantisation import Int8, Measured, int8_path
from autoshrink.errors import DataError, InputError
from autoshrink.files import check_new_folder, check_output, named
from autoshrink.latency.measuring import Session, race
from autoshrink.onnx.export import OPSET

WRITERS = {".pte": "autoshrink.deploy.executorch", ".tflite": "autoshrink.deploy.litert"}
"""By ending: the module whose ``export`` writes the format; each takes a package of its own."""
SUFFIXES = (".onnx", *WRITERS)
ROUNDS, ROUND_SECONDS = 5, 0.1
"""In which the float32 and the int8 file take turns."""

Writer = Callable[[Any, Path, Array, float], Parity]
"""Writes a model, compares it on samples with a tolerance, and leaves it only if it passes."""
Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is."""


@dataclass(frozen=True)
class Check:
    """What an exported file has to pass before it is left in its place.

    Attributes:
        data: the training data, by name or path; None is what the model was trained on. int8 is calibrated on it too.
        random_inputs: compare on noise, without data.
        tolerance: how far outputs may be from PyTorch's, see `autoshrink.deploy.parity.Parity.passes`.
    """

    data: str | None = None
    random_inputs: bool = False
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Refuse a tolerance that nothing could pass, by an `InputError`."""
        if not self.tolerance > 0:
            raise InputError(f"tolerance {self.tolerance}: it is above 0")

    def samples(self, model: TrainedModel) -> Array:
        """What to compare on, as the network reads it: normalised images (n, C, s, s), token ids (n,), …

        Raises:
            DataError: the data cannot be used; the message says how to do without.
        """
        exporter = exporter_of(model.architecture)
        if self.random_inputs:
            return exporter.noise(model)
        try:
            return exporter.real(model, self.data, exporter.samples_count)
        except DataError as error:
            raise DataError(
                f"{error}\nthe file is compared with PyTorch on training data: name it with --data, or compare on "
                "noise with --random-inputs"
            ) from error


@dataclass(frozen=True)
class Times:
    """How long one image, or token, takes here, on one thread: both files in turns, medians of the rounds, seconds.

    `ratio` is the median of int8 over float32 by round, between `low` and `high`; times are on the core.
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
        example: what `autoshrink predict` takes beside the file.
    """

    files: Mapping[str, Path]
    parity: Mapping[str, Parity]
    real: bool = True
    left_in_float: tuple[str, ...] = ()
    measured: Measured | None = None
    times: Times | None = None
    notes: tuple[str, ...] = ()
    example: str = ""

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
        progress: called after every part of the test split.

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
    model = load(named(folder))
    exporter = exporter_of(model.architecture)
    if path.suffix != ".onnx":
        check_output(card_path(path))
        return _written(import_module(WRITERS[path.suffix]).export, model, path, check)
    if int8 is not None and check.random_inputs and exporter.calibrates:
        raise InputError("int8 is calibrated on real samples; leave --int8 out, or --random-inputs")
    # The file that was asked for is the model; a language model's loop comes beside it.
    files = {("model", *exporter.parts[1:])[n]: exporter.place(path, part) for n, part in enumerate(exporter.parts)}
    for beside in (*files.values(), *([int8_path(path)] if int8 else [])):
        check_output(beside)
    parities = write_onnx(model, path, check.samples(model), tolerance=check.tolerance, opset=opset)
    parity = dict(zip(files, parities.values(), strict=True))
    done = Exported(files, parity, real=not check.random_inputs, example=exporter.example)
    if int8 is None:
        return done
    found = exporter.int8(model, path, int8, check.data, progress)
    done = replace(done, files={**files, "int8": found.path}, left_in_float=found.in_float, notes=found.notes)
    return _timed(replace(done, measured=found.measured))


def calibrates(folder: Path) -> bool:
    """Whether int8 of a trained model measures ranges on real samples; a language model's does not.

    Raises:
        InputError: there is no model, or it is damaged.
    """
    return exporter_of(load(folder).architecture).calibrates


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
    return _written(write, load(named(folder)), Path(output), check)


def _written(writer: Writer, model: TrainedModel, path: Path, check: Check) -> Exported:
    parity = writer(model, path, check.samples(model), check.tolerance)
    return Exported({"model": path}, {"model": parity}, real=not check.random_inputs)


def _timed(done: Exported) -> Exported:
    """With what the int8 file takes beside the float32 one on this machine."""
    floats, integers = race(
        [Session(done.files[name]) for name in ("model", "int8")], rounds=ROUNDS, seconds=ROUND_SECONDS
    )
    ratio, low, high = integers.ratio(floats)
    times = Times(statistics.median(floats.rounds), statistics.median(integers.rounds), ratio, low, high)
    return replace(done, times=times, notes=(*done.notes, times.said) if low > 1 else done.notes)


__all__ = [
    "SUFFIXES",
    "Check",
    "Exported",
    "Int8",
    "Measured",
    "Times",
    "calibrates",
    "export",
    "export_source",
    "size",
]
