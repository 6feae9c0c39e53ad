"""The zoo: names, the published wirings read from their files, and figures that can be worked out by hand."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import pytest

from autoshrink import load, zoo
from autoshrink.architecture import (
    ConvArchitecture,
    LibraryArchitecture,
    RecurrentArchitecture,
    language_model,
)
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.ops import DEFAULTS

# Published genotypes: for every node after node 0 its operation and the one node that it reads.
CHAINS = {
    "darts-rnn": "sigmoid0 relu1 relu1 identity1 tanh2 sigmoid5 tanh3 relu5",
    "darts-rnn-v1": "relu0 relu1 tanh2 relu3 relu4 identity1 relu5 relu1",
    "enas-rnn": "tanh0 tanh1 relu1 tanh3 tanh3 relu3 relu4 relu7 relu8 relu8 relu8",
    "rhn": "tanh0 tanh1 tanh2 tanh3 tanh4 tanh5 tanh6 tanh7 tanh8",
}
OUTPUTS = {
    "darts-rnn": tuple(range(1, 9)),
    "darts-rnn-v1": tuple(range(1, 9)),
    "enas-rnn": (2, 5, 6, 9, 10, 11),
    "rhn": (9,),
    "shrinkrnn": (4, 5),
    "complete-rnn": (5,),
}
# By hand, V·n + V + 4n² + edges·2n².
PARAMS = {
    "shrinkrnn": 23_000_700,
    "complete-rnn": 8_500_000 + 10_000 + 4 * 722_500 + 15 * 1_445_000,
    "darts-rnn": 8_500_000 + 10_000 + 4 * 722_500 + 8 * 1_445_000,
    "darts-rnn-v1": 8_500_000 + 10_000 + 4 * 722_500 + 8 * 1_445_000,
    "enas-rnn": 7_870_000 + 10_000 + 4 * 619_369 + 11 * 1_238_738,
    "rhn": 8_300_000 + 10_000 + 4 * 688_900 + 9 * 1_377_800,
    "lstm": 11_810_000 + 10_000 + 8 * 1_394_761 + 8 * 1_181,
    "mingru": 14_530_000 + 10_000 + 4 * 2_111_209 + 4 * 1_453,
    "gru": 12_930_000 + 10_000 + 6 * 1_671_849 + 6 * 1_293,
}


IMAGES = {
    "shrinkcnn-a",
    "shrinkcnn-b",
    "mobilenetv2-1.0",
    "mobilenetv2-1.4",
    "mnasnet-a1",
    "mnasnet-b1",
    "efficientnet-b0",
}
ELSEWHERE = {"vww-swiftnet"}
"""Image networks that were published on other images than ImageNet's."""


def _recurrent(name: str) -> RecurrentArchitecture:
    found = zoo.get(name)
    assert isinstance(found, RecurrentArchitecture)
    return found


def test_everything_has_a_source_and_nothing_else_has() -> None:
    assert zoo.names() == tuple(sorted({*PARAMS, *IMAGES, *ELSEWHERE}))
    sources = json.loads((files(zoo) / "sources.json").read_text(encoding="utf-8"))
    assert tuple(sources) == zoo.names()
    for name in zoo.names():
        assert zoo.source(name) == sources[name]["source"]
        assert len(zoo.source(name)) > 20


@pytest.mark.parametrize("name", sorted({*PARAMS, *IMAGES, *ELSEWHERE}))
def test_what_was_published_is_near_what_is_counted(name: str) -> None:
    """To the rounding and the authors' own ways to count: 5 %, but for MobileNetV2-1.4's 6.9M, which nobody gets."""
    figures, counted = zoo.published(name), count(zoo.get(name))
    assert (figures.error is not None) == (name in IMAGES)
    assert figures.perplexity is None or name in OUTPUTS
    for said, exact in ((figures.params, counted.params), (figures.macs, counted.macs)):
        if said is not None:
            allowed = 0.13 if (name, said) == ("mobilenetv2-1.4", 6_900_000) else 0.05
            assert abs(exact / said - 1) < allowed


def test_the_comparison_of_the_paper() -> None:
    """AutoShrink's Table 2; its MnasNet-A is no network of the zoo."""
    rows = {
        "shrinkcnn-a": (26.1, 3_600_000, 384_000_000),
        "shrinkcnn-b": (24.9, 3_600_000, 384_000_000),
        "mobilenetv2-1.4": (25.3, 6_900_000, 585_000_000),
        "efficientnet-b0": (23.7, 5_300_000, 391_000_000),
    }
    for name, row in rows.items():
        figures = zoo.published(name)
        assert (figures.error, figures.params, figures.macs) == row
        if name.startswith("shrink"):
            assert "weights were not published" in zoo.source(name)
    assert "24.4 %, 4.8M, 340M: MnasNet-A2" in zoo.source("mnasnet-a1")


def test_files_hold_what_to_json_writes() -> None:
    for name in zoo.names():
        text = (files(zoo) / f"{name}.arch.json").read_text(encoding="utf-8")
        assert zoo.get(name).to_json() == json.loads(text)
        assert load(name) == zoo.get(name)


@pytest.mark.parametrize("name", ["shrinkcnn_a", "ShrinkCNN-A", "shrinkCNN_a"])
def test_names_are_read_as_people_write_them(name: str) -> None:
    assert load(name) == zoo.get(name) == zoo.get("shrinkcnn-a")
    assert zoo.source(name) == zoo.source("shrinkcnn-a")
    assert zoo.published(name) == zoo.published("shrinkcnn-a")


def test_an_unknown_name_hints_at_a_near_one() -> None:
    said = r"shrinkcnn_c: neither a file nor a name in the zoo; did you mean shrinkcnn-[ab]\?"
    for ask in (load, zoo.get, zoo.source, zoo.published):
        with pytest.raises(InputError, match=said):
            ask("shrinkcnn_c")
        with pytest.raises(InputError, match=r"resnet50: .*; it has complete-rnn, darts-rnn, .*, vww-swiftnet$"):
            ask("resnet50")


def test_the_released_convolutional_cell() -> None:
    ops = ("input", "sepconv3x3", "sepconv3x3", "sepconv3x3", "conv1x1")
    cell = Cell("conv", ops, ((0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (2, 4)))
    first, second = (ConvArchitecture.from_json(zoo.get(f"shrinkcnn-{letter}").to_json()) for letter in "ab")
    assert first.cell == second.cell == cell
    assert (first.activation, second.activation) == ("relu", "swish")
    assert first.model_dump(exclude={"activation"}) == second.model_dump(exclude={"activation"})


def test_the_network_of_the_visual_wake_words_challenge() -> None:
    """As the released graph has it: predecessors by the names of its nodes, 0 for a cell's input, s for 3×3."""
    cells = (
        "14:0 17:14 18:0 19:14 20:0,14 21:19,20 23:14,21 24:0,18,19,20 25s:20 26s:23 27s:20,21 28s:0,18 29:17,20,23,24",
        "43:0 45s:43 47s:43 48:0 49:0 50:0 51:43,45 52:47,48 54:0,43,45,49 55:54 57:48 59s:43,45",
        "67:0 71s:67 75:67 80:0,71 81s:67 82s:75 83:67 84s:75 85s:67,71 87s:67 89s:67",
    )
    network = ConvArchitecture.from_json(zoo.get("vww-swiftnet").to_json())
    found = [([node.op for node in part.nodes], [node.inputs for node in part.nodes]) for part in network.plan().parts]
    for text, (ops, inputs) in zip(cells, found, strict=True):
        rows = [row.partition(":") for row in text.split()]
        names = ["0", *(name.rstrip("s") for name, _, _ in rows)]
        assert ops == ["sepconv3x3" if name.endswith("s") else "conv1x1" for name, _, _ in rows]
        assert inputs == [tuple(map(names.index, reads.split(","))) for _, _, reads in rows]
    assert [
        (stage.width, stage.output, part.size) for stage, part in zip(network.stages, network.plan().parts, strict=True)
    ] == [
        (32, 48, (28, 28)),
        (48, 80, (14, 14)),
        (64, 76, (7, 7)),
    ]
    assert [len(cell.leaves) for cell in network.cells.values()] == [5, 6, 8]
    assert (network.input, network.classes) == ((3, 224, 224), 2)


def test_its_cost_is_what_its_authors_publish() -> None:
    """57.40M multiply-adds within 3 %, and 200.70 KB: the largest layer is the first, 3·224² bytes in, 16·56² out."""
    cost = count(zoo.get("vww-swiftnet"))
    assert (cost.params, cost.macs) == (213_658, 56_156_504)
    assert abs(cost.macs / 57.40e6 - 1) < 0.03
    assert cost.largest_layer_bytes_uint8 == 200_704 == 3 * 224**2 + 16 * 56**2
    assert round(cost.largest_layer_bytes_uint8 / 1000, 2) == 200.70


def test_the_released_recurrent_cell() -> None:
    mask = ["011111", "000111", "000011", "000011", "000000", "000000"]
    edges = tuple((i, j) for i, row in enumerate(mask) for j, bit in enumerate(row) if bit == "1")
    cell = Cell("recurrent", ("input", "identity", "sigmoid", "sigmoid", "tanh", "identity"), edges)
    assert len(edges) == 12
    assert (_recurrent("shrinkrnn").cell, _recurrent("shrinkrnn").width) == (cell, 745)


def test_the_complete_graph_uses_every_operation() -> None:
    cell = _recurrent("complete-rnn").cell
    assert cell.edges == tuple(combinations(range(6), 2))
    assert set(cell.ops[1:]) == set(DEFAULTS["recurrent"])
    assert "ours" in zoo.source("complete-rnn")


@pytest.mark.parametrize("name", CHAINS)
def test_the_published_chains(name: str) -> None:
    cell, genes = _recurrent(name).cell, CHAINS[name].split()
    assert cell.ops[1:] == tuple(gene[:-1] for gene in genes)
    assert cell.predecessors[1:] == tuple((int(gene[-1]),) for gene in genes)


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name: str) -> None:
    assert _recurrent(name).plan().outputs == OUTPUTS[name]
    assert _recurrent(name).aggregate == "mean"


@pytest.mark.parametrize("name", PARAMS)
def test_parameters_of_the_language_models(name: str) -> None:
    assert count(zoo.get(name)).params == PARAMS[name]


def test_the_page_has_what_is_counted() -> None:
    page = (Path(__file__).parent.parent / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = {row[1].strip(" `"): "|".join(row) for row in (line.split("|") for line in page.splitlines()) if row[2:]}
    for name in zoo.names():
        cost = count(zoo.get(name))
        for number in (cost.params, cost.params_with_bn, cost.macs):
            assert f" {number:,} " in rows[name], name
        figures = zoo.published(name)
        for said in (figures.error, figures.perplexity):
            assert said is None or f" {said}" in rows[name], name


@pytest.mark.parametrize(
    ("name", "limit"), [("lstm", 23_000_700), ("gru", 23_000_700), ("mingru", 23_000_700), ("enas-rnn", 24_000_000)]
)
def test_widths_of_ours_are_the_largest_that_fit(name: str, limit: int) -> None:
    found = zoo.get(name)
    assert isinstance(found, RecurrentArchitecture | LibraryArchitecture)
    assert count(found).params <= limit < count(language_model(found, width=found.width + 1)).params
