"""An empty path is no folder: not the current one, whichever function it is given to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import autoshrink
from autoshrink.data import open_images, open_text
from autoshrink.data.opening import splits_of
from autoshrink.errors import InputError

CALLS: dict[str, Callable[[str], object]] = {
    "search run": lambda empty: autoshrink.search({"data": {"spec": "digits"}}, run=empty),
    "search data": lambda empty: autoshrink.search({"data": {"spec": empty}}),
    "resume": autoshrink.resume,
    "record": autoshrink.read_record,
    "load": autoshrink.load,
    "craft": autoshrink.craft,
    "train out": lambda empty: autoshrink.train(None, {"data": {"spec": "digits"}}, out=empty),
    "train data": lambda empty: autoshrink.train(autoshrink.load("shrinkcnn-a"), {"data": {"spec": empty}}, out="new"),
    "train from": lambda empty: autoshrink.train(None, {"start": empty, "data": {"spec": "digits"}}, out="new"),
    "resume training": autoshrink.resume_training,
    "evaluate": autoshrink.evaluate,
    "evaluate data": lambda empty: autoshrink.evaluate("model", data=empty),
    "export": lambda empty: autoshrink.export(empty, "model.onnx"),
    "export output": lambda empty: autoshrink.export("model", empty),
    "export source": lambda empty: autoshrink.export_source("model", empty),
    "generate": autoshrink.generate,
    "classifier": autoshrink.OnnxClassifier.open,
    "images": open_images,
    "splits": splits_of,
    "text": open_text,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("empty", ["", " \t"])
def test_an_empty_path_is_not_the_current_folder(
    name: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / label / "a.png")
    (tmp_path / "train.txt").write_text("a b c\n" * 500)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"names no file and no folder|a name or a path is needed"):
        CALLS[name](empty)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "train.txt"}, "nothing is written"
