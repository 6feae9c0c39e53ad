"""How accuracy and perplexity are written: hand-made tables, and laws of ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink import formatting
from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.evaluation import EvaluatorKind
from autoshrink.evaluators.zico import scaled
from autoshrink.metrics import ACCURACY, PERPLEXITY, log_values, metric_of, round_values, shown_resources
from autoshrink.ops import DEFAULTS

T = formatting.THIN


def ln(*perplexities: float) -> tuple[float, ...]:
    return tuple(-math.log(value) for value in perplexities)


def test_accuracy_is_written_in_percent() -> None:
    assert ACCURACY.value(0.972) == 0.972
    assert ACCURACY.write(0.972) == f"97.2{T}%"
    assert ACCURACY.write(0.972, fine=True) == f"97.20{T}%"
    assert ACCURACY.measured(0.972, 0.007) == f"97.2{T}±{T}0.7{T}%"
    assert ACCURACY.measured(0.972, None) == f"97.2{T}%"
    assert ACCURACY.shift(0.972, 0.976) == "−0.4"
    assert ACCURACY.difference(0.972, 0.968, 0.002) == "+0.4 ± 0.2 points"
    assert ACCURACY.gained(0.972, 0.968) == "0.4 points more accuracy"
    assert ACCURACY.gained(0.96, 0.968) == "0.8 points less accuracy"
    assert ACCURACY.axis == "Validation accuracy"


@pytest.mark.parametrize(
    ("perplexity", "shown", "fine"),
    [(1, "1.000", "1.0000"), (3.21456, "3.215", "3.2146"), (57.3041, "57.30", "57.304"), (231.44, "231.4", "231.44"),
     (12_345.6, "12345.6", "12345.60"), (2.5e9, "2.5e+09", "2.5e+09")],
)  # fmt: skip
def test_perplexity_has_four_digits(perplexity: float, shown: str, fine: str) -> None:
    (performance,) = ln(perplexity)
    assert PERPLEXITY.value(performance) == pytest.approx(perplexity)
    assert PERPLEXITY.write(performance) == shown
    assert PERPLEXITY.write(performance, fine=True) == fine


def test_perplexity_falls_where_performance_rises() -> None:
    better, worse = ln(231.4, 238.5)
    assert PERPLEXITY.shift(better, worse) == "−7.1"
    assert PERPLEXITY.shift(better, worse, 0.004) == "−7.1 ± 0.9"
    assert PERPLEXITY.difference(better, worse) == f"−7.1 (−3{T}%)"
    assert PERPLEXITY.difference(worse, better) == f"+7.1 (+3{T}%)"
    assert PERPLEXITY.difference(better, better) == f"±0.0 (±0.0{T}%)"
    assert PERPLEXITY.gained(better, worse) == f"3.0{T}% lower perplexity"
    assert PERPLEXITY.gained(worse, better) == f"3.1{T}% higher perplexity"
    assert PERPLEXITY.axis == "Validation perplexity (lower is better)"


def test_a_deviation_in_nats_is_one_of_perplexity_to_first_order() -> None:
    (performance,) = ln(231.4)
    assert PERPLEXITY.measured(performance, 0.0134) == f"231.4{T}±{T}3.1"
    assert PERPLEXITY.measured(performance, None) == "231.4"
    assert PERPLEXITY.error(0.0134, performance, fine=True) == "3.10"


def test_a_perplexity_that_is_no_float_can_still_be_written() -> None:
    hopeless, usual = -900.0, ln(231.4)[0]
    assert PERPLEXITY.write(hopeless) == "∞"
    assert PERPLEXITY.difference(hopeless, usual) == f"+∞ (+∞{T}%)"
    assert PERPLEXITY.difference(usual, hopeless) == f"−∞ (−100{T}%)"
    assert PERPLEXITY.shift(hopeless, hopeless, 0.0) == "±0.0 ± 0.0"
    assert PERPLEXITY.shift(hopeless, hopeless - 1) == "unknown"


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0.5, 1.0, 4, (0.6, 0.8, 1.0)),
        (0.93, 0.972, 4, (0.93, 0.94, 0.95, 0.96, 0.97)),
        (0.91, 0.985, 4, (0.92, 0.94, 0.96, 0.98)),
        (0.9, 0.9, 4, ()),
    ],
)
def test_ticks_of_accuracy(low: float, high: float, about: int, expected: tuple[float, ...]) -> None:
    assert ACCURACY.ticks(low, high, about) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("least", "most", "labels"),
    [
        (200, 300, ["300", "250", "200"]),
        (228, 251, ["250", "245", "240", "235", "230"]),
        (95, 410, ["400", "300", "200", "100"]),
        (40, 900, ["500", "200", "100", "50"]),
        (3.11, 3.19, ["3.18", "3.16", "3.14", "3.12"]),
        (50, 2_000_000, ["1M", "100K", "10K", "1000", "100"]),
        (250, 250, []),
    ],
)
def test_ticks_of_perplexity(least: float, most: float, labels: list[str]) -> None:
    low, high = ln(most, least)
    ticks = PERPLEXITY.ticks(low, high)
    assert [PERPLEXITY.tick(tick) for tick in ticks] == labels


@given(st.floats(-2000, 0), st.floats(0.001, 2000), st.integers(3, 6))
def test_ticks_of_perplexity_ascend_inside_and_are_few(high: float, length: float, about: int) -> None:
    low = high - length
    ticks = PERPLEXITY.ticks(low, high, about)
    assert list(ticks) == sorted(set(ticks))
    assert all(low - 1e-6 <= tick <= high + 1e-6 for tick in ticks)
    assert len(ticks) <= about + 2


@given(st.floats(1e-3, 1e9), st.floats(1.0, 1e9), st.integers(3, 6))
def test_log_values_lie_inside(low: float, ratio: float, about: int) -> None:
    values = log_values(low, low * ratio, about)
    assert all(low <= value <= low * ratio for value in values)
    assert list(values) == sorted(set(values))
    assert len(values) <= about + 2


def test_round_values_are_multiples_of_one_two_or_five() -> None:
    assert round_values(0, 1, 5) == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert round_values(-3, 12, 4) == (0.0, 5.0, 10.0)
    assert round_values(1, 1, 4) == ()


def test_every_search_has_the_metric_of_its_task_and_every_cell_that_of_its_kind() -> None:
    for task, metric, kind in (("image", ACCURACY, "conv"), ("text", PERPLEXITY, "recurrent")):
        assert metric_of(resolve({"task": task})) is metric
        assert metric_of(Cell(kind, ("input", DEFAULTS[kind][0]), ())) is metric


def test_estimates_have_the_units_of_what_they_estimate_and_their_own_names() -> None:
    accuracy, perplexity = ACCURACY.estimated(), PERPLEXITY.estimated()
    assert (accuracy.name, accuracy.symbol) == ("estimated accuracy", "estimated accuracy")
    assert (perplexity.name, perplexity.symbol) == ("estimated perplexity", "−ln estimated perplexity")
    assert perplexity.axis == "Estimated validation perplexity (lower is better)"
    assert accuracy.difference(0.972, 0.968, 0.002) == "+0.4 ± 0.2 points"
    zico = scaled(PERPLEXITY)
    assert zico.write(-1.25) == "−1.2500"
    assert zico.difference(0.5, 0.25, 0.125) == "+0.2500 ± 0.1250"
    assert zico.gained(0.25, 0.5) == "0.2500 less scaled ZiCo"
    assert zico.sample == "token"


def test_tables_show_the_costs_of_the_task_and_the_one_that_is_weighed() -> None:
    assert shown_resources(resolve({})) == ("macs", "params", "memory")
    assert shown_resources(resolve({"resource": "cell_params"})) == ("cell_params", "macs", "params", "memory")
    assert shown_resources(resolve({"task": "text"})) == ("cell_params", "params", "macs", "memory")


def test_an_evaluator_that_says_no_metric_has_what_its_figures_are() -> None:
    def kind(*, relative: bool = False, trains: bool = True) -> EvaluatorKind:
        return EvaluatorKind(lambda _: pytest.fail("none is made"), relative=relative, trains=trains)

    assert kind().shown(ACCURACY) is ACCURACY
    assert kind(relative=True).shown(PERPLEXITY).name == "estimated perplexity"
    untrained = kind(relative=True, trains=False).shown(ACCURACY)
    assert (untrained.name, untrained.write(0.5), untrained.trained) == ("score", "0.5000", False)
