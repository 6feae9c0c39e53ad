"""Final trainings: what they leave, stopped and killed and gone on with, and refused where they must be."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

import autoshrink
from autoshrink import zoo
from autoshrink.architecture import Architecture, LanguageModel, language_model, recurrent_proxy
from autoshrink.bundle import MODEL_FILE, TrainedLanguageModel, load_as
from autoshrink.cell import Cell
from autoshrink.cost import count, widest
from autoshrink.errors import DataError, InputError, RunError
from autoshrink.final import LOCK_FILE, STATE_FILE, Epoch, TrainingWatcher, resume_training, train
from autoshrink.training import checkpoint
from text_fixtures import asked, corpus, deaths_until_done
from training_fixtures import Stopped, assert_same, left, rewritten, stopping_after, stopping_at_batch

LANGUAGE_MODELS = [name for name in zoo.names() if isinstance(zoo.get(name), LanguageModel)]
PAIR = recurrent_proxy(Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2))), vocabulary=2, width=6)


def averaged(text: Path) -> dict[str, Any]:
    """A rate and a seed with which validation is worse again in the middle, so that averaging begins; the rate is low
    enough for another CPU's last bits to change nothing."""
    return asked(text, epochs=6, averaging=1, learning_rate=15.0, drops=[]) | {"seed": 7}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("text") / "corpus")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """An undisturbed training that begins to average."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    train(PAIR, averaged(text), out=folder)
    return folder


# What is left


def test_a_training_leaves_its_model_its_state_and_its_curve(text: Path, tmp_path: Path) -> None:
    told: list[Epoch] = []
    started: list[tuple[str, int, int]] = []
    watcher = TrainingWatcher(
        on_start=lambda architecture, tokens, done: started.append((architecture.sizes, tokens, done)),
        on_epoch=told.append,
    )
    result = train(PAIR, asked(text), out=tmp_path / "model", watcher=watcher)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {MODEL_FILE, STATE_FILE, LOCK_FILE, "curve.json"}
    vocabulary, tokens = 14, 60 * 6
    assert started == [("14 words, width 6", tokens, 0)]
    assert result.architecture == language_model(PAIR, vocabulary=vocabulary)
    assert [epoch.number for epoch in told] == [1, 2, 3]
    assert tuple(epoch.performance for epoch in told) == result.history.curve
    assert [epoch.best for epoch in told] == [max(result.history.curve[: i + 1]) for i in range(3)]
    written = json.loads((tmp_path / "model" / "curve.json").read_text())
    assert written["validation_perplexity"] == [round(math.exp(-one), 4) for one in result.history.curve]
    assert written["ended"] == "all epochs"
    said = result.to_json()
    assert said["perplexity"] == pytest.approx(math.exp(-max(result.history.curve)))
    assert (said["epochs"], said["training_tokens"], said["params"]) == (3, tokens, count(result.architecture).params)
    assert said["perplexity"] < vocabulary / 2, "ten words in a fixed order are learned"


def test_a_texts_training_keeps_its_figures_and_logs_them(text: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    result = train(PAIR, asked(text, learning_rate=10.0) | {"tensorboard": True}, out=tmp_path / "model")
    figures = left(tmp_path / "model")[STATE_FILE][1]["figures"]
    assert [one["performance"] for one in figures] == list(result.history.curve)
    assert [one["loss"] for one in figures] == [-one for one in result.history.curve]
    assert figures[0]["learning_rate"] == 10.0
    assert figures[2]["learning_rate"] < 10.0, "the rate drops before the end"
    assert figures[0]["training_loss"] > figures[2]["training_loss"] > 0
    assert list((tmp_path / "model" / "tensorboard").glob("events.*"))


def test_the_model_is_that_of_the_best_epoch(text: Path, tmp_path: Path) -> None:
    """Its facts name the epoch; measured again on the validation text it gives the recorded figure."""
    result = train(PAIR, averaged(text), out=tmp_path / "model")
    model = load_as(TrainedLanguageModel, tmp_path / "model")
    best = result.history.curve.index(max(result.history.curve))
    assert (model.facts.epoch, model.facts.performance) == (best + 1, result.history.curve[best])
    again = autoshrink.evaluate(tmp_path / "model", split="validation", streams=10, device="cpu")
    assert -again["loss"] == pytest.approx(result.performance, rel=1e-6)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_every_language_model_of_the_zoo_trains(name: str, text: Path, tmp_path: Path) -> None:
    result = train(zoo.get(name), asked(text, epochs=1, learning_rate=1.0), out=tmp_path / "model", width=8)
    assert result.architecture == load_as(TrainedLanguageModel, tmp_path / "model").architecture
    assert (result.architecture.width, result.architecture.vocabulary) == (8, 14)
    assert math.isfinite(result.performance)


def test_a_text_without_splits_and_characters_can_be_learned(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text((corpus(tmp_path / "corpus") / "train.txt").read_text() * 2)
    remarks: list[str] = []
    settings = asked(tmp_path / "mine.txt", epochs=1)
    settings["data"]["level"] = "char"
    watcher = TrainingWatcher(remark=remarks.append)
    result = train(zoo.get("gru"), settings, out=tmp_path / "model", width=8, watcher=watcher)
    assert isinstance(result.architecture, LanguageModel)
    assert result.architecture.vocabulary < 30
    assert any("no validation and no test text is given" in remark for remark in remarks)
    assert load_as(TrainedLanguageModel, tmp_path / "model").vocabulary.level == "char"


@pytest.mark.parametrize("name", ["shrinkrnn", "lstm"])
@pytest.mark.parametrize("budget", [700, 5_000])
def test_a_budget_of_parameters_is_used_and_never_exceeded(name: str, budget: int, text: Path, tmp_path: Path) -> None:
    result = train(zoo.get(name), asked(text, epochs=1), out=tmp_path / "model", params=budget)
    found = result.architecture
    assert isinstance(found, LanguageModel)
    assert (
        sum(parameter.numel() for parameter in load_as(TrainedLanguageModel, tmp_path / "model").network.parameters())
        <= budget
    )
    assert found == widest(found, budget)


def test_the_same_seed_is_the_same_training_and_another_is_not(text: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        train(PAIR, asked(text) | {"seed": seed}, out=tmp_path / name)
    assert_same(tmp_path / "one", tmp_path / "again")
    one, two = (left(tmp_path / name)[STATE_FILE][1]["curve"] for name in ("one", "two"))
    assert one != two


# Stopped, and gone on with


def test_averaging_begins_in_the_middle(whole: Path) -> None:
    """What the next tests rely on."""
    tensors, facts = left(whole)[STATE_FILE]
    steps = facts["averaged"]
    assert steps > 0
    assert any(name.startswith("average.") for name in tensors)
    curve = facts["curve"]
    began = next(i for i in range(2, 6) if curve[i] < max(curve[: i - 1]))
    assert 1 < began < 5, "epochs before it, and epochs after it"


@pytest.mark.parametrize("session", [1, 2, 4])
def test_stopped_after_epochs_it_ends_the_same(session: int, whole: Path, text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(Stopped):
        train(PAIR, averaged(text), out=folder, watcher=stopping_after(session))
    stops = 1
    while True:
        try:
            result = resume_training(folder, watcher=stopping_after(session))
        except Stopped:
            stops += 1
        else:
            break
    assert stops == 6 // session
    assert_same(folder, whole)
    assert list(result.history.curve) == left(whole)[STATE_FILE][1]["curve"]


def test_stopped_within_any_epoch_it_ends_the_same(whole: Path, text: Path, tmp_path: Path) -> None:
    """Also within the first one, when nothing has been measured yet."""
    folder = tmp_path / "model"
    with pytest.raises(Stopped):
        train(PAIR, averaged(text), out=folder, watcher=stopping_at_batch(2))
    for batch in (1, 9, 9, 9, 9, 9):
        with pytest.raises(Stopped):
            resume_training(folder, watcher=stopping_at_batch(batch))
    resume_training(folder)
    assert_same(folder, whole)


def test_stopped_at_an_early_stop_it_does_not_go_on(text: Path, tmp_path: Path) -> None:
    settings = asked(text, epochs=9, patience=1, learning_rate=1e-30)
    result = train(PAIR, settings, out=tmp_path / "whole")
    assert (len(result.history.curve), result.history.ended) == (2, "no better for 1 epoch")
    with pytest.raises(Stopped):
        train(PAIR, settings, out=tmp_path / "stopped", watcher=stopping_after(2))
    assert resume_training(tmp_path / "stopped").history.ended == result.history.ended
    assert_same(tmp_path / "stopped", tmp_path / "whole")


KILLED = """
from autoshrink import resume_training, train
from autoshrink.architecture import Architecture
settings, architecture = json.loads(sys.argv[2]), Architecture.from_json(json.loads(sys.argv[3]))

def attempt(folder):
    begun = os.path.exists(folder + "/training.safetensors")
    resume_training(folder) if begun else train(architecture, settings, out=folder)
"""


def test_killed_at_random_times_it_ends_the_same(whole: Path, text: Path, tmp_path: Path) -> None:
    arguments = (json.dumps(averaged(text)), json.dumps(PAIR.to_json()))
    assert deaths_until_done(KILLED, tmp_path / "model", *arguments) > 0
    assert_same(tmp_path / "model", whole)


def test_a_curve_that_was_not_written_is_made_from_the_state(text: Path, tmp_path: Path) -> None:
    """As after a kill between the last save of the state and the curve's."""
    train(zoo.get("gru"), asked(text), out=tmp_path, width=4)
    curve = (tmp_path / "curve.json").read_text()
    (tmp_path / "curve.json").unlink()
    resume_training(tmp_path)
    assert (tmp_path / "curve.json").read_text() == curve


def test_a_finished_training_is_returned_as_it_is(whole: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in whole.iterdir() if path.suffix == ".safetensors"}
    remarks: list[str] = []
    result = resume_training(whole, watcher=TrainingWatcher(remark=remarks.append))
    assert remarks == [f"{whole} is finished: nothing to do"]
    assert result.history.ended == "all epochs"
    assert result.samples == 360
    assert before == {path.name: path.stat().st_mtime_ns for path in whole.iterdir() if path.name in before}


def test_what_a_killed_process_was_writing_is_cleared_away(text: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(zoo.get("gru"), asked(text), out=tmp_path, width=4, watcher=stopping_after(1))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    draft = tmp_path / f".{STATE_FILE}.{gone.pid}.draft.safetensors"
    draft.write_bytes(b"half of it")
    resume_training(tmp_path)
    assert not draft.exists()
    assert load_as(TrainedLanguageModel, tmp_path).architecture.kind == "gru"


def test_resuming_works_from_another_folder(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(text.parent)
    with pytest.raises(Stopped):
        train(PAIR, asked(Path("corpus")), out=tmp_path / "model", watcher=stopping_after(1))
    monkeypatch.chdir("/")
    assert len(resume_training(tmp_path / "model").history.curve) == 3


# Refused


@pytest.mark.parametrize(
    ("architecture", "options", "changes", "message"),
    [
        (zoo.get("shrinkcnn-a"), {"width": 4}, {}, "width and params are for language models"),
        (PAIR, {"width": 4, "params": 900}, {}, "width 4 and 900 parameters: give one of them"),
        (PAIR, {"params": 20}, {}, "20 parameters are too few for 14 words: width 1 has "),
        (PAIR, {"width": 0}, {}, r"width: Input should be greater than 0 \(got 0\)"),
        (PAIR, {}, {"recipe": {"epochs": 0}}, "recipe.epochs: a whole number above 0 is needed"),
        (PAIR, {}, {"recipe": 3}, "setting recipe: "),
        (PAIR, {}, {"recipe": {"momentum": 0.9}}, "setting recipe.momentum: there is no such setting"),
        (PAIR, {}, {"device": "abacus"}, "device 'abacus' is unknown"),
        (PAIR, {}, {"data": {"spec": "nowhere"}}, "no data set and no path is called nowhere"),
        (PAIR, {}, {"data": {"max_vocabulary": 2}}, "setting data.max_vocabulary: "),
    ],
)
def test_what_cannot_be_trained_is_refused(
    architecture: Architecture, options: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = asked(corpus(tmp_path / "corpus")) | changes
    with pytest.raises(InputError, match=message):
        train(architecture, settings, out=tmp_path / "model", **options)
    assert not (tmp_path / "model" / STATE_FILE).exists()


def test_a_folder_in_use_and_one_that_holds_a_training_are_refused(whole: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"holds a training already; go on with `autoshrink resume {whole}` or choose"):
        train(PAIR, asked(text), out=whole)
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / MODEL_FILE).write_bytes((whole / MODEL_FILE).read_bytes())
    with pytest.raises(RunError, match="holds a model already; choose another folder"):
        train(PAIR, asked(text), out=tmp_path / "copied")
    with FileLock(whole / LOCK_FILE):
        with pytest.raises(RunError, match="another process is training here"):
            train(PAIR, asked(text), out=whole)
        with pytest.raises(RunError, match="another process is training here"):
            resume_training(whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        train(PAIR, asked(text), out=tmp_path / "file")


def test_where_there_is_no_training_none_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: holds no training; `autoshrink train` begins one"):
        resume_training(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_divergence_is_said_and_leaves_the_folder_free(text: Path, tmp_path: Path) -> None:
    wild = asked(text, learning_rate=1e7, clip=1e7)
    with pytest.raises(RunError, match=r"(diverged|became (nan|inf)).*; try a lower --lr"):
        train(PAIR, wild, out=tmp_path / "model")
    assert not {STATE_FILE, MODEL_FILE} & {path.name for path in (tmp_path / "model").iterdir()}
    assert len(train(PAIR, asked(text), out=tmp_path / "model").history.curve) == 3


def test_a_changed_and_a_missing_text_are_not_resumed(tmp_path: Path) -> None:
    mine = corpus(tmp_path / "corpus")
    with pytest.raises(Stopped):
        train(PAIR, asked(mine), out=tmp_path / "model", watcher=stopping_after(1))
    original = (mine / "valid.txt").read_text()
    (mine / "valid.txt").write_text(original.replace("cat", "dog"))
    with pytest.raises(DataError, match=r"the texts? are not those that .*model began with; restore them"):
        resume_training(tmp_path / "model")
    (mine / "valid.txt").write_text(original)
    (mine / "train.txt").rename(mine / "away")
    with pytest.raises(DataError, match="train"):
        resume_training(tmp_path / "model")
    (mine / "away").rename(mine / "train.txt")
    assert len(resume_training(tmp_path / "model").history.curve) == 3


# Damaged


def _flipped(place: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 0x20
        path.write_bytes(content)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "damaged, or not a safetensors file"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-7]), "damaged, or not a safetensors file"),
    "only a header": (lambda path: path.write_bytes(path.read_bytes()[:100]), "damaged, or not a safetensors file"),
    "a picture": (lambda path: path.write_bytes(b"\x89PNG" * 99), "damaged, or not a safetensors file"),
    "header length": (_flipped(1), "damaged, or not a safetensors file"),
    "header brace": (_flipped(8), "damaged, or not a safetensors file"),
    "format": (rewritten(lambda facts, _: facts.update(format="other/9")), "not a checkpoint of autoshrink"),
    "not JSON": (rewritten(lambda facts, _: facts.update(vocabulary="{")), "says of its 'vocabulary': not JSON"),
    "architecture": (rewritten(lambda facts, _: facts.pop("architecture")), "says nothing of its architecture"),
    "vocabulary": (rewritten(lambda facts, _: facts.pop("vocabulary")), "says nothing of its vocabulary"),
    "a list": (rewritten(lambda facts, _: facts.update(vocabulary="[]")), "damaged: a vocabulary has"),
    "width": (
        rewritten(lambda facts, _: facts.update(architecture=facts["architecture"].replace("h\": 6", "h\": 7"))),
        "its weights do not fit its architecture",
    ),
    "weights": (rewritten(lambda _, tensors: tensors.pop("embedding")), "its weights do not fit its architecture"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [STATE_FILE, MODEL_FILE])
def test_a_damaged_file_is_refused_by_name(name: str, damage: str, text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(Stopped):
        train(PAIR, asked(text), out=folder, watcher=stopping_after(1))
    do, message = DAMAGES[damage]
    do(folder / name)
    with pytest.raises(InputError, match=rf"^{folder / name}: .*{message}"):
        resume_training(folder) if name == STATE_FILE else load_as(TrainedLanguageModel, folder)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("curve", '"x"'),
        ("curve", "[NaN]"),
        ("settings", "{}"),
        ("averaged", "-1"),
        ("ended", "3"),
        ("fingerprint", "1"),
    ],
)
def test_a_state_that_says_nonsense_is_refused(fact: str, value: str, text: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(PAIR, asked(text), out=tmp_path, watcher=stopping_after(1))
    rewritten(lambda facts, _: facts.update({fact: value}))(tmp_path / STATE_FILE)
    with pytest.raises(InputError, match=rf"{STATE_FILE}: damaged: (what it says of its '{fact}'|{fact})"):
        resume_training(tmp_path)
    rewritten(lambda facts, _: facts.pop(fact))(tmp_path / STATE_FILE)
    with pytest.raises(InputError, match=rf"{STATE_FILE}: damaged: {fact}: Field required"):
        resume_training(tmp_path)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    checkpoint.save(path, {"a": torch.arange(3)}, {"fact": [1, None, "ü"]})
    tensors, facts = checkpoint.load(path)
    assert (tensors["a"].tolist(), facts) == ([0, 1, 2], {"fact": [1, None, "ü"]})
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RunError, match=r"folder.safetensors: cannot be written"):
        checkpoint.save(tmp_path / "folder.safetensors", {"a": torch.arange(3)}, {})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder.safetensors", "some.safetensors"]
    with pytest.raises(InputError, match=r"folder\.safetensors: "):
        checkpoint.load(tmp_path / "folder.safetensors")


def test_a_result_of_no_hope_is_still_json(whole: Path) -> None:
    """A perplexity beyond any float."""
    result = resume_training(whole)
    hopeless = replace(result, history=replace(result.history, curve=(-1e4,)))
    assert math.isfinite(hopeless.to_json()["perplexity"])
