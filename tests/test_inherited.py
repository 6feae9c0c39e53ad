"""Searches with inherited weights: each step a tournament, costs by hand, the weights on disk, deaths, and refusals."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import autoshrink
from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.design import Design
from autoshrink.errors import InputError, RunError, SearchError
from autoshrink.evaluation import Job
from autoshrink.evaluators.inherited import InheritedEvaluator
from autoshrink.evaluators.weights import FOLDER
from autoshrink.events import Event
from autoshrink.record import RunRecord
from autoshrink.score import Evaluation
from autoshrink.store import Store, read_events, read_record
from autoshrink.tasks import TASKS
from autoshrink.training import checkpoint
from autoshrink.training.loop import Batch, Validation
from autoshrink.watching import Observer
from fakes import created, story
from text_fixtures import SEARCH, corpus, deaths_until_done

IMAGES: dict[str, Any] = {
    "evaluator": "inherited",
    "nodes": 4,
    "candidates": 4,
    "finalists": 2,
    "repeats": 1,
    "data": {"train_per_class": 12, "validation_per_class": 8},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 8, "widths": [8, 8]},
    "short_steps": 0,
    "inherit": {
        "start": 0.5,
        "tune": 1,
        "trial": 2,
        "statistics_batches": 2,
        "validation_share": 0.25,
        "largest_share": 1.0,
    },
    "playoff": {"cells": 3, "rounds": [0.5, 1.0], "reduction": 2},
    "threads": 1,
}
TEXT: dict[str, Any] = {
    "task": "text",
    "evaluator": "inherited",
    "nodes": 4,
    "candidates": 3,
    "finalists": 2,
    "repeats": 1,
    "data": {"sentences": 50, "validation_sentences": 18, "max_vocabulary": 100, "min_count": 1},
    "recipe": {"epochs": 2, "batch": 6, "bptt": 15, "learning_rate": 4.0, "drops": []},
    "network": {"width": 6},
    "short_steps": 0,
    "inherit": {"start": 0.5, "tune": 1, "trial": 2, "validation_share": 0.25, "largest_share": 1.0},
    "playoff": {"cells": 3, "rounds": [0.5, 1.0], "reduction": 2},
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def _settings(task: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """A section in `changes` is laid over that of the task's settings."""
    base = IMAGES
    if task == "text":
        base = TEXT | {"data": TEXT["data"] | {"spec": str(folder)}}
    merged = {
        name: base[name] | value if isinstance(value, dict) and isinstance(base.get(name), dict) else value
        for name, value in changes.items()
    }
    return base | merged


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture(scope="module", params=["image", "text"])
def searched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, text: Path
) -> tuple[dict[str, Any], Path, Path]:
    """Settings, an undisturbed run, and a folder with a copy of the run folder as it was after each event."""
    settings = _settings(request.param, text)
    place = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        append, number = Store.append, itertools.count()

        def append_and_copy(store: Store, kind: str, body: dict[str, Any]) -> Event:
            event = append(store, kind, body)
            shutil.copytree(store.folder, place / "after" / f"{next(number)}")
            return event

        patch.setattr(Store, "append", append_and_copy)
        autoshrink.search(settings, run=place / "run")
    return settings, place / "run", place / "after"


# A step


def test_each_step_is_a_tournament(searched: tuple[dict[str, Any], Path, Path]) -> None:
    record = read_record(searched[1])
    assert record.chosen()[-1].cell.edges == ()
    deepest = 0
    for decision in record.decisions[1:]:
        candidates = record.of_step(decision.step)
        measured = [one for one in candidates if one.same_as is None]
        space = dict(record.chosen()[decision.step - 1].cell.shrink_space())
        assert len(candidates) == min(record.settings.candidates, len(space)), "every proposal has an evaluation"
        assert all(one.edge is not None and one.cell == space[one.edge] for one in candidates)
        rungs = Counter(one.evaluation.rung for one in measured)
        samples = {
            rung: {_samples(one.evaluation) for one in measured if one.evaluation.rung == rung} for rung in rungs
        }
        deepest = max(deepest, *rungs)
        reached = [sum(rungs[higher] for higher in rungs if higher >= rung) for rung in range(max(rungs) + 1)]
        for rung, (more, fewer) in enumerate(itertools.pairwise(reached)):
            assert fewer <= math.ceil(more / 2)
            # One that is left alone is not measured again.
            assert max(samples.get(rung, {0})) < min(samples[max(rungs)]) or reached[-1] == 1
        assert all(len(sizes) == 1 for sizes in samples.values())
        assert candidates[decision.index].evaluation.rung == max(rungs)
    assert deepest >= 2


def _samples(evaluation: Evaluation) -> int:
    outcomes = evaluation.outcomes
    assert outcomes is not None
    return len(outcomes)


def test_it_ends_with_a_playoff_and_fresh_seeds(searched: tuple[dict[str, Any], Path, Path]) -> None:
    record = read_record(searched[1])
    best, complete = record.best(), record.complete()
    assert record.finished
    assert best is not None
    assert complete is not None
    assert Counter(one.round for one in record.retrained) == {0: 3, 1: 2}
    assert all(one.evaluation.rung == one.round for one in record.retrained)
    first = {one.evaluation.cell for one in record.retrained if one.round == 0}
    assert first <= {one.cell for one in record.candidates}
    estimated = {one.evaluation.seed for one in record.candidates}
    assert len({one.evaluation.seed for one in record.retrained} - estimated) == 1, "the playoff is paired"
    assert {one.cell for one in record.finalists()} <= first
    found = record.found()
    assert found is not None
    assert found.cell in {one.cell for one in record.finalists()}
    assert len(best.repeats) == len(complete.repeats) == 1
    assert record.best_key == best.design.key
    # The last round's trainings see the whole recipe's samples, the first's half of them.
    train = record.data["train"]
    for one in record.retrained:
        epochs = (1.0, 2.0)[one.round]
        assert f"{epochs:g} short epoch" in one.evaluation.fidelity
        assert one.evaluation.spent.samples >= epochs * (train - train % 8) * 0.9
    total = record.spent().training_macs
    parts = [one.evaluation.spent for one in record.candidates if one.same_as is None]
    parts += [one.evaluation.spent for one in record.retrained]
    parts += [one.spent for repeats in record.remeasured.values() for one in repeats]
    parts += [one.evaluation.spent for one in record.beside]
    assert total == sum(spent.training_macs for spent in parts)


def test_costs_by_hand(tmp_path: Path) -> None:
    """Ten images a class, batches of 25, five validation images a class; no child trains.

    The start: one epoch of 100 images, statistics on 8·25 of them, which is all, and 50 validation images. Step 1:
    the parent trains for two batches of 25; each child passes 2·25 for its statistics, and is judged on 13 images.
    """
    settings = _settings(
        "image",
        tmp_path,
        data={"train_per_class": 10, "validation_per_class": 5},
        recipe={"epochs": 2, "batch": 100},
        short_batch=25,
        candidates="all",
        inherit={"tune": 2, "trial": 0, "statistics_batches": 2, "validation_share": 0.26, "largest_share": 0.26},
        stop={"edges": 5},
    )
    record = autoshrink.search(settings, run=tmp_path / "run")
    (start,), children = record.of_step(0), record.of_step(1)
    macs = start.evaluation.resources.macs
    assert (start.evaluation.spent.samples, start.evaluation.spent.training_macs) == (200, macs * (300 + 50 + 100))
    for one in children:
        if one.same_as is None:
            # A second leaf makes a projection of the first shortcut, whose BN is undone after statistics of its own.
            settled = 50 * (1 + (len(one.cell.leaves) == 2))
            own = one.evaluation.resources.macs * (settled + 13)
            parents = macs * 3 * 50 if one.index == 0 else 0
            assert one.evaluation.spent.training_macs == own + parents
            assert one.evaluation.spent.samples == settled + (50 if one.index == 0 else 0)
            assert _samples(one.evaluation) == 13
    assert {len(one.cell.leaves) for one in children} == {1, 2}


def test_a_child_with_a_new_leaf_trains_and_costs_that(tmp_path: Path) -> None:
    settings = _settings(
        "image", tmp_path, short_batch=30, candidates="all", inherit={"tune": 0, "statistics_batches": 1}
    )
    record = autoshrink.search(settings | {"stop": {"edges": 4}}, run=tmp_path / "run")
    kinds = Counter[bool]()
    for decision in record.decisions[1:]:
        parent = record.chosen()[decision.step - 1].cell
        for one in record.of_step(decision.step):
            new = not set(one.cell.leaves) <= set(parent.leaves)
            kinds[new] += 1
            # 120 images in batches of 30; two of them for a new leaf.
            assert f"inherited, {60 if new else 0} training samples" in one.evaluation.fidelity
    assert kinds[True] > 0
    assert kinds[False] > 0


# The weights


def test_what_the_log_names_is_on_disk_and_fits(searched: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    """Of the start, and of whoever came furthest in a step; after the end of the search there are none."""
    settings, finished, _ = searched
    assert not (finished / FOLDER).exists()
    run = _after(searched, "stopped", tmp_path)
    record = read_record(run)
    named = {one.evaluation.weights: one for one in record.candidates if one.evaluation.weights}
    assert {path.stem for path in (run / FOLDER).iterdir()} == set(named)
    assert all(one.evaluation.weights in named for one in record.chosen())
    resolved = resolve(settings)
    problem = TASKS[resolved.task].prepare(resolved, Observer()).problem(torch.device("cpu"))
    for name, candidate in named.items():
        path = run / FOLDER / f"{name}.safetensors"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
        tensors, _ = checkpoint.load(path)
        network = problem.learner(problem.architecture(candidate.cell), 0).network
        assert {key: value.shape for key, value in network.state_dict().items()} == {
            key: value.shape for key, value in tensors.items()
        }


def _after(searched: tuple[dict[str, Any], Path, Path], kind: str, tmp_path: Path, place: int = 0) -> Path:
    """A copy of the run folder as it was after the first event, or a later one, of a kind."""
    for number in itertools.count(1):  # the first event is in a log that is not in place yet
        folder = searched[2] / f"{number}"
        with_kind = [one for one, _ in story(folder)].count(kind)
        if with_kind == place + 1:
            return Path(shutil.copytree(folder, tmp_path / "run"))
    raise AssertionError(kind)


def _needed(run: Path) -> Path:
    """The file that the next step begins with."""
    return run / FOLDER / f"{read_record(run).chosen()[-1].evaluation.weights}.safetensors"


def test_lost_weights_are_an_error_that_names_them(searched: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    run = _after(searched, "decided", tmp_path)
    file = _needed(run)
    file.unlink()
    with pytest.raises(RunError, match=rf"{file}: gone, .* put it back, or start a new run"):
        autoshrink.resume(run)


@pytest.mark.parametrize("damage", [b"", b"not weights", None, "other"])
def test_damaged_weights_are_an_error_that_names_them(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path, damage: bytes | str | None
) -> None:
    run = _after(searched, "decided", tmp_path)
    file = _needed(run)
    whole = file.read_bytes()
    if damage == "other":
        checkpoint.save(file, {"one": torch.zeros(1)}, {})
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage is None else bytes(str(damage), "ascii"))
    words = "its content is not what its name says" if damage == "other" else "or not a safetensors file"
    with pytest.raises(InputError, match=rf"{file}: damaged.*{words}"):
        autoshrink.resume(run)


def test_a_search_of_an_earlier_version_says_who_can_end_it(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    """Its log names no weights: it kept them all in one file."""
    run = _after(searched, "decided", tmp_path)
    first, *others = read_events(run)
    with Store.create(tmp_path / "earlier", first.body) as store:
        for event in others:
            store.append(event.kind, {key: value for key, value in event.body.items() if key != "weights"})
    with pytest.raises(RunError, match=r"an earlier version began this search, .* finish it with that version"):
        autoshrink.resume(tmp_path / "earlier")


def test_after_the_last_step_the_weights_are_needed_no_more(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    run = _after(searched, "stopped", tmp_path)
    shutil.rmtree(run / FOLDER)
    autoshrink.resume(run)
    assert story(run) == story(searched[1])


# The same again


def test_stopped_after_every_event_it_ends_the_same(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    """Of the run folder with its weights as they were at that moment."""
    _, run, after = searched
    wanted = story(run)
    moments = sorted(int(path.name) for path in after.iterdir())
    assert len(moments) == len(wanted) + 1, "and the event that a process opened it"
    kinds = Counter[str]()
    for moment in moments[3:-1]:
        found = story(after / f"{moment}")
        kind = found[-1][0]
        kinds[kind] += 1
        if kinds[kind] > 2 and moment % 9:
            continue  # the first of each kind, and some of the many others
        folder = Path(shutil.copytree(after / f"{moment}", tmp_path / f"{moment}"))
        autoshrink.resume(folder)
        assert story(folder) == wanted, f"after {moment} events, the last {kind}"
        shutil.rmtree(folder)
    assert {"evaluated", "decided", "stopped", "retrained", "remeasured"} <= set(kinds)


def test_killed_at_random_times_it_ends_the_same(searched: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    settings, run, _ = searched
    assert deaths_until_done(SEARCH, tmp_path / "run", json.dumps(settings)) > 0
    assert story(tmp_path / "run") == story(run)


# What fails


class Diverging:
    """Wraps the learners of a problem: what they report of cells with so many edges is NaN."""

    def __init__(self, problem: Any, edges: frozenset[int], *, when: str) -> None:
        self._problem, self._edges, self._when = problem, edges, when
        self.stops, self.device, self.fidelity = problem.stops, problem.device, problem.fidelity

    def architecture(self, design: Design) -> Any:
        return self._problem.architecture(design)

    def learner(self, architecture: Any, seed: int, *, batch: int | None = None) -> Any:
        learner = self._problem.learner(architecture, seed, batch=batch)
        if len(architecture.cell.edges) in self._edges:
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


def _evaluator(folder: Path, edges: set[int], when: str, task: str, text: Path) -> InheritedEvaluator:
    settings = resolve(_settings(task, text))
    problem = TASKS[settings.task].prepare(settings, Observer()).problem(torch.device("cpu"))
    return InheritedEvaluator(
        Diverging(problem, frozenset(edges), when=when), settings.inherit, settings.score, weights=folder / FOLDER
    )


def _start_cell(task: str, text: Path) -> Cell:
    return Cell.from_json(created(_settings(task, text))[1]["start"])


def _step(evaluator: InheritedEvaluator, parent: Cell, weights: str | None = None) -> list[Evaluation]:
    jobs = [Job(cell, 1, parent, weights) for cell in {cell.key: cell for _, cell in parent.shrink_space()}.values()]
    return [evaluation for _, evaluation in evaluator.evaluate(jobs)]


@pytest.mark.parametrize("task", ["image", "text"])
@pytest.mark.parametrize("when", ["training", "validation"])
def test_a_start_that_diverges_has_children_of_their_own(tmp_path: Path, when: str, task: str, text: Path) -> None:
    start = _start_cell(task, text)
    evaluator = _evaluator(tmp_path, {len(start.edges)}, when, task, text)
    ((_, first),) = evaluator.evaluate([Job(start, 0)])
    assert first.failed
    assert f"the {when} loss became nan" in str(first.reason)
    # There is nothing to inherit.
    assert first.weights is None
    again = _evaluator(tmp_path, set(), when, task, text)
    children = _step(again, start)
    assert not any(one.failed for one in children)


@pytest.mark.parametrize("when", ["training", "validation"])
def test_when_all_children_fail_theirs_begin_afresh(tmp_path: Path, text: Path, when: str) -> None:
    start = _start_cell("text", text)
    edges = set(range(len(start.edges)))
    evaluator = _evaluator(tmp_path, edges, "validation", "text", text)
    (_, first) = next(evaluator.evaluate([Job(start, 0)]))
    assert first.weights is not None
    children = _step(evaluator, start, first.weights)
    assert {one.weights for one in children} == {None}
    assert all("the validation loss became nan" in str(one.reason) for one in children)
    for known in (evaluator, _evaluator(tmp_path, set(), when, "text", text)):
        later = _step(known, children[0].cell)
        assert [one.failed for one in later] == [known is evaluator] * len(later)


@pytest.mark.parametrize("task", ["image", "text"])
def test_when_everything_fails_it_says_why(task: str, tmp_path: Path, text: Path) -> None:
    """Children of a start that failed are judged untrained, and may have a performance: the playoff has none."""
    settings = _settings(task, text, recipe={"learning_rate": 1e30}, stop={"edges": 3})
    words = r"all \d+ trainings of the playoff failed, the first with: the training loss became nan in a short training"
    with pytest.raises(SearchError, match=words):
        autoshrink.search(settings, run=tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert record.candidates[0].evaluation.failed
    assert any(not one.evaluation.failed for one in record.candidates)


# Limits


@pytest.mark.parametrize("seconds", [1e-6, 0.3, 1.0])
def test_a_time_limit_ends_in_a_best_cell_or_in_words(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path, seconds: float
) -> None:
    words = None
    try:
        autoshrink.search(searched[0] | {"stop": {"seconds": seconds}}, run=tmp_path / "run")
    except SearchError as error:
        words = str(error)
    record = read_record(tmp_path / "run")
    if words is None:
        assert record.finished
        assert record.best() is not None
    else:
        assert "the search ended before one candidate was trained (the time limit is reached); allow it more" in words
        assert not record.candidates
    if seconds < 0.01:
        assert words is not None


def test_limits_are_kept(searched: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    settings, run, _ = searched
    macs = read_record(run).of_step(0)[0].evaluation.resources.macs
    small = read_record(run).chosen()[-1].evaluation.resources.macs
    limit = (macs + small) // 2
    record: RunRecord = autoshrink.search(settings | {"limits": {"max_macs": limit}}, run=tmp_path / "run")
    best = record.best()
    assert best is not None
    assert best.recorded.resources.macs <= limit < macs
    assert all(one.evaluation.resources.macs <= limit for one in record.retrained)
