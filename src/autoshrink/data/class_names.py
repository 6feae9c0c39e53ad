"""When two names are one class: composed and decomposed letters are equal, capitals and spaces are not."""

import unicodedata
from collections.abc import Iterable, Sequence


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which `é` is one letter however a file system spells it."""
    return unicodedata.normalize("NFC", name)


def almost(name: str, classes: Iterable[str]) -> str | None:
    """Return another of the classes that differs from a name in capitals, spaces or letter forms only, if any does."""
    plain = _plain(name)
    return next((other for other in classes if other != name and _plain(other) == plain), None)


def hint(name: str, classes: Iterable[str]) -> str:
    """Return what to add to a message about a class that is not among `classes`."""
    other = almost(name, classes)
    return "" if other is None else f"; {other} differs from it only in capitals or spaces: give both one name"


def alike(classes: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence about the classes that are told apart by capitals or spaces only, or nothing."""
    pairs = [f"{name} and {other}" for name in classes if (other := almost(name, classes)) and name < other]
    return (f"classes that differ only in capitals or spaces: {', '.join(pairs[:5])}",) if pairs else ()


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
