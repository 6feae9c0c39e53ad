"""Successive halving as a search: who stays, for how long each is trained, and what the best is chosen from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoshrink.config import resolve
from autoshrink.design import edges_of
from autoshrink.errors import InputError
from autoshrink.store import Store, opening
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.halving_search import HalvingSearch
from autoshrink.testing.strategies import _evaluation, context
from fakes import FakeEvaluator, loop, new_store, story


def given(**halving: Any) -> StrategyContext:
    made = context(nodes=6)
    return replace(made, settings=made.settings.changed({"halving": halving}))


def test_the_better_third_is_trained_three_times_as_long() -> None:
    made = given(designs=27)
    strategy = HalvingSearch(made)
    assert strategy.outlook() == (1, 27, 9, 3)
    rounds = []
    while asked := strategy.ask():
        rounds.append(asked)
        strategy.tell([_evaluation(one.design, failed=False) for one in asked])
    assert [len(one) for one in rounds] == [1, 27, 9, 3]
    assert [{one.share for one in asked} for asked in rounds] == [{1.0}, {0.1}, {0.3}, {1.0}]
    assert [{one.rung for one in asked} for asked in rounds] == [{2}, {0}, {1}, {2}]
    assert len({one.design.key for one in rounds[1]} | {made.start.key}) == 28
    scores = [made.score(_evaluation(one.design, failed=False)) for one in rounds[1]]
    kept = [made.score(_evaluation(one.design, failed=False)) for one in rounds[2]]
    assert sorted(kept) == sorted(scores)[-9:]


def test_one_that_is_left_alone_is_trained_to_the_end() -> None:
    strategy = HalvingSearch(given(designs=3, rounds=[0.1, 0.2, 1.0]))
    assert strategy.outlook() == (1, 3, 1, 1)
    shares = []
    while asked := strategy.ask():
        shares.append((len(asked), asked[0].share))
        strategy.tell([_evaluation(one.design, failed=False) for one in asked])
    assert shares == [(1, 1.0), (3, 0.1), (1, 0.2), (1, 1.0)]


def test_what_is_drawn_keeps_the_limits_and_a_small_space_has_fewer() -> None:
    few = replace(given(designs=20), allowed=lambda design: (edges_of(design) or 0) <= 3)
    strategy = HalvingSearch(few)
    strategy.tell([_evaluation(few.start, failed=False)])
    assert all((edges_of(one.design) or 0) <= 3 for one in strategy.ask())
    small = replace(context(nodes=2), settings=given(designs=20).settings)
    assert HalvingSearch(small).outlook() == (1, 1, 1, 1)


@pytest.mark.parametrize("evaluator", ["inherited", "shared", "zico"])
def test_what_does_not_train_from_scratch_cannot_train_longer(evaluator: str) -> None:
    made = replace(context(), settings=resolve({"evaluator": evaluator}))
    with pytest.raises(InputError, match=f"which --evaluator {evaluator} does not; add --evaluator trained"):
        HalvingSearch(made)


SETTINGS: dict[str, Any] = {
    "strategy": "successive-halving",
    "nodes": 5,
    "halving": {"designs": 6, "rounds": [0.25, 1.0]},
    "beside": (),
}


def test_the_best_is_chosen_among_those_that_were_trained_longest(tmp_path: Path) -> None:
    evaluator = FakeEvaluator()
    with new_store(tmp_path / "run", **SETTINGS) as store:
        record = loop(store, evaluator).run()
    epochs = [job.epochs for job in evaluator.jobs]
    assert epochs == [None, *[0.25 * record.settings.recipe.epochs] * 6, *[None] * 2]
    assert record.finished
    assert {one.rung for one in record.finalists()} == {1}
    last = {one.design.key for one in record.of_step(2)} | {record.start.key}
    assert {one.design.key for one in record.finalists()} <= last
    assert all(one.same_as is None for one in record.candidates), "each is trained anew, longer"


def test_killed_anywhere_it_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_store(tmp_path / "whole", **SETTINGS) as store:
        loop(store).run()
    whole, append = story(tmp_path / "whole"), Store.append
    for most in (2, 5, 9, 12):
        left = [most]

        def stopping(self: Store, kind: str, body: dict[str, Any], left: list[int] = left) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return append(self, kind, body)

        folder = tmp_path / f"killed-{most}"
        with new_store(folder, **SETTINGS) as store, monkeypatch.context() as patch:
            patch.setattr(Store, "append", stopping)
            with pytest.raises(KeyboardInterrupt):
                loop(store).run()
        with Store.open(folder) as store:
            store.append("opened", opening())
            loop(store).run()
        assert story(folder) == whole
