"""A task that is a file of its own goes through every command, and is refused by name where it has nothing to offer."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoshrink.architecture import Architecture
from autoshrink.bundle import Facts, load, save
from autoshrink.cell import Cell, cell_of
from autoshrink.cli import run
from autoshrink.cost import count
from autoshrink.deploy.predict import open_exported
from autoshrink.networks import build
from autoshrink.store import read_record
from autoshrink.tasks import TASKS, task_of
from autoshrink.tasks.arrays import ArrayInterface, TrainedOnArrays

PLUGIN = ["--plugin", str(Path(__file__).parent / "plugins" / "toy_task.py")]
TINY = shlex.split("--epochs 3 --nodes 3 --finalists 1 --repeats 1 --threads 1 --hidden 12 --lr 0.01")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = sin(x0)·x1 + x2/2, which no straight line follows."""
    file, rng = tmp_path_factory.mktemp("toy") / "rows.npz", np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, rows in (("train", 300), ("validation", 100), ("test", 100)):
        x = rng.normal(size=(rows, 5))
        arrays |= {f"{split}_x": x, f"{split}_y": np.sin(x[:, 0]) * x[:, 1] + x[:, 2] / 2}
    np.savez(file, **arrays)
    return file


@pytest.fixture(scope="module")
def searched(data: Path) -> Path:
    """A finished search."""
    folder = data.parent / "run"
    arguments = ["search", "--task", "toy", "--data", str(data), "--run", str(folder), *TINY]
    assert run([*arguments, *PLUGIN]) == 0
    return folder


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run([*arguments, *PLUGIN]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run([*arguments, *PLUGIN]) == 2
    return capsys.readouterr().err


def test_a_search_learns_and_its_log_is_read_again(searched: Path, data: Path) -> None:
    record = read_record(searched)
    best = record.best()
    assert record.finished
    assert best is not None
    assert best.performance > 0.1, "R² of the mean is 0"
    assert record.settings.to_json()["width"] == 12
    assert record.settings.data.spec == str(data)
    assert record.start.kind == "dense"
    assert set(cell_of(record.start).ops[1:]) <= {"tanh", "relu"}


def test_resume_show_and_report_know_its_metric(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("resume", "show"):
        text = said([command, str(searched)], capsys)
        assert "R²" in text
        assert f"autoshrink craft {searched} -o " in text
    assert json.loads(said(["show", str(searched), "--json"], capsys))["metric"] == "R²"
    said(["report", str(searched)], capsys)
    page = (searched / "report.html").read_text()
    assert "Validation R²" in page
    assert "accuracy" not in page


def test_a_killed_search_goes_on_as_if_nothing_had_been(
    data: Path, searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoshrink.store import Store  # noqa: PLC0415 - patched here

    whole, append, left = read_record(searched), Store.append, [6]

    def stopping(self: Store, kind: str, body: dict[str, Any]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return append(self, kind, body)

    monkeypatch.setattr(Store, "append", stopping)
    folder = tmp_path / "run"
    assert run(["search", "--task", "toy", "--data", str(data), "--run", str(folder), *TINY, *PLUGIN]) == 130
    monkeypatch.undo()
    assert run(["resume", str(folder), *PLUGIN]) == 0
    again = read_record(folder)
    assert [one.evaluation.performance for one in again.candidates] == [
        one.evaluation.performance for one in whole.candidates
    ]


def test_craft_writes_the_network_of_the_search(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "toy.arch.json"
    text = said(["craft", str(searched), "-o", str(file)], capsys)
    assert "5 numbers, width 12" in text
    architecture = Architecture.read(file)
    assert task_of(architecture) is TASKS["toy"]
    counted = json.loads(said(["cost", str(file), "--json"], capsys))
    best = read_record(searched).best()
    assert best is not None
    assert counted["macs"] == best.recorded.resources["macs"]
    assert counted["params"] == sum(
        one["params"] for one in json.loads(said(["craft", str(file), "--json"], capsys))["stages"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["craft", "{run}", "--macs", "1M"],
            "task toy has no way to scale a network to a budget; leave the budget out",
        ),
        (["craft", "{run}", "--classes", "9"], "task toy has no classes to craft with"),
        (["search", "--task", "toy", "--data", "{data}", "--width", "9"], "network: there is no such setting"),
        (
            ["search", "--task", "toy", "--data", "{data}", "--evaluator", "zico", "--run", "{run}2"],
            "no gradients that ZiCo could score",
        ),
        (["search", "--task", "toy", "--data", "nothing.npz"], "nothing.npz: no .npz file"),
        (
            ["search", "--hidden", "9"],
            "setting width: there is no such setting for the task 'image'; it belongs to --task toy",
        ),
    ],
)
def test_what_it_does_not_provide_is_refused_by_name(
    arguments: list[str], message: str, searched: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused([part.format(run=searched, data=data) for part in arguments], capsys)


@pytest.fixture(scope="module")
def trained(searched: Path, data: Path) -> Path:
    """A trained model of the search's network."""
    file, folder = data.parent / "toy.arch.json", data.parent / "model"
    assert run(["craft", str(searched), "-o", str(file), *PLUGIN]) == 0
    options = shlex.split("--epochs 25 --threads 1 --set recipe.learning_rate=0.01")
    assert run(["train", str(file), "--data", str(data), "-o", str(folder), *options, *PLUGIN]) == 0
    return folder


def test_a_final_training_learns_more_than_a_search_and_is_gone_on_with(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = json.loads((trained / "curve.json").read_text())["validation_performance"]
    assert len(curve) == 25
    assert max(curve) > 0.5
    assert f"autoshrink evaluate {trained} " in said(["resume", str(trained)], capsys)
    from autoshrink.tasks.arrays.problem import ArrayLearner  # noqa: PLC0415 - patched here

    validate, left = ArrayLearner.validate, [7]

    def stopping(self: ArrayLearner) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return validate(self)

    monkeypatch.setattr(ArrayLearner, "validate", stopping)
    folder = tmp_path / "again"
    options = shlex.split("--epochs 25 --threads 1 --set recipe.learning_rate=0.01")
    arguments = ["train", str(data.parent / "toy.arch.json"), "--data", str(data), "-o", str(folder), *options]
    assert run([*arguments, *PLUGIN]) == 130
    monkeypatch.undo()
    assert run(["resume", str(folder), *PLUGIN]) == 0
    assert json.loads((folder / "curve.json").read_text())["validation_performance"] == curve


def test_a_model_and_its_exported_file_are_worth_the_same(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    file = trained.with_name("trained.onnx")
    assert "against PyTorch, on real inputs" in said(["export", str(trained), "-o", str(file)], capsys)
    found = [json.loads(said(["evaluate", str(of), "--json"], capsys)) for of in (trained, file)]
    assert found[0]["R²"] > 0.4
    assert found[0]["R²"] == pytest.approx(found[1]["R²"], abs=1e-5)
    assert (found[0]["rows"], found[0]["split"], found[0]["data"]) == (100, "test", str(data))
    assert "R²: 0." in said(["evaluate", str(trained), "--split", "validation"], capsys)
    assert "--report" in refused(["evaluate", str(trained), "--report", "page.html"], capsys)


def test_a_cell_of_its_kind_alone_can_be_shown_and_counted(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = searched / "best.cell.json"
    assert Cell.read(file).kind == "dense"
    assert "input" in said(["show", str(file)], capsys)
    assert "MACs" in said(["cost", str(file)], capsys)


@pytest.fixture(scope="module")
def exported(searched: Path, data: Path) -> Path:
    """An ONNX file of a network with weights of no meaning, compared on rows of the training data."""
    pytest.importorskip("onnxruntime")
    cell = Cell.read(searched / "best.cell.json")
    architecture = TASKS["toy"].default_network(cell, inputs=5)
    facts = Facts.model_validate({"epoch": 1, "performance": 0.0, "data": {"spec": str(data)}})
    model = TrainedOnArrays(architecture, build(architecture, seed=0), ArrayInterface((5,)), facts)
    (searched / "trained").mkdir()
    save(searched / "trained" / "model.safetensors", model)
    assert run(["export", str(searched / "trained"), "-o", str(searched / "toy.onnx"), *PLUGIN]) == 0
    return searched / "toy.onnx"


def test_its_network_is_exported_and_predicts_what_pytorch_does(
    exported: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.load(data)["test_x"].astype(np.float32)
    np.save(exported.with_name("rows.npy"), rows)
    outputs = json.loads(said(["predict", str(exported), str(exported.with_name("rows.npy")), "--json"], capsys))[
        "outputs"
    ]
    model = load(exported.with_name("trained"))
    with torch.no_grad():
        expected = model.network(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(outputs["outputs"], expected, atol=1e-5)
    found = open_exported(exported)
    # One sample without the axis of samples, and numbers of twice the precision, are what they are meant to be.
    alone = found.run(rows[0].astype(np.float64))["outputs"]
    np.testing.assert_allclose(alone, expected[:1], atol=1e-5)
    assert (found.card.task, found.card.interface, found.facts["data"]) == (
        "toy",
        ArrayInterface((5,)),
        {"spec": str(data)},
    )
    assert found.params == count(model.architecture).params


def test_exported_files_of_it_are_refused_by_name_where_there_is_no_more(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = str(exported.with_name("trained")), str(exported)

    def wrong(name: str, array: np.ndarray) -> str:
        np.save(tmp_path / f"{name}.npy", array)
        return str(tmp_path / f"{name}.npy")

    for arguments, message in (
        (["export", folder, "-o", str(tmp_path / "a.onnx"), "--int8"], "task toy has no int8"),
        (["export", folder, "--source", str(tmp_path / "source")], "task toy has no plain source; export it as ONNX"),
        (["predict", file], "give it samples, one .npy file for each of its inputs"),
        (["predict", file, str(exported)], "no array in a .npy file"),
        (
            ["predict", file, wrong("a", np.zeros((2, 4)))],
            "inputs: takes an array of shape (n, 5), and this has (2, 4)",
        ),
        (["predict", file, wrong("b", np.zeros(5, dtype=complex))], "of kind float32, and this array holds complex128"),
        (["predict", file, "--prompt", "a"], "--prompt: it goes with language models, and"),
    ):
        assert message in refused(arguments, capsys).replace("\n", " ")


def test_the_page_on_tasks_shows_the_file_as_it_is() -> None:
    root = Path(__file__).parent.parent
    assert (root / "tests" / "plugins" / "toy_task.py").read_text() in (root / "docs" / "tasks.md").read_text()


def test_a_chain_stands_beside_at_the_same_cost(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_record(searched)
    found = record.found()
    assert found is not None
    limit = record.settings.score.cost(found.recorded.resources)
    beside = record.beside_figures()
    assert {one.role for one, _ in beside} <= {"start", "chain", "random"}
    assert beside
    assert all(0.7 * limit < one.recorded.resources.macs <= limit for _, one in beside), "a width is a coarse step"
    assert "at equal cost" in said(["show", str(searched)], capsys)
