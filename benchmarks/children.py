"""Which cheap judgement of a cell's children, one edge less each, ranks them as full trainings do.

    AUTOSHRINK_DATA=path/to/data python benchmarks/children.py --keep build/children -o docs/benchmarks/children.json

A random cell is trained for as long as a search with inherited weights trains its start, and its children are judged:

- by first-order scores: the loss's change, to first order, where an edge's block of weights W goes, −Σ W·∂L/∂W, from
  backward passes of the parent on training images (Mozer and Smolensky 1989; a gate at 1 on the edge has this gradient,
  since its block is linear); and by its square, image batch by image batch (Molchanov et al. 2019, Equation 8);
- with inherited weights, as the search does, and all trained for some batches more, with labels alone and with half of
  the loss the distance to the parent's softened outputs (Hinton et al. 2015);
- by a sprint from scratch of a tenth of a full training, with labels alone and distilled likewise.

The truth is the accuracy of full trainings, several seeds each, on images that judge nothing. Prints Spearman's
correlation with it for every way, by accuracy and by the mean probability of the right class (bootstrap interval over
children). What each child gave is kept in `--keep`, and an interrupted benchmark goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import Cell, Edge
from autoshrink.config import ImageRecipe
from autoshrink.cost import count
from autoshrink.data import LabelledImages, load_proxy
from autoshrink.files import write_bytes
from autoshrink.networks import ImageNetwork, build, inherit, undo_normalisation
from autoshrink.priors import random_cells
from autoshrink.ranking import spearman
from autoshrink.seeding import derive_seed
from autoshrink.training.device import repeatable
from autoshrink.training.image_learner import ImageLearner, search_learner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.loop import Clock
from autoshrink.training.sprint import sprint

Values = npt.NDArray[np.float64]
CPU = torch.device("cpu")
SHORT, TUNE, TRIAL, STATISTICS = 16, 8, 32, 4
"""The defaults of a search with inherited weights: images a step of a short training, and batches of each purpose."""
TEMPERATURE, TAUGHT = 4.0, 0.5
"""Of the softened outputs, and the share of the loss that is the distance to them."""
BATCHES = 16
"""Of 64 images, for gradients."""
PAIRS = tuple((f"{way}, distilled", way) for way in ("inherited, all trained", "a tenth from scratch"))
SETTINGS = ("nodes", "edges", "train", "epochs", "repeats", "seed", "threads")


class Distilled(nn.Module):
    """A network that, while it trains, gives logits whose cross-entropy has the gradient of the distilled loss.

    With L = (1 − a)·CE(z, y) + a·T²·KL(softmax(t/T) ‖ softmax(z/T)) the gradient of L is passed back, whatever the
    learner's own loss is: the learner's is cancelled, and nothing else of it changes.
    """

    def __init__(self, network: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._teacher = [teacher.eval()]

    def forward(self, images: Tensor) -> Tensor:
        """(B, classes) logits."""
        logits: Tensor = self.network(images)
        if not torch.is_grad_enabled() or not self.training:
            return logits
        with torch.no_grad():
            soft = (self._teacher[0](images) / TEMPERATURE).softmax(dim=1)
        logits.register_hook(lambda given: _taught(given, logits.detach(), soft))  # type: ignore[no-untyped-call]
        return logits


def _taught(given: Tensor, logits: Tensor, soft: Tensor) -> Tensor:
    """The gradient of the distilled loss from that of the mean cross-entropy, which arrives; both by logits."""
    distance = TEMPERATURE * ((logits / TEMPERATURE).softmax(dim=1) - soft) / len(logits)
    return (1 - TAUGHT) * given + TAUGHT * distance


class Ground:
    """Parent, images, recipe."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        drawn = load_proxy("cifar10", train_per_class=options.train // 10, validation_per_class=450, size=12, seed=0)
        norm = Normalisation.of(drawn.train.images)
        third = np.arange(len(drawn.validation)) % 3

        def some(which: npt.NDArray[np.bool_]) -> DeviceImages:
            picked = LabelledImages(drawn.validation.images[which], drawn.validation.labels[which])
            return DeviceImages(picked.images, picked.labels, norm, CPU)

        self.train = DeviceImages(drawn.train.images, drawn.train.labels, norm, CPU)
        self.judging, self.others = some(third == 0), some(third > 0)
        self.recipe = ImageRecipe(batch=64, epochs=options.epochs)
        cells = random_cells("conv", options.nodes, 400, seed=options.seed)
        self.parent = next(cell for cell in cells if len(cell.edges) == options.edges and cell.reachable[-1])
        learner = self.learner(self.parent, "parent", batch=SHORT)
        sprint(learner, 200 * SHORT / len(self.train), Clock())
        for _ in islice(learner.epoch(0), TUNE):
            pass
        learner.recalibrate_statistics(STATISTICS)
        self.network = learner.network.eval()

    def around(self, cell: Cell) -> ConvArchitecture:
        """The network that is trained: one cell, since the number of operations decides a training's time here."""
        return proxy_architecture(cell, shape=(3, 12, 12), stem=16, widths=(16,))

    def children(self) -> list[tuple[Edge, Cell]]:
        """One edge less each, within a tenth of their median cost."""
        found = [(edge, child, count(self.around(child)).macs) for edge, child in self.parent.shrink_space()]
        median = np.median([macs for _, _, macs in found])
        return [(edge, child) for edge, child, macs in found if abs(macs / median - 1) < 0.1]

    def learner(
        self, cell: Cell, what: str, *, batch: int | None = None, network: nn.Module | None = None
    ) -> ImageLearner:
        """Of a cell, or of a network that wraps it, from a seed that `what` decides."""
        seed = derive_seed(self.options.seed, what)
        recipe = self.recipe if batch is None else self.recipe.model_copy(update={"batch": batch})
        network = network or self.fresh(cell, seed)
        return search_learner(network, recipe, (self.train, self.judging), classes=10, seed=seed)

    def fresh(self, cell: Cell, seed: int) -> nn.Module:
        """Its network."""
        found = build(self.around(cell), seed=seed)
        return found.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    # --- ways --------------------------------------------------------------------------------------------------------

    def full(self, cell: Cell, repeat: int) -> float:
        """Accuracy of a full training on images that judge nothing."""
        learner = self.learner(cell, f"full {repeat}")
        for epoch in range(self.recipe.epochs):
            # A falling rate, so that the end is not the luck of the last batches.
            for place, _ in enumerate(learner.epoch(epoch)):
                done = epoch + place * self.recipe.images_a_step / len(self.train)
                learner.scale_learning_rate(1 - 0.98 * done / self.recipe.epochs)
        learner.recalibrate_statistics(8)
        return self._measured(learner.network, self.others)[0]

    def short(self, cell: Cell, *, distilled: bool) -> tuple[float, float]:
        """A sprint from scratch of a tenth of a full training."""
        network = self.fresh(cell, derive_seed(self.options.seed, "short"))
        around = Distilled(network, self.network) if distilled else network
        learner = self.learner(cell, "short", batch=SHORT, network=around)
        sprint(learner, self.recipe.epochs / 10, Clock())
        return self._measured(network, self.judging)

    def inherited(self, cell: Cell, trial: int, *, distilled: bool = False) -> tuple[float, float]:
        """With the parent's weights, and so many batches of training."""
        network = self.fresh(cell, derive_seed(self.options.seed, "child"))
        around = Distilled(network, self.network) if distilled else network
        learner = self.learner(cell, "child", batch=SHORT, network=around)
        layers = inherit(network, self.network)
        if layers:
            learner.recalibrate_statistics(STATISTICS)
            for layer in layers:
                undo_normalisation(layer)
        for _ in islice(learner.epoch(0), trial):
            pass
        learner.recalibrate_statistics(STATISTICS)
        return self._measured(network, self.judging)

    @torch.no_grad()
    def _measured(self, network: nn.Module, images: DeviceImages) -> tuple[float, float]:
        """Accuracy, and the mean probability of the right class."""
        network.eval()
        right, given = [], []
        for indices in torch.split(torch.arange(len(images)), 256):
            pixels, labels = images.batch(indices)
            chances = network(pixels).double().softmax(dim=1)
            right.append((chances.argmax(dim=1) == labels).double())
            given.append(chances.gather(1, labels.view(-1, 1)).flatten())
        return torch.cat(right).mean().item(), torch.cat(given).mean().item()


def gates(network: ImageNetwork, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[Edge, Values]:
    """The gradient of the loss by a gate on each edge, Σ W·∂L/∂W over its block in all cells, batch by batch."""
    blocks: dict[Edge, list[tuple[nn.Parameter, slice]]] = {}
    for plan, cell in zip(network.plan.parts, network.trunk, strict=True):
        widths = {0: plan.in_channels} | {node.node: node.out_channels for node in plan.nodes}
        for node in plan.nodes:
            weight, start = cell.get_parameter(f"nodes.node{node.node}.pointwise.conv.weight"), 0
            for i in node.inputs:
                blocks.setdefault((i, node.node), []).append((weight, slice(start, start + widths[i])))
                start += widths[i]
    found: dict[Edge, list[float]] = {edge: [] for edge in blocks}
    for pixels, labels in batches:
        network.zero_grad()
        functional.cross_entropy(network(pixels), labels).backward()  # type: ignore[no-untyped-call]
        for edge, parts in blocks.items():
            products = (weight * weight.grad for weight, _ in parts if weight.grad is not None)
            found[edge].append(sum(one[:, where].sum().item() for one, (_, where) in zip(products, parts, strict=True)))
    return {edge: np.array(values) for edge, values in found.items()}


def judged(ground: Ground, child: Cell, changes: dict[Edge, Values]) -> dict[str, Any]:
    """All that is known of a child: what it costs, and by way its (accuracy, probability) or its score."""
    gone = [edge for edge in ground.parent.edges if edge not in child.edges]
    new_leaf = not set(child.leaves) <= set(ground.parent.leaves)
    first = [changes[edge] for edge in gone]
    ways: dict[str, Callable[[], Any]] = {
        "first order": lambda: float(sum(one.mean() for one in first)),
        "first order, squared": lambda: -float(sum((one**2).mean() for one in first)),
        "inherited, as the search does": lambda: ground.inherited(child, TRIAL if new_leaf else 0),
        "inherited, all trained": lambda: ground.inherited(child, TRIAL),
        "inherited, all trained, distilled": lambda: ground.inherited(child, TRIAL, distilled=True),
        "a tenth from scratch": lambda: ground.short(child, distilled=False),
        "a tenth from scratch, distilled": lambda: ground.short(child, distilled=True),
    }
    found: dict[str, Any] = {"edges": [list(edge) for edge in gone], "new_leaf": new_leaf}
    found["macs"] = count(ground.around(child)).macs
    seconds = {}
    for name, way in ways.items():
        began = time.process_time()
        found[name] = way()
        seconds[name] = round(time.process_time() - began, 2)
    began = time.process_time()
    found["full"] = [ground.full(child, repeat) for repeat in range(ground.options.repeats)]
    seconds["full"] = round(time.process_time() - began, 2)
    return found | {"seconds": seconds}


def rows(children: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each way and measure Spearman's correlation with the truth, and its bootstrap interval."""
    truth, found = np.array([np.mean(child["full"]) for child in children]), []
    for way, value in children[0].items():
        if not isinstance(value, float) and not (
            isinstance(value, list) and len(value) == 2 and way not in ("edges", "full")
        ):
            continue
        measures = ("score",) if isinstance(value, float) else ("accuracy", "probability")
        for place, measure in enumerate(measures):
            values = np.array([child[way] if measure == "score" else child[way][place] for child in children])
            low, high = _interval(values, truth)
            row = {"way": way, "measure": measure, "spearman": spearman(values, truth), "low": low, "high": high}
            found.append(row | {"seconds": float(np.mean([child["seconds"][way] for child in children]))})
    macs = np.array([float(child["macs"]) for child in children])
    low, high = _interval(macs, truth)
    found.append({"way": "MACs", "measure": "score", "spearman": spearman(macs, truth), "low": low, "high": high})
    for one, other in PAIRS:
        ours, theirs = (np.array([child[way][1] for child in children]) for way in (one, other))
        low, high = _interval(ours, truth, less=theirs)
        difference = spearman(ours, truth) - spearman(theirs, truth)
        row = {"way": f"{one}, less without", "measure": "probability", "spearman": difference}
        found.append(row | {"low": low, "high": high})
    halves = [spearman([child["full"][0] for child in children], [child["full"][-1] for child in children])]
    return [*found, {"way": "one full training, by another", "measure": "accuracy", "spearman": halves[0]}]


def _interval(values: Values, truth: Values, *, less: Values | None = None) -> tuple[float, float]:
    """95 %, children drawn with replacement; of the correlation, or of what it is more than that of `less`."""
    rng = np.random.default_rng(0)
    found = []
    for some in rng.integers(len(values), size=(2000, len(values))):
        beside = 0.0 if less is None else spearman(less[some], truth[some])
        found.append(spearman(values[some], truth[some]) - beside)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=7)
    parser.add_argument("--edges", type=int, default=18)
    parser.add_argument("--train", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", required=True, help="folder for what each child gave")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    children = []
    with repeatable(options.threads):
        ground = Ground(options)
        order = torch.randperm(len(ground.train), generator=torch.Generator().manual_seed(0))
        assert isinstance(ground.network, ImageNetwork), "cells in a row"
        first = gates(ground.network, map(ground.train.batch, islice(torch.split(order, 64), BATCHES)))
        for edge, child in ground.children():
            file = Path(options.keep) / f"{edge[0]}-{edge[1]} {options.seed}.json"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(file, json.dumps(judged(ground, child, first)).encode())
            children.append(json.loads(file.read_text()))
            print(f"without {edge}: {children[-1]['full']}, {children[-1]['seconds']}", file=sys.stderr, flush=True)
    found = rows(children)
    for row in found:
        between = f" ({row['low']:.2f} … {row['high']:.2f})" if "low" in row else ""
        print(f"| {row['way']} | {row['measure']} | {row['spearman']:.2f}{between} |", file=sys.stderr)
    facts = {"torch": torch.__version__, "settings": {key: getattr(options, key) for key in SETTINGS}}
    text = json.dumps(facts | {"parent": ground.parent.to_json(), "children": children, "rows": found}, indent=1)
    if options.output:
        write_bytes(Path(options.output), text.encode())
    print(text)


if __name__ == "__main__":
    main()
