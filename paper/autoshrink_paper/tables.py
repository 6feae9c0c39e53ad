"""The paper's Tables 2 to 5."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoshrink import zoo
from autoshrink.architecture import ConvArchitecture, LanguageModel, language_model, proxy_architecture, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.cost import count, widest
from autoshrink.priors import start_cell
from autoshrink.seeding import derive_seed
from autoshrink_paper.published import TABLE_2, TABLE_3, TABLE_4, TABLE_5
from autoshrink_paper.study import Asked, Measurement, Outcome, Row, Study, direction
from autoshrink_paper.trials import ImageSize, ImageTrial, TextSize, TextTrial, TrainedStudy


class Table2(Study):
    """ImageNet. Without ImageNet every count can be rebuilt, to the unit; the accuracies are the paper's."""

    name = "table2"
    title = "Table 2: ImageNet-1K at 224×224"
    unit = "top-1 accuracy, % (the paper's; not trained here)"
    published = TABLE_2
    differences = (
        "ImageNet is not here and nothing was trained: the accuracy column is the paper's, and labelled so",
        "counts are ours: convolutions, shortcuts and classifier, without BN; 1,001 classes for ShrinkCNN, 1,000 else",
        "DARTS and RandWire are no cells that this program can build: the paper's figures alone",
    )

    def __init__(self, asked: Asked, size: object, folder: Path) -> None:
        del asked, size, folder
        self.rows = {row: published.name for row, published in TABLE_2.items()}

    def measurements(self) -> Sequence[Measurement]:
        """One count for every network that can be built."""
        return [Measurement(row, 0, 0) for row in self.rows if row in zoo.names()]

    def measure(self, one: Measurement) -> Outcome:
        """Count it."""
        cost = count(zoo.get(one.row))
        return Outcome(one.row, 0, None, cost.macs, cost.params, 0, 0.0, "counted")

    def verdict(self, rows: Mapping[str, Row]) -> Sequence[str]:
        """The claims about size: up to 48 % fewer parameters and 34 % fewer MACs."""
        small, wide = rows["shrinkcnn-a"], rows["mobilenetv2-1.4"]
        return [
            f"ShrinkCNN has {1 - small.params / wide.params:.0%} fewer parameters and "
            f"{1 - small.macs / wide.macs:.0%} fewer MACs than MobileNetV2 1.4 (the paper's abstract: up to 48 % and "
            "34 %)"
        ]


PRIORS = {"ws": "ws:4,0.75", "er": "er:0.2", "ba": "ba:5"}
"""Generators of RandWire's best small networks (Xie et al. 2019); the paper's parameters are unpublished."""


class Table4(TrainedStudy[ConvArchitecture]):
    """One wiring against another: complete graph, random graphs, the searched cell, the paper's."""

    name = "table4"
    title = "Table 4: wirings compared on {data}"
    unit = "test accuracy, %"
    published = TABLE_4
    data = "cifar10"
    cell_kind = "conv"
    sizes = (
        ImageSize(12, 1_000, 4, 2, 1),
        ImageSize(16, 2_500, 8, 2, 1),
        ImageSize(16, 5_000, 15, 5, 1),
        ImageSize(16, 10_000, 20, 3, 1),
        ImageSize(16, 20_000, 30, 3, 1),
        ImageSize(32, 20_000, 30, 3, 1),
        ImageSize(32, 50_000, 40, 5, 1),
        ImageSize(32, 50_000, 100, 10, 4),
    )
    """The last is the paper's, as far as it says: T = 4 fits its MACs."""

    def __init__(self, asked: Asked, size: ImageSize, folder: Path) -> None:
        super().__init__(asked, size, folder)
        self.trial: ImageTrial = ImageTrial(asked, size)
        self.rows = {
            "complete": "complete graph, N = 8",
            "ws": "WS(4, .75), N = 15",
            "er": "ER(.2), N = 15",
            "ba": "BA(5), N = 15",
            "shrink": "the paper's cell",
        } | {name: f"searched: {name}" for name in asked.cells}
        self.differences = (
            f"size: {size} (the paper: CIFAR-10 in full, T unstated; T = 4 fits its MACs)",
            "recipe: Adam with a half cosine, flips and crops, one for all rows (the paper's is unstated)",
            "random graphs: parameters are those of RandWire's best networks (the paper's are unpublished)",
            "the complete graph's operations are drawn anew in every draw; those of the paper's are unknown",
        )

    def architecture(self, row: str, draw: int) -> ConvArchitecture:
        """The paper's Table 1 around the row's cell, every stage T cells deep."""
        proxy = proxy_architecture(self._cell(row, draw), shape=self.trial.shape, classes=self.trial.classes)
        stages = [stage.model_dump() | {"cells": self._size.cells} for stage in proxy.stages]
        return ConvArchitecture.from_json(proxy.to_json() | {"stages": stages})

    def cost(self, size: ImageSize) -> int:
        """With the first draw's graphs."""
        shape = (self.trial.shape[0], size.pixels, size.pixels)
        macs = sum(count(proxy_architecture(self._cell(row, 0), shape=shape)).macs for row in self.rows)
        return 3 * size.cells * macs * size.images * size.epochs * size.draws

    def verdict(self, rows: Mapping[str, Row]) -> Sequence[str]:
        """The paper's claims: the shrunk cell beats the complete graph and every random graph, at fewer MACs."""
        sentences = []
        for mine in ("shrink", *self._asked.cells):
            for other in ("complete", *PRIORS):
                first, second = rows[mine], rows[other]
                saving = f", at {first.macs / second.macs:.2f} times its MACs" if first.macs and second.macs else ""
                sentences.append(direction(first, second, higher=True, digits=2) + saving)
        return sentences

    def _cell(self, row: str, draw: int) -> Cell:
        if row in self._asked.cells:
            return self._asked.cells[row]
        if row == "shrink":
            cell = zoo.get("shrinkcnn-a").cell
            assert cell is not None, "ShrinkCNN-A has a cell"
            return cell
        nodes, spec = (8, "complete") if row == "complete" else (15, PRIORS[row])
        return start_cell(
            spec, kind="conv", nodes=nodes, rng=random.Random(derive_seed(self._asked.seed, "graph", row, draw))
        )


WORDS_A_SENTENCE = 22
"""Of Penn Treebank, the end of the sentence included; for estimates of the cost only."""
UNPUBLISHED = "ShrinkRNN is the released cell of 12 edges; the paper's has 8, its operations are unpublished"


class LanguageTable(TrainedStudy[LanguageModel]):
    """Recurrent cells as language models on Penn Treebank."""

    unit = "test perplexity"
    data = "ptb"
    cell_kind = "recurrent"
    sizes = (
        TextSize(1_000, 100_000, 40, 4, 2),
        TextSize(4_000, 460_000, 64, 6, 2),
        TextSize(10_000, 1_000_000, 100, 8, 3),
        TextSize(42_068, 2_500_000, 200, 12, 3),
        TextSize(42_068, 10_000_000, 400, 20, 3),
    )

    def __init__(self, asked: Asked, size: TextSize, folder: Path) -> None:
        super().__init__(asked, size, folder)
        self.trial: TextTrial = TextTrial(asked, size)
        self._models = {row: _language_model(row) for row in self.published}
        self._models |= {
            f"searched: {name}": recurrent_proxy(cell, vocabulary=2, width=1) for name, cell in asked.cells.items()
        }
        self.rows = {row: self.published[row].name if row in self.published else row for row in self._models}

    def architecture(self, row: str, draw: int) -> LanguageModel:
        """The same in every draw."""
        del draw
        return self._sized(row, self._size, self.trial.vocabulary)

    @abstractmethod
    def _sized(self, row: str, size: TextSize, vocabulary: int) -> LanguageModel:
        """A row's model at a size."""

    def cost(self, size: TextSize) -> int:
        """With a vocabulary that grows with the root of the text."""
        vocabulary = min(10_000, round(5_000 * (size.sentences / 4_000) ** 0.5))
        macs = sum(count(self._sized(row, size, vocabulary)).macs for row in self.rows)
        return 3 * macs * WORDS_A_SENTENCE * size.sentences * size.epochs * size.draws

    def verdict(self, rows: Mapping[str, Row]) -> Sequence[str]:
        """ShrinkRNN against every other row."""
        mine = rows["shrinkrnn"]
        return [direction(mine, other, higher=False, digits=1) for row, other in rows.items() if row != "shrinkrnn"]


def _language_model(row: str) -> LanguageModel:
    found = zoo.get(row)
    assert isinstance(found, LanguageModel), f"{row} is a language model"
    return found


class Table3(LanguageTable):
    """Recurrent cells at an equal number of parameters; the paper has ShrinkRNN better than LSTM and RHN, a little
    behind ENAS and DARTS."""

    name = "table3"
    title = "Table 3: language models on {data} at equal size"
    published = TABLE_3

    def __init__(self, asked: Asked, size: TextSize, folder: Path) -> None:
        super().__init__(asked, size, folder)
        self.differences = (
            f"size: {size.params:,} parameters at most, {self.trial.samples:,} training tokens, {size.epochs} "
            f"epochs, a vocabulary of {self.trial.vocabulary:,} (the paper: about 23M, 929,589, up to 3,000, 10,000)",
            "recipe: the search's, without dropout and averaging, one for all rows (the paper quotes the others' own)",
            "the budget decides this table: deep cells need longer training and dropout to show what they have",
            UNPUBLISHED,
        )

    def _sized(self, row: str, size: TextSize, vocabulary: int) -> LanguageModel:
        return widest(language_model(self._models[row], vocabulary=vocabulary), size.params)


class Table5(LanguageTable):
    """The complete graph against the shrunk one at one width; the paper has ShrinkRNN better, with fewer parameters."""

    name = "table5"
    title = "Table 5: complete graph against ShrinkRNN on {data}, N = 6"
    published = TABLE_5

    def __init__(self, asked: Asked, size: TextSize, folder: Path) -> None:
        super().__init__(asked, size, folder)
        self.differences = (
            f"size: width {size.width}, {self.trial.samples:,} training tokens, {size.epochs} epochs, a "
            f"vocabulary of {self.trial.vocabulary:,} (the paper: width 850, 929,589 tokens, up to 3,000 epochs, "
            "10,000)",
            "recipe: the search's, without dropout and averaging, one for both rows",
            UNPUBLISHED,
            "the complete graph's operations are ours (each at least once); those of the paper's are unpublished",
        )

    def _sized(self, row: str, size: TextSize, vocabulary: int) -> LanguageModel:
        return language_model(self._models[row], vocabulary=vocabulary, width=size.width)
