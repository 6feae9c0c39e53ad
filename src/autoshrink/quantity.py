"""A number that remembers how a person wrote it, so that a message can say it back: ``256KiB``, not ``262144``."""

from __future__ import annotations


class Quantity(int):
    """A whole number and its text. It is that number everywhere; arithmetic and JSON know nothing of the text.

    Attributes:
        text: as it was typed.
    """

    text: str

    def __new__(cls, value: int, text: str) -> Quantity:
        """A value and its text."""
        made = super().__new__(cls, value)
        made.text = text
        return made
