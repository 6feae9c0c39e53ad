"""What every search strategy has to keep, built in or added."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import combinations, islice
from typing import Any

from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.design import Design, edges_of
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.spaces import CellSpace, Space
from autoshrink.spaces.constraints import Constraints
from autoshrink.strategies import Proposal, Strategy, StrategyContext

MOST_STEPS = 500
"""A strategy that has not ended by then does not end."""

Make = Callable[[StrategyContext], Strategy]


def context(nodes: int = 5, seed: int = 0, candidates: int = 4) -> StrategyContext:
    """What a strategy is made of in these tests: a complete cell of image operations, and costs by its edges."""
    ops = ("input", *(("sepconv3x3", "conv1x1")[node % 2] for node in range(nodes - 1)))
    start = Cell("conv", ops, tuple(combinations(range(nodes), 2)))
    settings = resolve({"nodes": nodes, "seed": seed, "candidates": candidates, "evaluator": "trained"})
    return StrategyContext(settings, CellSpace(start), _resources)


def check_strategy(make: Make, given: StrategyContext | None = None, *, foreseen: bool = True) -> None:
    """A strategy asks the same until it is told, is decided by its seed and its history, and comes to an end.

    It proposes designs of the space alone and, under limits, some that keep them; it goes on where designs fail. What a
    person pins or forbids holds from then on.

    Args:
        make: as it is registered.
        given: what it is made of; None: a small image search.
        foreseen: whether its first outlook bounds the number of steps; False where it goes on for as long as it gains.

    Raises:
        AssertionError: something is not kept; the message says what.
    """
    given = given or context()
    for fails in (lambda *_: False, lambda step, _: step % 2 == 1, lambda _, index: index % 2 == 1, lambda *_: True):
        history = list(_run(make(given), given.space, fails, foreseen=foreseen))
        assert history, "a strategy proposes something"
        again = make(given)
        for step, (asked, told, index) in enumerate(history):
            assert again.ask() == asked, f"step {step}: told the same, another one of the same seed asks otherwise"
            assert again.tell(told).index == index, f"step {step}: told the same, another one chooses otherwise"
        assert again.ask() == (), "told the same, another one goes on after the end"
        for place in {1, len(history) // 2, len(history) - 1}:
            resumed = make(given)
            for _, told, _ in history[:place]:
                resumed.tell(told)
            expected = history[place][0] if place < len(history) else ()
            assert resumed.ask() == expected, f"told {place} steps without being asked, it goes on otherwise"
    _check_limits(make, given)
    _check_commands(make, given)
    _check_refusals(make(given))


Fails = Callable[[int, int], bool]
"""Whether a step's design of some index fails."""


def _run(
    strategy: Strategy, space: Space[Any], fails: Fails, *, foreseen: bool, begun: int = 0, known: Iterable[Design] = ()
) -> Iterator[tuple[tuple[Proposal, ...], list[Evaluation], int]]:
    """Step by step, from one on, what is asked, told and chosen; `known` was proposed before."""
    known = set(known)
    first = strategy.outlook()
    for step in range(begun, begun + MOST_STEPS):
        asked = strategy.ask()
        assert strategy.ask() == asked, f"step {step}: asked twice, it proposes something else"
        outlook = strategy.outlook()
        if not asked:
            assert strategy.over(), "at its end it has to say why"
            return
        places = [(one.step, one.index) for one in asked]
        assert places == [(step, index) for index in range(len(asked))], f"step {step}: its proposals are {places}"
        assert outlook[:1] >= (len(asked),), f"step {step}: it proposes {len(asked)} cells and expected {outlook[:1]}"
        if foreseen:
            assert first[step : step + 1] >= (len(asked),), f"step {step}: {len(asked)} cells, where it foresaw {first}"
        for one in asked:
            assert one.parent is None or one.parent in known, f"step {step}: a parent was never proposed"
            assert one.change is None or one.parent is not None, f"step {step}: a change of no parent"
            assert _is_of(space, one.design), f"step {step}: {one.design} is no design of the space"
        known |= {one.design for one in asked}
        told = [_evaluation(one.design, failed=fails(step, one.index)) for one in asked]
        chosen = strategy.tell(told)
        assert 0 <= chosen.index < len(asked), f"step {step}: it goes on with {chosen.index} of {len(asked)}"
        assert chosen.runner_up is None or 0 <= chosen.runner_up < len(asked), f"step {step}: no such runner-up"
        yield asked, told, chosen.index
    raise AssertionError(f"it has not ended after {MOST_STEPS} steps")


def _is_of(space: Space[Any], design: Design) -> bool:
    """Whether a design is one of the space, as far as that can be told: where its decisions are known."""
    try:
        known = bool(space.decisions)
    except InputError:
        return True
    try:
        return not known or space.chosen(space.choices(design)) == design
    except InputError:
        return False


def _check_limits(make: Make, given: StrategyContext) -> None:
    """With a limit of half the start's edges some of what is proposed after the start keeps it, if anything is."""
    most = (edges_of(given.start) or 0) // 2
    limited = replace(given, allowed=lambda design: given.allowed(design) and (edges_of(design) or 0) <= most)
    _, *steps = _run(make(limited), given.space, lambda *_: False, foreseen=False)
    later = [one for asked, _, _ in steps for one in asked]
    assert not later or any(limited.allowed(one.design) for one in later), (
        "under a limit nothing that keeps it is asked"
    )


def _check_commands(make: Make, given: StrategyContext) -> None:
    """Where an edge is pinned and another forbidden, at its start or later, it proposes what keeps that and no more; if
    it cannot be redirected, a new one that begins there does."""
    edges = getattr(given.start, "edges", ())
    held = Constraints(pinned=frozenset(edges[-1:]), forbidden=frozenset(edges[:1]))
    try:
        space = given.space.constrained(held)
    except InputError:
        return
    context = replace(given, space=space, allowed=lambda design: given.allowed(design) and held.keeps(design))
    for turns in range(4):
        strategy = make(given)
        steps = list(islice(_run(strategy, given.space, lambda *_: False, foreseen=False), turns))
        known = [one.design for asked, _, _ in steps for one in asked]
        begun = len(steps)
        if not strategy.redirected(context, None):
            strategy, known, begun = make(context), [], 0
        for asked, _, _ in _run(strategy, space, lambda *_: False, foreseen=False, begun=begun, known=known):
            for one in asked:
                broken = held.broken_by(one.design)
                assert broken is None, f"step {one.step}: commanded before step {turns}, it proposes {broken}"


def _check_refusals(strategy: Strategy) -> None:
    asked = strategy.ask()
    stranger = Cell("conv", ("input",), ())
    try:
        strategy.tell([_evaluation(stranger, failed=False)])
    except ValueError:
        pass
    else:
        raise AssertionError("told of a design that it did not ask for, it does not complain")
    said = ""
    try:
        strategy.obey("no such command", {})
    except InputError as error:
        said = str(error)
    assert "no such command" in said, f"a command that nobody knows has to be refused by name; it says {said!r}"
    assert strategy.ask() == asked, "what it refused has changed it"


def _evaluation(design: Design, *, failed: bool) -> Evaluation:
    """Made up from the design alone."""
    digest = hashlib.sha256(design.key.encode()).digest()
    worth = 0.5 + 0.4 * (1 - 0.8 ** (edges_of(design) or 0)) + 0.1 * digest[0] / 255
    return Evaluation(
        design, _resources(design), 0, "made up", None if failed else worth, "made to fail" if failed else None
    )


def _resources(design: Design) -> Resources:
    edges = edges_of(design) or 0
    return Resources(macs=1000 + 10 * edges, params=100 + edges, memory=100)
