"""Language models that are trained as one program: each is what it is alone, forward, backward, step by step, to the
end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoshrink.architecture import Architecture, LibraryArchitecture, RecurrentArchitecture, recurrent_proxy
from autoshrink.cell import Cell, Edge
from autoshrink.config import TextRecipe, resolve
from autoshrink.config.text import TextSettings
from autoshrink.data import TextProxy, Vocabulary
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.networks import LanguageNetwork, Masks, build
from autoshrink.networks.language_population import LanguagePopulation
from autoshrink.ops import DEFAULTS
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.loop import History, Stops, TrainingError, fit
from autoshrink.training.population import fit_population
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, measure, text_stops
from autoshrink.training.text_population import TextPopulation, clip_each, groups, measure_each
from text_fixtures import sentences

CPU = torch.device("cpu")
END = 1
MASKS = [field.name for field in fields(Masks)]
DROPOUT = dict.fromkeys(MASKS, 0.3)
WORDS = 7


def _cell(ops: str, *edges: Edge) -> Cell:
    """T for tanh, S for sigmoid, R for relu, I for identity."""
    names = {op[0].upper(): op for op in DEFAULTS["recurrent"]}
    return Cell("recurrent", ("input", *(names[op] for op in ops)), edges)


FULL = _cell("TSR", *combinations(range(4), 2))
CELLS = (
    FULL,
    FULL.without((1, 2)),
    _cell("TSR", (0, 1), (0, 3)),  # two leaves, and no node 2
    _cell("TSR"),  # node 0 alone
    _cell("RTI", (0, 1), (1, 2), (0, 3), (2, 3)),  # other activations
)


def _network(
    cell: Cell, *, seed: int = 0, vocabulary: int = WORDS, aggregate: Any = "mean", start: float = 0.8
) -> LanguageNetwork:
    architecture = recurrent_proxy(cell, vocabulary=vocabulary, width=5, aggregate=aggregate)
    return build(architecture, seed=seed, initial_range=start).double()


def _named_gradients(population: LanguagePopulation, k: int) -> dict[str, Tensor]:
    """Of the k-th candidate, by its network's names: a population of gradients is exported like one of weights."""
    held = LanguagePopulation(population.plans).double()
    for place, parameter in zip(held.parameters(), population.parameters(), strict=True):
        assert parameter.grad is not None
        place.data = parameter.grad
    return held.export(k)


def _close(found: Tensor, expected: Tensor, rtol: float = 1e-9, what: str | None = None) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-11, msg=what and (lambda told: f"{what}: {told}"))


# The networks


@dataclass(frozen=True)
class Case:
    """Candidates, and the sizes of what goes through them."""

    architectures: tuple[RecurrentArchitecture, ...]
    steps: int
    streams: int
    masks: str
    own_text: bool


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    nodes, count = draw(st.integers(2, 6)), draw(st.integers(1, 4))
    width, vocabulary = draw(st.integers(1, 4)), draw(st.integers(3, 6))
    pairs = list(combinations(range(nodes), 2))
    wirings: st.SearchStrategy[list[Edge]] = st.one_of(
        st.just(pairs), st.just([]), st.lists(st.sampled_from(pairs), unique=True)
    )
    activations = st.lists(st.sampled_from(DEFAULTS["recurrent"]), min_size=nodes - 1, max_size=nodes - 1)
    same = draw(activations) if draw(st.booleans()) else None
    architectures = []
    for _ in range(count):
        cell = Cell("recurrent", ("input", *(same or draw(activations))), tuple(draw(wirings)))
        usable = cell.reachable[1:] or (0,)
        output = draw(st.one_of(st.just("leaves"), st.lists(st.sampled_from(usable), min_size=1, unique=True)))
        proxy = recurrent_proxy(
            cell, vocabulary=vocabulary, width=width, aggregate=draw(st.sampled_from(("mean", "sum")))
        )
        given_output = output if isinstance(output, str) else sorted(output)
        architectures.append(RecurrentArchitecture.from_json(proxy.to_json() | {"output": given_output}))
    return Case(
        tuple(architectures),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from(("none", "shared", "own"))),
        draw(st.booleans()),
    )


def _masks(case: Case, generator: torch.Generator) -> Masks:
    if case.masks == "none":
        return Masks()
    first = case.architectures[0]
    shapes = dict.fromkeys(MASKS, (case.streams, first.width)) | {"words": (first.vocabulary,)}
    lead = (len(case.architectures),) if case.masks == "own" else ()
    drawn = {name: torch.rand(*lead, *shape, generator=generator) for name, shape in shapes.items()}
    return Masks(**{name: (mask > 0.3).double() * 1.5 for name, mask in drawn.items()})


@given(_cases(), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_states_losses_and_gradients_are_those_of_each_network_alone(case: Case, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, first = len(case.architectures), case.architectures[0]
    networks = [
        build(architecture, seed=seed + k, initial_range=0.7).double()
        for k, architecture in enumerate(case.architectures)
    ]
    population, masks = LanguagePopulation.of(networks), _masks(case, generator)
    lead = (count,) if case.own_text else ()
    tokens, targets = torch.randint(
        first.vocabulary, (2, *lead, case.steps, case.streams), generator=generator
    ).unbind()
    state = torch.randn(count, case.streams, first.width, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.randn(case.steps, case.streams, first.width, generator=generator, dtype=torch.float64)

    outputs, last = population.features(tokens, state, masks)
    losses = population.loss(outputs, targets)
    (losses.sum() + (outputs * weights).sum()).backward()  # type: ignore[no-untyped-call]
    assert state.grad is not None
    each = population.token_losses(outputs, targets)
    for k, network in enumerate(networks):
        own = [getattr(masks, name) for name in MASKS]
        alone = Masks(*[mask[k] if case.masks == "own" else mask for mask in own])
        read, wanted = (tensor[k] if case.own_text else tensor for tensor in (tokens, targets))
        before = state.detach()[k : k + 1].clone().requires_grad_()
        expected, after = network.features(read, before, alone)
        loss = network.loss(expected, wanted)
        (loss + (expected * weights).sum()).backward()  # type: ignore[no-untyped-call]
        _close(outputs[k], expected)
        _close(last[k], after[0])
        _close(losses[k], loss)
        _close(each[k], network.token_losses(expected, wanted))
        assert before.grad is not None
        _close(state.grad[k], before.grad[0])
        gradients = _named_gradients(population, k)
        assert set(gradients) == {name for name, _ in network.named_parameters()}
        for name, parameter in network.named_parameters():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            _close(gradients[name], gradient, what=name)


def test_candidates_start_from_and_export_the_very_weights_of_the_networks_alone() -> None:
    networks = [_network(cell, seed=seed) for seed, cell in enumerate(CELLS)]
    population = LanguagePopulation.of(networks)
    for picked, positions in ((population, range(len(CELLS))), (population.kept([4, 1]), [4, 1])):
        for place, k in enumerate(positions):
            exported, expected = picked.export(place), networks[k].state_dict()
            assert exported.keys() == expected.keys()
            assert all(torch.equal(exported[name], expected[name]) for name in expected)


def test_an_edge_that_a_candidate_lacks_weighs_nothing_and_learns_nothing() -> None:
    population = LanguagePopulation.of([_network(cell) for cell in CELLS])
    tokens = torch.arange(12).view(4, 3) % WORDS
    outputs, _ = population.features(tokens, population.initial_state(3))
    population.loss(outputs, tokens).sum().backward()  # type: ignore[no-untyped-call]
    lacking = 0
    for fan, weight in zip(population.wiring.fans, population.fan_weights, strict=True):
        assert weight.grad is not None
        for column, edge in enumerate(fan.edges):
            for k, plan in enumerate(population.plans):
                own = edge in plan.edges
                lacking += not own
                assert bool(weight[k, :, :, column].any()) == own
                assert bool(weight.grad[k, :, :, column].any()) == own
    assert lacking > 10


def test_what_only_others_had_is_gone_when_they_are() -> None:
    kept = LanguagePopulation.of([_network(cell) for cell in CELLS]).kept([2, 3])
    assert [fan.edges for fan in kept.wiring.fans] == [((0, 1), (0, 3))]
    assert kept.wiring.mean.shape == (2, 1, 3)


def test_the_decoder_s_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 35 rows, blocks of 1, of 4 (with a rest of 3), and of all."""
    found = []
    for rows in (1, 4, 100):
        monkeypatch.setattr("autoshrink.networks.decoder.BLOCK_ELEMENTS", rows * 2 * WORDS)
        population = LanguagePopulation.of([_network(cell) for cell in CELLS[:2]])
        tokens = torch.arange(35).view(7, 5) % WORDS
        outputs, _ = population.features(tokens, population.initial_state(5))
        population.loss(outputs, tokens).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in population.parameters() if parameter.grad is not None]
        found.append([*gradients, population.token_losses(outputs, tokens)])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            _close(one, two)


# Clipping


def test_each_candidate_is_clipped_by_its_own_norm_as_torch_does_it() -> None:
    """Norms far below, near and far above the limit; so small a limit shows torch's 1e-6, too."""
    shapes, scales, limit = ((4, 2), (6,), (2, 3, 2)), (1e-6, 3e-6, 5.0), 1e-5
    drawn = [torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).double() for shape in shapes]
    alone = [[nn.Parameter(torch.zeros(shape).double()) for shape in shapes] for _ in scales]
    together = [nn.Parameter(torch.zeros_like(gradients)) for gradients in drawn]
    for parameter, gradients in zip(together, drawn, strict=True):
        parameter.grad = torch.stack([gradients[k] * scale for k, scale in enumerate(scales)])
    clip_each(together, limit)
    norms = []
    for k, parameters in enumerate(alone):
        for parameter, gradients in zip(parameters, drawn, strict=True):
            parameter.grad = gradients[k] * scales[k]
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, limit)))
        for parameter, stacked in zip(parameters, together, strict=True):
            assert parameter.grad is not None
            assert stacked.grad is not None
            torch.testing.assert_close(stacked.grad[k], parameter.grad, rtol=1e-12, atol=0)
    assert norms[0] < limit * 0.6 < limit < norms[1] < limit * 2 < norms[2]


# Learning


def _text(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, WORDS, length).astype(np.int32)


def _recipe(**changes: Any) -> TextRecipe:
    base = {"epochs": 2, "batch": 3, "bptt": 10, "learning_rate": 2.0, "clip": 0.4, "drops": (1,)}
    return TextRecipe.model_validate(base | changes)


def _data(validation: int = 50) -> tuple[Streams, Streams]:
    """The validation text is ragged: its last stream ends before the others."""
    return (
        Streams.of(_text(130), 3, end=END, device=CPU, trim=True),
        Streams.of(_text(validation, 1), 4, end=END, device=CPU),
    )


SEEDS = (3,) * len(CELLS)


def _learners(recipe: TextRecipe, seeds: Sequence[int] = SEEDS) -> list[TextLearner]:
    return [
        TextLearner(_network(cell, seed=seed), recipe, _data(), seed=seed)
        for cell, seed in zip(CELLS, seeds, strict=True)
    ]


def _together(recipe: TextRecipe, seeds: Sequence[int] = SEEDS) -> TextPopulation:
    networks = [_network(cell, seed=seed) for cell, seed in zip(CELLS, seeds, strict=True)]
    return TextPopulation(networks, recipe, _data(), seeds=seeds)


def _assert_same_epoch(population: TextPopulation, learners: Sequence[TextLearner], epoch: int) -> None:
    """Trained and validated, they are the same to rounding errors."""
    batches = list(population.epoch(epoch))
    found = [population.size, population.seen, population.epoch_samples, population.guess_loss]
    validations = population.validate()
    for k, learner in enumerate(learners):
        alone = list(learner.epoch(epoch))
        assert [batch.samples for batch in batches] == [batch.samples for batch in alone]
        expected = torch.tensor([batch.loss for batch in alone], dtype=torch.float64)
        _close(torch.stack([batch.losses for batch in batches])[:, k], expected, rtol=1e-7)
        assert found == [len(learners), learner.seen, learner.epoch_samples, learner.guess_loss]
        _assert_same_weights(population.population, k, learner.network)
        wanted, validation = learner.validate(), validations[k]
        assert validation.parts is not None
        assert validation.performance == -validation.loss == pytest.approx(wanted.performance, rel=1e-7)
        assert validation.parts == pytest.approx(wanted.parts, rel=1e-6)
        assert population.validated == learner.validated


def _assert_same_weights(population: LanguagePopulation, k: int, network: LanguageNetwork) -> None:
    exported = population.export(k)
    for name, tensor in network.state_dict().items():
        _close(exported[name], tensor, rtol=1e-6, what=name)


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "fixed lengths": {"random_lengths": False, "bptt": 12},
    "no clipping": {"clip": 1e6, "learning_rate": 0.3},
    "dropout": {"dropout": DROPOUT},
    "penalties": {"activation_penalty": 0.7, "temporal_penalty": 0.9, "dropout": {"output": 0.4}},
    "a step a chunk": {"temporal_penalty": 0.9, "bptt": 1, "random_lengths": False, "learning_rate": 0.1},
    "weight decay": {"l2": 0.05},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_each_as_it_is_trained_alone(name: str) -> None:
    recipe = _recipe(**RECIPES[name])
    population, learners = _together(recipe), _learners(recipe)
    for epoch in range(2):
        _assert_same_epoch(population, learners, epoch)


def test_seeds_may_differ_where_no_length_is_drawn() -> None:
    """Each draws its own masks then, also when others have gone."""
    recipe = _recipe(random_lengths=False, dropout=DROPOUT)
    seeds = (1, 2, 2, 3, 1)
    population, learners = _together(recipe, seeds), _learners(recipe, seeds)
    _assert_same_epoch(population, learners, 0)
    population.keep([1, 3])
    _assert_same_epoch(population, [learners[1], learners[3]], 1)


def test_who_takes_other_chunks_is_trained_apart() -> None:
    cells: list[Architecture] = [recurrent_proxy(cell, vocabulary=WORDS, width=5) for cell in CELLS]
    library = LibraryArchitecture(kind="lstm", vocabulary=WORDS, width=5)
    fixed = _recipe(random_lengths=False)
    assert groups(cells, SEEDS, _recipe()) == [[0, 1, 2, 3, 4]]
    assert groups(cells, (1, 2, 1, 3, 2), _recipe()) == [[0, 2], [1, 4], [3]]
    assert groups(cells, (1, 2, 1, 3, 2), fixed) == [[0, 1, 2, 3, 4]]
    assert groups([cells[0], library, cells[1], library], (1, 1, 1, 1), fixed) == [[0, 2], [1], [3]]
    wider = recurrent_proxy(CELLS[0], vocabulary=WORDS, width=6)
    assert groups([cells[0], wider, cells[1], wider], (1, 1, 1, 1), fixed) == [[0, 2], [1, 3]]


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_those_that_are_kept_go_on_as_if_alone(optimiser: str) -> None:
    """Whatever the optimiser remembers of a weight stays with it."""
    schedule = {"adam": {"learning_rate": 0.01, "schedule": "cosine"}}.get(optimiser, {})
    recipe = _recipe(dropout=DROPOUT, epochs=4, optimiser=optimiser, **schedule)
    population, learners = _together(recipe), _learners(recipe)
    for epoch, kept in enumerate(([0, 2, 3, 4], [1, 3], [1], [0])):
        _assert_same_epoch(population, learners, epoch)
        population.keep(kept)
        learners = [learners[k] for k in kept]
    assert population.size == 1
    assert [fan.edges for fan in population.population.wiring.fans] == [((0, 1), (0, 3)), ((1, 2),), ((2, 3),)]


def test_averages_begin_for_each_by_its_own_curve() -> None:
    """The candidates that begin too sure of one word get better for longer; one is let go in between."""
    recipe = _recipe(averaging=1, epochs=7, learning_rate=1.0, drops=())
    population, learners = _together(recipe), _learners(recipe)
    with torch.no_grad():
        for k, sure in ((1, 3.0), (3, 6.0)):
            learners[k].network.decoder_bias[0] = sure
            population.population.decoder_bias[k, 0] = sure
    begun, twice = [], 0
    for epoch in range(6):
        _assert_same_epoch(population, learners, epoch)
        steps = [None if learner.average is None else int(learner.average.n_averaged) for learner in learners]
        assert population.averaged == steps
        begun.append(sum(step is not None for step in steps) / len(steps))
        if 0 in steps and any(steps):
            # An average that has seen no step says nothing yet.
            again = [validation.performance for validation in population.validate()]
            assert again == pytest.approx([learner.validate().performance for learner in learners], rel=1e-7)
            twice += 1
        if epoch == 3:
            population.keep([0, 1, 3, 4])
            learners = [learners[k] for k in (0, 1, 3, 4)]
    assert begun[0] == 0
    assert any(0 < share < 1 for share in begun[:-2]), begun
    assert begun[-2] > 0.5
    assert twice


def test_a_candidate_that_is_lost_does_not_disturb_the_others() -> None:
    """Bit for bit: beside a candidate of NaN or infinity they are what they are beside a healthy one."""
    recipe = _recipe(dropout=DROPOUT, l2=0.01, activation_penalty=0.1, averaging=1)
    losses, weights, validations = [], [], []
    for poison in (None, math.nan, math.inf):
        population = _together(recipe)
        if poison is not None:
            with torch.no_grad():
                population.population.input_weight[1] = poison
        epochs = [list(population.epoch(epoch)) for epoch in range(2)]
        told = torch.stack([batch.losses for batches in epochs for batch in batches])
        assert bool(told[:, 1].isfinite().all()) == (poison is None)
        losses.append(told[:, [0, 2, 3, 4]])
        weights.append([population.population.export(k) for k in (0, 2, 3, 4)])
        validations.append([validation for k, validation in enumerate(population.validate()) if k != 1])
    for case in (1, 2):
        assert torch.equal(losses[case], losses[0])
        assert validations[case] == validations[0]
        for one, two in zip(weights[case], weights[0], strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("length", "chunk"), [(50, 10), (48, 5), (41, 100), (9, 1)])
def test_perplexity_is_that_of_each_alone(length: int, chunk: int) -> None:
    networks = [_network(cell) for cell in CELLS]
    streams = _data(length)[1]
    found = measure_each(LanguagePopulation.of(networks), streams, chunk)
    for network, validation in zip(networks, found, strict=True):
        expected = measure(network, streams, chunk)
        assert validation.loss == pytest.approx(expected.loss, rel=1e-10)
        assert validation.parts == pytest.approx(expected.parts, rel=1e-9)
        assert validation.correct is None


# Whole trainings


def _sentences() -> tuple[tuple[Streams, Streams], int]:
    """Sentences of ten words, and how large the vocabulary is."""
    texts = [sentences(count, seed).replace("\n", " \n ").split(" ") for seed, count in enumerate((60, 20))]
    words = [[word for word in text if word and word != "\n"] for text in texts]
    vocabulary = Vocabulary.build(words, level="word", max_size=None, min_count=1)
    train, valid = (vocabulary.encode(each) for each in words)
    return (
        Streams.of(train, 4, end=vocabulary.end, device=CPU, trim=True),
        Streams.of(valid, 3, end=vocabulary.end, device=CPU),
    ), len(vocabulary)


def _alone(learner: TextLearner, stops: Stops) -> History | str:
    try:
        return fit(learner, stops)
    except TrainingError as error:
        return str(error)


def test_whole_trainings_end_each_as_alone() -> None:
    """With dropout, penalties and random lengths; some run out of patience, one is NaN, one learns nothing."""
    data, vocabulary = _sentences()
    recipe = TextRecipe.model_validate(
        {"epochs": 7, "batch": 4, "bptt": 12, "learning_rate": 12.0, "patience": 1, "drops": (2,)}
        | {"dropout": {"hidden": 0.2, "output": 0.2, "words": 0.05}, "activation_penalty": 0.1, "l2": 1e-5}
    )
    cells = [*CELLS, FULL, _cell("TSR", (0, 1), (1, 2), (2, 3))]

    def networks() -> list[LanguageNetwork]:
        built = [_network(cell, vocabulary=vocabulary, start=0.3) for cell in cells]
        with torch.no_grad():
            built[5].decoder_bias.fill_(math.nan)
            # So sure of one word that seven epochs do not talk it out of that.
            built[6].decoder_bias[0] = 25.0
        return built

    stops = text_stops(recipe, vocabulary)
    learners = [TextLearner(network, recipe, data, seed=4) for network in networks()]
    expected = [_alone(learner, stops) for learner in learners]
    told: list[tuple[int, int]] = []
    found = {}
    population = TextPopulation(networks(), recipe, data, seeds=[4] * len(cells))
    for position, outcome, seen, validated in fit_population(
        population, stops, on_epoch=lambda place, history: told.append((place, len(history.curve)))
    ):
        found[position] = outcome
        assert (seen, validated) == (learners[position].seen, learners[position].validated)
    assert sorted(found) == list(range(len(cells)))
    for k, history in enumerate(expected):
        outcome = found[k]
        if isinstance(history, str):
            assert outcome == history
            continue
        assert isinstance(outcome, History)
        assert outcome.ended == history.ended
        assert outcome.curve == pytest.approx(history.curve, rel=1e-6)
        assert [place for place, _ in told].count(k) == len(history.curve)
        assert outcome.best is not None
        assert history.best is not None
        assert outcome.best.parts == pytest.approx(history.best.parts, rel=1e-5)
    assert expected[5] == "the training loss became nan in epoch 1, batch 1"
    ends = {history if isinstance(history, str) else history.ended for history in expected}
    lengths = {len(history.curve) for history in expected if isinstance(history, History)}
    assert len(ends) >= 3, ends
    assert len(lengths) >= 2, lengths


class _Problem(TextProblem):
    """Notes how many were trained together; more than `most` do not fit."""

    most = 99
    sizes: tuple[int, ...] = ()

    def population(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> TextPopulation:
        self.sizes += (len(architectures),)
        if len(architectures) > self.most:
            raise MemoryError
        return super().population(architectures, seeds)


def _problem(**recipe: Any) -> _Problem:
    words = " ".join(sentences(count, seed) for seed, count in enumerate((40, 10))).split()
    vocabulary = Vocabulary.build([words], level="word", max_size=None, min_count=1)
    tokens = vocabulary.encode(words)
    proxy = TextProxy("sentences", vocabulary, tokens[:160], tokens[160:], 1, 1, 0.0, "", ())
    base = {"epochs": 2, "batch": 4, "validation_batch": 2, "bptt": 8, "learning_rate": 1.0}
    asked = resolve({"task": "text", "data": {"spec": "s"}, "network": {"width": 6}, "recipe": base | recipe})
    assert isinstance(asked, TextSettings)
    return _Problem(asked, proxy, CPU)


@pytest.mark.parametrize("seeds", [(5, 5, 5, 5, 5), (5, 6, 5, 6, 7)])
def test_a_search_s_evaluations_are_those_of_one_by_one(seeds: tuple[int, ...]) -> None:
    """In float32, from the task's own problem, whoever is grouped with whom."""
    problem = _problem(dropout={"hidden": 0.1})
    jobs = [Job(cell, seed) for cell, seed in zip(CELLS, seeds, strict=True)]
    together, alone = (
        dict(TrainedEvaluator(problem, Conditions(threads=1), population=size).evaluate(jobs))
        for size in (len(jobs), 1)
    )
    assert sorted(together) == sorted(alone) == [0, 1, 2, 3, 4]
    for position, expected in alone.items():
        found = together[position]
        assert (found.cell, found.seed, found.ended) == (expected.cell, expected.seed, expected.ended)
        assert found.resources == expected.resources
        assert found.spent.samples == expected.spent.samples
        assert found.curve == pytest.approx(expected.curve, rel=1e-4)
        assert found.parts == pytest.approx(expected.parts, rel=1e-3)


def test_what_does_not_fit_is_trained_by_halves() -> None:
    jobs = [Job(cell, 5) for cell in CELLS]
    wanted = dict(TrainedEvaluator(_problem(epochs=1), Conditions(threads=1)).evaluate(jobs))
    for most, sizes in {3: (5, 3, 2), 2: (5, 3, 2, 2)}.items():
        problem = _problem(epochs=1)
        problem.most = most
        found = dict(TrainedEvaluator(problem, Conditions(threads=1), population=9).evaluate(jobs))
        assert problem.sizes[: len(sizes)] == sizes
        for position, expected in wanted.items():
            assert found[position].curve == pytest.approx(expected.curve, rel=1e-4)
            assert found[position].spent.samples == expected.spent.samples
            assert found[position].spent.seconds > 0


def test_what_is_in_flight_is_dropped_at_the_deadline() -> None:
    jobs = [Job(cell, 5) for cell in CELLS]
    assert not list(TrainedEvaluator(_problem(), population=3).evaluate(jobs, deadline=0.0))


def test_other_errors_are_not_hidden() -> None:
    class Broken(_Problem):
        def population(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> TextPopulation:
            raise RuntimeError("shapes differ")

    problem = _problem()
    problem.__class__ = Broken
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(TrainedEvaluator(problem, population=3).evaluate([Job(cell, 5) for cell in CELLS]))
