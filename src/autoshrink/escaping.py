"""Text from outside, made safe to show: names of classes and files, metadata, and whatever else we did not write.

Such a text may hold what a terminal obeys (ESC), what begins a line that we never wrote, what turns the reading
direction round, or nothing that is seen at all. Wherever it is shown, an escape stands for it: ``\\x1b``, ``\\n``,
``\\u202e``. JSON escapes in its own way, and keeps the true text.
"""

from __future__ import annotations

import codecs
import html
import re
import shlex

_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: newlines, tabs and ESC among them
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"  # soft hyphen, joiners, marks and fillers that show nothing
    r"\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero width, line and paragraph separators, bidirectional control
    r"\u3164\ufeff\uffa0\ufff0-\ufffb\ufdd0-\ufdef"  # fillers, byte order mark, annotations, noncharacters
    r"\ud800-\udfff\U000e0000-\U000e0fff"  # lone surrogates (bytes that are not UTF-8), tags
    + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17))
)
# Persian words and families of emoji need joiners; between Latin letters these only hide.
_JOINERS = r"(?<![^\x00-\u02ff])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u02ff])"
_HIDDEN = re.compile(f"[{_UNSEEN}]|{_JOINERS}")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

LONGEST_WORD, LONGEST_LINE, MOST_LINES = 240, 1200, 12
"""Of a message: what is longer was not written by us, and is cut."""

_PLAIN = {
    **dict.fromkeys("−–—‐‑─━╌┄┈═╴╶╸╺", "-"),
    **dict.fromkeys("│┃║╎┆┊╷╵", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬╪╫┏┓┗┛┣┫┳┻╋", "+"),
    **dict.fromkeys("█▉▊▋▌▍▎▏▓▒░", "#"),
    **dict.fromkeys("‘’‚", "'"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f", " "),
    **{"×": "x", "·": ".", "•": "*", "●": "*", "○": "o", "…": "...", "±": "+-", "≥": ">=", "≤": "<=", "≈": "~"},
    **{"→": "->", "←": "<-", "↓": "v", "↑": "^", "∞": "inf", "λ": "lambda", "√": "sqrt", "Σ": "sum", "²": "^2"},
    **{"µ": "u", "μ": "u", "¹": "^1", "³": "^3", "§": "section ", "°": " degrees", "½": "1/2", "✓": "ok", "✗": "x"},
}
"""What stands for our own signs where an encoding has none; one character for one in drawings."""


def shown(text: object, most: int | None = None) -> str:
    r"""A text on one line, with what is not seen or not printed as an escape: ``\x1b``, ``\n``, ``\u202e``.

    Args:
        text: what `str` makes of it is shown.
        most: characters, at most; of a longer text beginning and end, and how long it is.
    """
    return cut(_HIDDEN.sub(_written, str(text)), most)


def shown_lines(text: object) -> str:
    """Likewise, with newlines left as they are: for texts of several lines that are ours, or stand apart."""
    return "\n".join(map(shown, str(text).split("\n")))


def message(text: object) -> str:
    """A message for a person: every line after the first is indented, so that no value can begin a line of its own.

    Words and lines that are far longer than anything that we write are cut.
    """
    lines = [cut(_shorter_words(shown(line)), LONGEST_LINE) for line in str(text).split("\n")]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"… ({len(lines) - MOST_LINES + 1} more lines)"]
    return "\n  ".join(lines)


def cut(text: str, most: int | None) -> str:
    """Beginning and end of a text of more than `most` characters, and how many it has."""
    if most is None or len(text) <= most:
        return text
    head = most * 2 // 3
    return f"{text[:head]}…{text[-(most - head) :]} ({len(text):,} characters)"


def _shorter_words(line: str) -> str:
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda found: cut(found[0], LONGEST_WORD), line)


def escape(text: object) -> str:
    """A text inside HTML, XML or SVG, in an element or an attribute."""
    return html.escape(shown(text))


def escape_lines(text: object) -> str:
    """Likewise, newlines left as they are."""
    return html.escape(shown_lines(text))


def code(text: object) -> str:
    """A text as a code span of Markdown that it cannot leave."""
    name = shown(text)
    if "`" not in name and name.strip():
        return f"`{name}`"
    return f"<code>{''.join(one if one.isalnum() or one == ' ' else f'&#{ord(one)};' for one in name)}</code>"


def word(text: object) -> str:
    r"""A text as one word of a shell's command line; what is not printed as bash, zsh and ksh read it: ``$'a\nb'``."""
    raw = str(text)
    if shown(raw) == raw:
        return shlex.quote(raw)
    return "$'" + "".join(map(_ansi_c, raw)) + "'"


def command_line(words: list[str]) -> str:
    """A command line of these words."""
    return " ".join(map(word, words))


def printable(text: str) -> str:
    r"""With bytes that are not UTF-8 as ``\udcXX``, for what is stored: no other stream or file would take them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _ansi_c(letter: str) -> str:
    if letter in "'\\":
        return "\\" + letter
    if not _HIDDEN.fullmatch(letter):
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def _written(found: re.Match[str]) -> str:
    number = ord(found[0])
    short = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    return _SHORT.get(found[0], short)


SUBSTITUTE = "autoshrink.substitute"
"""The name of an error handler for streams whose encoding lacks a character: something near it, or its escape."""


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking), error.end


codecs.register_error(SUBSTITUTE, _substitute)
