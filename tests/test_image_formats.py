"""Photographs of phones: read where there is a decoder, and named by their true reason where there is none."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image, features

from autoshrink.cli import run
from autoshrink.data import open_images
from autoshrink.data.decoding import decode
from autoshrink.data.folder_layout import Ignored
from autoshrink.data.formats import unread
from autoshrink.deploy.predict import images_in
from autoshrink.errors import DataError
from data_fixtures import photos

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
"""The first bytes of a phone's photograph."""

without = pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="HEIC is read here")
INSTALL = "pip install 'autoshrink[heic]'"


@without
def test_heic_in_class_folders_is_counted_and_said(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    (root / "cat" / "a.heic").write_bytes(HEIC)
    (root / "dog" / "b.HEIC").write_bytes(HEIC)
    (root / "dog" / "notes.doc").write_bytes(b"")
    notes = open_images(str(root)).notes
    (said,) = [note for note in notes if "ignored by extension" in note]
    assert said == f"3 files are ignored by extension, as no images: 1 .doc, 2 .heic; to read .heic: {INSTALL}"


@without
def test_a_set_of_nothing_but_heic_says_what_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.heic").write_bytes(HEIC)
    assert run(["search", "--data", str(tmp_path / "set"), "--run", str(tmp_path / "run")]) == 2
    assert INSTALL in " ".join(capsys.readouterr().err.split())
    with pytest.raises(DataError, match=r"2 \.heic"):
        images_in(tmp_path / "set")


@without
def test_heic_bytes_are_named_whatever_the_file_is_called() -> None:
    with pytest.raises(ValueError, match="HEIC, which needs a plug-in"):
        decode(HEIC, size=8, channels=3)
    assert unread(b"\x89PNG\r\n\x1a\n") is None


@without
def test_predicting_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 1})
    (root / "cat" / "phone.heic").write_bytes(HEIC)
    ignored = Ignored()
    assert len(images_in(root, ignored)) == 1
    (said,) = ignored.notes(root)
    assert "1 .heic" in said
    assert INSTALL in said


@pytest.mark.skipif("avif" not in features.get_supported(), reason="this Pillow has no AVIF")
def test_avif_is_an_image(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (10, 200, 30)).save(buffer, "AVIF", quality=100)
    (root / "cat" / "a.avif").write_bytes(buffer.getvalue())
    assert len(open_images(str(root)).labels) == 5
    assert abs(decode(buffer.getvalue(), size=4, channels=3).mean(axis=(1, 2)) - [10, 200, 30]).max() < 4


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="needs the extra heic")
def test_heic_is_an_image(tmp_path: Path) -> None:
    import pillow_heif  # noqa: PLC0415 - an optional package

    root = photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    picture = Image.new("RGB", (64, 64), (10, 200, 30))
    pillow_heif.from_pillow(picture).save(root / "cat" / "a.heic", quality=100)
    assert len(open_images(str(root)).labels) == 5
    pixels = decode((root / "cat" / "a.heic").read_bytes(), size=4, channels=3)
    assert abs(pixels.mean(axis=(1, 2)) - [10, 200, 30]).max() < 6
    assert len(images_in(root)) == 5
