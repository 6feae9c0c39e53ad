"""CIFAR-10 in the forms its authors publish, whole, damaged and hostile."""

import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoshrink.data import load_split, open_images
from autoshrink.data.cifar import CLASSES
from autoshrink.errors import DataError
from data_fixtures import cifar_binary, cifar_python, cifar_records, tarred, written


def _layouts(root: Path) -> dict[str, Path]:
    return {
        "binary folder": written(root / "a" / "cifar-10-batches-bin", cifar_binary()),
        "python folder": written(root / "b" / "cifar-10-batches-py", cifar_python()),
        "binary archive": tarred(root / "cifar-10-binary.tar.gz", cifar_binary()),
        "python archive": tarred(root / "cifar-10-python.tar.gz", cifar_python(), inside="cifar-10-batches-py"),
    }


def test_all_four_layouts_hold_the_same_images(tmp_path: Path) -> None:
    expected = np.concatenate([cifar_records(20, seed=seed)[0] for seed in range(5)]).reshape(-1, 3, 32, 32)
    for path in _layouts(tmp_path).values():
        train, test = (load_split(str(path), split, size=None, channels=3) for split in ("train", "test"))
        assert np.array_equal(train.data.images, expected)
        assert train.data.labels.tolist() == [*range(10)] * 10
        assert np.array_equal(test.data.images, cifar_records(20, seed=5)[0].reshape(-1, 3, 32, 32))
        assert train.classes == CLASSES
        assert not train.notes
        assert not train.skipped


@pytest.mark.parametrize("inside", ["cifar-10-batches-bin", "cifar-10-binary.tar.gz"])
def test_a_folder_around_them_will_do(tmp_path: Path, inside: str) -> None:
    if inside.endswith("gz"):
        tarred(tmp_path / inside, cifar_binary())
    else:
        written(tmp_path / inside, cifar_binary())
    source = open_images(str(tmp_path))
    assert len(source.labels) == 100
    assert source.natural_size == 32


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickle_protocols_of_python_3(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path / "cifar-10-batches-py", cifar_python(protocol=protocol))
    assert len(open_images(str(path)).labels) == 100


class _Python2Pickler(pickle._Pickler):
    """Writes every string as Python 2 did in protocol 2: as plain bytes. The published files were written so."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if not isinstance(obj, bytes | str):
            super().save(obj, save_persistent_id)  # type: ignore[misc]
            return
        data = obj.encode("latin-1") if isinstance(obj, str) else obj
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)  # type: ignore[attr-defined]


def _pickled_by_python_2(value: object) -> bytes:
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def test_pickles_of_python_2(tmp_path: Path) -> None:
    # pickle.loads reads what this module pickled itself a line ago; the product reads archives with its own unpickler.
    files = {name: _pickled_by_python_2(pickle.loads(data)) for name, data in cifar_python().items()}
    assert b"cnumpy.core.multiarray\n_reconstruct" in files["data_batch_1"]
    train = load_split(str(written(tmp_path / "cifar-10-batches-py", files)), "train", size=None)
    assert np.array_equal(train.data.images[:20].reshape(20, -1), cifar_records(20, seed=0)[0])
    assert train.data.labels[:12].tolist() == [*range(10), 0, 1]


def test_the_test_batch_is_not_looked_at_for_training(tmp_path: Path) -> None:
    files = cifar_binary()
    path = written(tmp_path / "cifar-10-batches-bin", files | {"test_batch.bin": b"junk"})
    assert len(open_images(str(path)).labels) == 100
    with pytest.raises(DataError, match=r"test_batch.bin: 4 bytes are not a whole number"):
        open_images(str(path), split="test")


def test_there_is_no_validation_split(tmp_path: Path) -> None:
    path = written(tmp_path / "cifar-10-batches-bin", cifar_binary())
    with pytest.raises(DataError, match=r"no validation split; it has train and test"):
        open_images(str(path), split="validation")


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_hostile_pickle_is_refused_without_running_it(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for hidden in (_Hostile(trap), {b"data": _Hostile(trap), b"labels": [1]}, eval):
        files = cifar_python() | {"data_batch_3": pickle.dumps(hidden)}
        path = written(tmp_path / "cifar-10-batches-py", files)
        with pytest.raises(DataError, match=r"data_batch_3: not a CIFAR-10 batch"):
            open_images(str(path))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (b"", "pickle exhausted before seeing STOP"),
        (b"junk", "not a CIFAR-10 batch"),
        (pickle.dumps([1, 2]), "0 bytes of pixels for 0 labels"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}), "bytes of pixels for 2 labels"),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.float32), b"labels": [1]}),
            "12,288 bytes of pixels for 1 label",
        ),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [12]}), r"label 12, outside 0\.\.9"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)}), "3,072 bytes of pixels for 0 labels"),
        (pickle.dumps({b"data": np.zeros((9, 3072), np.uint8), b"labels": [1] * 9})[:-99], "not a CIFAR-10 batch"),
    ],
)
def test_foreign_python_batches_are_refused(tmp_path: Path, batch: bytes, message: str) -> None:
    path = written(tmp_path / "cifar-10-batches-py", cifar_python() | {"data_batch_1": batch})
    with pytest.raises(DataError, match=message) as caught:
        open_images(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "batch",
    [
        pickle.dumps({b"data": np.array([None] * 9), b"labels": [1]}),
        # A text of 2⁴⁰ bytes, and a place 4 billion in the table of what is shared, each in a few bytes.
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc",
        b"\x80\x04Nr\xff\xff\xff\xff.",
    ],
)
def test_batches_that_ask_for_more_memory_than_they_are_large(tmp_path: Path, batch: bytes) -> None:
    path = written(tmp_path / "cifar-10-batches-py", cifar_python() | {"data_batch_1": batch})
    code = (
        "import resource, sys; from autoshrink.data import open_images; from autoshrink.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: open_images(sys.argv[1])\n"
        "except DataError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, check=False, text=True, timeout=60
    )
    message, megabytes = said.stdout.splitlines()
    assert "data_batch_1: not a CIFAR-10 batch" in message
    assert int(megabytes) < 100


def test_a_cut_binary_batch_is_refused(tmp_path: Path) -> None:
    files = cifar_binary()
    path = written(tmp_path / "cifar-10-batches-bin", files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]})
    with pytest.raises(DataError, match=r"data_batch_2.bin: 61,459 bytes are not a whole number of 3073-byte records"):
        open_images(str(path))


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    files = cifar_binary()
    del files["data_batch_4.bin"]
    for path in (tarred(tmp_path / "x.tar.gz", files), written(tmp_path / "cifar-10-batches-bin", files)):
        with pytest.raises(DataError, match=r"no data_batch_4.bin inside; fetch the archive again from https://www.cs"):
            open_images(str(path))


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    path = tarred(tmp_path / "cifar-10-binary.tar.gz", cifar_binary())
    whole = path.read_bytes()
    for damaged in (
        b"",
        b"junk" * 300,
        whole[: len(whole) // 2],
        whole[:1000] + b"\0" * 500 + whole[1500:],
        whole[:-6] + b"\0" * 6,
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz: damaged or truncated archive .*fetch it again"):
            open_images(str(path))


def test_another_archive_is_not_taken_for_cifar(tmp_path: Path) -> None:
    path = tarred(tmp_path / "photos.tar.gz", {"a.txt": b"words"})
    with pytest.raises(DataError, match=r"photos.tar.gz: no data_batch_1, data_batch_2"):
        open_images(str(path))


def test_member_paths_are_not_trusted_and_nothing_is_extracted(tmp_path: Path) -> None:
    path = tarred(tmp_path / "in" / "cifar.tar.gz", cifar_binary(), inside="../../etc")
    before = sorted(tmp_path.rglob("*"))
    assert len(open_images(str(path)).labels) == 100
    assert sorted(tmp_path.rglob("*")) == before


def test_links_and_giants_inside_an_archive_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "links.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match=r"no data_batch_1"):
        open_images(str(path))
    with tarfile.open(path, "w:gz") as archive:
        giant = tarfile.TarInfo("data_batch_1.bin")
        giant.size = 65_000_000
        archive.addfile(giant, io.BytesIO(bytes(giant.size)))
    with pytest.raises(DataError, match=r"data_batch_1.bin has 65,000,000 bytes; a CIFAR-10 batch has 31 million"):
        open_images(str(path))
