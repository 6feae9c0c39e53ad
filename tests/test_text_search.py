"""Searches of recurrent cells on text, end to end; and a law: only a task's own code knows which task it is."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest

import autoshrink
from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.design import edges_of
from autoshrink.errors import DataError, InputError
from autoshrink.record import RunRecord
from autoshrink.results import summary
from autoshrink.store import read_record
from fakes import story
from text_fixtures import SEARCH, corpus, deaths_until_done

TINY: dict[str, Any] = {
    "beside": (),
    "evaluator": "trained",
    "task": "text",
    "nodes": 4,
    "candidates": 2,
    "finalists": 2,
    "repeats": 1,
    "data": {"sentences": 50, "validation_sentences": 15, "max_vocabulary": 100},
    "recipe": {"epochs": 2, "batch": 4, "bptt": 15, "learning_rate": 4.0, "drops": []},
    "network": {"width": 6},
    "threads": 1,
}


def _on(text: Path, **changes: Any) -> dict[str, Any]:
    """A search on a text of one's own; a section in `changes` is laid over that of `TINY`."""
    base = TINY | {"data": TINY["data"] | {"spec": str(text), "min_count": 1}}
    merged = {
        name: base[name] | value if isinstance(value, dict) and isinstance(base.get(name), dict) else value
        for name, value in changes.items()
    }
    return base | merged


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """An undisturbed search."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    autoshrink.search(_on(text), run=folder)
    return folder


def _edges(record: RunRecord) -> list[int]:
    """Of the cell of each step."""
    edges = [len(one.cell.edges) for one in record.chosen()]
    assert edges == sorted(set(edges), reverse=True)
    return edges


def _is_whole(record: RunRecord) -> None:
    """Shrunk from the complete graph to nothing, each figure consistent with the others."""
    best, complete = record.best(), record.complete()
    assert record.finished
    assert best is not None
    assert complete is not None
    assert best.cell.kind == "recurrent"
    assert len(complete.cell.edges) == 6
    assert (_edges(record)[0], _edges(record)[-1]) == (6, 0)
    for one in record.candidates:
        assert one.evaluation.parts is not None
        mean = sum(one.evaluation.parts) / len(one.evaluation.parts)
        assert mean == pytest.approx(one.evaluation.performance, rel=1e-9)
        assert one.evaluation.correct is None
        edges = len(one.cell.edges)
        assert one.evaluation.resources["cell_params"] == (4 + 2 * edges) * 6**2


# End to end


def test_pydocs_is_searched(tmp_path: Path) -> None:
    record = autoshrink.search(TINY | {"stop": {"edges": 3}, "repeats": 0}, run=tmp_path / "run")
    assert record.data["name"] == "pydocs"
    assert record.data["vocabulary"] == 100
    assert (record.data["sentences"], record.data["validation_sentences"]) == (50, 15)
    assert 0 < record.data["unknown_share"] < 1
    assert _edges(record)[-1] <= 3


def test_a_text_of_ones_own_is_searched(whole: Path, text: Path) -> None:
    record = read_record(whole)
    _is_whole(record)
    assert record.data["name"] == text.name
    assert record.data["level"] == "word"
    assert record.data["vocabulary"] == 14
    assert record.data["train"] == 50 * 6
    best = record.best()
    assert best is not None
    assert math.exp(-best.performance) < 14 / 2
    assert Cell.read(whole / "best.cell.json") == best.cell


def test_one_file_is_searched_by_characters(text: Path, tmp_path: Path) -> None:
    file = text / "train.txt"
    record = autoshrink.search(_on(file, data={"level": "char"}), run=tmp_path / "run")
    _is_whole(record)
    assert record.data["level"] == "char"
    assert record.data["vocabulary"] < 30
    assert any("no validation and no test text is given" in note for note in record.data["notes"])


def test_costs_are_tokens(whole: Path) -> None:
    record = read_record(whole)
    for one in record.candidates:
        if one.same_as is None:
            spent = one.evaluation.spent
            assert spent.samples == 2 * 300
            assert spent.training_macs == one.evaluation.resources.macs * 2 * (3 * 300 + 15 * 6)
    assert summary(record, run=whole)["cost"]["tokens"] == record.spent().samples


def test_results_say_perplexity(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = summary(read_record(whole), run=whole)
    assert (found["task"], found["metric"]) == ("text", "perplexity")
    for figures in (found["best"], found["complete"]):
        assert figures["perplexity"] == pytest.approx(math.exp(-figures["performance"]))
        assert "accuracy" not in figures
    report = (whole / "report.html").read_text()
    assert "perplexity" in report
    assert "accuracy" not in report
    assert "image" not in re.sub(r"<svg.*?</svg>|<style.*?</style>|data:image/", "", report, flags=re.DOTALL)
    assert run(["show", str(whole), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found))
    assert run(["show", str(whole)]) == 0
    output = capsys.readouterr().out
    assert "perplexity" in output
    assert "accuracy" not in output
    front = json.loads((whole / "front.json").read_text())
    assert all("perplexity" in one for one in front)


def test_the_command_line_searches_text(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    options = (
        f"--task text --data {text} --nodes 3 --candidates 2 --finalists 1 --repeats 0 --sentences 50 --width 6 "
        "--validation-sentences 15 --vocabulary 100 --epochs 1 --batch 8 --lr 10 --threads 1 --until-edges 1"
    )
    assert run(["search", "--run", str(folder), *options.split(), "--json"]) == 0
    output, progress = capsys.readouterr()
    assert json.loads(output)["metric"] == "perplexity"
    assert "perplexity" in progress
    assert "accuracy" not in progress
    # The cell that was found can be trained on the whole text at once.
    command = f"train {folder}/best.cell.json --data {text} -o {tmp_path}/model --width 6 --epochs 1 --batch 4"
    assert run([*command.split(), "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["perplexity"] > 1


# The same again


def test_the_same_seed_is_the_same_search_and_another_is_not(whole: Path, text: Path, tmp_path: Path) -> None:
    autoshrink.search(_on(text), run=tmp_path / "again")
    assert story(tmp_path / "again") == story(whole)
    other = autoshrink.search(_on(text, seed=1), run=tmp_path / "other")
    assert [one.cell for one in other.chosen()] != [one.cell for one in read_record(whole).chosen()]


def test_killed_at_random_times_it_ends_the_same(whole: Path, text: Path, tmp_path: Path) -> None:
    assert deaths_until_done(SEARCH, tmp_path / "run", json.dumps(_on(text))) > 0
    assert story(tmp_path / "run") == story(whole)


def test_a_changed_text_is_not_resumed(tmp_path: Path) -> None:
    mine = corpus(tmp_path / "corpus")

    class Stopped(BaseException):
        pass

    def stop(*_: Any) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        autoshrink.search(_on(mine), run=tmp_path / "run", observer=autoshrink.Observer(on_epoch=stop))
    original = (mine / "train.txt").read_text()
    (mine / "train.txt").write_text(original.replace("milk", "bones"))
    with pytest.raises(DataError, match=r"the data are not those that .*run began with; restore them"):
        autoshrink.resume(tmp_path / "run")
    (mine / "train.txt").write_text(original)
    assert autoshrink.resume(tmp_path / "run").finished


# Paper mode


def test_paper_mode_follows_the_released_search(text: Path, tmp_path: Path) -> None:
    """S = ¼·(200 − perplexity) − log10(|E|·n² / 10⁶); an end at four edges; every candidate its own seed."""
    record = autoshrink.search(_on(text, mode="paper", candidates=3), run=tmp_path / "run")
    assert record.finished
    assert edges_of(record.start) == 6
    # Without its first edge the complete graph loses a node, and ends below four.
    assert _edges(record)[-1] <= 4 < _edges(record)[-2]
    assert len({one.evaluation.seed for one in record.candidates}) == len(record.candidates)
    for one in record.usable():
        assert one.performance is not None
        expected = (200 - math.exp(-one.performance)) / 4 - math.log10(len(one.cell.edges) * 6**2 / 1e6)
        assert record.settings.score(one) == pytest.approx(expected, rel=1e-12)
    best = record.best()
    assert best is not None
    recorded = {one.cell.key: record.settings.score(one) for one in record.usable()}
    assert recorded[best.cell.key] == max(recorded.values()), "named by recorded S, whatever fresh seeds gave"
    # The first sentences, in order, and not random ones: the words of the validation text are known too.
    assert record.data["unknown_share"] == 0


# Refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"size": 32}}, "setting data.size: there is no such setting for the task 'text'; it belongs to --t"),
        ({"network": {"stem": 4}}, "setting network.stem: .* it belongs to --task image"),
        ({"network": {"wydth": 4}}, "setting network.wydth: there is no such setting for the task 'text'; did you"),
        ({"start": "conv.cell.json", "nodes": 2}, "conv.cell.json: a conv cell cannot start a search for recurr"),
        ({"start": "gone.cell.json"}, "gone.cell.json: no such file"),
        ({"limits": {"max_params": 9}}, r"--max-params 9: even the smallest cell costs [\d,]+ here; raise it, or"),
        ({"limits": {"max_macs": 9}}, "--max-macs 9: even the smallest cell costs"),
        ({"limits": {"max_memory": 9}}, "--max-memory 9 bytes: even the smallest cell costs"),
        ({"data": {"spec": "nowhere"}}, "no data set and no path is called nowhere"),
        ({"data": {"level": "syllable"}}, "setting data.level: "),
        ({"recipe": {"learning_rate": 0}}, "setting recipe.learning_rate: "),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_a_run_begins(
    changes: dict[str, Any], message: str, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conv.cell.json").write_text(json.dumps(Cell("conv", ("input", "conv1x1"), ((0, 1),)).to_json()))
    with pytest.raises(InputError, match=message):
        autoshrink.search(_on(text, **changes), run="run")
    assert not Path("run").exists()


def test_options_of_images_are_refused_for_text_with_a_hint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["search", "--task", "text", "--size", "32", "--run", str(tmp_path / "run")]) == 2
    complaint = capsys.readouterr().err
    assert "there is no such setting for the task 'text'; it belongs to --task image" in complaint
    assert "Traceback" not in complaint


def test_limits_are_kept(text: Path, tmp_path: Path) -> None:
    record = autoshrink.search(_on(text, limits={"max_params": 450}), run=tmp_path / "run")
    assert record.start is not None
    best = record.best()
    assert best is not None
    assert best.recorded.resources.params <= 450 < max(one.evaluation.resources.params for one in record.candidates)


def test_a_search_may_begin_at_a_recurrent_cell_file(text: Path, tmp_path: Path) -> None:
    cell = Cell("recurrent", ("input", "relu", "sigmoid"), ((0, 1), (0, 2), (1, 2)))
    (tmp_path / "mine.cell.json").write_text(json.dumps(cell.to_json()))
    record = autoshrink.search(
        _on(text, start=str(tmp_path / "mine.cell.json"), nodes=3, repeats=0), run=tmp_path / "run"
    )
    assert record.start == cell


@pytest.mark.data
@pytest.mark.skipif("AUTOSHRINK_DATA" not in os.environ, reason="AUTOSHRINK_DATA does not name a folder with ptb")
def test_penn_treebank_is_searched(tmp_path: Path) -> None:
    settings = TINY | {
        "data": TINY["data"] | {"spec": "ptb", "max_vocabulary": 1000, "min_count": 1, "sentences": 400},
        "stop": {"edges": 5},
    }
    record = autoshrink.search(settings, run=tmp_path / "run")
    assert record.data["vocabulary"] <= 1000
    assert record.best() is not None
