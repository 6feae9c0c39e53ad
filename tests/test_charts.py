"""Scales, ticks and marks."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale

finite = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: round(value, 6))
positive = st.floats(1e-3, 1e12)


@given(st.lists(finite, max_size=20))
def test_everything_lies_inside_its_scale(values: list[float]) -> None:
    scale = Scale.around(values, 50, 650)
    assert all(50 <= scale(value) <= 650 for value in values)


@given(st.lists(positive, min_size=1, max_size=20))
def test_everything_lies_inside_a_logarithmic_scale(values: list[float]) -> None:
    scale = Scale.around(values, 650, 50, log=True)
    assert all(50 <= scale(value) <= 650 for value in values)


@given(st.lists(finite, max_size=5), st.integers(2, 8))
def test_ticks_are_few_inside_and_evenly_spaced(values: list[float], about: int) -> None:
    scale = Scale.around(values, 0, 100)
    ticks = scale.ticks(about)
    slack = 1e-6 * (scale.high - scale.low)
    assert len(ticks) <= about + 1
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    assert all(math.isclose(gap, gaps[0], rel_tol=1e-3) for gap in gaps)


@given(st.lists(positive, min_size=2, max_size=5, unique=True))
def test_logarithmic_ticks_rise_inside(values: list[float]) -> None:
    scale = Scale.around(values, 0, 100, log=True)
    ticks = scale.ticks()
    assert list(ticks) == sorted(set(ticks))
    assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_round_values_are_ticks() -> None:
    assert Scale(0, 1, 0, 100).ticks(5) == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert Scale(0.5e6, 2e8, 0, 100, log=True).ticks(4) == (1e6, 1e7, 1e8)


def test_equal_factors_are_equal_distances_on_a_logarithmic_scale() -> None:
    scale = Scale(1, 1000, 0, 300, log=True)
    assert scale(10) == 100
    assert scale(100) == 200


def test_a_backward_axis_runs_backwards() -> None:
    scale = Scale(28, 0, 0, 280)
    assert scale(28) == 0
    assert scale(0) == 280


def test_staircase_goes_along_x_first() -> None:
    assert charts.staircase([(0, 9), (5, 4), (7, 1)]) == [(0, 9), (5, 9), (5, 4), (7, 4), (7, 1)]
    assert charts.staircase([]) == []


def test_words_in_marks_are_escaped() -> None:
    evil = "<b>&"
    for mark in (
        charts.label(0, 0, evil),
        charts.dot(0, 0, "dot", tip=evil),
        charts.mark(0, 0, charts.CROSS, "failed", tip=evil, key="1"),
        charts.mark(0, 0, charts.DIAMOND, "again", tip=evil),
    ):
        assert "".join(ET.fromstring(mark).itertext()) == evil


def test_every_tick_has_a_rule_and_its_value() -> None:
    panel = Panel(Scale(0, 10, 50, 150), Scale(0, 1, 100, 0))
    root = ET.fromstring(f"<g>{panel.rules((0.0, 0.5, 1.0), lambda value: f'{value:g}')}{panel.foot([0, 5], str)}</g>")
    rules = [float(line.get("y1") or "nan") for line in root.iter("line") if line.get("class") == "rule"]
    assert rules == [100, 50, 0]
    assert {text.text for text in root.iter("text")} >= {"0", "0.5", "1", "5"}


def test_a_line_needs_two_points() -> None:
    assert charts.polyline([(1, 2)], "trail") == ""
    assert ET.fromstring(charts.polyline([(1, 2), (3, 4)], "trail")).get("points") == "1.0,2.0 3.0,4.0"


def test_one_hopeless_value_does_not_stretch_an_axis() -> None:
    usual = [-5.6, -5.7, -5.65, -5.62, -6.4, -5.8]
    assert sorted(charts.in_view([*usual, -30.0])) == sorted(usual)
    assert -30.0 in charts.in_view([*usual, -30.0], [-30.0]), "what the search went on with is always shown"
    assert charts.in_view([-30.0, 1.0]) == [-30.0, 1.0], "too few to tell"
    assert charts.in_view([]) == []


@given(st.lists(st.floats(0.9, 1.0), min_size=4, max_size=50))
def test_the_upper_half_is_always_in_view(values: list[float]) -> None:
    assert set(charts.in_view(values)) >= set(sorted(values)[len(values) // 2 :])


def test_a_value_below_the_axis_is_held_at_its_foot() -> None:
    panel = Panel(Scale(0, 1, 0, 100), Scale(10, 20, 200, 100))
    assert panel.held(15) == panel.y(15)
    assert panel.held(-3) == panel.held(10) == panel.y(10) == 200
