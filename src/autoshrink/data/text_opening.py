"""From a text SPEC (a name or a path) to a text source."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from autoshrink.data import catalogue
from autoshrink.data.documents import Document
from autoshrink.data.images import TEST, TRAIN, one_line
from autoshrink.data.pydocs import NOTE, open_pydocs
from autoshrink.data.text import BLOCKS, CARVED_SHARE, FEWEST_LINES, PIECE, TextSource, to_carve, units_of
from autoshrink.data.text_files import ACCEPTED, FoundText, find_text
from autoshrink.data.tokenising import LEVELS, UNKNOWN, WORD_RULES, Level, Rule
from autoshrink.errors import DataError
from autoshrink.escaping import printable
from autoshrink.files import named

Tokens = Literal["auto", "spaces", "words"]


def open_text(spec: str, *, level: Level = "word", tokens: Tokens = "auto") -> TextSource:
    """Open the text that `spec` names. The training text is looked through; a test file is not even opened.

    `spec` is `pydocs`, a known name (`ptb`, `wikitext2`: looked up in the folder named by AUTOSHRINK_DATA, then in the
    user's data folder), or a path: a UTF-8 text file, a folder with a file for each split, a folder of text files, or a
    zip archive of either. `tokens` says how lines become words: "spaces", "words", or "auto" for "spaces" where the
    training text is tokenised already (see `_Marks`). At level "char" it has no effect.

    Splits that the text does not have are carved from it (see `carve`); from training text beside given splits, only
    validation is. Raises DataError when nothing is there, and when it is no text or has too little to be split.
    """
    if level not in LEVELS:
        raise DataError(f"no level is called {level!r}; there are {', '.join(LEVELS)}")
    if tokens not in ("auto", *WORD_RULES):
        raise DataError(f"no rule for tokens is called {tokens!r}; there are auto, {', '.join(WORD_RULES)}")
    try:
        name, location, found = _found(spec)
    except OSError as error:
        raise DataError(f"{printable(spec)}: cannot be opened: {one_line(error)}") from error
    return _source(name, location, found, level, tokens)


def has_test_text(spec: str) -> bool:
    """Whether `evaluate` finds a test text: one is given, or taken out of a text without splits.

    Raises:
        DataError: nothing is there, or no text.
    """
    try:
        _, _, found = _found(spec)
    except OSError as error:
        raise DataError(f"{printable(spec)}: cannot be opened: {one_line(error)}") from error
    return TEST in (*found.files, *to_carve(found.files, divided=found.divided))


def _found(spec: str) -> tuple[str, str, FoundText]:
    if spec == "pydocs":
        return spec, spec, FoundText({TRAIN: (open_pydocs(),)}, divided=False, notes=(NOTE,))
    folder = catalogue.located(spec, "text")
    path = folder or named(spec).expanduser()
    if not path.exists():
        raise DataError(catalogue.nothing_there(spec, path, "text", ACCEPTED))
    return spec if folder else printable(path.resolve().name), printable(str(path)), find_text(path)


def _source(name: str, location: str, found: FoundText, level: Level, tokens: Tokens) -> TextSource:
    documents = found.files[TRAIN]
    carved = to_carve(found.files, divided=found.divided)
    survey = _survey(documents, whole=bool(carved))
    if not survey.lines:
        raise DataError(f"{location}: {'only white space' if survey.characters else 'empty'}; give a text with words")
    rule: Rule = "characters"
    if level == "word":
        rule = ("spaces" if survey.marks.tokenised else "words") if tokens == "auto" else tokens
    pieces = survey.lines < FEWEST_LINES
    total = survey.lines if carved else 0
    if carved and pieces:
        total = sum(1 for _ in units_of(documents, rule, PIECE[level]))
    if total <= len(carved) and carved:
        raise DataError(
            f"{location}: too short to take {' and '.join(carved)} text out of it; needed are more than "
            f"{len(carved) * PIECE[level]} {'words' if level == 'word' else 'characters'}, or {FEWEST_LINES} lines"
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
        notes=(*found.notes, *_notes(survey, level, carved, pieces=pieces), *_doubts(survey.marks, rule, tokens)),
    )


def _notes(survey: "_Survey", level: Level, carved: tuple[str, ...], *, pieces: bool) -> Iterable[str]:
    if pieces:
        lines = "1 line" if survey.lines == 1 else f"{survey.lines} lines"
        unit = "words" if level == "word" else "characters"
        yield f"the text has {lines}; it is cut into pieces of {PIECE[level]} {unit} instead"
    if carved:
        yield (
            f"no {' and no '.join(carved)} text is given: {CARVED_SHARE:.0%} of the training text for each, in "
            f"blocks of consecutive {'pieces' if pieces else 'lines'} ({BLOCKS} blocks, always the same)"
        )


def _doubts(marks: "_Marks", rule: Rule, tokens: Tokens) -> Iterable[str]:
    """Say how lines are cut where a person might have expected the other way."""
    if tokens == "auto" and rule == "words" and marks.unknown:
        times = "once" if marks.unknown == 1 else f"{marks.unknown:,} times"
        yield (
            f"{UNKNOWN} stands in the text {times}, but the rest is prose, so signs are cut off words; "
            "--set data.tokens=spaces cuts at white space alone"
        )


@dataclass
class _Marks:
    """What tells text that is tokenised already from prose: words in all, `<unk>` among them, signs left on words.

    In tokenised text rare words are `<unk>` (4.8 % in Penn Treebank, .4 % in WikiText-103) and signs stand by
    themselves. In prose a comma or a question mark is part of what stands between two spaces.
    """

    words: int = 0
    unknown: int = 0
    glued: int = 0

    def add(self, block: str) -> None:
        """Look through a block of text."""
        found = block.split()
        self.words += len(found)
        self.unknown += found.count(UNKNOWN)
        self.glued += sum(len(word) > 1 and word[-1] in _SIGNS for word in found)

    @property
    def tokenised(self) -> bool:
        """Whether the text is tokenised already."""
        return self.unknown > self.glued and self.unknown >= LEAST_UNKNOWN * self.words


_SIGNS = ",;?!"
LEAST_UNKNOWN = 1 / 1000
"""Of the words of a tokenised text, those that are `<unk>`; WikiText-103 has four times as many."""
EVIDENCE = 100_000
"""Characters that are looked through for how the text is to be cut."""


@dataclass(frozen=True)
class _Survey:
    """What the training text is like, as far as it was looked at; `lines` are those that are not blank."""

    lines: int
    marks: _Marks
    characters: int


def _survey(documents: Iterable[Document], *, whole: bool) -> _Survey:
    """Read the documents, whole or until no more needs to be known; a line of any length costs no memory."""
    lines, marks, characters = 0, _Marks(), 0
    for document in documents:
        held = False  # whether the line that has begun has anything but white space
        for block in document.blocks():
            if characters < EVIDENCE:
                marks.add(block[: EVIDENCE - characters])
            characters += len(block)
            first, *others = block.split("\n")
            held = held or bool(first.strip())
            for line in others:
                lines += held
                held = bool(line.strip())
            if not whole and lines >= FEWEST_LINES and characters >= EVIDENCE:
                return _Survey(lines, marks, characters)
        lines += held
    return _Survey(lines, marks, characters)
