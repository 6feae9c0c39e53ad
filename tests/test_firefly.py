"""Growing: nothing changes at first, gains are what the loss falls by, choices by hand, whole searches."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import autoshrink
from autoshrink.architecture import Architecture, ConvArchitecture, recurrent_proxy
from autoshrink.architecture.base import ARCHITECTURE_FORMAT
from autoshrink.cell import Cell, cell_of
from autoshrink.change import Changed
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.evaluation import Job
from autoshrink.evaluators.grown import GrownEvaluator
from autoshrink.evaluators.measuring import Conditions
from autoshrink.events import Event
from autoshrink.networks import LanguageNetwork, build
from autoshrink.networks.growing import Growth, grow, growth_of
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.ops import DEFAULTS
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.spaces import CellSpace, NetworkSpace
from autoshrink.spaces.growing import grows_from, growths, seedling, together, united
from autoshrink.store import Store, read_record
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.firefly import Firefly
from autoshrink.tasks import TASKS
from autoshrink.testing.evaluators import check_evaluator
from autoshrink.testing.strategies import check_strategy, context
from autoshrink.watching import Observer
from fakes import story
from test_inherited import IMAGES, TEXT
from text_fixtures import SEARCH, corpus, deaths_until_done

SEEDS = range(24)


def _roof(kind: str, nodes: int, draw: random.Random, ops: tuple[str, ...] | None = None) -> Cell:
    chosen = draw.choices(ops or DEFAULTS[kind], k=nodes - 1)
    return Cell(kind, ("input", *chosen), tuple(combinations(range(nodes), 2)))


def _walk(roof: Cell, draw: random.Random) -> Cell:
    """A cell on a random way up that can still grow."""
    cell = seedling(roof, draw.choice(["chain", "edge"]))
    for _ in range(draw.randint(0, 4)):
        further = [one for _, one in growths(roof, cell) if growths(roof, one)]
        cell = draw.choice(further) if further else cell
    return cell


def _frame(draw: random.Random) -> dict[str, Any]:
    merged = {"output": 4} if draw.random() < 0.3 else {}
    return {
        "stem": {"channels": draw.choice([3, 4]), "stride": 1},
        "stages": [
            {"cells": draw.randint(1, 2), "width": draw.choice([3, 4]), "pool": draw.choice([1, 2])} | merged
            for _ in range(draw.randint(1, 2))
        ],
        "head": draw.choice([None, {"channels": 5}]),
        "activation": draw.choice(["relu", "swish"]),
    }


def _image(cell: Cell, frame: dict[str, Any]) -> Architecture:
    plain = {"format": ARCHITECTURE_FORMAT, "cell": cell, "classes": 4, "input": [2, 7, 6]}
    return ConvArchitecture.from_json(plain | frame)


def _lively(network: nn.Module, seed: int) -> nn.Module:
    """As in the middle of a training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator)
    return network.eval()


IMAGES_IN = torch.randn(5, 2, 7, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 1])
TOKENS = torch.randint(12, (6, 3), generator=torch.Generator().manual_seed(0))


def _logits(network: nn.Module) -> Tensor:
    if isinstance(network, LanguageNetwork):
        tokens: Tensor = network(TOKENS, network.initial_state(3))[0]
        return tokens
    logits: Tensor = network(IMAGES_IN.to(next(network.parameters()).dtype))
    return logits


def _loss(network: nn.Module) -> Tensor:
    logits = _logits(network)
    targets = LABELS if logits.dim() == 2 else TOKENS.roll(-1, 0).flatten()
    return functional.cross_entropy(logits.flatten(0, -2), targets)


def _family(kind: str, seed: int, ops: tuple[str, ...] | None = None) -> tuple[Cell, list[Cell], Any]:
    """A cell, everything that it may grow to, and how a cell becomes an architecture."""
    draw = random.Random(seed)
    roof = _roof(kind, draw.randint(3, 6), draw, ops)
    parent, frame = _walk(roof, draw), _frame(draw)
    children = [cell_of(one) for _, one in growths(roof, parent)]
    if kind == "conv":
        return parent, children, lambda cell: _image(cell, frame)
    sums = draw.random() < 0.5
    return (
        parent,
        children,
        lambda cell: recurrent_proxy(cell, vocabulary=12, width=5, aggregate="sum" if sums else "mean"),
    )


# Nothing changes at first


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["conv", "recurrent"])
def test_what_has_grown_computes_what_it_grew_from(kind: str, seed: int) -> None:
    parent, children, around = _family(kind, seed)
    trained = _lively(build(around(parent), seed=1), seed)
    with torch.no_grad():
        expected = _logits(trained)
        for child in (*children, *([united(children)] if children else ())):
            network = _lively(build(around(child), seed=2), seed + 1)
            growth_of(network, trained)
            assert float((_logits(network) - expected).abs().max()) < 1e-5, f"{child} from {parent}"


def test_the_drawn_growths_have_every_kind() -> None:
    found = Counter[str]()
    for seed in SEEDS:
        draw = random.Random(seed)
        roof = _roof("conv", draw.randint(3, 6), draw)
        cell = _walk(roof, draw)
        for change, child in growths(roof, cell):
            assert isinstance(change, Changed)
            found["leaf" if len(child.leaves) > len(cell.leaves) else change.what] += 1
    assert min(found["edge"], found["node"], found["leaf"]) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_are_those_of_a_fresh_network(seed: int) -> None:
    parent, children, around = _family("conv", seed)
    trained = build(around(parent), seed=1)
    for child in children:
        grown, fresh = build(around(child), seed=2), build(around(child), seed=3)
        grow(grown, trained)
        shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (grown, fresh)]
        assert shapes[0] == shapes[1]
        weights = sum(
            module.weight.numel() + (0 if module.bias is None else module.bias.numel())
            for module in grown.modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        )
        assert weights == count(around(child)).params


@pytest.mark.parametrize("seed", range(8))
def test_with_all_shares_at_one_it_is_the_cell_itself(seed: int) -> None:
    parent, children, around = _family("recurrent", seed)
    trained = build(around(parent), seed=1)
    for child in children:
        network = build(around(child), seed=2)
        growth = growth_of(network, trained)
        growth.move([torch.ones_like(one) for one in growth.parameters], 1.0)
        assert isinstance(network, LanguageNetwork)
        assert isinstance(network.core, RecurrentCell)
        slowly = _logits(network)
        network.core.gates = None
        assert torch.allclose(slowly, _logits(network), atol=1e-5)


@pytest.mark.parametrize(
    ("ops", "edges", "more", "grows"),
    [
        (("conv1x1", "conv1x1", "conv1x1"), ((0, 1), (1, 2), (2, 3)), ((0, 2),), True),
        (("conv1x1", "conv1x1", "conv1x1"), ((0, 1), (1, 2)), ((2, 3),), False),  # a leaf would be read
        (("conv1x1", "conv1x1", "conv1x1"), ((0, 1), (1, 2)), ((1, 3),), True),
        (("conv1x1", "mbconv3x3", "conv1x1"), ((0, 1), (1, 2), (2, 3)), ((0, 2),), False),  # its input is added
        (("conv1x1", "mbconv3x3", "conv1x1"), ((0, 1), (1, 2), (2, 3)), ((0, 3),), True),
        (("mbconv3x3", "conv1x1", "conv1x1"), ((0, 1), (1, 2)), ((1, 3),), False),  # a wider input of the next cell
        (("conv1x1", "avgpool3x3", "conv1x1"), ((0, 1), (1, 2), (2, 3)), ((0, 2),), True),
        (("identity", "mbconv3x3", "conv1x1"), ((0, 1), (1, 2), (2, 3)), ((0, 2),), False),
    ],
)
def test_what_may_be_added(
    ops: tuple[str, ...], edges: tuple[tuple[int, int], ...], more: tuple[tuple[int, int], ...], *, grows: bool
) -> None:
    parent = Cell("conv", ("input", *ops), edges)
    child = Cell("conv", parent.ops, (*edges, *more))
    assert grows_from(child, parent) is grows
    frame = {"stages": [{"cells": 2, "width": 4, "pool": 1}], "stem": {"channels": 4, "stride": 1}}
    trained, network = build(_image(parent, frame), seed=1).eval(), build(_image(child, frame), seed=2).eval()
    with torch.no_grad():
        grow(network, trained)
        assert (float((_logits(network) - _logits(trained)).abs().max()) < 1e-5) is grows


def test_nothing_grows_where_tensors_are_added() -> None:
    cell = Cell("conv", ("input", "conv1x1", "conv1x1"), ((0, 1), (1, 2)))
    frame = {"stages": [{"cells": 1, "width": 4, "pool": 1}], "aggregate": "sum"}
    with pytest.raises(InputError, match="take aggregate concat"):
        grow(build(_image(cell, frame), seed=1), build(_image(cell, frame), seed=2))


# Gains


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _gradients(network: nn.Module, growth: Growth) -> list[Tensor]:
    return list(torch.autograd.grad(_loss(network), list(growth.parameters)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["conv", "recurrent"])
@pytest.mark.usefixtures("_float64")
def test_a_gain_is_what_the_loss_falls_by(kind: str, seed: int) -> None:
    parent, children, around = _family(kind, seed)
    trained = _lively(build(around(parent), seed=1), seed)
    before = float(_loss(trained).detach())
    for child in children[:4]:
        network = _lively(build(around(child), seed=2), seed + 1)
        growth, plan = growth_of(network, trained), around(child).plan()
        gradients = _gradients(network, growth)
        gain, step = growth.gain(plan, gradients), 1e-5
        assert gain > 0 or kind == "recurrent"
        growth.move(growth.directions(plan, gradients), step)
        assert float(_loss(network).detach()) - before == pytest.approx(-step * gain, rel=0.02, abs=1e-10)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("kind", "ops"), [("conv", ("conv1x1",)), ("recurrent", ("tanh", "relu"))])
@pytest.mark.usefixtures("_float64")
def test_one_network_has_the_gains_of_many(kind: str, ops: tuple[str, ...], seed: int) -> None:
    """Of operations without fresh weights of their own before what begins at zero."""
    parent, children, around = _family(kind, seed, ops)
    trained = _lively(build(around(parent), seed=1), seed)
    groups = together(children, parent)
    assert sorted(place for _, places in groups for place in places) == list(range(len(children)))
    assert len(groups) < len(children) or len(children) < 3
    for held, places in groups:
        network = build(around(held), seed=2).eval()
        growth = growth_of(network, trained)
        gradients = _gradients(network, growth)
        for place in places:
            alone = build(around(children[place]), seed=2).eval()
            single, plan = growth_of(alone, trained), around(children[place]).plan()
            assert growth.gain(plan, gradients) == pytest.approx(single.gain(plan, _gradients(alone, single)))


# The strategy


def _context(nodes: int = 5, **changes: Any) -> StrategyContext:
    given = context(nodes)
    asked = {"strategy": "firefly", "evaluator": "trained", "candidates": "all", "penalty": 0.0}
    return replace(given, settings=given.settings.changed(asked | changes))


def _told(strategy: Firefly, worth: dict[str, float], macs: dict[str, int] | None = None) -> list[Evaluation]:
    """Evaluations by the label of each proposal's change."""
    found = []
    for one in strategy.ask():
        name = getattr(one.change, "after", "") if one.change else ""
        cost = (macs or {}).get(str(name), 1000 + 10 * len(one.cell.edges))
        figure = worth.get(str(name))
        reason = "made to fail" if figure is None else None
        found.append(Evaluation(one.design, Resources(macs=cost, params=1, memory=1), 0, "told", figure, reason))
    return found


@pytest.mark.parametrize("candidates", [1, 3, "all"])
@pytest.mark.parametrize("start", ["chain", "edge"])
def test_it_keeps_the_contract(start: str, candidates: int | str) -> None:
    given = _context(4, candidates=candidates, firefly={"start": start, "edges": 2})
    check_strategy(Firefly, given, foreseen=False)


def test_it_takes_what_gains_most_for_its_cost() -> None:
    strategy = Firefly(_context(firefly={"edges": 2}))
    assert [one.cell for one in strategy.ask()] == [seedling(strategy.ask()[0].cell, "chain")]
    strategy.tell(_told(strategy, {"": 0.5}, {"": 1000}))
    gains = {"(0,2)": 0.6, "(0,3)": 0.52, "(0,4)": 0.53, "(1,3)": 0.49, "(1,4)": 0.5, "(2,4)": 0.51}
    costs = {"(0,2)": 2000, "(0,3)": 1010, "(0,4)": 1100, "(1,3)": 1001, "(1,4)": 1001, "(2,4)": 1200}
    assert {one.change.after for one in strategy.ask() if isinstance(one.change, Changed)} == set(gains)
    chosen = strategy.tell(_told(strategy, gains, costs))
    assert [one.change for one in strategy.ask()] == [Changed("edges", "", "none", "(0,3) (0,4)")]
    (grown,) = strategy.ask()
    assert set(grown.cell.edges) == {(0, 1), (1, 2), (2, 3), (3, 4), (0, 3), (0, 4)}
    assert chosen.index == list(gains).index("(0,3)")


def test_where_nothing_gains_it_adds_what_loses_least_and_what_fails_is_not_tried_again() -> None:
    strategy = Firefly(_context(nodes=4))
    strategy.tell(_told(strategy, {"": 0.5}))
    strategy.tell(_told(strategy, {"(0,2)": 0.4, "(0,3)": 0.45, "(1,3)": 0.3}))
    (grown,) = strategy.ask()
    assert grown.change == Changed("edge", "", "none", "(0,3)")
    strategy.tell(_told(strategy, {}))
    assert {one.change.after for one in strategy.ask() if isinstance(one.change, Changed)} == {"(0,2)", "(1,3)"}


def _fewer(most: int, design: Design) -> bool:
    return len(cell_of(design).edges) <= most


def test_it_grows_up_to_the_limits_and_to_the_roof() -> None:
    for most, last in ((99, 10), (6, 6)):
        strategy = Firefly(replace(_context(), allowed=partial(_fewer, most)))
        while asked := strategy.ask():
            largest = asked[0].cell
            strategy.tell([Evaluation(one.design, Resources(1, 1, 1), 0, "told", 0.5) for one in asked])
        assert len(largest.edges) == last
        assert strategy.over() == "nothing can be added within the limits"


def test_a_start_that_fails_ends_it() -> None:
    strategy = Firefly(_context())
    strategy.tell(_told(strategy, {}))
    assert strategy.ask() == ()
    assert "could not be trained" in strategy.over()


def test_spaces_that_only_shrink_and_settings_that_deny_each_other_are_refused() -> None:
    given = _context()
    frame = {"stages": [{"cells": 1, "width": 4, "pool": 1}]}
    space = NetworkSpace(_image(cell_of(given.start), frame))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="do not grow"):
        Firefly(replace(given, space=space))
    with pytest.raises(InputError, match="add --strategy firefly"):
        resolve({"evaluator": "grown"})
    with pytest.raises(InputError, match="goes up"):
        resolve({"strategy": "firefly", "data": {"spec": "x"}, "budget": {"macs": 100000}})
    assert resolve({"strategy": "firefly"}).evaluator == "grown"
    with pytest.raises(InputError, match="without edges"):
        CellSpace(Cell("conv", ("input", "conv1x1"), ())).seedling("chain")


# Whole searches

CHANGES: dict[str, Any] = {"strategy": "firefly", "evaluator": "grown", "candidates": "all", "choice": "finalists"}
GROWING: dict[str, Any] = CHANGES | {"firefly": {"edges": 2, "epochs": 1.0, "start": "edge"}, "beside": []}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module", params=["image", "text"])
def searched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, Path]:
    """Settings, an undisturbed run, and a folder with a copy of the run folder as it was after each event."""
    place = tmp_path_factory.mktemp(request.param)
    settings = IMAGES | GROWING
    if request.param == "text":
        settings = TEXT | GROWING | {"data": TEXT["data"] | {"spec": str(corpus(place / "corpus"))}}
    with pytest.MonkeyPatch.context() as patch:
        append, number = Store.append, itertools.count()

        def append_and_copy(store: Store, kind: str, body: dict[str, Any]) -> Event:
            event = append(store, kind, body)
            shutil.copytree(store.folder, place / "after" / f"{next(number)}")
            return event

        patch.setattr(Store, "append", append_and_copy)
        autoshrink.search(settings, run=place / "run")
    return settings, place / "run", place / "after"


def test_a_search_grows_step_by_step(searched: tuple[dict[str, Any], Path, Path]) -> None:
    record = read_record(searched[1])
    assert record.finished
    assert record.best() is not None
    cells = [one.cell for one in record.chosen()]
    trained = [one for one in record.chosen() if one.evaluation.weights]
    assert len(cells[0].edges) == 1
    assert all(grows_from(child.cell, parent.cell) for parent, child in itertools.pairwise(trained))
    assert len(trained) > 2
    for one in record.candidates:
        assert bool(one.evaluation.weights) == ("epoch" in one.evaluation.fidelity)
        assert "first-order gain" in one.evaluation.fidelity or one.evaluation.weights
    # What several are compared by is on the first one's account, and is little beside the trainings.
    compared = sum(one.evaluation.spent.training_macs for one in record.candidates if not one.evaluation.weights)
    assert 0 < compared < sum(one.evaluation.spent.training_macs for one in trained)


def test_stopped_after_every_event_it_ends_the_same(
    searched: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    _, run, after = searched
    wanted, kinds = story(run), Counter[str]()
    for moment in sorted(int(path.name) for path in after.iterdir())[3:-1]:
        kind = story(after / f"{moment}")[-1][0]
        kinds[kind] += 1
        if kinds[kind] > 2 and moment % 7:
            continue  # the first of each kind, and some of the many others
        folder = Path(shutil.copytree(after / f"{moment}", tmp_path / f"{moment}"))
        autoshrink.resume(folder)
        assert story(folder) == wanted, f"after {moment} events, the last {kind}"
        shutil.rmtree(folder)
    assert {"evaluated", "decided", "stopped", "retrained"} <= set(kinds)


@pytest.mark.slow
def test_killed_at_random_times_it_ends_the_same(searched: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    settings, run, _ = searched
    assert deaths_until_done(SEARCH, tmp_path / "run", json.dumps(settings)) > 0
    assert story(tmp_path / "run") == story(run)


def test_the_evaluator_keeps_its_contract(tmp_path: Path) -> None:
    settings = resolve(IMAGES | GROWING | {"firefly": {"epochs": 1.0, "points": 3}})
    problem = TASKS["image"].prepare(settings, Observer()).problem(torch.device("cpu"))

    def made() -> GrownEvaluator:
        return GrownEvaluator(problem, settings.firefly, weights=tmp_path, conditions=Conditions(1, None, 8))

    roof = _roof("conv", 4, random.Random(0))
    start = seedling(roof, "chain")
    check_evaluator(made, [Job(start, 1)])
    ((_, first),) = made().evaluate([Job(start, 1)])
    children = [Job(cell, 2, start, first.weights) for _, cell in growths(roof, start)]
    check_evaluator(made, children)
    check_evaluator(made, children[:1])
    with pytest.raises(InputError, match="does not grow from"):
        list(made().evaluate([Job(start, 2, roof, first.weights)]))
