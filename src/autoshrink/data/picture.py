"""What is done to a picture before a network reads it, with Pillow alone.

The functions stand word for word in docs/deploy.md and in every `model.py` that `autoshrink export --source` writes, so
that a file means the same wherever the network runs; hence lines of at most 88 characters here.
"""

from PIL import Image, ImageOps

Window = tuple[float, float]
"""The values of a deep image (more than 8 bits a pixel) that become 0 and 255."""


def to_eight_bits(image: Image.Image, window: Window | None) -> Image.Image:
    """A deep grey image in mode "L": from `window` (default: all values) to 0..255."""
    low, high = window or ((0, 1) if image.mode == "F" else (0, 65535))
    scale = 255 / (high - low)
    offset = 0.5 - low * scale
    # Pillow rounds down and clips when it converts from "F" to "L".
    return image.convert("F").point(lambda value: value * scale + offset).convert("L")


def flattened(image: Image.Image, window: Window | None = None) -> Image.Image:
    """An image in mode "L" or "RGB", on white where it is transparent."""
    grey = image.mode in {"1", "L", "LA"}
    if image.mode.startswith("I") or image.mode == "F":
        return to_eight_bits(image, window)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)


def prepared(
    image: Image.Image,
    side: int,
    mode: str | None,
    window: Window | None = None,
) -> Image.Image:
    """An image upright, in mode "L" or "RGB", its centre scaled to side × side."""
    image.draft(None, (2 * side, 2 * side))  # large JPEGs are read faster
    image = flattened(ImageOps.exif_transpose(image), window)
    if mode is not None and image.mode != mode:
        image = image.convert(mode)
    return ImageOps.fit(image, (side, side), method=Image.Resampling.BICUBIC)
