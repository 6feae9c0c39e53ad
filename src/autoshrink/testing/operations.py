"""What every operation has to keep, built in or added: call `check_operation` on each from a test."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from autoshrink import cost, ops
from autoshrink.architecture import Architecture, ConvArchitecture, proxy_architecture, recurrent_proxy
from autoshrink.bundle import Facts, ImageInterface, TextInterface, TrainedClassifier, TrainedLanguageModel
from autoshrink.cell import INPUT, Cell, Edge
from autoshrink.cost.latency import operations
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.drawing import cell_svg, cell_text
from autoshrink.errors import InputError
from autoshrink.files import scratch
from autoshrink.ops import ConvOperation, NodePlan, Operation, RecurrentOperation
from autoshrink.steps import cost_of as steps_cost

if TYPE_CHECKING:
    from torch import Tensor, nn


EDGES: tuple[Edge, ...] = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (0, 4), (3, 4))
CHEAPER_FROM = (32, 48, 128)
"""Channels of a stage at which an operation that is called cheaper has to be."""
DROPPED: Edge = (1, 3)
"""Without it node 1 reads what it read before, and node 3 less."""


def check_operation(kind: str, name: str) -> tuple[str, ...]:
    """An operation keeps the contract of `autoshrink.ops`, or refuses by name what it does not provide.

    It is counted as torch's own counter counts it, built and trained, drawn, inherited, exported to ONNX with the same
    results, written as plain source with the same results, and measured for latency; a recurrent one has the gradient
    that autograd finds.

    Args:
        kind: of cells: ``conv`` or ``recurrent``.
        name: of an operation that is registered.

    Returns:
        What it refuses, such as ``latency``.

    Raises:
        AssertionError: something is not kept; the message says what.
        InputError: there is no such operation, or a package is missing (onnx, onnxruntime, onnxscript).
    """
    operation = ops.operation(kind, name)
    _check_drawn(operation)
    for other in operation.cheaper:
        assert ops.known(kind, other), f"{name}: {other} is called cheaper, and is unknown"
        assert name not in ops.operation(kind, other).cheaper, f"{name} and {other}: each is called cheaper"
    if isinstance(operation, ConvOperation):
        checks: dict[str, Callable[[Any], None]] = {
            "inherit": _check_inherited,
            "latency": _check_latency,
            "source": _check_conv_source,
        }
        for architecture in (_network(name, "conv1x1"), _network(name, name)):
            _check_counted(architecture)
            _check_trains(architecture)
        _check_onnx(_network(name, "conv1x1"))
        _check_cheaper(operation)
        _check_successors(operation)
        _check_added(name)
    else:
        assert isinstance(operation, RecurrentOperation), f"{name}: neither a conv nor a recurrent operation"
        checks = {"source": _check_recurrent_source}
        _check_gradient(name)
        _check_onnx(recurrent_proxy(_cell("recurrent", name, "tanh"), vocabulary=11, width=6))
    refused = []
    for part, check in checks.items():
        if operation.provides(part):
            check(name)
        else:
            _check_refused(operation, part, check)
            refused.append(part)
    return tuple(refused)


def _cell(kind: str, name: str, other: str, edges: tuple[Edge, ...] = EDGES) -> Cell:
    """Nodes 1 and 3 read one node and two, and 4 is the leaf."""
    return Cell(kind, (INPUT, name, other, name, name), edges)


def _network(name: str, other: str, edges: tuple[Edge, ...] = EDGES) -> ConvArchitecture:
    return proxy_architecture(_cell("conv", name, other, edges), shape=(1, 8, 8), classes=3, stem=4, widths=(4, 6))


def _built(architecture: Architecture) -> nn.Module:
    """With BN of any values, as after a training."""
    import torch  # noqa: PLC0415 - torch

    from autoshrink.networks import build  # noqa: PLC0415 - torch

    network = build(architecture, seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None, "BN has weights and statistics"
                torch.nn.init.uniform_(tensor, 0.5, 1.5, generator=generator)
    return network.eval()


def _images(count: int = 2) -> Tensor:
    import torch  # noqa: PLC0415 - torch

    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def _check_drawn(operation: Operation) -> None:
    cell = Cell(operation.kind, (INPUT, operation.name), ((0, 1),))
    assert operation.shown in cell_text(cell), f"{operation.name}: not in the drawing for a terminal"
    drawn = cell_svg(cell)
    for what in (operation.shown, *operation.colours):
        assert what in drawn, f"{operation.name}: {what} is not in the drawing"


def _check_counted(architecture: ConvArchitecture) -> None:
    import torch  # noqa: PLC0415 - torch
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - torch

    network, counted = _built(architecture), cost.count(architecture)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(_images(1))
    found = (sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2)
    said = (counted.params_with_bn, counted.macs)
    assert said == found, f"{architecture.cell}: {said} parameters and MACs are counted, torch has {found}"


def _check_added(name: str) -> None:
    """In a network that adds what nodes read, and in one of two cells."""
    added = proxy_architecture(
        _cell("conv", name, "conv1x1"), shape=(1, 8, 8), classes=3, stem=4, widths=(4, 6), aggregate="sum"
    )
    stages = [stage.model_dump() for stage in added.stages]
    stages[1]["cell"] = _cell("conv", name, "identity").to_json()
    for architecture in (added, ConvArchitecture.from_json(added.to_json() | {"stages": stages})):
        _check_counted(architecture)
        _check_trains(architecture)


def _check_cheaper(operation: ConvOperation) -> None:
    """Where both read and write the same channels."""
    for width, reads in product(CHEAPER_FROM, (1, 2, 4)):
        costs = _node_costs(operation, reads * width, width)
        for name in operation.cheaper:
            less = _node_costs(ops.conv(name), reads * width, width)
            said = f"{operation.name}: {name} is called cheaper, and with {reads * width} → {width} channels"
            if operation.mixes == ops.conv(name).mixes or reads == 1:
                for mine, others, what in zip(less, costs, ("parameters", "MACs"), strict=False):
                    assert mine <= others, f"{said} has {mine:,} {what}, more than {others:,}"
                assert less != costs, f"{said} costs the same"


def _node_costs(operation: ConvOperation, reads: int, width: int) -> tuple[int, int, int]:
    """Parameters, MACs and elements of all tensors that a node of an 8×8 stage makes."""
    node = NodePlan(1, operation.name, (0,), reads, operation.out_channels(reads, width), is_leaf=False)
    steps = tuple(operation.steps(node, "node", "input", (8, 8)))
    found = steps_cost(steps, {"input": reads * 64})
    return found.params, found.macs, sum(step.elements for step in steps)


def _check_trains(architecture: ConvArchitecture) -> None:
    import torch  # noqa: PLC0415 - torch

    network = _built(architecture).train()
    torch.autograd.backward(network(_images()).square().mean())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{architecture.cell}: {name} gets no gradient"
        assert bool(parameter.grad.isfinite().all()), f"{architecture.cell}: the gradient of {name} is not finite"


def _check_inherited(name: str) -> None:
    """All of a cell without a change; of one that lost an edge, every node that reads what it read before."""
    import torch  # noqa: PLC0415 - torch

    from autoshrink.networks import build, inherit  # noqa: PLC0415 - torch

    for other in ("conv1x1", name):
        parent = _built(_network(name, other))
        twin = build(_network(name, other), seed=1).eval()
        inherit(twin, parent)
        with torch.no_grad():
            assert torch.equal(twin(_images()), parent(_images())), (
                f"{name}: inherited whole, it computes another thing"
            )
        remaining = tuple(edge for edge in EDGES if edge != DROPPED)
        child = build(_network(name, other, remaining), seed=1).eval()
        inherit(child, parent)
        with torch.no_grad():
            assert bool(child(_images()).isfinite().all()), f"{name}: a child that lost an edge gives no numbers"
        known = parent.state_dict()
        for tensor, value in child.state_dict().items():
            if ".node1." in tensor:
                assert torch.equal(value, known[tensor]), f"{name}: {tensor} is not the parent's"


def _check_successors(operation: ConvOperation) -> None:
    """A cheaper operation in its place takes over what it can, and gives numbers."""
    import torch  # noqa: PLC0415 - torch

    from autoshrink.ops.inheriting import Slot  # noqa: PLC0415 - torch

    known, reads = (Slot(("a",), 4), Slot(("b",), 4)), (Slot(("b",), 4),)
    parent = operation.module(NodePlan(1, operation.name, (0,), 8, operation.out_channels(8, 4), is_leaf=False), "relu")
    for name in operation.cheaper:
        successor = ops.conv(name)
        node = NodePlan(1, name, (0,), 4, successor.out_channels(4, 4), is_leaf=False)
        child = successor.module(node, "relu")
        with torch.no_grad():
            successor.inherit_from(operation, child, parent, reads, known)
            found = child(torch.randn(2, 4, 5, 5))
        assert bool(found.isfinite().all()), f"{operation.name}: {name} in its place gives no numbers"


def _check_onnx(architecture: Architecture) -> None:
    import torch  # noqa: PLC0415 - torch

    from autoshrink.onnx.export import to_onnx  # noqa: PLC0415 - torch
    from autoshrink.onnx.session import open_session  # noqa: PLC0415 - for this check alone
    from autoshrink.onnx.untrained import form_of  # noqa: PLC0415 - torch

    network = _built(architecture)
    form = form_of(architecture, network)
    if isinstance(architecture, ConvArchitecture):
        module, given = network, {"images": _images()}
    else:
        module, state = form.module, torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(1))
        given = {"tokens": torch.tensor([1, 5, 2]), "state": state}
    with scratch() as folder, torch.no_grad():
        path = folder / "model.onnx"
        path.write_bytes(to_onnx(form).SerializeToString())
        expected = module(*given.values())
        found = open_session(path).run(None, {name: tensor.numpy() for name, tensor in given.items()})
    outputs = (expected,) if isinstance(expected, torch.Tensor) else expected
    for one, other in zip(found, outputs, strict=True):
        assert np.allclose(one, other.numpy(), rtol=1e-4, atol=1e-4), f"{architecture.cell}: ONNX gives another result"


def _check_latency(name: str) -> None:
    from autoshrink.latency.measuring import Session  # noqa: PLC0415 - for this check alone
    from autoshrink.latency.operations import operation_model  # noqa: PLC0415 - for this check alone

    for one in dict.fromkeys(operations(_network(name, name))):
        if one.name != "call":
            assert Session(operation_model(one, 1)).timed().wall > 0, f"{name}: {one.key} takes no time"


def _check_gradient(name: str) -> None:
    """The hand-written pass over a chunk, alone and among other operations, against autograd's in plain steps."""
    import torch  # noqa: PLC0415 - torch

    from autoshrink.networks import reference  # noqa: PLC0415 - torch
    from autoshrink.networks.recurrent import RecurrentCell  # noqa: PLC0415 - torch

    rng = random.Random(0)
    for other in (name, rng.choice(ops.DEFAULTS["recurrent"])):
        plan = recurrent_proxy(_cell("recurrent", name, other), vocabulary=2, width=5).plan()
        cell, generator = RecurrentCell(plan).double(), torch.Generator().manual_seed(0)
        for parameter in cell.parameters():
            torch.nn.init.normal_(parameter, generator=generator)
        inputs, state = (torch.randn(4, 3, 5, generator=generator).double() for _ in range(2))
        found, _ = cell(inputs, state[:1])
        expected = reference.run(
            plan, inputs, state[0], input_weight=cell.input_weight, edge_weights=cell.edge_weights()
        )
        assert torch.allclose(found, expected), f"{name}: unrolled it is another function"
        pairs = [torch.autograd.grad(value.square().sum(), list(cell.parameters())) for value in (found, expected)]
        for one, two in zip(*pairs, strict=True):
            assert torch.allclose(one, two), f"{name}: `derive` is not the gradient of `apply`"


def _check_conv_source(name: str) -> None:
    architecture = _network(name, "conv1x1")
    interface = ImageInterface(("a", "b", "c"), Preprocessing(1, 8, (0.5,), (0.5,)))
    _written(TrainedClassifier(architecture, _built(architecture), interface, Facts()), _images())


def _check_recurrent_source(name: str) -> None:
    words = Vocabulary.build([[f"w{i}" for i in range(9)]], level="word", max_size=None, min_count=1, rule="words")
    architecture = recurrent_proxy(_cell("recurrent", name, "tanh"), vocabulary=len(words), width=5)
    model = TrainedLanguageModel(architecture, _built(architecture), TextInterface(words), Facts())
    import torch  # noqa: PLC0415 - torch

    _written(model, torch.arange(24).view(8, 3) % len(words))


def _written(model: TrainedClassifier | TrainedLanguageModel, given: Tensor) -> None:
    """Written as plain source, which is imported here and computes the same."""
    import torch  # noqa: PLC0415 - torch
    from safetensors.torch import save_file  # noqa: PLC0415 - torch

    from autoshrink.deploy import plain_source  # noqa: PLC0415 - torch

    source = plain_source.render(model)
    with scratch() as folder, torch.no_grad():
        for name, text in source.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        save_file(dict(source.tensors), folder / "model.safetensors")
        spec = spec_from_file_location("written_model", folder / "model.py")
        assert spec is not None, "a file of Python"
        assert spec.loader is not None, "a file of Python"
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        written = module.load()
        if isinstance(model, TrainedClassifier):
            found, expected = written(given), model.network(given)
        else:
            found, _ = written(given, written.initial_state(batch=given.shape[1]))
            expected, _ = model.network(given, model.network.initial_state(given.shape[1]))
    assert torch.allclose(found, expected, atol=1e-5), f"{model.architecture.cell}: plain source gives another result"


def _check_refused(operation: Operation, part: str, check: Callable[[str], None]) -> None:
    said = ""
    try:
        check(operation.name)
    except InputError as error:
        said = str(error)
    assert said, f"{operation.name}: says that it has no {part}, and does it"
    for wanted in (operation.name, part):
        assert wanted in said, f"{operation.name}: that it has no {part} is refused without {wanted!r}: {said}"
