"""The vocabulary: which tokens it keeps, in which order, there and back, and what a file of it must hold."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.data import Vocabulary
from autoshrink.data.tokenising import END, UNKNOWN
from autoshrink.errors import InputError

SEGMENTS = [
    ["b", "a", "c", "a", END],
    ["<unk>", "b", "a", "d", END],
    [END],
]

words = st.lists(st.lists(st.sampled_from([*"abcdefgh", UNKNOWN, END]), max_size=12), max_size=8)


def build(segments: Any = SEGMENTS, *, max_size: int | None = None, min_count: int = 1) -> Vocabulary:
    return Vocabulary.build(segments, level="word", rule="spaces", max_size=max_size, min_count=min_count)


@pytest.mark.parametrize(
    ("max_size", "min_count", "tokens", "counts"),
    [
        (None, 1, "a b c d", (1, 3, 3, 2, 1, 1)),
        (None, 2, "a b", (3, 3, 3, 2)),
        (5, 1, "a b c", (2, 3, 3, 2, 1)),
        (3, 1, "a", (5, 3, 3)),
        (100, 3, "a", (5, 3, 3)),
        (None, 9, "", (8, 3)),
    ],
)
def test_by_hand(max_size: int | None, min_count: int, tokens: str, counts: tuple[int, ...]) -> None:
    vocabulary = build(max_size=max_size, min_count=min_count)
    assert vocabulary.tokens == (UNKNOWN, END, *tokens.split())
    assert vocabulary.counts == counts
    assert len(vocabulary) == len(counts)


@given(segments=words, max_size=st.none() | st.integers(3, 12), min_count=st.integers(1, 5))
def test_laws(segments: list[list[str]], max_size: int | None, min_count: int) -> None:
    vocabulary = build(segments, max_size=max_size, min_count=min_count)
    seen = Counter(token for segment in segments for token in segment)
    assert max_size is None or len(vocabulary) <= max_size
    assert sum(vocabulary.counts) == seen.total()
    kept = list(zip(vocabulary.tokens, vocabulary.counts, strict=True))[2:]
    assert kept == sorted(kept, key=lambda pair: (-pair[1], pair[0]))
    assert all(seen[token] == count >= min_count for token, count in kept)
    if max_size is None:
        assert {token for token, _ in kept} == {t for t, n in seen.items() if n >= min_count} - {UNKNOWN, END}
    # The counts are a histogram of the encoded text.
    ids = np.concatenate([np.empty(0, np.int32), *map(vocabulary.encode, segments)])
    assert tuple(np.bincount(ids.astype(int), minlength=len(vocabulary)).tolist()) == vocabulary.counts
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@given(segments=words)
def test_what_is_known_comes_back(segments: list[list[str]]) -> None:
    vocabulary = build(segments)
    tokens = [token for segment in segments for token in segment]
    ids = vocabulary.encode(tokens)
    assert ids.dtype == np.int32
    assert [vocabulary.tokens[number] for number in ids] == tokens
    if END in tokens:
        assert vocabulary.tokenise(vocabulary.decode(ids)) == tokens


@given(text=st.text(st.sampled_from("ab \n."), max_size=30))
@pytest.mark.parametrize("rule", ["spaces", "words", "characters"])
def test_a_prompt_is_cut_as_the_text_was(rule: Any, text: str) -> None:
    level: Any = "char" if rule == "characters" else "word"
    vocabulary = Vocabulary.build([["a", END]], level=level, rule=rule, max_size=None, min_count=1)
    tokens = vocabulary.tokenise(text)
    lines = text.split("\n")
    assert tokens.count(END) == sum(rule == "spaces" or line.strip() != "" for line in lines[:-1])
    assert vocabulary.tokenise(text.replace("\n", "\r\n")) == tokens
    assert vocabulary.tokenise(lines[-1]) == tokens[len(tokens) - len(vocabulary.tokenise(lines[-1])) :]


def test_where_no_line_ended_a_prompts_line_end_is_white_space() -> None:
    vocabulary = Vocabulary.build([["a", " "]], level="char", max_size=None, min_count=1)
    assert vocabulary.rule == "characters"
    assert vocabulary.tokenise("ab\na") == ["a", "b", " ", "a"]


def test_decoding_for_a_person() -> None:
    sentence = ["I", "don't", "(", "really", ")", "know", ",", END, "<unk>", "."]
    vocabulary = Vocabulary.build([sentence], level="word", max_size=None, min_count=1)
    assert vocabulary.rule == "words"
    assert vocabulary.decode(vocabulary.encode(sentence)) == "I don't (really) know,\n<unk>."
    for number in (-1, len(vocabulary)):
        with pytest.raises(
            InputError, match=rf"token {number} is outside the vocabulary; it has 0..{len(vocabulary) - 1}"
        ):
            vocabulary.decode([0, number])


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match=r"max_vocabulary is 2; it must be at least 3"):
        build(max_size=2)
    with pytest.raises(InputError, match=r"min_count is 0; it must be at least 1"):
        build(min_count=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "autoshrink.vocabulary/2"}, '"format": "autoshrink.vocabulary/1", not \'autoshrink.vocabulary/2\''),
        ({"format": None}, "a vocabulary has .* not None"),
        ({"level": "byte"}, "vocabulary, level: 'byte' is none of word, char"),
        ({"level": []}, r"vocabulary, level: \[\] is none of"),
        ({"level": "char"}, "vocabulary, rule: 'spaces' is none of characters, those of level char"),
        (
            {"level": "char", "rule": "characters", "tokens": ["<unk>", "<eos>", "ab"], "counts": [1, 1, 1]},
            "number 2: 'ab' is not one charac",
        ),
        ({"rule": "bpe"}, "vocabulary, rule: 'bpe' is none of spaces, words"),
        ({"tokens": "abc"}, "vocabulary, tokens: 'abc' is no list that begins with <unk>, <eos>"),
        ({"tokens": ["<eos>", "<unk>"]}, "vocabulary, tokens: .* is no list that begins with"),
        ({"tokens": ["<unk>", "<eos>", 3], "counts": [1, 1, 1]}, "vocabulary, tokens, number 2: 3 is not a text"),
        ({"tokens": ["<unk>", "<eos>", ""], "counts": [1, 1, 1]}, "vocabulary, tokens, number 2: '' is not a text"),
        (
            {"tokens": ["<unk>", "<eos>", "a", "a"], "counts": [1] * 4},
            "vocabulary, tokens, number 3: 'a' stands there twice",
        ),
        ({"counts": [1]}, "vocabulary, counts: 1 for 6 tokens; each token has one"),
        ({"counts": None}, "vocabulary, counts: None for 6 tokens"),
        ({"counts": [1, 2, 3, 4, 5, -6]}, "vocabulary, counts, number 5: -6 is no number of times"),
        ({"counts": [True, 2, 3, 4, 5, 6]}, "vocabulary, counts, number 0: True is no number of times"),
        ({"colour": 1}, "vocabulary: unknown field 'colour'; it has format, level, rule, tokens, counts"),
    ],
)
def test_files_that_are_no_vocabulary(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Vocabulary.from_json(build().to_json() | change)


def test_other_things_that_are_no_vocabulary() -> None:
    with pytest.raises(InputError, match=r"a vocabulary has \"format\": .*, not \[1\]"):
        Vocabulary.from_json([1])
    for name in ("level", "rule", "tokens", "counts"):
        value = build().to_json()
        del value[name]
        with pytest.raises(InputError, match=f"vocabulary: the field {name} is missing"):
            Vocabulary.from_json(value)
