"""Continual learning: a network that grows with every task, beside one fixed network and beside one for each task.

    AUTOSHRINK_DATA=path/to/data python benchmarks/continual.py [--data digits] [--seeds 0 1 2] [--json]

Classes come in pairs, a pair is a task, and tasks come one after the other; which task an image belongs to is known.
The grown network begins with a cell of one edge. For each further task its blocks stay as they are and get
normalisations and a classifier of their own; then the edges and nodes that gain most for their MACs, by the gradient on
the new task, are added and trained alone (`autoshrink.networks.growing`). An earlier task's network is taken out of the
grown one by its cell: its outputs are compared bit for bit with those that it had. The fixed network has the last cell
from the beginning and trains all of its weights on every task, with normalisations and a classifier for each as well;
apart, each task has a network of that cell to itself. All have the same epochs a task.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import INPUT, Cell
from autoshrink.config import ImageRecipe
from autoshrink.data import LabelledImages, load_proxy
from autoshrink.networks import build, inherit
from autoshrink.networks.growing import freeze, grow, growth_of
from autoshrink.spaces.growing import growths, seedling, together, united
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import repeatable
from autoshrink.training.image_learner import ImageLearner, search_learner
from autoshrink.training.images import DeviceImages, Normalisation
from autoshrink.training.loop import Clock
from autoshrink.training.sprint import sprint

ROOF = Cell(
    "conv",
    (INPUT, "sepconv3x3", "conv1x1", "sepconv3x3", "conv1x1", "sepconv3x3"),
    tuple((i, j) for j in range(6) for i in range(j)),
)
RECIPE = ImageRecipe(epochs=20, batch=16, l2=0.0, shortcut_l2=0.0)
"""Without weight decay, which would change frozen weights."""
BATCHES = 4


@dataclass(frozen=True)
class Task:
    """Two classes, told apart by 0 and 1."""

    train: DeviceImages
    validation: DeviceImages


@dataclass(frozen=True)
class Learned:
    """What is kept of a task: its cell, what belongs to it alone, and the logits that it gave when it was learned."""

    cell: Cell
    own: dict[str, Tensor]
    logits: Tensor
    accuracy: float


def tasks_of(spec: str, seed: int, *, train: int, validation: int, size: int | None) -> list[Task]:
    """The pairs of classes of a data set."""
    proxy = load_proxy(spec, train_per_class=train, validation_per_class=validation, size=size, seed=seed)
    norm, device = Normalisation.of(proxy.train.images), torch.device("cpu")

    def part(images: LabelledImages, first: int) -> DeviceImages:
        labels = np.asarray(images.labels)
        chosen = np.flatnonzero((labels == first) | (labels == first + 1))
        return DeviceImages(images.images[chosen], labels[chosen] - first, norm, device)

    return [Task(part(proxy.train, one), part(proxy.validation, one)) for one in range(0, len(proxy.classes) - 1, 2)]


def around(cell: Cell, shape: tuple[int, ...]) -> ConvArchitecture:
    """The network of all tasks around a cell, for two classes."""
    channels, height, width = shape
    return proxy_architecture(cell, shape=(channels, height, width), classes=2, stem=8, widths=(8, 16))


class Learner:
    """Networks trained on one task after the other.

    Args:
        shape: channels, height, width of the images.
        epochs: of every training.
        edges: that a task may add.
        seed: of weights and batches.
    """

    def __init__(self, shape: tuple[int, ...], *, epochs: float, edges: int, seed: int) -> None:
        self._shape, self._epochs, self._edges, self._seed = shape, epochs, edges, seed
        self._costs = DesignCosts(lambda cell: around(cell, shape))  # type: ignore[arg-type]

    def network(self, cell: Cell) -> nn.Module:
        """Fresh."""
        return build(around(cell, self._shape), seed=self._seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def learner(self, network: nn.Module, task: Task) -> ImageLearner:
        """What trains a network on a task."""
        return search_learner(network, RECIPE, (task.train, task.validation), classes=2, seed=self._seed)

    def train(self, network: nn.Module, task: Task, epochs: float | None = None) -> None:
        """Train what is not frozen."""
        sprint(self.learner(network, task), epochs or self._epochs, Clock())

    def learned(self, network: nn.Module, cell: Cell, task: Task) -> Learned:
        """What to keep of a task."""
        own = {name: tensor.clone() for name, tensor in network.state_dict().items() if _is_own(name)}
        logits, accuracy = judged(network, task)
        return Learned(cell, own, logits, accuracy)

    def recalled(self, shared: nn.Module, known: Learned) -> nn.Module:
        """An earlier task's network, made of the shared blocks and its own part."""
        network = self.network(known.cell)
        inherit(network, shared)
        network.load_state_dict(known.own, strict=False)
        return network

    def larger(self, network: nn.Module, cell: Cell, task: Task) -> Cell:
        """With what gains most on a task for its MACs; the cell itself where nothing can be added."""
        children = [child for _, child in growths(ROOF, cell)]
        gains: dict[int, float] = {}
        for held, places in together(children, cell):
            grown = self.network(held)
            learner = self.learner(grown, task)
            growth = growth_of(grown, network, lambda learner=learner: learner.recalibrate_statistics(BATCHES))  # type: ignore[misc]
            losses = list(learner.losses(BATCHES))
            gradients = list(torch.autograd.grad(torch.stack(losses).mean(), list(growth.parameters)))
            for place in places:
                cost = self._costs(children[place]).macs - self._costs(cell).macs
                gains[place] = growth.gain(around(children[place], self._shape).plan(), gradients) / max(1, cost)
        found = cell
        for place in sorted(gains, key=lambda one: -gains[one]):
            union = united([found, children[place]])
            if len(union.edges) - len(cell.edges) <= self._edges:
                found = union
        return found


def _is_own(name: str) -> bool:
    return ".bn." in name or name.startswith("classifier.")


@torch.no_grad()
def judged(network: nn.Module, task: Task) -> tuple[Tensor, float]:
    """Logits on all validation images, and accuracy."""
    network.eval()
    images, labels = task.validation.batch(torch.arange(len(task.validation)))
    logits: Tensor = network(images)
    return logits, float((logits.argmax(dim=1) == labels).float().mean())


def weights_of(network: nn.Module) -> int:
    """Of convolutions: what tasks share."""
    return sum(one.weight.numel() for one in network.modules() if isinstance(one, nn.Conv2d))


def growing(learner: Learner, tasks: list[Task]) -> tuple[list[Learned], nn.Module]:
    """Learn the tasks by growing: what is kept of each, and the network that has all blocks."""
    cell = seedling(ROOF, "edge")
    network = learner.network(cell)
    learner.train(network, tasks[0])
    found = [learner.learned(network, cell, tasks[0])]
    for task in tasks[1:]:
        parent = learner.recalled(network, replace(found[-1], own={}))
        parent.load_state_dict(found[-1].own, strict=False)
        # The blocks as they are, with normalisations and a classifier for the new task: from there gradients are taken.
        copy = learner.network(cell)
        inherit(copy, parent)
        freeze(copy, parent)
        learner.train(copy, task, 1.0)
        larger = learner.larger(copy, cell, task)
        child = learner.network(larger)
        grow(child, copy)
        freeze(child, copy)
        learner.train(child, task)
        cell, network = larger, child
        found.append(learner.learned(network, cell, task))
    return found, network


def measure(spec: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """All three ways with one seed."""
    tasks = tasks_of(spec, seed, train=options.train, validation=options.validation, size=options.size)
    shape = tuple(tasks[0].train.batch(torch.arange(1))[0].shape[1:])
    learner = Learner(shape, epochs=options.epochs, edges=options.edges, seed=seed)
    found, shared = growing(learner, tasks)
    recalled = [judged(learner.recalled(shared, one), task) for one, task in zip(found, tasks, strict=True)]
    own = sum(sum(tensor.numel() for tensor in one.own.values()) for one in found)
    grown = {
        "accuracy": [accuracy for _, accuracy in recalled],
        "unchanged": all(torch.equal(logits, one.logits) for (logits, _), one in zip(recalled, found, strict=True)),
        "shared_weights": weights_of(shared),
        "own_weights": own,
        "edges": [len(one.cell.edges) for one in found],
    }
    last = found[-1].cell
    fixed, kept = learner.network(last), []
    for task in tasks:
        learner.train(fixed, task)
        kept.append(learner.learned(fixed, last, task))
    at_end = [judged(learner.recalled(fixed, one), task)[1] for one, task in zip(kept, tasks, strict=True)]
    apart, each = [], 0
    for task in tasks:
        network = learner.network(last)
        learner.train(network, task)
        apart.append(judged(network, task)[1])
        each = weights_of(network)
    own_fixed = sum(sum(tensor.numel() for tensor in one.own.values()) for one in kept)
    return {
        "grown": grown,
        "fixed": {
            "accuracy": at_end,
            "accuracy_when_learned": [one.accuracy for one in kept],
            "shared_weights": each,
            "own_weights": own_fixed,
        },
        "apart": {"accuracy": apart, "shared_weights": len(tasks) * each, "own_weights": own_fixed},
    }


def main() -> None:
    """Learn and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--size", type=int)
    parser.add_argument("--train", type=int, default=90, help="images a class")
    parser.add_argument("--validation", type=int, default=45, help="images a class")
    parser.add_argument("--epochs", type=float, default=5.0, help="of a task")
    parser.add_argument("--edges", type=int, default=3, help="that a task may add")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with repeatable(options.threads):
        runs = {seed: measure(options.data, seed, options) for seed in options.seeds}
    if options.json:
        print(json.dumps({"data": options.data, "runs": runs}))
        return
    print("| | mean accuracy, all tasks | worst task | convolution weights | own to tasks |")
    print("| --- | ---: | ---: | ---: | ---: |")
    mean: Callable[[Any], float] = statistics.fmean
    for way in ("grown", "fixed", "apart"):
        ours = [one[way] for one in runs.values()]
        accuracy, worst = mean([mean(one["accuracy"]) for one in ours]), mean([min(one["accuracy"]) for one in ours])
        sizes = " | ".join(f"{mean([one[part] for one in ours]):,.0f}" for part in ("shared_weights", "own_weights"))
        print(f"| {way} | {accuracy:.1%} | {worst:.1%} | {sizes} |")
    unchanged = all(one["grown"]["unchanged"] for one in runs.values())
    print(f"earlier tasks' outputs unchanged to the last bit: {'yes' if unchanged else 'NO'}")


if __name__ == "__main__":
    main()
