"""Proxy texts and whole splits as ids: what is drawn, what the vocabulary is made from, and what makes them equal."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.data import TextProxy, Vocabulary, load_text_proxy, load_text_split, open_text
from autoshrink.data.images import TEST, TRAIN, VALIDATION
from autoshrink.data.tokenising import END, UNKNOWN
from autoshrink.errors import DataError, InputError
from data_fixtures import away_from_home, penn, sentences, text_file

REAL = Path(os.environ.get("AUTOSHRINK_DATA", "nowhere")) / "ptb"


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Penn Treebank's layout with 60 + 12 + 12 lines, all different."""
    return str(penn(tmp_path_factory.mktemp("corpus")))


def proxy(spec: object, **options: Any) -> TextProxy:
    asked: dict[str, Any] = {
        "sentences": 20,
        "validation_sentences": 5,
        "max_vocabulary": None,
        "min_count": 1,
        "seed": 0,
    }
    return load_text_proxy(str(spec), **asked | options)


def lines(found: TextProxy, part: str = "train") -> list[str]:
    """The sentences drawn, as they stand in the file; every word must be known."""
    ids = found.train if part == "train" else found.validation
    return [line.removesuffix(" <unk>") for line in found.vocabulary.decode(ids).splitlines()]


def test_a_random_draw_keeps_the_texts_order(corpus: str) -> None:
    found = proxy(corpus, shared_vocabulary=True)
    drawn, validated = lines(found), lines(found, "validation")
    assert drawn == sorted(set(drawn), key=sentences(60).index)
    assert validated == sorted(set(validated), key=sentences(12, start=60).index)
    assert (len(drawn), len(validated)) == (found.train_sentences, found.validation_sentences) == (20, 5)
    assert drawn != sentences(20)
    assert found.notes == ()
    assert found.train.dtype == found.validation.dtype == np.int32
    assert (found.train == found.vocabulary.end).sum() == 20


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), fewer=st.integers(1, 30), more=st.integers(0, 40))
def test_a_larger_draw_holds_the_smaller_and_leaves_the_other_split_as_it_is(
    corpus: str, seed: int, fewer: int, more: int
) -> None:
    small = proxy(corpus, seed=seed, sentences=fewer, shared_vocabulary=True)
    large = proxy(corpus, seed=seed, sentences=fewer + more, shared_vocabulary=True)
    assert set(lines(small)) <= set(lines(large))
    assert lines(small, "validation") == lines(large, "validation")
    assert large.train_sentences == min(60, fewer + more)


def test_the_first_sentences(corpus: str) -> None:
    found = proxy(corpus, sample="first", shared_vocabulary=True)
    assert lines(found) == sentences(20)
    assert lines(found, "validation") == sentences(5, start=60)
    assert proxy(corpus, sample="first", seed=3, shared_vocabulary=True).fingerprint == found.fingerprint


def test_fewer_sentences_than_asked_for(corpus: str) -> None:
    found = proxy(corpus, sentences=61, validation_sentences=1000)
    assert (found.train_sentences, found.validation_sentences) == (60, 12)
    assert found.notes == (
        "60 of 61 train sentences are used: the text has no more",
        "12 of 1,000 validation sentences are used: the text has no more",
    )
    assert proxy(corpus, sentences=61, sample="first").notes == found.notes[:1]


def test_the_vocabulary_is_of_training_text_unless_it_is_shared(corpus: str) -> None:
    own, shared = proxy(corpus), proxy(corpus, shared_vocabulary=True)
    assert np.array_equal(own.vocabulary.counts, np.bincount(own.train, minlength=len(own.vocabulary)))
    both = np.concatenate([shared.train, shared.validation])
    assert np.array_equal(shared.vocabulary.counts, np.bincount(both, minlength=len(shared.vocabulary)))
    # Each line has its number, which no other line has, and ends with an <unk> of its own.
    assert own.unknown_share == np.mean(own.validation == own.vocabulary.unknown) > 1 / 11
    assert shared.unknown_share == 5 / len(shared.validation)
    small = proxy(corpus, max_vocabulary=7, min_count=2)
    assert len(small.vocabulary) == 7
    assert proxy(corpus, min_count=20).vocabulary.tokens[2:] == ("has", "in", "it", "line", "of", "text", "the")


@pytest.mark.parametrize("sample", ["random", "first"])
def test_a_bound_on_tokens(corpus: str, sample: str) -> None:
    whole = proxy(corpus, sample=sample, shared_vocabulary=True)
    found = proxy(corpus, sample=sample, shared_vocabulary=True, max_tokens=47)
    assert (len(found.train), len(found.validation)) == (44, 44)
    assert set(lines(found)) < set(lines(whole))
    assert lines(found) == [line for line in lines(whole) if line in lines(found)]
    assert found.notes[0] == "4 of 20 train sentences are used: more would be over 47 tokens"
    cut = proxy(corpus, sample=sample, max_tokens=3)
    assert (len(cut.train), cut.train_sentences) == (3, 1)
    assert proxy(corpus, sample=sample, shared_vocabulary=True, max_tokens=10_000).fingerprint == whole.fingerprint


def test_the_fingerprint_is_that_of_the_data(corpus: str, tmp_path: Path) -> None:
    found = proxy(corpus)
    assert len(bytes.fromhex(found.fingerprint)) == 32
    again = proxy(penn(tmp_path / "elsewhere"))
    assert again.fingerprint == found.fingerprint
    assert np.array_equal(again.train, found.train)
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"sentences": 19},
        {"validation_sentences": 4},
        {"min_count": 2},
        {"max_vocabulary": 8},
        {"sample": "first"},
        {"shared_vocabulary": True},
        {"level": "char"},
        {"tokens": "words"},
        {"max_tokens": 30},
    ]
    prints = {proxy(corpus, **other).fingerprint for other in others} | {found.fingerprint}
    assert len(prints) == len(others) + 1


def test_the_draw_of_a_seed_is_fixed_for_good(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", [f"w{number:02}" for number in range(40)])
    found = proxy(path, sentences=6, validation_sentences=2, seed=7, shared_vocabulary=True)
    assert found.vocabulary.decode(found.train).split() == ["w06", "w14", "w19", "w29", "w33", "w38"]
    assert found.vocabulary.decode(found.validation).split() == ["w09", "w21"]


def test_characters_and_carved_text(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", [f"{line}\n" for line in sentences(200)])
    found = proxy(path, level="char", sentences=50)
    drawn = found.vocabulary.decode(found.train).splitlines()
    assert len(drawn) == 50
    assert set(drawn) <= set(sentences(200))
    assert not set(drawn) & set(found.vocabulary.decode(found.validation).splitlines())
    assert found.unknown_share == 0
    source = open_text(str(path), level="char")
    kept = {"".join(segment[:-1]) for segment in source.segments(TEST)}
    whole = proxy(path, level="char", sentences=1000, validation_sentences=1000)
    assert not kept & set(whole.vocabulary.decode(np.concatenate([whole.train, whole.validation])).splitlines())


def test_empty_lines_are_not_drawn(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", [f"{line} <unk>\n\n" for line in sentences(100)])
    for sample in ("random", "first"):
        found = proxy(path, sample=sample, shared_vocabulary=True)
        assert set(lines(found)) <= set(sentences(100))
        assert len(lines(found)) == 20


def test_pieces_are_drawn_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" ".join(sentences(200)))
    found = proxy(tmp_path / "a.txt", sentences=10, validation_sentences=2)
    assert (len(found.train), len(found.validation)) == (350, 70)
    assert found.vocabulary.counts[found.vocabulary.end] == 0


# --- whole splits


@pytest.mark.parametrize("level", ["word", "char"])
@pytest.mark.parametrize(("max_vocabulary", "min_count"), [(None, 1), (9, 1), (None, 5)])
def test_the_training_split_in_one_reading_is_that_in_two(
    corpus: str, level: Any, max_vocabulary: int | None, min_count: int
) -> None:
    found = load_text_split(corpus, TRAIN, None, level=level, max_vocabulary=max_vocabulary, min_count=min_count)
    source = open_text(corpus, level=level)
    vocabulary = Vocabulary.build(
        source.segments(TRAIN), level=level, rule=source.tokens, max_size=max_vocabulary, min_count=min_count
    )
    assert found.vocabulary == vocabulary
    assert found.tokens.dtype == np.int32
    assert found.tokens.tolist() == [n for s in source.segments(TRAIN) for n in vocabulary.encode(s).tolist()]
    assert found.unknown == vocabulary.counts[0]
    again = load_text_split(corpus, TRAIN, vocabulary, level=level)
    assert again.fingerprint == found.fingerprint


def test_words_of_the_test_text_that_were_never_seen_are_unknown_and_counted(corpus: str) -> None:
    vocabulary = load_text_split(corpus, TRAIN, None).vocabulary
    found = load_text_split(corpus, TEST, vocabulary)
    assert found.vocabulary == vocabulary
    assert "unseen" not in vocabulary.tokens
    known = set(vocabulary.tokens[2:]) | {END}
    assert found.unknown == sum(token not in known for segment in open_text(corpus).segments(TEST) for token in segment)
    assert found.vocabulary.decode(found.tokens).splitlines()[0].endswith(" in it <unk> <unk>")
    assert found.fingerprint != load_text_split(corpus, VALIDATION, vocabulary).fingerprint


def test_a_vocabularys_rule_wins(corpus: str) -> None:
    vocabulary = load_text_split(corpus, TRAIN, None, tokens="words").vocabulary
    found = load_text_split(corpus, VALIDATION, vocabulary, tokens="spaces")
    assert found.vocabulary.rule == "words"


def test_reading_a_split_takes_little_memory_for_a_token(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.txt", sentences(20_000))
    tracemalloc.start()
    try:
        found = load_text_split(str(path), TRAIN, None, min_count=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The file's text alone, as lists of strings, would take sixty bytes a token.
    assert len(found.tokens) == 16_000 * 10
    assert peak < 40 * len(found.tokens)


# --- what cannot be used


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sentences": 0}, "sentences is 0; it must be at least 1"),
        ({"validation_sentences": -1}, "validation_sentences is -1; it must be at least 1"),
        ({"max_tokens": 1}, "max_tokens is 1; it must be at least 2"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"sample": "last"}, "no sample is called 'last'; there are random, first"),
        ({"max_vocabulary": 2}, "max_vocabulary is 2; it must be at least 3"),
        ({"min_count": 0}, "min_count is 0; it must be at least 1"),
    ],
)
def test_settings_out_of_range(corpus: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        proxy(corpus, **options)


def test_too_little_text(tmp_path: Path) -> None:
    penn(tmp_path)
    text_file(tmp_path / "ptb.valid.txt", ["", " "])
    with pytest.raises(DataError, match=r"0 tokens for validation; at least two are needed"):
        proxy(tmp_path)
    text_file(tmp_path / "ptb.train.txt", ["x"])
    with pytest.raises(DataError, match=r"1 token for train; at least two are needed, one to be predicted from"):
        proxy(tmp_path)
    with pytest.raises(DataError, match=r"1 token for train"):
        load_text_split(str(tmp_path), TRAIN, None)


def test_vocabularies_that_do_not_fit(corpus: str) -> None:
    with pytest.raises(InputError, match=r"the test split needs the vocabulary that was made from training text"):
        load_text_split(corpus, TEST, None)
    vocabulary = load_text_split(corpus, TRAIN, None).vocabulary
    with pytest.raises(InputError, match=r"the vocabulary is of level word, but level is char; they must agree"):
        load_text_split(corpus, TEST, vocabulary, level="char")


# --- the real one


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="no ptb folder in the folder named by AUTOSHRINK_DATA")
def test_penn_treebank_has_a_vocabulary_of_ten_thousand_when_nothing_is_left_out() -> None:
    found = load_text_split(str(REAL), TRAIN, None, min_count=1)
    assert len(found.tokens) == 929_589
    assert len(found.vocabulary) == 10_000
    assert found.vocabulary.tokens[:5] == (UNKNOWN, END, "the", "N", "of")
    assert found.vocabulary.counts[:3] == (45_020, 42_068, 50_770)
    test = load_text_split(str(REAL), TEST, found.vocabulary)
    assert (len(test.tokens), test.unknown) == (82_430, 4_794)
