"""What only a CUDA device can show: equal trainings end equal, bfloat16 learns, and full memory fails one candidate."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import ImageNetwork, ImageRecipe, ImageSettings, TextSettings, resolve
from autoshrink.data import Proxy, load_text_proxy
from autoshrink.data.images import LabelledImages
from autoshrink.evaluation import Job
from autoshrink.networks import build, reference
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.score import Evaluation
from autoshrink.tasks.image import ImageProblem
from autoshrink.tasks.text import TextProblem
from autoshrink.training.device import choose_device, choose_precision, describe, repeatable
from autoshrink.training.image_learner import ImageLearner, image_stops
from autoshrink.training.images import DeviceImages, Normalisation, augment
from autoshrink.training.loop import fit
from autoshrink.training.trained import TrainedEvaluator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2), (1, 3)))


NETWORK = ImageNetwork(stem=8, widths=(8, 16))
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


@pytest.fixture(scope="module")
def digits() -> Proxy:
    published = load_digits()
    images = (published.images[:1500, None] * (255 / 16)).astype(np.uint8)
    labels = published.target[:1500].astype(np.int64)
    train, validation = LabelledImages(images[:1200], labels[:1200]), LabelledImages(images[1200:], labels[1200:])
    return Proxy("digits", tuple("0123456789"), train, validation, (), (), "")


def _measured(data: Proxy, seed: int, precision: torch.dtype, *, augmented: bool = True) -> Evaluation:
    recipe = ImageRecipe.model_validate(
        {
            "epochs": 5,
            "batch": 64,
            "learning_rate": 0.01,
            "augment": augmented,
            "patience": None,
            "floor_epoch": None,
            "precision": NAMES[precision],
        }
    )
    problem = ImageProblem(ImageSettings(network=NETWORK, recipe=recipe), data, torch.device("cuda"))
    ((_, evaluation),) = TrainedEvaluator(problem).evaluate([Job(CELL, seed)])
    return evaluation


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_curve(digits: Proxy, precision: torch.dtype) -> None:
    first, again, other = (_measured(digits, seed, precision) for seed in (1, 1, 2))
    assert (first.curve, first.correct) == (again.curve, again.correct)
    assert first.correct != other.correct


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_weights(digits: Proxy, precision: torch.dtype) -> None:
    finals, device, norm = [], torch.device("cuda"), Normalisation.of(digits.train.images)
    train, validation = (
        DeviceImages(one.images, one.labels, norm, device) for one in (digits.train, digits.validation)
    )
    recipe = ImageRecipe(epochs=2, batch=64)
    for _ in range(2):
        network = build(proxy_architecture(CELL, shape=(1, 8, 8), stem=8, widths=(8, 16)), seed=1).cuda()
        with repeatable(None):
            learner = ImageLearner(network, recipe, (train, validation), classes=10, seed=1, precision=precision)
            fit(learner, image_stops(recipe, 10))
        finals.append(network.state_dict())
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_both_precisions_learn(digits: Proxy) -> None:
    single = _measured(digits, 1, torch.float32, augmented=False)
    half = _measured(digits, 1, torch.bfloat16, augmented=False)
    assert (single.performance or 0) > 0.8
    assert (half.performance or 0) > 0.8
    assert single.correct != half.correct, "bfloat16 really computes otherwise"


def test_a_full_device_fails_the_candidate_and_the_next_one_is_trained(
    digits: Proxy,
) -> None:
    """Half a million channels after a batch of 1,200 images of 8×8 would take 157 GB in float32."""
    wide = Cell("conv", ("input", "conv1x1"), ())

    class Wide(ImageProblem):
        def architecture(self, cell: Cell) -> ConvArchitecture:
            return proxy_architecture(cell, shape=(1, 8, 8), stem=2**19 if cell == wide else 8, widths=(8,))

    settings = ImageSettings(recipe=ImageRecipe(epochs=1, batch=1200))
    evaluator = TrainedEvaluator(Wide(settings, digits, torch.device("cuda")))
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


@pytest.fixture(scope="module")
def words() -> TextProblem:
    settings = resolve(
        {"task": "text", "data": {"sentences": 300}, "recipe": {"epochs": 2, "dropout": {"hidden": 0.2}}}
    )
    assert isinstance(settings, TextSettings)
    proxy = load_text_proxy(
        "pydocs", sentences=300, validation_sentences=60, max_vocabulary=500, min_count=2, sample="random", seed=0
    )
    return TextProblem(settings, proxy, torch.device("cuda"))


RECURRENT = Cell("recurrent", ("input", "tanh", "relu", "sigmoid"), ((0, 1), (0, 2), (1, 2), (1, 3)))


def test_the_same_seed_gives_the_same_language_model(words: TextProblem) -> None:
    evaluator = TrainedEvaluator(words)
    (_, first), (_, again), (_, other) = evaluator.evaluate([Job(RECURRENT, seed) for seed in (1, 1, 2)])
    assert first.performance is not None
    assert (first.curve, first.parts) == (again.curve, again.parts)
    assert first.curve != other.curve
    assert first.performance > -words.learner(words.architecture(RECURRENT), 0).guess_loss


def test_the_recurrent_fast_path_equals_its_reference_on_the_device(words: TextProblem) -> None:
    network = build(words.architecture(RECURRENT), seed=0).to("cuda")
    core = network.core
    assert isinstance(core, RecurrentCell)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(7, 3, core.plan.width, generator=generator).to("cuda")
    state = torch.randn(1, 3, core.plan.width, generator=generator).to("cuda")
    fast = core(inputs, state)[0]
    plain = reference.run(core.plan, inputs, state[0], input_weight=core.input_weight, edge_weights=core.edge_weights())
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    parameters = list(core.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(fast.sum(), parameters), torch.autograd.grad(plain.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
