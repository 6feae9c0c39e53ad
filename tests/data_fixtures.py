"""Data sets as people have them, made small; and a machine whose home folder no test can write to."""

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Colour = int | tuple[int, ...] | str


def away_from_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Point every folder that the data package looks into or writes to below `folder`."""
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(folder / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "home"))
    monkeypatch.delenv("AUTOSHRINK_DATA", raising=False)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(path: Path, colour: Colour = "red", *, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> Path:
    """Write one image of a single colour; the extension decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def photos(root: Path, counts: Mapping[str, int]) -> Path:
    """Write `root`/CLASS/NN.png for each class, every image of another colour."""
    shade = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shade += 1
            picture(root / name / f"{number:02}.png", (shade % 256, shade // 256, 7))
    return root


def cifar_records(count: int, *, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return pixels uint8 (count, 3072) and labels, which run 0..9 in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(count, 3072), dtype=np.uint8)
    return pixels, np.arange(count) % 10


def cifar_binary(per_batch: int = 20) -> dict[str, bytes]:
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    files = {"batches.meta.txt": b"airplane\nautomobile\n", "readme.html": b"<html>"}
    for seed, name in enumerate(names):
        pixels, labels = cifar_records(per_batch, seed=seed)
        files[name] = np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()
    return files


def cifar_python(per_batch: int = 20, *, protocol: int = pickle.DEFAULT_PROTOCOL) -> dict[str, bytes]:
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    files = {"batches.meta": pickle.dumps({b"label_names": [b"airplane"]}, protocol)}
    for seed, name in enumerate(names):
        pixels, labels = cifar_records(per_batch, seed=seed)
        files[name] = pickle.dumps({b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"x"}, protocol)
    return files


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def tarred(path: Path, files: Mapping[str, bytes], *, inside: str = "cifar-10-batches-bin") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    *,
    names: Sequence[str] | None = ("cat", "dog"),
    image_column: str = "img",
    row_group_size: int = 4,
) -> Path:
    """Write a file as the `datasets` library writes it; without `names`, the metadata are left out."""
    pa = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
    pq = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": image, "path": None} for image in images], type=kind)
    table = pa.table({image_column: cells, "label": pa.array(labels)})
    if names is not None:
        features = {image_column: {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(names)}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def sentences(count: int, *, start: int = 0) -> list[str]:
    """Return so many lines, all different, of words some of which are rare."""
    return [f"line {number} of the text has word{number * number % 23} in it" for number in range(start, start + count)]


def text_file(path: Path, lines: Sequence[str]) -> Path:
    """Write lines as a UTF-8 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def penn(folder: Path, counts: tuple[int, int, int] = (60, 12, 12), *, pattern: str = "ptb.{}.txt") -> Path:
    """Write train, valid and test files of different lines, tokenised with `<unk>`; test has words of its own."""
    start = 0
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        lines = [f" {line} <unk> " for line in sentences(count, start=start)]
        text_file(folder / pattern.format(split), [f"{line}unseen " for line in lines] if split == "test" else lines)
        start += count
    return folder


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
