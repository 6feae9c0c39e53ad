"""Stems of several layers, and cells whose leaves a convolution merges: the network of the zoo that has both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autoshrink import craft, zoo
from autoshrink.architecture import ConvArchitecture, Stage, Stem
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.cost.latency import every_operation, operations
from autoshrink.drawing import cells_svg, cells_text
from autoshrink.errors import InputError
from autoshrink.networks import build, feature_info
from autoshrink.onnx.export import folded
from autoshrink.onnx.session import open_session
from autoshrink.onnx.untrained import architecture_to_onnx
from autoshrink.spaces.moves import ALL, neighbours
from autoshrink.spaces.sizes import Sizes
from autoshrink.tasks import task_of
from deploy_fixtures import shaken
from test_resizing import assert_one_function, born, lively


def network(**changes: Any) -> ConvArchitecture:
    return ConvArchitecture.from_json(zoo.get("vww-swiftnet").to_json() | changes)


def small() -> ConvArchitecture:
    """A quarter as wide, for 64 pixels."""
    found = network(input=[3, 64, 64])
    made = Sizes.of(found).wider(0.25, 4).put_into(found)
    assert isinstance(made, ConvArchitecture)
    return made


@pytest.fixture
def _float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_files_without_the_new_fields_are_written_without_them() -> None:
    value = zoo.get("shrinkcnn-a").to_json()
    assert value["stem"] == {"channels": 44, "stride": 2}
    assert all(set(stage) == {"cells", "width", "pool"} for stage in value["stages"])
    said = value | {"stem": value["stem"] | {"kernel": 3, "separable": None, "pool": 1}}
    said["stages"] = [stage | {"output": None} for stage in value["stages"]]
    assert ConvArchitecture.from_json(said).to_json() == value
    assert ConvArchitecture.from_json(said).key == zoo.get("shrinkcnn-a").key
    assert network(stem={"channels": 16, "stride": 4}).key != network().key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": {"kernel": 4}}, r"stem\.kernel: a kernel has a middle: an odd number of pixels \(got 4\)"),
        ({"stem": {"kernel": 33}}, r"stem\.kernel: .*31"),
        ({"stem": {"pool": 0}}, r"stem\.pool: .*greater than 0"),
        ({"aggregate": "sum"}, "aggregate: a stage's output is for leaves that are concatenated"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(**changes)


def test_it_is_told_and_drawn() -> None:
    found = network()
    text, picture = (draw(*task_of(found).drawn(found)) for draw in (cells_text, cells_svg))
    assert "output = conv1x1(concat(9, 10, 11, 12, 13)) + shortcut(0)" in text
    assert picture.count("conv1x1</text>") > 3
    heading, rows = task_of(found).described(found)
    assert heading == "input 3×224×224, stem conv7x7 16/4, sepconv3x3 32, maxpool 2"
    assert rows[2] == ("stage2", "1", "48", "2", "80", "14×14")
    assert str(found).startswith("conv network 3×224×224, conv7x7 16/4, sepconv3x3 32, maxpool 2, 1x32")
    assert [(level["num_chs"], level["reduction"]) for level in feature_info(found)] == [(48, 8), (80, 16), (76, 32)]


def test_what_a_runtime_executes() -> None:
    found = [one.key for one in operations(network())]
    assert found[:5] == [
        "call",
        "conv7x7 3>16 56x56 /4 relu",
        "depthwise3x3 16>16 56x56 relu",
        "conv1x1 16>32 56x56 relu",
        "maxpool 32>32 28x28 /2",
    ]
    assert found[-4:-1] == ["conv1x1 512>76 7x7", "shortcut 80+76>76 7x7 relu", "average 76>76 7x7"]
    with pytest.raises(InputError, match="stages with an output of their own have no such table"):
        every_operation(network(), 5)


def test_sizes_scale_all_of_it() -> None:
    found, sizes = network(), Sizes.of(network())
    assert sizes.put_into(found) == found
    half = sizes.wider(0.5, 4).put_into(found)
    assert isinstance(half, ConvArchitecture)
    assert half.stem == Stem(channels=8, stride=4, kernel=7, separable=16, pool=2)
    assert [(stage.width, stage.output) for stage in half.stages] == [(16, 24), (24, 40), (32, 38)]
    crafted = craft(found, macs=10_000_000, classes=5, depth="fixed")
    assert 9_000_000 < crafted.cost.macs <= 10_000_000
    said = [Stage(cells=cells, width=width, pool=2) for cells, width in ((1, 16), (2, 24), (1, 32))]
    typed = craft(found, stages=said, stem=Stem(channels=8, stride=2)).architecture
    assert isinstance(typed, ConvArchitecture)
    assert typed.stem == Stem(channels=8, stride=2, kernel=7, separable=16, pool=2)
    assert [(stage.cells, stage.output, stage.cell) for stage in typed.stages] == [
        (cells, output, stage.cell) for cells, output, stage in zip((1, 2, 1), (24, 40, 38), found.stages, strict=True)
    ]


@pytest.mark.usefixtures("_float64")
def test_wider_it_is_the_same_function() -> None:
    start = small()
    parent, sizes = lively(start), Sizes.of(start)
    assert_one_function(born(start, parent), parent, start)
    assert_one_function(born(sizes.wider(2.0, 1).put_into(start), parent), parent, start)


@pytest.mark.usefixtures("_float64")
def test_every_move_is_inherited_through() -> None:
    """To finite outputs; a part of the moves, since there are hundreds in three cells."""
    start = small()
    parent, found = lively(start), neighbours(start, ALL)
    assert not [change for change, _ in found if "aggregate" in change.label]
    for _, after in found[::29]:
        with torch.no_grad():
            assert born(after, parent)(torch.rand(2, *after.input)).isfinite().all()


@pytest.mark.usefixtures("_float64")
def test_an_edge_less_is_the_block_less() -> None:
    """Edge (1, 2) of a chain with a way around: the child is the parent with node 2's columns of node 1 at zero."""
    cell = Cell("conv", ("input", "conv1x1", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
    around: dict[str, Any] = {"input": (2, 8, 8), "classes": 3, "stem": Stem(channels=4, kernel=5, separable=3)}
    stages = (Stage(width=4, output=5), Stage(width=3, pool=2, output=5))
    parent, child = (ConvArchitecture(cell=each, stages=stages, **around) for each in (cell, cell.without((1, 2))))
    theirs = lively(parent)
    ours = born(child, theirs)
    with torch.no_grad():
        for stage, width in ((1, 4), (2, 3)):
            place = theirs.get_submodule(f"cells.stage{stage}_cell1")
            place.get_parameter("nodes.node2.pointwise.conv.weight")[:, -width:] = 0
            # Node 1 is a leaf now, which nobody has learned to read.
            merge = ours.get_parameter(f"cells.stage{stage}_cell1.merge.conv.weight")
            assert not merge[:, :width].any()
    assert_one_function(ours, theirs, parent)


def test_it_learns() -> None:
    """A few steps on one batch, all weights with a gradient."""
    found = small().model_copy(update={"classes": 4})
    module = build(found, seed=0).train()
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 4
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(module(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert losses[-1] < losses[0] / 4


def test_folded_it_is_the_same_function() -> None:
    found = small()
    module = shaken(build(found, seed=0), 0)
    images = torch.rand(2, *found.input, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(folded(module)(images), module(images), atol=1e-4, rtol=1e-4)


def test_its_onnx_file_computes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = network()
    architecture_to_onnx(found, tmp_path / "vww.onnx", seed=3)
    images = torch.rand(2, *found.input, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = build(found, seed=3).eval()(images)
    session = open_session(tmp_path / "vww.onnx")
    (theirs,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(theirs), ours, atol=1e-4, rtol=1e-4)
    assert count(found).params_with_bn == sum(one.numel() for one in build(found, seed=0).parameters())
