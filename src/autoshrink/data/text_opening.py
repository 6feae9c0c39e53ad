"""From a text SPEC (a name or a path) to a text source."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoshrink.data import catalogue
from autoshrink.data.documents import Document
from autoshrink.data.images import TRAIN, one_line
from autoshrink.data.pydocs import NOTE, open_pydocs
from autoshrink.data.text import BLOCKS, CARVED_SHARE, FEWEST_LINES, PIECE, TextSource, to_carve, units_of
from autoshrink.data.text_files import ACCEPTED, FoundText, find_text
from autoshrink.data.tokenising import LEVELS, UNKNOWN, WORD_RULES, Level, Rule
from autoshrink.errors import DataError
from autoshrink.escaping import printable

Tokens = Literal["auto", "spaces", "words"]


def open_text(spec: str, *, level: Level = "word", tokens: Tokens = "auto") -> TextSource:
    """Open the text that `spec` names. The training text is looked through; a test file is not even opened.

    `spec` is `pydocs`, a known name (`ptb`, `wikitext2`: looked up in the folder named by AUTOSHRINK_DATA, then in the
    user's data folder), or a path: a UTF-8 text file, a folder with a file for each split, a folder of text files, or a
    zip archive of either. `tokens` says how lines become words: "spaces", "words", or "auto" for "spaces" where the
    training text contains `<unk>`, as text that is tokenised already does. At level "char" it has no effect.

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


def _found(spec: str) -> tuple[str, str, FoundText]:
    if spec == "pydocs":
        return spec, spec, FoundText({TRAIN: (open_pydocs(),)}, divided=False, notes=(NOTE,))
    folder = catalogue.located(spec, "text")
    path = folder or Path(spec).expanduser()
    if not path.exists():
        raise DataError(catalogue.nothing_there(spec, path, "text", ACCEPTED))
    return spec if folder else printable(path.resolve().name), printable(str(path)), find_text(path)


def _source(name: str, location: str, found: FoundText, level: Level, tokens: Tokens) -> TextSource:
    documents = found.files[TRAIN]
    carved = to_carve(found.files, divided=found.divided)
    survey = _survey(documents, seek_marker=level == "word" and tokens == "auto", whole=bool(carved))
    if not survey.lines:
        raise DataError(f"{location}: {'only white space' if survey.characters else 'empty'}; give a text with words")
    rule: Rule = "characters"
    if level == "word":
        rule = ("spaces" if survey.marker else "words") if tokens == "auto" else tokens
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
        notes=(*found.notes, *_notes(survey, level, carved, pieces=pieces)),
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


@dataclass(frozen=True)
class _Survey:
    """What the training text is like, as far as it was looked at: lines that are not blank, and `<unk>` as a word."""

    lines: int
    marker: bool
    characters: int


def _survey(documents: Iterable[Document], *, seek_marker: bool, whole: bool) -> _Survey:
    """Read the documents, whole or until no more needs to be known; a line of any length costs no memory."""
    lines, marker, characters = 0, False, 0
    for document in documents:
        held = False  # whether the line that has begun has anything but white space
        for block in document.blocks():
            characters += len(block)
            marker = marker or (seek_marker and UNKNOWN in block and UNKNOWN in block.split())
            first, *others = block.split("\n")
            held = held or bool(first.strip())
            for line in others:
                lines += held
                held = bool(line.strip())
            if not whole and lines >= FEWEST_LINES and (marker or not seek_marker):
                return _Survey(lines, marker, characters)
        lines += held
    return _Survey(lines, marker, characters)
