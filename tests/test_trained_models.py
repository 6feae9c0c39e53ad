"""What a trained language model is worth and what it writes, and the commands from `train` to `generate`."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from autoshrink import evaluate, generate, train, zoo
from autoshrink.architecture import recurrent_proxy
from autoshrink.bundle import MODEL_FILE, TrainedLanguageModel, load_as
from autoshrink.cell import Cell
from autoshrink.cli import run
from autoshrink.data import Vocabulary
from autoshrink.errors import DataError, InputError
from autoshrink.final import STATE_FILE
from autoshrink.generation import sample, steps_of
from autoshrink.networks import build
from text_fixtures import asked, corpus
from training_fixtures import assert_same

CELL = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2)))
QUICK = (
    "--epochs 2 --batch 4 --lr 10 --width 6 --threads 1 --set recipe.bptt=15 --set recipe.dropout.hidden=0.2 "
    "--set data.min_count=1"
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A model that knows the grammar of the text."""
    folder = tmp_path_factory.mktemp("model") / "model"
    architecture = recurrent_proxy(CELL, vocabulary=2, width=10)
    train(architecture, asked(text, epochs=12, batch=2, learning_rate=20.0, dropout={}), out=folder)
    return folder


# Evaluation


def test_perplexity_is_worked_out_from_logits(model: Path, text: Path) -> None:
    """The test text from its file: split at spaces, `<eos>` at each line's end and before the first word."""
    loaded = load_as(TrainedLanguageModel, model)
    lines = (text / "test.txt").read_text().splitlines()
    tokens = torch.tensor([loaded.vocabulary.encode([*line.split(), "<eos>"]).tolist() for line in lines]).flatten()
    inputs = torch.cat([torch.tensor([1]), tokens[:-1]])
    with torch.no_grad():
        logits, _ = loaded.network(inputs.unsqueeze(1), loaded.network.initial_state(1))
    loss = float(functional.cross_entropy(logits[:, 0].double(), tokens))
    found = evaluate(model, device="cpu")
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert found["bits_per_token"] == pytest.approx(loss / math.log(2))
    assert (found["tokens"], found["unknown"], found["split"]) == (15 * 6, 0, "test")
    assert found["data"] == str(text)
    assert evaluate(model, split="train", device="cpu")["tokens"] == 60 * 6


def test_more_streams_differ_only_by_the_memory_that_is_cut(model: Path) -> None:
    one, many = (evaluate(model, streams=streams)["loss"] for streams in (1, 7))
    assert one != many
    assert one == pytest.approx(many, rel=0.1)
    assert evaluate(model, streams=10**6)["tokens"] == 90
    for streams in (0, -3):
        with pytest.raises(InputError, match=f"streams {streams}: the text is cut into at least one"):
            evaluate(model, streams=streams)


def test_unknown_words_are_counted(model: Path, tmp_path: Path) -> None:
    other = corpus(tmp_path / "other")
    lines = (other / "test.txt").read_text().splitlines()
    (other / "test.txt").write_text("\n".join([*lines, "the ostrich likes seeds .", "an ostrich sees milk ."]) + "\n")
    found = evaluate(model, data=str(other))
    assert (found["unknown"], found["tokens"]) == (3, 90 + 6 + 6)


def test_a_split_that_is_not_there_is_named(model: Path, tmp_path: Path) -> None:
    other = corpus(tmp_path / "other")
    (other / "test.txt").unlink()
    with pytest.raises(DataError, match=r"no test split, only train and validation; add a file called test\.txt"):
        evaluate(model, data=str(other))
    with pytest.raises(DataError, match="no split is called 'exam'; there are"):
        evaluate(model, split="exam")
    with pytest.raises(DataError, match="no data set and no path is called nowhere"):
        evaluate(model, data="nowhere")
    for command in (["show", str(model)], ["cost", str(model)], ["train", str(model), "-o", str(model / "again")]):
        assert run(command) == 2


def test_a_model_of_characters_is_measured_and_writes(text: Path, tmp_path: Path) -> None:
    settings = asked(text, epochs=1)
    settings["data"]["level"] = "char"
    train(zoo.get("gru"), settings, out=tmp_path / "model", width=8)
    lines = (text / "test.txt").read_text()
    found = evaluate(tmp_path / "model")
    assert (found["tokens"], found["unknown"]) == (len(lines), 0)
    written = generate(tmp_path / "model", "the cat", length=12)
    assert written.text == "the cat" + written.continuation
    assert len(written.continuation) == 12
    assert generate(tmp_path / "model", "é?", length=1).unknown == ("é", "?")


# Writing


def test_writing_depends_on_the_seed_alone(model: Path) -> None:
    first = generate(model, "the cat", seed=1, length=30)
    torch.manual_seed(99)
    assert generate(model, "the cat", seed=1, length=30) == first
    assert generate(model, "the cat", seed=2, length=30) != first
    assert first.text.startswith("the cat")
    assert first.unknown == ()


@pytest.mark.parametrize("prompt", ["", "the dog", "a bird sees"])
def test_greedy_is_the_likeliest_word_each_time(model: Path, prompt: str) -> None:
    """Written again from the whole text so far each time, with the logits of `<unk>` left out."""
    loaded = load_as(TrainedLanguageModel, model)
    ids = loaded.vocabulary.encode(prompt.split()).tolist()
    written: list[int] = []
    for _ in range(20):
        tokens = torch.tensor([1, *ids, *written]).unsqueeze(1)
        with torch.no_grad():
            logits, _ = loaded.network(tokens, loaded.network.initial_state(1))
        written.append(int(logits[-1, 0, 1:].argmax()) + 1)
    expected = loaded.vocabulary.decode([*ids, *written])
    for options in ({"temperature": 0}, {"top_k": 1}, {"temperature": 1e-300}, {"temperature": 5e-324, "seed": 4}):
        assert generate(model, prompt, length=20, **options).text == expected


def test_a_trained_model_writes_the_grammar(model: Path) -> None:
    lines = generate(model, length=200, temperature=0.3).text.splitlines()
    fitting = [bool(re.fullmatch(r"(the|a) \w+ (sees|likes|chases) (milk|bones|seeds) ?\.", line)) for line in lines]
    assert sum(fitting) > 0.8 * len(lines)


def test_unknown_is_never_written_and_top_k_bounds_the_words() -> None:
    """A network whose decoder likes `<unk>` best, and words 2 and 3 next."""
    vocabulary = Vocabulary.build([["a", "b", "c"]], level="word", max_size=None, min_count=1)
    network = build(recurrent_proxy(CELL, vocabulary=5, width=3), seed=0)
    with torch.no_grad():
        network.embedding.zero_()
        network.decoder_bias.copy_(torch.tensor([50.0, 0.0, 2.0, 3.0, 1.0]))

    def drawn(**options: Any) -> set[int]:
        base: dict[str, Any] = {"temperature": 1.0, "top_k": None, "length": 300, "generator": np.random.default_rng(0)}
        return set(sample(steps_of(network), network.initial_state(1), vocabulary, [], **(base | options)))

    assert drawn() == {1, 2, 3, 4}
    assert drawn(top_k=2) == {2, 3}
    assert drawn(top_k=99) == {1, 2, 3, 4}
    assert drawn(temperature=0) == {3}
    assert drawn(temperature=1e9, top_k=1) == {3}


def test_a_prompt_of_unknown_words_is_gone_on_with_and_said(model: Path) -> None:
    found = generate(model, "the ostrich likes the emu and the ostrich", length=5)
    assert found.unknown == ("ostrich", "emu", "and")
    assert found.text.startswith("the <unk> likes the <unk>")
    with_lines = generate(model, "the cat likes milk .\nthe", length=3)
    assert with_lines.text.startswith("the cat likes milk")
    assert with_lines.text.splitlines()[1].startswith("the")


@pytest.mark.parametrize("length", [1, 7, 64])
def test_so_many_tokens_are_written(model: Path, length: int) -> None:
    found = generate(model, length=length, temperature=1)
    vocabulary = load_as(TrainedLanguageModel, model).vocabulary
    assert len(vocabulary.encode(vocabulary.tokenise(found.continuation))) == length


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length 0: at least one token is written"),
        ({"temperature": -0.1}, "temperature -0.1: it is 0 "),
        ({"temperature": math.nan}, "temperature nan: it is 0 "),
        ({"temperature": math.inf}, "temperature inf: it is 0 "),
        ({"top_k": 0}, "top_k 0: at least one token is left to draw from"),
    ],
)
def test_numbers_out_of_range_are_refused(model: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(model, **options)


def test_any_seed_will_do(model: Path) -> None:
    assert len({generate(model, seed=seed).text for seed in (-1, 0, 10**30)}) == 3


# The command line


def test_from_training_to_writing_on_the_command_line(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    (tmp_path / "mine.cell.json").write_text(json.dumps(CELL.to_json()))
    command = ["train", str(tmp_path / "mine.cell.json"), "--data", str(text), "-o", str(folder), *QUICK.split()]
    assert run(command) == 0
    output, errors = capsys.readouterr()
    assert re.match(r"validation perplexity [\d.]+ after epoch \d of 2; [\d,]+ parameters\n", output)
    assert f"autoshrink evaluate {folder}" in output
    assert len(re.findall(r"^epoch   \d of 2   validation perplexity ", errors, re.MULTILINE)) == 2
    assert run(["evaluate", str(folder), "--split", "validation"]) == 0
    assert re.match(r"perplexity [\d.]+ on the validation split of .*: 120 tokens, ", capsys.readouterr().out)
    assert run(["generate", str(folder), "--prompt", "the emu", "--length", "5"]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("the <unk>")
    assert errors == "note: the model does not know emu\n"
    assert run(["resume", str(folder)]) == 0
    output, errors = capsys.readouterr()
    assert "validation perplexity " in output
    assert "is finished: nothing to do" in errors


def test_json_is_alone_on_standard_output(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"

    def said(*command: str) -> dict[str, Any]:
        assert run([*command, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    trained = said("train", "enas-rnn", "--data", str(text), "-o", str(folder), *QUICK.split())
    assert set(trained) == {
        "folder", "model", "perplexity", "loss", "epoch", "epochs", "ended", "params", "vocabulary", "width",
        "training_tokens", "macs", "seconds",
    }  # fmt: skip
    assert (trained["folder"], trained["epochs"], trained["width"]) == (str(folder), 2, 6)
    assert said("resume", str(folder)) == trained
    measured = said("evaluate", str(folder), "--streams", "3", "--data", str(text))
    assert set(measured) == {"perplexity", "loss", "bits_per_token", "tokens", "unknown", "split", "data", "notes"}
    written = said("generate", str(folder), "--prompt", "the", "--top-k", "3", "--seed", "5")
    assert written == {"text": written["text"], "continuation": written["continuation"], "unknown": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train gone -o out", "gone: neither a file nor a name in the zoo"),
        ("train shrinkcnn-a -o out", r"which images\? give --data"),
        ("train lstm -o out --width 4 --params 1k", "width 4 and 1,000 parameters: give one of them"),
        ("train lstm -o out --params lots", "'lots' is not a count"),
        ("train lstm -o out --data nowhere", "no data set and no path is called nowhere"),
        ("train lstm -o out --epochs 0", "recipe.epochs: a whole number above 0 is needed"),
        ("train lstm -o out --set recipe=3", "setting recipe: "),
        ("train lstm -o out --set recipe.dropout.hidden=1.5", "setting recipe.dropout.hidden: "),
        ("train lstm -o out --level syllable", "setting data.level: "),
        ("train lstm", "Missing option '-o'.*; see `autoshrink train --help`"),
        ("evaluate gone", r"gone: no such file or folder"),
        ("evaluate MODEL --split exam", "no split is called 'exam'"),
        ("evaluate MODEL --streams 0", "streams 0: the text is cut into at least one"),
        ("generate gone", r"gone: no such file or folder"),
        ("generate MODEL --temperature nan", "temperature nan: it is 0 "),
        ("generate MODEL --length 0", "length 0: at least one"),
        ("resume gone", "gone: neither a search nor a training to go on with"),
    ],
)
def test_wrong_input_is_named_in_a_line_or_two(  # noqa: PLR0917 - fixtures
    arguments: str, message: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(arguments.replace("MODEL", str(model)).split()) == 2
    output, errors = capsys.readouterr()
    complaint = errors[errors.index("autoshrink: ") :]
    assert output == ""
    assert re.search(message, complaint), complaint
    assert complaint.count("\n") <= 2
    assert not any(tmp_path.glob("**/*.safetensors"))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 500])
def test_damaged_files_are_named_without_a_traceback(
    content: bytes, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (MODEL_FILE, STATE_FILE):
        (tmp_path / name).write_bytes(content)
    for command, name in (("evaluate", MODEL_FILE), ("generate", MODEL_FILE), ("resume", STATE_FILE)):
        assert run([command, str(tmp_path)]) == 2
        assert f"autoshrink: {tmp_path / name}: damaged, or not a safetensors file" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on_and_that_is_true(text: Path, tmp_path: Path) -> None:
    """As soon as there is anything to go on with, which is before the first epoch is done."""
    folder = tmp_path / "model"
    options = ["--data", str(text), "-o", str(folder), *QUICK.replace("--epochs 2", "--epochs 2000").split()]
    command = [sys.executable, "-m", "autoshrink", "train", "rhn", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("training tokens an epoch" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 130
    assert output == ""
    assert errors.rstrip().endswith(f"interrupted; go on with:\n  autoshrink resume {folder}"), errors
    assert "Traceback" not in errors
    assert (folder / STATE_FILE).exists()


def test_what_the_commands_train_is_what_python_trains(text: Path, tmp_path: Path) -> None:
    """The same settings, given as options."""
    settings = asked(text, epochs=2)
    settings["recipe"]["dropout"] = {"hidden": 0.2}
    train(zoo.get("rhn"), settings, out=tmp_path / "python", width=6)
    assert run(["train", "rhn", "--data", str(text), "-o", str(tmp_path / "shell"), *QUICK.split()]) == 0
    assert_same(tmp_path / "shell", tmp_path / "python")


def test_before_there_is_anything_to_go_on_with_ctrl_c_promises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autoshrink.final.text.load_text_split", interrupted)
    assert run(["train", "lstm", "-o", str(tmp_path / "model")]) == 130
    assert capsys.readouterr().err == "interrupted\n"
