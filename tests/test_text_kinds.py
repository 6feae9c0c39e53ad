"""Texts as people have them: compressed, in shards, with a readme, half tokenised, in two spellings, of rare words."""

import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from autoshrink.cli import run
from autoshrink.data import TextSource, load_text_proxy, open_text
from autoshrink.data.images import SPLITS, TEST, TRAIN, VALIDATION
from autoshrink.data.names import composed
from autoshrink.errors import DataError
from data_fixtures import away_from_home, penn, text_file

SUBJECTS = ("the cat", "my friend", "the café owner", "the old man", "a bird")
VERBS = ("sees", "likes", "follows")
OBJECTS = ("the tree", "a fish", "some bread", "the river")
PROSE = [f"{who} {does} {what}, and then waits." for who in SUBJECTS for does in VERBS for what in OBJECTS]
QUICK = ["--nodes", "2", "--candidates", "1", "--threads", "1", "--set", "recipe.epochs=1", "--set", "network.width=4"]
QUICK += ["--beside", "none"]


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


def words(source: TextSource, split: str) -> set[str]:
    return {word for segment in source.segments(split) for word in segment}


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        open_text(str(path), **options)
    return str(caught.value)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


# --- which text


def test_a_compressed_text_reads_like_the_plain_one(tmp_path: Path) -> None:
    plain = text_file(tmp_path / "book.txt", PROSE)
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for split in SPLITS:
        assert list(open_text(str(packed)).segments(split)) == list(open_text(str(plain)).segments(split))
    packed.write_bytes(packed.read_bytes()[:-9])
    assert "packed.txt.gz: cannot be read: " in refused(packed)


def test_a_readme_beside_the_text_is_none_of_it_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt.gz").write_bytes(gzip.compress("\n".join(PROSE).encode()))
    text_file(tmp_path / "README.md", ["# How this corpus was made", "Nobody knows."])
    source = open_text(str(tmp_path))
    assert source.notes[0] == "not part of the text: README.md"
    assert "Nobody" not in words(source, TRAIN) | words(source, VALIDATION) | words(source, TEST)


def test_a_folder_of_nothing_but_a_readme_is_that_text(tmp_path: Path) -> None:
    text_file(tmp_path / "README.md", PROSE)
    assert open_text(str(tmp_path)).count(TRAIN) > 0


def test_shards_are_one_split_in_their_order(tmp_path: Path) -> None:
    for number in range(3):
        text_file(tmp_path / f"train-{number:05d}-of-00003.txt", PROSE[number * 15 : number * 15 + 15])
    text_file(tmp_path / "valid.txt", PROSE[45:52])
    text_file(tmp_path / "test.txt", PROSE[52:])
    source = open_text(str(tmp_path))
    assert source.given == SPLITS
    assert [" ".join(found[:2]) for found in source.segments(TRAIN)] == [
        " ".join(line.split()[:2]) for line in PROSE[:45]
    ]
    assert source.notes[0].startswith("3 files are the train text: train-00000-of-00003.txt, train-00001")


@pytest.mark.parametrize(("name", "kind"), [("a.jsonl", "JSON lines"), ("a.json", "JSON"), ("a.csv.gz", "a table")])
def test_keys_and_columns_are_not_learned_as_words(tmp_path: Path, name: str, kind: str) -> None:
    text_file(tmp_path / name, [json.dumps({"id": 1, "text": line}) for line in PROSE])
    assert f"{name} holds {kind}, whose keys or tags would be learned as words; write its text to a" in refused(
        tmp_path / name
    )


# --- which words


def test_one_marker_in_prose_does_not_switch_how_words_are_cut(tmp_path: Path) -> None:
    marked = [*PROSE[:20], "Words outside the vocabulary become <unk> here.", *PROSE[20:]]
    source = open_text(str(text_file(tmp_path / "prose.txt", marked)))
    assert source.tokens == "words"
    assert "tree," not in words(source, TRAIN)
    assert source.notes[-1] == (
        "<unk> stands in the text once, but the rest is prose, so signs are cut off words; "
        "--set data.tokens=spaces cuts at white space alone"
    )
    chosen = open_text(str(tmp_path / "prose.txt"), tokens="spaces")
    assert chosen.tokens == "spaces"
    assert not any("<unk>" in note for note in chosen.notes)


@pytest.mark.parametrize("every", [1, 20])
def test_tokenised_text_is_known_by_its_markers(tmp_path: Path, every: int) -> None:
    lines = [f"{line[:-1].replace(',', ' ,')} {'' if place % every else '<unk>'} ." for place, line in enumerate(PROSE)]
    assert open_text(str(text_file(tmp_path / "tokenised.txt", lines))).tokens == "spaces"


def test_both_spellings_of_an_accent_are_one_word(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        text_file(tmp_path / f"{split}.txt", list(map(composed if split == "train" else decomposed, PROSE)))
    source = open_text(str(tmp_path))
    assert words(source, TRAIN) == words(source, VALIDATION) == words(source, TEST)
    found = load_text_proxy(
        str(tmp_path), sentences=60, validation_sentences=60, max_vocabulary=None, min_count=1, seed=0
    )
    assert found.unknown_share == 0
    assert found.vocabulary.tokenise(decomposed("the café owner")) == ["the", "café", "owner"]


# --- what a perplexity would say


def test_a_text_of_unknown_words_is_refused_by_search_and_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = text_file(
        tmp_path / "rare.txt", [" ".join(f"{row * 9 + place:x}z" for place in range(9)) for row in range(200)]
    )
    said = "words are unknown (<unk>), so a perplexity would say next to nothing about the text"
    assert run(["search", "--task", "text", "--data", str(rare), "--run", str(tmp_path / "run"), *QUICK]) == 2
    assert f"{rare}: 100% of the train {said}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(["train", "gru", "--data", str(rare), "--epochs", "1", "-o", str(tmp_path / "model")]) == 2
    assert f"{rare}: 100% of the train {said}" in capsys.readouterr().err
    # With every word of the training text known, it is the validation text that is not.
    options = ["--set", "data.min_count=1"]
    assert run(["search", "--task", "text", "--data", str(rare), "--run", str(tmp_path / "run"), *QUICK, *options]) == 2
    assert f"{rare}: 100% of the validation {said}" in capsys.readouterr().err


def test_many_unknown_words_are_said_beside_the_perplexity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{line} {place:x}q {place:x}r {place:x}s" for place, line in enumerate(PROSE)]
    text_file(tmp_path / "mixed.txt", lines)
    model = tmp_path / "model"
    options = ["--width", "4", "--epochs", "1", "--batch", "2", "--threads", "1"]
    assert run(["train", "gru", "--data", str(tmp_path / "mixed.txt"), "-o", str(model), *options]) == 0
    said = "% of the validation words are unknown (<unk>), which makes a perplexity look low; keep rarer words"
    assert said in capsys.readouterr().err
    assert run(["evaluate", str(model), "--split", "validation"]) == 0
    told = capsys.readouterr()
    assert said in told.err
    assert " of them <unk> (" in told.out
    assert run(["evaluate", str(model), "--split", "validation", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unknown"] / found["tokens"] > 0.2
    assert any(said in note for note in found["notes"])


def test_validation_lines_that_were_trained_on_are_counted(tmp_path: Path) -> None:
    text_file(tmp_path / "train.txt", PROSE)
    text_file(tmp_path / "valid.txt", [*PROSE[:5], *(line.replace("then", "again") for line in PROSE[:15])])
    found = load_text_proxy(
        str(tmp_path), sentences=60, validation_sentences=60, max_vocabulary=None, min_count=1, seed=0
    )
    assert (
        "25% of the validation lines stand in the training text too, so figures look better than they are"
        in found.notes
    )
    repeats = penn(tmp_path / "penn")
    other = load_text_proxy(
        str(repeats), sentences=60, validation_sentences=12, max_vocabulary=None, min_count=1, seed=0
    )
    assert not any("stand in the training text" in note for note in other.notes)
