"""What every search strategy has to keep, built in or added."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import combinations

from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.design import Design, edges_of
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.spaces import CellSpace
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


def check_strategy(make: Make, given: StrategyContext | None = None) -> None:
    """A strategy asks the same until it is told, is decided by its seed and its history, and comes to an end.

    Args:
        make: as it is registered.
        given: what it is made of; None: a small image search.

    Raises:
        AssertionError: something is not kept; the message says what.
    """
    given = given or context()
    for failing in (False, True):
        history = list(_run(make(given), failing=failing))
        assert history, "a strategy proposes something"
        again = make(given)
        for step, (asked, told, index) in enumerate(history):
            assert again.ask() == asked, f"step {step}: told the same, another one of the same seed asks otherwise"
            assert again.tell(told).index == index, f"step {step}: told the same, another one chooses otherwise"
        assert again.ask() == (), "told the same, another one goes on after the end"
    _check_refusals(make(given))


def _run(strategy: Strategy, *, failing: bool) -> Iterator[tuple[tuple[Proposal, ...], list[Evaluation], int]]:
    """Step by step what is asked, told and chosen; where `failing`, every other step fails as a whole."""
    known: set[Design] = set()
    for step in range(MOST_STEPS):
        asked = strategy.ask()
        assert strategy.ask() == asked, f"step {step}: asked twice, it proposes something else"
        outlook = strategy.outlook()
        if not asked:
            assert strategy.over(), "at its end it has to say why"
            return
        places = [(one.step, one.index) for one in asked]
        assert places == [(step, index) for index in range(len(asked))], f"step {step}: its proposals are {places}"
        assert outlook[:1] >= (len(asked),), f"step {step}: it proposes {len(asked)} cells and expected {outlook[:1]}"
        for one in asked:
            assert one.parent is None or one.parent in known, f"step {step}: a parent was never proposed"
            assert one.change is None or one.parent is not None, f"step {step}: a change of no parent"
        known |= {one.design for one in asked}
        told = [_evaluation(one.design, failed=failing and step % 2 == 1) for one in asked]
        chosen = strategy.tell(told)
        assert 0 <= chosen.index < len(asked), f"step {step}: it goes on with {chosen.index} of {len(asked)}"
        assert chosen.runner_up is None or 0 <= chosen.runner_up < len(asked), f"step {step}: no such runner-up"
        yield asked, told, chosen.index
    raise AssertionError(f"it has not ended after {MOST_STEPS} steps")


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
