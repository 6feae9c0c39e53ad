"""What the command line tells a person of a run: its result, its steps, and how long it will take."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from autoshrink import formatting
from autoshrink.cli import run
from autoshrink.cli.result import print_front, print_result
from autoshrink.config import TextSettings
from autoshrink.evaluation import Job
from autoshrink.progress import observed, step_line
from autoshrink.record import RunRecord
from autoshrink.run import Loop
from autoshrink.score import Comparison, Evaluation, Spent
from autoshrink.watching import Progress
from fakes import FakeEvaluator, new_store
from test_report import FakeRun, text, usual


def printed(record: RunRecord, capsys: pytest.CaptureFixture[str]) -> str:
    print_front(record)
    print_result(record, Path("runs/it"))
    return capsys.readouterr().out


def test_a_text_run_is_told_in_perplexity_and_cell_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    record = text().search(candidates=3).finish().record()
    best, start = record.best(), record.complete()
    assert best is not None
    assert start is not None
    settings = record.settings
    assert isinstance(settings, TextSettings)
    told = printed(record, capsys)
    new, old = best.recorded.resources["cell_params"], start.recorded.resources["cell_params"]
    ratio = math.exp(start.performance - best.performance)
    for wanted in (
        "new hidden state h = mean(",
        "cell params",
        f"{new:,}",
        f"{math.exp(-best.performance):.2f} ± ",
        f"{round(100 * (new / old - 1))} % cell parameters, perplexity ".replace("-", "−"),
        f"({formatting.plain(formatting.change(ratio, 1.0))}) against it (mean of 3 fresh seeds).",
        "1,900,000 tokens",
        f"autoshrink cost runs/it/best.cell.json --vocabulary 2000 --width {settings.network.width} ",
        "autoshrink train runs/it/best.cell.json --data pydocs -o runs/it/trained ",
        "autoshrink search --task text --data path/to/text.txt ",
    ):
        assert wanted in told, wanted
    assert "accuracy" not in told


def test_an_image_run_is_told_in_accuracy_and_macs(capsys: pytest.CaptureFixture[str]) -> None:
    record = usual().search(candidates=5).finish().record()
    best = record.best()
    assert best is not None
    told = printed(record, capsys)
    for wanted in (
        f"{100 * best.performance:.2f} ± ",
        " % MACs, accuracy ",
        " points against it (mean of 3 fresh seeds).",
        "autoshrink craft runs/it --macs ",
        "autoshrink train runs/it/best.arch.json --data digits -o runs/it/trained ",
        "autoshrink search --data path/to/images --size 32 ",
    ):
        assert wanted in told, wanted
    assert "perplexity" not in told
    assert "cell params" not in told


def test_a_step_is_a_line_in_the_terms_of_its_task() -> None:
    image, language = (run.search(1, candidates=3).record().of_step(1)[1] for run in (usual(), text()))
    image = replace(image, evaluation=replace(image.evaluation, performance=0.972, reason=None))
    language = replace(language, evaluation=replace(language.evaluation, performance=-math.log(231.4), reason=None))
    edge, other = ("−({},{})".format(*(one.edge or ())) for one in (image, language))
    costs = image.evaluation.resources, language.evaluation.resources
    assert step_line(image, 0.95, Comparison(0.004, 0.002)) == (
        f"step   1  {edge:<8} {len(image.cell.edges)} edges   S 0.9500   accuracy 97.20 %   "
        f"{formatting.quantity(costs[0].macs)} MACs   +0.40 ± 0.20 points to the next"
    )
    assert step_line(language, -5.4321, Comparison(0.03, 0.002)) == (
        f"step   1  {other:<8} {len(language.cell.edges)} edges   S −5.4321   perplexity 231.40   "
        f"{formatting.quantity(costs[1]['cell_params'])} cell parameters   −7.05 ± 0.46 (−3 %) to the next"
    )


@pytest.mark.parametrize(
    ("begun", "options"), [(usual, "--size 16 --nodes 6"), (text, "--sentences 1000 --width 50 --epochs 3")]
)
def test_a_long_search_is_told_options_of_its_own_task(begun: Callable[[], FakeRun], options: str) -> None:
    latest = begun().search(0).record().candidates[0].evaluation
    console = Console(file=io.StringIO(), width=200, color_system=None)
    progress = Progress("search", 1, 15, 15, 0, 3, latest, None, None, 1e5)
    with observed(console, lambda _: None) as observer:
        observer.watcher.progress(replace(progress, latest=None))
        observer.watcher.progress(progress)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count("note: ") == 1
    assert options in console.file.getvalue()


def watch(folder: Path, *, terminal: bool) -> str:
    """What a console shows of a run."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with observed(console, lambda _: None) as observer, new_store(folder) as store:
        Loop(store, FakeEvaluator(), watcher=observer.watcher).run()
        observer.remark("mind the gap")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_there_is_a_line_a_step(tmp_path: Path) -> None:
    lines = watch(tmp_path / "run", terminal=False).splitlines()
    assert lines[0].startswith("step 0, 6 of 6 edges: 1 of 1 candidate; about ")
    assert lines[0].endswith(" left"), "how long it will take is said after the first candidate"
    steps = [line for line in lines if line.startswith("step  ")]
    assert len(steps) == len(lines) - 2
    assert steps[0].startswith("step   0  start     6 edges   S ")
    assert lines[-1] == "note: mind the gap"
    assert not any("\x1b" in line for line in lines)


class WeeksEvaluator(FakeEvaluator):
    def _measure(self, job: Job) -> Evaluation:
        return replace(super()._measure(job), spent=Spent(seconds=3600.0))


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_search_is_announced_once(tmp_path: Path, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    with observed(console, lambda _: None) as observer, new_store(tmp_path / "run") as store:
        Loop(store, WeeksEvaluator(), watcher=observer.watcher).run()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("this search will take about ") == 1
    assert "for a first look: --time-limit 1h" in shown


def test_on_a_terminal_it_is_live(tmp_path: Path) -> None:
    shown = watch(tmp_path / "run", terminal=True)
    for wanted in ("of 6 edges left", "candidates", "best so far: S ", "about ", "left", "fresh seed 2"):
        assert wanted in shown


@pytest.mark.parametrize(
    ("given", "suggested"),
    [
        (("train", "valid"), "--split validation   its perplexity on the validation text; there is no test text"),
        (("train", "valid", "test"), "  its perplexity on the test split"),
        (("all",), "  its perplexity on the test split"),
    ],
)
def test_the_split_that_a_training_suggests_is_there(
    given: tuple[str, ...], suggested: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").mkdir()
    for number, split in enumerate(given):
        lines = [f"{'abc'[(line + number) % 3]} {'def'[line % 3]} x y z" for line in range(300)]
        (tmp_path / "text" / f"{split}.txt").write_text("\n".join(lines))
    model = str(tmp_path / "model")
    options = ["--width", "4", "--epochs", "1", "--batch", "4", "--threads", "1"]
    assert run(["train", "gru", "--data", str(tmp_path / "text"), "-o", model, *options]) == 0
    line = f"  autoshrink evaluate {model} {suggested}"
    assert line in capsys.readouterr().out
    assert run(line.partition("   its")[0].split()[1:]) == 0


COUNTED = re.compile(
    r"(?<![\d,.] of )(?<![\d.,×])\b1 (?:[a-z]+ )?"
    r"(?:images|classes|epochs|tokens|sentences|candidates|files|operations|edges|cells|steps)\b"
)


def test_one_of_a_kind_is_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, words_of = tmp_path / "photos", tmp_path / "text"
    for number, name in enumerate(("train/a", "train/b", "train/c", "test/a")):
        (photos / name).mkdir(parents=True)
        for one in range(2 if name.startswith("train") else 1):
            Image.new("L", (8, 8), 60 * number + one).save(photos / name / f"{one}.png")
    words_of.mkdir()
    (words_of / "train.txt").write_text("a b c d\n" * 300)
    (words_of / "notes.pdf").write_bytes(b"x")
    small, model = str(tmp_path / "small.arch.json"), str(tmp_path / "model")
    commands = [
        f"craft shrinkcnn-a --stages 1x4 --stem 4 --head none --input 1x8x8 --classes 3 -o {small}",
        f"train {small} --data {photos} -o {model} --epochs 1 --batch 2 --threads 1",
        f"evaluate {model}",
        f"export {model} -o {tmp_path / 'model.onnx'} --int8 --calibration 1",
        f"train gru --data {words_of} -o {tmp_path / 'writes'} --width 4 --epochs 1 --batch 4 --threads 1",
    ]
    told = ""
    for command in commands:
        assert run(command.split()) == 0, capsys.readouterr().err
        output, errors = capsys.readouterr()
        told += output + errors
    assert not COUNTED.findall(told), told
    for right in ("on 1 image of", "1 file is ignored"):
        assert right in told, told
