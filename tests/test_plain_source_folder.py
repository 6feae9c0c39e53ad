"""A folder of plain source as a stranger uses it: inputs from files, loading without autoshrink; what is refused."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoshrink.architecture import ImageArchitecture, NetworkPlan, PartPlan, proxy_architecture
from autoshrink.architecture.base import Architecture
from autoshrink.bundle import TrainedClassifier
from autoshrink.cell import Cell
from autoshrink.data import Vocabulary
from autoshrink.deploy import plain_source
from autoshrink.deploy.image import real_samples
from autoshrink.deploy.plain_source import image as plain_source_image
from autoshrink.deploy.plain_source import render, write
from autoshrink.errors import InputError, RunError
from plain_source_fixtures import classifier, complete, library, loaded, random_language_model, vocabulary, writer

# From files of people to inputs, and back


def images() -> dict[str, bytes]:
    """Encoded images of every kind that needs care."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (61, 90, 3), dtype=np.uint8)).resize((97, 53))
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (53, 97), dtype=np.uint8)))
    deep = Image.fromarray(rng.integers(0, 65536, (40, 50), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "png": (colour, {}),
        "large jpeg": (colour.resize((970, 530)), {"format": "JPEG"}),
        "turned": (colour, {"format": "JPEG", "exif": turned}),
        "grey": (colour.convert("L"), {}),
        "grey with alpha": (alpha.convert("LA"), {}),
        "transparent": (alpha, {}),
        "palette": (colour.convert("P"), {}),
        "16 bits": (deep, {}),
        "one bit": (colour.convert("1"), {}),
    }
    encoded = {}
    for name, (image, options) in made.items():
        buffer = io.BytesIO()
        image.save(buffer, **({"format": "PNG"} | options))
        encoded[name] = buffer.getvalue()
    return encoded


@pytest.mark.parametrize("crop", [1.0, 0.875])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_as_ours_reads_them(channels: int, crop: float, tmp_path: Path) -> None:
    architecture = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(channels, 17, 17))
    model = classifier(architecture, crop=crop)
    module = loaded(render(model), tmp_path)
    for name, payload in images().items():
        ours = model.preprocessing.normalised(model.preprocessing.pixels(payload)[np.newaxis])[0]
        with Image.open(io.BytesIO(payload)) as image:
            written = module.preprocess(image).numpy()
        assert written.shape == ours.shape
        assert np.abs(written - ours).max() < 1e-5, name


TEXT = st.text(st.sampled_from("abcde the cat. ,()'\n\r1-<>unkeos\t“”é"), max_size=60)
_modules: dict[tuple[str, bool], tuple[Any, Vocabulary]] = {}


@pytest.fixture(
    scope="module",
    params=[(rule, lines) for rule in ("spaces", "words", "characters") for lines in (True, False)],
    ids=str,
)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Vocabulary]:
    rule, lines = request.param
    known = vocabulary(rule, lines=lines)
    return loaded(render(writer(library("gru", 1), known)), tmp_path_factory.mktemp("reader")), known


@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_texts_are_cut_as_ours_cuts_them(reader: tuple[Any, Vocabulary], text: str) -> None:
    module, known = reader
    numbers = known.encode(known.tokenise(text)).tolist()
    assert module.encode(text) == numbers


@settings(max_examples=150, deadline=None)
@given(numbers=st.lists(st.integers(2, 10)))
def test_what_is_decoded_is_cut_again_into_the_same(reader: tuple[Any, Vocabulary], numbers: list[int]) -> None:
    module, _ = reader
    assert module.encode(module.decode(numbers)) == numbers


# Written, checked, refused


@pytest.fixture
def digits() -> TrainedClassifier:
    cell = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2), (1, 2)))
    return classifier(proxy_architecture(cell, shape=(1, 8, 8), widths=(4, 6)), names=tuple("0123456789"))


def test_a_written_folder_works_for_a_stranger(digits: TrainedClassifier, tmp_path: Path) -> None:
    """model.py names the class of an image where autoshrink cannot be imported."""
    samples = real_samples(digits, count=20)
    parity = write(digits, tmp_path / "new" / "plain", samples)
    assert parity.samples == 20
    assert parity.max_difference < 1e-6
    files = {path.name: path.read_bytes() for path in (tmp_path / "new" / "plain").iterdir()}
    assert set(files) == {"model.py", "model.safetensors", "README.md"}
    assert f"{parity}" in files["README.md"].decode()

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8))
    image.save(tmp_path / "a.png")
    pixels = digits.preprocessing.pixels((tmp_path / "a.png").read_bytes())
    with torch.no_grad():
        logits = digits.network(torch.from_numpy(digits.preprocessing.normalised(pixels[np.newaxis])))
    blocked = "import runpy, sys; sys.modules['autoshrink'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    code = f"import sys; sys.argv = sys.argv[1:]; {blocked}"
    told = subprocess.run(
        [sys.executable, "-c", code, "new/plain/model.py", "a.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, *_ = told.stdout.splitlines()
    assert first == "a.png"
    assert second.split()[1] == digits.classes[int(logits.argmax())]


def test_names_are_printed_without_control_characters(digits: TrainedClassifier, tmp_path: Path) -> None:
    classes = tuple(f"\x1b[31m{name}" for name in digits.classes)
    named = replace(digits, interface=replace(digits.interface, classes=classes))
    write(named, tmp_path / "plain", real_samples(digits, count=2))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    command = [sys.executable, str(tmp_path / "plain" / "model.py"), str(tmp_path / "a.png")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "\x1b" not in told
    assert "\\x1b[31m" in told


def test_a_language_model_is_written_and_writes(tmp_path: Path) -> None:
    model = writer(random_language_model(5))
    tokens = np.random.default_rng(0).integers(0, len(model.vocabulary), 50)
    parity = write(model, tmp_path / "plain", tokens)
    assert parity.shapes == ((12, 1), (7, 1), (12, 3), (7, 3)), "whole and in chunks"
    told = subprocess.run(
        [sys.executable, str(tmp_path / "plain" / "model.py"), "the cat"], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("the cat")
    assert len(told.stdout.split()) > 30


def test_a_file_that_needs_autoshrink_is_refused(
    digits: TrainedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = render(digits)
    leaning = {
        "model.py": "import autoshrink\n" + source.texts["model.py"].replace("from __future__ import annotations\n", "")
    }
    monkeypatch.setattr(plain_source, "render", lambda _: replace(source, texts=leaning))
    with pytest.raises(RunError, match="import of autoshrink halted"):
        write(digits, tmp_path / "plain", real_samples(digits, count=2))
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_refused(
    digits: TrainedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = render(digits)
    weights = dict(source.tensors)
    weights["classifier.bias"] = weights["classifier.bias"] + 0.01
    monkeypatch.setattr(plain_source, "render", lambda _: replace(source, tensors=weights))
    with pytest.raises(InputError, match=r"does not compute what PyTorch does: largest difference 0\.01"):
        write(digits, tmp_path / "plain", real_samples(digits, count=2))
    assert not list(tmp_path.iterdir())


def test_folders_in_use_are_left_alone(digits: TrainedClassifier, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something already"):
        write(digits, tmp_path / "full", real_samples(digits, count=2))
    with pytest.raises(RunError, match="is a file, not a folder"):
        write(digits, tmp_path / "full" / "mine.txt", real_samples(digits, count=2))
    with pytest.raises(InputError, match="not one real sample"):
        write(digits, tmp_path / "new", real_samples(digits, count=2)[:0])
    with pytest.raises(RunError, match="cannot be written"):
        write(digits, tmp_path / "full" / "mine.txt" / "below", real_samples(digits, count=2))
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_other_kinds_are_refused_by_name(digits: TrainedClassifier) -> None:
    class Odd(ImageArchitecture):
        part = "stages"
        kind: str = "odd"
        stages: tuple[object, ...] = ()

        def plan(self) -> NetworkPlan[PartPlan]:
            raise NotImplementedError("never planned: it is refused before")

    odd = Odd(input=(1, 8, 8), classes=10)
    with pytest.raises(InputError, match="a odd network has no plain source"):
        plain_source_image.render(replace(digits, architecture=odd))
    assert issubclass(Odd, Architecture)
