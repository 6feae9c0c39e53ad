"""Networks written as plain PyTorch: the same function, readable, loading without autoshrink."""

from __future__ import annotations

import importlib.util
import io
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from autoshrink import zoo
from autoshrink.architecture import (
    ARCHITECTURE_FORMAT,
    ConvArchitecture,
    ImageArchitecture,
    LanguageModel,
    MobileArchitecture,
    language_model,
    proxy_architecture,
    recurrent_proxy,
)
from autoshrink.architecture.base import Architecture
from autoshrink.cell import OPS, Cell
from autoshrink.cost import count
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.data.tokenising import Level, Rule
from autoshrink.deploy import plain_source
from autoshrink.deploy.parity import real_samples
from autoshrink.deploy.plain_source import PlainSource, render, write
from autoshrink.deploy.plain_source.image import ACTIVATIONS
from autoshrink.errors import InputError, RunError
from autoshrink.networks import build, set_normalisation
from autoshrink.priors import complete_edges
from autoshrink.training.classifier import TrainedClassifier
from autoshrink.training.language_model import TrainedModel

WORDS = ["the", "cat", "dog", "sees", "likes", "milk", "bones", ".", ",", "don't", "1,000", "(", ")"]


def random_cell(rng: random.Random, kind: str, nodes: int) -> Cell:
    pairs = [(i, j) for j in range(1, nodes) for i in range(j)]
    ops = ("input", *(rng.choice(OPS[kind]) for _ in range(nodes - 1)))
    return Cell(kind, ops, tuple(pair for pair in pairs if rng.random() < 0.6))


def complete(ops: list[str]) -> Cell:
    return Cell("conv", ("input", *ops), complete_edges(len(ops) + 1))


def classifier(
    architecture: ImageArchitecture, *, names: tuple[str, ...] | None = None, crop: float = 1.0, epsilon: float = 1e-5
) -> TrainedClassifier:
    """Weights and BN statistics at random, as far from their initial values as a trained network's are."""
    network = build(architecture, seed=0)
    set_normalisation(network, epsilon=epsilon)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.get_buffer("running_var")):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.get_buffer("running_mean")):
                tensor.data.normal_(std=0.2, generator=generator)
    channels, size, _ = architecture.input
    preprocessing = Preprocessing(channels, size, (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels], crop)
    classes = names or tuple(f"class {number}" for number in range(architecture.classes))
    facts = {"epoch": 3, "performance": 0.5, "data": {"spec": "digits"}, "bn_epsilon": epsilon}
    return TrainedClassifier(architecture, network.eval(), classes, preprocessing, facts)


def vocabulary(rule: Rule = "words", *, lines: bool = True) -> Vocabulary:
    level: Level = "char" if rule == "characters" else "word"
    tokens = list("abc de.,(") if rule == "characters" else WORDS
    return Vocabulary.build(
        [[*tokens, *(["<eos>"] if lines else [])]], level=level, max_size=None, min_count=1, rule=rule
    )


def writer(architecture: LanguageModel, known: Vocabulary | None = None) -> TrainedModel:
    known = known or vocabulary()
    fitting = language_model(architecture, vocabulary=len(known))
    network = build(fitting, seed=0, initial_range=0.5).eval()
    torch.nn.init.normal_(network.decoder_bias, generator=torch.Generator().manual_seed(2))
    return TrainedModel(fitting, network, known, {"epoch": 3, "performance": -2.0, "data": {"spec": "a corpus"}})


def loaded(source: PlainSource, folder: Path) -> Any:
    """The written module, imported here; whether it needs autoshrink is for the tests of `write`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in source.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    save_file(dict(source.tensors), folder / "model.safetensors")
    spec = importlib.util.spec_from_file_location("written_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# The same function


def random_network(seed: int) -> ConvArchitecture:
    """Every seed another activation, odd sizes, pools up to 3, some with a head, some cells empty or with one node."""
    rng = random.Random(seed)
    stages = [
        {"cells": rng.randint(1, 2), "width": rng.randint(2, 6), "pool": rng.randint(1, 3)}
        for _ in range(rng.randint(1, 3))
    ]
    size = rng.choice([1, 5, 7, 8, 13])
    value = {
        "format": ARCHITECTURE_FORMAT,
        "kind": "conv",
        "cell": random_cell(rng, "conv", 1 + seed % 8),
        "input": [rng.choice([1, 3]), size, size],
        "classes": rng.randint(2, 5),
        "stem": {"channels": rng.randint(2, 6), "stride": rng.randint(1, 2)},
        "stages": stages,
        "head": {"channels": 7} if rng.random() < 0.5 else None,
        "activation": list(ACTIVATIONS)[seed % len(ACTIVATIONS)],
    }
    return ConvArchitecture.from_json(value)


def random_blocks(seed: int) -> MobileArchitecture:
    rng = random.Random(seed)

    def stage() -> dict[str, Any]:
        return {
            "blocks": rng.randint(1, 2),
            "width": rng.randint(2, 4),
            "expansion": rng.choice([1, 2, 6]),
            "kernel": rng.choice([3, 5, 7]),
            "stride": rng.randint(1, 2),
            "squeeze": rng.choice([None, 0.25, 1.0]) if seed % 2 else None,
            "squeeze_of": rng.choice(["input", "expanded"]),
        }

    value = {
        "format": ARCHITECTURE_FORMAT,
        "kind": "mobile",
        "input": [rng.choice([1, 3]), *[rng.choice([1, 7, 12])] * 2],
        "classes": rng.randint(2, 5),
        "stem": {"channels": rng.randint(2, 4), "stride": rng.randint(1, 2)},
        "stages": [stage() for _ in range(rng.randint(1, 3))],
        "head": {"channels": 7} if rng.random() < 0.5 else None,
        "activation": list(ACTIVATIONS)[seed % len(ACTIVATIONS)],
    }
    return MobileArchitecture.from_json(value)


@pytest.mark.parametrize("make", [random_network, random_blocks])
@pytest.mark.parametrize("seed", range(16))
def test_a_written_image_network_is_ours(make: Callable[[int], ImageArchitecture], seed: int, tmp_path: Path) -> None:
    model = classifier(make(seed), epsilon=1e-5 if seed % 2 else 1e-3)
    network = loaded(render(model), tmp_path).load()
    images = torch.randn(3, *model.architecture.input, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        ours, written = model.network(images), network(images)
    assert (ours - written).abs().max() < 1e-6 * max(1.0, float(ours.abs().max()))
    assert parameters(network) == parameters(model.network) == count(model.architecture).params_with_bn


def test_it_trains_as_ours_does(tmp_path: Path) -> None:
    """A step of SGD in training mode, BN statistics included, leaves both with the same logits."""
    model = classifier(random_network(6))
    network = loaded(render(model), tmp_path).load()
    images = torch.randn(4, *model.architecture.input, generator=torch.Generator().manual_seed(0))
    for one in (model.network, network):
        one.train()
        optimiser = torch.optim.SGD(one.parameters(), lr=0.1)
        loss: torch.Tensor = torch.nn.functional.cross_entropy(one(images), torch.tensor([0, 1, 0, 1]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        one.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images), model.network(images))


def random_language_model(seed: int) -> LanguageModel:
    rng = random.Random(seed)
    cell = random_cell(rng, "recurrent", 1 + seed % 7)
    architecture = recurrent_proxy(cell, vocabulary=2, width=5, aggregate=rng.choice(["mean", "sum"]))
    if seed % 3 == 0 and len(cell.reachable) > 2:
        chosen = sorted(rng.sample(cell.reachable[1:], 2))
        return architecture.from_json(architecture.to_json() | {"output": chosen})
    return architecture


def library(kind: str, layers: int) -> LanguageModel:
    value = {"format": ARCHITECTURE_FORMAT, "kind": kind, "vocabulary": 2, "width": 5, "layers": layers}
    return LanguageModel.from_json(value)


LANGUAGE_MODELS = [*map(random_language_model, range(14)), *(library(k, n) for k in ("lstm", "gru") for n in (1, 2))]


@pytest.mark.parametrize("architecture", LANGUAGE_MODELS, ids=lambda one: f"{one.kind} {one.cell}")
def test_a_written_language_model_is_ours_at_once_and_step_by_step(architecture: LanguageModel, tmp_path: Path) -> None:
    model = writer(architecture)
    network = loaded(render(model), tmp_path).load()
    tokens = torch.randint(len(model.vocabulary), (9, 3), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, _ = model.network(tokens, model.network.initial_state(3))
        at_once, _ = network(tokens, network.initial_state(3))
        state, steps = network.initial_state(3), []
        for now in tokens:
            logits, state = network.step(now, state)
            steps.append(logits)
    torch.testing.assert_close(at_once, ours, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(torch.stack(steps), ours, atol=1e-6, rtol=1e-6)
    assert parameters(network) == parameters(model.network) == count(model.architecture).params


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shrinkcnn-a", "mobilenetv2-1.0", "mnasnet-a1", "efficientnet-b0"])
def test_published_image_networks_are_written_too(name: str, tmp_path: Path) -> None:
    architecture = zoo.get(name)
    assert isinstance(architecture, ImageArchitecture)
    smaller = architecture.from_json(architecture.to_json() | {"input": [3, 64, 64]})
    model = classifier(smaller)
    network = loaded(render(model), tmp_path).load()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(images), model.network(images), atol=1e-6, rtol=1e-6)
    assert parameters(network) == count(architecture).params_with_bn


@pytest.mark.parametrize("name", ["shrinkrnn", "darts-rnn", "enas-rnn", "rhn"])
def test_published_cells_are_written_too(name: str, tmp_path: Path) -> None:
    architecture = zoo.get(name)
    assert isinstance(architecture, LanguageModel)
    model = writer(language_model(architecture, width=8))
    network = loaded(render(model), tmp_path).load()
    tokens = torch.randint(len(model.vocabulary), (5, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, _ = model.network(tokens, model.network.initial_state(2))
        torch.testing.assert_close(network(tokens, network.initial_state(2))[0], ours, atol=1e-6, rtol=1e-6)


# Readable


def test_the_wiring_reads_as_statements(tmp_path: Path) -> None:
    ops = ("input", "sepconv3x3", "conv1x1", "sepconv3x3", "conv1x1")
    cell = Cell("conv", ops, ((0, 1), (0, 2), (1, 2), (2, 3), (1, 4)))
    text = render(classifier(proxy_architecture(cell, shape=(1, 8, 8), activation="swish"))).texts["model.py"]
    for line in (
        "    (1, 16, 1),",
        "ACTIVATION = nn.SiLU",
        "        self.out_channels = 2 * width",
        "        self.node2 = ConvBN(channels + width, width, ACTIVATION)",
        "        self.node3 = SepConv(width, width, nn.ReLU, nn.Identity)",
        "        x2 = self.node2(torch.cat([x0, x1], dim=1))",
        "        x3 = self.node3(x2)",
        "        output = torch.cat([x3, x4], dim=1)",
    ):
        assert f"\n{line}\n" in text
    recurrent = Cell("recurrent", ("input", "tanh", "relu"), ((0, 1), (0, 2), (1, 2)))
    text = render(writer(recurrent_proxy(recurrent, vocabulary=2, width=5))).texts["model.py"]
    assert "        s1 = highway(s0, self.edge_0_1(s0), torch.tanh)\n" in text
    assert "            + highway(s1, self.edge_1_2(s1), torch.relu)\n        ) / 2\n        return s2\n" in text


@pytest.mark.skipif(shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="ruff is not installed")
def test_ruff_would_change_nothing(tmp_path: Path) -> None:
    """Neither format nor check, over cells from empty to 30 nodes, names of all lengths, every rule of cutting."""
    models: list[TrainedClassifier | TrainedModel] = [classifier(random_network(seed)) for seed in range(12)]
    models += [classifier(random_blocks(seed)) for seed in range(12)]
    for nodes in (12, 14, 17, 18, 19, 20, 30):
        ops = [OPS["conv"][n % 2] for n in range(nodes - 1)]
        models.append(classifier(proxy_architecture(complete(ops), widths=(2,), shape=(3, 8, 8))))
        # Every node a leaf.
        star = Cell("conv", ("input", *ops), tuple((0, n) for n in range(1, nodes)))
        models.append(classifier(proxy_architecture(star, widths=(2,), shape=(3, 8, 8)), crop=0.875))
        stars = Cell("recurrent", ("input", *["tanh"] * (nodes - 1)), star.edges)
        models.append(writer(recurrent_proxy(stars, vocabulary=2, width=3)))
    models += map(writer, LANGUAGE_MODELS)
    models += [
        writer(random_language_model(3), vocabulary(rule, lines=lines))
        for rule in ("spaces", "words", "characters")
        for lines in (True, False)
    ]
    tiny = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(1, 8, 8), classes=3)
    models += [classifier(tiny, names=("it's", 'a "b"', "c" * length)) for length in range(50, 70)]
    for number, model in enumerate(models):
        (tmp_path / f"model_{number}.py").write_text(render(model).texts["model.py"], encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    rules = "E,F,W,I,UP,B,C4,SIM,D1,N"
    for command in (["format", "--diff", "--isolated"], ["check", "--isolated", "--select", rules, "--ignore", "D107"]):
        done = subprocess.run([*ruff, *command, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_equal_models_are_written_alike() -> None:
    one, other = (render(writer(random_language_model(5))) for _ in range(2))
    assert one.texts == other.texts
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


NAMES = (
    'quo"te',
    "apo'strophe",
    "both ' and \"",
    "back\\slash",
    "new\nline",
    "Äpfel 苹果",
    "${x} {y} $z",
    "\u200b",
    "x" * 99,
)


def test_class_names_survive_as_they_are(tmp_path: Path) -> None:
    architecture = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(1, 8, 8), classes=len(NAMES))
    assert tuple(loaded(render(classifier(architecture, names=NAMES)), tmp_path).CLASSES) == NAMES


def test_many_classes_have_a_file_of_their_own(tmp_path: Path) -> None:
    architecture = proxy_architecture(complete(["conv1x1"]), widths=(2,), shape=(1, 8, 8), classes=1000)
    model = classifier(architecture)
    source = render(model)
    assert tuple(loaded(source, tmp_path).CLASSES) == model.classes
    assert "class 500" not in source.texts["model.py"]
    assert len(source.texts["model.py"].splitlines()) < 250


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


def test_a_language_model_is_written_and_writes(tmp_path: Path) -> None:
    model = writer(random_language_model(5))
    tokens = np.random.default_rng(0).integers(0, len(model.vocabulary), 50)
    parity = write(model, tmp_path / "plain", tokens)
    assert parity.shapes == ((50, 1), (1, 1), (12, 4), (1, 4))
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
    with pytest.raises(InputError, match="is a file"):
        write(digits, tmp_path / "full" / "mine.txt", real_samples(digits, count=2))
    with pytest.raises(InputError, match="not one real sample"):
        write(digits, tmp_path / "new", real_samples(digits, count=2)[:0])
    with pytest.raises(RunError, match="cannot be written"):
        write(digits, tmp_path / "full" / "mine.txt" / "below", real_samples(digits, count=2))
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_other_kinds_are_refused_by_name(digits: TrainedClassifier) -> None:
    class Odd(ImageArchitecture):
        kind: str = "odd"

    odd = Odd(input=(1, 8, 8), classes=10)
    with pytest.raises(InputError, match="a odd network has no plain source"):
        render(replace(digits, architecture=odd))
    assert issubclass(Odd, Architecture)
