"""Settings: defaults by mode and data set, refusals by name, and how overrides are laid on each other."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autoshrink.config import Limits, Recipe, SearchSettings, merge, resolve
from autoshrink.errors import InputError
from autoshrink.score import Resources, Score

NESTED: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.none(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.integers() | inner, max_size=3),
    max_leaves=6,
)


def _paths(value: dict[str, Any], place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every leaf with its place; an empty section is a leaf."""
    found: dict[tuple[str, ...], Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            found |= _paths(inner, (*place, key))
        else:
            found[*place, key] = inner
    return found


# Defaults


def test_the_digits_need_no_settings() -> None:
    chosen = resolve({})
    assert (chosen.task, chosen.mode, chosen.strategy, chosen.evaluator) == ("image", "sound", "autoshrink", "trained")
    assert chosen.data.spec == "digits"
    assert (chosen.nodes, chosen.candidates, chosen.penalty) == (6, 5, 0.02)
    assert (chosen.network.stem, chosen.network.widths) == (16, (8, 16, 32))
    assert (chosen.recipe.epochs, chosen.recipe.batch) == (8, 64)
    assert chosen == resolve({"data": {"spec": "digits"}}) == resolve({"data": {}})


def test_other_data_gets_the_papers_search_on_sound_footing() -> None:
    chosen = resolve({"data": {"spec": "cifar10"}})
    assert chosen == SearchSettings.from_json({"data": {"spec": "cifar10"}})
    assert (chosen.nodes, chosen.candidates, chosen.penalty, chosen.resource) == (8, 10, 0.1, "macs")
    assert (chosen.network.stem, chosen.network.widths, chosen.network.activation) == (32, (16, 32, 64), "relu")
    assert (chosen.data.train_per_class, chosen.data.validation_per_class, chosen.data.replacement) == (500, 250, False)
    assert (chosen.paired, chosen.reselect, chosen.finalists, chosen.repeats) == (True, True, 5, 3)
    recipe = chosen.recipe
    assert (recipe.epochs, recipe.batch, recipe.learning_rate) == (20, 128, 4e-3)
    assert (recipe.l2, recipe.shortcut_l2, recipe.augment) == (1e-5, 4e-5, False)
    assert (recipe.patience, recipe.floor_epoch, recipe.stop_accuracy, recipe.overfit_ratio) == (5, 3, None, None)
    assert (chosen.stop.edges, chosen.stop.evaluations, chosen.limits) == (0, None, Limits())


def test_paper_mode_does_what_the_released_search_does() -> None:
    chosen = resolve({"mode": "paper", "data": {"spec": "cifar10"}})
    assert (chosen.data.validation_per_class, chosen.data.replacement) == (100, True)
    assert (chosen.recipe.stop_accuracy, chosen.recipe.overfit_ratio) == (0.98, 3.0)
    assert (chosen.recipe.patience, chosen.recipe.floor_epoch, chosen.recipe.epochs) == (5, 3, 20)
    assert (chosen.paired, chosen.reselect, chosen.candidates) == (False, False, 10)


def test_paper_mode_on_digits_keeps_the_small_network() -> None:
    chosen = resolve({"mode": "paper"})
    assert (chosen.nodes, chosen.network.widths, chosen.recipe.epochs) == (6, (8, 16, 32), 8)
    assert (chosen.recipe.stop_accuracy, chosen.data.replacement, chosen.paired) == (0.98, True, False)


@pytest.mark.parametrize("mode", ["sound", "paper"])
def test_what_a_person_asks_for_wins_over_every_default(mode: str) -> None:
    asked: dict[str, Any] = {
        "mode": mode,
        "nodes": 9,
        "paired": True,
        "network": {"widths": [4]},
        "recipe": {"epochs": 3, "stop_accuracy": None},
        "data": {"validation_per_class": 7, "replacement": False},
    }
    chosen = resolve(asked)
    assert (chosen.nodes, chosen.paired, chosen.network.widths, chosen.network.stem) == (9, True, (4,), 16)
    assert (chosen.recipe.epochs, chosen.recipe.stop_accuracy, chosen.recipe.batch) == (3, None, 64)
    assert (chosen.data.validation_per_class, chosen.data.replacement) == (7, False)


def test_the_score_is_that_of_the_settings() -> None:
    assert resolve({"penalty": 0.3, "resource": "params"}).score == Score(0.3, "params")


# Files


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "mode": st.sampled_from(["sound", "paper"]),
            "nodes": st.integers(2, 64),
            "candidates": st.integers(1, 50) | st.just("all"),
            "penalty": st.floats(0, 10),
            "resource": st.sampled_from(["macs", "params", "memory"]),
            "start": st.text(max_size=10),
            "seed": st.integers(0, 2**40),
            "threads": st.none() | st.integers(1, 64),
            "network": st.fixed_dictionaries({"widths": st.lists(st.integers(1, 99), min_size=1, max_size=5)}),
            "limits": st.fixed_dictionaries({"max_macs": st.none() | st.integers(1, 10**12)}),
            "data": st.fixed_dictionaries({"spec": st.text(max_size=9), "max_corrupt": st.floats(0, 1)}),
            "stop": st.fixed_dictionaries({"seconds": st.none() | st.floats(1e-3, 1e6)}),
        },
    )
)
@settings(deadline=None)
def test_settings_survive_json(overrides: dict[str, Any]) -> None:
    chosen = resolve(overrides)
    again = SearchSettings.from_json(json.loads(json.dumps(chosen.to_json())))
    assert again == chosen
    assert again.to_json() == chosen.to_json()
    assert resolve(chosen.to_json()) == chosen


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        resolve({}).recipe.epochs = 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"colour": 1}, "setting colour: Extra inputs are not permitted"),
        *(
            ({section: {"colour": 1}}, f"setting {section}.colour: Extra inputs are not permitted")
            for section in ("data", "network", "recipe", "limits", "stop")
        ),
        ({"task": "audio"}, "setting task: Input should be 'image' (got 'audio')"),
        ({"mode": "fast"}, "setting mode: Input should be 'sound' or 'paper' (got 'fast')"),
        ({"strategy": "luck"}, "setting strategy: "),
        ({"evaluator": "luck"}, "setting evaluator: "),
        ({"nodes": 1}, "setting nodes: Input should be greater than or equal to 2 (got 1)"),
        ({"nodes": 65}, "setting nodes: Input should be less than or equal to 64 (got 65)"),
        ({"nodes": "many"}, "setting nodes: "),
        ({"candidates": 0}, "setting candidates"),
        ({"candidates": "some"}, "setting candidates"),
        ({"penalty": -0.1}, "setting penalty: Input should be greater than or equal to 0 (got -0.1)"),
        ({"resource": "flops"}, "setting resource: Input should be 'macs', 'params' or 'memory' (got 'flops')"),
        ({"seed": -1}, "setting seed: "),
        ({"threads": 0}, "setting threads: "),
        ({"finalists": 0}, "setting finalists: "),
        ({"repeats": -1}, "setting repeats: "),
        ({"data": {"channels": 2}}, "setting data.channels: Input should be 1 or 3 (got 2)"),
        ({"data": {"max_corrupt": 1.1}}, "setting data.max_corrupt: "),
        ({"data": {"train_per_class": 0}}, "setting data.train_per_class: "),
        ({"data": "digits"}, "setting data: "),
        ({"network": {"widths": []}}, "setting network.widths: "),
        ({"network": {"widths": [8, 0]}}, "setting network.widths.1: Input should be greater than 0 (got 0)"),
        ({"network": {"activation": "mish"}}, "setting network.activation: "),
        ({"recipe": {"epochs": 0}}, "setting recipe.epochs: "),
        ({"recipe": {"batch": 1}}, "setting recipe.batch: Input should be greater than or equal to 2 (got 1)"),
        ({"recipe": {"learning_rate": 0}}, "setting recipe.learning_rate: "),
        ({"recipe": {"stop_accuracy": 98}}, "setting recipe.stop_accuracy: "),
        ({"recipe": {"precision": "float16"}}, "setting recipe.precision: "),
        ({"recipe": 3}, "setting recipe: "),
        ({"limits": {"max_macs": 0}}, "setting limits.max_macs: "),
        ({"stop": {"edges": -1}}, "setting stop.edges: "),
        ({"stop": {"seconds": 0}}, "setting stop.seconds: "),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(overrides: dict[str, Any], said: str) -> None:
    for mode in ({}, {"mode": "paper"}) if "mode" not in overrides else ({},):
        with pytest.raises(InputError) as caught:
            resolve({**overrides, **mode})
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
@pytest.mark.parametrize(
    "place", ["penalty", "recipe.learning_rate", "recipe.l2", "recipe.overfit_ratio", "stop.seconds"]
)
def test_numbers_that_are_not_finite_are_refused(place: str, number: str) -> None:
    section, _, name = place.rpartition(".")
    value = {name: json.loads(number)}
    with pytest.raises(InputError, match=name):
        resolve({section: value} if section else value)


# Merging


@given(NESTED, NESTED)
@settings(max_examples=300, deadline=None)
def test_merging_keeps_every_leaf_of_the_upper_and_what_it_leaves_free_of_the_lower(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    before = json.dumps([base, over])
    merged = merge(base, over)
    assert json.dumps([base, over]) == before, "neither is changed"
    upper, lower, both = (_paths(value) for value in (over, base, merged))
    for place, value in upper.items():
        if value != {}:
            assert both[place] == value
    for place, value in lower.items():
        touched = any(place[: len(other)] == other or other[: len(place)] == place for other in upper)
        if not touched:
            assert both[place] == value
    assert set(both) <= set(upper) | set(lower)


@given(NESTED)
@settings(deadline=None)
def test_merging_with_nothing_or_itself_changes_nothing(value: dict[str, Any]) -> None:
    assert merge(value, {}) == merge({}, value) == merge(value, value) == value


def test_merging_by_hand() -> None:
    base = {"a": 1, "s": {"x": 1, "y": [1, 2]}, "t": {"z": 1}}
    assert merge(base, {"a": 2, "s": {"y": [3]}}) == {"a": 2, "s": {"x": 1, "y": [3]}, "t": {"z": 1}}
    assert merge(base, {"s": None}) == {"a": 1, "s": None, "t": {"z": 1}}
    assert merge(base, {"a": {"x": 1}}) == {"a": {"x": 1}, "s": {"x": 1, "y": [1, 2]}, "t": {"z": 1}}


# Limits


def test_the_first_broken_limit_is_named() -> None:
    at = Resources(macs=1_000, params=200_000, memory=30)
    table: list[tuple[dict[str, int], str | None]] = [
        ({}, None),
        ({"max_macs": 1_000, "max_params": 200_000, "max_memory": 30}, None),
        ({"max_macs": 999}, "macs 1,000 above 999"),
        ({"max_params": 199_999}, "params 200,000 above 199,999"),
        ({"max_memory": 29}, "memory 30 above 29"),
        ({"max_macs": 2_000, "max_memory": 1, "max_params": 1}, "params 200,000 above 1"),
    ]
    for limits, said in table:
        assert Limits(**limits).broken_by(at) == said


def test_recipe_defaults_stand_alone() -> None:
    assert Recipe() == resolve({"data": {"spec": "anything"}}).recipe
