"""Which words and paths name a data set, where known sets are looked for, and what a wrong one is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import autoshrink.data
from autoshrink.cli.data_commands import list_
from autoshrink.data import known_data, list_data, load_split, open_images
from autoshrink.errors import DataError
from data_fixtures import (
    away_from_home,
    cifar_binary,
    cifar_python,
    encoded,
    parquet,
    penn,
    photos,
    picture,
    tarred,
    written,
)


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away_from_home(monkeypatch, tmp_path)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, autoshrink.data; print({'torch', 'sklearn', 'pyarrow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_what_is_exported_is_there_and_documented() -> None:
    for name in autoshrink.data.__all__:
        assert getattr(autoshrink.data, name).__doc__, name


def test_the_known_name_is_looked_up_in_two_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as caught:
        open_images("cifar10")
    assert "cifar10 is not on this machine; run: autoshrink data fetch cifar10" in str(caught.value)
    assert str(tmp_path / "home" / "autoshrink" / "cifar10") in str(caught.value)
    tarred(tmp_path / "home" / "autoshrink" / "cifar10" / "cifar-10-binary.tar.gz", cifar_binary(10))
    assert len(open_images("cifar10").labels) == 50
    monkeypatch.setenv("AUTOSHRINK_DATA", str(tmp_path / "shelf"))
    assert len(open_images("cifar10").labels) == 50
    written(tmp_path / "shelf" / "cifar10" / "cifar-10-batches-bin", cifar_binary(20))
    assert len(open_images("cifar10").labels) == 100


def test_an_unfinished_download_is_no_data(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "autoshrink" / "cifar10"
    written(folder, {"cifar-10-binary.tar.gz.part": b"half", "cifar-10-binary.tar.gz.lock": b""})
    with pytest.raises(DataError, match=r"cifar10 is not on this machine"):
        open_images("cifar10")


@pytest.mark.parametrize("layout", ["binary", "python", "parquet"])
def test_the_known_name_in_every_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    folder = tmp_path / "shelf" / "cifar10"
    if layout == "binary":
        tarred(folder / "cifar-10-binary.tar.gz", cifar_binary())
    elif layout == "python":
        written(folder / "cifar-10-batches-py", cifar_python())
    else:
        reds = [encoded(Image.new("RGB", (32, 32), (number, 0, 0))) for number in range(6)]
        parquet(folder / "train.parquet", reds, [0, 1] * 3)
    monkeypatch.setenv("AUTOSHRINK_DATA", str(tmp_path / "shelf"))
    source = open_images("cifar10")
    assert source.name == "cifar10"
    assert source.natural_size == 32
    assert load_split("cifar10", "train", size=None).notes == ()


def test_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [(row.name, row.task, row.where) for row in list_data()] == [
        ("digits", "image", "built in"),
        ("pydocs", "text", "built in"),
        ("cifar10", "image", None),
        ("ptb", "text", None),
        ("wikitext2", "text", None),
    ]
    assert all(row.description for row in list_data())
    written(tmp_path / "shelf" / "cifar10" / "cifar-10-batches-bin", cifar_binary())
    penn(tmp_path / "shelf" / "ptb")
    monkeypatch.setenv("AUTOSHRINK_DATA", str(tmp_path / "shelf"))
    where = {row.name: row.where for row in list_data()}
    assert where["cifar10"] == str(tmp_path / "shelf" / "cifar10")
    assert where["ptb"] == str(tmp_path / "shelf" / "ptb")
    assert [data.name for data in known_data()] == ["cifar10", "ptb", "wikitext2"]


def test_the_list_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    list_(as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["digits", "pydocs", "cifar10", "ptb", "wikitext2"]
    assert shown["ptb"].keys() == {"task", "path", "description"}
    assert (shown["ptb"]["task"], shown["ptb"]["path"], shown["pydocs"]["path"]) == ("text", None, "built in")
    list_()
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["name", "task", "where", "what"]
    assert [row[:4] for row in rows if row[0] in shown][-2:] == [
        [name, "text", "not", "here:"] for name in list(shown)[3:]
    ]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("digit", "did you mean digits?"),
        ("cifar100", "did you mean cifar10?"),
        ("fotos", "did you mean photos?"),
        ("qqq", "no data set and no path is called qqq\n"),
        ("nowhere/at/all", "names: digits, cifar10; or give the path of an image folder, a parquet file"),
    ],
)
def test_wrong_names_are_told_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, hint: str
) -> None:
    photos(tmp_path / "photos", {"cat": 1, "dog": 1})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        open_images(spec)
    assert hint in str(caught.value)
    assert str(caught.value).count("\n") == 1


def test_a_name_wins_over_a_folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "digits", {"cat": 1, "dog": 1})
    monkeypatch.chdir(tmp_path)
    assert len(open_images("digits").classes) == 10
    assert open_images("./digits").classes == ("cat", "dog")
    assert open_images("./digits").name == "digits"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", {"cat": 1, "dog": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_images("~/photos").name == "photos"


def test_files_of_other_kinds_are_told_what_is_accepted(tmp_path: Path) -> None:
    image = picture(tmp_path / "one.png")
    with pytest.raises(
        DataError, match=r"one.png is not data of a kind that is read here; give an image folder, a par"
    ):
        open_images(str(image))
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"photos.zip is not .*; extract it and give the folder"):
        open_images(str(tmp_path / "photos.zip"))


def test_a_path_that_no_system_can_open(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be opened: .*File name too long"):
        open_images("x" * 5000)


def test_a_split_that_does_not_exist() -> None:
    with pytest.raises(DataError, match=r"no split is called 'trian'; there are train, validation, test"):
        open_images("digits", split="trian")
