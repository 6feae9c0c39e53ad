"""What only a CUDA device can show: equal trainings end equal and are exported, bfloat16 learns, and full memory fails
one candidate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from autoshrink import resume_training, train
from autoshrink.architecture import ConvArchitecture, proxy_architecture, recurrent_proxy
from autoshrink.bundle import MODEL_FILE, TrainedClassifier, load_as
from autoshrink.cell import Cell, cell_of
from autoshrink.config import ImageNetwork, ImageRecipe, ImageSettings, TextSettings, resolve
from autoshrink.config.augmentation import AugmentSettings
from autoshrink.data import Proxy, load_text_proxy
from autoshrink.data.images import LabelledImages
from autoshrink.deploy.exporting import Check, export, export_source
from autoshrink.deploy.predict import OnnxClassifier
from autoshrink.deploy.quantisation import Int8
from autoshrink.design import Design
from autoshrink.evaluation import Job
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.networks import build, reference
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.score import Evaluation
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.augmentation import Augmentation
from autoshrink.training.device import choose_device, choose_precision, describe, repeatable
from autoshrink.training.draws import BatchDraws
from autoshrink.training.image_learner import image_stops, search_learner
from autoshrink.training.images import DeviceImages, Normalisation, augment
from autoshrink.training.loop import fit
from classifier_fixtures import SMALL, asked, two_classes
from text_fixtures import asked as asked_of_text
from text_fixtures import corpus
from training_fixtures import Stopped, assert_same, left, stopping_after, stopping_at_batch

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
            learner = search_learner(network, recipe, (train, validation), classes=10, seed=1, precision=precision)
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
        def architecture(self, design: Design) -> ConvArchitecture:
            stem = 2**19 if design == wide else 8
            return proxy_architecture(cell_of(design), shape=(1, 8, 8), stem=stem, widths=(8,))

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


# Final trainings of classifiers, and what is made of them

COLOUR = ConvArchitecture.from_json(SMALL.to_json() | {"input": [3, 8, 8], "classes": 2})
AUGMENT = {"crop": "resized", "scale": [0.3, 1.0], "flip": 0.5, "erasing": 0.5, "jitter": [0.4, 0.4, 0.4, 0.1]}


def _final(images: Path, *, stream: bool | None = None, **recipe: Any) -> dict[str, Any]:
    data = {"spec": str(images), "stream": stream, "workers": 1}
    return asked(batch=4, augment=AUGMENT, **recipe) | {"data": data, "device": "cuda"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stream": True},
        {"precision": "bfloat16", "accumulation": 2},
        {"precision": "float16"},
        {"optimiser": "rmsprop", "nesterov": False},
        {"optimiser": "adamw", "l2": 0.0, "weight_decay": 0.01, "clip": 1.0},
    ],
)
def test_an_augmented_classifier_training_repeats_and_stopped_anywhere_ends_the_same(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("kornia")
    asked_for = _final(two_classes(tmp_path / "images"), **{"precision": "float32"} | settings)
    for name in ("whole", "again"):
        train(COLOUR, asked_for, out=tmp_path / name)
    assert_same(tmp_path / "again", tmp_path / "whole")
    with pytest.raises(Stopped):
        train(COLOUR, asked_for, out=tmp_path / "stopped", watcher=stopping_at_batch(2))
    with pytest.raises(Stopped):
        resume_training(tmp_path / "stopped", watcher=stopping_at_batch(5))
    resume_training(tmp_path / "stopped")
    assert_same(tmp_path / "stopped", tmp_path / "whole")
    train(COLOUR, asked_for | {"seed": 2}, out=tmp_path / "other")
    ours, others = (left(tmp_path / name)[MODEL_FILE][0] for name in ("whole", "other"))
    assert not torch.equal(ours["stem.conv.weight"], others["stem.conv.weight"])


def test_a_batch_is_augmented_alike_on_every_device() -> None:
    pytest.importorskip("kornia")
    settings = AugmentSettings.model_validate(AUGMENT)
    images = torch.randint(256, (32, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    draws = BatchDraws(seed=0, epoch=0, batch=0, size=32, part=slice(None))
    here, there = (
        Augmentation(settings, Normalisation((0.5,) * 3, (0.25,) * 3), 16, torch.device(device))(
            images.to(device), draws, cut=False
        ).cpu()
        for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(there, here, rtol=0, atol=5e-3)


@pytest.fixture(scope="module")
def classifier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the digits, trained on the device."""
    folder = tmp_path_factory.mktemp("classifier") / "model"
    train(SMALL, asked(epochs=5) | {"device": "cuda"}, out=folder)
    return folder


def test_a_classifier_trained_on_the_device_is_exported(classifier_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    done = export(classifier_folder, tmp_path / "model.onnx", int8=Int8(images=64))
    assert done.parity["model"].passes(Check().tolerance)
    assert done.measured is not None
    assert done.measured.values["onnx"] == pytest.approx(done.measured.values["pytorch"], abs=5e-3)
    assert done.measured.values["int8"] > 0.2, "better than chance"
    model = load_as(TrainedClassifier, classifier_folder, device=torch.device("cuda"))
    samples = Check().samples(model)
    with torch.no_grad():
        device = model.network(torch.from_numpy(samples).cuda()).cpu().numpy()
    file = OnnxClassifier.open(tmp_path / "model.onnx").logits(samples)
    # Convolutions on the device may round to TF32.
    assert np.abs(device - file).max() < 0.02 * np.abs(file).max()


def test_a_classifier_trained_on_the_device_is_written_as_plain_source(classifier_folder: Path, tmp_path: Path) -> None:
    done = export_source(classifier_folder, tmp_path / "source")
    assert done.parity["model"].passes(Check().tolerance)


def test_a_language_model_trained_on_the_device_repeats_and_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    architecture = recurrent_proxy(RECURRENT, vocabulary=2, width=6)
    settings = asked_of_text(corpus(tmp_path / "corpus")) | {"device": "cuda"}
    train(architecture, settings, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        train(architecture, settings, out=tmp_path / "stopped", watcher=stopping_after(1))
    resume_training(tmp_path / "stopped")
    assert_same(tmp_path / "stopped", tmp_path / "whole")
    done = export(tmp_path / "whole", tmp_path / "model.onnx")
    assert all(done.parity[part].passes(Check().tolerance) for part in ("model", "loop"))
