"""Every kind of image that people have comes out as uint8 pixels; every damaged one is named and counted."""

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoshrink.data import load_split
from autoshrink.data.decoding import CORRUPT, decode
from autoshrink.errors import DataError, InputError
from data_fixtures import encoded, photos, picture


def _mean(data: bytes, channels: int | None = None) -> list[int]:
    """Decode to 4×4 and return the mean of each channel, rounded."""
    pixels = decode(data, size=4, channels=channels)
    assert pixels.dtype == np.uint8
    assert pixels.shape[1:] == (4, 4)
    return [round(float(channel.mean())) for channel in pixels]


def _palette(transparency: int | None) -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return encoded(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


def _grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((8, 8), value, dtype=np.uint16))


MODES = {
    "RGB png": (encoded(Image.new("RGB", (8, 8), (10, 200, 30))), [10, 200, 30]),
    "RGB webp": (encoded(Image.new("RGB", (8, 8), (10, 200, 30)), "WEBP", lossless=True), [10, 200, 30]),
    "RGB bmp": (encoded(Image.new("RGB", (8, 8), (10, 200, 30)), "BMP"), [10, 200, 30]),
    "RGB tiff": (encoded(Image.new("RGB", (8, 8), (10, 200, 30)), "TIFF"), [10, 200, 30]),
    "grey": (encoded(Image.new("L", (8, 8), 77)), [77]),
    "1 bit": (encoded(Image.new("1", (8, 8), 1)), [255]),
    "grey with alpha, opaque": (encoded(Image.new("LA", (8, 8), (77, 255))), [77]),
    "grey with alpha, clear": (encoded(Image.new("LA", (8, 8), (77, 0))), [255]),
    "RGBA, clear is white": (encoded(Image.new("RGBA", (8, 8), (10, 200, 30, 0))), [255, 255, 255]),
    "RGBA, half": (encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128))), [127, 127, 127]),
    "palette": (_palette(None), [10, 200, 30]),
    "palette, transparent": (_palette(1), [255, 255, 255]),
    "16 bit, full": (encoded(_grey16(65535)), [255]),
    "16 bit, scaled and not clipped": (encoded(_grey16(25700)), [100]),
    "16 bit tiff": (encoded(_grey16(25700), "TIFF"), [100]),
    "32 bit tiff holding 16": (encoded(Image.new("I", (8, 8), 25700), "TIFF"), [100]),
    "float tiff": (encoded(Image.new("F", (8, 8), 0.4), "TIFF"), [102]),
    "gif": (encoded(Image.new("RGB", (8, 8), (255, 0, 0)), "GIF"), [255, 0, 0]),
    "ppm": (encoded(Image.new("RGB", (8, 8), (10, 200, 30)), "PPM"), [10, 200, 30]),
}


@pytest.mark.parametrize("kind", MODES)
def test_each_mode_keeps_its_colours_and_its_kind(kind: str) -> None:
    data, expected = MODES[kind]
    assert _mean(data) == expected


@pytest.mark.parametrize("kind", MODES)
def test_channels_can_be_forced(kind: str) -> None:
    data, expected = MODES[kind]
    assert len(_mean(data, 1)) == 1
    assert _mean(data, 3) == (expected * 3 if len(expected) == 1 else expected)


def test_cmyk_jpeg_comes_out_in_its_colours() -> None:
    red, green, blue = _mean(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 240
    assert max(green, blue) < 15


def test_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    assert _mean(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == [0, 0, 255]


def test_multi_picture_photos_of_phones_are_jpeg() -> None:
    frames = [Image.new("RGB", (8, 8), "white") for _ in range(2)]
    assert _mean(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])) == [255, 255, 255]


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90° clockwise to view": the upper half ends up on the right
    turned = decode(encoded(image, exif=exif), size=8, channels=1)[0]
    assert turned[:, 4:].min() == 255
    assert turned[:, :4].max() == 0


def test_shorter_side_is_scaled_and_the_centre_cropped() -> None:
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (6, 0, 24, 10))  # the crop is 10..20; the filter looks two target pixels further
    assert decode(encoded(wide), size=5, channels=None).min() == 255


def test_scaling_down_averages_and_does_not_alias() -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = decode(encoded(Image.fromarray(stripes)), size=8, channels=None)
    assert abs(small.astype(int) - 128).max() < 16


def test_an_image_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8)
    assert np.array_equal(decode(pixels, size=9, channels=None), pixels)
    grey = pixels[:1]
    assert np.array_equal(decode(grey, size=9, channels=None), grey)


def test_large_jpeg_is_decoded_at_reduced_scale_without_losing_its_colour() -> None:
    assert _mean(encoded(Image.new("RGB", (1600, 1200), (128, 128, 128)), "JPEG")) == [128, 128, 128]


def _bomb() -> bytes:
    """Return a valid PNG header that promises 60,000×60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


WHOLE = encoded(Image.effect_noise((40, 40), 90))

DAMAGED: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", r"empty \(0 bytes\)"),
    "text": (b"not an image", "not an image in any of these formats: PNG, JPEG"),
    "truncated": (WHOLE[: len(WHOLE) // 2], "truncated"),
    "bomb": (_bomb(), "60,000 × 60,000 pixels, above the limit of 250,000,000; AUTOSHRINK_MAX_PIXELS=3600000000"),
    "float beyond 1": (encoded(Image.new("F", (8, 8), 300.0), "TIFF"), r"outside 0\.\.1 \(mode F\)"),
    "not a number": (encoded(Image.new("F", (8, 8), float("nan")), "TIFF"), "range is unknown"),
    "negative": (encoded(Image.new("I", (8, 8), -5), "TIFF"), r"outside 0\.\.65535"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_images_are_skipped_with_the_reason(tmp_path: Path, kind: str) -> None:
    data, reason = DAMAGED[kind]
    root = photos(tmp_path / "photos", {"cat": 5, "dog": 5})
    (root / "cat" / "bad.png").write_bytes(data)
    split = load_split(str(root), "train", size=8, max_corrupt=0.1)
    assert len(split.data) == 10
    assert [skipped.path for skipped in split.skipped] == ["cat/bad.png"]
    assert re.search(reason, split.skipped[0].reason)


def test_the_limit_of_pixels_is_the_environments_and_not_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "photos", {"cat": 5, "dog": 5})
    picture(root / "dog" / "huge.png", size=(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    assert load_split(str(root), "train", size=8).skipped == ()
    assert Image.MAX_IMAGE_PIXELS == 5_000
    monkeypatch.setenv("AUTOSHRINK_MAX_PIXELS", "8_000")
    split = load_split(str(root), "train", size=8, max_corrupt=0.1)
    assert "100 × 100 pixels, above the limit of 8,000; AUTOSHRINK_MAX_PIXELS=10000" in split.skipped[0].reason
    for wrong in ("many", "0", "-5", "1e9", "²"):
        monkeypatch.setenv("AUTOSHRINK_MAX_PIXELS", wrong)
        with pytest.raises(InputError, match=f"AUTOSHRINK_MAX_PIXELS={wrong}: a whole number of pixels"):
            load_split(str(root), "train", size=8)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=12),
    cut=st.floats(0.1, 1),
)
def test_damage_never_escapes_as_another_kind_of_error(kind: str, place: float, junk: bytes, cut: float) -> None:
    data = bytearray(ENCODED[kind])
    start = int(place * len(data))
    data[start : start + len(junk)] = junk
    try:
        pixels = decode(bytes(data[: int(cut * len(data))]), size=6, channels=3)
    except CORRUPT:
        return
    assert pixels.shape == (3, 6, 6)


_NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8))
ENCODED = {kind: encoded(_NOISE, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")}


def test_too_many_corrupt_images_are_an_error_that_names_them(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    for number in range(4):
        (root / "cat" / f"bad{number}.png").write_bytes(b"junk")
    with pytest.raises(DataError) as caught:
        load_split(str(root), "train", size=8)
    message = str(caught.value)
    assert "4 of 20 images cannot be decoded, more than the allowed 5%" in message
    assert "cat/bad0.png: not an image" in message
    assert "bad3" not in message
    assert "data.max_corrupt=" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": 0}, "image size is 0 pixels"),
        ({"size": 100_000}, "image size is 100000 pixels; it must be at least 1 and at most 4,096"),
        ({"channels": 2}, "channels is 2; it must be 1"),
        ({"max_corrupt": 5.0}, "max_corrupt is 5.0; it is a share"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_split("digits", "train", **({"size": None} | setting))
