"""Training on images and its evaluator: learning, repeatability, every early stop, failures, and what is recorded."""

import math
from collections.abc import Callable, Iterator
from itertools import count as counting
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn

from autoshrink.architecture import Architecture, ConvArchitecture, Stem, proxy_architecture
from autoshrink.cell import Cell, Edge
from autoshrink.config import ImageNetwork, ImageRecipe, ImageSettings
from autoshrink.cost import count
from autoshrink.data import Proxy
from autoshrink.data.images import LabelledImages
from autoshrink.design import Design
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions, out_of_memory
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.networks import build
from autoshrink.score import LEVELS, Evaluation
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.training.device import repeatable
from autoshrink.training.image_learner import ImageLearner, image_stops, search_learner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.loop import Clock, DeadlineError, History, TrainingError, fit

CPU = torch.device("cpu")
FROZEN = 1e-30
"""A learning rate that leaves float32 weights as they are."""
PLAIN: dict[str, Any] = {"patience": None, "floor_epoch": None}


def _cell(*edges: Edge) -> Cell:
    return Cell("conv", ("input", "sepconv3x3", "conv1x1", "sepconv3x3"), edges)


SMALL = _cell((0, 1), (0, 2), (1, 2))


def _digits_network(cell: Cell) -> ConvArchitecture:
    return proxy_architecture(cell, shape=(1, 8, 8), stem=8, widths=(8, 16))


@pytest.fixture(scope="module")
def proxy() -> Proxy:
    """500 training and 200 validation images of scikit-learn's digits."""
    published = load_digits()
    images = (published.images[:700, None] * (255 / 16)).astype(np.uint8)
    labels = published.target[:700].astype(np.int64)
    train, validation = LabelledImages(images[:500], labels[:500]), LabelledImages(images[500:], labels[500:])
    return Proxy("digits", tuple("0123456789"), train, validation, (), (), "")


@pytest.fixture(scope="module")
def digits(proxy: Proxy) -> tuple[DeviceImages, DeviceImages]:
    """The same on the device."""
    norm = Normalisation.of(proxy.train.images)
    train, validation = (DeviceImages(one.images, one.labels, norm, CPU) for one in (proxy.train, proxy.validation))
    return train, validation


def _grey(labels: list[int]) -> DeviceImages:
    """Images of one pixel, all equal."""
    images = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    return DeviceImages(images, np.array(labels, dtype=np.int64), Normalisation((0.0,), (1.0,)), CPU)


class _Opinion(nn.Module):
    """Says the same logits about every image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


class _Training:
    """A network, its learner and its early stops, by one recipe."""

    def __init__(self, network: nn.Module, recipe: ImageRecipe, *, seed: int, classes: int) -> None:
        self._network, self._recipe, self._seed, self._classes = network, recipe, seed, classes
        self.learner = self._learner(_grey([0, 0]), _grey([0]))

    def _learner(self, *data: DeviceImages) -> ImageLearner:
        train, validation = data
        return search_learner(self._network, self._recipe, (train, validation), classes=self._classes, seed=self._seed)

    def run(
        self, *data: DeviceImages, clock: Clock | None = None, on_epoch: Callable[[History], None] = lambda _: None
    ) -> History:
        self.learner = self._learner(*data)
        return fit(self.learner, image_stops(self._recipe, self._classes), clock=clock, on_epoch=on_epoch)


def _opinionated(recipe: dict[str, Any], *logits: float) -> _Training:
    chosen = ImageRecipe(**({"learning_rate": FROZEN, "l2": 0.0, "batch": 10} | PLAIN | recipe))
    return _Training(_Opinion(*logits), chosen, seed=0, classes=len(logits))


def _story(history: History) -> tuple[float, tuple[bool, ...] | None, tuple[float, ...], str | None]:
    """Performance and outcomes of the best epoch, the curve, and why it ended."""
    assert history.best is not None
    return history.best.performance, history.best.correct, history.curve, history.ended


def _problem(proxy: Proxy, recipe: ImageRecipe) -> ImageProblem:
    return ImageProblem(ImageSettings(network=ImageNetwork(stem=8, widths=(8, 16)), recipe=recipe), proxy, CPU)


def _evaluate(proxy: Proxy, *jobs: Job, seconds: float | None = None, **recipe: Any) -> list[tuple[int, Evaluation]]:
    problem = _problem(proxy, ImageRecipe(**({"epochs": 2, "batch": 64} | recipe)))
    return list(TrainedEvaluator(problem, Conditions(threads=1, candidate_seconds=seconds)).evaluate(jobs))


# Learning


def test_digits_are_learnt_in_a_few_epochs(digits: tuple[DeviceImages, DeviceImages]) -> None:
    told: list[History] = []
    network = build(_digits_network(SMALL), seed=1)
    recipe = ImageRecipe(epochs=6, batch=32, learning_rate=0.01, **PLAIN)
    training = _Training(network, recipe, seed=1, classes=10)
    with repeatable(1):
        trained = training.run(*digits, on_epoch=told.append)
    accuracy, correct, curve, ended = _story(trained)
    assert accuracy > 0.75, "guessing gets .1"
    assert accuracy == max(curve)
    assert correct is not None
    assert len(correct) == 200
    assert sum(correct) == round(accuracy * 200)
    assert [history.curve for history in told] == [curve[:epoch] for epoch in range(1, 7)]
    assert (ended, len(curve)) == ("all epochs", 6)
    assert (training.learner.seen, training.learner.validated) == (6 * 500, 6 * 200)


def test_a_validation_says_what_each_image_s_class_was_given(digits: tuple[DeviceImages, DeviceImages]) -> None:
    train, validation = digits
    network, recipe = build(_digits_network(SMALL), seed=1), ImageRecipe(epochs=1, batch=50, **PLAIN)
    for probabilities in (True, False):
        learner = search_learner(network, recipe, (train, validation), classes=10, seed=1, probabilities=probabilities)
        for share in (1.0, 0.3):
            found = learner.validate_share(share)
            assert (found.parts is not None) == (probabilities and share < 1)
            if found.parts is None or found.correct is None:
                continue
            given = np.array(found.parts)
            assert len(given) == len(found.correct) == 200 * share
            np.testing.assert_array_equal(given, np.rint(given * LEVELS) / LEVELS)
            # What got more than half is right; minus the mean logarithm is the loss.
            assert all(np.array(found.correct)[given > 0.5 + 1 / LEVELS])
            assert found.loss == pytest.approx(-float(np.log(given).mean()), rel=1e-3)


def test_the_seed_decides_the_curve(proxy: Proxy) -> None:
    def measured(seed: int, **recipe: Any) -> Evaluation:
        ((_, evaluation),) = _evaluate(proxy, Job(SMALL, seed), **recipe)
        return evaluation

    for recipe in ({}, {"augment": True}):
        first, again, other = measured(3, **recipe), measured(3, **recipe), measured(4, **recipe)
        assert (first.curve, first.correct) == (again.curve, again.correct)
        assert (first.curve, first.correct) != (other.curve, other.correct)
    assert measured(3).correct != measured(3, augment=True).correct


def test_weights_are_equal_bit_by_bit_after_equal_trainings(digits: tuple[DeviceImages, DeviceImages]) -> None:
    finals = []
    for seed in (1, 1, 2):
        network = build(_digits_network(SMALL), seed=1)
        with repeatable(1):
            _Training(network, ImageRecipe(epochs=1, batch=64, **PLAIN), seed=seed, classes=10).run(*digits)
        finals.append(network.state_dict())
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
    assert not torch.equal(finals[0]["stem.conv.weight"], finals[2]["stem.conv.weight"]), "other batches, other weights"


def test_the_best_epoch_is_kept() -> None:
    """The two logits start at 0 and 1; training on class 0 turns the opinion round, and validation is of class 1."""
    training = _opinionated({"learning_rate": 0.4, "epochs": 4}, 0.0, 1.0)
    trained = training.run(_grey([0] * 10), _grey([1, 1, 1, 0]))
    assert _story(trained) == (0.75, (True, True, True, False), (0.75, 0.25, 0.25, 0.25), "all epochs")


# Early stops


def test_patience_counts_epochs_without_a_new_best() -> None:
    trained = _opinionated({"patience": 2, "epochs": 9}, 1.0, 0.0).run(_grey([0] * 10), _grey([0, 1]))
    assert _story(trained) == (0.5, (True, False), (0.5, 0.5, 0.5), "no better for 2 epochs")


def test_an_accuracy_below_the_floor_ends_a_candidate_at_that_epoch_only() -> None:
    """Of five classes the floor is .2 + .8/9 = .289: .2 is below it, .4 is not."""
    opinion = (1.0, 0.0, 0.0, 0.0, 0.0)
    recipe = {"floor_epoch": 2, "epochs": 5}
    low = _opinionated(recipe, *opinion).run(_grey([0] * 10), _grey([0, 1, 2, 3, 4]))
    assert (low.ended, len(low.curve)) == ("accuracy 0.200 below 0.289 after epoch 3", 3)
    high = _opinionated(recipe, *opinion).run(_grey([0] * 10), _grey([0, 0, 2, 3, 4]))
    assert (high.ended, len(high.curve)) == ("all epochs", 5)


def test_the_floor_of_ten_classes_is_the_released_one() -> None:
    opinion = (1.0, *[0.0] * 9)
    trained = _opinionated({"floor_epoch": 0}, *opinion).run(_grey([0] * 10), _grey([0, *[1] * 9]))
    assert trained.ended == "accuracy 0.100 below 0.200 after epoch 1"
    fifth = _opinionated({"floor_epoch": 0, "epochs": 2}, *opinion).run(_grey([0] * 10), _grey([0, 1, 1, 1, 1]))
    assert fifth.ended == "all epochs"


def test_of_many_classes_twice_chance_is_enough() -> None:
    opinion = (1.0, *[0.0] * 19)
    trained = _opinionated({"floor_epoch": 0}, *opinion).run(_grey([0] * 20), _grey([0] + [1] * 19))
    assert trained.ended == "accuracy 0.050 below 0.100 after epoch 1"


def test_a_good_training_accuracy_ends_the_epoch_and_not_the_training() -> None:
    training = _opinionated({"stop_accuracy": 0.98, "epochs": 3}, 1.0, 0.0)
    assert training.run(_grey([0] * 50), _grey([0])).ended == "all epochs"
    assert training.learner.seen == 3 * 10, "one batch of ten an epoch"
    never = _opinionated({"stop_accuracy": 0.98, "epochs": 3}, 1.0, 0.0)
    never.run(_grey([1] * 50), _grey([0]))
    assert never.learner.seen == 3 * 50


def test_overfitting_ends_a_candidate() -> None:
    """Logits 2 and 0: the loss is .127 on class 0 and 2.127 on class 1, 16.8 times as much."""
    ratio = math.log(1 + math.exp(2)) / math.log(1 + math.exp(-2))
    for factor, ended in ((0.99, f"validation loss above {0.99 * ratio:g} training losses"), (1.01, "all epochs")):
        recipe = {"overfit_ratio": factor * ratio, "epochs": 2}
        trained = _opinionated(recipe, 2.0, 0.0).run(_grey([0] * 10), _grey([1] * 5))
        assert trained.ended == ended


def _ticks(*, step: float = 1.0) -> Callable[[], float]:
    """A clock that is asked twice before every batch, and before an epoch's end; each time `step` later, from 0."""
    times: Iterator[float] = (step * tick for tick in counting())
    return lambda: next(times)


def test_a_candidates_time_is_up() -> None:
    """Five batches an epoch, twelve looks at the clock: time 31 is after the third batch of the third epoch."""
    training = _opinionated({"epochs": 9}, 1.0, 0.0)
    trained = training.run(_grey([0] * 50), _grey([0, 1]), clock=Clock(candidate=30, now=_ticks()))
    assert _story(trained) == (0.5, (True, False), (0.5, 0.5), "time limit")
    assert training.learner.seen == 2 * 50 + 3 * 10


def test_without_a_finished_epoch_a_candidate_has_failed() -> None:
    training = _opinionated({}, 1.0, 0.0)
    with pytest.raises(TrainingError, match="time limit for a candidate was reached before its first epoch was done"):
        training.run(_grey([0] * 50), _grey([0]), clock=Clock(candidate=5, now=_ticks()))
    assert training.learner.seen == 30


def test_the_deadline_of_the_search_drops_the_candidate() -> None:
    with pytest.raises(DeadlineError):
        _opinionated({"epochs": 9}, 1.0, 0.0).run(_grey([0] * 50), _grey([0]), clock=Clock(search=25, now=_ticks()))


def test_after_the_deadline_nothing_more_is_yielded(proxy: Proxy) -> None:
    evaluator = TrainedEvaluator(_problem(proxy, ImageRecipe(epochs=1)), Conditions(threads=1))
    assert list(evaluator.evaluate([Job(SMALL, 1), Job(_cell((0, 1)), 1)], deadline=-math.inf)) == []


# Failures


def _failed(evaluation: Evaluation) -> str:
    assert evaluation.failed
    assert (evaluation.curve, evaluation.correct, evaluation.ended) == ((), None, "failed")
    assert evaluation.reason is not None
    return evaluation.reason


def test_nan_and_divergence_are_failures_with_their_reasons(proxy: Proxy) -> None:
    ((_, nan),) = _evaluate(proxy, Job(SMALL, 1), learning_rate=1e30)
    assert _failed(nan) == "the training loss became nan in epoch 1, batch 2"
    assert nan.spent.samples == 2 * 72, "500 images in seven batches, the first three of them one larger"
    ((_, diverged),) = _evaluate(proxy, Job(SMALL, 1), learning_rate=1e3, batch=16)
    assert _failed(diverged).startswith("diverged: mean training loss ")
    assert _failed(diverged).endswith(" in epoch 1")


def test_a_mean_loss_above_ten_times_guessing_is_a_divergence() -> None:
    """Two classes: guessing costs ln 2, so the line is at 6.93; the loss of logits x and 0 on class 1 is about x."""
    with pytest.raises(TrainingError, match=r"diverged: mean training loss 6\.95 in epoch 1"):
        _opinionated({}, 6.95, 0.0).run(_grey([1] * 10), _grey([1]))
    assert _opinionated({"epochs": 1}, 6.9, 0.0).run(_grey([1] * 10), _grey([1])).ended == "all epochs"


def test_a_network_that_says_nan_after_its_last_step_has_failed() -> None:
    network = build(_digits_network(SMALL), seed=0)
    training = _Training(network, ImageRecipe(learning_rate=1e30, epochs=1, batch=64, **PLAIN), seed=0, classes=10)
    noise = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
    images = DeviceImages(noise, np.arange(64, dtype=np.int64) % 10, Normalisation.of(noise), CPU)
    with pytest.raises(TrainingError, match="nan"):
        training.run(images, images)


def test_without_memory_a_candidate_fails_and_the_next_one_is_trained(proxy: Proxy) -> None:
    """The first kernel of the wide network would take 40 PB, more than addresses can name: nothing is allocated."""
    wide = _cell((0, 1))

    class Absurd(ImageProblem):
        def architecture(self, design: Design) -> Architecture:
            small = super().architecture(design)
            # Read from a file it would be refused by its size alone.
            absurd = {"input": (2**25, 8, 8), "stem": Stem(channels=1).model_copy(update={"channels": 2**25})}
            return small.model_copy(update=absurd if design == wide else {})

    evaluator = TrainedEvaluator(Absurd(ImageSettings(recipe=ImageRecipe(epochs=1)), proxy, CPU), Conditions(threads=1))
    (first, failed), (second, trained) = evaluator.evaluate([Job(wide, 1), Job(SMALL, 1)])
    assert (first, second) == (0, 1)
    assert _failed(failed).startswith("out of memory: ")
    assert (failed.spent.samples, failed.spent.training_macs) == (0, 0)
    assert trained.performance is not None


def test_only_memory_is_taken_for_memory() -> None:
    assert out_of_memory(MemoryError()) == "out of memory: no room for a tensor"
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory.\nTried")) == "out of memory: CUDA out of memory."
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_candidates_time_limit_reaches_the_training(proxy: Proxy) -> None:
    ((_, evaluation),) = _evaluate(proxy, Job(SMALL, 1), seconds=1e-9)
    assert "time limit" in _failed(evaluation)


# What is recorded


def test_an_evaluation_by_hand(proxy: Proxy) -> None:
    said: list[tuple[Cell, int, float]] = []
    problem = _problem(proxy, ImageRecipe(epochs=3, batch=64, **PLAIN))
    evaluator = TrainedEvaluator(problem, Conditions(threads=1), on_epoch=lambda *all_: said.append(all_))
    jobs = [Job(SMALL, 11), Job(_cell(), 12)]
    for (position, evaluation), job in zip(evaluator.evaluate(jobs), jobs, strict=True):
        cost = count(_digits_network(job.cell))
        assert jobs[position] == job == Job(evaluation.cell, evaluation.seed)
        assert evaluation.resources == evaluator.resources(job.cell)
        assert (evaluation.resources.macs, evaluation.resources.params) == (cost.macs, cost.params)
        assert evaluation.resources.memory == cost.peak_activation_bytes
        assert evaluation.resources["cell_params"] == cost.cell_params
        assert evaluation.fidelity == "3 epochs × 500 images"
        assert evaluation.performance == max(evaluation.curve)
        assert evaluation.correct is not None
        assert evaluation.parts is None, "all images are judged by accuracy"
        assert sum(evaluation.correct) == round(max(evaluation.curve) * 200)
        assert evaluation.spent.samples == 3 * 500
        assert evaluation.spent.training_macs == cost.macs * (3 * 1_500 + 600)
        assert evaluation.spent.seconds > 0
        assert [told[1:] for told in said if told[0] == job.cell] == list(enumerate(evaluation.curve, start=1))


@given(st.integers(1, 40), st.integers(2, 20), st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_an_epoch_shows_every_image_once(images: int, batch: int, epochs: int) -> None:
    class Seen(_Opinion):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.extend(x.flatten().tolist())
            return super().forward(x)

    seen: list[float] = []
    pixels = np.arange(images, dtype=np.uint8).reshape(-1, 1, 1, 1)
    data = DeviceImages(pixels, np.zeros(images, dtype=np.int64), Normalisation((0.0,), (1 / 255,)), CPU)
    _Training(Seen(0.0, 0.0), ImageRecipe(epochs=epochs, batch=batch, **PLAIN), seed=2, classes=2).run(data, data)
    shown = [seen[start : start + images] for start in range(0, len(seen), images)]
    assert len(shown) == epochs
    for order in shown:
        assert sorted(round(value) for value in order) == list(range(images))
    assert images < 9 or epochs == 1 or shown[0] != shown[1], "in another order each time"


# The optimiser


def test_l2_by_the_role_of_a_weight() -> None:
    """Strength · Σw² has the gradient 2 · strength · w, torch's weight_decay · w: hence the doubled figures."""
    network = build(
        ConvArchitecture.from_json(_digits_network(_cell((0, 1), (0, 2))).to_json() | {"head": {"channels": 9}}), seed=0
    )
    training = _Training(network, ImageRecipe(), seed=0, classes=10)
    decay = {
        parameter: group["weight_decay"]
        for group in training.learner._optimiser.param_groups
        for parameter in group["params"]
    }
    names = dict(network.named_parameters())
    assert len(decay) == len(names)
    for name, parameter in names.items():
        expected = 0.0
        if name.endswith("shortcut.conv.weight"):
            expected = 8e-5
        elif name.endswith(("stem.conv.weight", "pointwise.conv.weight", "head.conv.weight", "classifier.weight")):
            expected = 2e-5
        assert decay[parameter] == pytest.approx(expected, rel=1e-12), name
    assert sorted({round(value, 9) for value in decay.values()}) == [0.0, 2e-5, 8e-5]


def test_a_depthwise_kernel_of_a_single_channel_has_no_l2_either() -> None:
    network = build(proxy_architecture(_cell((0, 1)), shape=(1, 4, 4), stem=1, widths=(2,)), seed=0)
    training = _Training(network, ImageRecipe(), seed=0, classes=10)
    kernel = network.get_parameter("cells.stage1_cell1.nodes.node1.depthwise.conv.weight")
    (group,) = (
        g for g in training.learner._optimiser.param_groups if any(kernel is parameter for parameter in g["params"])
    )
    assert group["weight_decay"] == 0.0


def test_equal_strengths_make_one_group_and_zero_makes_none_decay() -> None:
    network = build(_digits_network(SMALL), seed=0)
    for recipe, expected in (
        (ImageRecipe(l2=1e-4, shortcut_l2=1e-4), {2e-4, 0.0}),
        (ImageRecipe(l2=0, shortcut_l2=0), {0.0}),
    ):
        groups = _Training(network, recipe, seed=0, classes=10).learner._optimiser.param_groups
        assert {group["weight_decay"] for group in groups} == expected
        assert len(groups) == len(expected)


def test_a_cosine_climbs_and_falls_to_zero_and_the_released_rate_stays(
    digits: tuple[DeviceImages, DeviceImages],
) -> None:
    """Ten steps an epoch; half a cosine from the end of the climb, one step of twenty, to the end."""
    rates = {}
    for schedule in ("constant", "cosine"):
        recipe = ImageRecipe.model_validate(PLAIN | {"epochs": 2, "learning_rate": 0.3, "schedule": schedule})
        recipe = recipe.model_copy(update={"batch": -(-len(digits[0]) // 10)})
        learner = search_learner(_Opinion(0.0, 0.0), recipe, digits, classes=2, seed=0)
        rates[schedule] = [learner.rates.at(step) for step in range(20)]
    assert rates["constant"] == [0.3] * 20
    assert rates["cosine"] == pytest.approx(
        [0.15, *(0.15 + 0.15 * math.cos(math.pi * step / 19) for step in range(19))]
    )


def test_a_short_training_scales_the_peak_of_a_schedule(digits: tuple[DeviceImages, DeviceImages]) -> None:
    recipe = ImageRecipe.model_validate(PLAIN | {"epochs": 2, "learning_rate": 0.3, "schedule": "cosine"})
    learner = search_learner(_Opinion(*[0.0] * 10), recipe, digits, classes=10, seed=0)
    learner.scale_learning_rate(0.5)
    next(learner.epoch(0))
    assert [group["lr"] for group in learner._optimiser.param_groups] == [0.15] * len(learner._optimiser.param_groups)
