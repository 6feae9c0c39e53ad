"""Training steps with channels-last tensors against torch's default layout, in one run, in pairs.

    python benchmarks/memory_format.py [--device cpu] [--pairs 7]

The complete cell of six nodes in the paper's proxy network, at 16×16 and 32×32, batch 128. Prints JSON: the ratio of
times (default layout / channels last) as minimum, median and maximum over the pairs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time

import torch
from torch.nn import functional

from autoshrink.architecture import proxy_architecture
from autoshrink.networks import build
from autoshrink.priors import start_cell
from autoshrink.training.device import choose_device

BATCH = 128


class Trainer:
    """One network in one memory layout."""

    def __init__(self, size: int, layout: torch.memory_format, device: torch.device) -> None:
        cell = start_cell("complete", kind="conv", nodes=6, rng=random.Random(0))
        network = build(proxy_architecture(cell, shape=(3, size, size)), seed=0).to(device)
        self._network = network.to(memory_format=layout)  # type: ignore[call-overload]
        self._images = torch.randn(BATCH, 3, size, size, device=device).contiguous(memory_format=layout)
        self._labels = torch.randint(0, 10, (BATCH,), device=device)
        self._optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)

    def seconds(self, steps: int) -> float:
        """Wall time of so many training steps."""
        began = time.perf_counter()
        for _ in range(steps):
            loss = functional.cross_entropy(self._network(self._images), self._labels)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
        loss.item()
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    device = choose_device(options.device)
    ratios: dict[str, dict[str, float]] = {}
    for size in (16, 32):
        default = Trainer(size, torch.contiguous_format, device)
        last = Trainer(size, torch.channels_last, device)
        for trainer in (default, last):
            trainer.seconds(2)
        pairs = sorted(default.seconds(3) / last.seconds(3) for _ in range(options.pairs))
        ratios[f"{size}x{size}"] = {"min": pairs[0], "median": statistics.median(pairs), "max": pairs[-1]}
    print(json.dumps({"speedup_of_channels_last": ratios, "device": str(device), "pairs": options.pairs}))


if __name__ == "__main__":
    main()
