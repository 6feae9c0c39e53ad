"""What a training is fed and where it runs: normalisation, augmentation, devices, and switches that are put back."""

import os
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.errors import InputError
from autoshrink.training.device import choose_device, choose_precision, describe, repeatable
from autoshrink.training.images import DeviceImages, Normalisation, augment

CPU = torch.device("cpu")
Switches = tuple[bool, bool, bool, int, bool]
"""Deterministic algorithms, warnings only, cuDNN's benchmark, CPU threads, new memory filled with NaN."""


def _numbered(batch: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Every pixel another number, from 1: zero is the padding's."""
    count = batch * channels * height * width
    return torch.arange(1.0, count + 1).view(batch, channels, height, width)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Normalisation


def test_normalisation_by_hand() -> None:
    """Channel 0: half black, half white; channel 1: 51 everywhere, whose deviation is set to one grey level."""
    images = np.array([[[[0, 255], [0, 255]], [[51, 51], [51, 51]]]], dtype=np.uint8)
    norm = Normalisation.of(images)
    assert norm == Normalisation((0.5, 0.2), (0.5, round(1 / 255, 6)))
    data = DeviceImages(images, np.array([3]), norm, CPU)
    batch, labels = data.batch(torch.tensor([0, 0]))
    assert (len(data), data.device, batch.shape, labels.tolist()) == (1, CPU, (2, 2, 2, 2), [3, 3])
    expected = torch.tensor([[[-1.0, 1.0], [-1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(batch[0], expected, atol=1e-5, rtol=0)


@given(st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_normalised_images_have_mean_zero_and_deviation_one(channels: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (40, channels, 5, 4), dtype=np.uint8)
    data = DeviceImages(images, np.arange(40), Normalisation.of(images), CPU)
    batch, labels = data.batch(torch.arange(40))
    torch.testing.assert_close(batch.mean(dim=(0, 2, 3)), torch.zeros(channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(batch.std(dim=(0, 2, 3), correction=0), torch.ones(channels), atol=1e-4, rtol=0)
    assert labels.tolist() == list(range(40))
    picked, labels = data.batch(torch.tensor([7, 3]))
    assert torch.equal(picked, batch[[7, 3]])
    assert labels.tolist() == [7, 3]


# Augmentation


@given(st.integers(1, 4), st.integers(1, 2), st.integers(1, 17), st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_augmentation_only_moves_and_mirrors(batch: int, channels: int, height: int, width: int, seed: int) -> None:
    images = _numbered(batch, channels, height, width)
    moved = augment(images, _generator(seed))
    assert moved.shape == images.shape
    pad = max(1, height // 8)
    for before, after in zip(images, moved, strict=True):
        found = [
            (flip, down, right)
            for flip in (False, True)
            for down in range(-pad, pad + 1)
            for right in range(-pad, pad + 1)
            if torch.equal(after, _shifted(before.flip(2) if flip else before, down, right))
        ]
        assert found, "a shift by at most an eighth of the height of the image or its mirror image, zeros moving in"


def _shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    shifted = torch.zeros_like(image)
    _, height, width = image.shape
    for row in range(max(0, down), min(height, height + down)):
        for column in range(max(0, right), min(width, width + right)):
            shifted[:, row, column] = image[:, row - down, column - right]
    return shifted


def test_augmentation_is_decided_by_its_generator() -> None:
    images = _numbered(16, 1, 8, 8)
    before = images.clone()
    one, again, other = (augment(images, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)
    generator = _generator(1)
    assert torch.equal(augment(images, generator), one)
    assert not torch.equal(augment(images, generator), one), "the generator goes on"


def test_every_shift_and_flip_is_equally_likely() -> None:
    """4,000 draws over 3 × 3 shifts and two mirrors: 222 each, give or take five standard deviations."""
    images = _numbered(1, 1, 4, 4).expand(4_000, -1, -1, -1)
    kinds, counts = torch.unique(augment(images, _generator(0)), dim=0, return_counts=True)
    assert len(kinds) == 18
    deviation = (4_000 * (1 / 18) * (17 / 18)) ** 0.5
    assert all(abs(int(times) - 4_000 / 18) < 5 * deviation for times in counts)


# Devices


@pytest.mark.parametrize(
    ("name", "why"),
    [("gpu", " is unknown; there"), ("cuda:x", " is unknown; there"), ("", " is unknown; there"), ("cuda:99", ": ")],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(name: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_device(name)
    message = str(caught.value)
    assert message.startswith(f"device {name!r}{why}")
    assert "\n" not in message


def test_auto_is_a_device_that_works() -> None:
    assert choose_device("cpu") == CPU
    device = choose_device("auto")
    assert float(torch.ones(3, device=device).sum()) == 3.0
    assert (device.type == "cuda") == torch.cuda.is_available()


def test_precision_is_float32_on_the_cpu_unless_asked_otherwise() -> None:
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16


def test_the_description_names_what_figures_depend_on() -> None:
    described = describe(CPU)
    assert described["torch"] == torch.__version__
    assert described["device"] == "cpu"
    assert described["threads"] == torch.get_num_threads()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "before", [(False, False, True, 2, True), (True, True, False, 1, True), (True, False, True, 1, False)]
)
def test_switches_are_put_back(before: Switches, fails: bool) -> None:
    memory: Any = torch.utils.deterministic

    def state() -> Switches:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.benchmark,
            torch.get_num_threads(),
            memory.fill_uninitialized_memory,
        )

    def switch(deterministic: bool, warn_only: bool, benchmark: bool, threads: int, fill: bool) -> None:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        torch.set_num_threads(threads)
        memory.fill_uninitialized_memory = fill

    found = state()
    try:
        switch(*before)
        with pytest.raises(ZeroDivisionError) if fails else nullcontext(), repeatable(3):
            assert state() == (True, False, False, 3, False)
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"]
            if fails:
                raise ZeroDivisionError
        assert state() == before
        with repeatable(None):
            assert state() == (True, False, False, before[3], False)
        assert state() == before
    finally:
        switch(*found)
