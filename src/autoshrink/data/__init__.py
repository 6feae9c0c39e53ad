"""Image data: opening what people have, drawing proxy sets from it, and downloading known sets. No torch in here."""

from autoshrink.data.catalogue import KnownData, ListedData, known_data, list_data
from autoshrink.data.download import fetch
from autoshrink.data.images import ImageSource, LabelledImages, SkippedFile
from autoshrink.data.opening import open_images
from autoshrink.data.proxy import Proxy, Split, load_proxy, load_split

__all__ = [
    "ImageSource",
    "KnownData",
    "LabelledImages",
    "ListedData",
    "Proxy",
    "SkippedFile",
    "Split",
    "fetch",
    "known_data",
    "list_data",
    "load_proxy",
    "load_split",
    "open_images",
]
