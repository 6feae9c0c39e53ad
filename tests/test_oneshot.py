"""The one-shot search: what blocks are worth, what commands leave to be drawn, and the same end whoever replays it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import cell_of
from autoshrink.cli import run
from autoshrink.errors import InputError
from autoshrink.ranking import spearman
from autoshrink.results import summary
from autoshrink.run import Loop
from autoshrink.spaces import CellSpace, Decision
from autoshrink.store import Store, read_record
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.blocks import Block, Choices, Place, places, worths
from autoshrink.strategies.oneshot import OneShot, distance
from autoshrink.testing.planted import Additive, Planted, PlantedSpace
from autoshrink.testing.strategies import _evaluation, check_strategy, context
from fakes import FakeEvaluator, new_store, story

Said = tuple[str, Mapping[str, Any]]


def searched(nodes: int = 5, seed: int = 0, **changes: Any) -> StrategyContext:
    made = context(nodes=nodes, seed=seed)
    return replace(
        made, settings=made.settings.changed({"oneshot": {"rounds": 4, "designs": 6, "mutated": 2} | changes})
    )


def planted(space: PlantedSpace, **changes: Any) -> StrategyContext:
    made = context()
    return StrategyContext(made.settings.changed({"penalty": 0.0} | changes), space, made.resources)


# What blocks are worth


def test_fitness_by_hand() -> None:
    """With it 3 and 5, without it 1 and 1: difference 3, pooled variance (2 + 0)/2, so a standard error of 1."""
    told = [((1,), 3.0), ((1,), 5.0), ((0,), 1.0), ((0,), 1.0), ((1,), -math.inf)]
    found = worths((Decision("0-1", ("absent", "present")),), told)
    assert found == (Block("0-1", NormalDist().cdf(3.0), 3.0, 1.0, 2, 4),)


@pytest.mark.parametrize(
    ("told", "fitness"),
    [
        ([], 0.5),
        ([((1,), 3.0), ((1,), 5.0)], 0.5),
        ([((1,), 3.0), ((0,), 5.0)], 0.5),
        ([((1,), 3.0), ((1,), 3.0), ((0,), 5.0)], 0.0),
        ([((1,), 3.0), ((1,), 3.0), ((0,), 3.0)], 0.5),
    ],
)
def test_fitness_without_evidence_or_without_noise(told: list[tuple[tuple[int, ...], float]], fitness: float) -> None:
    assert worths((Decision("0-1", ("absent", "present")),), told)[0].fitness == fitness


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-5, 5)), min_size=3, max_size=30))
def test_fitness_is_that_of_a_regression(rows: list[tuple[int, float]]) -> None:
    """The pooled standard error of a difference of means is that of the slope of least squares on the block alone."""
    found = worths((Decision("n", ("a", "b", "c")),), [((option,), worth) for option, worth in rows])
    assert [one.name for one in found] == ["n=a", "n=b", "n=c"]
    for option, block in enumerate(found):
        has = np.array([float(own == option) for own, _ in rows])
        worth = np.array([one for _, one in rows])
        assert block.count == has.sum()
        if not 0 < block.count < len(rows):
            continue
        design = np.stack([np.ones(len(rows)), has], axis=1)
        slope, *_ = np.linalg.lstsq(design, worth, rcond=None)
        rest = worth - design @ slope
        error = math.sqrt(rest @ rest / (len(rows) - 2) * np.linalg.inv(design.T @ design)[1, 1])
        assert block.difference == pytest.approx(slope[1], abs=1e-9)
        assert block.error == pytest.approx(error, abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_fitness_ranks_planted_effects(seed: int) -> None:
    """35 blocks and 300 masks at random; and so do the masks that the search itself draws, which are not."""
    space, objective = PlantedSpace.switches(35), Additive.of_switches(35, seed)
    effects = [own[1] for own in objective.effects]
    rng = random.Random(seed)
    masks = [space.random(rng) for _ in range(300)]
    blind = worths(space.decisions, [(one.choices, objective.worth(one)) for one in masks])
    assert spearman([one.fitness for one in blind], effects) >= 0.8
    strategy = OneShot(planted(space, seed=seed))
    while asked := strategy.ask():
        strategy.tell([objective(one.design) for one in asked])
    assert {one.of for one in strategy.blocks} == {301}
    assert spearman([one.fitness for one in strategy.blocks], effects) >= 0.8


# The search


def test_its_rounds_and_its_end() -> None:
    """Of an additive objective without noise, the fittest blocks are those that are worth something."""
    space = PlantedSpace.switches(6)
    objective = Additive(tuple((0.0, worth) for worth in (3.1, -2.03, 1.007, -1.31, 2.2, -3.71)))
    strategy = OneShot(planted(space, oneshot={"rounds": 3, "designs": 8, "mutated": 2}))
    steps = []
    while asked := strategy.ask():
        steps.append(asked)
        strategy.tell([objective(one.design) for one in asked])
    assert [len(asked) for asked in steps] == [1, 8, 8, 8, 1]
    assert steps[-1][0].design == Planted((1, 0, 1, 0, 1, 0))
    for number in (2, 3):
        told = {one.design for step in steps[1:number] for one in step}
        best = sorted(told, key=lambda one: -objective.worth(one))[:2]
        for parent, child in zip(best, steps[number][:2], strict=True):
            assert child.parent == parent
            assert distance(child.design.choices, parent.choices) == 1  # type: ignore[attr-defined]
    assert len({one.design for step in steps[1:4] for one in step}) == 24, (
        "nothing is proposed twice while there is else"
    )


@pytest.mark.parametrize("nodes", [3, 5])
def test_it_keeps_the_contract(nodes: int) -> None:
    check_strategy(OneShot, searched(nodes))


def test_limits_are_kept_and_what_breaks_them_is_left_out_at_the_end() -> None:
    made = searched(6)
    strategy = OneShot(replace(made, allowed=lambda design: made.resources(design).macs <= 1060))
    proposed = []
    while asked := strategy.ask():
        proposed += [(one.step, one.design) for one in asked]
        strategy.tell([_evaluation(one.design, failed=False) for one in asked])
    assert all(made.resources(design).macs <= 1060 for step, design in proposed if step)


# Commands


@st.composite
def _commands(draw: st.DrawFn) -> tuple[int, dict[int, list[tuple[str, int, int]]]]:
    seed = draw(st.integers(0, 99))
    one = st.tuples(st.sampled_from(("lock", "remove", "focus")), st.integers(0, 99), st.integers(1, 3))
    return seed, draw(st.dictionaries(st.integers(0, 3), st.lists(one, max_size=3), max_size=3))


def obeyed(strategy: OneShot, command: str, arguments: Mapping[str, Any]) -> bool:
    """Whether it was; one that is refused can be followed by no design."""
    try:
        strategy.obey(command, arguments)
    except InputError as error:
        if "no design keeps that" not in str(error):
            raise
        return False
    return True


@given(_commands(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_removed_blocks_never_appear_again_and_locked_ones_always(
    given: tuple[int, dict[int, list[tuple[str, int, int]]]], ops: bool
) -> None:
    """Of designs as they are built, where an edge that nothing reaches is gone; a refused command changes nothing."""
    seed, commands = given
    made = searched(4, seed)
    made = replace(made, space=CellSpace(cell_of(made.start), frozenset({"edges", "ops"} if ops else {"edges"})))
    strategy, known = OneShot(made), places(made.space.decisions)
    removed: set[Place] = set()
    locked: set[Place] = set()
    focus: list[tuple[Choices, int]] = []
    step = 0
    while asked := strategy.ask():
        if step:
            for one in asked:
                choices = made.space.choices(one.design)
                assert all(choices[place] != option for place, option in removed)
                assert all(choices[place] == option for place, option in locked)
                assert all(distance(choices, centre) <= radius for centre, radius in focus[-1:])
        strategy.tell([_evaluation(one.design, failed=False) for one in asked])
        for command, number, radius in commands.get(step, ()):
            name = list(known)[number % len(known)]
            design = asked[number % len(asked)].design
            before = strategy.ask()
            said = {"block": name} if command != "focus" else {"design": design.to_json(), "radius": radius}
            if not obeyed(strategy, command, said):
                assert strategy.ask() == before
            elif command == "focus":
                focus.append((made.space.choices(design), radius))
            else:
                (locked if command == "lock" else removed).add(known[name])
        step += 1


def test_an_edge_can_be_locked_only_where_its_tail_can_be_reached() -> None:
    strategy = OneShot(searched(3))
    strategy.obey("lock", {"block": "1-2"})
    with pytest.raises(InputError, match="remove 0-1: no design keeps that and the commands before it; undo one"):
        strategy.obey("remove", {"block": "0-1"})
    assert [one.name for one in strategy.undecided] == ["0-1", "0-2"]


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("lock", {"block": "0-9"}, "there is no block '0-9'; they go from '0-1' to '3-4'"),
        ("remove", {}, "there is no block None"),
        ("focus", {"design": {}, "radius": 0}, "a radius is a number of decisions, 1 at least, not 0"),
        ("focus", {"design": 3, "radius": 1}, "a design is a JSON object, not 3"),
        ("finish", {"threshold": 2}, "a threshold of fitness is a number from 0 to 1, not 2"),
        ("dance", {}, "cannot obey 'dance'"),
    ],
)
def test_commands_that_are_none_are_refused(command: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OneShot(searched()).obey(command, arguments)


def test_a_person_may_end_it_with_a_threshold() -> None:
    space, objective = PlantedSpace.switches(3), Additive(((0.0, 5.0), (0.0, 0.1), (0.0, -5.0)), noise=0.2)
    strategy = OneShot(planted(space, oneshot={"rounds": 9, "designs": 6, "mutated": 0}))
    for _ in range(2):
        strategy.tell([objective(one.design) for one in strategy.ask()])
    strategy.obey("finish", {"threshold": 0.99})
    (last,) = strategy.ask()
    assert last.design == Planted((1, 0, 0))
    strategy.tell([objective(last.design)])
    assert strategy.ask() == ()
    with pytest.raises(InputError, match="the rounds are over already"):
        strategy.obey("finish", {})


def test_told_and_commanded_the_same_it_ends_the_same() -> None:
    """A log of evaluations and commands is all there is to a search."""
    said: dict[int, Said] = {1: ("lock", {"block": "0-2"}), 2: ("remove", {"block": "1-3"})}

    def ended() -> list[Any]:
        strategy, found = OneShot(searched(5, seed=3)), []
        while asked := strategy.ask():
            found.append((asked, strategy.tell([_evaluation(one.design, failed=False) for one in asked])))
            if len(found) - 1 in said:
                strategy.obey(*said[len(found) - 1])
        return [*found, strategy.blocks]

    assert ended() == ended()


# A whole run


def test_killed_at_any_event_it_ends_as_if_undisturbed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more: dict[str, Any] = {"strategy": "oneshot", "oneshot": {"rounds": 2, "designs": 4, "mutated": 1}}
    with new_store(tmp_path / "whole", **more) as store:
        Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
    whole = story(tmp_path / "whole")
    for stop in range(4, len(whole) - 3, 5):
        folder = tmp_path / str(stop)
        with new_store(folder, **more) as store:
            append = store.append

            def dying(kind: str, body: Any, append: Any = append, store: Store = store, stop: int = stop) -> Any:
                if len(list(store.events())) == stop:
                    raise KeyboardInterrupt
                return append(kind, body)

            store.append = dying  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
        with Store.open(folder) as store:
            Loop(store, FakeEvaluator(), fresh=FakeEvaluator()).run()
        assert story(folder) == whole
    record = read_record(tmp_path / "whole")
    found = summary(record, run=tmp_path)["blocks"]
    assert [one["name"] for one in found] == ["0-1", "0-2", "0-3", "1-2", "1-3", "2-3"]
    assert {one["of"] for one in found} == {9}
    assert run(["show", str(tmp_path / "whole")]) == 0
    assert "What blocks are worth" in capsys.readouterr().out
