"""A number that remembers how a person wrote it, so that a message can say it back: ``256KiB``, not ``262144``."""

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
