"""Searches by ZiCo, as the evaluator and as the filter before others: what is proposed, resumed, counted, failed."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import autoshrink
from autoshrink.cell import cell_of
from autoshrink.config import resolve
from autoshrink.design import Design
from autoshrink.evaluation import Job
from autoshrink.evaluators.zico import ranking as zero_shot
from autoshrink.evaluators.zico.ranking import Scale, ZicoEvaluator, ZicoRanking
from autoshrink.events import Event
from autoshrink.priors import random_cells
from autoshrink.record import RunRecord
from autoshrink.run import Loop
from autoshrink.score import Spent
from autoshrink.seeding import derive_seed
from autoshrink.store import Store, read_events, read_record
from autoshrink.tasks import TASKS
from autoshrink.watching import Observer
from fakes import FakeEvaluator, new_store, story

TINY: dict[str, Any] = {
    "beside": (),
    "nodes": 4,
    "candidates": 2,
    "finalists": 2,
    "repeats": 1,
    "data": {"train_per_class": 12, "validation_per_class": 6},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 8, "widths": [8, 8]},
    "short_steps": 0,
    "inherit": {"start": 1.0, "tune": 1, "trial": 1, "statistics_batches": 1, "validation_share": 0.5},
    "playoff": {"cells": 2, "rounds": [1.0], "reduction": 2},
    "threads": 1,
}
REFERENCE_CELLS = 6
WAYS = {
    "zico": {"evaluator": "zico"},
    "zico+zico": {"evaluator": "zico", "filter": "zico"},
    "trained+zico": {"evaluator": "trained", "filter": "zico"},
    "inherited+zico": {"evaluator": "inherited", "filter": "zico"},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True, scope="module")
def _few_reference_cells() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zero_shot, "REFERENCE_CELLS", REFERENCE_CELLS)
        yield


@pytest.fixture(scope="module", params=WAYS)
def searched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A way to use ZiCo, an undisturbed run, and copies of the run folder after each event."""
    place = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        append, number = Store.append, itertools.count()

        def append_and_copy(store: Store, kind: str, body: dict[str, Any]) -> Event:
            event = append(store, kind, body)
            shutil.copytree(store.folder, place / "after" / f"{next(number)}")
            return event

        patch.setattr(Store, "append", append_and_copy)
        autoshrink.search(TINY | WAYS[request.param], run=place / "run")
    return request.param, place / "run", place / "after"


def _ranking(settings: Any) -> ZicoRanking:
    problem: Any = TASKS["image"].prepare(settings, Observer()).problem(torch.device("cpu"))
    seed = derive_seed(settings.seed, "zico")
    return ZicoRanking(
        problem, settings.score, reference=lambda count: random_cells("conv", 4, count, seed), seed=seed, threads=1
    )


def test_it_ends_with_cells_that_were_trained(searched: tuple[str, Path, Path]) -> None:
    way, run, _ = searched
    record = read_record(run)
    best = record.best()
    assert record.finished
    assert best is not None
    assert record.chosen()[-1].cell.edges == ()
    assert bool(record.retrained) == (not way.startswith("trained"))
    assert 0 <= best.performance <= 1
    assert record.finalists()[0].fidelity.endswith("from scratch" if record.retrained else "images")
    assert len(best.repeats) == 1


def test_no_candidate_is_outside_the_best_by_rank(searched: tuple[str, Path, Path]) -> None:
    way, run, _ = searched
    record = read_record(run)
    assert bool(record.ranks) == ("+zico" in way)
    if not record.ranks:
        return
    left_out = 0
    for decision in record.decisions[1:]:
        space = [cell for _, cell in record.chosen()[decision.step - 1].cell.shrink_space()]
        assert {cell.key for cell in space} <= record.ranks.keys()
        ranks = sorted((record.ranks[cell.key] for cell in space), reverse=True)
        proposed = [record.ranks[one.cell.key] for one in record.of_step(decision.step)]
        assert proposed == ranks[:2]
        left_out += len(ranks) - len(proposed)
    assert left_out > 0


def test_ranks_and_performances_are_zico_in_the_scales_units(searched: tuple[str, Path, Path]) -> None:
    way, run, _ = searched
    record = read_record(run)
    ranking = _ranking(record.settings)
    score = record.settings.score
    for one in record.candidates[:4]:
        performance = ranking.performance(one.cell)
        if way.startswith("zico"):
            assert one.evaluation.performance == pytest.approx(performance, rel=1e-12)
        if one.cell.key in record.ranks:
            rank = score.of(performance, one.cell, one.evaluation.resources)
            # Ranks are of cells up to isomorphism: the first that came is the one that was scored.
            known = [math.isclose(rank, value, rel_tol=1e-9) for value in record.ranks.values()]
            assert any(known) or one.same_as is not None


def test_costs_are_counted_once(searched: tuple[str, Path, Path]) -> None:
    """Six reference cells once for each that scores; a cell as often as it was scored."""
    way, run, _ = searched
    record = read_record(run)
    settings = record.settings
    problem: Any = TASKS["image"].prepare(settings, Observer()).problem(torch.device("cpu"))
    resources = ZicoEvaluator(_ranking(settings)).resources
    samples = problem.gradient_samples(2)
    reference = random_cells("conv", 4, REFERENCE_CELLS, derive_seed(settings.seed, "zico"))
    scale = sum(3 * samples * resources(cell).macs for cell in reference)
    if way.startswith("zico"):
        for number, one in enumerate(record.candidates):
            own = 3 * samples * one.evaluation.resources.macs
            if one.same_as is None:
                assert one.evaluation.spent.training_macs == own + (scale if number == 0 else 0)
    if "+" in way:
        # The filter has a scale of its own.
        assert record.screening.samples == (len(record.ranks) + REFERENCE_CELLS) * samples
        assert record.screening.training_macs > scale
    assert record.spent().training_macs > record.screening.training_macs + scale * way.startswith("zico")


def test_stopped_after_any_kind_of_event_it_ends_the_same(searched: tuple[str, Path, Path], tmp_path: Path) -> None:
    """After the start's evaluation, and after the last event of each kind."""
    _, run, after = searched
    wanted = story(run)
    moments = range(3, len(list(after.iterdir())) - 1)
    last = {story(after / f"{moment}")[-1][0]: moment for moment in moments}
    assert len(last) >= 4
    for moment in sorted({moments[0], *last.values()}):
        folder = Path(shutil.copytree(after / f"{moment}", tmp_path / f"{moment}"))
        autoshrink.resume(folder)
        assert story(folder) == wanted, f"after {moment} events"


# Without a network


def test_the_unit_by_hand() -> None:
    """At ten times the cost two nats more: λ′ = 2, and a nat is worth half of λ."""
    settings = resolve(TINY | {"penalty": 0.1})
    scale = Scale.fitted([1.0, 3.0, 5.0], [1000, 10_000, 100_000], settings.score)
    assert scale.penalty == pytest.approx(2.0, rel=0.05)
    assert scale.unit == pytest.approx(0.1 / scale.penalty)
    free = resolve(TINY | {"penalty": 0.0})
    assert Scale.fitted([1.0, 3.0, 5.0], [1000, 10_000, 100_000], free.score).unit == pytest.approx(1 / scale.penalty)
    # Where ZiCo falls with the cost, or says nothing of it, a nat still is worth something, and not less than nothing.
    assert Scale.fitted([5.0, 3.0, 1.0], [1000, 10_000, 100_000], settings.score).unit == 1.0
    assert Scale.fitted([1.0, 3.0, 5.0], [1000] * 3, settings.score).unit == 1.0


class Scoreless(ZicoRanking):
    """Some cells have no score."""

    def performance(self, design: Design) -> float:
        if len(cell_of(design).edges) % 2:
            raise ValueError("the gradient of stem is not finite")
        return super().performance(design)


def test_a_cell_without_a_score_is_a_failed_candidate() -> None:
    settings = resolve(TINY)
    problem: Any = TASKS["image"].prepare(settings, Observer()).problem(torch.device("cpu"))
    ranking = Scoreless(problem, settings.score, reference=lambda n: random_cells("conv", 4, n, 0), seed=0, threads=1)
    cells = random_cells("conv", 4, 6, 1)
    found = dict(ZicoEvaluator(ranking).evaluate([Job(cell, 0) for cell in cells]))
    assert {cells[place].key for place, one in found.items() if one.failed} == {
        cell.key for cell in cells if len(cell.edges) % 2
    }
    assert all(one.reason is None or one.reason == "the gradient of stem is not finite" for one in found.values())


class Ranks:
    """A made-up ranking; every third cell has none."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._waiting = 0

    def __call__(self, design: Design) -> float:
        self.asked.append(design.key)
        self._waiting += 1
        if derive_seed(0, design.key) % 3 == 0:
            raise ValueError("none")
        return float(derive_seed(1, design.key) % 1000)

    def take_spent(self) -> Spent:
        waiting, self._waiting = self._waiting, 0
        return Spent(waiting, waiting, 0.0)


def _filtered(folder: Path, ranks: Ranks) -> RunRecord:
    with new_store(folder, nodes=5, candidates=3) as store:
        return Loop(store, FakeEvaluator(), ranking=ranks).run()


def test_each_cell_is_ranked_once_and_one_without_a_rank_comes_last(tmp_path: Path) -> None:
    ranks = Ranks()
    record = _filtered(tmp_path / "run", ranks)
    assert len(ranks.asked) == len(set(ranks.asked)) == len(record.ranks) == record.screening.samples
    assert any(math.isnan(rank) for rank in record.ranks.values())
    worth = {key: -math.inf if math.isnan(rank) else rank for key, rank in record.ranks.items()}
    for decision in record.decisions[1:]:
        space = [cell for _, cell in record.chosen()[decision.step - 1].cell.shrink_space()]
        best = sorted((worth[cell.key] for cell in space), reverse=True)[:3]
        assert [worth[one.cell.key] for one in record.of_step(decision.step)] == best


def test_ranks_in_the_log_are_not_asked_for_again(tmp_path: Path) -> None:
    whole = _filtered(tmp_path / "whole", Ranks())
    for event, (kind, _) in enumerate(story(tmp_path / "whole")):
        if kind != "screened" or event > 40:
            continue
        folder = tmp_path / f"{event}"
        _replayed(tmp_path / "whole", folder, event + 1)
        before = read_record(folder).ranks
        ranks = Ranks()
        with Store.open(folder) as store:
            Loop(store, FakeEvaluator(), ranking=ranks).run()
        assert story(folder) == story(tmp_path / "whole")
        assert not set(ranks.asked) & before.keys()
        assert replace(read_record(folder).screening, seconds=0) == replace(whole.screening, seconds=0)


def _replayed(source: Path, folder: Path, events: int) -> None:
    """A run whose log is the first events of another's."""
    told = [event for event in read_events(source) if event.kind != "opened"]
    with new_store(folder, nodes=5, candidates=3) as store:
        for event in told[1:events]:
            store.append(event.kind, event.body)
