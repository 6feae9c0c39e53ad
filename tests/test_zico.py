"""ZiCo: the score's algebra by hand, the gradients a second way, which layers count, costs, and the fitted penalty."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise, permutations
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from autoshrink import zoo
from autoshrink.architecture import LanguageModel, language_model, proxy_architecture, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.config import ImageSettings, resolve
from autoshrink.config.text import TextSettings
from autoshrink.cost import count
from autoshrink.data import Proxy, TextProxy, Vocabulary
from autoshrink.data.images import LabelledImages
from autoshrink.errors import InputError
from autoshrink.evaluators.zico.score import ZicoScorer, fitted_penalty, zico
from autoshrink.networks import ImageNetwork, LanguageNetwork, build, reference
from autoshrink.networks.conv import ConvCell
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.priors import random_cells
from autoshrink.ranking import spearman
from autoshrink.score import Spent
from autoshrink.tasks.image.problem import ImageProblem
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.gradients import LayerGradients, image_gradients, text_gradients
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.text import Streams

CPU = torch.device("cpu")
CONV = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
RECURRENT = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2)))
STEPS, STREAMS, WORDS, WIDTH = 6, 4, 9, 5


def _layers(**values: list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(numbers) for name, numbers in values.items()}


def _images(number: int = 60, size: int = 6) -> DeviceImages:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (number, 1, size, size), dtype=np.uint8)
    return DeviceImages(pixels, rng.integers(0, 3, number), Normalisation.of(pixels), CPU)


def _conv(cell: Cell = CONV, *, stem: int = 4, widths: tuple[int, ...] = (4, 4), seed: int = 0) -> ImageNetwork:
    return build(proxy_architecture(cell, shape=(1, 6, 6), classes=3, stem=stem, widths=widths), seed=seed)


def _tokens(number: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, WORDS, number).astype(np.int32)


def _streams(length: int = 40) -> Streams:
    return Streams.of(_tokens(length * STREAMS), STREAMS, end=1, device=CPU, trim=True)


def _language(cell: Cell = RECURRENT, *, seed: int = 0) -> LanguageNetwork:
    return build(recurrent_proxy(cell, vocabulary=WORDS, width=WIDTH), seed=seed)


def _of_images(network: nn.Module, *, seed: int = 0, batch: int = 20) -> list[dict[str, Tensor]]:
    return image_gradients(network, _images(), batch=batch, batches=2, draw=seed)


def _of_text(network: LanguageNetwork, *, seed: int = 0, length: int = 40) -> list[dict[str, Tensor]]:
    return text_gradients(network, _streams(length), bptt=STEPS, batches=2, draw=seed)


# The algebra


def test_by_hand() -> None:
    """First layer: 2/1 + 1 (the signs differ); second: 3/2; two batches."""
    first = _layers(one=[1.0, 2.0], other=[1.0])
    second = _layers(one=[3.0, -2.0], other=[5.0])
    assert zico([first, second]) == pytest.approx(math.log(3) + math.log(1.5))


def test_by_hand_with_three_batches() -> None:
    """|g| has mean 2 and deviation √(2/3); g itself mean 2/3 and deviation √(14/3 − 4/9)."""
    batches = [_layers(one=[value]) for value in (1.0, -2.0, 3.0)]
    assert zico(batches) == pytest.approx(math.log(2 / math.sqrt(14 / 3 - 4 / 9)))
    assert zico(batches, variance="absolute") == pytest.approx(math.log(2 / math.sqrt(2 / 3)))


@pytest.mark.parametrize("weights", [1, 2, 1000])
def test_opposite_signs_give_the_logarithm_of_the_number_of_weights(weights: int) -> None:
    size = torch.rand(weights) + 0.1
    assert zico([{"one": size}, {"one": -3 * size}]) == pytest.approx(math.log(weights), abs=1e-12)


@given(st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 2), min_size=1, max_size=20))
@settings(deadline=None)
def test_with_two_batches_a_weight_gives_its_sum_over_its_difference(pairs: list[tuple[float, float]]) -> None:
    ratios = [(abs(a) + abs(b)) / abs(a - b) for a, b in pairs if a != b]
    found = zico([_layers(one=[a for a, _ in pairs]), _layers(one=[b for _, b in pairs])])
    assert found == pytest.approx(math.log(math.fsum(ratios)) if ratios else 0.0, abs=1e-9)
    assert found >= math.log(max(1, len(ratios))) - 1e-9


@pytest.mark.parametrize("variance", ["signed", "absolute"])
def test_order_and_scale_do_not_matter(variance: Literal["signed", "absolute"]) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [{name: torch.randn(3, 4, generator=generator) for name in "ab"} for _ in range(4)]
    value = zico(batches, variance=variance)
    for order in permutations(batches):
        assert zico(order, variance=variance) == pytest.approx(value, abs=1e-12)
    scaled = [{"a": 1e-9 * batch["a"], "b": 7 * batch["b"]} for batch in batches]
    assert zico(scaled, variance=variance) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30])
def test_weights_whose_gradient_does_not_vary_are_left_out(value: float) -> None:
    """.1 three times has a mean that is not .1 in floating point: rounding is no deviation."""
    varied = [_layers(one=[gradient, value], constant=[value]) for gradient in (1.0, 2.0, 4.0)]
    assert zico(varied) == zico([_layers(one=[gradient]) for gradient in (1.0, 2.0, 4.0)])
    double = [{"one": torch.tensor([value], dtype=torch.float64)}] * 3
    assert zico(double) == 0.0


def test_the_variances_differ() -> None:
    """Equal sizes of opposite signs vary by the released code's reading, and not at all by the paper's."""
    flipped = [_layers(one=[1.0, -3.0]), _layers(one=[-1.0, 3.0])]
    assert zico(flipped) == pytest.approx(math.log(2))
    assert zico(flipped, variance="absolute") == 0.0
    one_side = [_layers(one=[1.0, 2.0]), _layers(one=[5.0, 3.0])]
    assert zico(one_side) == zico(one_side, variance="absolute")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="gradient of other is not finite"):
        zico([_layers(one=[1.0], other=[1.0]), _layers(one=[2.0], other=[value])])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two batches; there are 1"):
        zico([_layers(one=[1.0])])
    with pytest.raises(ValueError, match="same layers"):
        zico([_layers(one=[1.0]), _layers(other=[1.0])])


# Gradients of image networks


def test_the_layers_of_an_image_network() -> None:
    """Stem, shortcut projections, one layer for a 1×1 convolution and two for a separable one, classifier."""
    first, second = _of_images(_conv(stem=3))
    cells = [
        f"cells.stage{stage}_cell1.{layer}"
        for stage in (1, 2)
        for layer in (
            "nodes.node1.depthwise.conv",
            "nodes.node1.pointwise.conv",
            "nodes.node2.pointwise.conv",
            "shortcut.conv",
        )
    ]
    assert list(first) == list(second) == ["stem.conv", *cells, "classifier"]


def test_image_gradients_are_those_of_plain_backpropagation() -> None:
    network, plain = _conv(), _conv()
    with _watched(network) as batches:
        found = _of_images(network)
    for inputs, gradients in zip(batches, found, strict=True):
        torch.testing.assert_close(gradients, _backpropagated(plain, inputs, set(gradients)))


def test_every_candidate_meets_the_same_images_of_the_run() -> None:
    """They are different in each batch, and with another seed of the run."""
    met = []
    for cell, weights, seed in ((CONV, 0, 0), (Cell("conv", CONV.ops, ((0, 1),)), 1, 0), (CONV, 0, 1)):
        network = _conv(cell, seed=weights)
        with _watched(network) as batches:
            _of_images(network, seed=seed)
        met.append(torch.stack(batches))
    assert torch.equal(met[0], met[1])
    assert not torch.equal(met[0], met[2])
    assert len({image.numpy().tobytes() for image in met[0].flatten(0, 1)}) == 2 * 20


def test_few_images_make_small_batches() -> None:
    network = _conv()
    with _watched(network) as batches:
        _of_images(network, batch=128)
    assert [len(batch) for batch in batches] == [30, 30]
    with pytest.raises(ValueError, match="1 images are too few for 2 batches"):
        image_gradients(network, _images(1), batch=4, batches=2, draw=0)


def test_scoring_leaves_the_weights_and_does_not_see_running_statistics() -> None:
    network, fresh = _conv(), _conv()
    first = _of_images(network)
    for parameter, untouched in zip(network.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(parameter, untouched)
        assert parameter.grad is None
    again = _of_images(network.eval())
    torch.testing.assert_close(again, first, atol=0, rtol=0)


# Gradients of language models


def test_the_layers_of_a_language_model() -> None:
    """Gate and transform of W₀ and of every edge; not the tied embedding, and no bias."""
    first, second = _of_text(_language())
    names = [f"{name} {half}" for name in ("W0", "W0-1", "W0-2", "W1-2") for half in ("gate", "transform")]
    assert list(first) == list(second) == names
    assert [tuple(gradient.shape) for gradient in first.values()] == 2 * [(2 * WIDTH, WIDTH)] + 6 * [(WIDTH, WIDTH)]
    assert list(_of_text(_language(Cell("recurrent", RECURRENT.ops, ())))[0]) == names[:2]


def test_text_gradients_are_those_of_the_equations_from_a_zero_state() -> None:
    """The reference cell, plain logits, and torch's cross-entropy of each of the text's chunks."""
    network, streams = _language(), _streams()
    core, plan = network.core, recurrent_proxy(RECURRENT, vocabulary=WORDS, width=WIDTH).plan()
    assert isinstance(core, RecurrentCell)
    wanted = []
    for start in range(0, len(streams) - STEPS + 1, STEPS):
        rows = slice(start, start + STEPS)
        hidden = reference.run(
            plan,
            functional.embedding(streams.inputs[rows], network.embedding),
            torch.zeros(STREAMS, WIDTH),
            input_weight=core.input_weight,
            edge_weights=core.edge_weights(),
        )
        loss = functional.cross_entropy(network.logits(hidden).flatten(0, 1), streams.targets[rows].flatten())
        gradients = torch.autograd.grad(loss, [core.input_weight, *core.edge_weights().values()])
        wanted.append([half for gradient in gradients for half in gradient.chunk(2, dim=1)])
    chunks = []
    for found in _of_text(network):
        near = [all(map(_close, found.values(), gradients)) for gradients in wanted]
        assert near.count(True) == 1
        chunks.append(near.index(True))
    assert chunks[0] != chunks[1], "two different chunks"
    assert all(parameter.grad is None for parameter in network.parameters())


def test_every_language_model_meets_the_same_chunks_of_the_run() -> None:
    """Seen in the gradients of one network; among many seeds of the run there is another draw."""
    alike, *others = [_of_text(_language(), seed=seed) for seed in (0, 0, 1, 2, 3)]
    torch.testing.assert_close(alike, others[0], atol=0, rtol=0)
    assert len({float(found[0]["W0 gate"].sum()) for found in others}) > 1


def test_a_short_text_makes_short_chunks() -> None:
    assert zico(_of_text(_language(), length=7)) > 0
    with pytest.raises(ValueError, match="streams of 1 tokens are too short for 2 chunks"):
        _of_text(_language(), length=1)


def test_a_model_without_a_cell_is_refused() -> None:
    model = zoo.get("lstm")
    assert isinstance(model, LanguageModel)
    network = build(language_model(model, vocabulary=WORDS, width=WIDTH), seed=0)
    with pytest.raises(InputError, match="not of an LSTM, a GRU or minGRU"):
        _of_text(network)


# The scorer


def _image_problem(batch: int = 8, widths: tuple[int, ...] = (4, 4)) -> ImageProblem:
    rng = np.random.default_rng(0)
    drawn = LabelledImages(rng.integers(0, 256, (50, 1, 6, 6), dtype=np.uint8), rng.integers(0, 3, 50))
    proxy = Proxy("random", ("a", "b", "c"), drawn, drawn, (), (), "")
    network = {"stem": 4, "widths": list(widths)}
    chosen = ImageSettings.model_validate({"network": network, "recipe": {"batch": batch}})
    return ImageProblem(chosen, proxy, CPU)


def _text_problem(width: int = WIDTH) -> TextProblem:
    network, recipe = {"width": width}, {"batch": STREAMS, "bptt": STEPS}
    chosen = resolve({"task": "text", "data": {"spec": "x"}, "network": network, "recipe": recipe})
    assert isinstance(chosen, TextSettings)
    words = ("<unk>", "<eos>", *"abcdefg")
    vocabulary = Vocabulary(words, (1,) * WORDS, "word", "spaces")
    proxy = TextProxy("random", vocabulary, _tokens(200), _tokens(50), 1, 1, 0.0, "", ())
    return TextProblem(chosen, proxy, CPU)


PROBLEMS: dict[str, Callable[[], LayerGradients]] = {"conv": _image_problem, "recurrent": _text_problem}


@pytest.mark.parametrize("cell", [CONV, RECURRENT], ids=["conv", "recurrent"])
def test_the_seed_decides_the_score(cell: Cell) -> None:
    problem = PROBLEMS[cell.kind]()
    assert ZicoScorer(problem)(cell, 3) == ZicoScorer(PROBLEMS[cell.kind]())(cell, 3)
    assert ZicoScorer(problem)(cell, 3) != ZicoScorer(problem)(cell, 4)
    assert ZicoScorer(problem)(cell, 3) != ZicoScorer(problem, variance="absolute")(cell, 3)
    assert ZicoScorer(problem)(cell, 3) != ZicoScorer(problem, batches=3)(cell, 3)


@pytest.mark.parametrize("kind", ["conv", "recurrent"])
def test_more_layers_score_more(kind: str) -> None:
    ops = ("input", *(["conv1x1"] if kind == "conv" else ["tanh"]) * 4)
    chains = [Cell(kind, ops, tuple(pairwise(range(length)))) for length in (1, 2, 3, 5)]
    scorer = ZicoScorer(PROBLEMS[kind]())
    scores = [scorer(cell, 0) for cell in chains]
    assert scores == sorted(scores)


def test_wider_layers_score_more() -> None:
    narrow, wide = (ZicoScorer(_image_problem(widths=(width, width)))(CONV, 0) for width in (4, 16))
    assert narrow < wide
    narrow, wide = (ZicoScorer(_text_problem(width))(RECURRENT, 0) for width in (5, 20))
    assert narrow < wide


def test_what_a_score_costs() -> None:
    """25 of 50 images a batch, since there are too few for more; six steps of four streams a chunk."""
    problem, text = _image_problem(), _text_problem()
    macs = count(problem.architecture(CONV)).macs
    assert ZicoScorer(problem).spent(CONV) == Spent(50, 150 * macs)
    macs = count(text.architecture(RECURRENT)).macs
    assert ZicoScorer(text, batches=3).spent(RECURRENT) == Spent(72, 216 * macs)


def test_a_network_that_overflows_has_no_score() -> None:
    class Overflowing(ImageProblem):
        def layer_gradients(self, *args: Any, **options: Any) -> list[dict[str, Tensor]]:
            found = super().layer_gradients(*args, **options)
            return [{name: gradient * math.inf for name, gradient in batch.items()} for batch in found]

    problem = _image_problem()
    problem.__class__ = Overflowing
    with pytest.raises(ValueError, match="not finite"):
        ZicoScorer(problem)(CONV, 0)


# The penalty


@given(st.lists(st.integers(1, 10**9), min_size=4, max_size=40, unique=True), st.floats(-50, 50), st.integers(0, 99))
@settings(deadline=None)
def test_the_fitted_penalty_takes_the_resource_out(costs: list[int], slope: float, seed: int) -> None:
    """Just below it the correlation is not negative, just above it not positive: a step goes past zero there."""
    logs = np.log10(costs)
    scores = slope * logs + np.random.default_rng(seed).normal(size=len(costs))
    fitted = fitted_penalty(scores.tolist(), costs)
    width = 1e-6 * (1 + abs(fitted))
    assert spearman(scores - (fitted - width) * logs, logs) >= 0 >= spearman(scores - (fitted + width) * logs, logs)


def test_a_score_that_is_the_resource_has_its_slope_as_penalty() -> None:
    costs = [10, 1000, 50, 10**6]
    assert fitted_penalty([7 * math.log10(cost) for cost in costs], costs) == pytest.approx(7)
    assert fitted_penalty([-7 * math.log10(cost) for cost in costs], costs) == pytest.approx(-7)
    assert fitted_penalty([5.0, 1.0, 3.0], [10, 10, 10]) == 0.0


def test_zico_of_random_cells_follows_their_cost_until_the_penalty_takes_it_away() -> None:
    problem = _text_problem()
    cells = random_cells("recurrent", 6, 20, 0)
    scores = [ZicoScorer(problem)(cell, 0) for cell in cells]
    costs = [count(problem.architecture(cell)).macs for cell in cells]
    assert spearman(scores, costs) > 0.9
    penalty = fitted_penalty(scores, costs)
    assert penalty > 0
    rest = [score - penalty * math.log10(cost) for score, cost in zip(scores, costs, strict=True)]
    assert abs(spearman(rest, costs)) < 0.1


def test_a_penalty_is_not_fitted_to_failures() -> None:
    with pytest.raises(ValueError, match="finite scores"):
        fitted_penalty([1.0, -math.inf, 2.0], [1, 2, 3])
    with pytest.raises(ValueError, match="2 pairs are too few"):
        fitted_penalty([1.0, 2.0], [1, 2])


# Helpers


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """What the network is given inside, batch by batch."""
    batches: list[Tensor] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0]))
    yield batches
    hook.remove()


def _backpropagated(network: nn.Module, inputs: Tensor, names: set[str]) -> dict[str, Any]:
    """Gradients of the layers' weights as `backward` leaves them; an image's label is found by its pixels."""
    images, labels = _images().batch(torch.arange(60))
    members = (inputs[:, None] == images).flatten(2).all(dim=2).nonzero()[:, 1]
    network.train().zero_grad()
    functional.cross_entropy(network(inputs), labels[members]).backward()  # type: ignore[no-untyped-call]
    parameters = dict(network.named_parameters())
    return {name: parameters[f"{name}.weight"].grad for name in names}


def _cells(network: nn.Module) -> list[ConvCell]:
    return [module for module in network.modules() if isinstance(module, ConvCell)]


def _less_shortcut(cell: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    assert isinstance(cell, ConvCell)
    (x,) = inputs
    stride = 1 if cell.pool is None else 2
    return output - (x if cell.shortcut is None else cell.shortcut(x[:, :, ::stride, ::stride]))


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-7, rtol=1e-4)
