"""From a text SPEC (a name or a path) to a text source."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from autoshrink.data.documents import Document
from autoshrink.data.images import TEST, TRAIN
from autoshrink.data.opening import find
from autoshrink.data.sources import FoundText, TextReader, opening
from autoshrink.data.text import BLOCKS, CARVED_SHARE, FEWEST_LINES, PIECE, TextSource, to_carve, units_of
from autoshrink.data.tokenising import LEVELS, UNKNOWN, WORD_RULES, Level, Rule
from autoshrink.errors import DataError
from autoshrink.escaping import printable
from autoshrink.quantity import counted

Tokens = Literal["auto", "spaces", "words"]

LEAST_UNKNOWN = 1 / 1000
"""Of the words of a tokenised text, those that are `<unk>`; WikiText-103 has four times as many."""
EVIDENCE = 100_000
"""Characters that are looked through for how the text is to be cut."""
_SIGNS = ",;?!"


def open_text(spec: str, *, level: Level = "word", tokens: Tokens = "auto") -> TextSource:
    """Open the text that `spec` names. The training text is looked through; a test file is not even opened.

    `spec` is `pydocs`, a known name (`ptb`, `wikitext2`), or a path: a UTF-8 text file, a folder with a file for each
    split, a folder of text files, or a zip archive of either (see `opening.find`). `tokens` says how lines become
    words: "spaces", "words", or "auto" for "spaces" where the training text is tokenised already (see `_Survey`). At
    level "char" it has no effect.

    Splits that the text does not have are carved from it (see `carve`); from training text beside given splits, only
    validation is. Raises DataError when nothing is there, and when it is no text or has too little to be split.
    """
    if level not in LEVELS:
        raise DataError(f"no level is called {level!r}; there are {', '.join(LEVELS)}")
    if tokens not in ("auto", *WORD_RULES):
        raise DataError(f"no rule for tokens is called {tokens!r}; there are auto, {', '.join(WORD_RULES)}")
    name, location, found = _found(spec)
    documents, carved = found.files[TRAIN], to_carve(found.files, divided=found.divided)
    survey = _Survey()
    survey.read(documents, whole=bool(carved))
    if not survey.lines:
        raise DataError(f"{location}: {'only white space' if survey.characters else 'empty'}; give a text with words")
    rule: Rule = "characters"
    if level == "word":
        rule = ("spaces" if survey.tokenised else "words") if tokens == "auto" else tokens
    pieces = survey.lines < FEWEST_LINES
    unit = "words" if level == "word" else "characters"
    total = survey.lines if carved else 0
    if carved and pieces:
        total = sum(1 for _ in units_of(documents, rule, PIECE[level]))
    if total <= len(carved) and carved:
        raise DataError(
            f"{location}: too short to take {' and '.join(carved)} text out of it; needed are more than "
            f"{len(carved) * PIECE[level]} {unit}, or {FEWEST_LINES} lines"
        )
    lines, times = counted(survey.lines, "line"), "once" if survey.unknown == 1 else f"{survey.unknown:,} times"
    sentences = (
        (pieces, f"the text has {lines}; it is cut into pieces of {PIECE[level]} {unit} instead"),
        (
            carved,
            f"no {' and no '.join(carved)} text is given: {CARVED_SHARE:.0%} of the training text for each, in "
            f"blocks of consecutive {'pieces' if pieces else 'lines'} ({BLOCKS} blocks, always the same)",
        ),
        (
            tokens == "auto" and rule == "words" and survey.unknown,
            f"{UNKNOWN} stands in the text {times}, but the rest is prose, so signs are cut off words; "
            "--set data.tokens=spaces cuts at white space alone",
        ),
    )
    return TextSource(
        name=name,
        location=location,
        level=level,
        tokens=rule,
        files=found.files,
        carved=carved,
        total=total,
        pieces=pieces,
        notes=(*found.notes, *(sentence for there, sentence in sentences if there)),
    )


def has_test_text(spec: str) -> bool:
    """Whether `evaluate` finds a test text: one is given, or taken out of a text without splits.

    Raises:
        DataError: nothing is there, or no text.
    """
    found = _found(spec)[2]
    return TEST in (*found.files, *to_carve(found.files, divided=found.divided))


def _found(spec: str) -> tuple[str, str, FoundText]:
    """Name, location and documents."""
    with opening(spec):
        reader, place = find(spec, "text")
        return place.name, printable(str(place.path)), cast("TextReader", reader).open(place)


@dataclass
class _Survey:
    """What the training text is like, as far as it was looked at: its lines that are not blank, its characters, and in
    its beginning the words in all, `<unk>` among them, and signs left on words.

    In tokenised text rare words are `<unk>` (4.8 % in Penn Treebank, .4 % in WikiText-103) and signs stand by
    themselves. In prose a comma or a question mark is part of what stands between two spaces.
    """

    lines: int = 0
    characters: int = 0
    words: int = 0
    unknown: int = 0
    glued: int = 0

    @property
    def tokenised(self) -> bool:
        """Whether the text is tokenised already."""
        return self.unknown > self.glued and self.unknown >= LEAST_UNKNOWN * self.words

    def read(self, documents: Iterable[Document], *, whole: bool) -> None:
        """Read the documents, whole or until no more needs to be known; a line of any length costs no memory."""
        for document in documents:
            held = False  # whether the line that has begun has anything but white space
            for block in document.blocks():
                words = block[: max(0, EVIDENCE - self.characters)].split()
                self.words += len(words)
                self.unknown += words.count(UNKNOWN)
                self.glued += sum(len(word) > 1 and word[-1] in _SIGNS for word in words)
                self.characters += len(block)
                first, *others = block.split("\n")
                held = held or bool(first.strip())
                for line in others:
                    self.lines += held
                    held = bool(line.strip())
                if not whole and self.lines >= FEWEST_LINES and self.characters >= EVIDENCE:
                    return
            self.lines += held
