"""Which short judgement of image networks of one cost ranks them as full trainings do, and how sure of it it may be.

    AUTOSHRINK_DATA=path/to/data python benchmarks/belief.py --keep build/belief -o docs/benchmarks/belief.json

Random cells and random networks of inverted residual blocks, all scaled to the same MACs, are trained in full on
CIFAR-10, and again, from other seeds, at a tenth of that cost in several ways. Every short training is read by several
measures on the same validation images: accuracy, minus the mean loss, the mean probability of the right class, each of
the network and of the moving average of its weights. The truth is the accuracy of the full trainings on other images.

Prints, for each way and measure, Spearman's correlation with the truth (bootstrap interval over networks; and where
fewer images judge), the share of pairs that it orders as the truth does, and the median over pairs of |difference| /
standard error, paired on images.
What each training gave is kept in the folder of `--keep`, and an interrupted benchmark goes on from there.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from autoshrink.architecture import Architecture, MobileArchitecture, MobileStage, Stem
from autoshrink.config import ClassifierRecipe
from autoshrink.cost import count
from autoshrink.crafting import craft
from autoshrink.data import LabelledImages, load_proxy
from autoshrink.errors import InputError
from autoshrink.files import write_bytes
from autoshrink.networks import build
from autoshrink.priors import random_cells
from autoshrink.ranking import spearman
from autoshrink.seeding import derive_seed
from autoshrink.training.device import repeatable
from autoshrink.training.feeds.proxy import ProxyMeasuring, ProxyTraining
from autoshrink.training.image_learner import ImageLearner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.optimisers import Rates
from autoshrink.training.statistics import take_statistics

Values = npt.NDArray[np.float64]
SHARE = 0.1
"""Of a full training's MACs: what a short one may cost."""
FEWER = (50, 150, 400)
"""Images of those that judge."""
CPU = torch.device("cpu")
SETTINGS = ("macs", "train", "epochs", "rate", "seed", "threads")


@dataclass(frozen=True)
class Way:
    """A training of one network.

    Attributes:
        name: in the table.
        share: of the full training's MACs.
        batch: images of a step.
        images: share of the training images that it sees.
        size: height and width of the images, pixels.
        whole: whether the learning rate falls as if the training were a full one.
    """

    name: str
    share: float = SHARE
    batch: int = 32
    images: float = 1.0
    size: int = 24
    whole: bool = False


FULL = Way("full", share=1.0, batch=64)
WAYS = (
    Way("full training cut short", batch=64, whole=True),
    Way("sprint"),
    Way("sprint, another seed"),
    Way("sprint, a third of the images", images=1 / 3),
    Way("sprint, at 16×16", size=16),
)
MEASURES: dict[str, Callable[[Values, Values], Values]] = {
    "accuracy": lambda right, _: right,
    "loss": lambda _, logs: logs,
    "probability": lambda _, logs: np.exp(logs),
}
"""From whether an image was right, and the logarithm of its class's probability, to what is averaged; up is better."""


def networks(number: int, macs: int, seed: int) -> Iterator[tuple[str, Architecture]]:
    """Half random cells, half networks of inverted residual blocks, at the budget; their stems halve the size."""
    rng = random.Random(seed)
    found = 0
    for cell in random_cells("conv", 4, 2 * number, seed=seed):
        stem = Stem(channels=rng.choice([8, 16, 24]), stride=2)
        one = _crafted(cell, macs, stem=stem, shape=(3, 24, 24), classes=10)
        if one is not None and found < number // 2:
            found += 1
            yield f"cell {found}: {len(cell.edges)} edges", one
    while found < number:
        stages, width = [], rng.choice([8, 12, 16])
        for position in range(rng.choice([2, 3])):
            stages.append(
                MobileStage(
                    blocks=rng.choice([1, 1, 2]),
                    width=width,
                    expansion=rng.choice([1, 2, 3, 4, 6]),
                    kernel=rng.choice([3, 3, 5]),
                    stride=1 if position == 0 else 2,
                    squeeze=rng.choice([None, None, 0.25]),
                )
            )
            width = round(width * rng.choice([1.5, 2.0]))
        stem = Stem(channels=rng.choice([8, 16]), stride=2)
        start = MobileArchitecture(
            stem=stem, stages=tuple(stages), input=(3, 24, 24), classes=10, activation=rng.choice(["relu", "hardswish"])
        )
        mobile = _crafted(start, macs)
        if mobile is not None:
            found += 1
            blocks = "+".join(str(stage.blocks) for stage in stages)
            yield f"mobile {found}: {blocks} blocks", mobile


def _crafted(start: Any, macs: int, **said: Any) -> Architecture | None:
    """None where even the smallest network is too dear, or none comes close to the budget."""
    try:
        one: Architecture = craft(start, macs=macs, depth="fixed", divisor=2, **said).architecture
    except InputError:
        return None
    return one if count(one).macs > 0.95 * macs else None


class Trainings:
    """Trains networks in any way, and keeps what they gave."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        drawn = load_proxy("cifar10", train_per_class=options.train // 10, validation_per_class=450, size=24, seed=0)
        self._norm = Normalisation.of(drawn.train.images)
        judged, others = (np.arange(len(drawn.validation)) % 3 == 0), (np.arange(len(drawn.validation)) % 3 > 0)
        self._train = drawn.train
        self._judged = _some(drawn.validation, judged)
        self._others = _some(drawn.validation, others)

    def outcomes(self, architecture: Architecture, name: str, way: Way) -> dict[str, Values]:
        """(n,) each: `right` and `logs` on the judged images, of the weights and, as `ema_right`, of their average."""
        seed = self._options.seed
        file = Path(self._options.keep) / f"{name.partition(':')[0]} {way.name} {seed}.npz"
        if not file.exists():
            began = time.monotonic()
            found = self._trained(architecture, way, derive_seed(seed, name.partition(":")[0], way.name))
            found["seconds"] = np.array(time.monotonic() - began)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file.with_suffix(".draft.npz"), **found)  # type: ignore[arg-type]
            file.with_suffix(".draft.npz").replace(file)
            print(
                f"{name}, {way.name}: {found['right'].mean():.4f} {found['seconds']:.0f} s", file=sys.stderr, flush=True
            )
        with np.load(file) as kept:
            return {key: kept[key] for key in kept.files}

    def _trained(self, architecture: Architecture, way: Way, seed: int) -> dict[str, Values]:
        options = self._options
        # Smaller images cost less, and so there may be more passes over them.
        around = architecture.model_copy(update={"input": (3, way.size, way.size)})
        passes = options.epochs * way.share / way.images * count(architecture).macs / count(around).macs
        train = _some(self._train, np.arange(len(self._train)) < way.images * len(self._train), shuffled=True)
        feed = ProxyTraining(_device(train, way.size, self._norm), way.batch, seed, augmented=True)
        steps = round(passes * feed.batches)
        recipe = ClassifierRecipe(
            epochs=options.epochs if way.whole else max(1, round(passes)),
            batch=way.batch,
            learning_rate=options.rate,
            warmup=options.epochs / 20 if way.whole or way is FULL else passes / 10,
            l2=1e-4,
            label_smoothing=0.0,
            ema=0.99,
        )
        network = build(around, seed=seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        judged = ProxyMeasuring(_device(self._judged, way.size, self._norm))
        learner = ImageLearner(network, recipe, (feed, judged), classes=10)
        if not way.whole:
            learner.rates = _falling(options.rate, recipe.warmup, passes, feed.batches)
        done, epoch = 0, 0
        while done < steps:
            for _ in learner.epoch(epoch):
                done += 1
                if done == steps:
                    break
            epoch += 1
        assert learner.average is not None, "the recipe has one"
        found = {}
        sets = {"": judged}
        if way is FULL:
            sets["truth_"] = ProxyMeasuring(_device(self._others, way.size, self._norm))
        for average, network in (("", learner.network), ("ema_", learner.average.network)):
            take_statistics(network, (pixels for pixels, _ in feed.for_statistics(512 // way.batch)), network)
            for prefix, images in sets.items():
                found[f"{prefix}{average}right"], found[f"{prefix}{average}logs"] = _measured(network, images)
        return found


def _falling(peak: float, warmup: float, epochs: float, batches: int) -> Rates:
    return Rates(peak=peak, last=0.0, climb=round(warmup * batches), steps=round(epochs * batches))


def _some(images: LabelledImages, which: npt.NDArray[np.bool_], *, shuffled: bool = False) -> LabelledImages:
    if shuffled:
        # The images come class by class.
        which = which[np.random.default_rng(0).permutation(len(which))] if not which.all() else which
    return LabelledImages(images.images[which], images.labels[which])


def _device(some: LabelledImages, size: int, norm: Normalisation) -> DeviceImages:
    images = some.images
    if size != images.shape[-1]:
        floats = torch.from_numpy(np.ascontiguousarray(images)).float()
        smaller = nn.functional.interpolate(floats, size=(size, size), mode="bilinear", antialias=True)
        images = smaller.round().clamp(0, 255).to(torch.uint8).numpy()
    return DeviceImages(images, some.labels, norm, CPU)


@torch.no_grad()
def _measured(network: nn.Module, images: ProxyMeasuring) -> tuple[Values, Values]:
    network.eval()
    right, logs = [], []
    for pixels, labels in images.batches():
        found = network(pixels).double().log_softmax(dim=1)
        right.append((found.argmax(dim=1) == labels).double())
        logs.append(found.gather(1, labels.view(-1, 1)).flatten())
    return torch.cat(right).numpy(), torch.cat(logs).numpy()


def _interval(values: Values, truth: Values, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of Spearman's correlation, networks drawn with replacement."""
    rng = np.random.default_rng(seed)
    found = [spearman(values[chosen], truth[chosen]) for chosen in rng.integers(len(values), size=(draws, len(values)))]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _of_fewer(outcomes: Values, truth: Values, images: int, draws: int = 200) -> float:
    """Spearman's correlation where so many of the images judge, which are drawn; its mean over draws."""
    rng = np.random.default_rng(0)
    chosen = (rng.choice(outcomes.shape[1], images, replace=False) for _ in range(draws))
    return statistics.fmean(spearman(outcomes[:, some].mean(axis=1), truth) for some in chosen)


def row(outcomes: list[Values], truth: Values) -> dict[str, Any]:
    """What one measure of one way is worth; `outcomes`: (images,) of every network."""
    means = np.array([one.mean() for one in outcomes])
    low, high = _interval(means, truth)
    ratios, ordered, clear, wrong = [], 0, 0, 0
    pairs = list(combinations(range(len(means)), 2))
    for one, other in pairs:
        gap = outcomes[one] - outcomes[other]
        ratio = gap.mean() / (gap.std() / len(gap) ** 0.5)
        ratios.append(abs(ratio))
        right = bool((means[one] - means[other]) * (truth[one] - truth[other]) > 0)
        ordered += right
        clear += abs(ratio) > 2
        wrong += abs(ratio) > 2 and not right
    return {
        "means": [round(float(one), 5) for one in means],
        "spearman": spearman(means, truth),
        "spearman_of": {images: _of_fewer(np.array(outcomes), truth, images) for images in FEWER},
        "low": low,
        "high": high,
        "pairs_ordered": ordered / len(pairs),
        "ratio": statistics.median(ratios),
        "clear": clear / len(pairs),
        "clear_and_wrong": wrong / max(1, clear),
    }


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--macs", type=int, default=600_000)
    parser.add_argument("--train", type=int, default=2500)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.04)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="+", help="of training, by name; all where none is named")
    parser.add_argument("--keep", required=True, help="folder for what each training gave")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    ways = [way for way in (FULL, *WAYS) if options.ways is None or way.name in options.ways]
    drawn = list(networks(options.networks, options.macs, options.seed))
    half = len(drawn) // 2
    # Cells and blocks in turn, so that a part of the work says something already.
    drawn = [one for pair in zip(drawn[:half], drawn[half:], strict=True) for one in pair]
    trainings = Trainings(options)
    with repeatable(options.threads):
        for name, one in drawn:
            for way in ways:
                trainings.outcomes(one, name, way)
    truth, rows = np.array([trainings.outcomes(one, name, FULL)["truth_right"].mean() for name, one in drawn]), []
    for way in ways:
        found = [trainings.outcomes(one, name, way) for name, one in drawn]
        for average in ("", "ema_"):
            for measure, value in MEASURES.items():
                outcomes = [value(one[f"{average}right"], one[f"{average}logs"]) for one in found]
                rows.append({"way": way.name, "average": bool(average), "measure": measure} | row(outcomes, truth))
    facts = {"torch": torch.__version__, "settings": {key: getattr(options, key) for key in SETTINGS}}
    shown = [
        {"name": name, "macs": count(one).macs, "accuracy": float(accuracy)}
        for (name, one), accuracy in zip(drawn, truth, strict=True)
    ]
    result = facts | {"networks": shown, "rows": rows}
    for line in rows:
        figures = " | ".join(
            f"{line[key]:.2f}" for key in ("spearman", "low", "high", "pairs_ordered", "ratio", "clear")
        )
        average = " of the averaged weights" if line["average"] else ""
        print(
            f"| {line['way']} | {line['measure']}{average} | {figures} | {line['clear_and_wrong']:.2f} |",
            file=sys.stderr,
        )
    text = json.dumps(result, indent=1)
    if options.output:
        write_bytes(Path(options.output), text.encode())
    print(text)


if __name__ == "__main__":
    main()
