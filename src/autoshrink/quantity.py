"""Numbers in sentences: ``256KiB`` as it was typed and not ``262144``; ``1 image`` and ``2 images``."""

from __future__ import annotations


class Quantity(int):
    """A whole number and its text. It is that number everywhere; arithmetic and JSON know nothing of the text.

    Attributes:
        text: as it was typed.
        one: what its unit multiplies by.
    """

    text: str
    one: int

    def __new__(cls, value: int, text: str, one: int = 1) -> Quantity:
        """A value, its text, and what its unit multiplies by."""
        made = super().__new__(cls, value)
        made.text, made.one = text, one
        return made


def counted(how_many: int, noun: str) -> str:
    """``1 edge``, ``2 edges``, ``2 classes``, ``2 batches``, ``2 epochs``."""
    ending = "es" if noun.endswith(("s", "x", "tch", "sh")) else "s"
    return f"{how_many:,} {noun}{'' if how_many == 1 else ending}"
