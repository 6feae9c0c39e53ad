"""Architecture files: round trip, refusals by field name, and every shape of a network."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autoshrink import load, zoo
from autoshrink.architecture import (
    ActivationName,
    Architecture,
    CellPlan,
    ConvArchitecture,
    LanguageModel,
    LibraryArchitecture,
    NodePlan,
    RecurrentArchitecture,
    RecurrentNode,
    Stage,
    language_model,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.cell import Cell
from autoshrink.cost import count
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
        ("stem.bias", 3, "stem.bias: Extra inputs are not permitted"),
        ("stages.0.op", "conv", "stages.0.op: Extra inputs are not permitted"),
        ("head", {"channels": 8, "x": 1}, "head.x: Extra inputs are not permitted"),
        ("format", "autoshrink.architecture/2", "format: Input should be 'autoshrink.architecture/1'"),
        ("format", "autoshrink.cell/1", "format: Input should be"),
        ("kind", "recurrent", "cell: a recurrent architecture needs a recurrent cell, not a conv one"),
        ("kind", "lstm", "cell: Input should be None"),
        ("kind", "transformer", "architecture kind 'transformer' cannot be built by this version; it knows conv, "),
        ("kind", ["conv"], "architecture kind ['conv'] cannot be built"),
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
    assert len(message) < 300


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
    architecture = ConvArchitecture.from_json(CONTRACT)
    with pytest.raises(ValidationError, match="frozen"):
        architecture.classes = 11
    with pytest.raises(ValidationError, match="frozen"):
        architecture.stages[0].width = 1


def test_a_bad_file_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.arch.json"
    contents = [
        ("{", "not JSON (line 1, column 2:"),
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
    architecture = ConvArchitecture.from_json(
        _changed("input", [1, 33, 17])
        | {"stem": {"channels": 5, "stride": 2}, "head": {"channels": 7}, "classes": 4}
        | {"stages": [{"cells": 2, "width": w, "pool": p} for w, p in ((3, 1), (4, 2), (6, 3), (6, 4))]}
    )
    plan = architecture.plan()
    assert plan.stem_size == (17, 9)
    shapes = [
        (cell.name, cell.in_channels, cell.in_size, cell.pool, cell.size, cell.out_channels, cell.projects)
        for cell in plan.parts
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
    assert plan.parts[2].leaves == (3, 4)
    assert plan.parts[2].nodes == (
        NodePlan(1, "sepconv3x3", (0,), 6, 4, is_leaf=False),
        NodePlan(2, "sepconv3x3", (0,), 6, 4, is_leaf=False),
        NodePlan(3, "sepconv3x3", (0, 1), 10, 4, is_leaf=True),
        NodePlan(4, "conv1x1", (0, 2), 10, 4, is_leaf=True),
    )
    assert (plan.final_size, plan.features, plan.classes) == ((1, 1), 7, 4)


def test_pooling_a_single_pixel_changes_nothing_and_needs_no_projection() -> None:
    architecture = ConvArchitecture.from_json(
        _changed("input", [1, 1, 1])
        | {"stem": {"channels": 8, "stride": 3}, "stages": [{"cells": 1, "width": 4, "pool": 3}]}
    )
    assert architecture.plan().stem_size == (1, 1)
    cell = architecture.plan().parts[0]
    assert (cell.in_size, cell.size, cell.out_channels, cell.projects) == ((1, 1), (1, 1), 8, False)


def test_the_empty_cell_passes_its_channels_on() -> None:
    plan = ConvArchitecture.from_json(_changed("cell.edges", [])).plan()
    assert [cell.out_channels for cell in plan.parts] == [32, 32, 32]
    assert [cell.projects for cell in plan.parts] == [False, True, True]
    assert [cell.nodes for cell in plan.parts] == [(), (), ()]
    assert plan.features == 32


def test_unused_nodes_leave_no_trace_in_the_plan() -> None:
    short: CellPlan = ConvArchitecture.from_json(_changed("cell.edges", [[0, 2], [1, 3]])).plan().parts[0]
    assert short.nodes == (NodePlan(2, "sepconv3x3", (0,), 32, 16, is_leaf=True),)


def test_defaults_are_those_of_the_paper() -> None:
    value = {"cell": CELL, "input": [3, 32, 32], "classes": 10, "stages": [{"width": 16}]}
    with pytest.raises(InputError, match=r"^format: Field required; an architecture has "):
        ConvArchitecture.from_json(value)
    architecture = ConvArchitecture.from_json({"format": "autoshrink.architecture/1"} | value)
    assert (architecture.stem.channels, architecture.stem.stride) == (32, 1)
    assert architecture.stages == (Stage(cells=1, width=16, pool=1),)
    assert (architecture.head, architecture.activation) == (None, "relu")


# Language models

RECURRENT_CELL: dict[str, Any] = {
    "format": "autoshrink.cell/1",
    "kind": "recurrent",
    "ops": ["input", "tanh", "relu", "identity", "sigmoid"],
    "edges": [[0, 1], [0, 3], [1, 3]],
}
RECURRENT: dict[str, Any] = {
    "format": "autoshrink.architecture/1",
    "kind": "recurrent",
    "cell": RECURRENT_CELL,
    "vocabulary": 10000,
    "width": 745,
}
LSTM = {"format": "autoshrink.architecture/1", "kind": "lstm", "vocabulary": 20, "width": 3, "layers": 2}


def test_every_kind_has_its_class() -> None:
    rows: list[tuple[dict[str, Any], type[Architecture]]] = [
        (CONTRACT, ConvArchitecture),
        (RECURRENT, RecurrentArchitecture),
        (LSTM, LibraryArchitecture),
        (LSTM | {"kind": "gru"}, LibraryArchitecture),
    ]
    for value, its_class in rows:
        found = Architecture.from_json(value)
        assert found.__class__ is its_class
        assert its_class.from_json(value) == found
        assert found.to_json() == value
        assert (found.cell is None) == (its_class is LibraryArchitecture)
        assert isinstance(found, LanguageModel) == (its_class is not ConvArchitecture)
        for other in {row[1] for row in rows} - {its_class}:
            with pytest.raises(InputError, match=rf"kind '{found.kind}' cannot be built as {other.__name__}; it knows"):
                other.from_json(value)


def test_a_missing_kind_is_conv() -> None:
    assert Architecture.from_json(_changed("kind", ...)) == Architecture.from_json(CONTRACT)


@st.composite
def _language_models(draw: st.DrawFn) -> dict[str, Any]:
    sizes = {"vocabulary": draw(st.integers(2, 10**6)), "width": draw(st.integers(1, 10**4))}
    if draw(st.booleans()):
        return (
            LSTM | sizes | {"kind": draw(st.sampled_from(["lstm", "gru", "mingru"])), "layers": draw(st.integers(1, 9))}
        )
    edges = draw(st.lists(st.sampled_from([[i, j] for j in range(5) for i in range(j)]), unique_by=tuple))
    cell = Cell.from_json(RECURRENT_CELL | {"edges": edges})
    value = RECURRENT | sizes | {"cell": cell.to_json()}
    if draw(st.booleans()):
        value["aggregate"] = "sum"
    if draw(st.booleans()):
        nodes = st.sampled_from(cell.reachable[1:] or (0,))
        value["output"] = draw(st.lists(nodes, min_size=1, unique=True).map(sorted))
    return value


@given(_language_models())
@settings(deadline=None)
def test_a_language_model_survives_its_file(value: dict[str, Any]) -> None:
    architecture = Architecture.from_json(value)
    assert architecture.to_json() == value
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
    assert hash(architecture) == hash(Architecture.from_json(value))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocabulary": 1}, "vocabulary: Input should be greater than or equal to 2 (got 1)"),
        ({"width": 0}, "width: Input should be greater than 0 (got 0)"),
        ({"width": 2.0}, "width: Input should be a valid integer"),
        ({"aggregate": "max"}, "aggregate: Input should be 'mean' or 'sum' (got 'max')"),
        ({"output": "all"}, "output: the output is 'leaves' or a list of node numbers (got 'all')"),
        ({"output": []}, "output: the output is 'leaves' or a list of node numbers (got [])"),
        ({"output": [True]}, "output: the output is 'leaves' or a list of node numbers"),
        ({"output": [0]}, "output: output nodes must ascend and be among the nodes in use, 1, 3 (got"),
        ({"output": [2]}, "output: output nodes must ascend and be among the nodes in use, 1, 3 (got"),
        ({"output": [3, 1]}, "output: output nodes must ascend"),
        ({"output": [1, 1]}, "output: output nodes must ascend"),
        ({"cell": CELL}, "cell: a recurrent architecture needs a recurrent cell, not a conv one"),
        ({"cell": None}, "cell: a cell is a JSON object"),
        ({"layers": 2}, "layers: Extra inputs are not permitted"),
        ({"kind": "gru"}, "cell: Input should be None"),
        (LSTM | {"layers": 0, "cell": None}, "layers: Input should be greater than 0 (got 0)"),
    ],
)
def test_a_wrong_field_of_a_language_model_is_named(changes: dict[str, Any], said: str) -> None:
    value = changes if "format" in changes else RECURRENT | changes
    with pytest.raises(InputError) as caught:
        Architecture.from_json(value)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_the_plan_of_a_recurrent_network() -> None:
    """Node 4 is out of use and node 2 is as well, so only nodes 1 and 3 are there; 3 reads 0 and 1."""
    plan = RecurrentArchitecture.from_json(RECURRENT).plan()
    assert plan.nodes == (RecurrentNode(1, "tanh", (0,)), RecurrentNode(3, "identity", (0, 1)))
    assert plan.edges == ((0, 1), (0, 3), (1, 3))
    assert (plan.vocabulary, plan.width, plan.aggregate, plan.outputs) == (10000, 745, "mean", (3,))
    other = RecurrentArchitecture.from_json(RECURRENT | {"aggregate": "sum", "output": [1, 3]}).plan()
    assert (other.aggregate, other.outputs, other.nodes) == ("sum", (1, 3), plan.nodes)


def test_the_empty_recurrent_cell_is_node_0_alone() -> None:
    empty = RECURRENT | {"cell": RECURRENT_CELL | {"edges": []}}
    for value in (empty, empty | {"output": [0]}):
        plan = RecurrentArchitecture.from_json(value).plan()
        assert (plan.nodes, plan.edges, plan.outputs) == ((), (), (0,))


def test_a_language_model_of_another_size() -> None:
    cell = Cell.from_json(RECURRENT_CELL)
    architecture = recurrent_proxy(cell, vocabulary=50, width=8, aggregate="sum")
    assert language_model(architecture) == architecture
    assert language_model(architecture, width=9) == recurrent_proxy(cell, vocabulary=50, width=9, aggregate="sum")
    lstm = LibraryArchitecture.from_json(LSTM)
    assert language_model(lstm, vocabulary=7).to_json() == LSTM | {"vocabulary": 7}
    assert (architecture.sizes, lstm.sizes) == ("50 words, width 8", "20 words, width 3")
    with pytest.raises(InputError, match=r"width: .* \(got 0\)"):
        language_model(lstm, width=0)
    with pytest.raises(InputError, match="a conv architecture has no vocabulary and no width to set"):
        language_model(proxy_architecture(Cell.from_json(CELL)), width=9)
    with pytest.raises(InputError, match="a recurrent architecture needs a recurrent cell"):
        recurrent_proxy(Cell.from_json(CELL), vocabulary=50, width=8)


OTHER: dict[str, Any] = {**CELL, "ops": ["input", "conv3x3", "identity"], "edges": [[0, 1], [1, 2]]}


def test_a_stage_may_have_a_cell_of_its_own_and_a_file_without_one_means_what_it_meant() -> None:
    plain, own = ConvArchitecture.from_json(CONTRACT), ConvArchitecture.from_json(_changed("stages.1.cell", OTHER))
    assert plain.to_json() == CONTRACT
    assert own.to_json()["stages"][1]["cell"] == OTHER
    assert "cell" not in own.to_json()["stages"][0]
    first, second, third = (tuple(node.op for node in part.nodes) for part in own.plan().parts)
    assert second == ("conv3x3", "identity")
    assert first == third == tuple(node.op for node in plain.plan().parts[0].nodes)
    assert plain.cells == {"": Cell.from_json(CELL)}
    assert own.cells == {"stages 1, 3": Cell.from_json(CELL), "stage 2": Cell.from_json(OTHER)}
    with pytest.raises(InputError, match=r"stages.0.cell: a stage of a conv architecture needs a conv cell, not a rec"):
        ConvArchitecture.from_json(
            _changed("stages.0.cell", {**CELL, "kind": "recurrent", "ops": ["input"] + ["tanh"] * 4})
        )


def test_a_key_asks_which_cell_stands_where_and_not_how_that_is_said() -> None:
    own = _changed("stages.1.cell", CELL)
    assert ConvArchitecture.from_json(own).key == ConvArchitecture.from_json(CONTRACT).key
    everywhere = json.loads(json.dumps(CONTRACT))
    for stage in everywhere["stages"]:
        stage["cell"] = OTHER
    assert ConvArchitecture.from_json(everywhere).key == ConvArchitecture.from_json(_changed("cell", OTHER)).key
    keys = {ConvArchitecture.from_json(_changed(f"stages.{place}.cell", OTHER)).key for place in range(3)}
    assert len(keys | {ConvArchitecture.from_json(_changed("aggregate", "sum")).key}) == 4


def test_nodes_that_are_added_have_the_width_and_the_input_is_brought_to_it_once() -> None:
    value = _changed("aggregate", "sum")
    architecture = ConvArchitecture.from_json(value)
    assert architecture.to_json() == value
    for part, channels, width in zip(architecture.plan().parts, (32, 16, 32), (16, 32, 64), strict=True):
        assert (part.in_channels, part.first_channels, part.out_channels) == (channels, width, width)
        assert {(node.in_channels, node.out_channels) for node in part.nodes} == {(width, width)}
        assert part.enters
        assert not part.projects
    first = architecture.plan().parts[0]
    layers = {layer.name: layer.params for layer in count(architecture).layers}
    assert layers["stage1.cell1.entry"] == 32 * 16
    assert not any("shortcut" in name for name in layers)
    # 32 channels into a width of 32 need nothing.
    wide = ConvArchitecture.from_json(_changed("stages.0.width", 32) | {"aggregate": "sum"})
    assert not wide.plan().parts[0].enters
    assert first.size == (32, 32)
