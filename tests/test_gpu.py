"""What only a CUDA device can show: equal trainings end equal, bfloat16 learns, and full memory fails one candidate."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from autoshrink.architecture import Architecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import Recipe
from autoshrink.evaluation import Job
from autoshrink.networks import build
from autoshrink.score import Evaluation
from autoshrink.training.device import choose_device, choose_precision, describe, repeatable
from autoshrink.training.images import DeviceImages, Normalisation, augment
from autoshrink.training.loop import Training
from autoshrink.training.trained import Fidelity, TrainedEvaluator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (1, 3)))


def _network(cell: Cell) -> Architecture:
    return proxy_architecture(cell, shape=(1, 8, 8), stem=8, widths=(8, 16))


@pytest.fixture(scope="module")
def digits() -> tuple[DeviceImages, DeviceImages]:
    published, device = load_digits(), torch.device("cuda")
    images = (published.images[:1500, None] * (255 / 16)).astype(np.uint8)
    labels = published.target[:1500].astype(np.int64)
    norm = Normalisation.of(images[:1200])
    return DeviceImages(images[:1200], labels[:1200], norm, device), DeviceImages(
        images[1200:], labels[1200:], norm, device
    )


def _measured(
    data: tuple[DeviceImages, DeviceImages], seed: int, precision: torch.dtype, *, augmented: bool = True
) -> Evaluation:
    recipe = Recipe(epochs=5, batch=64, learning_rate=0.01, augment=augmented, patience=None, floor_epoch=None)
    evaluator = TrainedEvaluator(_network, *data, fidelity=Fidelity(recipe, precision))
    ((_, evaluation),) = evaluator.evaluate([Job(CELL, seed)])
    return evaluation


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_curve(digits: tuple[DeviceImages, DeviceImages], precision: torch.dtype) -> None:
    first, again, other = (_measured(digits, seed, precision) for seed in (1, 1, 2))
    assert (first.curve, first.correct) == (again.curve, again.correct)
    assert first.correct != other.correct


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_weights(
    digits: tuple[DeviceImages, DeviceImages], precision: torch.dtype
) -> None:
    finals = []
    for _ in range(2):
        network = build(_network(CELL), seed=1).cuda()
        with repeatable(None):
            Training(network, Recipe(epochs=2, batch=64), seed=1, classes=10, precision=precision).run(*digits)
        finals.append(network.state_dict())
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_both_precisions_learn(digits: tuple[DeviceImages, DeviceImages]) -> None:
    single = _measured(digits, 1, torch.float32, augmented=False)
    half = _measured(digits, 1, torch.bfloat16, augmented=False)
    assert (single.performance or 0) > 0.8
    assert (half.performance or 0) > 0.8
    assert single.correct != half.correct, "bfloat16 really computes otherwise"


def test_a_full_device_fails_the_candidate_and_the_next_one_is_trained(
    digits: tuple[DeviceImages, DeviceImages],
) -> None:
    """Half a million channels after a batch of 1,200 images of 8×8 would take 157 GB in float32."""
    wide = Cell("conv", ("input", "conv1x1"), ())

    def network(cell: Cell) -> Architecture:
        return proxy_architecture(cell, shape=(1, 8, 8), stem=2**19 if cell == wide else 8, widths=(8,))

    evaluator = TrainedEvaluator(network, *digits, fidelity=Fidelity(Recipe(epochs=1, batch=1200)))
    (_, failed), (_, trained) = evaluator.evaluate([Job(wide, 1), Job(CELL, 1)])
    assert failed.reason is not None
    assert failed.reason.startswith("out of memory: ")
    assert trained.performance is not None
    assert torch.cuda.memory_reserved() < 2**33, "what the failed candidate held is given back"


def test_augmentation_draws_the_same_on_every_device() -> None:
    images = torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    here, there = (augment(images.to(device), torch.Generator().manual_seed(7)).cpu() for device in ("cpu", "cuda"))
    assert torch.equal(here, there)


def test_auto_finds_the_device_and_its_precision() -> None:
    device = choose_device("auto")
    assert device.type == "cuda"
    expected = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    assert choose_precision("auto", device) == expected
    assert describe(device)["device_name"] == torch.cuda.get_device_name(device)
