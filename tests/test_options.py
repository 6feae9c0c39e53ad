"""What holds for the options of every command: quantities have one meaning, nothing is empty, nothing is said twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoshrink.architecture import LibraryArchitecture
from autoshrink.bundle import save
from autoshrink.cell import Cell
from autoshrink.cli import quantities, run
from autoshrink.cli.app import app
from autoshrink.cli.command import MAY_BE_EMPTY
from autoshrink.config import resolve
from autoshrink.errors import InputError
from autoshrink.resources import BYTES, NANOSECONDS
from autoshrink.training.device import choose_device
from deploy_fixtures import DIGITS, classifier, language

COMMANDS = typer.main.get_command(app)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *, lines: int = 2) -> str:
    """The message of a command that must end with 2 and a line or two."""
    capsys.readouterr()
    assert run(arguments) == 2, arguments
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") <= lines, errors
    return errors


# Quantities


UNITS = {"": 1, "k": 10**3, "M": 10**6, "g": 10**9}
Reader = Callable[[str], float]
READERS: dict[str, Reader] = {
    "h": quantities.seconds,
    "ms": partial(quantities.amount, NANOSECONDS),
    "KiB": partial(quantities.amount, BYTES),
}

BINARY = {"KiB": 2**10, "mib": 2**20, "kB": 1000, "B": 1, "MB": 10**6}


@given(st.integers(1, 10**9 - 1), st.integers(0, 999), st.sampled_from(sorted(UNITS)))
def test_a_count_is_exact_and_rounded_down(whole: int, thousandths: int, unit: str) -> None:
    expected = int((whole + Fraction(thousandths, 1000)) * UNITS[unit])
    for text in (f"{whole}.{thousandths:03}{unit}", f" {whole}.{thousandths:03} {unit.upper()} "):
        found = quantities.count(text)
        assert found == expected
        assert json.dumps(found) == str(expected)
        assert found.text == text.strip()


@given(st.integers(10**6, 10**9), st.sampled_from(sorted(BINARY)))
def test_groups_of_three_digits_are_read(number: int, unit: str) -> None:
    for text in (f"{number:,}{unit}", f"{number:_}{unit}", f"{number}{unit}"):
        assert quantities.amount(BYTES, text) == number * BINARY[unit]


@given(st.integers(0, 99), st.integers(0, 10**4), st.sampled_from(["k", "M", "h", "ms", "KiB"]))
def test_a_comma_with_two_readings_is_refused_with_both(whole: int, part: int, unit: str) -> None:
    read: Reader = READERS.get(unit, quantities.count)
    with pytest.raises(typer.BadParameter) as told:
        read(f"{whole},{part}{unit}")
    assert f"may be {whole}.{part}{unit} or {whole}{part}{unit}" in str(told.value)


@given(st.text(alphabet="0123456789.,_eE+-−kKMmgibB s²٣５xnaf", max_size=12))
def test_whatever_is_typed_is_a_number_or_refused(text: str) -> None:
    for read in (quantities.count, *READERS.values()):
        try:
            found: Any = read(text)
        except typer.BadParameter as error:
            assert len(str(error)) < 300  # noqa: PT017 - any number of refusals
        else:
            assert 0 < found <= quantities.MOST


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,000", 1000), ("1,234,567", 1_234_567), ("5e6", 5_000_000), (".5k", 500), ("1,234.5k", 1_234_500)],
)
def test_counts_that_have_one_reading(text: str, value: int) -> None:
    assert quantities.count(text) == value


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--params", "3,6M", "may be 3.6M or 36M"),
        ("--params", "3,600M", "may be 3.600M or 3600M"),
        ("--params", "1B", "B is for bytes; a billion is 1G"),
        ("--params", "1.000.000", "write 1000000 if that is meant"),
        ("--params", "-5M", "it is not above zero"),
        ("--params", "0", "it is not above zero"),
        ("--params", ".5", "it is less than one"),
        ("--params", "1e30", "it is more than 1e+18"),
        ("--params", "0x10", "'x10' is none of k, m, g, t"),
        ("--params", "5 parsecs", "'parsecs' is none of"),
        ("--params", "inf", "is not a count such as"),
        ("--params", "²", "is not a number in plain digits"),
        ("--params", "５M", "is not a number in plain digits"),
        ("--params", "1" * 5000, "is not a number in plain digits"),
        ("--memory", "5 foo", "'foo' is none of"),
        ("--latency", "5", "the unit is missing"),
        ("--input", "3x0x9", "is not a shape such as 3x224x224"),
        ("--input", "9x9", "is not channels, height and width"),
        ("--stages", "1x²", "write cells x width"),
        ("--head", "²", "neither a number of channels nor none"),
        ("--stem", "²", "is not a stem such as"),
        ("--classes", "１０", "is not a number in plain digits"),
        ("--classes", "10,0", "valid integer"),
    ],
)
def test_numbers_that_are_none_are_refused(
    option: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(["craft", "shrinkcnn-a", option, text], capsys)
    assert message in told
    assert len(told) < 400


# Nothing is empty


def parameters() -> Iterator[tuple[Any, Any]]:
    """Every command with each of its options and arguments that takes a value."""
    groups: Any = COMMANDS
    commands = groups.commands | groups.commands["data"].commands
    for name, command in commands.items():
        for parameter in command.params if name != "data" else ():
            if not getattr(parameter, "is_flag", False):
                yield command, parameter


def test_no_value_may_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(parameters())
    assert len(found) > 100
    for command, parameter in found:
        if parameter.name in MAY_BE_EMPTY:
            continue
        for empty in ("", " ", "\t\n"):
            option = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
            before = ["x.onnx"] if parameter.name == "images" else []
            with pytest.raises(typer.BadParameter, match="is empty; give a value, or leave it out"):
                command.make_context(command.name, [*before, *option, empty])
    for arguments in (["search", "--run", ""], ["search", "--data", " "], ["predict", "x.onnx", ""]):
        assert "is empty; give a value, or leave it out" in refused(arguments, capsys)


def test_a_setting_without_data_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "setting data.spec: " in refused(["search", "--set", "data.spec="], capsys)


# Nothing is said twice


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seed", "1", "--seed", "2"], "'--seed': it is given twice; leave all but one out"),
        (["--seed=1", "--seed", "1", "--seed=3"], "'--seed': it is given 3 times; leave all but one out"),
        (["--augment", "--no-augment"], "'--augment': it is given twice"),
        (["--epochs", "3", "--set", "recipe.epochs=4"], "--epochs 3 and --set recipe.epochs=4: two values for one"),
        (["--epochs", "3", "--set", 'recipe={"epochs":4}'], "--epochs 3 and --set recipe={"),
        (["--set", "recipe.epochs=3", "--set", "recipe.epochs=4"], "--set recipe.epochs=3 and --set recipe.epochs=4:"),
        (["--set", "recipe=3", "--set", "recipe.epochs=4"], "--set recipe=3 and --set recipe.epochs=4: "),
        (["--no-augment", "--set", "recipe.augment=true"], "--no-augment and --set recipe.augment=true: two values"),
        (["--widths", "8,16", "--set", "network.widths=[8]"], "--widths 8,16 and --set network.widths=[8]: two values"),
        (["--max-memory", "9KiB", "--set", "limits.max_memory=9"], "--max-memory 9KiB and --set limits.max_memory=9:"),
        (["--time-limit", "9s", "--set", "stop.seconds=8"], "--time-limit 9.0 and --set stop.seconds=8: two values"),
        (["--vocabulary", "9", "--set", "data.max_vocabulary=8"], "--vocabulary 9 and --set data.max_vocabulary=8:"),
    ],
)
def test_two_values_for_one_setting_are_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(["search", *arguments], capsys)


def test_a_training_refuses_two_values_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = ["train", "shrinkcnn-a", "--data", "digits", "-o", str(tmp_path / "model")]
    told = refused([*training, "--lr", ".1", "--set", "recipe.learning_rate=.2"], capsys)
    assert "--lr 0.1 and --set recipe.learning_rate=.2: two values for one setting; leave one out" in told
    assert not list(tmp_path.iterdir())


def test_the_same_said_twice_is_no_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["search", "--epochs", "3", "--set", "recipe.epochs=3", "--start", "ring"], capsys)
    assert "start 'ring' is unknown" in told


# Contradictions


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--mode paper --evaluator inherited", "--evaluator inherited and --mode paper, which trains every candidate"),
        ("--mode paper --filter zico", "--filter zico and --mode paper, which draws its candidates, contradict"),
        ("--task text --mode paper --resource params", "--resource params and formula=released-text, which weighs"),
        ("--start er:0", "start 'er:0': joins no two nodes"),
        ("--start mine.cell.json --nodes 5", "--nodes 5 and --start mine.cell.json, a cell of 3 nodes, contradict"),
        ("--start complete --set start=er:.5", "--start complete and --set start=er:.5: two values for one setting"),
        ("--task image --set task=text", "--task image and --set task=text: two values for one setting"),
    ],
)
def test_contradictions_are_refused(
    arguments: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cell = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
    Path("mine.cell.json").write_text(json.dumps(cell.to_json()))
    assert told in refused(["search", *arguments.split()], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.cell.json"]


def test_what_changes_the_papers_procedure_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--mode paper --set recipe.overfit_ratio=4 --epochs 3 --start ring"
    said = refused(["search", *arguments.split()], capsys, lines=3)
    assert "note: --mode paper has recipe.overfit_ratio 3.0; 4, which you asked for, counts" in said
    assert "epochs" not in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "--evaluator trained --set playoff.cells=3",
            "playoff.cells has no effect: only --evaluator inherited",
        ),
        ("--evaluator zico --set inherit.tune=3", "inherit.tune has no effect: only --evaluator inherited reads it"),
        ("--evaluator inherited --set population=3", "population has no effect: only --evaluator trained reads it"),
        ("--candidates all --filter zico", "filter has no effect: only --candidates K reads it"),
    ],
)
def test_what_has_no_effect_is_said(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["search", "--start", "ring", *arguments.split()], capsys, lines=3)
    assert f"note: setting {told}" in said


def test_a_default_said_aloud_contradicts_nothing() -> None:
    chosen = resolve({"mode": "paper", "evaluator": "trained", "filter": "none", "playoff": {"cells": 5}})
    assert chosen.evaluator == "trained"
    assert resolve(chosen.to_json()) == chosen


# Threads, processes, devices


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("search --threads 100000", "'--threads': 100,000 threads are too many: at most "),
        ("search --threads 0", "'--threads': '0' is not a number of threads: 1, or more"),
        ("train lstm -o m --threads -1", "'--threads': '-1' is not a number of threads: 1, or more"),
        ("train lstm -o m --threads 9999", "'--threads': 9,999 threads are too many"),
        ("train shrinkcnn-a -o m --workers 9999", "'--workers': 9,999 processes are too many"),
        ("train shrinkcnn-a -o m --workers -1", "'--workers': '-1' is not a number of processes: 0, or more"),
        ("latency shrinkcnn-a --threads 9999", "'--threads': 9,999 threads are too many"),
        ("predict x.onnx x.png --threads 9999", "'--threads': 9,999 threads are too many"),
        ("craft shrinkcnn-a --latency 5ms --threads 9999", "'--threads': 9,999 threads are too many"),
        ("reproduce table4 --threads 9999", "'--threads': 9,999 threads are too many"),
    ],
)
def test_too_many_threads_are_refused(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(arguments.split(), capsys)


def test_a_device_that_is_not_there_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(name: str) -> str:
        with pytest.raises(InputError) as error:
            choose_device(name)
        return str(error.value)

    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert "device 'mps': only Macs with an Apple GPU have it" in told("mps")
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: False)
    for name in ("cuda", "cuda:7"):
        assert f"device '{name}': the installed torch {torch.__version__} is built without CUDA; install " in told(name)
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "finds no CUDA GPU here" in told("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert told("cuda:7") == "device 'cuda:7': there is one CUDA GPU here, cuda:0"
    assert "device 'tpu' is unknown; there are auto, cpu, cuda" in told("tpu")


# Nothing is left unread


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`image` and `text`, trained models, and `image.onnx` and `text.onnx`, what is exported of them."""
    place = tmp_path_factory.mktemp("models")
    for name in ("image", "text"):
        (place / name).mkdir()
    save(place / "image" / "model.safetensors", classifier(DIGITS))
    model = language(LibraryArchitecture(kind="gru", vocabulary=20, width=6))
    save(place / "text" / "model.safetensors", model)
    for name in ("image", "text"):
        assert run(["export", f"{place / name}", "-o", f"{place / name}.onnx", "--random-inputs"]) == 0
    Image.new("L", (8, 8)).save(place / "digit.png")
    return place


EXPORT = "export {0}/image --random-inputs"
COUNTED = "image classifiers, and this is a language model"


@pytest.mark.parametrize(
    ("command", "option", "reader"),
    [
        (EXPORT + " --source {0}/new", "--opset 18", "an .onnx file"),
        (EXPORT + " -o {0}/new.pte", "--opset 18", "an .onnx file"),
        (EXPORT + " -o {0}/new.onnx", "--calibration 256", "--int8"),
        (EXPORT + " -o {0}/new.onnx", "--calibration-method minmax", "--int8"),
        (EXPORT + " -o {0}/new.onnx", "--no-evaluate", "--int8"),
        (EXPORT + " -o {0}/new.onnx", "--data digits", "a comparison on data, not on --random-inputs"),
        ("export {0}/text -o {0}/new.onnx --int8", "--calibration 9", "image classifiers"),
        ("latency --make-table {0}/new.json", "--rounds 5", "targets, not with --make-table"),
        ("latency --make-table {0}/new.json", "--shape images=1x1x8x8", "targets, not with --make-table"),
        ("latency {0}/image.onnx", "--input 3x32x32", "--make-table"),
        ("latency {0}/image.onnx", "--cell-nodes 8", "--make-table"),
        ("craft shrinkcnn-a", "--divisor 4", "a budget: --macs, --params, --memory or --latency"),
        ("craft shrinkcnn-a", "--depth auto", "a budget: --macs, --params, --memory or --latency"),
        ("craft shrinkcnn-a --macs 99M", "--threads 1", "--latency"),
        ("craft darts-rnn --params 3M -o {0}/new.json", "--divisor 8", COUNTED),
        ("predict {0}/image.onnx {0}/digit.png", "--length 80", "language models, and "),
        ("predict {0}/image.onnx {0}/digit.png", "--seed 0", "language models, and "),
        ("predict {0}/text.onnx", "--top 5", "image classifiers, and "),
        ("evaluate {0}/image", "--unchecked", "an .onnx file"),
        ("reproduce table2", "--budget 9m", "tables for which something is trained"),
    ],
)
def test_what_nothing_reads_is_refused(
    command: str, option: str, reader: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(f"{command.format(models)} {option}".split(), capsys, lines=1)
    name = option.split(maxsplit=1)[0]
    assert f"{name}: it goes with {reader}" in told.replace("--evaluate/--no-evaluate", "--no-evaluate")
    assert not list(models.glob("new*")), "nothing is written before"
