"""Architecture files: round trip, refusals by field name, and every shape of a network."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autoshrink import load, zoo
from autoshrink.architecture import ActivationName, Architecture, CellPlan, NodePlan, Stage, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.errors import InputError

CELL: dict[str, Any] = {
    "format": "autoshrink.cell/1",
    "kind": "conv",
    "ops": ["input", "sepconv3x3", "sepconv3x3", "sepconv3x3", "conv1x1"],
    "edges": [[0, 1], [0, 2], [0, 3], [0, 4], [1, 3], [2, 4]],
}
CONTRACT: dict[str, Any] = {
    "format": "autoshrink.architecture/1",
    "kind": "conv",
    "cell": CELL,
    "input": [3, 32, 32],
    "classes": 10,
    "stem": {"channels": 32, "stride": 1},
    "stages": [
        {"cells": 1, "width": 16, "pool": 1},
        {"cells": 1, "width": 32, "pool": 2},
        {"cells": 1, "width": 64, "pool": 2},
    ],
    "head": None,
    "activation": "relu",
}


def _changed(place: str, value: object) -> Any:
    """The contract's example with one field changed (`place` as in ``stages.0.width``), or taken out for ``...``."""
    changed = json.loads(json.dumps(CONTRACT))
    *outer, last = place.split(".")
    target = changed
    for part in outer:
        target = target[int(part) if isinstance(target, list) else part]
    key = int(last) if isinstance(target, list) else last
    if value is ...:
        del target[key]
    else:
        target[key] = value
    return changed


def test_the_contract_example_is_the_papers_proxy_network() -> None:
    architecture = Architecture.from_json(CONTRACT)
    assert architecture.to_json() == CONTRACT
    assert architecture == proxy_architecture(Cell.from_json(CELL))


@st.composite
def _architectures(draw: st.DrawFn) -> dict[str, Any]:
    small = st.integers(1, 300)
    stage = st.fixed_dictionaries({"cells": st.integers(1, 9), "width": small, "pool": st.integers(1, 5)})
    return {
        "format": "autoshrink.architecture/1",
        "kind": "conv",
        "cell": CELL | {"edges": sorted(draw(st.lists(st.sampled_from(CELL["edges"][:4]), unique_by=tuple)))},
        "input": draw(st.lists(small, min_size=3, max_size=3)),
        "classes": draw(st.integers(2, 2000)),
        "stem": {"channels": draw(small), "stride": draw(st.integers(1, 4))},
        "stages": draw(st.lists(stage, min_size=1, max_size=4)),
        "head": draw(st.none() | st.fixed_dictionaries({"channels": small})),
        "activation": draw(st.sampled_from(get_args(ActivationName))),
    }


@given(_architectures())
@settings(deadline=None)
def test_an_architecture_survives_its_file(value: dict[str, Any]) -> None:
    architecture = Architecture.from_json(json.loads(json.dumps(value)))
    assert architecture.to_json() == value
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("cell", ..., "cell: Field required"),
        ("input", ..., "input: Field required"),
        ("classes", ..., "classes: Field required"),
        ("stages", ..., "stages: Field required"),
        ("stages.1.width", ..., "stages.1.width: Field required"),
        ("head", {}, "head.channels: Field required"),
        ("colour", "red", "colour: Extra inputs are not permitted"),
        ("stem.kernel", 3, "stem.kernel: Extra inputs are not permitted"),
        ("stages.0.op", "conv", "stages.0.op: Extra inputs are not permitted"),
        ("head", {"channels": 8, "x": 1}, "head.x: Extra inputs are not permitted"),
        ("format", "autoshrink.architecture/2", "format: Input should be 'autoshrink.architecture/1'"),
        ("format", "autoshrink.cell/1", "format: Input should be"),
        ("kind", "recurrent", "architecture kind 'recurrent' cannot be built"),
        ("kind", "transformer", "architecture kind 'transformer' cannot be built"),
        ("cell", None, "cell: a cell is a JSON object, not None"),
        ("cell", "shrinkcnn-a", "cell: a cell is a JSON object"),
        ("cell.kind", "recurrent", "cell: node 1: operation 'sepconv3x3' is unknown in a recurrent cell"),
        ("cell.edges", [[1, 0]], "cell: edge [1, 0] does not run"),
        ("cell.ops.1", "conv5x5", "cell: node 1: operation 'conv5x5' is unknown"),
        ("input", [32, 32], "input.2: Field required"),
        ("input", [3, 32, 32, 1], "input: "),
        ("input", [3, 0, 32], "input.1: Input should be greater than 0 (got 0)"),
        ("input", [3, 32.5, 32], "input.1: Input should be a valid integer"),
        ("input", "3x32x32", "input: "),
        ("classes", 1, "classes: Input should be greater than or equal to 2 (got 1)"),
        ("classes", "10", "classes: Input should be a valid integer (got '10')"),
        ("classes", 10.0, "classes: Input should be a valid integer (got 10.0)"),
        ("classes", True, "classes: Input should be a valid integer (got True)"),
        ("stem", None, "stem: "),
        ("stem.channels", 0, "stem.channels: Input should be greater than 0 (got 0)"),
        ("stem.stride", -1, "stem.stride: Input should be greater than 0 (got -1)"),
        ("stages", [], "stages: "),
        ("stages", {}, "stages: "),
        ("stages.0", 16, "stages.0: "),
        ("stages.2.cells", 0, "stages.2.cells: Input should be greater than 0 (got 0)"),
        ("stages.0.width", "16", "stages.0.width: Input should be a valid integer (got '16')"),
        ("stages.0.width", None, "stages.0.width: Input should be a valid integer (got None)"),
        ("stages.1.pool", 0, "stages.1.pool: Input should be greater than 0 (got 0)"),
        ("head", 1280, "head: "),
        ("head", {"channels": 0}, "head.channels: Input should be greater than 0 (got 0)"),
        ("activation", "mish", "activation: Input should be 'relu', 'swish'"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(place: str, value: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Architecture.from_json(_changed(place, value))
    message = str(caught.value)
    assert message.startswith(said)
    assert "\n" not in message
    assert len(message) < 250


@pytest.mark.parametrize("value", [[], "x", 3, None])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="Input should be a valid dictionary"):
        Architecture.from_json(value)


def test_a_recurrent_cell_does_not_fit_into_a_conv_architecture() -> None:
    cell = {"format": "autoshrink.cell/1", "kind": "recurrent", "ops": ["input", "tanh"], "edges": [[0, 1]]}
    with pytest.raises(InputError, match="a conv architecture needs a conv cell, not a recurrent one") as caught:
        Architecture.from_json(_changed("cell", cell))
    assert "\n" not in str(caught.value)


def test_an_architecture_cannot_be_changed() -> None:
    architecture = Architecture.from_json(CONTRACT)
    with pytest.raises(ValidationError, match="frozen"):
        architecture.classes = 11
    with pytest.raises(ValidationError, match="frozen"):
        architecture.stages[0].width = 1


def test_a_bad_file_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.arch.json"
    contents = [
        ("{", "not JSON (line 1:"),
        ("[]", "Input should be a valid dictionary"),
        (json.dumps(_changed("stages.0.width", 0)), "stages.0.width: Input should be greater than 0 (got 0)"),
        (json.dumps(_changed("cell.ops.0", "conv1x1")), "cell: node 0 of a cell is 'input'"),
    ]
    for text, said in contents:
        path.write_text(text, encoding="utf-8")
        for read in (Architecture.read, load):
            with pytest.raises(InputError) as caught:
                read(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert str(caught.value).count(str(path)) == 1
            assert said in str(caught.value)
    path.unlink()
    for read in (Architecture.read, load):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: no such file"


def test_load_finds_cells_architectures_and_the_zoo(tmp_path: Path) -> None:
    cell_path, path = tmp_path / "a.json", tmp_path / "b.json"
    cell_path.write_text(json.dumps(CELL), encoding="utf-8")
    path.write_text(json.dumps(CONTRACT), encoding="utf-8")
    assert load(cell_path) == Cell.from_json(CELL)
    assert load(str(path)) == Architecture.from_json(CONTRACT) == Architecture.read(path)
    assert load("shrinkcnn-a") == zoo.get("shrinkcnn-a")


def test_an_unknown_name_hints_at_a_near_one() -> None:
    with pytest.raises(
        InputError, match=r"shrinkcnn_a: neither a file nor a name in the zoo; did you mean shrinkcnn-a\?"
    ):
        load("shrinkcnn_a")
    with pytest.raises(InputError, match=r"resnet50: .*; it has shrinkcnn-a, shrinkcnn-b"):
        load("resnet50")


def test_the_zoo_holds_the_released_cell() -> None:
    assert zoo.names() == ("shrinkcnn-a", "shrinkcnn-b")
    first, second = (zoo.get(name) for name in zoo.names())
    assert first.cell == second.cell == Cell.from_json(CELL)
    assert (first.activation, second.activation) == ("relu", "swish")
    assert first.model_dump(exclude={"activation"}) == second.model_dump(exclude={"activation"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": ()}, "stages: "),
        ({"widths": (16, 0)}, "stages.1.width: "),
        ({"stem": 0}, "stem.channels: "),
        ({"shape": (3, 32, 0)}, "input.2: "),
        ({"classes": 1}, "classes: "),
    ],
)
def test_a_proxy_network_of_bad_sizes_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        proxy_architecture(Cell.from_json(CELL), **options)
    assert str(caught.value).startswith(said)


# Shapes


def test_every_shape_of_a_network_with_odd_sizes() -> None:
    """33×17 pixels: the stem's stride makes 17×9, pooling by 2 makes 9×5, by 3 makes 3×2; by 4, then 1×1."""
    architecture = Architecture.from_json(
        _changed("input", [1, 33, 17])
        | {"stem": {"channels": 5, "stride": 2}, "head": {"channels": 7}, "classes": 4}
        | {"stages": [{"cells": 2, "width": w, "pool": p} for w, p in ((3, 1), (4, 2), (6, 3), (6, 4))]}
    )
    plan = architecture.plan()
    assert plan.stem_size == (17, 9)
    shapes = [
        (cell.name, cell.in_channels, cell.in_size, cell.pool, cell.size, cell.out_channels, cell.projects)
        for cell in plan.cells
    ]
    assert shapes == [
        ("stage1.cell1", 5, (17, 9), 1, (17, 9), 6, True),
        ("stage1.cell2", 6, (17, 9), 1, (17, 9), 6, False),
        ("stage2.cell1", 6, (17, 9), 2, (9, 5), 8, True),
        ("stage2.cell2", 8, (9, 5), 1, (9, 5), 8, False),
        ("stage3.cell1", 8, (9, 5), 3, (3, 2), 12, True),
        ("stage3.cell2", 12, (3, 2), 1, (3, 2), 12, False),
        ("stage4.cell1", 12, (3, 2), 4, (1, 1), 12, True),
        ("stage4.cell2", 12, (1, 1), 1, (1, 1), 12, False),
    ]
    assert plan.cells[2].leaves == (3, 4)
    assert plan.cells[2].nodes == (
        NodePlan(1, "sepconv3x3", (0,), 6, 4, is_leaf=False),
        NodePlan(2, "sepconv3x3", (0,), 6, 4, is_leaf=False),
        NodePlan(3, "sepconv3x3", (0, 1), 10, 4, is_leaf=True),
        NodePlan(4, "conv1x1", (0, 2), 10, 4, is_leaf=True),
    )
    assert (plan.final_size, plan.features, plan.classes) == ((1, 1), 7, 4)


def test_pooling_a_single_pixel_changes_nothing_and_needs_no_projection() -> None:
    architecture = Architecture.from_json(
        _changed("input", [1, 1, 1])
        | {"stem": {"channels": 8, "stride": 3}, "stages": [{"cells": 1, "width": 4, "pool": 3}]}
    )
    assert architecture.plan().stem_size == (1, 1)
    cell = architecture.plan().cells[0]
    assert (cell.in_size, cell.size, cell.out_channels, cell.projects) == ((1, 1), (1, 1), 8, False)


def test_the_empty_cell_passes_its_channels_on() -> None:
    plan = Architecture.from_json(_changed("cell.edges", [])).plan()
    assert [cell.out_channels for cell in plan.cells] == [32, 32, 32]
    assert [cell.projects for cell in plan.cells] == [False, True, True]
    assert [cell.nodes for cell in plan.cells] == [(), (), ()]
    assert plan.features == 32


def test_unused_nodes_leave_no_trace_in_the_plan() -> None:
    short: CellPlan = Architecture.from_json(_changed("cell.edges", [[0, 2], [1, 3]])).plan().cells[0]
    assert short.nodes == (NodePlan(2, "sepconv3x3", (0,), 32, 16, is_leaf=True),)


def test_defaults_are_those_of_the_paper() -> None:
    value = {"cell": CELL, "input": [3, 32, 32], "classes": 10, "stages": [{"width": 16}]}
    with pytest.raises(InputError, match=r"^format: Field required; an architecture has "):
        Architecture.from_json(value)
    architecture = Architecture.from_json({"format": "autoshrink.architecture/1"} | value)
    assert (architecture.stem.channels, architecture.stem.stride) == (32, 1)
    assert architecture.stages == (Stage(cells=1, width=16, pool=1),)
    assert (architecture.head, architecture.activation) == (None, "relu")
