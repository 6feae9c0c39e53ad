"""Evaluations, Eq. 5, preference, the Pareto front, and what a paired comparison is worth."""

import json
import math
import statistics
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.architecture import proxy_architecture, recurrent_proxy
from autoshrink.cell import Cell, Edge
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import (
    LEVELS,
    Comparison,
    Evaluation,
    FormulaName,
    Score,
    Spent,
    compare,
    mean_and_deviation,
    pareto_front,
)

FINITE = st.floats(-1e6, 1e6)
CELL = Cell("conv", ("input", "conv1x1"), ((0, 1),))


def _evaluation(
    performance: float | None,
    macs: int = 1_000_000,
    *,
    edges: tuple[Edge, ...] = ((0, 1),),
    correct: tuple[bool, ...] | None = None,
    parts: tuple[float, ...] | None = None,
) -> Evaluation:
    cell = Cell("conv", ("input",) + ("conv1x1",) * 4, edges)
    reason = "diverged" if performance is None else None
    return Evaluation(cell, Resources(macs, 10, 20), 7, "1 epoch", performance, reason, correct=correct, parts=parts)


def _bits(text: str) -> tuple[bool, ...]:
    return tuple(bit == "1" for bit in text)


# Evaluations


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_performance_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(
        ValueError, match=r"performance (nan|-?inf) is not a finite number: record the candidate as failed"
    ):
        _evaluation(value)


@pytest.mark.parametrize(("performance", "reason"), [(None, None), (0.5, "diverged")])
def test_an_evaluation_has_either_a_performance_or_a_reason(performance: float | None, reason: str | None) -> None:
    with pytest.raises(ValueError, match="either a performance or a reason"):
        Evaluation(Cell("conv", ("input",), ()), Resources(1, 1, 1), 0, "1 epoch", performance, reason)


@st.composite
def _evaluations(draw: st.DrawFn) -> Evaluation:
    count = st.integers(0, 10**15)
    performance = draw(st.none() | FINITE)
    correct = draw(st.none() | st.lists(st.booleans(), max_size=70).map(tuple))
    part = st.floats(allow_nan=False, allow_infinity=False)
    if correct is not None:
        part = st.integers(0, LEVELS).map(lambda level: level / LEVELS)
    return Evaluation(
        design=Cell(
            "conv", ("input", "conv1x1", "sepconv3x3"), draw(st.sampled_from([(), ((0, 1), (1, 2)), ((0, 2),)]))
        ),
        resources=Resources(draw(count), draw(count), draw(count), draw(count)),
        seed=draw(st.integers(0, 2**63 - 1)),
        fidelity=draw(st.text(max_size=20)),
        performance=performance,
        reason=draw(st.text(max_size=20)) if performance is None else None,
        ended=draw(st.text(max_size=20)),
        curve=tuple(draw(st.lists(FINITE, max_size=5))),
        correct=correct,
        parts=draw(st.none() | st.lists(part, max_size=20).map(tuple)),
        spent=Spent(draw(count), draw(count), draw(st.floats(0, 1e9))),
    )


@given(_evaluations())
@settings(max_examples=300, deadline=None)
def test_an_evaluation_survives_json(evaluation: Evaluation) -> None:
    again = Evaluation.from_json(json.loads(json.dumps(evaluation.to_json(), allow_nan=False)))
    assert again == evaluation
    assert evaluation.correct is None or len(again.correct or ()) == len(evaluation.correct)
    assert repr(again.parts) == repr(evaluation.parts), "bit by bit, the sign of a zero too"


def test_validation_bits_are_packed_eight_a_byte_highest_first() -> None:
    value = _evaluation(0.5, correct=_bits("1000000101")).to_json()
    assert value["correct"] == "10:8140"
    assert Evaluation.from_json(value | {"correct": "3:a0"}).correct == (True, False, True)
    assert Evaluation.from_json(value | {"correct": "0:"}).correct == ()


def test_parts_are_little_endian_float64() -> None:
    value = _evaluation(0.5, parts=(1.0, -2.5)).to_json()
    assert value["parts"] == "000000000000f03f" + "00000000000004c0"
    assert Evaluation.from_json(value | {"parts": ""}).parts == ()


def test_evaluations_of_store_version_1_are_read() -> None:
    """They have no `parts` and no `cell_params`, and say `images` for `samples`."""
    new = _evaluation(0.75, correct=_bits("1101")).to_json()
    old = {name: value for name, value in new.items() if name != "parts"}
    old["resources"] = {"macs": 1_000_000, "params": 10, "memory": 20}
    old["spent"] = {"images": 70, "training_macs": 900, "seconds": 1.5}
    read = Evaluation.from_json(old)
    assert read == replace(
        _evaluation(0.75, correct=_bits("1101")), spent=Spent(samples=70, training_macs=900, seconds=1.5)
    )
    assert (read.parts, read.resources["cell_params"], read.spent.samples) == (None, 0, 70)
    assert Evaluation.from_json(read.to_json()) == read


def test_an_unknown_field_of_a_recorded_evaluation_is_no_silent_loss() -> None:
    with pytest.raises(TypeError, match="colour"):
        Evaluation.from_json(_evaluation(0.5).to_json() | {"colour": "red"})


def test_costs_of_measuring_add_up() -> None:
    assert Spent(1, 20, 0.5) + Spent(2, 30, 0.25) + Spent() == Spent(3, 50, 0.75)


# Eq. 5


@pytest.mark.parametrize(
    ("performance", "macs", "penalty", "expected"),
    [
        (0.5, 1_000_000, 0.1, 0.5),
        (0.5, 10_000_000, 0.1, 0.4),
        (0.5, 100_000, 0.1, 0.6),
        (0.75, 20_000_000, 0.1, 0.75 - 0.1 * 1.301029995663981),
        (0.5, 10_000_000, 0.0, 0.5),
        (0.5, 100_000_000, 0.02, 0.46),
    ],
)
def test_score_by_hand(performance: float, macs: int, penalty: float, expected: float) -> None:
    assert Score(penalty)(_evaluation(performance, macs)) == pytest.approx(expected, abs=1e-12)


def test_the_score_weighs_the_resource_it_is_told_to() -> None:
    resources = Resources(macs=10**7, params=10**6, memory=10**4, cell_params=10**5)
    names: list[tuple[str, float]] = [("macs", 0.4), ("params", 0.5), ("memory", 0.7), ("cell_params", 0.6)]
    for name, expected in names:
        assert Score(0.1, name).of(0.5, CELL, resources) == pytest.approx(expected)
        assert Score(0.1, name).cost(resources) == resources[name]


def test_a_cell_without_parameters_of_its_own_counts_as_having_one() -> None:
    """One stage as wide as the stem, and no edge left: the shortcut is the identity."""
    cost = count(proxy_architecture(Cell("conv", CELL.ops, ()), shape=(1, 8, 8), stem=8, widths=(8,)))
    assert cost.cell_params == 0
    score = Score(0.1, "cell_params")
    assert (
        score.of(0.5, CELL, Resources(1, 1, 1, 0)) == score.of(0.5, CELL, Resources(1, 1, 1, 1)) == pytest.approx(1.1)
    )


@given(FINITE, FINITE, st.integers(1, 10**12), st.floats(0, 1))
@settings(deadline=None)
def test_higher_performance_never_scores_lower(one: float, other: float, macs: int, penalty: float) -> None:
    low, high = sorted((one, other))
    assert Score(penalty)(_evaluation(low, macs)) <= Score(penalty)(_evaluation(high, macs))


def test_a_failed_candidate_is_never_preferred() -> None:
    score = Score(penalty=10.0)
    failed, terrible = _evaluation(None, macs=1), _evaluation(-1e9, macs=10**15)
    assert failed.failed
    assert not terrible.failed
    assert score(failed) == -math.inf
    assert score.preference(failed) < score.preference(terrible)


def test_ties_go_to_the_cheaper_cell_then_to_fewer_branches() -> None:
    score = Score(penalty=0.0)
    forked: tuple[Edge, ...] = ((0, 1), (0, 2), (0, 3))
    chain: tuple[Edge, ...] = ((0, 1), (1, 2), (2, 3))
    ranking = [
        _evaluation(0.6, 300, edges=forked),
        _evaluation(0.5, 100, edges=chain),
        _evaluation(0.5, 100, edges=forked),
        _evaluation(0.5, 200, edges=chain),
        _evaluation(None, 50, edges=chain),
        _evaluation(None, 60, edges=chain),
    ]
    for shift in range(len(ranking)):
        mixed = ranking[shift:] + ranking[:shift]
        assert sorted(mixed, key=score.preference, reverse=True) == ranking


# The released score of recurrent cells


def _recurrent(edges: int, width: int, perplexity: float) -> Evaluation:
    """A cell of so many edges, its costs counted."""
    pairs = tuple(combinations(range(8), 2))[:edges]
    cell = Cell("recurrent", ("input", *["tanh"] * 7), pairs)
    assert len(cell.edges) == edges
    cost = count(recurrent_proxy(cell, vocabulary=50, width=width))
    resources = Resources(cost.macs, cost.params, cost.peak_activation_bytes, cost.cell_params)
    return Evaluation(cell, resources, 7, "1 epoch", -math.log(perplexity))


@pytest.mark.parametrize(
    ("edges", "width", "perplexity", "penalty", "expected"),
    [
        (8, 100, 150.0, 1.0, 12.5 - math.log10(8 * 100**2 / 10**6)),
        (8, 100, 150.0, 1.0, 12.5 + 1.09691001300806),
        (10, 1000, 200.0, 1.0, -1.0),
        (1, 1000, 240.0, 5.0, -10.0),
        (15, 200, 100.0, 0.0, 25.0),
    ],
)
def test_released_score_by_hand(edges: int, width: int, perplexity: float, penalty: float, expected: float) -> None:
    """S = ¼·(200 − perplexity) − λ·log10(|E|·n²/10⁶), whichever resource the run's tables weigh."""
    names: tuple[str, ...] = ("cell_params", "macs")
    for name in names:
        score = Score(penalty, name, "released-text")
        assert score(_recurrent(edges, width, perplexity)) == pytest.approx(expected, abs=1e-9)


def test_where_the_released_score_has_no_value_a_cell_loses() -> None:
    score = Score(1.0, "cell_params", "released-text")
    empty, hopeless, poor = _recurrent(0, 100, 2.0), _recurrent(1, 100, 2.0), _recurrent(1, 100, 1e300)
    assert score(empty) == -math.inf, "log10 of no edge"
    assert score(replace(hopeless, performance=-1e4)) == -math.inf, "e^10000 is no float"
    assert score(replace(hopeless, performance=None, reason="diverged")) == -math.inf
    assert -math.inf < score(poor) < score(_recurrent(1, 100, 2.0))
    assert score.preference(empty) < score.preference(poor)


@given(st.floats(1.5, 1e4), st.integers(1, 28), st.integers(1, 800), st.floats(0, 3))
@settings(deadline=None)
def test_the_slope_is_the_derivative_of_the_score(perplexity: float, edges: int, width: int, penalty: float) -> None:
    """And does not depend on cell and cost; a central difference is off by the third derivative times h²/6."""
    one, h = _recurrent(edges, width, perplexity), 1e-4
    formulas: tuple[FormulaName, ...] = ("paper", "released-text")
    for formula in formulas:
        score, at = Score(penalty, "macs", formula), -math.log(perplexity)
        rise = score.of(at + h, one.cell, one.resources) - score.of(at - h, one.cell, one.resources)
        assert rise / (2 * h) == pytest.approx(score.slope(at), rel=1e-6, abs=1e-7)


def test_the_slope_by_hand() -> None:
    assert Score(0.1).slope(-3.0) == 1.0
    assert Score(1.0, "cell_params", "released-text").slope(-math.log(150)) == pytest.approx(37.5)
    assert math.isfinite(Score(1.0, "cell_params", "released-text").slope(-1e9))


# The Pareto front

POINTS = st.lists(st.tuples(st.none() | st.integers(0, 6).map(float), st.integers(1, 8)), max_size=14)


def _dominates(one: Evaluation, other: Evaluation) -> bool:
    """As good and as cheap, and better in one of the two."""
    assert one.performance is not None
    assert other.performance is not None
    ahead = (one.performance - other.performance, other.resources.macs - one.resources.macs)
    return min(ahead) >= 0 and max(ahead) > 0


@given(POINTS)
@settings(max_examples=300, deadline=None)
def test_the_front_is_what_nothing_dominates(points: list[tuple[float | None, int]]) -> None:
    everyone = [_evaluation(performance, macs) for performance, macs in points]
    usable = [one for one in everyone if not one.failed]
    front = pareto_front(everyone, lambda resources: resources.macs)
    for one in front:
        assert any(one is member for member in usable)
        assert not any(_dominates(other, one) for other in usable)
    for other in usable:
        equal = (other.performance, other.resources.macs)
        on_front = [one for one in front if (one.performance, one.resources.macs) == equal]
        assert on_front or any(_dominates(one, other) for one in front)
    costs = [one.resources.macs for one in front]
    assert costs == sorted(set(costs))


@given(POINTS)
@settings(deadline=None)
def test_a_front_is_its_own_front(points: list[tuple[float | None, int]]) -> None:
    front = pareto_front([_evaluation(*point) for point in points], lambda resources: resources.macs)
    assert pareto_front(front, lambda resources: resources.macs) == front
    assert pareto_front(front[::-1], lambda resources: resources.macs) == front


def test_a_front_by_hand() -> None:
    points = [(0.7, 30), (0.5, 10), (0.6, 20), (0.6, 25), (0.4, 20), (0.7, 30), (None, 1)]
    everyone = [_evaluation(performance, macs) for performance, macs in points]
    front = pareto_front(everyone, lambda resources: resources.macs)
    assert [everyone.index(one) for one in front] == [1, 2, 0]
    assert front[2] is everyone[0], "of equal ones the first"
    assert pareto_front(everyone, lambda resources: resources.params)[0].performance == 0.7


# Comparisons


def test_comparison_by_hand() -> None:
    """Of ten images the first alone gets three right, the second alone one: (3 − 1)/10 ± √(4 − 4/10)/10."""
    one, other = _bits("1110111100"), _bits("0001111100")
    first, second = _evaluation(0.7, correct=one), _evaluation(0.5, correct=other)
    assert (sum(one), sum(other)) == (7, 5)
    wins, losses = 3, 1
    result = compare(first, second)
    assert result.standard_error == pytest.approx(math.sqrt(wins + losses - (wins - losses) ** 2 / 10) / 10)
    assert result.standard_error == pytest.approx(0.18973665961)
    assert result.difference == pytest.approx((wins - losses) / 10)
    assert compare(second, first).difference == -result.difference
    assert compare(second, first).standard_error == result.standard_error


def test_images_on_which_both_agree_carry_no_noise() -> None:
    same = _bits("1101")
    assert compare(_evaluation(0.75, correct=same), _evaluation(0.75, correct=same)).standard_error == 0.0
    everything, nothing = _evaluation(1.0, correct=_bits("1111")), _evaluation(0.0, correct=_bits("0000"))
    assert compare(everything, nothing).difference == 1.0
    assert compare(everything, nothing).standard_error == 0.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
@settings(deadline=None)
def test_the_standard_error_is_that_of_a_mean_of_differences(pairs: list[tuple[bool, bool]]) -> None:
    one, other = (tuple(column) for column in zip(*pairs, strict=True))
    count = len(pairs)
    result = compare(_evaluation(sum(one) / count, correct=one), _evaluation(sum(other) / count, correct=other))
    gaps = [int(a) - int(b) for a, b in pairs]
    assert result.difference == pytest.approx(statistics.fmean(gaps))
    assert result.standard_error == pytest.approx(statistics.pstdev(gaps) / math.sqrt(count), abs=1e-9)


def test_the_standard_error_agrees_with_a_bootstrap_over_images() -> None:
    rng = np.random.default_rng(5)
    images, draws = 250, 20_000
    one = rng.random(images) < 0.8
    other = np.where(rng.random(images) < 0.15, ~one, one)
    first = _evaluation(float(one.mean()), correct=tuple(one.tolist()))
    second = _evaluation(float(other.mean()), correct=tuple(other.tolist()))
    gap = one.astype(int) - other.astype(int)
    shares = [(gap == value).mean() for value in (1, -1, 0)]
    drawn = rng.multinomial(images, shares, size=draws)
    differences = (drawn[:, 0] - drawn[:, 1]) / images
    result = compare(first, second)
    assert result.standard_error == pytest.approx(differences.std(), rel=0.03)
    assert result.difference == pytest.approx(differences.mean(), abs=5 * differences.std() / math.sqrt(draws))


@given(st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=2, max_size=60))
@settings(deadline=None)
def test_parts_of_a_text_are_compared_as_a_textbook_pairs_them(pairs: list[tuple[float, float]]) -> None:
    """The deviation of the differences over √n; performance is the mean of the parts."""
    one, other = np.array(pairs).T
    first, second = (_evaluation(float(side.mean()), parts=tuple(side.tolist())) for side in (one, other))
    result = compare(first, second)
    assert result.difference == pytest.approx(float((one - other).mean()), abs=1e-9)
    assert result.standard_error == pytest.approx(float(np.std(one - other)) / math.sqrt(len(pairs)), abs=1e-6)
    assert compare(first, first) == Comparison(0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, LEVELS), st.integers(0, LEVELS)), min_size=1, max_size=40), st.floats(0, 1))
@settings(deadline=None)
def test_images_are_judged_by_probability_where_it_is_known(levels: list[tuple[int, int]], accuracy: float) -> None:
    """S, preference and comparison are of the mean probability; the performance stays what was reported."""
    one, other = np.array(levels).T / LEVELS
    right = (True,) * len(levels)
    first, second = (_evaluation(accuracy, correct=right, parts=tuple(side.tolist())) for side in (one, other))
    assert first.performance == accuracy
    assert first.judged == pytest.approx(float(one.mean()), abs=1e-12)
    assert Score(0.0)(first) == first.judged
    assert Evaluation.from_json(first.to_json()).judged == first.judged
    result = compare(first, second)
    assert result.difference == pytest.approx(float((one - other).mean()), abs=1e-12)
    assert result.standard_error == pytest.approx(float(np.std(one - other)) / math.sqrt(len(levels)), abs=1e-6)
    assert _evaluation(accuracy, correct=right).judged == accuracy
    assert _evaluation(-4.0, parts=(-3.0, -5.0)).judged == -4.0


def test_pairing_parts_is_worth_it() -> None:
    """Where one text is hard for both, the difference of two models is known far better than either."""
    rng = np.random.default_rng(3)
    hard = rng.normal(-5, 1, 400)
    one, other = hard + rng.normal(0.1, 0.05, 400), hard
    first, second = (_evaluation(float(side.mean()), parts=tuple(side.tolist())) for side in (one, other))
    result = compare(first, second)
    assert result.standard_error == pytest.approx(0.05 / 20, rel=0.1)
    assert (result.standard_error or 0) < 0.1 * math.sqrt(one.var() / 400 + other.var() / 400)


def test_without_shared_images_the_error_is_unknown() -> None:
    table: list[tuple[tuple[bool, ...] | None, tuple[bool, ...] | None]] = [
        (None, None),
        (_bits("10"), None),
        (None, _bits("10")),
        (_bits("10"), _bits("101")),
    ]
    for one, other in table:
        result = compare(_evaluation(0.75, correct=one), _evaluation(0.5, correct=other))
        assert (result.difference, result.standard_error) == (0.25, None)


def test_a_failed_candidate_cannot_be_compared() -> None:
    for pair in ((_evaluation(None), _evaluation(0.5)), (_evaluation(0.5), _evaluation(None))):
        with pytest.raises(InputError, match="a failed candidate has no performance to compare"):
            compare(*pair)


@given(st.lists(FINITE, min_size=2, max_size=20))
@settings(deadline=None)
def test_mean_and_deviation_agree_with_the_standard_library(values: list[float]) -> None:
    mean, deviation = mean_and_deviation(values)
    assert mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert deviation == pytest.approx(statistics.stdev(values), abs=1e-6, rel=1e-6)


def test_the_deviation_of_a_single_value_is_unknown() -> None:
    assert mean_and_deviation([0.25]) == (0.25, None)
    assert mean_and_deviation([1.0, 3.0]) == (2.0, math.sqrt(2.0))
    no_values: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        mean_and_deviation(no_values)
