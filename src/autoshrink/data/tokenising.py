"""Text to tokens and back: the rules by which a line is cut, and how tokens are set as readable text."""

import re
from collections.abc import Iterable
from typing import Literal

Level = Literal["word", "char"]
Rule = Literal["spaces", "words", "characters"]
"""How a line is cut: at white space; into words, numbers and signs; into characters (the one rule of level "char")."""

LEVELS: tuple[Level, ...] = ("word", "char")
WORD_RULES: tuple[Rule, ...] = ("spaces", "words")

UNKNOWN, END = "<unk>", "<eos>"
"""The token for every word outside the vocabulary, and the token that ends a line."""

# In this order: a marker such as <unk>; a number with inner points or commas; a word with inner apostrophes or
# hyphens; any other sign by itself. No token spans white space, on which `documents.TextFile.blocks` relies.
_WORD = re.compile(r"<\w+>|\d+(?:[.,]\d+)+|\w+(?:['’-]\w+)*|\S")

_CLOSING = frozenset(".,;:!?%)]}…”’»")
_OPENING = frozenset("([{“‘«")
_QUOTE = '"'


def cut(line: str, rule: Rule) -> list[str]:
    """Return the tokens of one line, without `END`.

    "spaces" cuts at white space. "words" keeps words with inner apostrophes and hyphens whole (`don't`, `so-called`),
    numbers (`1,000.5`) and markers (`<unk>`); every other sign is a token. "characters" gives each character.
    """
    if rule == "spaces":
        return line.split()
    return _WORD.findall(line) if rule == "words" else list(line)


def joined(tokens: Iterable[str], rule: Rule) -> str:
    """Return tokens as text for a person: `END` becomes a line end; cutting the text gives the tokens again.

    Under the rule "words", signs that close or open something stand next to their word, and straight quotation marks
    open and close in turn; under "spaces" one space stands between any two tokens.
    """
    lines: list[list[str]] = [[]]
    for token in tokens:
        if token == END:
            lines.append([])
        else:
            lines[-1].append(token)
    if rule == "words":
        return "\n".join(map(_set, lines))
    return "\n".join(("" if rule == "characters" else " ").join(line) for line in lines)


def _set(line: list[str]) -> str:
    text, opened, quoted = "", True, False
    for token in line:
        closes = token in _CLOSING or (token == _QUOTE and quoted)
        text += token if opened or closes else f" {token}"
        quoted ^= token == _QUOTE
        opened = token in _OPENING or (token == _QUOTE and quoted)
    return text
