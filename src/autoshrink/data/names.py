"""Names of splits and classes, in folders and files, of images, parquet and text.

The words for splits are those that the Hugging Face Hub knows
(https://huggingface.co/docs/hub/datasets-file-names-and-splits), in upper or lower case, anywhere in a name between
signs that are no letters: `train2017`, `my-dev.parquet`, `test_set`, `ptb.valid.txt`.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from autoshrink.data.images import SPLITS, TEST, TRAIN, VALIDATION

_WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("validation", "valid", "val", "dev"),
    TEST: ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {word: split for split in SPLITS for word in _WORDS[split]}
"""The split that a word means."""

_NO_LETTERS = re.compile(r"[\W\d_]+")


def splits_named(name: str) -> tuple[str, ...]:
    """Return the splits whose words stand in a name, each once: none, one, or, in `train-dev`, two."""
    words = _NO_LETTERS.split(name.lower())
    return tuple(split for split in SPLITS if any(SPLIT_OF.get(word) == split for word in words))


def said_by_files(files: Sequence[str]) -> str:
    """A sentence where the names of images in one split say more than one split; '' where not.

    `files` are POSIX paths. Folders alone are splits, so all of these images are read as one.
    """
    said = {split: file for file in reversed(files) for split in splits_named(file.rpartition("/")[2])}
    if len(said) < 2:
        return ""
    examples = ", ".join(f"{said[split]} says {split}" for split in SPLITS if split in said)
    return f"names of images that say splits ({examples}) part nothing, folders do: all are read as one split"


def words_for(split: str) -> str:
    """Return the words for a split, for a message."""
    return " or ".join(_WORDS[split])


def frame_of(name: str) -> str:
    """Return the letters of a name without its split words: equal for the files of one set, as `ptb.train.txt`'s."""
    return ".".join(word for word in _NO_LETTERS.split(name.lower()) if word and word not in SPLIT_OF)


def composed(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), in which `é` is one letter however it was written."""
    return unicodedata.normalize("NFC", text)


def _almost(name: str, classes: Iterable[str]) -> str | None:
    """Another class that differs from a name in capitals, spaces or letter forms only."""
    plain = _plain(name)
    return next((other for other in classes if other != name and _plain(other) == plain), None)


def hint(name: str, classes: Iterable[str]) -> str:
    """Return what to add to a message about a class that is not among `classes`."""
    other = _almost(name, classes)
    return "" if other is None else f"; {other} differs from it only in capitals or spaces: give both one name"


def alike(classes: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence about the classes that are told apart by capitals or spaces only, or nothing."""
    pairs = [f"{name} and {other}" for name in classes if (other := _almost(name, classes)) and name < other]
    return (f"classes that differ only in capitals or spaces: {', '.join(pairs[:5])}",) if pairs else ()


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def listed(names: Iterable[str]) -> str:
    """Return the distinct names, sorted, for a person: the first five and how many more."""
    return few(sorted(set(names)))


def few(names: Sequence[str]) -> str:
    """Return the first five names and how many more."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
