"""The built-in text: the language reference that every Python carries for `help()`, set as sentences.

Source: `pydoc_data.topics` of the running Python; about 4,000 sentences, rules of grammar and lines of
examples, under the PSF licence. The text differs between versions of Python.
"""

import platform
import re
from collections.abc import Iterator

from autoshrink.data.documents import TextInMemory
from autoshrink.data.images import TRAIN
from autoshrink.data.sources import FoundText, Place, TextReader
from autoshrink.errors import DataError

NOTE = f"pydocs is the documentation of Python {platform.python_version()}; another version has another text"

# Columns to which the published text is wrapped.
_WIDTH = 70

# Underlines of headings, rules, and rows of tables, whose cells are cut by columns.
_DRAWN = re.compile(r"\s*(?:([*=~^\"#.-])\1{2,}|[+|].*)\s*")

# A sentence ends where white space and a capital follow; "e.g. A" and "vs. B" do not end one.
_SENTENCE_END = re.compile(r"(?<![ (]e\.g\.)(?<![ (]i\.e\.)(?<! vs\.)(?<=[.!?])[\"”)]?\s+(?=[\"“(*]*[A-Z_])")


class PydocsReader(TextReader):
    """The sentences of all topics, in the order of the topics' names, each sentence once.

    Once because topics repeat each other in whole sections, of which one copy could else be learnt from and the other
    measured on.
    """

    description = "Python's own documentation, about 50,000 words (part of Python)"

    def open(self, place: Place) -> FoundText:
        """One text; DataError when this Python was installed without the module."""
        try:
            from pydoc_data.topics import topics  # noqa: PLC0415 - half a megabyte that only this text needs
        except ImportError as error:
            raise DataError("pydocs: this Python has no pydoc_data, an optional part; give another text") from error
        sentences = (sentence for _, topic in sorted(topics.items()) for sentence in sentences_of(topic))
        text = TextInMemory(place.name, tuple(dict.fromkeys(sentences)))
        return FoundText({TRAIN: (text,)}, divided=False, notes=(NOTE,))


PYDOCS = PydocsReader()


def sentences_of(topic: str) -> Iterator[str]:
    """Yield the sentences of a hard-wrapped text; a line that was not wrapped (a heading, code) is one by itself."""
    for line in _unwrapped(topic.splitlines()):
        start = 0
        for end in _SENTENCE_END.finditer(line):
            yield line[start : end.end()].strip()
            start = end.end()
        yield line[start:]


def _unwrapped(lines: list[str]) -> Iterator[str]:
    """Yield lines joined where wrapping had parted them, without indentation and drawings."""
    paragraph, width = "", 0
    for line in (*lines, ""):
        text = " ".join(line.split())
        if _DRAWN.fullmatch(line):
            text = ""
        elif paragraph and text and width + 1 + len(text.split()[0]) > _WIDTH:
            # The next word had no room in the line above. A break after a hyphen leaves no space behind.
            paragraph += text if re.search(r"\w-$", paragraph) else f" {text}"
            width = len(line)
            continue
        if paragraph:
            yield paragraph
        paragraph, width = text, len(line)
