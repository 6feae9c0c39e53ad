"""Where a training runs: device, precision, threads, and the switches that make it repeatable."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from autoshrink.errors import InputError
from autoshrink.machine import keep_freed_memory, refuse_too_many
from autoshrink.untrusted import brief

DEVICES = "auto, cpu, cuda, cuda:1 (the second GPU) and mps (Apple's)"


def choose_device(name: str) -> torch.device:
    """The device for a name; ``auto`` is CUDA, then Apple's MPS, then the CPU.

    Raises:
        InputError: torch does not know the device, or it is not there; the message says why.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device {brief(name)} is unknown; there are {DEVICES}") from None
    missing = _missing(device)
    if missing is not None:
        raise InputError(f"device {name!r}: {missing}")
    try:
        # Backends differ in what they raise where a device is known and unusable: not built, not there, no such kernel.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); there are {DEVICES}") from error
    return device


def _missing(device: torch.device) -> str | None:
    """Why a GPU is not there, and the way out; None where it is, or it is none."""
    if device.type == "mps" and not torch.backends.mps.is_available():
        return "only Macs with an Apple GPU have it; leave --device out to have what there is"
    if device.type != "cuda":
        return None
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return (
            f"the installed torch {torch.__version__} is built without CUDA; install one with it "
            "(https://pytorch.org/get-started/locally), or leave --device out to have what there is"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        return (
            f"torch {torch.__version__} finds no CUDA GPU here (`nvidia-smi` lists those that the driver knows); "
            "leave --device out to have what there is"
        )
    if (device.index or 0) >= count:
        return (
            "there is one CUDA GPU here, cuda:0" if count == 1 else f"CUDA's GPUs here are cuda:0 to cuda:{count - 1}"
        )
    return None


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The autocast type: bfloat16 on CUDA devices that have it when the name is ``auto``, float32 otherwise."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def describe(device: torch.device) -> dict[str, str | int | None]:
    """Versions and hardware that a run's figures depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or None,
        "threads": torch.get_num_threads(),
    }


@contextmanager
def repeatable(threads: int | None) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of CPU threads inside, what was set before afterwards.

    Freed memory is kept from then on (`keep_freed_memory`).

    Raises:
        InputError: the threads are more than make sense.
    """
    refuse_too_many(threads or 1, "threads")
    keep_freed_memory()
    # cuBLAS reads this when CUDA starts; without it its sums may differ from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic  # its one attribute is made in a way that type checkers do not see
    fill = memory.fill_uninitialized_memory
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        # Filling new tensors with NaN first, a help against reading them unset, costs a quarter of the time.
        memory.fill_uninitialized_memory = False
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = fill
