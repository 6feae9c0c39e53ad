"""Searches with shared weights: what is trained and what that costs, the weights on disk, deaths, and refusals."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import autoshrink
from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.errors import InputError, RunError, SearchError
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.shared import SharedEvaluator
from autoshrink.evaluators.weights import FOLDER, WeightFiles
from autoshrink.events import Event
from autoshrink.priors import complete_edges
from autoshrink.results import summary
from autoshrink.score import Evaluation
from autoshrink.spaces.cells import CellSpace
from autoshrink.store import Store, read_record
from autoshrink.tasks import TASKS
from autoshrink.testing.evaluators import check_evaluator
from autoshrink.training.loop import Batch, Validation
from autoshrink.watching import Observer
from fakes import story
from text_fixtures import SEARCH, corpus, deaths_until_done

IMAGES: dict[str, Any] = {
    "evaluator": "shared",
    "nodes": 4,
    "candidates": 3,
    "finalists": 1,
    "repeats": 1,
    "beside": (),
    "data": {"train_per_class": 12, "validation_per_class": 8},
    "recipe": {"epochs": 4, "batch": 40, "learning_rate": 0.05},
    "network": {"stem": 4, "widths": [4]},
    "short_steps": 0,
    "short_batch": 20,
    "shared": {"warm_up": 0.5, "statistics_batches": 2, "check": 3},
    "playoff": {"cells": 2, "rounds": [1.0]},
    "threads": 1,
}
TEXT: dict[str, Any] = {
    "task": "text",
    "data": {"sentences": 50, "validation_sentences": 18, "max_vocabulary": 100, "min_count": 1},
    "recipe": {"epochs": 2, "batch": 6, "bptt": 15, "learning_rate": 4.0, "drops": []},
    "network": {"width": 6},
    "short_batch": 6,
}
TUNED = {"warm_up": 0.5, "tune": 0.25, "statistics_batches": 2, "check": 3}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def _settings(case: str, folder: Path) -> dict[str, Any]:
    base = IMAGES
    if "text" in case:
        base = IMAGES | TEXT | {"data": TEXT["data"] | {"spec": str(corpus(folder))}}
    return base | ({"shared": TUNED} if "tuned" in case else {})


@pytest.fixture(scope="module", params=["image", "image, tuned", "text, tuned"])
def searched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, Path]:
    """Settings, an undisturbed run, and a folder with a copy of the run folder as it was after each event."""
    place = tmp_path_factory.mktemp("run")
    settings = _settings(request.param, place / "corpus")
    with pytest.MonkeyPatch.context() as patch:
        append, number = Store.append, itertools.count()

        def append_and_copy(store: Store, kind: str, body: dict[str, Any]) -> Event:
            event = append(store, kind, body)
            shutil.copytree(store.folder, place / "after" / f"{next(number)}")
            return event

        patch.setattr(Store, "append", append_and_copy)
        autoshrink.search(settings, run=place / "run")
    return settings, place / "run", place / "after"


def _problem(settings: dict[str, Any]) -> Any:
    resolved = resolve(settings)
    return TASKS[resolved.task].prepare(resolved, Observer()).problem(torch.device("cpu"))


def _evaluator(folder: Path, problem: Any, **shared: Any) -> SharedEvaluator:
    settings = resolve(IMAGES | {"shared": IMAGES["shared"] | shared})
    space = CellSpace(START)
    return SharedEvaluator(problem, settings.shared, draw=space.random, seed=3, weights=folder / FOLDER)


START = Cell("conv", ("input", "conv1x1", "sepconv3x3", "conv1x1"), complete_edges(4))


# What is trained, and what that costs


def test_costs_by_hand(tmp_path: Path) -> None:
    """120 images in batches of 20: half an epoch is three of them, each with a cell of its own. A candidate has its
    statistics from two batches of 40, and is judged on 80 images; none trains."""
    drawn: list[Cell] = []
    settings = resolve(IMAGES)
    space, problem = CellSpace(START), _problem(IMAGES)

    def draw(rng: Any) -> Cell:
        drawn.append(space.random(rng))
        return drawn[-1]

    evaluator = SharedEvaluator(
        problem, settings.shared, draw=draw, seed=3, weights=tmp_path, conditions=Conditions.of(settings)
    )
    ((_, first),) = evaluator.evaluate([Job(START, 1)])
    macs = [evaluator.resources(cell).macs for cell in drawn]
    assert first.spent.samples == 60 + 80
    assert first.spent.training_macs == 3 * 20 * sum(macs[:3]) + (80 + 80) * first.resources.macs
    jobs = [Job(cell, 2, START, first.weights) for _, cell in START.shrink_space()[:2]]
    for _, one in evaluator.evaluate(jobs):
        assert (one.spent.samples, one.spent.training_macs) == (80, 160 * one.resources.macs)
        assert one.weights is None, "nothing was trained"
        assert one.correct is not None
        assert len(one.correct) == 80


def test_it_estimates_across_steps_unless_it_goes_on_training(searched: tuple[dict[str, Any], Path, Path]) -> None:
    record = read_record(searched[1])
    tunes = record.settings.shared.tune > 0
    assert (record.settings.relative, record.settings.estimates) == (tunes, True)
    assert record.finished
    # Two that are recommended, and three by which the estimates are checked.
    assert len(record.retrained) == 5, "the best is chosen among cells trained from scratch"
    (agreed,) = summary(record, run=Path("x"))["agreement"][:1]
    assert agreed["by"] == "estimate with shared weights"
    if agreed["cells"] >= 5:
        low, high = agreed["score_interval"]
        assert -1 <= low <= agreed["score_rho"] + 1e-9
        assert agreed["score_rho"] - 1e-9 <= high <= 1
    assert all("from scratch" in one.evaluation.fidelity for one in record.retrained)
    best = record.best()
    assert best is not None
    assert best.from_scratch
    assert all("shared weights: 0.5 epochs of random cells" in one.evaluation.fidelity for one in record.candidates)
    start = record.starting()
    assert start is not None
    assert not record.from_scratch(start)
    steps = {step: record.of_step(step) for step in range(len(record.decisions))}
    for step, candidates in steps.items():
        own = [one for one in candidates if one.same_as is None]
        named = [one.index for one in own if one.evaluation.weights]
        assert named == ([own[-1].index] if tunes or step == 0 else []), f"step {step}"
    shared = [one for one in record.candidates if one.same_as is not None]
    assert all((one.same_as or (0, 0))[0] == one.step for one in shared) or not tunes
    warm = record.candidates[0].evaluation.spent
    assert warm.training_macs > max(one.evaluation.spent.training_macs for one in record.candidates[1:])


@pytest.mark.parametrize("strategy", ["random", "evolution"])
def test_other_strategies_go_with_it(strategy: str, tmp_path: Path) -> None:
    asked = IMAGES | {"strategy": strategy, "nodes": 3, "evolution": {"population": 3, "sample": 2}}
    record = autoshrink.search(asked | {"moves": ["edges", "ops"]}, run=tmp_path / "run")
    assert record.finished
    assert not (tmp_path / "run" / FOLDER).exists()
    if strategy == "evolution":
        with pytest.raises(InputError, match="compares designs of different steps"):
            autoshrink.search(asked | {"shared": TUNED}, run=tmp_path / "refused")


@pytest.mark.parametrize("shared", [{}, {"tune": 0.2}])
def test_it_keeps_the_contract(tmp_path: Path, shared: dict[str, Any]) -> None:
    problem = _problem(IMAGES)
    ((_, first),) = _evaluator(tmp_path, problem).evaluate([Job(START, 1)])
    jobs = [Job(cell, 2, START, first.weights) for _, cell in START.shrink_space()[:3]]
    check_evaluator(lambda: _evaluator(tmp_path, problem, **shared), jobs)


# The weights


def test_one_file_is_kept_and_the_one_before(searched: tuple[dict[str, Any], Path, Path]) -> None:
    settings, finished, after = searched
    assert not (finished / FOLDER).exists()
    most = 1 + ("tune" in settings["shared"])
    for moment in range(1, len(list(after.iterdir()))):
        kept = {path.stem for path in (after / f"{moment}" / FOLDER).glob("*")}
        named = [
            one.evaluation.weights for one in read_record(after / f"{moment}").candidates if one.evaluation.weights
        ]
        assert len(kept) <= most
        assert not named or named[-1] in kept or story(after / f"{moment}")[-1][0] == "finished"


@pytest.mark.parametrize("damage", [None, b"not weights"])
def test_lost_or_damaged_weights_are_an_error_that_names_them(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path, damage: bytes | None
) -> None:
    moments = range(1, len(list(searched[2].iterdir())))
    moment = next(one for one in moments if story(searched[2] / f"{one}")[-1][0] == "decided")
    run = Path(shutil.copytree(searched[2] / f"{moment}", tmp_path / "run"))
    (file,) = (run / FOLDER).iterdir()
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    with pytest.raises((RunError, InputError), match=rf"{file}: {'gone' if damage is None else 'damaged'}"):
        autoshrink.resume(run)


# The same again


def test_stopped_after_every_event_it_ends_the_same(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    _, run, after = searched
    wanted = story(run)
    for moment in range(3, len(wanted) + 1):
        kind = story(after / f"{moment}")[-1][0]
        if kind not in {"evaluated", "decided"} or moment > 9:
            continue
        folder = Path(shutil.copytree(after / f"{moment}", tmp_path / f"{moment}"))
        autoshrink.resume(folder)
        assert story(folder) == wanted, f"after {moment} events, the last {kind}"


@pytest.mark.slow
def test_killed_at_random_times_it_ends_the_same(searched: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    settings, run, _ = searched
    assert deaths_until_done(SEARCH, tmp_path / "run", json.dumps(settings)) > 0
    assert story(tmp_path / "run") == story(run)


# What fails


class Diverging:
    """Wraps a problem: what its learners report in one phase is NaN."""

    def __init__(self, problem: Any, edges: int | None, when: str) -> None:
        self._problem, self._edges, self._when = problem, edges, when
        self.stops, self.device, self.fidelity = problem.stops, problem.device, problem.fidelity
        self.architecture, self.supernet, self.learner = problem.architecture, problem.supernet, problem.learner

    def learner_of(self, network: Any, architecture: Any, seed: int, *, batch: int | None = None) -> Any:
        learner = self._problem.learner_of(network, architecture, seed, batch=batch)
        if self._edges in (None, len(architecture.cell.edges)):
            if self._when == "training":
                epoch = learner.epoch
                learner.epoch = lambda number: self._ruined(epoch(number))
            else:
                learner.validate_share = lambda _: Validation(math.nan, math.nan)
        return learner

    @staticmethod
    def _ruined(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield Batch(math.nan, batch.samples)


def test_a_supernet_that_diverges_ends_the_search_with_the_reason(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, Diverging(_problem(IMAGES), None, "training"))
    with pytest.raises(SearchError, match=r"could not be trained: the training loss became nan .* lower the learning"):
        list(evaluator.evaluate([Job(START, 1)]))


@pytest.mark.parametrize("when", ["training", "validation"])
def test_what_one_candidate_ruins_is_no_other_s_loss(tmp_path: Path, when: str) -> None:
    problem = _problem(IMAGES)
    ((_, first),) = _evaluator(tmp_path, problem).evaluate([Job(START, 1)])
    assert first.weights is not None
    jobs = [Job(cell, 2, START, first.weights) for cell in (START.without((2, 3)), START)]
    assert [len(job.cell.edges) for job in jobs] == [5, 6]
    found = _step(_evaluator(tmp_path, Diverging(problem, 5, when), tune=0.2), jobs)
    kept = Path(shutil.copytree(tmp_path / FOLDER, tmp_path / "kept"))
    alone = _step(_evaluator(tmp_path, problem, tune=0.2), jobs[1:])
    assert "nan" in str(found[0].reason)
    assert found[0].spent.training_macs > 0
    assert found[1].performance == alone[0].performance
    ours, theirs = (
        WeightFiles(folder).read(str(one.weights))[0]
        for folder, one in ((kept, found[1]), (tmp_path / FOLDER, alone[0]))
    )
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def _step(evaluator: SharedEvaluator, jobs: list[Job]) -> list[Evaluation]:
    return [one for _, one in evaluator.evaluate(jobs)]


def test_a_problem_whose_networks_share_nothing_is_refused(tmp_path: Path) -> None:
    class Plain:
        device, stops, fidelity = torch.device("cpu"), None, ""

    with pytest.raises(InputError, match=r"--evaluator shared: .* take --evaluator trained"):
        _evaluator(tmp_path, Plain())
