"""Networks with a smaller input than the images as they are read: what they see, learn and inherit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autoshrink.architecture import ConvArchitecture, ImageArchitecture, MobileArchitecture, MobileStage, Stem
from autoshrink.config import ImageRecipe, ImageSettings
from autoshrink.data import LabelledImages, Proxy, load_split
from autoshrink.data.decoding import resized
from autoshrink.evaluation import Job
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.networks import build, inherit
from autoshrink.spaces.families import CHAIN, default_skeleton
from autoshrink.tasks.image import problem as image_problem
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.training.image_learner import ImageLearner
from autoshrink.training.images import Normalisation

CPU = torch.device("cpu")


def network(side: int) -> MobileArchitecture:
    stages = (MobileStage(width=8, expansion=2), MobileStage(width=12, expansion=2, stride=2))
    return MobileArchitecture(input=(3, side, side), classes=3, stem=Stem(channels=8, stride=2), stages=stages)


def celled(side: int) -> ConvArchitecture:
    return default_skeleton(CHAIN, (3, 24, 24), 3).model_copy(update={"input": (3, side, side)})


def labelled(count: int, seed: int) -> LabelledImages:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    images = [np.asarray(Image.fromarray(one).resize((24, 24))).transpose(2, 0, 1) for one in coarse]
    return LabelledImages(np.stack(images), np.arange(count) % 3)


PROXY = Proxy("made up", ("a", "b", "c"), labelled(12, 0), labelled(9, 1), (), (), "")


def problem(epochs: int = 1) -> ImageProblem:
    return ImageProblem(ImageSettings(recipe=ImageRecipe(epochs=epochs, batch=4)), PROXY, CPU)


def seen(learner: object) -> torch.Tensor:
    """Validation images, as the network gets them."""
    assert isinstance(learner, ImageLearner)
    return torch.cat([images for images, _ in learner._validation.batches()])


def test_a_candidate_gets_the_images_at_its_own_size() -> None:
    one = problem()
    norm = Normalisation.of(PROXY.train.images)
    for side in (24, 16):
        by_hand = [
            np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC))
            for image in PROXY.validation.images
        ]
        pixels = torch.from_numpy(np.stack(by_hand)).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (norm.mean, norm.std))
        torch.testing.assert_close(seen(one.learner(network(side), 0)), (pixels - mean) / std)


def test_each_size_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(images: np.ndarray, size: int) -> np.ndarray:
        made.append(size)
        return resized(images, size)

    monkeypatch.setattr(image_problem, "resized", counted)
    one = problem()
    for side in (16, 24, 16, 8, 24, 16):
        one.learner(network(side), 0)
    assert made == [16, 16, 8, 8]  # for training, and for validation


def test_sizes_are_measured_side_by_side_and_leave_one_another_alone() -> None:
    jobs = [Job(network(side), seed=3) for side in (24, 16, 24)]
    together = [found for _, found in TrainedEvaluator(problem()).evaluate(jobs)]
    alone = [found for job in jobs for _, found in TrainedEvaluator(problem()).evaluate([job])]
    assert [(one.performance, one.correct, one.curve) for one in together] == [
        (one.performance, one.correct, one.curve) for one in alone
    ]
    assert all(one.correct is not None and len(one.correct) == 9 for one in together)
    large, small, _ = together
    assert small.spent.training_macs == pytest.approx(large.spent.training_macs * (16 / 24) ** 2, rel=0.05)


def test_images_that_fit_are_what_a_training_reads_at_that_size(tmp_path: Path) -> None:
    """Where files have the size at which the search read them, `train` sees what the candidate saw."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(
                tmp_path / "train" / name / f"{number}.png"
            )
    read, small = (load_split(str(tmp_path), "train", size=side).data.images for side in (24, 16))
    np.testing.assert_array_equal(resized(read, 16), small)


@pytest.mark.parametrize("made", [network, celled])
def test_weights_are_inherited_whole_through_another_size(made: Callable[[int], ImageArchitecture]) -> None:
    parent, child = build(made(24), seed=0), build(made(16), seed=1)
    inherit(child, parent)
    theirs = parent.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in child.state_dict().items())
