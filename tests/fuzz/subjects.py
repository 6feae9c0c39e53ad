"""What is damaged: a small file of every format that is read, and the commands and calls that read it."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fuzz_settings import INPUTS
from PIL import Image

from autoshrink import zoo
from autoshrink.bundle import save
from autoshrink.cli import run
from autoshrink.cost.latency import operations
from autoshrink.data import load_proxy
from autoshrink.data.text_proxy import load_text_proxy
from autoshrink.errors import InputError
from autoshrink.latency.table import LatencyTable
from autoshrink.store import Store, read_events
from autoshrink.training import checkpoint
from autoshrink.untrusted import parse_json
from data_fixtures import encoded, parquet, penn, photos, tarred
from deploy_fixtures import CELL, DIGITS, classifier

FEW = 500
"""Up to so many inputs, formats that take long to make are left out."""
GOLDEN = Path(__file__).parents[1] / "golden" / "store-v4"


@dataclass(frozen=True)
class Subject:
    """A file that is damaged, and what is done with it.

    Attributes:
        name: of the format.
        file: the one that is damaged.
        reads: commands (lists of words) and calls (giving what they found); each ends alone.
        exact: whether what is accepted has to give what the undamaged file gives.
    """

    name: str
    file: Path
    reads: Sequence[list[str] | Callable[[], object]]
    exact: bool = False


def subjects(folder: Path) -> list[Subject]:
    """All of them, made in a folder."""
    return [*_json_files(folder), *_logs(folder), *_models(folder), *_data(folder), *_sealed(folder)]


def _json_files(folder: Path) -> list[Subject]:
    cell, table = folder / "a.cell.json", folder / "table.json"
    cell.write_text(json.dumps(CELL.to_json()))
    found = [
        Subject("cell", cell, [["show", str(cell)], ["cost", str(cell), "--json"], ["craft", str(cell), "--json"]])
    ]
    for name in ("shrinkcnn-a", "shrinkrnn", "mobilenetv2-1.4", "lstm"):
        if name in zoo.names():
            path = folder / f"{name}.arch.json"
            path.write_text(json.dumps(zoo.get(name).to_json()))
            reads = [["show", str(path)], ["cost", str(path), "--json"], ["craft", str(path), "--json"]]
            found.append(Subject(f"architecture {name}", path, reads))
    figures = {one.key: 1000 for one in operations(DIGITS)}
    table.write_text(json.dumps(LatencyTable({"cpu": "x", "threads": 1}, figures).to_json()))
    search = ["search", "--resource", "latency", "--latency-table", str(table), "--data", str(folder / "nowhere")]
    return [*found, Subject("latency table", table, [lambda: LatencyTable.read(table).of(DIGITS), search])]


def _logs(folder: Path) -> list[Subject]:
    shutil.copytree(GOLDEN, folder / "run")
    place, page = str(folder / "run"), str(folder / "page.html")
    reads = [
        ["show", place, "--json"],
        ["craft", place, "--json"],
        ["report", place, "-o", page],
        ["resume", place, "--json"],
    ]
    return [Subject("run log", folder / "run" / "run.sqlite", reads, exact=True)]


def _models(folder: Path) -> list[Subject]:
    model, state, image = folder / "model", folder / "state.safetensors", folder / "image.png"
    model.mkdir()
    save(model / "model.safetensors", classifier(DIGITS))
    checkpoint.save(state, {"weight": torch.arange(6.0)}, {"epoch": 3, "curve": [0.5, 0.25]})
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(image)
    found = [
        Subject("state", state, [lambda: str(checkpoint.load(state))], exact=True),
        Subject(
            "model",
            model / "model.safetensors",
            [["evaluate", str(model), "--data", "digits", "--json"]],
            exact=True,
        ),
        Subject("image", image, [["predict", str(folder / "float.onnx"), str(image), "--json"]]),
    ]
    kinds = {"float": [], "int8": ["--int8"]} if INPUTS > FEW else {"float": list[str]()}
    for name, options in kinds.items():
        file = folder / f"{name}.onnx"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = run(["export", str(model), "-o", str(file), *options])
        assert status == 0, "an export for the fuzz test"
        found.append(Subject(f"ONNX {name}", file, [["predict", str(file), str(image), "--json"]], exact=True))
    return found


def _proxy(spec: Path, cache: Path | None = None) -> str:
    proxy = load_proxy(
        str(spec), train_per_class=4, validation_per_class=2, size=8, seed=0, max_corrupt=0.5, cache=cache
    )
    return proxy.fingerprint


def _data(folder: Path) -> list[Subject]:
    pictures = photos(folder / "photos", {"cat": 8, "dog": 8})
    rng = np.random.default_rng(0)
    images = [encoded(Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))) for _ in range(16)]
    table = parquet(folder / "parquet" / "train.parquet", images, [0, 1] * 8)
    archive = tarred(folder / "cifar" / "cifar-10-binary.tar.gz", _cifar(rng))
    text = penn(folder / "text")
    cache = folder / "cache"
    _proxy(pictures, cache)
    stored = next(path for path in cache.rglob("*") if path.is_file() and path.suffix == ".npz")
    photo = sorted((pictures / "cat").iterdir())[0]
    return [
        Subject("image folder", photo, [lambda: _proxy(pictures)]),
        Subject("parquet", table, [lambda: _proxy(table.parent)]),
        Subject("CIFAR archive", archive, [lambda: _proxy(archive.parent)]),
        Subject("text", sorted(text.iterdir())[0], [lambda: _words(text)]),
        Subject("cache", stored, [lambda: _proxy(pictures, cache)], exact=True),
    ]


def _cifar(rng: np.random.Generator) -> dict[str, bytes]:
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    one = b"".join(bytes([label % 10]) + rng.bytes(3072) for label in range(20))
    return dict.fromkeys(names, one) | {"batches.meta.txt": "\n".join(f"class{n}" for n in range(10)).encode()}


def _words(spec: Path) -> str:
    found = load_text_proxy(
        str(spec),
        sentences=20,
        validation_sentences=5,
        max_vocabulary=None,
        min_count=1,
        seed=0,
    )
    return found.fingerprint


def _sealed(folder: Path) -> list[Subject]:
    """Files whose digests are right and whose content may be anything: facts of a model, events of a log."""
    tensors, facts = checkpoint.load(folder / "model" / "model.safetensors")
    said, model = folder / "facts.json", folder / "resealed"
    said.write_text(json.dumps(facts))
    model.mkdir()
    told, log = folder / "events.json", folder / "rewritten"
    told.write_text(json.dumps([[event.kind, event.body] for event in read_events(folder / "run")]))
    log.mkdir()

    def reseal() -> None:
        value = parse_json(said.read_text(errors="replace"))
        if isinstance(value, dict):
            checkpoint.save(model / "model.safetensors", tensors, value)

    def rewrite() -> None:
        value = parse_json(told.read_text(errors="replace"))
        shutil.rmtree(log)
        events = [one for one in value if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str)]
        if len(events) < 2:
            raise InputError("not a log")
        with Store.create(log, events[0][1]) as store:
            for kind, body in events[1:]:
                store.append(kind, body)

    def after(change: Callable[[], None], command: list[str]) -> Callable[[], object]:
        def call() -> object:
            change()
            status = run(command)
            if status != 0:
                raise InputError(f"exit status {status}" if status == 2 else f"the status is {status}")
            return status

        return call

    page = str(folder / "rewritten.html")
    return [
        Subject(
            "model's facts",
            said,
            [after(reseal, ["evaluate", str(model), "--data", "digits", "--json"])],
        ),
        Subject(
            "events' bodies",
            told,
            [after(rewrite, [name, str(log), *more]) for name, more in (("show", ()), ("report", ("-o", page)))]
            + [after(rewrite, ["show", str(log), "--json"])],
        ),
    ]
