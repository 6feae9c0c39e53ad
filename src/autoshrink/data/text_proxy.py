"""Text as arrays of token ids: proxy texts, which are small seeded draws of sentences, and whole splits."""

import hashlib
import json
from array import array
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from autoshrink.data.images import TRAIN, VALIDATION
from autoshrink.data.text import TextSource
from autoshrink.data.text_opening import Tokens, open_text
from autoshrink.data.tokenising import UNKNOWN, Level
from autoshrink.data.vocabulary import Ids, Vocabulary
from autoshrink.errors import DataError, InputError
from autoshrink.quantity import counted

Sample = Literal["random", "first"]
SAMPLES: tuple[Sample, ...] = ("random", "first")

MOST_UNKNOWN, MANY_UNKNOWN = 0.5, 0.2
"""Of the words of a split: above the first share that are `<unk>`, a perplexity says next to nothing about the text,
and it is refused; above the second there is a note."""
MANY_REPEATED = 0.1
"""Of the validation lines: above this share that stand in the training text too, there is a note."""
_SHORT = 5
"""Tokens; lines of fewer, such as `the end`, are expected to come again."""


@dataclass(frozen=True, eq=False)
class TextProxy:
    """The data of the proxy task: `train` int32 (n,) and `validation` int32 (m,), ids of consecutive tokens.

    `train_sentences` and `validation_sentences` are counts. `unknown_share` is the share of validation tokens that are
    `<unk>`. `notes` are sentences for a person. `fingerprint` is the sha256 (hexadecimal) of vocabulary and ids: equal
    exactly when two proxies hold the same data.
    """

    name: str
    vocabulary: Vocabulary
    train: Ids
    validation: Ids
    train_sentences: int
    validation_sentences: int
    unknown_share: float
    fingerprint: str
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class EncodedText:
    """A whole split: `tokens` int32 (n,), of which `unknown` are `<unk>`. The rest as in `TextProxy`."""

    name: str
    vocabulary: Vocabulary
    tokens: Ids
    unknown: int
    fingerprint: str
    notes: tuple[str, ...]


def load_text_proxy(  # noqa: PLR0913 - one keyword per setting
    spec: str,
    *,
    level: Level = "word",
    tokens: Tokens = "auto",
    sentences: int,
    validation_sentences: int,
    max_vocabulary: int | None,
    min_count: int,
    sample: Sample = "random",
    shared_vocabulary: bool = False,
    seed: int,
    max_tokens: int | None = None,
) -> TextProxy:
    """Draw a proxy text from the training and the validation split of `spec`; a test file is never opened.

    `sample` "random" draws that many sentences of each split (fewer where it has fewer) without replacement, by a
    seeded generator for each, and keeps them in the text's order; "first" takes the first ones, as the text that the
    authors released does. Empty lines are not drawn. `max_tokens` bounds each of the two arrays: the sentences drawn
    last, or standing last, are left out.

    The vocabulary is made from the training sentences (see `Vocabulary.from_counts`), or from those of both splits
    where it is `shared_vocabulary`, as in the released code, which adds the test text's words too.

    Raises DataError for anything wrong with the text, when fewer than two tokens come out for either array, and when
    most words of either are `<unk>`; InputError for a setting out of range.
    """
    for name, least, number in (
        ("sentences", 1, sentences),
        ("validation_sentences", 1, validation_sentences),
        ("max_tokens", 2, max_tokens),
        ("seed", 0, seed),
    ):
        if number is not None and number < least:
            raise InputError(f"{name} is {number}; it must be at least {least}")
    if sample not in SAMPLES:
        raise InputError(f"no sample is called {sample!r}; there are {', '.join(SAMPLES)}")
    source = open_text(spec, level=level, tokens=tokens)
    drawn: dict[str, list[list[str]]] = {}
    notes = list(source.notes)
    for stream, (split, count) in enumerate(((TRAIN, sentences), (VALIDATION, validation_sentences))):
        # A generator for each split: how many sentences one gives does not change the draw of the other.
        generator = np.random.Generator(np.random.PCG64([seed, stream])) if sample == "random" else None
        drawn[split], why = _drawn(source, split, count, max_tokens, generator)
        notes += why
    vocabulary = Vocabulary.build(
        chain.from_iterable(drawn.values()) if shared_vocabulary else drawn[TRAIN],
        level=level,
        rule=source.tokens,
        max_size=max_vocabulary,
        min_count=min_count,
    )
    ids = {split: vocabulary.encode(chain.from_iterable(lines)) for split, lines in drawn.items()}
    for split, encoded in ids.items():
        notes += _usable(source, split, encoded, vocabulary)
    train, validation = ids[TRAIN], ids[VALIDATION]
    return TextProxy(
        name=source.name,
        vocabulary=vocabulary,
        train=train,
        validation=validation,
        train_sentences=len(drawn[TRAIN]),
        validation_sentences=len(drawn[VALIDATION]),
        unknown_share=float(np.mean(validation == vocabulary.unknown)),
        fingerprint=_fingerprint(vocabulary, train, validation),
        notes=(*notes, *repeated_lines(train, validation, vocabulary)),
    )


def load_unseen_text(
    spec: str,
    vocabulary: Vocabulary,
    *,
    level: Level,
    tokens: Tokens,
    after: int,
    sentences: int,
    sample: Sample,
    seed: int,
) -> tuple[Ids, int]:
    """The training sentences that `load_text_proxy` would draw after so many, by the same seed, and how many they are.

    Raises DataError where there are none, and as `load_text_proxy` for anything wrong with the text.
    """
    source = open_text(spec, level=level, tokens=tokens)
    count = source.count(TRAIN)
    order = np.random.Generator(np.random.PCG64([seed, 0])).permutation(count) if sample == "random" else range(count)
    places = sorted(int(place) for place in order[after : after + sentences])
    if not places:
        raise DataError(
            f"{source.location}: all {count:,} training sentences are the search's own, so none is left that it does "
            "not see; lower --sentences"
        )
    ids = vocabulary.encode(chain.from_iterable(source.pick(TRAIN, places)))
    _usable(source, TRAIN, ids, vocabulary)
    return ids, len(places)


def load_text_split(
    spec: str,
    split: str,
    vocabulary: Vocabulary | None,
    *,
    level: Level = "word",
    tokens: Tokens = "auto",
    max_vocabulary: int | None = None,
    min_count: int = 1,
) -> EncodedText:
    """Encode a whole split of `spec`, sentence after sentence, with a vocabulary as it is.

    With a `vocabulary`, its rule cuts the text, whatever `tokens` and the last two arguments say, and what it does not
    know is `<unk>`. Without one, the vocabulary is made from the split, which must be the training split. The text is
    read as a stream: a split of n tokens takes 16n bytes at most.

    Raises DataError for anything wrong with the text, when fewer than two tokens come out, and when most of them are
    `<unk>`; InputError for a vocabulary of another level, and for none where one is needed.
    """
    if vocabulary is None and split != TRAIN:
        raise InputError(f"the {split} split needs the vocabulary that was made from training text; give it")
    if vocabulary is not None and vocabulary.level != level:
        raise InputError(f"the vocabulary is of level {vocabulary.level}, but level is {level}; they must agree")
    source = open_text(spec, level=level, tokens=tokens if vocabulary is None else _rule_of(vocabulary))
    if vocabulary is None:
        ids, vocabulary = _numbered(source, max_vocabulary, min_count)
    else:
        stream = array("i")
        for segment in source.segments(split):
            stream.frombytes(vocabulary.encode(segment).tobytes())
        ids = _as_ids(stream)
    doubts = _usable(source, split, ids, vocabulary)
    return EncodedText(
        name=source.name,
        vocabulary=vocabulary,
        tokens=ids,
        unknown=int(np.count_nonzero(ids == vocabulary.unknown)),
        fingerprint=_fingerprint(vocabulary, ids),
        notes=(*source.notes, *doubts),
    )


def _usable(source: TextSource, split: str, ids: Ids, vocabulary: Vocabulary) -> tuple[str, ...]:
    """A sentence where many words of a split are unknown to the vocabulary, line ends not counted.

    A model of nothing but `<unk>` has a perplexity near 1. Raises DataError where more than `MOST_UNKNOWN` are, and
    where there is next to nothing.
    """
    if len(ids) < 2:
        held = counted(len(ids), "token")
        raise DataError(
            f"{source.location}: {held} for {split}; at least two are needed, one to be predicted from the other"
        )
    words = ids[ids != vocabulary.end]
    share = float(np.mean(words == vocabulary.unknown)) if len(words) else 0.0
    unit, other = ("words", ", take --level char") if vocabulary.level == "word" else ("characters", "")
    found = f"{share:.0%} of the {split} {unit} are unknown ({UNKNOWN})"
    ways = (
        f"keep rarer words (a larger --vocabulary, --set data.min_count=1){other}, or give text of the vocabulary's "
        "kind"
    )
    if share > MOST_UNKNOWN:
        raise DataError(f"{source.location}: {found}, so a perplexity would say next to nothing about the text\n{ways}")
    return (f"{found}, which makes a perplexity look low; {ways}",) if share > MANY_UNKNOWN else ()


def repeated_lines(train: Ids, validation: Ids, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return a sentence where many lines of the validation text stand in the training text too."""
    known = set(_lines(train, vocabulary.end))
    lines = _lines(validation, vocabulary.end)
    share = sum(line in known for line in lines) / max(1, len(lines))
    if share <= MANY_REPEATED:
        return ()
    return (
        f"{share:.0%} of the validation lines stand in the training text too, so figures look better than they are",
    )


def _lines(ids: Ids, end: int) -> list[bytes]:
    parts = np.split(ids, np.flatnonzero(ids == end) + 1)
    return [part.tobytes() for part in parts if len(part) > _SHORT and part[-1] == end]


def _drawn(
    source: TextSource, split: str, count: int, max_tokens: int | None, generator: np.random.Generator | None
) -> tuple[list[list[str]], list[str]]:
    """Sentences in the text's order, the first ones where there is no generator; and what is to be said of them."""
    order = list(range(count))
    if generator is not None:
        order = generator.permutation(source.count(split))[:count].tolist()
    places = sorted(order)
    picked = dict(zip(places, source.pick(split, places), strict=generator is not None))
    order = [place for place in order if place in picked]
    lengths = np.cumsum([len(picked[place]) for place in order])
    fitting = len(order) if max_tokens is None else int(np.searchsorted(lengths, max_tokens, "right"))
    # At least one, which is cut where it alone has too many tokens.
    kept = [picked[place][:max_tokens] for place in sorted(order[: max(1, fitting)])]
    if len(kept) == count:
        return kept, []
    why = "the text has no more" if len(kept) == len(picked) else f"more would be over {max_tokens:,} tokens"
    return kept, [f"{len(kept):,} of {count:,} {split} sentences are used: {why}"]


def _numbered(source: TextSource, max_size: int | None, min_count: int) -> tuple[Ids, Vocabulary]:
    """Return the training split's ids and vocabulary from one reading: tokens are numbered as they come, then sorted.

    The text would else be read twice, or be kept as a hundred bytes a token.
    """
    numbers: dict[str, int] = {}
    stream = array("i")
    for segment in source.segments(TRAIN):
        stream.extend([numbers.setdefault(token, len(numbers)) for token in segment])
    came = _as_ids(stream)
    counts = dict(zip(numbers, np.bincount(came, minlength=len(numbers)).tolist(), strict=True))
    vocabulary = Vocabulary.from_counts(
        counts, level=source.level, rule=source.tokens, max_size=max_size, min_count=min_count
    )
    return vocabulary.encode(numbers)[came], vocabulary


def _as_ids(stream: "array[int]") -> Ids:
    return np.frombuffer(stream, dtype=np.int32) if stream else np.empty(0, dtype=np.int32)


def _rule_of(vocabulary: Vocabulary) -> Tokens:
    return "auto" if vocabulary.rule == "characters" else vocabulary.rule


def _fingerprint(vocabulary: Vocabulary, *parts: Ids) -> str:
    fingerprint = hashlib.sha256(json.dumps([vocabulary.level, vocabulary.rule, vocabulary.tokens]).encode())
    for part in parts:
        fingerprint.update(f"{part.shape}".encode())
        fingerprint.update(part.astype("<i4").tobytes())
    return fingerprint.hexdigest()
