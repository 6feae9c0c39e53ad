"""A made-up text source: a JSON file with a list of lines for each split."""

from __future__ import annotations

from pathlib import Path

from autoshrink.data.documents import TextInMemory
from autoshrink.data.images import SPLITS
from autoshrink.data.sources import SOURCES, FoundText, Place, TextReader
from autoshrink.untrusted import read_json


class JsonReader(TextReader):
    accepts = "a .splits.json file with a list of lines for each split"

    def recognises(self, path: Path) -> bool:
        return path.name.endswith(".splits.json")

    def open(self, place: Place) -> FoundText:
        held = read_json(place.path)
        texts = {
            split: (TextInMemory(f"{place.path}: {split}", tuple(held[split])),) for split in SPLITS if split in held
        }
        return FoundText(texts, divided=len(texts) > 1)


SOURCES.register("json", JsonReader())
