"""Table 2: ImageNet. Without ImageNet every count can be rebuilt, to the unit; the accuracies are the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from autoshrink import zoo
from autoshrink.cost import count
from autoshrink.reproduce.published import TABLE_2, Published
from autoshrink.reproduce.study import Outcome, Result, Work


class Table2:
    """See `autoshrink.reproduce.study.Study`: counted only, so every value is missing."""

    name = "table2"
    title = "Table 2: ImageNet-1K at 224×224"
    unit = "top-1 accuracy, % (the paper's; not trained here)"
    published: dict[str, Published] = TABLE_2
    differences = (
        "ImageNet is not here and nothing was trained: the accuracy column is the paper's, and labelled so",
        "counts are ours: convolutions, shortcuts and classifier, without BN; 1,001 classes for ShrinkCNN, 1,000 else",
        "DARTS and RandWire are no cells that this program can build: the paper's figures alone",
    )

    def __init__(self) -> None:
        self.rows = {row: published.name for row, published in TABLE_2.items()}

    def works(self) -> tuple[Work, ...]:
        """One count for every network that can be built."""
        return tuple(Work(row, 0, 0) for row in self.rows if row in zoo.names())

    def measure(self, work: Work) -> Outcome:
        """Count it."""
        cost = count(zoo.get(work.row))
        return Outcome(work.row, 0, None, cost.macs, cost.params, 0, 0.0, "counted")

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        """The claims about size: up to 48 % fewer parameters and 34 % fewer MACs."""
        by_row = {one.row: one for one in results}
        small, wide = by_row["shrinkcnn-a"], by_row.get("mobilenetv2-1.4")
        if wide is None or not wide.params:
            return ()
        return (
            f"ShrinkCNN has {1 - small.params / wide.params:.0%} fewer parameters and "
            f"{1 - small.macs / wide.macs:.0%} fewer MACs than MobileNetV2 1.4 (the paper's abstract: up to 48 % and "
            "34 %)",
        )
