"""The columns of parquet files: labels become classes by name, and what can be read in two ways is said or refused."""

import datetime
import decimal
import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoshrink.cli import run
from autoshrink.data import load_split, open_images
from autoshrink.errors import DataError
from autoshrink.store import read_record
from data_fixtures import away_from_home, encoded, photos

pa = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")
pq = pytest.importorskip("pyarrow.parquet")

GREY = [encoded(Image.new("RGB", (6, 6), (40 * number, 9, 9))) for number in range(6)]
NAMED = {"_type": "ClassLabel", "names": ["ant", "bee", "cow"]}
FEW = ["--size", "8", "--nodes", "2", "--epochs", "1", "--repeats", "0", "--stem", "4", "--widths", "4", "--seed", "1"]


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path / "home")


def _write(path: Path, columns: Mapping[str, Any], features: Mapping[str, Any] | str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(dict(columns))
    if features is not None:
        said = features if isinstance(features, str) else json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    pq.write_table(table, path)
    return path


def _labelled(path: Path, labels: Any, names: Sequence[str] | None = None) -> Path:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(names)}} if names else None
    return _write(path, {"image": GREY[: len(labels)], "label": labels}, features)


def _read(path: Path, split: str = "train") -> list[str]:
    source = open_images(str(path), split=split)
    return [source.classes[label] for label in source.labels.tolist()]


def _refused(path: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        open_images(str(path), split=split)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "classes", "note"),
    [
        ([12, 99001, 3047], ("12", "3047", "99001"), None),
        ([10**9, 2 * 10**9, 10**9], ("1000000000", "2000000000"), None),
        ([1, 2, 3], ("1", "2", "3"), None),
        ([-1, 0, 1], ("-1", "0", "1"), "labels below 0 are classes like the others: -1"),
        ([True, False, True], ("false", "true"), None),
        ([0.0, 2.0, 0.0], ("0", "2"), "column label holds floating-point numbers; all are whole, and read as such"),
        (["b", "a", "b"], ("a", "b"), None),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b"), None),
        (pa.array([7, 10, 7]).dictionary_encode(), ("7", "10"), None),
        (pa.array([2**63 + 1, 2**63, 5], pa.uint64()), ("5", str(2**63), str(2**63 + 1)), None),
    ],
)
def test_the_distinct_labels_are_the_classes(
    tmp_path: Path, labels: Any, classes: tuple[str, ...], note: str | None
) -> None:
    source = open_images(str(_labelled(tmp_path / "train.parquet", labels)))
    assert source.classes == classes
    assert source.notes == (() if note is None else (note,))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1], [2]], "column label holds list<element: int64>"),
        ([{"a": 1}, {"a": 2}], "column label holds struct<a: int64>"),
        ([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)], "column label holds date32[day]"),
        ([decimal.Decimal(1), decimal.Decimal(2)], "column label holds decimal128(1, 0)"),
        ([0.5, 1.0], "column label holds 0.5 in row 0; labels must be whole numbers or text"),
        ([1.0, float("nan")], "column label holds nan in row 1"),
        ([1, None], "1 of 2 rows have no label"),
        (["a", ""], "1 of 2 rows have no label"),
        ([None, None], "2 of 2 rows have no label"),
    ],
)
def test_what_is_no_label_is_refused_with_its_type(tmp_path: Path, labels: Any, message: str) -> None:
    path = _labelled(tmp_path / "train.parquet", labels)
    assert f"{path}: {message}" in _refused(path)


def test_every_file_numbers_its_classes_by_its_own_metadata(tmp_path: Path) -> None:
    _labelled(tmp_path / "train-0.parquet", [0, 1, 2], ["ant", "bee", "cow"])
    _labelled(tmp_path / "train-1.parquet", [0, 1, 2], ["cow", "ant", "bee"])
    _labelled(tmp_path / "validation.parquet", [0, 2], ["bee", "yak", "ant"])
    _labelled(tmp_path / "test.parquet", ["cow", "ant"])
    assert _read(tmp_path) == ["ant", "bee", "cow", "cow", "ant", "bee"]
    assert _read(tmp_path, "validation") == ["bee", "ant"]
    assert _read(tmp_path, "test") == ["cow", "ant"]
    assert {open_images(str(tmp_path), split=split).classes for split in ("train", "validation", "test")} == {
        ("ant", "bee", "cow")
    }


def test_a_class_that_training_lacks_is_named(tmp_path: Path) -> None:
    _labelled(tmp_path / "train.parquet", [0, 1], ["ant", "bee"])
    _labelled(tmp_path / "validation.parquet", [0, 1], ["Ant", "bee"])
    _labelled(tmp_path / "test.parquet", [3, 4])
    assert "validation.parquet: class Ant is not among the 2 that are trained on; ant differs from it only in" in (
        _refused(tmp_path, "validation")
    )
    assert "test.parquet: image 0 has label 3, outside 0..1" in _refused(tmp_path, "test")


def test_numbers_without_names_are_taken_as_the_training_split_names_them(tmp_path: Path) -> None:
    _labelled(tmp_path / "train.parquet", [0, 1], ["bee", "ant"])
    _labelled(tmp_path / "test.parquet", [1, 1])
    assert _read(tmp_path, "test") == ["ant", "ant"]
    assert open_images(str(tmp_path), split="test").notes == (
        "test.parquet names no classes: its numbers are taken as the others name",
    )


def test_files_that_cannot_be_one_data_set_are_refused(tmp_path: Path) -> None:
    _labelled(tmp_path / "kinds" / "train-0.parquet", [0, 1])
    _labelled(tmp_path / "kinds" / "train-1.parquet", ["a", "b"])
    assert "its labels are numbers, those of train-1.parquet are text" in _refused(tmp_path / "kinds")
    _labelled(tmp_path / "columns" / "train-0.parquet", [0, 1])
    _write(tmp_path / "columns" / "train-1.parquet", {"image": GREY[:2], "target": [0, 1]})
    assert "train-1.parquet: no column label, which the other files have" in _refused(tmp_path / "columns")
    _labelled(tmp_path / "twice" / "train.parquet", [0, 1], ["crane", "crane"])
    _labelled(tmp_path / "twice" / "test.parquet", [0, 1], ["ant", "crane"])
    assert "two classes are called crane" in _refused(tmp_path / "twice", "test")


def test_every_layout_and_the_names_of_splits(tmp_path: Path) -> None:
    for name in ("a/train-0.parquet", "a/dev-0.parquet", "a/x_Eval.parquet", "b/default/training/0000.parquet"):
        _labelled(tmp_path / name, [0, 1])
    for name in ("b/default/validation/0000.parquet", "b/default/testing/0000.parquet", "c/fold1/dev/7.parquet"):
        _labelled(tmp_path / name, [0, 1])
    for root in ("a", "b"):
        assert [len(_read(tmp_path / root, split)) for split in ("train", "validation", "test")] == [2, 2, 2]
    assert "no train split here, only validation" in _refused(tmp_path / "c")
    assert "no train split here, only test" in _refused(tmp_path / "b" / "default" / "testing" / "0000.parquet")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train.parquet", "extra.parquet"), "extra.parquet beside train.parquet: the name says no split"),
        (("train-dev.parquet",), "train-dev.parquet: the name says train and validation"),
        (("train/test-0.parquet",), "test-0.parquet: the name says train and test"),
        (("fold1/train/0.parquet", "fold2/train/0.parquet"), "several data sets side by side (fold1, fold2)"),
    ],
)
def test_files_whose_split_is_doubtful_are_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        _labelled(tmp_path / name, [0, 1])
    assert message in _refused(tmp_path)


def test_damaged_footers_are_refused_or_read_and_end_no_process(tmp_path: Path) -> None:
    whole = _labelled(tmp_path / "whole.parquet", [0, 1, 2], ["ant", "bee", "cow"]).read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    draw = random.Random(3)
    (tmp_path / "files").mkdir()
    for number in range(150):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(whole) - footer, len(whole) - 4)] = draw.randrange(256)
        (tmp_path / "files" / f"{number}.parquet").write_bytes(damaged)
    # In a process of its own: what ends it is an abort inside the library.
    code = """
import sys
from pathlib import Path
import numpy as np
from autoshrink.data import open_images
from autoshrink.errors import DataError
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        source = open_images(str(path))
        list(source.payloads(np.arange(len(source.labels))))
    except DataError as error:
        assert path.name in str(error)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "files")], capture_output=True, check=False, text=True, timeout=60
    )
    assert done.stdout == "done\n", done.stderr[-500:]


@pytest.mark.parametrize("stray", ["metadata.parquet", "embeddings/v.parquet", "train.parquet"])
def test_parquet_without_images_in_an_image_folder_is_ignored_and_named(tmp_path: Path, stray: str) -> None:
    photos(tmp_path / "train", {"cat": 1, "dog": 1})
    _write(tmp_path / stray, {"file_name": ["a"], "vector": [[0.5]]})
    source = open_images(str(tmp_path))
    assert source.classes == ("cat", "dog")
    assert f"parquet files without images and labels are ignored: {stray}" in source.notes


def test_folders_of_images_beside_parquet_are_named(tmp_path: Path) -> None:
    _labelled(tmp_path / "train.parquet", [0, 1])
    photos(tmp_path, {"cat": 1, "dog": 1})
    assert open_images(str(tmp_path)).notes == (
        "the parquet files are read, and the folders of image files beside them are not",
    )


def test_paths_are_read_from_the_folder_of_the_file_and_from_nowhere_else(tmp_path: Path) -> None:
    photos(tmp_path / "near", {"cat": 2, "dog": 2})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    places = ["cat/00.png", "dog/01.png"]
    for name, cells in (
        ("structs", pa.array([{"bytes": None, "path": place} for place in places], kind)),
        ("texts", pa.array(places)),
    ):
        path = _write(tmp_path / "near" / f"{name}.parquet", {"image": cells, "label": ["cat", "dog"]})
        split = load_split(str(path), "train", size=8)
        assert split.data.labels.tolist() == [0, 1]
        assert open_images(str(path)).describe(1) == "dog/01.png"
    for place, why in (
        ("/data/circle/0.png", "row 0 holds a path, not an image: /data/circle/0.png is not in"),
        ("../near/cat/00.png", "row 0 holds a path, not an image: ../near/cat/00.png is not in"),
        ("cat/7.png", "column image holds paths, not images: cat/7.png is not in"),
    ):
        path = _write(tmp_path / "far" / "train.parquet", {"image": [place, place], "label": [0, 1]})
        assert why in _refused(path)


def test_columns_of_other_things_are_no_images(tmp_path: Path) -> None:
    for cells in ([1, 2], [[1], [2]], [0.5, 1.0]):
        path = _write(tmp_path / "train.parquet", {"image": cells, "label": [0, 1]})
        assert "columns image, label; needed are an image column" in _refused(path)
        assert "column image holds" in _refused(Path(f"{path}#image=image"))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("[" * 20_000, "huggingface metadata are not as expected: nested more than"),
        ("[1]", "huggingface metadata are not as expected: no info.features"),
        ('{"info": {"features": [1]}}', "huggingface metadata are not as expected: no info.features"),
        (
            {"label": {"_type": "ClassLabel", "names": "abc"}},
            "the metadata's names of column label are no list of texts",
        ),
        ({"label": {"_type": "ClassLabel", "names": ["a"]}}, "image 1 has label 1, outside 0..0"),
    ],
)
def test_metadata_that_nobody_writes(tmp_path: Path, features: Any, message: str) -> None:
    assert message in _refused(_write(tmp_path / "train.parquet", {"image": GREY[:2], "label": [0, 1]}, features))


def test_one_of_several_columns_is_read_and_said_or_asked_for(tmp_path: Path) -> None:
    images = {"mask": GREY[:3], "photo": GREY[3:]}
    path = _write(tmp_path / "a.parquet", {**images, "label": [0, 1, 2]})
    assert "columns mask and photo can hold the image; choose with --image-column" in _refused(path)
    assert dict(open_images(f"{path}#image=photo").payloads(np.array([0]))) == {0: GREY[3]}
    assert f"{path}: no column foto (--image-column); columns mask, photo, label" in _refused(
        Path(f"{path}#image=foto")
    )
    path = _write(
        tmp_path / "b.parquet", {"image": GREY[:3], "thumb": GREY[3:], "label": [0, 1, 2], "class": [1, 1, 2]}
    )
    assert open_images(str(path)).notes == (
        "column image is read as the image, not thumb (--image-column names another)",
        "column label is read as the label, not class (--label-column names another)",
    )
    path = _write(tmp_path / "c.parquet", {"photo": GREY[:2], "category": ["x", "y"], "id": [1, 2]})
    assert open_images(str(path)).notes == (
        "column photo is read as the image",
        "column category is read as the label",
    )
    path = photos(tmp_path / "folder", {"cat": 1, "dog": 1})
    assert "--image-column and --label-column are for parquet files" in _refused(Path(f"{path}#label=x"))


def test_the_command_line_names_columns_and_the_run_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hues = [(250, 9, 9), (9, 250, 9), (9, 9, 250), (250, 250, 250)]
    shades = [encoded(Image.new("RGB", (8, 8), hue)) for hue in hues] * 12
    columns = {"image": shades, "coarse": [0, 1] * 24, "fine": [0, 1, 2, 3] * 12}
    coarse, fine = ({"_type": "ClassLabel", "names": names} for names in (["a", "b"], ["k", "l", "m", "n"]))
    path = _write(tmp_path / "train.parquet", columns, {"image": {"_type": "Image"}, "coarse": coarse, "fine": fine})
    asked = ["search", "--data", str(path), "--run", str(tmp_path / "run"), "--threads", "1", *FEW]
    assert run(asked) == 2
    assert "columns coarse and fine can hold the label; choose with --label-column" in capsys.readouterr().err
    assert run([*asked, "--label-column", "fine"]) == 0
    record = read_record(tmp_path / "run")
    assert record.data["classes"] == ["k", "l", "m", "n"]
    assert record.settings.data.spec == f"{path}#label=fine"
    assert f"'{path}#label=fine'" in capsys.readouterr().out
    assert run(["search", "--label-column", "fine"]) == 2
    assert "name the data with --data, too" in capsys.readouterr().err
