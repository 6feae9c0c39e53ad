"""A limit on training MACs: it holds for every strategy and evaluator, gives nobody more steps, and resumes exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoshrink.evaluation import Job
from autoshrink.record import RunRecord
from autoshrink.run import Loop
from autoshrink.score import Evaluation, Spent
from autoshrink.store import Store, opening
from fakes import FakeEvaluator, new_store, story
from test_run import DyingStore, KilledError

TRAIN, VALIDATION, EPOCHS = 40, 20, 4.0
ESTIMATING = {"evaluator": "inherited", "short_steps": 0}


class CountedEvaluator(FakeEvaluator):
    """Spends its network's MACs for every sample: three times in training, once in validation."""

    def __init__(self, children: float = EPOCHS) -> None:
        super().__init__()
        self._children = children

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        for position, found in super().evaluate(jobs):
            epochs = jobs[position].epochs or (EPOCHS if jobs[position].parent is None else self._children)
            macs = found.resources.macs * (3 * epochs * TRAIN + VALIDATION)
            yield position, replace(found, spent=Spent(1, int(macs), 0.01))


def begin(folder: Path, **overrides: Any) -> Store:
    store = new_store(folder, recipe={"epochs": int(EPOCHS)}, **overrides)
    store.append("data", {"name": "fake", "train": TRAIN, "validation": VALIDATION, "fingerprint": "x"})
    return store


def finish(store: Store, *, estimating: bool) -> RunRecord:
    evaluator = CountedEvaluator(0.1 if estimating else EPOCHS)
    with store:
        return Loop(store, evaluator, fresh=CountedEvaluator()).run()


Folder = Callable[[], Path]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return lambda: tmp_path_factory.mktemp("run")


@pytest.mark.parametrize(
    "asked",
    [{"strategy": one} for one in ("autoshrink", "random", "evolution", "successive-halving")] + [ESTIMATING],
    ids=lambda asked: " ".join(map(str, asked.values())),
)
@given(share=st.floats(0.02, 1.3))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_search_spends_more_and_none_has_more_steps(asked: dict[str, Any], folder: Folder, share: float) -> None:
    estimating = asked == ESTIMATING
    free = finish(begin(folder(), repeats=0, **asked), estimating=estimating)
    limit = int(share * free.spent_choosing().training_macs)
    held = finish(begin(folder(), repeats=0, stop={"training_macs": limit}, **asked), estimating=estimating)
    playoff = sum(one.evaluation.spent.training_macs for one in held.retrained)
    first = sum(one.evaluation.spent.training_macs for one in held.candidates if one.step <= estimating)
    # The start is measured whatever it takes; of a search that estimates the first children, whose cost nothing says.
    assert held.spent_choosing().training_macs <= max(limit, first + playoff)
    assert held.candidates == free.candidates[: len(held.candidates)]
    assert held.decisions == free.decisions[: len(held.decisions)]
    assert held.finished
    assert "exceed" in str(held.stopped) or held.stopped == free.stopped
    if share < 0.9:
        assert len(held.candidates) < len(free.candidates)
    if share > 1.25 and not estimating:
        assert held.stopped == free.stopped


@pytest.mark.parametrize("asked", [{"strategy": "evolution"}, ESTIMATING], ids=["trained", "estimated"])
def test_killed_after_every_event_it_ends_at_the_same_step(asked: dict[str, Any], folder: Folder) -> None:
    estimating = asked == ESTIMATING
    asked = asked | {"repeats": 1, "beside": ()}
    free = finish(begin(folder(), **asked), estimating=estimating)
    limit = {"training_macs": int(0.7 * free.spent_choosing().training_macs)}
    undisturbed = folder()
    whole = finish(begin(undisturbed, stop=limit, **asked), estimating=estimating)
    assert "training MACs" in str(whole.stopped)
    for events in range(1, len(story(undisturbed)) - 2, 4):
        killed = folder()
        begin(killed, stop=limit, **asked).close()
        store = DyingStore.open(killed)
        store.events_to_live = events
        with pytest.raises(KilledError):
            finish(store, estimating=estimating)
        again = Store.open(killed)
        again.append("opened", opening())
        finish(again, estimating=estimating)
        assert story(killed) == story(undisturbed)


def test_fresh_seeds_come_on_top(folder: Folder) -> None:
    record = finish(begin(folder(), stop={"training_macs": 1}), estimating=False)
    assert len(record.candidates) == 1
    assert record.spent_searching().training_macs == 3 * record.spent_choosing().training_macs
