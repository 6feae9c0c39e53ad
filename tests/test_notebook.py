"""What a notebook shows: pictures and tables, and nothing that is obeyed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autoshrink import Cell, load, proxy_architecture, read_record
from autoshrink.notebook import html_of
from autoshrink.record import RunRecord
from autoshrink.zoo import names
from fakes import new_store
from live_fixtures import HOSTILE, finished_run

CELL = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))


class Read(HTMLParser):
    """The elements, and the text, of HTML in which every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_a_cell_shows_its_edges() -> None:
    html = CELL._repr_html_()
    assert html.count('data-edge="') == 3
    assert "3 edges" in Read(html).text


def test_an_architecture_shows_its_cell_and_what_it_costs() -> None:
    html = proxy_architecture(CELL, shape=(3, 32, 32), classes=10)._repr_html_()
    assert html.count('data-edge="') == 3
    assert "3×32×32" in html


@pytest.mark.parametrize("name", names())
def test_every_published_network_has_a_picture(name: str) -> None:
    read = Read(load(name)._repr_html_())
    assert "table" in read.tags
    assert "script" not in read.tags


def test_a_run_shows_what_it_found_beside_its_start(tmp_path: Path) -> None:
    record = read_record(finished_run(tmp_path / "run"))
    read = Read(record._repr_html_())
    assert "svg" in read.tags
    assert "accuracy" in read.text
    best = record.best()
    assert best is not None
    assert f"{best.recorded.resources.macs:,}" in read.text


def test_a_run_that_has_found_nothing_says_so(tmp_path: Path) -> None:
    new_store(tmp_path / "run").close()
    assert "nothing decided yet" in Read(read_record(tmp_path / "run")._repr_html_()).text


def test_names_that_are_markup_stay_text(tmp_path: Path) -> None:
    record: RunRecord = read_record(finished_run(tmp_path / "run"))
    best = record.best()
    assert best is not None
    named = replace(record, names={one.design.key: HOSTILE for one in record.candidates}, stopped=HOSTILE)
    for one in (record, named):
        read = Read(one._repr_html_())
        assert "script" not in read.tags


def test_what_has_no_picture_is_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        html_of(3)


def test_neither_torch_nor_the_extra_is_needed() -> None:
    code = """
import sys
for name in ("torch", "starlette", "uvicorn", "sse_starlette"):
    sys.modules[name] = None
import autoshrink
print(len(autoshrink.load("shrinkcnn-a")._repr_html_()))
try:
    autoshrink.watch(".")
except autoshrink.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, said = done.stdout.splitlines()
    assert int(size) > 1000
    assert "pip install 'autoshrink[live]'" in said
