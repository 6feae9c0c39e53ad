"""Candidates trained as one program: each is held against the same candidate trained alone.

In float64, so that nothing but a mistake can tell them apart: Adam's first steps enlarge rounding, and in float32 two
trainings that differ in the last bit soon differ in accuracy.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn

from autoshrink.architecture import Architecture, ConvArchitecture, proxy_architecture
from autoshrink.architecture.base import ARCHITECTURE_FORMAT
from autoshrink.cell import Cell, Edge
from autoshrink.config import ImageNetwork, ImageRecipe, ImageSettings
from autoshrink.data import Proxy
from autoshrink.data.images import LabelledImages
from autoshrink.evaluation import Job
from autoshrink.networks import ConvNetwork, build
from autoshrink.networks.population import ConvPopulation, groups
from autoshrink.score import Evaluation
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.training.image_learner import ImageLearner, image_stops
from autoshrink.training.image_population import ImagePopulation
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.loop import Batch, Clock, Course, DeadlineError, Stops, TrainingError, Validation, fit
from autoshrink.training.population import Outcome, PopulationBatch, fit_population
from autoshrink.training.trained import TrainedEvaluator

CPU = torch.device("cpu")
OPS = ("input", "sepconv3x3", "conv1x1", "sepconv3x3", "conv1x1")
COMPLETE: tuple[Edge, ...] = tuple((i, j) for j in range(5) for i in range(j))
ONE_PASSES = ((), ((0, 1), (0, 2)), ((0, 1), (0, 2), (0, 3), (1, 3)), ((0, 1), (1, 2), (2, 4)), COMPLETE)
"""An empty cell, and one, two or three leaves: of four leaf channels each, so that with eight channels in front the
second and the third have an identity shortcut, onto different leaves."""


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything in float64, also what asks for float32."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    torch.set_default_dtype(torch.float64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)


# The network


def _architectures(cells: Sequence[Cell], **frame: Any) -> list[ConvArchitecture]:
    value = {"format": ARCHITECTURE_FORMAT, "classes": 4} | frame
    return [ConvArchitecture.from_json(value | {"cell": cell}) for cell in cells]


def _some(seed: int) -> list[ConvArchitecture]:
    """Arbitrary cells with the same operations in an arbitrary frame."""
    draw = random.Random(seed)
    nodes = draw.randint(2, 6)
    ops = ("input", *draw.choices(["conv1x1", "sepconv3x3"], k=nodes - 1))
    pairs = [(i, j) for j in range(nodes) for i in range(j)]
    cells = []
    for _ in range(draw.randint(1, 4)):
        share = draw.choice([0.1, 0.4, 0.7, 1.0])
        cells.append(Cell("conv", ops, tuple(pair for pair in pairs if draw.random() < share)))
    stages = [{"cells": draw.randint(1, 2), "width": 4, "pool": draw.choice([1, 2])} for _ in range(draw.randint(1, 3))]
    return _architectures(
        cells,
        input=[draw.choice([1, 3]), draw.choice([5, 6, 7]), draw.choice([5, 8])],
        stem={"channels": draw.choice([4, 8]), "stride": draw.choice([1, 2])},
        stages=stages,
        head=draw.choice([None, {"channels": 5}]),
        activation=draw.choice(["relu", "swish"]),
    )


def _chosen(activation: str) -> list[ConvArchitecture]:
    """Every special case at once."""
    cells = [Cell("conv", OPS, edges) for edges in ONE_PASSES]
    stages = [{"cells": 2, "width": 4, "pool": 1}, {"cells": 1, "width": 8, "pool": 2}]
    frame = {"input": [3, 7, 6], "stem": {"channels": 8, "stride": 1}}
    return _architectures(cells, **frame, stages=stages, activation=activation)


def _lively(architecture: ConvArchitecture, seed: int) -> ConvNetwork:
    """A network whose normalisations are in the middle of a training."""
    network = build(architecture, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator)
    return network


def _alone(networks: Sequence[ConvNetwork], images: Tensor, *, train: bool) -> Tensor:
    """Logits (K, B, classes) of each network alone."""
    each = images if images.dim() == 5 else images.expand(len(networks), *images.shape)
    return torch.stack([network.train(train)(x) for network, x in zip(networks, each, strict=True)])


def _check(architectures: list[ConvArchitecture], *, shared: bool) -> None:
    networks = [_lively(architecture, seed) for seed, architecture in enumerate(architectures)]
    population = ConvPopulation([architecture.plan() for architecture in architectures], networks)
    generator = torch.Generator().manual_seed(0)
    batch = (4,) if shared else (len(networks), 4)
    images = torch.randn(*batch, *architectures[0].input, generator=generator)
    towards = torch.randn(len(networks), 4, 4, generator=generator)
    for train in (False, True):
        together, alone = population.train(train)(images), _alone(networks, images, train=train)
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    (together * towards).sum().backward()
    (alone * towards).sum().backward()  # type: ignore[no-untyped-call]
    gradients = copy.deepcopy(population)
    every = zip(gradients.parameters(), population.parameters(), population.absent(), strict=True)
    for gradient, parameter, absent in every:
        assert not parameter[absent].any(), "what nobody has is zero"
        assert parameter.grad is not None
        gradient.data = parameter.grad
    for k, network in enumerate(networks):
        state, exported = network.state_dict(), population.export(k)
        assert exported.keys() == state.keys()
        torch.testing.assert_close(exported, dict(state), rtol=1e-9, atol=1e-9)
        wanted = {name: parameter.grad for name, parameter in network.named_parameters()}
        found = gradients.export(k)
        torch.testing.assert_close({name: found[name] for name in wanted}, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("activation", ["relu", "swish", "gelu"])
def test_special_cases_compute_what_they_compute_alone(float64: None, activation: str, shared: bool) -> None:
    _check(_chosen(activation), shared=shared)


@pytest.mark.parametrize("seed", range(40))
def test_any_graphs_compute_what_they_compute_alone(float64: None, seed: int) -> None:
    _check(_some(seed), shared=seed % 2 == 0)


@pytest.mark.parametrize("seed", range(8))
def test_those_that_are_kept_go_on_as_they_were(float64: None, seed: int) -> None:
    architectures = [*_some(seed), *_some(seed)] if seed else _chosen("swish")
    networks = [_lively(architecture, number) for number, architecture in enumerate(architectures)]
    population = ConvPopulation([architecture.plan() for architecture in architectures], networks)
    parameters = list(population.parameters())
    images = torch.randn(3, *architectures[0].input)
    chosen = sorted(random.Random(seed).sample(range(len(networks)), max(1, len(networks) // 2)))
    population.keep(chosen)
    assert population.size == len(chosen)
    assert all(one is other for one, other in zip(parameters, population.parameters(), strict=True))
    wanted = _alone([networks[k] for k in chosen], images, train=True)
    torch.testing.assert_close(population(images), wanted, rtol=1e-9, atol=1e-9)
    assert population.export(0).keys() == networks[chosen[0]].state_dict().keys()


def test_a_population_has_one_frame_and_one_row_of_operations() -> None:
    cells = [Cell("conv", OPS, edges) for edges in ONE_PASSES[:2]]
    other = Cell("conv", ("input", "conv1x1", *OPS[2:]), COMPLETE)
    alike = [proxy_architecture(cell, widths=(4, 8)) for cell in (*cells, other)]
    assert groups([alike[0], proxy_architecture(cells[0], widths=(8, 8)), alike[2], alike[1]]) == [[0, 3], [1], [2]]


# Its training


@pytest.fixture(scope="module")
def proxy() -> Proxy:
    """100 training and 60 validation images of scikit-learn's digits."""
    published = load_digits()
    images = (published.images[:160, None] * (255 / 16)).astype(np.uint8)
    labels = published.target[:160].astype(np.int64)
    train, validation = LabelledImages(images[:100], labels[:100]), LabelledImages(images[100:], labels[100:])
    return Proxy("digits", tuple("0123456789"), train, validation, (), (), "")


STRONG: dict[str, Any] = {"batch": 25, "l2": 0.01, "shortcut_l2": 0.05, "patience": None, "floor_epoch": None}
"""L2 so strong that a parameter in the wrong role shows."""


class _Pair:
    """The same networks in a population and each in a learner of its own."""

    def __init__(self, proxy: Proxy, seeds: Sequence[int], **recipe: Any) -> None:
        self.recipe = ImageRecipe(**(STRONG | recipe))
        norm = Normalisation.of(proxy.train.images)
        train, validation = (DeviceImages(one.images, one.labels, norm, CPU) for one in (proxy.train, proxy.validation))
        cells = [Cell("conv", OPS, edges) for edges in (ONE_PASSES[1], ONE_PASSES[3], ONE_PASSES[2], COMPLETE)]
        networks = [
            build(proxy_architecture(cell, shape=(1, 8, 8), stem=8, widths=(4, 8), activation="swish"), seed=seed)
            for cell, seed in zip(cells, seeds, strict=True)
        ]
        self.population = ImagePopulation(networks, self.recipe, (train, validation), classes=10, seeds=seeds)
        self.learners = [
            ImageLearner(network, self.recipe, (train, validation), classes=10, seed=seed)
            for network, seed in zip(networks, seeds, strict=True)
        ]

    def check(self) -> None:
        """Weights and running statistics are those of the learners."""
        for k, learner in enumerate(self.learners):
            state = dict(learner.network.state_dict())
            torch.testing.assert_close(self.population.export(k), state, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seeds", [(3, 3, 3, 3), (1, 2, 3, 4)])
@pytest.mark.parametrize("augment", [False, True])
def test_steps_epochs_and_validations_are_those_alone(
    float64: None, proxy: Proxy, seeds: tuple[int, ...], augment: bool
) -> None:
    pair = _Pair(proxy, seeds, augment=augment)
    for epoch, kept in enumerate(([0, 1, 2, 3], [1, 2, 3], [2])):
        dropped = 4 - len(pair.learners)
        pair.population.keep([k - dropped for k in kept])
        pair.learners = [pair.learners[k - dropped] for k in kept]
        steps = zip(pair.population.epoch(epoch), *(one.epoch(epoch) for one in pair.learners), strict=True)
        for batch, *alone in steps:
            assert batch.accuracies is not None
            assert batch.losses.tolist() == pytest.approx([one.loss for one in alone], rel=1e-6)
            assert batch.accuracies.tolist() == [one.accuracy for one in alone]
        validations = [learner.validate() for learner in pair.learners]
        for found, wanted in zip(pair.population.validate(), validations, strict=True):
            assert (found.correct, found.performance) == (wanted.correct, wanted.performance)
            assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
        pair.check()
    assert (pair.population.seen, pair.population.validated) == (300, 180)
    assert pair.population.epoch_samples == pair.learners[0].epoch_samples


def test_a_paused_candidate_stays_as_it_is(float64: None, proxy: Proxy) -> None:
    """Its Adam too: the epoch after is as if it had stopped learning there."""
    pair = _Pair(proxy, (1, 1, 1, 1))
    lengths = (4, 1, 2, 4)
    for epoch in range(2):
        for step, _ in enumerate(pair.population.epoch(epoch), start=1):
            pair.population.pause([k for k, length in enumerate(lengths) if length == step < 4])
        for learner, length in zip(pair.learners, lengths, strict=True):
            for _ in zip(range(length), learner.epoch(epoch), strict=False):
                pass
            learner.validate()
        pair.population.validate()
        pair.check()


def test_nan_stays_with_its_candidate(float64: None, proxy: Proxy) -> None:
    pair = _Pair(proxy, (1, 1, 1, 1), epochs=2)
    stops = image_stops(pair.recipe, 10)
    with torch.no_grad():
        pair.learners[1].network.get_parameter("stem.conv.weight").fill_(math.inf)
        next(iter(pair.population._network.stem.parameters()))[1] = math.inf
    found = {
        position: (outcome, seen, done) for position, outcome, seen, done in fit_population(pair.population, stops)
    }
    for k, learner in enumerate(pair.learners):
        assert _plain(found[k]) == _plain(_fitted(learner, stops)), k
    assert found[1] == ("the training loss became nan in epoch 1, batch 1", 25, 0)


# The loop


Result = tuple[Outcome, int, int]


def _fitted(learner: Any, stops: Stops, clock: Clock | None = None) -> Result:
    try:
        outcome: Outcome = fit(learner, stops, clock=clock)
    except TrainingError as error:
        outcome = str(error)
    return outcome, learner.seen, learner.validated


def _plain(result: Result) -> tuple[object, ...]:
    """Without the loss of the best epoch, which is rounded."""
    outcome, seen, validated = result
    if isinstance(outcome, str):
        return outcome, seen, validated
    assert outcome.best is not None
    return outcome.curve, outcome.ended, outcome.best.correct, seen, validated


Figures = list[list[tuple[float, float, float]]]
"""Loss, accuracy and validation loss: an epoch of batches of them, the last batch's for validation."""


class _Watch:
    """A clock that training moves on."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class _MadeUp:
    """One candidate with made-up figures, alone; a batch costs a second."""

    def __init__(self, figures: Figures, watch: _Watch | None = None) -> None:
        self._watch = watch or _Watch()
        self.figures = figures
        self.seen = self.validated = self._epoch = 0
        self.epoch_samples, self.guess_loss = 30, 5.0

    def epoch(self, epoch: int) -> Iterator[Batch]:
        self._epoch = epoch
        for loss, accuracy, _ in self.figures[epoch]:
            self.seen += 10
            self._watch.time += 1
            yield Batch(loss, 10, accuracy)

    def validate(self) -> Validation:
        self.validated += 7
        loss = self.figures[self._epoch][-1][2]
        return Validation(1 / (1 + loss), loss)


class _Together:
    """The same as a population; it notes what it was told. A batch costs a second for each that lives."""

    def __init__(self, every: list[Figures], watch: _Watch | None = None) -> None:
        self._watch = watch or _Watch()
        self.live = list(enumerate(every))
        self.size, self.epoch_samples, self.guess_loss = len(every), 30, 5.0
        self.seen = self.validated = self._epoch = self._step = 0
        self.paused: list[tuple[int, int, int]] = []
        self.trained: list[tuple[int, int]] = []

    def epoch(self, epoch: int) -> Iterator[PopulationBatch]:
        self._epoch = epoch
        for step, figures in enumerate(zip(*(figures[epoch] for _, figures in self.live), strict=True)):
            self._step = step
            self._watch.time += self.size
            self.trained += [(position, epoch) for position, _ in self.live]
            columns = torch.tensor(figures, dtype=torch.float64).T
            yield PopulationBatch(columns[0], 10, columns[1])

    def pause(self, positions: Sequence[int]) -> None:
        self.paused += [(self.live[k][0], self._epoch, self._step) for k in positions]

    def validate(self) -> list[Validation]:
        self.validated += 7
        losses = [figures[self._epoch][-1][2] for _, figures in self.live]
        return [Validation(1 / (1 + loss), loss) for loss in losses]

    def keep(self, positions: Sequence[int]) -> None:
        assert positions, "there is no population of none"
        self.live = [self.live[k] for k in positions]
        self.size = len(self.live)


POSITIVE = st.floats(0.1, 60) | st.just(math.nan) | st.floats(0.1, 4)
FIGURES = st.lists(
    st.lists(st.tuples(POSITIVE, st.floats(0, 1), POSITIVE), min_size=3, max_size=3), min_size=5, max_size=5
)


SHARE = st.none() | st.floats(0.1, 0.9)
STOPS = st.builds(
    Stops,
    epochs=st.just(5),
    patience=st.none() | st.integers(1, 3),
    accuracy=SHARE,
    overfit_ratio=st.none() | st.floats(0.5, 4),
    floor=st.none() | st.tuples(st.just(1), st.floats(0.1, 0.9)),
    worst=SHARE,
)


@given(st.lists(FIGURES, min_size=1, max_size=4), STOPS)
@settings(max_examples=150, deadline=None)
def test_each_ends_as_it_does_alone(every: list[Figures], stops: Stops) -> None:
    told: list[tuple[int, Course]] = []
    together = _Together(every)
    courses_of = fit_population(together, stops, on_epoch=lambda position, course: told.append((position, course)))
    found = {position: (outcome, seen, validated) for position, outcome, seen, validated in courses_of}
    assert len(found) == len(every)
    for position, figures in enumerate(every):
        alone, courses = _MadeUp(figures), list[Course]()
        assert repr(found[position]) == repr(_fitted(alone, stops)), "repr, since NaN is not itself"
        with suppress(TrainingError):
            fit(_MadeUp(figures), stops, on_epoch=courses.append)
        assert repr([course for told_to, course in told if told_to == position]) == repr(courses)


def _calm(epochs: int, *, nan_in: int | None = None, accuracy: float = 0.0) -> Figures:
    return [[(math.nan if epoch == nan_in else 1.0, accuracy, 1.0)] * 3 for epoch in range(epochs)]


def test_who_has_ended_is_trained_no_more_and_who_has_left_is_paused() -> None:
    every = [_calm(3), _calm(3, nan_in=1), _calm(3, accuracy=0.9)]
    together = _Together(every)
    order = [position for position, *_ in fit_population(together, Stops(epochs=3, accuracy=0.8))]
    assert order == [1, 0, 2]
    assert {epoch for position, epoch in together.trained if position == 1} == {0, 1}
    # A failed one leaves the epoch as well.
    assert together.paused == [(2, 0, 0), (1, 1, 0), (2, 1, 0), (2, 2, 0)]


@pytest.mark.parametrize("limit", [0.5, 2.5, 3.5, 4.5, 7.5, 13.5, 99.0])
def test_those_that_live_share_the_time(limit: float) -> None:
    """A batch costs a second for each live candidate: everyone gets as many in its time as alone."""
    every = [_calm(5), _calm(5, nan_in=1), _calm(5), _calm(5, nan_in=0)]
    watch = _Watch()
    together = fit_population(_Together(every, watch), Stops(epochs=5), clock=Clock(limit, now=watch))
    found = {position: (outcome, seen, validated) for position, outcome, seen, validated in together}
    for position in (0, 2):
        alone = _Watch()
        assert found[position] == _fitted(_MadeUp(every[position], alone), Stops(epochs=5), Clock(limit, now=alone))


def test_nan_is_named_also_where_time_was_up() -> None:
    watch = _Watch()
    together = _Together([_calm(2, nan_in=0)], watch)
    found = list(fit_population(together, Stops(epochs=2), clock=Clock(1.5, now=watch)))
    assert found == [(0, "the training loss became nan in epoch 1, batch 1", 10, 0)]


def test_at_the_deadline_of_the_search_it_stops() -> None:
    watch = _Watch()
    courses = fit_population(_Together([_calm(2)], watch), Stops(epochs=2), clock=Clock(search=4.5, now=watch))
    with pytest.raises(DeadlineError):
        next(courses)
    assert watch.time == 5


# The evaluator


JOBS = [
    *(Job(Cell("conv", OPS, COMPLETE).without(edge), 5) for edge in ((0, 1), (0, 4), (3, 4))),
    Job(Cell("conv", ("input", "conv1x1", *OPS[2:]), COMPLETE), 5),
    Job(Cell("conv", OPS, ()), 5),
]


class _Problem(ImageProblem):
    """Notes how many were trained together; more than `most` do not fit."""

    def __init__(self, proxy: Proxy, most: int = 99, **recipe: Any) -> None:
        chosen = ImageRecipe(**({"epochs": 3, "batch": 25} | recipe))
        super().__init__(ImageSettings(network=ImageNetwork(stem=8, widths=(4, 8)), recipe=chosen), proxy, CPU)
        self.sizes: list[int] = []
        self._most = most

    def population(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> ImagePopulation:
        self.sizes.append(len(architectures))
        if len(architectures) > self._most:
            raise MemoryError
        return super().population(architectures, seeds)


def _evaluate(problem: ImageProblem, jobs: Sequence[Job], population: int) -> dict[int, Evaluation]:
    return dict(TrainedEvaluator(problem, threads=1, population=population).evaluate(jobs))


def _timeless(evaluations: dict[int, Evaluation]) -> dict[int, Evaluation]:
    return {k: replace(one, spent=replace(one.spent, seconds=0.0)) for k, one in evaluations.items()}


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("recipe", [{}, {"stop_accuracy": 0.2, "overfit_ratio": 1.0, "learning_rate": 0.02}])
def test_evaluations_are_those_one_by_one(float64: None, proxy: Proxy, paired: bool, recipe: dict[str, Any]) -> None:
    jobs = JOBS if paired else [replace(job, seed=seed) for seed, job in enumerate(JOBS)]
    problem = _Problem(proxy, **recipe)
    together = _evaluate(problem, jobs, 3)
    assert problem.sizes == [3], "the fourth has other operations, and the fifth is left alone"
    assert _timeless(together) == _timeless(_evaluate(problem, jobs, 1))
    if recipe:
        assert any(one.spent.samples % 100 for one in together.values()), "some have left an epoch early"


def test_who_ends_first_is_told_first(float64: None, proxy: Proxy) -> None:
    jobs = [replace(job, seed=seed) for job, seed in zip([*JOBS[:3], JOBS[4]], (0, 1, 2, 3), strict=True)]
    problem = _Problem(proxy, epochs=6, patience=1, floor_epoch=None, learning_rate=0.02)
    together = _evaluate(problem, jobs, 4)
    assert list(together) != sorted(together)
    assert _timeless(together) == _timeless(_evaluate(problem, jobs, 1))


def test_what_does_not_fit_is_trained_by_halves(float64: None, proxy: Proxy) -> None:
    wanted = _timeless(_evaluate(_Problem(proxy, epochs=1), JOBS, 1))
    for most, sizes in {2: [4, 2, 2], 1: [4, 2, 2]}.items():
        problem = _Problem(proxy, most, epochs=1)
        assert _timeless(_evaluate(problem, JOBS, 9)) == wanted
        assert problem.sizes == sizes


def test_their_seconds_add_up(proxy: Proxy) -> None:
    jobs = [JOBS[0], JOBS[1]]
    problem = _Problem(proxy, epochs=1)
    first, second = _evaluate(problem, jobs, 2).values()
    assert first.spent.seconds > 0
    assert second.spent.seconds > 0


def test_an_evaluation_in_flight_is_dropped_at_the_deadline(proxy: Proxy) -> None:
    assert not list(TrainedEvaluator(_Problem(proxy), population=3).evaluate(JOBS[:3], deadline=0.0))


def test_other_errors_are_not_hidden(proxy: Proxy) -> None:
    class Broken(_Problem):
        def population(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> ImagePopulation:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        _evaluate(Broken(proxy), JOBS, 3)
