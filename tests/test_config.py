"""Settings: defaults by mode and data set, refusals by name, and how overrides are laid on each other."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autoshrink.config import (
    ImageRecipe,
    ImageSettings,
    Limits,
    TextRecipe,
    TextSettings,
    merge,
    resolve,
    settings_from_json,
)
from autoshrink.config.base import batch_for
from autoshrink.config.training import default_rate, training_settings
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import Score

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


def _images(overrides: dict[str, Any]) -> ImageSettings:
    chosen = resolve(overrides)
    assert isinstance(chosen, ImageSettings)
    return chosen


def _text(overrides: dict[str, Any]) -> TextSettings:
    chosen = resolve({"task": "text"} | overrides)
    assert isinstance(chosen, TextSettings)
    return chosen


# Defaults


@pytest.mark.parametrize(
    ("overrides", "evaluator"),
    [
        ({}, "trained"),
        ({"task": "text"}, "trained"),
        ({"data": {"spec": "photos"}}, "inherited"),
        ({"task": "text", "data": {"spec": "ptb"}}, "inherited"),
        ({"data": {"spec": "photos"}, "mode": "paper"}, "trained"),
        ({"data": {"spec": "photos"}, "evaluator": "trained"}, "trained"),
        ({"strategy": "oneshot"}, "shared"),
        ({"task": "text", "strategy": "ddpnas"}, "shared"),
        ({"strategy": "ddpnas", "evaluator": "trained"}, "trained"),
        ({"strategy": "msnas", "mode": "paper"}, "trained"),
    ],
)
def test_only_small_data_and_the_paper_train_every_candidate(overrides: dict[str, Any], evaluator: str) -> None:
    assert resolve(overrides).evaluator == evaluator


def test_the_digits_need_no_settings() -> None:
    chosen = _images({})
    assert (chosen.task, chosen.mode, chosen.strategy, chosen.evaluator) == ("image", "sound", "autoshrink", "trained")
    assert chosen.data.spec == "digits"
    assert (chosen.nodes, chosen.candidates, chosen.penalty) == (6, 5, 0.02)
    assert (chosen.network.stem, chosen.network.widths) == (16, (8, 16, 32))
    assert (chosen.recipe.epochs, chosen.recipe.batch) == (8, 64)
    assert chosen == resolve({"data": {"spec": "digits"}}) == resolve({"data": {}})


def test_other_data_gets_the_papers_search_on_sound_footing() -> None:
    chosen = _images({"data": {"spec": "cifar10"}})
    assert chosen == settings_from_json({"data": {"spec": "cifar10"}, "evaluator": "inherited", "finalists": 3})
    assert (chosen.nodes, chosen.candidates, chosen.penalty, chosen.resource) == (8, 10, 0.1, "macs")
    assert (chosen.draw, chosen.formula) == ("balanced", "paper")
    assert (chosen.network.stem, chosen.network.widths, chosen.network.activation) == (32, (16, 32, 64), "relu")
    assert (chosen.data.train_per_class, chosen.data.validation_per_class, chosen.data.replacement) == (500, 250, False)
    assert (chosen.paired, chosen.reselect, chosen.finalists, chosen.repeats) == (True, True, 3, 3)
    recipe = chosen.recipe
    assert (recipe.epochs, recipe.batch, recipe.learning_rate) == (20, 128, 4e-3)
    assert (recipe.l2, recipe.shortcut_l2, recipe.augment) == (1e-5, 4e-5, False)
    assert (recipe.patience, recipe.floor_epoch, recipe.stop_accuracy, recipe.overfit_ratio) == (5, 3, None, None)
    assert (chosen.stop.edges, chosen.stop.evaluations, chosen.limits) == (0, None, Limits())


@given(images=st.integers(1, 10**6), steps=st.integers(1, 100))
def test_a_batch_is_the_largest_power_of_two_that_makes_so_many_steps(images: int, steps: int) -> None:
    batch = batch_for(images, steps, least=8, most=64)
    assert batch in (8, 16, 32, 64)
    assert batch == 8 or images // batch >= steps
    assert batch == 64 or images // (2 * batch) < steps


def test_at_a_budget_the_images_decide_the_batch_where_nobody_does() -> None:
    for spec in ("digits", "photos"):
        asked: dict[str, Any] = {"data": {"spec": spec}, "budget": {"macs": 10**6}}
        recipe = _images(asked).recipe
        decided = [recipe.for_images(images).batch for images in (2, 200, 300, 500, 900, 5_000, 10**6)]
        assert recipe.floor_epoch is None
        assert (recipe.batch, decided) == (None, [8, 8, 16, 32, 64, 64, 64])
        given_batch = _images(asked | {"recipe": {"batch": 24}}).recipe
        assert given_batch.for_images(300) == given_batch
        assert given_batch.batch == 24


def test_paper_mode_does_what_the_released_search_does() -> None:
    chosen = _images({"mode": "paper", "data": {"spec": "cifar10"}})
    assert (chosen.data.validation_per_class, chosen.data.replacement) == (100, True)
    assert (chosen.recipe.stop_accuracy, chosen.recipe.overfit_ratio) == (0.98, 3.0)
    assert (chosen.recipe.patience, chosen.recipe.floor_epoch, chosen.recipe.epochs) == (5, 3, 20)
    assert (chosen.paired, chosen.reselect, chosen.candidates, chosen.judge) == (False, False, 10, "performance")


def test_paper_mode_on_digits_keeps_the_small_network() -> None:
    chosen = _images({"mode": "paper"})
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
    chosen = _images(asked)
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
            "data": st.fixed_dictionaries(
                {"spec": st.text(max_size=9).filter(str.strip), "max_corrupt": st.floats(0, 1)}
            ),
            "stop": st.fixed_dictionaries({"seconds": st.none() | st.floats(1e-3, 1e6)}),
        },
    )
)
@settings(deadline=None)
def test_settings_survive_json(overrides: dict[str, Any]) -> None:
    chosen = resolve(overrides)
    again = settings_from_json(json.loads(json.dumps(chosen.to_json())))
    assert again == chosen
    assert again.to_json() == chosen.to_json()
    assert resolve(chosen.to_json()) == chosen


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _images({}).recipe.epochs = 3


def test_estimates_are_no_ground_to_go_back_to_an_earlier_step() -> None:
    assert resolve({"walk": "best"}).walk == "best", "digits are trained from scratch"
    with pytest.raises(InputError, match=r"walk=best and --evaluator inherited, .* contradict each other; add --eval"):
        resolve({"walk": "best", "evaluator": "inherited"})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"colour": 1}, "setting colour: there is no such setting for the task 'image'"),
        ({"task": "text", "colour": 1}, "setting colour: there is no such setting for the task 'text'"),
        *(
            ({section: {"colour": 1}}, f"setting {section}.colour: there is no such setting for the task 'image'")
            for section in ("data", "network", "recipe", "limits", "stop")
        ),
        ({"task": "audio"}, "task 'audio' is unknown; choose from image, text"),
        ({"task": ["text"]}, "task ['text'] is unknown; choose from image, text"),
        ({"task": None}, "task None is unknown; choose from image, text"),
        ({"mode": "fast"}, "setting mode: Input should be 'sound' or 'paper' (got 'fast')"),
        ({"strategy": "luck"}, "setting strategy: "),
        ({"evaluator": "luck"}, "setting evaluator: "),
        ({"nodes": 1}, "setting nodes: Input should be greater than or equal to 2 (got 1)"),
        ({"nodes": 65}, "setting nodes: Input should be less than or equal to 64 (got 65)"),
        ({"nodes": "many"}, "setting nodes: "),
        ({"candidates": 0}, "setting candidates"),
        ({"candidates": "some"}, "setting candidates"),
        ({"penalty": -0.1}, "setting penalty: Input should be greater than or equal to 0 (got -0.1)"),
        (
            {"resource": "flops"},
            "setting resource: Input should be 'macs', 'params', 'memory', 'cell_params' or 'latency', "
            "or name the file that registers it with --plugin (got 'flops')",
        ),
        ({"draw": "lots"}, "setting draw: Input should be 'balanced' or 'independent' (got 'lots')"),
        ({"formula": "released-text"}, "setting formula: Input should be 'paper' (got 'released-text')"),
        ({"task": "text", "formula": "mine"}, "setting formula: Input should be 'paper' or 'released-text' (got"),
        ({"task": "text", "data": {"max_vocabulary": 2}}, "setting data.max_vocabulary: "),
        ({"task": "text", "data": {"level": "byte"}}, "setting data.level: Input should be 'word' or 'char' (got"),
        ({"task": "text", "network": {"width": 0}}, "setting network.width: "),
        ({"task": "text", "network": {"initial_range": 0}}, "setting network.initial_range: "),
        ({"task": "text", "recipe": {"dropout": {"input": 1.0}}}, "setting recipe.dropout.input: "),
        ({"task": "text", "recipe": {"clip": 0}}, "setting recipe.clip: "),
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


def test_the_nearest_setting_or_choice_is_offered() -> None:
    for overrides, way in (
        ({"recipe": {"epoch": 3}}, "did you mean recipe.epochs?"),
        ({"epochs": 3}, "did you mean recipe.epochs?"),
        ({"evaluator": "inherit"}, "did you mean inherited?"),
        ({"mode": "papre"}, "did you mean paper?"),
    ):
        with pytest.raises(InputError) as caught:
            resolve(overrides)
        assert str(caught.value).endswith(way)
    with pytest.raises(InputError, match=r"setting patiens: there is no such setting; did you mean recipe.patience\?"):
        training_settings({"patiens": 3}, width=9, params=9)


@pytest.mark.parametrize(
    ("task", "overrides", "place"),
    [
        ("text", {"data": {"sentences": 9}}, "data.sentences"),
        ("text", {"data": {"level": "char"}}, "data.level"),
        ("text", {"network": {"width": 9}}, "network.width"),
        ("text", {"recipe": {"clip": 1.0}}, "recipe.clip"),
        ("text", {"recipe": {"dropout": {"hidden": 0.1}}}, "recipe.dropout"),
        ("image", {"data": {"size": 9}}, "data.size"),
        ("image", {"data": {"replacement": True}}, "data.replacement"),
        ("image", {"network": {"widths": [9]}}, "network.widths"),
        ("image", {"recipe": {"augment": True}}, "recipe.augment"),
    ],
)
def test_a_setting_of_the_other_task_is_refused_with_the_way_to_it(
    task: str, overrides: dict[str, Any], place: str
) -> None:
    """And taken there."""
    other = {"text": "image", "image": "text"}[task]
    with pytest.raises(InputError) as caught:
        resolve({"task": other} | overrides)
    said = f"setting {place}: there is no such setting for the task {other!r}; it belongs to --task {task}"
    assert str(caught.value) == said
    asked = _paths(resolve({"task": task} | overrides).to_json())
    assert all(asked[place] == value for place, value in _paths(overrides).items())


# Text


def test_text_needs_no_settings_but_the_task() -> None:
    chosen = _text({})
    assert (chosen.task, chosen.mode, chosen.data.spec) == ("text", "sound", "pydocs")
    assert (chosen.nodes, chosen.candidates, chosen.finalists, chosen.repeats) == (6, 3, 3, 2)
    assert (chosen.data.sentences, chosen.data.validation_sentences, chosen.data.max_vocabulary) == (1500, 400, 2000)
    assert (chosen.resource, chosen.formula, chosen.penalty, chosen.draw) == ("cell_params", "paper", 0.1, "balanced")
    assert chosen == _text({"data": {"spec": "pydocs"}}) == _text({"data": {}})


def test_other_text_gets_the_papers_search_on_sound_footing() -> None:
    chosen = _text({"data": {"spec": "ptb"}})
    assert chosen == settings_from_json(
        {"task": "text", "data": {"spec": "ptb"}, "evaluator": "inherited", "finalists": 3}
    )
    assert (chosen.nodes, chosen.candidates, chosen.resource, chosen.formula) == (6, 5, "cell_params", "paper")
    assert (chosen.draw, chosen.paired, chosen.reselect, chosen.stop.edges) == ("balanced", True, True, 0)
    data, network, recipe = chosen.data, chosen.network, chosen.recipe
    assert (data.level, data.sentences, data.validation_sentences) == ("word", 4000, 1000)
    assert (data.max_vocabulary, data.min_count) == (10_000, 2)
    assert (data.sample, data.shared_vocabulary) == ("random", False)
    assert (network.width, network.aggregate, network.initial_range) == (100, "mean", None)
    assert (recipe.epochs, recipe.batch, recipe.validation_batch, recipe.learning_rate) == (10, 128, 32, 20.0)
    assert (recipe.clip, recipe.drops, recipe.bptt, recipe.random_lengths) == (0.25, (3, 1), 35, True)
    assert (recipe.patience, recipe.overfit_ratio, recipe.averaging) == (4, None, None)
    assert set(recipe.dropout.model_dump().values()) == {0.0}
    assert recipe == TextRecipe()


@pytest.mark.parametrize("spec", ["ptb", "pydocs"])
def test_paper_mode_of_text_does_what_the_released_search_does(spec: str) -> None:
    chosen = _text({"mode": "paper", "data": {"spec": spec}})
    assert (chosen.candidates, chosen.stop.edges, chosen.draw) == (10, 4, "independent")
    assert (chosen.paired, chosen.reselect) == (False, False)
    assert chosen.score == Score(1.0, "cell_params", "released-text")
    data = chosen.data
    assert (data.sample, data.validation_sentences, data.shared_vocabulary) == ("first", 300, True)
    assert (data.max_vocabulary, data.min_count) == (None, 1)
    assert chosen.network.initial_range == 0.04
    assert (chosen.recipe.validation_batch, chosen.recipe.overfit_ratio, chosen.recipe.patience) == (256, 3.0, 4)


def test_paper_mode_on_pydocs_keeps_the_small_network() -> None:
    paper, sound = _text({"mode": "paper"}), _text({})
    assert (paper.network.width, paper.recipe.epochs) == (sound.network.width, sound.recipe.epochs)
    assert paper.data.sentences == sound.data.sentences


def test_settings_of_store_version_1_are_read() -> None:
    """They have neither `draw` nor `formula`, which say what was done then."""
    old = {name: value for name, value in resolve({}).to_json().items() if name not in ("draw", "formula")}
    assert settings_from_json(old) == resolve({})


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
        ({"max_macs": 999}, "macs"),
        ({"max_params": 199_999}, "params"),
        ({"max_memory": 29}, "memory"),
        ({"max_macs": 2_000, "max_memory": 1, "max_params": 1}, "params"),
    ]
    for limits, said in table:
        assert Limits(**limits).broken_by(at) == said


def test_recipe_defaults_stand_alone() -> None:
    assert ImageRecipe() == _images({"data": {"spec": "anything"}}).recipe


def test_a_final_training_starts_from_the_released_recipe_suited_to_the_model() -> None:
    released = training_settings({}, width=745, params=23_000_700)
    assert released.recipe.learning_rate == 20
    assert released.recipe.dropout.input == released.recipe.dropout.output == 0.75
    small = training_settings({"recipe": {"epochs": 20}}, width=64, params=24_119)
    assert small.recipe.learning_rate == 6.6
    assert small.recipe.dropout.input == pytest.approx(0.75 * 64 / 745, abs=1e-4)
    assert small.recipe.drops == (4, 1)
    assert training_settings({"recipe": {"learning_rate": 3.0}}, width=64, params=24_119).recipe.learning_rate == 3
    assert default_rate(2000, 10**9) == 20, "never above the released rate"
    rates = [default_rate(64, params) for params in (10**4, 10**5, 10**6)]
    assert rates == sorted(rates)
