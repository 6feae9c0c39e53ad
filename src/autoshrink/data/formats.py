"""Which image formats are read: those that Pillow decodes by itself, and HEIC where a plug-in is installed."""

from collections.abc import Collection, Mapping
from functools import cache
from importlib.util import find_spec

from PIL import features

INSTALL = "pip install 'autoshrink[heic]'"

# Some others of Pillow's (EPS) run external programs on what they are given.
_ALWAYS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
_HEIC_ENDINGS = (".heic", ".heif", ".hif")

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))

_HAS_HEIC, _HAS_AVIF = find_spec("pillow_heif") is not None, "avif" in features.get_supported()

EXTENSIONS = frozenset((*_ENDINGS, *(_HEIC_ENDINGS if _HAS_HEIC else ()), *((".avif",) if _HAS_AVIF else ())))
"""Endings of file names that are read as images here."""

UNREAD: Mapping[str, str] = {
    **({} if _HAS_HEIC else dict.fromkeys(_HEIC_ENDINGS, INSTALL)),
    **({} if _HAS_AVIF else {".avif": "pip install --upgrade Pillow"}),
}
"""Endings of images that are not read here, and what to do so that they are."""


def to_read(endings: Collection[str]) -> str:
    """Return what to do so that images with some of these endings are read, for the end of a sentence; often ''."""
    ways: dict[str, list[str]] = {}
    for ending in sorted(UNREAD.keys() & endings):
        ways.setdefault(UNREAD[ending], []).append(ending)
    return "".join(f"; to read {', '.join(some)}: {way}" for way, some in ways.items())


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read here; the plug-in is made known to Pillow."""
    if _HAS_HEIC:
        import pillow_heif  # noqa: PLC0415 - an optional package

        pillow_heif.register_heif_opener()
    return (*_ALWAYS, *(("AVIF",) if _HAS_AVIF else ()), *(("HEIF",) if _HAS_HEIC else ()))


def unread(payload: bytes) -> str | None:
    """Return why an encoded image is of a known format that is not read here, and what to do; None for any other."""
    brand = payload[8:12] if payload[4:8] == b"ftyp" else b""
    if brand in _HEIC_BRANDS and not _HAS_HEIC:
        return f"HEIC, which needs a plug-in: {INSTALL}"
    if brand in _AVIF_BRANDS and not _HAS_AVIF:
        return f"AVIF, which this Pillow does not read: {UNREAD['.avif']}"
    return None
