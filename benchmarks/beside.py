"""Networks of equal cost beside one another: ours, and those that people would otherwise take.

    export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000   # a third faster on Linux
    python benchmarks/beside.py --data cifar10 --macs 1M --network found.arch.json --resume results.jsonl
    python benchmarks/beside.py --data digits --latency 60us --search "--macs 100k --epochs 20" --json

Every hand-made network (`peers.py`) is scaled in width to 95–100 % of the budget, with stems of stride 1 and 2: MACs by
torch's own counter, or the median of paired rounds in ONNX Runtime on one thread (`--latency`: a time on the core). The
complete graph of six separable convolutions is scaled by the product. `--network` takes architecture files that are
measured as they are; `--search` runs the product's own search with these options and takes what it leaves. All are
trained from new weights by one recipe (`recipe.py`) with the same seeds. Each training is appended to the file that
`--resume` names, and one that stands there is not done again. Prints a table in Markdown, or JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoshrink.architecture import Stem
from autoshrink.architecture.image import ImageArchitecture
from autoshrink.cell import INPUT, Cell
from autoshrink.cli.quantities import amount, count
from autoshrink.crafting import craft
from autoshrink.errors import InputError
from autoshrink.files import scratch
from autoshrink.latency.measuring import Latency, Session, race
from autoshrink.loading import load
from autoshrink.networks import build
from autoshrink.onnx.export import folded, quiet
from autoshrink.resources import NANOSECONDS
from peers import GRAINS, PEERS, STRUCTURES, Scaled, Shape, multiply_adds, scaled
from recipe import Images, Recipe, train

ROUNDS, ROUND_SECONDS = 7, 0.1
FAST_GRAINS = (8, 4)
COMPLETE = Cell("conv", (INPUT, *["sepconv3x3"] * 5), tuple(combinations(range(6), 2)))
"""What the product's searches of cells begin with."""

KNOWN = PEERS | STRUCTURES

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Entry:
    """A network of the comparison: what it is called, its stem's stride, how it is built, and what it reads."""

    name: str
    stem: int
    make: Make
    side: int | None = None
    """Height and width of its input, pixels; None: those of the images."""

    def shape(self, images: Shape) -> Shape:
        """Of its input."""
        channels, height, width = images
        return channels, self.side or height, self.side or width


@dataclass
class Results:
    """What is known already, by what it depends on; with a file, each new one is appended to it at once."""

    path: Path | None
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                one = json.loads(line)
                self.known[json.dumps(one["of"])] = one["is"]

    def of(self, what: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of this, or is found now."""
        key = json.dumps(what)
        if key not in self.known:
            self.known[key] = make()
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"of": what, "is": self.known[key]}) + "\n")
        return self.known[key]


def session(network: nn.Module, shape: Shape) -> Session:
    """A network in ONNX Runtime, BN folded, one thread; torch's older exporter takes a twentieth of the time."""
    with quiet("torch.onnx"), scratch() as folder:
        path = folder / "network.onnx"
        torch.onnx.export(folded(network), (torch.zeros(1, *shape),), path, dynamo=False, opset_version=18)
        return Session(path.read_bytes())


@dataclass(frozen=True)
class Stopwatch:
    """Seconds on the core of a forward pass: the median of paired rounds beside a reference whose seconds are known.

    `shape` is that of the images.
    """

    reference: Session
    seconds: float
    shape: Shape

    @classmethod
    def beside(cls, network: nn.Module, shape: Shape, reads: Shape) -> Stopwatch:
        """With this network, and the shape that it reads, as the reference."""
        one = session(network, reads)
        return cls(one, middle(race([one], rounds=ROUNDS, seconds=ROUND_SECONDS)[0]), shape)

    def __call__(self, make: Make) -> float:
        """Of the network that is made."""
        raced = race([self.reference, session(make(), self.shape)], rounds=ROUNDS, seconds=ROUND_SECONDS)
        return self.seconds * raced[1].ratio(raced[0])[0]


def middle(latency: Latency) -> float:
    """Seconds on the core."""
    return statistics.median(latency.rounds)


def macs_of(make: Make, shape: Shape) -> float:
    """Without memory for it."""
    with torch.device("meta"):
        return multiply_adds(make(), shape)


@dataclass(frozen=True)
class Budget:
    """What all networks are scaled to: MACs, or seconds by a stopwatch; at last the reference's own."""

    kind: str
    amount: float
    measure: Callable[[Make], float]


def peers(
    budget: Budget, shape: Shape, classes: int, names: Sequence[tuple[str, tuple[int, ...]]], results: Results
) -> Iterator[Entry]:
    """The hand-made networks at the budget, and how near they came on standard error."""
    for name, stems in names:
        for stem in stems:
            what = {"scaled": name, "stem": stem, "to": [budget.kind, budget.amount], "in": shape, "classes": classes}
            try:
                found = results.of(what, partial(_scaled, name, stem, budget, shape, classes))
            except ValueError as error:
                print(f"{name}, stem of stride {stem}: left out ({error})", file=sys.stderr)
                continue
            one = Scaled(KNOWN[name], stem, found["factor"], found["grain"], found["used"])
            print(f"{name}, stem of stride {stem}: {one.used / budget.amount:.1%} of the budget", file=sys.stderr)
            yield Entry(name, stem, partial(one.network, shape, classes))


def _scaled(name: str, stem: int, budget: Budget, shape: Shape, classes: int) -> dict[str, Any]:
    # Other numbers of channels take longer for less on CPUs that compute 8 at once.
    grains = FAST_GRAINS if budget.kind == "latency" else GRAINS
    one = scaled(KNOWN[name], stem, budget.amount, budget.measure, shape, classes=classes, grains=grains)
    return {"factor": one.factor, "grain": one.grain, "used": one.used}


def peer_name(text: str) -> tuple[str, tuple[int, ...]]:
    """``chain`` is a hand-made network with stems of both strides, ``chain:2`` with one of stride 2 alone.

    Raises `argparse.ArgumentTypeError` when it is neither.
    """
    name, _, stem = text.partition(":")
    if name not in KNOWN or stem not in ("", "1", "2"):
        raise argparse.ArgumentTypeError(f"{text!r}: NAME or NAME:STEM, of {', '.join(KNOWN)} and 1 or 2")
    return name, (int(stem),) if stem else (1, 2)


def complete(budget: Budget, shape: Shape, classes: int, stems: Sequence[int]) -> Iterator[Entry]:
    """The complete graph, scaled by the product."""
    to: dict[str, Any] = {"macs": int(budget.amount)}
    if budget.kind == "latency":
        to = {"latency": budget.amount, "measure": lambda one: budget.measure(partial(build, one, seed=0))}
    for stem in stems:
        for divisor in (4, 1):
            try:
                found = craft(
                    COMPLETE, shape=shape, classes=classes, stem=Stem(channels=32, stride=stem), divisor=divisor, **to
                )
            except InputError as error:
                print(f"complete graph, stem of stride {stem}, widths of {divisor}: {error}", file=sys.stderr)
                continue
            yield Entry("complete graph", stem, partial(build, found.architecture, seed=0))
            break


def given(path: Path, shape: Shape, classes: int) -> Entry:
    """An architecture file's network; its input may be smaller than the images.

    Raises SystemExit when it is none, or is made for other images.
    """
    name, architecture = path.name.removesuffix(".arch.json"), load(path)
    if not isinstance(architecture, ImageArchitecture):
        raise SystemExit(f"{path}: no network for images; `autoshrink craft` makes one of a cell")
    channels, height, width = architecture.input
    if (channels, architecture.classes) != (shape[0], classes) or height != width or height > shape[1]:
        made_for = f"{architecture.input} and {architecture.classes} classes"
        raise SystemExit(f"{path}: made for {made_for}, not {shape} and {classes}")
    side = None if height == shape[1] else height
    return Entry(name, architecture.plan().stem.stride, partial(build, architecture, seed=0), side)


def searched(data: str, arguments: str) -> Path:
    """Run the product's search; the network that it leaves.

    Raises SystemExit when it ends with an error or leaves no network.
    """
    folder = Path(tempfile.mkdtemp(prefix="beside-"))
    command = [sys.executable, "-m", "autoshrink", "search", "--data", data, "--run", str(folder / "run")]
    # What it prints is for people, and standard output may be this comparison's JSON.
    done = subprocess.run([*command, *shlex.split(arguments)], check=False, stdout=sys.stderr)
    found = folder / "run" / "best.arch.json"
    if done.returncode or not found.exists():
        raise SystemExit(f"the search ended with status {done.returncode} and left no {found.name} in {found.parent}")
    return found


def compared(
    entries: Sequence[Entry], images: Images, recipe: Recipe, seeds: int, *, results: Results, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """All networks trained, seed by seed, the first seed of all before the second of any."""
    shapes = {entry: entry.shape(images.shape) for entry in entries}
    macs = {entry: multiply_adds(entry.make(), shapes[entry]) for entry in entries}
    sized = {side: images if side is None else images.at(side) for side in {entry.side for entry in entries}}
    found: dict[Entry, list[dict[str, Any]]] = {entry: [] for entry in entries}
    for seed in range(seeds):
        for entry in entries:
            what = about | {"network": entry.name, "stem": entry.stem, "macs": macs[entry], "seed": seed}
            what |= {} if entry.side is None else {"input": entry.side}
            read = sized[entry.side]
            one = results.of(what, lambda: asdict(train(entry.make(), read, recipe, seed=seed)))  # noqa: B023
            print(f"{entry.name}, stem {entry.stem}, seed {seed}: {one['accuracy']:.2%}", file=sys.stderr, flush=True)
            found[entry].append(one)
    raced = race([session(entry.make(), shapes[entry]) for entry in entries], rounds=ROUNDS, seconds=ROUND_SECONDS)
    rows = [row(entry, macs[entry], found[entry], timed) for entry, timed in zip(entries, raced, strict=True)]
    return sorted(rows, key=lambda one: -one["mean"])


def row(entry: Entry, macs: int, trained: Sequence[dict[str, Any]], timed: Latency) -> dict[str, Any]:
    """A network's figures."""
    accuracies = [one["accuracy"] for one in trained]
    error = statistics.stdev(accuracies) / math.sqrt(len(accuracies)) if len(accuracies) > 1 else None
    return {
        "network": entry.name,
        "stem": entry.stem,
        "macs": macs,
        "input": entry.side,
        "params": sum(one.numel() for one in entry.make().parameters()),
        "latency_seconds": middle(timed),
        "accuracies": accuracies,
        "mean": statistics.fmean(accuracies),
        "standard_error": error,
        "test_loss": statistics.fmean(one["loss"] for one in trained),
        "training_seconds": statistics.fmean(one["seconds"] for one in trained),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| network | stem stride | test accuracy, % | MACs | parameters | ONNX Runtime | training |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in rows:
        error = f" ± {100 * one['standard_error']:.2f}" if one["standard_error"] is not None else ""
        reads = f", input of {one['input']}×{one['input']}" if one["input"] else ""
        lines.append(
            f"| {one['network']}{reads} | {one['stem']} | {100 * one['mean']:.2f}{error} | {one['macs']:,} "
            f"| {one['params']:,} | {1e6 * one['latency_seconds']:.0f} µs | {one['training_seconds']:.0f} s |"
        )
    return "\n".join(lines)


def options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="as in `autoshrink search`")
    parser.add_argument("--size", type=int, help="height and width, pixels")
    parser.add_argument("--train", type=int, help="training images; default: all")
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--macs", type=count, help="1M, for example")
    to.add_argument(
        "--latency", help="60us, for example; or `ours`: that of the first network given or found by the search"
    )
    parser.add_argument("--network", type=Path, nargs="+", default=[], metavar="FILE.arch.json")
    parser.add_argument("--search", metavar="OPTIONS", help="run `autoshrink search --data … OPTIONS` first")
    parser.add_argument(
        "--peers",
        nargs="*",
        default=[(name, (1, 2)) for name in PEERS],
        type=peer_name,
        metavar="NAME[:STEM]",
        help=f"default: {', '.join(PEERS)}; there are also {', '.join(STRUCTURES)}; chain:2: with that stem alone",
    )
    parser.add_argument("--held-out", action="store_true", help="judge on a fifth of the training images instead")
    parser.add_argument("--no-complete", dest="complete", action="store_false", help="without the complete graph")
    parser.add_argument(
        "--complete-stem", type=int, nargs="+", choices=(1, 2), default=(1, 2), help="its stem's stride"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="mirror no images (digits, text)")
    parser.add_argument("--resume", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser.parse_args()


def main() -> None:
    """Scale, train, measure and print."""
    said = options()
    torch.set_num_threads(1)
    images, results = (
        Images.read(said.data, size=said.size, train=said.train, held_out=said.held_out),
        Results(said.resume),
    )
    shape, classes = images.shape, images.classes
    files = [*said.network, *([searched(said.data, said.search)] if said.search else [])]
    entries = [given(path, shape, classes) for path in files]
    budget = budget_of(said, entries, shape, classes)
    if said.complete:
        entries += complete(budget, shape, classes, said.complete_stem)
    entries += peers(budget, shape, classes, said.peers, results)
    recipe = Recipe(said.epochs, said.batch, said.rate, flip=said.flip)
    about = {
        "data": said.data,
        "images": len(images.train),
        "held_out": said.held_out,
        "shape": shape,
        **asdict(recipe),
    }
    rows = compared(entries, images, recipe, said.seeds, results=results, about=about)
    if said.json:
        command = shlex.join(["python", "benchmarks/beside.py", *sys.argv[1:]])
        print(json.dumps({"command": command, "budget": [budget.kind, budget.amount], **about, "rows": rows}, indent=1))
    else:
        print(table(rows))


def budget_of(said: argparse.Namespace, ours: Sequence[Entry], shape: Shape, classes: int) -> Budget:
    """From the command line.

    Raises SystemExit when a latency is to be ours, and no network of ours is given.
    """
    if said.macs is not None:
        return Budget("macs", said.macs, lambda make: macs_of(make, shape))
    if said.latency == "ours" and not ours:
        raise SystemExit("--latency ours: give a --network or --search whose latency it is")
    reference = ours[0].make() if ours else PEERS["resnet8"].module(shape, classes, stem_stride=1, factor=0.5, grain=8)
    watch = Stopwatch.beside(reference, shape, ours[0].shape(shape) if ours else shape)
    seconds = watch.seconds if said.latency == "ours" else amount(NANOSECONDS, said.latency) / 1e9
    return Budget("latency", seconds, watch)


if __name__ == "__main__":
    main()
