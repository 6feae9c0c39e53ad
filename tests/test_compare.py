"""The comparison of search methods: its arithmetic by hand, budgets that hold, and what no search may have seen."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.config import ImageSettings, resolve
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.seeding import derive_seed
from autoshrink_paper.compare import __main__ as compare
from autoshrink_paper.compare import judge as compare_judge
from autoshrink_paper.compare.figures import Point, best_within, hypervolume, mean_and_error, paired, pareto, summarise
from autoshrink_paper.compare.ground import Ground
from autoshrink_paper.compare.methods import Asha, Outcome, autoshrink_search, random_cells, random_search
from autoshrink_paper.compare.plot import attained, plot

TINY: dict[str, Any] = {
    "beside": (),
    "data": {"spec": "digits", "size": 8, "train_per_class": 6, "validation_per_class": 4},
    "network": {"stem": 8, "widths": [8]},
    "recipe": {"epochs": 3, "batch": 8, "learning_rate": 0.03, "floor_epoch": None},
    "nodes": 4,
    "candidates": 2,
    "threads": 1,
    "penalty": 0.03,
}
REFERENCE = Point(0.1, 1000.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(resolve(TINY), tmp_path)


# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([Point(0.6, 100)], 0.5),
        ([Point(0.6, 100), Point(0.3, 10)], 2 * 0.2 + 1 * 0.3),
        ([Point(0.6, 100), Point(0.5, 200)], 0.5),
        ([Point(0.6, 1000), Point(0.9, 5000), Point(0.05, 1)], 0.0),
        ([Point(1.1, 0)], 3.0),
    ],
    ids=["nothing", "one", "two", "dominated", "too dear or no better than guessing", "a cost of none is one"],
)
def test_hypervolume_by_hand(points: list[Point], area: float) -> None:
    assert hypervolume(points, REFERENCE, 1.1) == pytest.approx(area)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 3000)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_hypervolume_is_the_area_below_the_best_within_each_cost(values: list[tuple[float, float]]) -> None:
    points = [Point(*value) for value in values]
    costs = sorted({*(point.cost for point in points if point.cost < 1000), 1000.0})
    area = 0.0
    for left, right in pairwise(costs):
        best = best_within(points, left)
        area += math.log10(right / left) * max(0.0, (best or 0.0) - 0.1)
    assert hypervolume(points, REFERENCE, 1.1) == pytest.approx(area, abs=1e-9)


def test_front_and_what_it_has_within_a_cost() -> None:
    points = [Point(0.5, 30), Point(0.7, 50), Point(0.6, 60), Point(0.4, 10), Point(0.3, 10)]
    assert pareto(points) == (Point(0.4, 10), Point(0.5, 30), Point(0.7, 50))
    assert [best_within(points, cost) for cost in (9, 10, 49.9, 50, 1e9)] == [None, 0.4, 0.5, 0.7, 0.7]
    places, means = attained([[(1, 0.2), (3, 0.4)], [(2, 0.3), (4, 0.1)]])
    assert places == [2, 3, 4]
    assert means == pytest.approx([0.25, 0.35, 0.35])


def test_means_and_verdicts() -> None:
    assert mean_and_error([3.0]) == (3.0, None)
    mean, error = mean_and_error([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert error == pytest.approx(1 / math.sqrt(3))
    base = {"0": 1.0, "1": 1.0, "2": 1.0}
    close = paired({"0": 1.1, "1": 0.8, "3": 9.0}, base)
    assert close == {
        "seeds": 2,
        "mean": pytest.approx(-0.05),
        "error": pytest.approx(0.15),
        "not_worse": True,
    }
    worse = paired({"0": 0.8, "1": 0.9, "2": 0.7}, base)
    assert worse is not None
    assert worse["not_worse"] is False
    alone = paired({"0": 0.5}, base)
    assert alone is not None
    assert alone["not_worse"] is None
    assert paired({"7": 1.0}, base) is None


def test_pieces_of_a_comparison_are_merged() -> None:
    def piece(**methods: int) -> dict[str, Any]:
        return {"data": "same", "methods": methods}

    merged = compare.merge_seeds({"10": piece(random=1), "2": piece(random=2, mine=3)}, {"2": piece(paper=4, random=5)})
    assert list(merged) == ["2", "10"]
    assert list(merged["2"]["methods"].items()) == [("paper", 4), ("mine", 3), ("random", 5)]


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_a_training_costs_what_the_trained_evaluator_counts(ground: Ground) -> None:
    [*_, training] = ground.walk(ground.start)
    job = Job(ground.start, derive_seed(ground.settings.seed, "baseline"))
    [(_, evaluation)] = TrainedEvaluator(ground.problem, Conditions(threads=1)).evaluate([job])
    ours = ground.evaluation(ground.start, training)
    assert replace(ours.spent, seconds=0) == replace(evaluation.spent, seconds=0)
    assert ours.curve == evaluation.curve
    assert ours.performance == evaluation.performance
    assert training.macs == ground.epochs * ground.epoch_macs(ground.start)


@pytest.mark.parametrize("trainings", [0.0, 0.4, 2.5, 6.0])
def test_random_search_keeps_its_budget(ground: Ground, trainings: float) -> None:
    first = next(random_cells(ground))
    budget = int(trainings * ground.epochs * ground.epoch_macs(first))
    outcome = random_search(ground, budget)
    assert outcome.spent.training_macs <= budget
    if trainings == 0.4:
        # One epoch of three.
        assert [len(one.curve) for one in outcome.measured] == [1]
    if trainings > 1:
        assert all(len(one.curve) == 3 for one in outcome.measured)
        assert len({one.cell.key for one in outcome.measured}) == outcome.evaluations >= 2
        assert outcome.named == max(outcome.measured, key=ground.score.preference).cell
    if not budget:
        assert (outcome.named, outcome.measured) == (first, [])


@pytest.mark.parametrize("trainings", [0.0, 0.4, 5.0])
def test_asha_keeps_its_budget_and_goes_on_as_if_never_killed(tmp_path: Path, trainings: float) -> None:
    pytest.importorskip("optuna")
    ground = Ground(resolve(TINY), tmp_path)
    budget = int(trainings * ground.epochs * ground.epoch_macs(ground.start))
    outcome = Asha(ground, budget).run()
    assert outcome.spent.training_macs <= budget
    assert outcome.spent.training_macs == sum(one.spent.training_macs for one in outcome.measured)
    if trainings > 1:
        assert len({len(one.curve) for one in outcome.measured}) > 1, "some are pruned and some are not"
    kept = tmp_path / "trained.json"
    if kept.exists():
        # Killed in the middle: later trainings are lost, and the last one that is left has one epoch.
        entries = list(json.loads(kept.read_text()).items())[: max(1, outcome.evaluations // 2)]
        entries[-1][1].update(
            curve=entries[-1][1]["curve"][:1], spent=entries[-1][1]["spent"][:1], ended=None, failed=False
        )
        kept.write_text(json.dumps(dict(entries)))
    again = Asha(Ground(resolve(TINY), tmp_path), budget).run()
    assert again == outcome


# --- fresh samples ---------------------------------------------------------------------------------------------------


def test_the_judging_images_are_in_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_judge, "FRESH_PER_CLASS", 20)
    settings = resolve(TINY)
    assert isinstance(settings, ImageSettings)
    own, fresh = compare_judge.fresh_images(settings)
    assert fresh is not None
    assert np.bincount(fresh.labels).tolist() == [20] * 10
    seen = {image.tobytes() for images in (own.train.images, own.validation.images) for image in images}
    assert not seen & {image.tobytes() for image in fresh.images}
    assert compare_judge.fresh_images(settings.changed({"data": {"replacement": True}}))[1] is None


def test_sentences_of_a_smaller_draw_are_left_out() -> None:
    many = compare_judge.sentences(np.array([5, 1, 6, 7, 1, 5, 1, 8]), end=1)
    assert [part.tolist() for part in many] == [[5, 1], [6, 7, 1], [5, 1], [8]]
    assert [part.tolist() for part in compare_judge.left_over(many, [many[1], many[3]])] == [[5, 1], [5, 1]]
    assert compare_judge.left_over(many, [np.array([9, 1])]) == [], "not from the same text"


# --- all of it -------------------------------------------------------------------------------------------------------


def test_a_method_is_judged_by_fresh_trainings_that_are_kept(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = autoshrink_search(ground, {"evaluator": "trained"}, ground.runs / "paper-0")
    row = compare.judged(ground, outcome, retrain_seeds=1)
    assert row["front"][0]["cell"] == row["named"]["cell"], "the named cell has the highest S of the front"
    assert row["training_macs"] == outcome.spent.training_macs > 0
    assert row["named"]["score"] == pytest.approx(
        row["named"]["performance"] - 0.03 * math.log10(row["named"]["cost"] / 1e6)
    )
    later = Ground(ground.settings, ground.runs)
    monkeypatch.setattr(later.problem, "learner", None)
    assert compare.judged(later, autoshrink_search(later, {}, ground.runs / "paper-0"), 1) == row
    complete = compare.judged(ground, Outcome(ground.start), 1)
    seeds = {"0": {"methods": {"paper": row, "complete": complete}}}
    summary = summarise(seeds)
    assert summary["complete"]["macs_ratio_to_paper"]["mean"] == 0
    assert summary["paper"]["score_minus_paper"]["mean"] == 0
    assert summary["complete"]["hypervolume"]["mean"] == 0, "its cost is the reference"


def test_a_folder_of_another_comparison_is_refused(ground: Ground) -> None:
    folder = ground.runs / "paper-0"
    autoshrink_search(ground, {"stop": {"edges": 5}}, folder)
    with pytest.raises(SystemExit, match=r"other settings \(stop\); take another --runs"):
        autoshrink_search(ground, {}, folder)


def test_the_picture_keeps_text_as_text_and_is_the_same_each_time(ground: Ground) -> None:
    pytest.importorskip("matplotlib")
    row = compare.judged(ground, Outcome(ground.start), 1)
    seeds = {"0": {"methods": {"complete": row, "random": row | {"training_macs": 10**9}}}}
    result = {"task": "image", "settings": {"resource": "macs"}, "seeds": seeds, "summary": summarise(seeds)}
    files = [ground.runs / name for name in ("one.svg", "two.svg")]
    for file in files:
        plot(result, file)
    assert "training MACs of the search</text>" in files[0].read_text()
    assert files[0].read_bytes() == files[1].read_bytes()
