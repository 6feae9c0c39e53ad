"""The vocabulary of a language model: which tokens it knows, and their numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from autoshrink.data.names import composed
from autoshrink.data.tokenising import END, LEVELS, UNKNOWN, WORD_RULES, Level, Rule, cut, joined
from autoshrink.errors import InputError
from autoshrink.untrusted import brief

VOCABULARY_FORMAT = "autoshrink.vocabulary/1"

Ids = npt.NDArray[np.int32]
"""Tokens as numbers, int32 (n,): places in `Vocabulary.tokens`."""

_SPECIAL = (UNKNOWN, END)
_FIELDS = ("format", "level", "rule", "tokens", "counts")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens a model knows, with how often each stands in the text that the vocabulary was made from.

    A token's number (id) is its place in `tokens`: 0 is `<unk>`, 1 is `<eos>`, the others follow by falling count,
    equal counts in alphabetical order. The count of `<unk>` is that of all tokens that it stands for. `level` and
    `rule` say how text was cut into tokens, so that new text can be cut alike.
    """

    tokens: tuple[str, ...]
    counts: tuple[int, ...]
    level: Level
    rule: Rule

    unknown: ClassVar[int] = 0
    """The id of `<unk>`."""
    end: ClassVar[int] = 1
    """The id of `<eos>`."""

    @classmethod
    def build(
        cls,
        segments: Iterable[Iterable[str]],
        *,
        level: Level,
        max_size: int | None,
        min_count: int,
        rule: Rule | None = None,
    ) -> "Vocabulary":
        """Make the vocabulary of these lists of tokens; for its arguments see `from_counts`.

        Without `rule` the tokens are taken for words cut by the rule "words", or for characters, as `level` says.
        """
        counts = Counter(chain.from_iterable(segments))
        made = rule or ("characters" if level == "char" else "words")
        return cls.from_counts(counts, level=level, rule=made, max_size=max_size, min_count=min_count)

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], *, level: Level, rule: Rule, max_size: int | None, min_count: int
    ) -> "Vocabulary":
        """Make the vocabulary of tokens seen so often.

        Tokens seen less often than `min_count` times become `<unk>`, and of the rest the rarest when there are more
        than `max_size` tokens, `<unk>` and `<eos>` among them. Raises InputError when `max_size` is below 3 or
        `min_count` below 1.
        """
        if max_size is not None and max_size < 3:
            raise InputError(f"max_vocabulary is {max_size}; it must be at least 3, or no token but {END} is known")
        if min_count < 1:
            raise InputError(f"min_count is {min_count}; it must be at least 1")
        often = [token for token, count in counts.items() if count >= min_count and token not in _SPECIAL]
        often.sort(key=lambda token: (-counts[token], token))
        kept = often if max_size is None else often[: max_size - len(_SPECIAL)]
        kept_counts = [counts[token] for token in kept]
        ended = counts.get(END, 0)
        unknown = sum(counts.values()) - ended - sum(kept_counts)
        return cls((*_SPECIAL, *kept), (unknown, ended, *kept_counts), level, rule)

    def __len__(self) -> int:
        """Return how many tokens are known, `<unk>` and `<eos>` among them."""
        return len(self.tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, tokens: Iterable[str]) -> Ids:
        """Return the id of each token, int32 (n,); 0 for what is not known."""
        return np.array([self._ids.get(token, self.unknown) for token in tokens], dtype=np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """Return ids as text for a person (see `tokenising.joined`). Raises InputError for an id that is none."""
        numbers = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < len(self):
                raise InputError(f"token {number} is outside the vocabulary; it has 0..{len(self) - 1}")
        return joined((self.tokens[number] for number in numbers), self.rule)

    def tokenise(self, text: str) -> list[str]:
        """Return the tokens of a text, cut as the vocabulary's own text was; `<eos>` stands for every line end.

        The last line is left open when it has no line end, so that a model can go on with it. Blank lines are dropped
        except under the rule "spaces". Where the vocabulary's text had no `<eos>`, a line end is white space.
        """
        text = composed(text)
        if not self.counts[self.end]:
            return cut(" ".join(text.splitlines()), self.rule)
        *ended, last = text.replace("\r\n", "\n").split("\n")
        keep_blank = self.rule == "spaces"
        tokens = [token for line in ended if keep_blank or line.strip() for token in (*cut(line, self.rule), END)]
        return tokens + cut(last, self.rule)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary file's object (format `autoshrink.vocabulary/1`)."""
        values = (VOCABULARY_FORMAT, self.level, self.rule, list(self.tokens), list(self.counts))
        return dict(zip(_FIELDS, values, strict=True))

    @classmethod
    def from_json(cls, value: object) -> "Vocabulary":
        """Return the vocabulary that `to_json` gave. Raises InputError, naming the field, for anything else."""
        if not isinstance(value, dict) or value.get("format") != VOCABULARY_FORMAT:
            found = value.get("format") if isinstance(value, dict) else value
            raise InputError(f'a vocabulary has "format": "{VOCABULARY_FORMAT}", not {brief(found)}')
        for name in _FIELDS:
            if name not in value:
                raise InputError(f"vocabulary: the field {name} is missing")
        for name in value.keys() - set(_FIELDS):
            raise InputError(f"vocabulary: unknown field {brief(name)}; it has {', '.join(_FIELDS)}")
        level, rule, tokens, counts = (value[name] for name in _FIELDS[1:])
        if level not in LEVELS:
            raise InputError(f"vocabulary, level: {brief(level)} is none of {', '.join(LEVELS)}")
        rules = WORD_RULES if level == "word" else ("characters",)
        if rule not in rules:
            raise InputError(f"vocabulary, rule: {brief(rule)} is none of {', '.join(rules)}, those of level {level}")
        if not isinstance(tokens, list) or tokens[:2] != list(_SPECIAL):
            raise InputError(f"vocabulary, tokens: {brief(tokens)} is no list that begins with {UNKNOWN}, {END}")
        if not isinstance(counts, list) or len(counts) != len(tokens):
            held = len(counts) if isinstance(counts, list) else brief(counts)
            raise InputError(f"vocabulary, counts: {held} for {len(tokens)} tokens; each token has one")
        _check(tokens, counts, level)
        return cls(tuple(tokens), tuple(counts), level, rule)


def _check(tokens: list[object], counts: list[object], level: Level) -> None:
    places: dict[object, int] = {}
    for number, (token, count) in enumerate(zip(tokens, counts, strict=True)):
        if not isinstance(token, str) or not token or (level == "char" and number > 1 and len(token) > 1):
            kind = "one character" if level == "char" else "a text"
            raise InputError(f"vocabulary, tokens, number {number}: {brief(token)} is not {kind}")
        if places.setdefault(token, number) != number:
            raise InputError(f"vocabulary, tokens, number {number}: {brief(token)} stands there twice")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise InputError(f"vocabulary, counts, number {number}: {brief(count)} is no number of times")
