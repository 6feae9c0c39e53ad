"""Image and text data: opening what people have, drawing proxy sets, and downloading known sets. No torch in here."""

from autoshrink.data.catalogue import KnownData, KnownFile, ListedData, anchored, known_data, list_data
from autoshrink.data.download import fetch
from autoshrink.data.images import ArrayImages, FileImages, ImageSource, LabelledImages, SkippedFile
from autoshrink.data.opening import open_images
from autoshrink.data.preprocessing import Preprocessing
from autoshrink.data.proxy import Proxy, Split, load_proxy, load_split
from autoshrink.data.sources import SOURCES, FoundText, ImageReader, Place, TextReader
from autoshrink.data.text import TextSource
from autoshrink.data.text_opening import open_text
from autoshrink.data.text_proxy import (
    EncodedText,
    TextProxy,
    load_text_proxy,
    load_text_split,
    load_unseen_text,
    repeated_lines,
)
from autoshrink.data.vocabulary import Vocabulary

__all__ = [
    "SOURCES",
    "ArrayImages",
    "EncodedText",
    "FileImages",
    "FoundText",
    "ImageReader",
    "ImageSource",
    "KnownData",
    "KnownFile",
    "LabelledImages",
    "ListedData",
    "Place",
    "Preprocessing",
    "Proxy",
    "SkippedFile",
    "Split",
    "TextProxy",
    "TextReader",
    "TextSource",
    "Vocabulary",
    "anchored",
    "fetch",
    "known_data",
    "list_data",
    "load_proxy",
    "load_split",
    "load_text_proxy",
    "load_text_split",
    "load_unseen_text",
    "open_images",
    "open_text",
    "repeated_lines",
]
