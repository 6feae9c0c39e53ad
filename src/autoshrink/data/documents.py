"""Texts where they lie: a file, a file inside a zip archive, or text in memory; read as a stream, never as a whole."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from autoshrink.data.images import reason
from autoshrink.data.names import composed
from autoshrink.errors import DataError
from autoshrink.escaping import printable

# Characters read at a time where lines may be of any length.
_BLOCK = 1 << 20

# What a damaged archive raises; RuntimeError is zipfile's for encryption and for methods that it does not know.
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)
GZIP = ".gz"
"""The suffix of a compressed text."""


class Document(Protocol):
    """A text that can be read any number of times."""

    @property
    def location(self) -> str:
        """Where the text stands, printable."""

    def lines(self) -> Iterator[str]:
        """Yield the lines without their ends. Raises DataError, naming line and byte, for what is not UTF-8 text."""

    def blocks(self) -> Iterator[str]:
        """Yield the text in parts of about a million characters that end in white space, where there is any."""


@dataclass(frozen=True)
class TextInMemory:
    """A `Document` of the given lines."""

    location: str
    text: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield the lines."""
        return iter(self.text)

    def blocks(self) -> Iterator[str]:
        """Yield each line as a block."""
        return (f"{line}\n" for line in self.text)


@dataclass(frozen=True)
class TextFile:
    """A `Document`: the UTF-8 file `path`, as it is or as gzip (`.gz`), or `member` of the zip archive `path`.

    A byte order mark is passed over. Characters are composed (Unicode's NFC), so that one word is one token whatever
    program wrote it: `é` is also written as `e` with an accent of its own.
    """

    path: Path
    member: str | None = None

    @property
    def location(self) -> str:
        """The path; with the member's name for a zip archive."""
        return printable(f"{self.path}: {self.member}" if self.member else str(self.path))

    def lines(self) -> Iterator[str]:
        """Yield the lines; every usual line end (LF, CR LF, CR) counts."""
        with self._decoded() as text:
            for line in text:
                yield composed(self._checked(line).removesuffix("\n"))

    def blocks(self) -> Iterator[str]:
        """Yield blocks that cut no word in two, unless the word is longer than a block."""
        rest = ""
        with self._decoded() as text:
            while read := text.read(_BLOCK):
                block = rest + self._checked(read)
                rest = "" if block[-1].isspace() else block.rsplit(maxsplit=1)[-1]
                if len(rest) >= _BLOCK:
                    rest = ""
                yield composed(block[: len(block) - len(rest)])
        if rest:
            yield composed(rest)

    def _checked(self, text: str) -> str:
        if "\0" in text:
            raise DataError(f"{self.location}: binary data (NUL bytes), no text; give a UTF-8 text file")
        return text

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with gzip.open(self.path) if self.path.suffix.lower() == GZIP else self.path.open("rb") as file:
                yield cast("BinaryIO", file)
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
                yield cast("BinaryIO", member)

    @contextmanager
    def _decoded(self) -> Iterator[io.TextIOWrapper]:
        """The text; whatever reading it raises is a DataError."""
        try:
            with self._opened() as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
                yield text
        except UnicodeDecodeError as error:
            raise DataError(self._refusal()) from error
        except _UNREADABLE as error:
            raise DataError(f"{self.location}: cannot be read: {reason(error)}") from error

    def _refusal(self) -> str:
        """Return where the first byte stands that is not UTF-8; the decoder only knows its place in a buffer."""
        with self._opened() as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                        return f"{self.location}: the text is UTF-16; save it as UTF-8"
                    self._checked(line.decode("latin-1"))
                    place = f"line {number}, byte {error.start + 1}: 0x{line[error.start]:02x}"
                    return f"{self.location}, {place} is not UTF-8; save the text as UTF-8"
        return f"{self.location}: the file changed while it was read; run it again"
