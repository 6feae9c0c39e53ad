"""Language models as networks: the fast cell against the plain one, by hand, in chunks; decoder, library modules, start
weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from autoshrink import zoo
from autoshrink.architecture import (
    AggregateName,
    LanguageModel,
    LibraryArchitecture,
    RecurrentArchitecture,
    language_model,
)
from autoshrink.architecture import recurrent_proxy as proxy
from autoshrink.cell import Cell, Edge
from autoshrink.cost import count
from autoshrink.networks import LanguageNetwork, Masks, build, decoder
from autoshrink.networks.decoder import tied_cross_entropy, token_losses
from autoshrink.networks.recurrent import LibraryCore, RecurrentCell
from autoshrink.networks.reference import run as reference
from autoshrink.ops import DEFAULTS
from autoshrink.seeding import derive_seed

LANGUAGE_MODELS = [name for name in zoo.names() if isinstance(zoo.get(name), LanguageModel)]


def _cell(ops: str, *edges: Edge) -> Cell:
    """T for tanh, S for sigmoid, R for relu, I for identity."""
    names = {op[0].upper(): op for op in DEFAULTS["recurrent"]}
    return Cell("recurrent", ("input", *(names[op] for op in ops)), edges)


def _complete(ops: str) -> Cell:
    return _cell(ops, *combinations(range(len(ops) + 1), 2))


def _core(architecture: RecurrentArchitecture, *, double: bool = True) -> RecurrentCell:
    core = build(architecture, seed=3, initial_range=0.8).core
    assert isinstance(core, RecurrentCell)
    return core.double() if double else core


@dataclass(frozen=True)
class Case:
    """A cell in a network, and the sizes of what goes through it."""

    architecture: RecurrentArchitecture
    steps: int
    streams: int
    masked: bool


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    nodes = draw(st.integers(2, 8))
    pairs = list(combinations(range(nodes), 2))
    edges = {
        "complete": st.just(pairs),
        "chain": st.just([(i, i + 1) for i in range(nodes - 1)]),
        "empty": st.just([]),
        "random": st.lists(st.sampled_from(pairs), unique=True),
    }
    wiring = draw(st.sampled_from(sorted(edges)))
    ops = draw(st.lists(st.sampled_from(DEFAULTS["recurrent"]), min_size=nodes - 1, max_size=nodes - 1))
    cell = Cell("recurrent", ("input", *ops), tuple(draw(edges[wiring])))
    usable = cell.reachable[1:] or (0,)
    listed = st.lists(st.sampled_from(usable), min_size=1, unique=True).map(sorted)
    base = proxy(cell, vocabulary=5, width=draw(st.integers(1, 5)), aggregate=draw(st.sampled_from(("mean", "sum"))))
    architecture = RecurrentArchitecture.from_json(
        base.to_json() | {"output": draw(st.one_of(st.just("leaves"), listed))}
    )
    return Case(architecture, draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.booleans()))


def _random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@dataclass
class Through:
    """Outputs, and the gradients of inputs, state, W₀ and every edge of a weighted sum of them."""

    outputs: Tensor
    gradients: dict[str, Tensor]


def _through(case: Case, dtype: torch.dtype, *, fast: bool) -> Through:
    core, width = _core(case.architecture).to(dtype), case.architecture.width
    inputs = _random(case.steps, case.streams, width, seed=1, dtype=dtype).requires_grad_()
    state = _random(1, case.streams, width, seed=2, dtype=dtype).requires_grad_()
    mask = (_random(case.streams, width, seed=4) > -0.5).to(dtype) * 1.5 if case.masked else None
    if fast:
        outputs, last = core(inputs, state, mask)
        assert torch.equal(last, outputs[-1:])
    else:
        first, edges = core.input_weight, core.edge_weights()
        outputs = reference(core.plan, inputs, state[0], input_weight=first, edge_weights=edges, mask=mask)
    (outputs * _random(*outputs.shape, seed=5, dtype=dtype)).sum().backward()
    found = {"inputs": inputs, "state": state} | dict(core.named_parameters())
    # A node that leads to no output has gradient zero; autograd says None of it on the plain path.
    gradients = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in found.items()}
    return Through(outputs.detach(), gradients)


def _agree(case: Case, dtype: torch.dtype, rtol: float, atol: float) -> None:
    fast, plain = (_through(case, dtype, fast=fast) for fast in (True, False))
    torch.testing.assert_close(fast.outputs, plain.outputs, rtol=rtol, atol=atol)
    assert fast.gradients.keys() == plain.gradients.keys()
    for name, gradient in fast.gradients.items():
        torch.testing.assert_close(gradient, plain.gradients[name], rtol=rtol, atol=atol, msg=f"gradient of {name}")


# The fast path


@given(_cases())
@settings(max_examples=80, deadline=None)
def test_the_fast_path_is_the_plain_one_in_values_and_in_all_gradients(case: Case) -> None:
    _agree(case, torch.float64, 1e-9, 1e-11)


@given(_cases())
@settings(max_examples=15, deadline=None)
def test_it_is_in_single_precision_too(case: Case) -> None:
    """tanh as 2σ(2x) − 1 costs an absolute error of a float32's last digit."""
    _agree(case, torch.float32, 1e-3, 1e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    architecture = proxy(_cell("TSRI", (0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 4)), vocabulary=5, width=3)
    core = _core(architecture)
    mask = torch.tensor([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]], dtype=torch.float64)
    names = [name for name, _ in core.named_parameters()]

    def outputs(inputs: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(core, dict(zip(names, weights, strict=True)), (inputs, state, mask))[
            0
        ]
        return found

    given_ = (_random(3, 2, 3, seed=1), _random(1, 2, 3, seed=2), *core.parameters())
    assert torch.autograd.gradcheck(outputs, tuple(tensor.detach().requires_grad_() for tensor in given_))


@given(_cases(), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_carried_state_makes_two_chunks_one(case: Case, cut: int) -> None:
    core, width = _core(case.architecture), case.architecture.width
    inputs, state = _random(6, case.streams, width, seed=1), _random(1, case.streams, width, seed=2)
    with torch.no_grad():
        whole, end = core(inputs, state)
        pieces = []
        for piece in (inputs[: cut + 1], inputs[cut + 1 :]):
            if len(piece):
                outputs, state = core(piece, state)
                pieces.append(outputs)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=1e-12, atol=1e-12)


# By hand


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "T": math.tanh,
    "S": _sigmoid,
    "R": lambda x: max(x, 0.0),
    "I": lambda x: x,
}


def _set(core: RecurrentCell, input_weight: list[list[float]], **edges: list[list[float]]) -> None:
    """`e0_1` is edge (0, 1)."""
    named = {name[1:].replace("_", "-"): weight for name, weight in edges.items()}
    with torch.no_grad():
        core.input_weight.copy_(torch.tensor(input_weight, dtype=torch.float64))
        for name, weight in named.items():
            core.edges[name].copy_(torch.tensor(weight, dtype=torch.float64))


@pytest.mark.parametrize("op", "TSRI")
def test_one_edge_and_one_number(op: str) -> None:
    core = _core(proxy(_cell(op, (0, 1)), vocabulary=5, width=1))
    # Columns: gate, transform. Rows of W₀: the input, the state before.
    _set(core, [[0.3, -0.7], [0.5, 0.9]], e0_1=[[-1.1, 0.4]])
    h = 0.25
    expected = []
    for x in (2.0, -1.5):
        s0 = h + _sigmoid(0.3 * x + 0.5 * h) * (math.tanh(-0.7 * x + 0.9 * h) - h)
        h = s0 + _sigmoid(-1.1 * s0) * (FUNCTIONS[op](0.4 * s0) - s0)
        expected.append(h)
    outputs, _ = core(torch.tensor([[[2.0]], [[-1.5]]]).double(), torch.tensor([[[0.25]]]).double())
    assert outputs.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_the_empty_cell_is_one_highway_step_with_tanh() -> None:
    """Whatever the operations of its nodes: node 0 has none of theirs."""
    core = _core(proxy(_cell("RR"), vocabulary=5, width=1))
    _set(core, [[0.3, -0.7], [0.5, 0.9]])
    outputs, _ = core(torch.tensor([[[2.0]]]).double(), torch.tensor([[[0.25]]]).double())
    expected = 0.25 + _sigmoid(0.6 + 0.125) * (math.tanh(-1.4 + 0.225) - 0.25)
    assert outputs.item() == pytest.approx(expected, rel=1e-12)


def test_a_chain_of_identities_with_identity_matrices_changes_nothing() -> None:
    """op(h) = h = s, so s + σ(c)·(h − s) is s, whatever the gate; every node is node 0."""
    chain, empty = _cell("III", (0, 1), (1, 2), (2, 3)), _cell("III")
    one, other = (_core(proxy(cell, vocabulary=5, width=2)) for cell in (chain, empty))
    _set(one, one.input_weight.tolist(), **{f"e{i}_{i + 1}": [[0.5, -2, 1, 0], [3, 0.1, 0, 1]] for i in range(3)})
    inputs, state = _random(4, 3, 2, seed=1), _random(1, 3, 2, seed=2)
    torch.testing.assert_close(one(inputs, state)[0], other(inputs, state)[0], rtol=1e-12, atol=1e-12)


def test_mean_and_sum_of_two_equal_messages() -> None:
    """Node 3 hears the same from nodes 1 and 2: their mean is one message, their sum two."""
    cell = _cell("TTT", (0, 1), (0, 2), (1, 3), (2, 3))
    outputs = {}
    for aggregate in get_args(AggregateName):
        core = _core(proxy(cell, vocabulary=5, width=1, aggregate=aggregate))
        _set(core, [[0.3, -0.7], [0.5, 0.9]], e0_1=[[1.0, 2.0]], e0_2=[[1.0, 2.0]], e1_3=[[1, 1]], e2_3=[[1, 1]])
        outputs[aggregate] = core(torch.ones(1, 1, 1).double(), torch.zeros(1, 1, 1).double())[0].item()
    assert outputs["sum"] == pytest.approx(2 * outputs["mean"], rel=1e-12)


def test_the_output_is_the_mean_of_its_nodes() -> None:
    cell = _cell("TSR", (0, 1), (1, 2), (1, 3))
    found = {}
    for output in ([1], [2], [3], [1, 2, 3], "leaves"):
        base = proxy(cell, vocabulary=5, width=3).to_json() | {"output": output}
        core = _core(RecurrentArchitecture.from_json(base))
        found[str(output)] = core(_random(1, 2, 3, seed=1), _random(1, 2, 3, seed=2))[0]
    torch.testing.assert_close(found["[1, 2, 3]"], (found["[1]"] + found["[2]"] + found["[3]"]) / 3)
    torch.testing.assert_close(found["leaves"], (found["[2]"] + found["[3]"]) / 2)


# The decoder


def _loss(*tensors: Tensor) -> Tensor:
    """Of one model."""
    return tied_cross_entropy(*(tensor[None] for tensor in tensors))[0]


def _losses(*tensors: Tensor) -> Tensor:
    return token_losses(*(tensor[None] for tensor in tensors))[0]


@pytest.fixture(params=[None, 7, 25], ids=["one block", "a row a block", "three rows a block"])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is not None:
        monkeypatch.setattr(decoder, "BLOCK_ELEMENTS", request.param)


def _decoded(dtype: torch.dtype = torch.float64, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden, weight, bias = (_random(*shape, seed=i, dtype=dtype) for i, shape in enumerate(((11, 4), (7, 4), (7,))))
    targets = torch.randint(7, (11,), generator=torch.Generator().manual_seed(9))
    return (hidden * scale).requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), targets


@pytest.mark.usefixtures("_block")
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_tied_loss_is_torchs_cross_entropy_with_its_gradients(scale: float) -> None:
    hidden, weight, bias, targets = _decoded(scale=scale)
    inputs = (hidden, weight, bias)
    expected = functional.cross_entropy(functional.linear(hidden, weight, bias), targets)
    loss = _loss(hidden, weight, bias, targets)
    torch.testing.assert_close(loss, expected)
    found, wanted = (torch.autograd.grad(3 * value, inputs) for value in (loss, expected))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.usefixtures("_block")
def test_losses_of_tokens_are_torchs_and_take_no_gradient() -> None:
    hidden, weight, bias, targets = _decoded()
    expected = functional.cross_entropy(functional.linear(hidden, weight, bias), targets, reduction="none")
    losses = _losses(hidden, weight, bias, targets)
    torch.testing.assert_close(losses, expected.detach())
    assert not losses.requires_grad
    with torch.no_grad():
        plain = _loss(hidden, weight, bias, targets)
    torch.testing.assert_close(plain, expected.mean().detach())
    assert not plain.requires_grad
    assert _losses(hidden[:0], weight, bias, targets[:0]).shape == (0,)


def test_extreme_logits_are_finite_and_right() -> None:
    """Logits ±3e4 in float32: exp of their difference is 0 or overflows, the loss is the difference itself."""
    hidden = torch.tensor([[1.0], [1.0]], requires_grad=True)
    weight = torch.tensor([[3e4], [-3e4]], requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    targets = torch.tensor([0, 1])
    assert _losses(hidden, weight, bias, targets).tolist() == [0.0, 6e4]
    _loss(hidden, weight, bias, targets).backward()  # type: ignore[no-untyped-call]
    assert bias.grad is not None
    assert bias.grad.tolist() == [0.5, -0.5]
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in (hidden, weight))


def test_a_network_that_says_nan_has_a_nan_loss() -> None:
    hidden, weight, bias, targets = _decoded(torch.float32)
    with torch.no_grad():
        weight[3, 1] = math.nan
    assert _loss(hidden, weight, bias, targets).isnan()
    assert _losses(hidden, weight, bias, targets).isnan().all()


# Whole networks


def test_a_network_is_embedding_cell_and_tied_decoder() -> None:
    network = build(proxy(_complete("TR"), vocabulary=6, width=3), seed=1).double()
    tokens = torch.tensor([[1, 5], [0, 2], [3, 3]])
    state = _random(1, 2, 3, seed=2)
    outputs, last = network.core(network.embedding[tokens], state, None)
    logits, after = network(tokens, state)
    torch.testing.assert_close(logits, outputs @ network.embedding.T + network.decoder_bias)
    torch.testing.assert_close(after, last)
    targets = torch.tensor([[0, 1], [2, 3], [4, 5]])
    expected = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(3, 2)
    torch.testing.assert_close(network.token_losses(outputs, targets), expected)
    torch.testing.assert_close(network.loss(outputs, targets), expected.mean())
    assert network.initial_state(4).shape == (1, 4, 3)


def test_masks_are_multiplied_where_they_say() -> None:
    network = build(proxy(_complete("TR"), vocabulary=6, width=3), seed=1).double()
    tokens, state = torch.tensor([[1, 5], [0, 2]]), _random(1, 2, 3, seed=2)
    masks = Masks(*(_random(*shape, seed=i).abs() for i, shape in enumerate(((6,), (2, 3), (2, 3), (2, 3), (2, 3)))))
    assert masks.words is not None and masks.embedding is not None and masks.input is not None  # noqa: PT018
    embedded = network.embedding[tokens] * masks.words[tokens].unsqueeze(2) * masks.embedding * masks.input
    expected, _ = network.core(embedded, state, masks.hidden)
    torch.testing.assert_close(network.features(tokens, state, masks)[0], expected)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_library_networks_are_torchs_own_modules(kind: str, layers: int) -> None:
    architecture = LibraryArchitecture.from_json(
        {"format": "autoshrink.architecture/1", "kind": kind, "vocabulary": 6, "width": 4, "layers": layers}
    )
    network = build(architecture, seed=1)
    assert isinstance(network.core, LibraryCore)
    module = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](4, 4, layers)
    module.load_state_dict(network.core.module.state_dict())
    tokens = torch.randint(6, (7, 3), generator=torch.Generator().manual_seed(0))
    embedded = functional.embedding(tokens, network.embedding)
    expected = module(embedded)[0] @ network.embedding.T + network.decoder_bias
    state = network.initial_state(3)
    assert state.shape == ((2 if kind == "lstm" else 1) * layers, 3, 4)
    torch.testing.assert_close(network(tokens, state)[0], expected)
    pieces = []
    for piece in (tokens[:2], tokens[2:3], tokens[3:]):
        logits, state = network(piece, state)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces), expected)


@pytest.mark.parametrize("layers", [1, 3])
def test_mingru_is_its_equations(layers: int) -> None:
    """Feng et al. 2024, §3.1: h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ h̃_t, token by token; whole and in chunks."""
    network = build(LibraryArchitecture(kind="mingru", vocabulary=6, width=4, layers=layers), seed=1).double()
    assert isinstance(network.core, LibraryCore)
    weights = dict(network.core.module.named_parameters())
    tokens = torch.randint(6, (7, 3), generator=torch.Generator().manual_seed(0))
    hidden = [torch.zeros(3, 4, dtype=torch.float64) for _ in range(layers)]
    expected = []
    for embedded in functional.embedding(tokens, network.embedding):
        x = embedded
        for layer in range(layers):
            weight, bias = weights[f"weight_l{layer}"], weights[f"bias_l{layer}"]
            z, candidate = torch.sigmoid(x @ weight[:4].T + bias[:4]), x @ weight[4:].T + bias[4:]
            hidden[layer] = x = (1 - z) * hidden[layer] + z * candidate
        expected.append(x @ network.embedding.T + network.decoder_bias)
    state, pieces = network.initial_state(3), []
    assert state.shape == (layers, 3, 4)
    for piece in (tokens[:2], tokens[2:3], tokens[3:]):
        logits, state = network(piece, state)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces), torch.stack(expected))
    torch.testing.assert_close(network(tokens, network.initial_state(3))[0], torch.stack(expected))
    torch.testing.assert_close(state, torch.stack(hidden))


# Costs, a second way


def _flops(architecture: LanguageModel) -> int:
    """Of one token, by torch's counter on the plain path."""
    network = build(architecture, seed=0)
    core, width = network.core, architecture.width
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if isinstance(core, RecurrentCell):
            weights = core.edge_weights()
            features = reference(
                core.plan, torch.ones(1, 1, width), torch.ones(1, width),
                input_weight=core.input_weight, edge_weights=weights,
            )  # fmt: skip
            network.logits(features)
        else:
            network(torch.zeros(1, 1, dtype=torch.int64), network.initial_state(1))
    return int(counter.get_total_flops())


@given(_cases())
@settings(max_examples=25, deadline=None)
def test_macs_are_half_of_torchs_flops(case: Case) -> None:
    assert 2 * count(case.architecture).macs == _flops(case.architecture)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_zoo_language_models_cost_what_is_built(name: str) -> None:
    architecture = zoo.get(name)
    assert isinstance(architecture, LanguageModel)
    with torch.device("meta"):
        whole = LanguageNetwork(architecture)
    assert count(architecture).params == sum(parameter.numel() for parameter in whole.parameters())
    small = language_model(architecture, vocabulary=11, width=4)
    if isinstance(small, RecurrentArchitecture):
        assert 2 * count(small).macs == _flops(small)


# Initial weights


def _parameters(network: LanguageNetwork) -> Iterator[tuple[str, Tensor]]:
    return ((name, parameter) for name, parameter in network.named_parameters() if name != "decoder_bias")


def test_an_edge_that_parent_and_child_share_starts_from_the_same_weights() -> None:
    whole = _complete("TRSI")
    for edge, child in whole.shrink_space():
        parent, smaller = (dict(_parameters(build(proxy(c, vocabulary=9, width=4), seed=5))) for c in (whole, child))
        assert f"core.edges.{edge[0]}-{edge[1]}" not in smaller
        assert smaller.keys() < parent.keys()
        assert all(torch.equal(smaller[name], parent[name]) for name in smaller)


def test_seeds_differ_and_nothing_else_decides() -> None:
    architecture = proxy(_complete("TR"), vocabulary=9, width=4)
    first = dict(_parameters(build(architecture, seed=5)))
    torch.manual_seed(99)
    again, other = (dict(_parameters(build(architecture, seed=seed))) for seed in (5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    edges = [weight for name, weight in first.items() if ".edges." in name]
    assert not any(torch.equal(one, other) for one, other in combinations(edges, 2))


@pytest.mark.parametrize(("width", "asked", "expected"), [(40, None, 0.04 * (745 / 40) ** 0.5), (40, 0.04, 0.04)])
def test_weights_are_uniform_within_their_range(width: int, asked: float | None, expected: float) -> None:
    network = build(proxy(_complete("TR"), vocabulary=300, width=width), seed=derive_seed(0), initial_range=asked)
    for name, weight in _parameters(network):
        assert weight.abs().max() <= expected, name
        assert weight.abs().max() > 0.99 * expected, name
        assert weight.std().item() == pytest.approx(expected / 3**0.5, rel=0.05), name
        assert abs(weight.mean().item()) < 0.05 * expected, name
    assert not network.decoder_bias.any()


@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
def test_library_modules_start_from_torchs_own_range(kind: str) -> None:
    value = {"format": "autoshrink.architecture/1", "kind": kind, "vocabulary": 300, "width": 36}
    network = build(LibraryArchitecture.from_json(value), seed=0)
    for name, weight in _parameters(network):
        expected = 0.04 * (745 / 36) ** 0.5 if name == "embedding" else 1 / 6
        assert 0.9 * expected < float(weight.detach().abs().max()) <= expected, name
