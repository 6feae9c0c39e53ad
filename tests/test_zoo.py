"""The zoo: names, the published wirings read from their files, and figures that can be worked out by hand."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import combinations

import pytest

from autoshrink import load, zoo
from autoshrink.architecture import (
    ConvArchitecture,
    LibraryArchitecture,
    RecurrentArchitecture,
    language_model,
)
from autoshrink.cell import OPS, Cell
from autoshrink.cost import count
from autoshrink.errors import InputError

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
    "gru": 12_930_000 + 10_000 + 6 * 1_671_849 + 6 * 1_293,
}


def _recurrent(name: str) -> RecurrentArchitecture:
    found = zoo.get(name)
    assert isinstance(found, RecurrentArchitecture)
    return found


def test_everything_has_a_source_and_nothing_else_has() -> None:
    assert zoo.names() == tuple(sorted({*PARAMS, "shrinkcnn-a", "shrinkcnn-b"}))
    sources = json.loads((files(zoo) / "sources.json").read_text(encoding="utf-8"))
    assert tuple(sources) == zoo.names()
    for name in zoo.names():
        assert zoo.source(name) == sources[name]
        assert len(sources[name]) > 20


def test_files_hold_what_to_json_writes() -> None:
    for name in zoo.names():
        text = (files(zoo) / f"{name}.arch.json").read_text(encoding="utf-8")
        assert zoo.get(name).to_json() == json.loads(text)
        assert load(name) == zoo.get(name)


def test_an_unknown_name_hints_at_a_near_one() -> None:
    said = r"shrinkcnn_a: neither a file nor a name in the zoo; did you mean shrinkcnn-a\?"
    for ask in (load, zoo.get, zoo.source):
        with pytest.raises(InputError, match=said):
            ask("shrinkcnn_a")
        with pytest.raises(InputError, match=r"resnet50: .*; it has complete-rnn, darts-rnn, .*, shrinkrnn$"):
            ask("resnet50")


def test_the_released_convolutional_cell() -> None:
    ops = ("input", "sepconv3x3", "sepconv3x3", "sepconv3x3", "conv1x1")
    cell = Cell("conv", ops, ((0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (2, 4)))
    first, second = (ConvArchitecture.from_json(zoo.get(f"shrinkcnn-{letter}").to_json()) for letter in "ab")
    assert first.cell == second.cell == cell
    assert (first.activation, second.activation) == ("relu", "swish")
    assert first.model_dump(exclude={"activation"}) == second.model_dump(exclude={"activation"})


def test_the_released_recurrent_cell() -> None:
    mask = ["011111", "000111", "000011", "000011", "000000", "000000"]
    edges = tuple((i, j) for i, row in enumerate(mask) for j, bit in enumerate(row) if bit == "1")
    cell = Cell("recurrent", ("input", "identity", "sigmoid", "sigmoid", "tanh", "identity"), edges)
    assert len(edges) == 12
    assert (_recurrent("shrinkrnn").cell, _recurrent("shrinkrnn").width) == (cell, 745)


def test_the_complete_graph_uses_every_operation() -> None:
    cell = _recurrent("complete-rnn").cell
    assert cell.edges == tuple(combinations(range(6), 2))
    assert set(cell.ops[1:]) == set(OPS["recurrent"])
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


@pytest.mark.parametrize(("name", "limit"), [("lstm", 23_000_700), ("gru", 23_000_700), ("enas-rnn", 24_000_000)])
def test_widths_of_ours_are_the_largest_that_fit(name: str, limit: int) -> None:
    found = zoo.get(name)
    assert isinstance(found, RecurrentArchitecture | LibraryArchitecture)
    assert count(found).params <= limit < count(language_model(found, width=found.width + 1)).params
