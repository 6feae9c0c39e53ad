"""How language models learn: streams, chunks, perplexity, optimiser, dropout, penalties, averaged weights, failures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from autoshrink.architecture import recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.config import TextRecipe, resolve
from autoshrink.config.text import Dropout, TextSettings
from autoshrink.cost import count
from autoshrink.data import TextProxy, Vocabulary
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.networks import LanguageNetwork, build
from autoshrink.score import Evaluation
from autoshrink.tasks.text.problem import TextProblem
from autoshrink.training.loop import Batch, TrainingError, Validation, fit
from autoshrink.training.text import Streams, chunk_lengths
from autoshrink.training.text_learner import TextLearner, draw_masks, measure, rate, text_stops

CPU = torch.device("cpu")
END = 1
PAIR = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2)))


def _network(vocabulary: int = 7, width: int = 4, seed: int = 0) -> LanguageNetwork:
    return build(recurrent_proxy(PAIR, vocabulary=vocabulary, width=width), seed=seed)


def _text(length: int, vocabulary: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocabulary, length).astype(np.int32)


def _streams(tokens: np.ndarray, streams: int, *, trim: bool = False) -> Streams:
    return Streams.of(tokens, streams, end=END, device=CPU, trim=trim)


def _recipe(**changes: Any) -> TextRecipe:
    return TextRecipe.model_validate({"epochs": 3, "batch": 3, "bptt": 8, "learning_rate": 1.0} | changes)


def _learner(recipe: TextRecipe, *, seed: int = 0, length: int = 120, vocabulary: int = 7) -> TextLearner:
    data = (_streams(_text(length, vocabulary), recipe.batch, trim=True), _streams(_text(50, vocabulary, 1), 4))
    return TextLearner(_network(vocabulary), recipe, data, seed=seed)


# Streams


@given(st.integers(2, 90), st.integers(1, 20), st.booleans())
def test_every_token_is_a_target_once_after_the_token_before_it(length: int, streams: int, trim: bool) -> None:
    """Tokens are numbered, so that order can be read off; `trim` drops the n mod B last ones and nothing else."""
    cut = _streams(np.arange(10, 10 + length, dtype=np.int32), streams, trim=trim)
    width = min(streams, length)
    kept = length - length % width if trim else length
    counted = torch.ones_like(cut.targets, dtype=torch.bool) if cut.counted is None else cut.counted
    assert cut.width == width
    assert len(cut) == -(-kept // width)
    assert cut.tokens == int(counted.sum()) == kept
    assert cut.targets.T[counted.T].tolist() == list(range(10, 10 + kept)), "in the text's order, stream after stream"
    assert cut.inputs.T[counted.T].tolist() == [END, *range(10, 9 + kept)]
    assert not cut.targets[~counted].any()
    assert (cut.counted is None) == (kept % width == 0)


# Chunks


@given(st.integers(1, 2000), st.integers(1, 70), st.integers(0, 99), st.booleans())
@settings(deadline=None)
def test_chunks_add_up_and_keep_their_bounds(length: int, bptt: int, seed: int, drawn: bool) -> None:
    recipe = TextRecipe(bptt=bptt, random_lengths=drawn)
    lengths = list(chunk_lengths(length, recipe, torch.Generator().manual_seed(seed)))
    again = list(chunk_lengths(length, recipe, torch.Generator().manual_seed(seed)))
    assert lengths == again
    assert sum(lengths) == length
    *others, last = lengths
    most = bptt + 20 if drawn else bptt
    assert all((5 if drawn else bptt) <= one <= most for one in others)
    assert min(5, length, bptt) <= last <= max(most, 5) + 4, "what is left, up to four more than was drawn"


def test_nineteen_chunks_of_twenty_are_drawn_around_bptt() -> None:
    """N(200, 5) and N(100, 5) are so far apart that no draw is ambiguous."""
    lengths = list(chunk_lengths(600_000, TextRecipe(bptt=200), torch.Generator().manual_seed(0)))[:-1]
    long, short = (np.array([one for one in lengths if (one > 150) == above]) for above in (True, False))
    assert len(long) / len(lengths) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / len(lengths)) ** 0.5)
    # int() cuts half a step off on average.
    assert long.mean() == pytest.approx(199.5, abs=0.5)
    assert short.mean() == pytest.approx(99.5, abs=2)
    assert long.std() == pytest.approx(5, rel=0.1)


# Perplexity


def _by_hand(network: LanguageNetwork, tokens: np.ndarray, before: int = END) -> list[float]:
    """The loss of every token, one token at a time, from its logits."""
    state, losses = network.initial_state(1), []
    with torch.no_grad():
        for token in tokens.tolist():
            logits, state = network(torch.tensor([[before]]), state)
            losses.append(-float(torch.log_softmax(logits[0, 0].double(), dim=0)[token]))
            before = token
    return losses


def test_perplexity_is_that_of_a_loop_over_tokens_whatever_the_chunks() -> None:
    network, tokens = _network(), _text(41)
    expected = float(np.mean(_by_hand(network, tokens)))
    for chunk in (1, 2, 7, 40, 41, 500):
        found = measure(network, _streams(tokens, 1), chunk)
        assert found.loss == pytest.approx(expected, rel=1e-6)
        assert found.performance == -found.loss
        assert found.correct is None


@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 70))
@settings(max_examples=30, deadline=None)
def test_a_ragged_text_weighs_every_token_once(length: int, streams: int, chunk: int) -> None:
    """The mean over tokens, not over streams or chunks: each stream begins without memory, after the token before."""
    network, tokens = _network(), _text(length)
    cut = _streams(tokens, streams)
    losses: list[float] = []
    for start in range(0, length, len(cut)):
        before = int(tokens[start - 1]) if start else END
        losses += _by_hand(network, tokens[start : start + len(cut)], before)
    assert len(losses) == length
    found = measure(network, cut, chunk)
    assert found.loss == pytest.approx(float(np.mean(losses)), rel=1e-5)
    assert found.parts is not None
    assert len(found.parts) == cut.width * -(-len(cut) // chunk)
    assert float(np.mean(found.parts)) == pytest.approx(found.performance, rel=1e-9)


@pytest.mark.parametrize("chunk", [1, 8, 27, 35])
def test_not_the_released_bug_that_divides_one_loss_too_few_by_their_number(chunk: int) -> None:
    """256 streams leave 27 tokens each in the released search: 26 losses, divided by 27, scale the exponent by 26/27.

    All weights zero make every token's loss ln V.
    """
    vocabulary = 100
    network = _network(vocabulary)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    for streams in (1, 8):
        found = measure(network, _streams(_text(27 * streams, vocabulary), streams), chunk)
        assert math.exp(found.loss) == pytest.approx(vocabulary, rel=1e-5)
        assert math.exp(found.loss) != pytest.approx(vocabulary ** (26 / 27), rel=0.1)


# The optimiser


class Watched(TextLearner):
    """Writes down each step's learning rate and inputs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rates: list[float] = []
        self.lengths: list[int] = []

    def _step(self, inputs: Tensor, targets: Tensor, state: Tensor, generator: torch.Generator) -> tuple[float, Tensor]:
        self.rates.append(self._optimiser.param_groups[0]["lr"])
        self.lengths.append(len(inputs))
        return super()._step(inputs, targets, state, generator)


def _watched(recipe: TextRecipe) -> Watched:
    data = (_streams(_text(400), recipe.batch, trim=True), _streams(_text(50), 4))
    return Watched(_network(), recipe, data, seed=0)


@pytest.mark.parametrize(
    ("epochs", "drops", "expected"),
    [
        (6, (3, 1), [1, 1, 1, 0.1, 0.1, 0.01]),
        (10, (3, 1), [1, 1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.01]),
        (2, (3, 1), [0.1, 0.01]),
        (4, (), [1, 1, 1, 1]),
        (4, (2,), [1, 1, 0.1, 0.1]),
    ],
)
def test_the_learning_rate_drops_when_so_many_epochs_are_left(
    epochs: int, drops: tuple[int, ...], expected: list[float]
) -> None:
    recipe = _recipe(epochs=epochs, drops=drops, random_lengths=False, bptt=60, learning_rate=2.0)
    learner = _watched(recipe)
    for epoch in range(epochs):
        learner.lengths.clear()
        list(learner.epoch(epoch))
    per_epoch = len(learner.lengths)
    full = [rate * 60 / length for rate, length in zip(learner.rates, learner.lengths * epochs, strict=True)]
    assert full[::per_epoch] == pytest.approx([2 * factor for factor in expected])


def test_the_learning_rate_is_in_proportion_to_the_chunk() -> None:
    learner = _watched(_recipe(learning_rate=3.0, bptt=20, drops=()))
    batches = list(learner.epoch(0))
    assert sum(learner.lengths) == 400 // 3
    assert len(set(learner.lengths)) > 3
    assert learner.rates == pytest.approx([3.0 * length / 20 for length in learner.lengths])
    assert [batch.samples for batch in batches] == [3 * length for length in learner.lengths]
    assert learner.seen == learner.epoch_samples == 399


@pytest.mark.parametrize("clip", [1e-4, 1e3])
def test_a_step_is_the_clipped_gradient_times_the_rate(clip: float) -> None:
    recipe = _recipe(clip=clip, random_lengths=False, bptt=100, learning_rate=0.5, drops=(), l2=0.0)
    learner = _learner(recipe)
    before = [parameter.detach().clone() for parameter in learner.network.parameters()]
    other = _network()
    data = learner._train
    outputs, _ = other.features(data.inputs, other.initial_state(3))
    functional.cross_entropy(other.logits(outputs).flatten(0, 1), data.targets.flatten()).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in other.parameters() if parameter.grad is not None]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert 1e-3 < norm < 10
    (batch,) = learner.epoch(0)
    rate = 0.5 * 40 / 100 * min(1.0, clip / norm)
    for parameter, start, gradient in zip(learner.network.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(start - parameter.detach(), rate * gradient, rtol=1e-3, atol=1e-7)
    assert batch == Batch(batch.loss, 120)


def test_the_state_is_carried_from_chunk_to_chunk() -> None:
    """Without learning (a rate of next to nothing) the chunks' losses are those of one pass over the streams."""
    learner = _learner(_recipe(learning_rate=1e-12, random_lengths=False, bptt=10, drops=()))
    batches = list(learner.epoch(0))
    assert [batch.samples for batch in batches] == [30, 30, 30, 30]
    mean = sum(batch.loss * batch.samples for batch in batches) / 120
    assert mean == pytest.approx(measure(_network(), learner._train, 40).loss, rel=1e-6)


# Dropout and penalties


def test_masks_drop_their_share_and_scale_what_is_left() -> None:
    recipe = _recipe(dropout={"words": 0.1, "embedding": 0.2, "input": 0.75, "hidden": 0.25, "output": 0.5})
    masks = draw_masks(_network(4000, 50), recipe, 80, torch.Generator().manual_seed(0))
    for name, share in recipe.dropout.model_dump().items():
        mask = getattr(masks, name)
        assert mask.shape == ((4000,) if name == "words" else (80, 50)), "one for all time steps"
        dropped = mask == 0
        assert float(dropped.float().mean()) == pytest.approx(share, abs=0.03)
        assert mask[~dropped].unique().tolist() == pytest.approx([1 / (1 - share)])
    none = draw_masks(_network(), _recipe(), 80, torch.Generator())
    assert [getattr(none, name) for name in Dropout.model_fields] == [None] * 5


def test_word_dropout_drops_whole_words_and_dropout_is_the_same_at_every_step() -> None:
    network = _network(50, 16)
    recipe = _recipe(dropout={"words": 0.5, "embedding": 0.5, "input": 0.5})
    masks = draw_masks(network, recipe, 4, torch.Generator().manual_seed(0))
    assert masks.words is not None
    tokens = torch.randint(50, (60, 4), generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    core = network.core

    def spy(inputs: Tensor, state: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        seen.append(inputs.detach())
        return core(inputs, state, mask)

    del network.core
    network.core = spy  # type: ignore[assignment]
    network.features(tokens, torch.zeros(1, 4, 16), masks)
    gone = masks.words[tokens] == 0
    assert not seen[0][gone].any()
    for stream in range(4):
        alive = seen[0][:, stream][~gone[:, stream]] != 0
        assert (alive == alive[0]).all(), "the same columns at every time step"
        assert 0 < int(alive[0].sum()) < 16


def test_dropout_depends_on_seed_and_epoch_alone() -> None:
    recipe = _recipe(dropout={"hidden": 0.5, "output": 0.5}, epochs=9)

    def losses(seed: int, *epochs: int) -> list[float]:
        learner = _learner(recipe, seed=seed)
        return [batch.loss for epoch in epochs for batch in learner.epoch(epoch)]

    def first(seed: int, epoch: int) -> float:
        return losses(seed, epoch)[0]

    assert losses(1, 2, 3) == losses(1, 2, 3)
    assert len({first(1, 2), first(1, 3), first(2, 2)}) == 3
    assert first(1, 2) == first(1, 2)


@pytest.mark.parametrize("penalty", ["activation_penalty", "temporal_penalty"])
def test_penalties_change_the_gradient_and_not_the_loss(penalty: str) -> None:
    """A step moves a weight by −rate·(∂loss + strength·∂penalty); strength·∂penalty is worked out by hand here."""
    plain: dict[str, Any] = {"clip": 1e9, "random_lengths": False, "bptt": 40, "drops": ()}
    without, having = (_learner(_recipe(**plain, **{penalty: strength})) for strength in (0.0, 2.0))
    other = _network()
    outputs, _ = other.features(without._train.inputs, other.initial_state(3))
    if penalty == "activation_penalty":
        value = (outputs**2).sum() / outputs.numel()
    else:
        steps = [(outputs[t] - outputs[t - 1]).square().sum() for t in range(1, 40)]
        value = torch.stack(steps).sum() / (39 * 3 * 4)
    gradients = torch.autograd.grad(2.0 * value, list(other.parameters()), materialize_grads=True, allow_unused=True)
    (one,), (two,) = without.epoch(0), having.epoch(0)
    assert one.loss == two.loss
    for a, b, gradient in zip(without.network.parameters(), having.network.parameters(), gradients, strict=True):
        torch.testing.assert_close(a - b, gradient, rtol=1e-3, atol=1e-6)


# Averaged weights


class Told(TextLearner):
    """Validates as it is told."""

    def tell(self, performances: list[float], monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Whether averaging had begun after each validation."""
        told = iter(performances)

        def said(*_: Any) -> Validation:
            performance = next(told)
            return Validation(performance, -performance)

        monkeypatch.setattr("autoshrink.training.text_learner.measure", said)
        begun = []
        for _ in performances:
            self.validate()
            begun.append(self.average is not None)
        return begun


def test_a_cosine_climbs_and_falls_to_zero_over_the_whole_training() -> None:
    """Hand-made: a twentieth of 10 epochs is half an epoch; 5.25 is halfway from there to the end."""
    recipe = _recipe(epochs=10, learning_rate=2.0, schedule="cosine")
    told = [rate(recipe, epochs) for epochs in (0.0, 0.25, 0.5, 5.25, 10.0)]
    assert told == pytest.approx([0.2, 1.0, 2.0, 1.0, 0.0])
    learner = _watched(_recipe(epochs=2, learning_rate=2.0, schedule="cosine", random_lengths=False, bptt=10))
    for epoch in range(2):
        list(learner.epoch(epoch))
    each = [one * 10 / length for one, length in zip(learner.rates, learner.lengths, strict=True)]
    assert each[-1] < 0.1 < max(each)
    assert each[2:] == sorted(each[2:], reverse=True)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_training_goes_on_from_its_state_to_the_last_bit(optimiser: str) -> None:
    recipe = _recipe(epochs=3, optimiser=optimiser, learning_rate=0.01, schedule="cosine")
    whole, first, second = (_learner(recipe) for _ in range(3))
    list(whole.epoch(0))
    list(whole.epoch(1))
    list(first.epoch(0))
    second.restore(*first.state(), [])
    list(second.epoch(1))
    pairs = zip(whole.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("window", "curve", "expected"),
    [
        (1, [-5, -4, -3], [False, False, False]),
        (1, [-5, -4, -4.5], [False, False, False]),
        (1, [-5, -4, -5.5], [False, False, True]),
        (2, [-4, -5, -6, -7], [False, False, False, True]),
        (2, [-4, -5, -6, -3, -3.5], [False, False, False, False, False]),
        (2, [-4, -5, -6, -4], [False, False, False, False]),
        (5, [-1, -9, -9, -9, -9, -9, -9], [False] * 6 + [True]),
        (None, [-1, -2, -3, -4], [False] * 4),
    ],
)
def test_averaging_begins_when_validation_is_worse_than_before_the_window(
    window: int | None, curve: list[float], expected: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worse than the best of all earlier epochs but the last `window` ones (AWD-LSTM's condition)."""
    recipe = _recipe(averaging=window)
    learner = Told(_network(), recipe, (_streams(_text(30), 2), _streams(_text(30), 2)), seed=0)
    assert learner.tell(curve, monkeypatch) == expected


def test_the_average_is_the_plain_mean_of_the_weights_after_each_step() -> None:
    learner = _learner(_recipe(bptt=10, random_lengths=False))
    list(learner.epoch(0))
    learner.start_averaging()
    assert learner.evaluated is learner.network, "no step has been averaged yet"
    after = []
    for epoch in (1, 2):
        for _ in learner.epoch(epoch):
            after.append({name: tensor.clone() for name, tensor in learner.network.state_dict().items()})
    assert len(after) == 8
    assert learner.evaluated is not learner.network
    for name, tensor in learner.evaluated.state_dict().items():
        mean = torch.stack([weights[name].double() for weights in after]).mean(dim=0)
        torch.testing.assert_close(tensor.double(), mean, rtol=1e-5, atol=1e-7)
    assert learner.validate() == measure(learner.evaluated, learner._validation, 10)


# Learning, and failing to


def _periodic(changes: dict[str, Any] | None = None) -> TextProblem:
    """a b c d e, again and again: whoever remembers one word knows the next."""
    words = list("abcde") * 120
    vocabulary = Vocabulary.build([words], level="word", max_size=None, min_count=1)
    tokens = vocabulary.encode(words)
    proxy = TextProxy("periodic", vocabulary, tokens, tokens[:60], 1, 1, 0.0, "", ())
    asked = resolve(
        {
            "task": "text",
            "data": {"spec": "periodic"},
            "network": {"width": 8},
            "recipe": {"epochs": 4, "batch": 4, "validation_batch": 2, "bptt": 10, "learning_rate": 10.0}
            | (changes or {}),
        }
    )
    assert isinstance(asked, TextSettings)
    return TextProblem(asked, proxy, CPU)


def _evaluated(problem: TextProblem, *seeds: int) -> list[Evaluation]:
    evaluator = TrainedEvaluator(problem, Conditions(threads=1))
    return [evaluation for _, evaluation in evaluator.evaluate([Job(PAIR, seed) for seed in seeds])]


def test_a_periodic_text_is_learned_and_seeds_decide() -> None:
    first, again, other = _evaluated(_periodic(), 1, 1, 2)
    assert first.performance is not None
    assert 1 <= math.exp(-first.performance) < 1.1
    assert first.performance == max(first.curve)
    assert first.parts is not None
    assert float(np.mean(first.parts)) == pytest.approx(first.performance, rel=1e-9)
    assert first.fidelity == "4 epochs × 600 tokens"
    cost = count(_periodic().architecture(PAIR))
    assert (first.spent.samples, first.spent.training_macs) == (2400, cost.macs * (3 * 2400 + 4 * 60))
    assert (again.curve, again.parts) == (first.curve, first.parts)
    assert other.curve != first.curve


def test_divergence_is_a_failure_with_a_reason_and_never_wins() -> None:
    problem = _periodic({"learning_rate": 1e6, "clip": 1e6})
    failed, fine = (_evaluated(one, 1)[0] for one in (problem, _periodic()))
    assert failed.failed
    assert failed.reason is not None
    assert failed.reason.startswith(("diverged: mean training loss ", "the training loss became nan"))
    assert failed.spent.samples > 0
    score = resolve({"task": "text"}).score
    assert score(failed) == -math.inf < score(fine)


def test_a_model_that_ends_no_better_than_guessing_has_learned_nothing() -> None:
    """A random text has nothing to learn; a validation text of its rarest word is worse than a guess."""
    recipe = _recipe(epochs=2, learning_rate=5.0)
    common, rare = np.full(200, 3, dtype=np.int32), np.full(20, 5, dtype=np.int32)
    learner = TextLearner(_network(), recipe, (_streams(common, 2), _streams(rare, 2)), seed=0)
    with pytest.raises(TrainingError, match=r"learned nothing: the best validation loss is .*, that of guessing 1\.95"):
        fit(learner, text_stops(recipe, 7))


def test_early_stops_of_text() -> None:
    """A learning rate of nothing: no epoch is better than the first, and the fourth after it is the last."""
    recipe = _recipe(epochs=9, learning_rate=1e-30, patience=4)
    learner = _learner(recipe)
    history = fit(learner, text_stops(recipe, 10**6))
    assert (len(history.curve), history.ended) == (5, "no better for 4 epochs")
    overfit = _recipe(epochs=9, learning_rate=1e-30, overfit_ratio=0.5)
    assert fit(_learner(overfit), text_stops(overfit, 10**6)).ended == "validation loss above 0.5 training losses"
