"""How an evaluation is shown: as tables on a terminal, and as a page."""

from __future__ import annotations

import re

import numpy as np
import pytest

from autoshrink.classification import ClassifierEvaluation, ClassifierFigures, Outcomes
from autoshrink.cli.console import stdout
from autoshrink.evaluating.tables import TABLE_WIDTH, matrix_lines, tables
from autoshrink.report.evaluation_page import evaluation_page
from html_fixtures import Page


def _figures(classes: tuple[str, ...], images: int = 300) -> ClassifierFigures:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(classes), images)
    logits = rng.normal(size=(images, len(classes)))
    logits[np.arange(images), labels] += 2
    return ClassifierFigures.of(Outcomes.of(logits, labels), classes)


def _evaluation(figures: ClassifierFigures) -> ClassifierEvaluation:
    return ClassifierEvaluation(figures, "runs/x", "photos", "test", 6490, 54_144, (), (), ())


@pytest.mark.parametrize("classes", [("cat", "dog"), tuple(f"a very long name of class {i}" for i in range(12))])
def test_the_matrix_fits_a_terminal(classes: tuple[str, ...]) -> None:
    figures = _figures(classes, 40_000)
    lines = [line.plain for line in matrix_lines(figures)]
    assert len(lines) == len(classes) + 1
    assert len(set(map(len, lines))) == 1
    assert len(lines[0]) <= TABLE_WIDTH
    for line, row in zip(lines[1:], figures.confusion.tolist(), strict=True):
        assert [int(cell) for cell in line.split()[-len(classes) :]] == row


def test_of_many_classes_the_worst_and_the_most_confused_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    figures = _figures(tuple(f"class-{number}" for number in range(1000)), 5000)
    for part in tables(_evaluation(figures)):
        stdout.print(part, markup=False)
    output = capsys.readouterr().out
    assert len(output.splitlines()) < 40
    worst, confused = figures.worst(10), figures.confusions(10)
    assert [row.split()[0] for row in output.partition("worst classes")[2].splitlines()[1:11]] == [
        one.name for one in worst
    ]
    rows = [row.split()[:3] for row in output.partition("taken for")[2].splitlines()[1:11]]
    assert rows == [[f"class-{one.true}", f"class-{one.predicted}", str(one.images)] for one in confused]


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_page_is_whole_and_asks_the_network_for_nothing(classes: int) -> None:
    figures = _figures(tuple(f"<b>class {number}</b> & 'co'" for number in range(classes)), 2000)
    source = evaluation_page(_evaluation(figures))
    page = Page(source)
    assert (page.open, page.wrong) == ([], [])
    assert "<b>class" not in source, "names are text"
    for _, attributes in page.tags:
        assert not re.match(r"https?:", attributes.get("src") or "")
    assert [found["href"] for name, found in page.tags if name == "a"] == ["https://arxiv.org/abs/1706.04599"]
    assert not [name for name, _ in page.tags if name == "link"]
    drawn = len(
        [found for kind in ("right", "wrong") for found in page.of("rect", kind) if "x" in found and "y" in found]
    )
    assert drawn == np.count_nonzero(figures.confusion), "a mark for every pair that occurs"
    assert len(page.of("rect", "fill")) == classes
    assert len(page.of("rect", "hit")) == sum(one.images > 0 for one in figures.calibration.bins)
    numbers = [found for name, found in page.tags if name == "text" and (found.get("class") or "").startswith("count")]
    assert len(numbers) == (np.count_nonzero(figures.confusion) if classes <= 20 else 0)


def test_a_page_without_a_mistake() -> None:
    labels = np.arange(3)
    figures = ClassifierFigures.of(Outcomes.of(np.eye(3) * 50, labels), ("a", "b", "c"))
    source = evaluation_page(_evaluation(figures))
    assert "No image is mistaken" in source
    assert "most confident mistakes" not in source
