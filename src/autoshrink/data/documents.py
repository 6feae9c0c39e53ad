"""Texts where they lie: a file, a file inside a zip archive, or text in memory; read as a stream, never as a whole."""

import gzip
import io
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from autoshrink.data.images import reason
from autoshrink.errors import DataError
from autoshrink.escaping import printable

# Characters read at a time where lines may be of any length.
_BLOCK = 1 << 20

# What a damaged archive raises; RuntimeError is zipfile's for encryption and for methods that it does not know.
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)


GZIP = ".gz"
"""The suffix of a compressed text."""


def composed(text: str) -> str:
    """Return the text with its characters composed (Unicode's NFC)."""
    return unicodedata.normalize("NFC", text)


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
        with self._guarded(), self._opened() as file, self._decoded(file) as text:
            for line in text:
                if "\0" in line:
                    raise DataError(self._binary())
                yield composed(line.removesuffix("\n"))

    def blocks(self) -> Iterator[str]:
        """Yield blocks that cut no word in two, unless the word is longer than a block."""
        rest = ""
        with self._guarded(), self._opened() as file, self._decoded(file) as text:
            while read := text.read(_BLOCK):
                if "\0" in read:
                    raise DataError(self._binary())
                block = rest + read
                rest = "" if block[-1].isspace() else block.rsplit(maxsplit=1)[-1]
                if len(rest) >= _BLOCK:
                    rest = ""
                yield composed(block[: len(block) - len(rest)])
        if rest:
            yield composed(rest)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with gzip.open(self.path) if self.path.suffix.lower() == GZIP else self.path.open("rb") as file:
                yield cast("BinaryIO", file)
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
                yield cast("BinaryIO", member)

    @staticmethod
    def _decoded(file: BinaryIO) -> io.TextIOWrapper:
        return io.TextIOWrapper(file, encoding="utf-8-sig")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what reading raises into DataError."""
        try:
            yield
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
                    if b"\0" in line:
                        return self._binary()
                    return (
                        f"{self.location}, line {number}, byte {error.start + 1}: 0x{line[error.start]:02x} is not "
                        "UTF-8; save the text as UTF-8"
                    )
        return f"{self.location}: the file changed while it was read; run it again"

    def _binary(self) -> str:
        return f"{self.location}: binary data (NUL bytes), no text; give a UTF-8 text file"
