"""Training steps of a recurrent cell: the fast path against a plain reading of its equations, in one run, in pairs.

    python benchmarks/recurrent.py [--device cpu] [--threads 2] [--pairs 7]

Plain is what the released code does: one small product an edge and a step, autograd over every operation, the logits of
the whole chunk in one cross entropy. Both train the complete cell of six nodes on random tokens: forward, backward,
clipping, SGD. Prints JSON: tokens per second of both and their ratio as minimum, median and maximum over the pairs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from autoshrink.architecture import recurrent_proxy
from autoshrink.networks import build, reference
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.priors import start_cell
from autoshrink.training.device import choose_device

STEPS = 35


@dataclass(frozen=True)
class Size:
    """One setting: what it is, streams, width, vocabulary, and the share of hidden dropout."""

    name: str
    streams: int
    width: int
    vocabulary: int
    dropout: float = 0.0


SIZES = (
    Size("pydocs, built-in search", 8, 40, 1550),
    Size("characters", 20, 64, 100),
    Size("Penn Treebank proxy, README's search", 20, 64, 4933),
    Size("Penn Treebank proxy, the paper's batch", 128, 100, 4933),
    Size("final training, width 200", 64, 200, 10_000, dropout=0.25),
)


class Trainer:
    """One language model, trained one way."""

    def __init__(self, size: Size, *, fast: bool, device: torch.device) -> None:
        cell = start_cell("complete", kind="recurrent", nodes=6, rng=random.Random(0))
        architecture = recurrent_proxy(cell, vocabulary=size.vocabulary, width=size.width)
        self._network = build(architecture, seed=0).to(device)
        self._fast = fast
        generator = torch.Generator().manual_seed(0)
        shape = (2, STEPS, size.streams)
        self._inputs, self._targets = torch.randint(0, size.vocabulary, shape, generator=generator).to(device)
        self._mask = None
        if size.dropout:
            kept = torch.rand(size.streams, size.width, generator=generator) >= size.dropout
            self._mask = (kept / (1 - size.dropout)).to(device)
        self._optimiser = torch.optim.SGD(self._network.parameters(), lr=1.0)
        self._state = self._network.initial_state(size.streams)

    def seconds(self, chunks: int) -> float:
        """Wall time of so many chunks."""
        began = time.perf_counter()
        for _ in range(chunks):
            loss = self._fast_loss() if self._fast else self._plain_loss()
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), 0.25)
            self._optimiser.step()
        loss.item()
        return time.perf_counter() - began

    def _fast_loss(self) -> torch.Tensor:
        embedded = functional.embedding(self._inputs, self._network.embedding)
        features, _ = self._network.core(embedded, self._state, self._mask)
        return self._network.loss(features, self._targets)

    def _plain_loss(self) -> torch.Tensor:
        core = self._network.core
        assert isinstance(core, RecurrentCell)
        embedded = functional.embedding(self._inputs, self._network.embedding)
        features = reference.run(
            core.plan,
            embedded,
            self._state[0],
            input_weight=core.input_weight,
            edge_weights=core.edge_weights(),
            mask=self._mask,
        )
        return functional.cross_entropy(self._network.logits(features).flatten(0, 1), self._targets.flatten())


def compare(size: Size, device: torch.device, pairs: int) -> dict[str, object]:
    """Tokens per second of both ways, and the ratio over pairs."""
    fast, plain = (Trainer(size, fast=fast, device=device) for fast in (True, False))
    fast.seconds(1)
    chunks = max(1, round(0.3 / fast.seconds(1)))
    plain.seconds(1)
    times = [(fast.seconds(chunks), plain.seconds(chunks)) for _ in range(pairs)]
    ratios = sorted(slow / quick for quick, slow in times)
    tokens = chunks * STEPS * size.streams
    return {
        "streams": size.streams,
        "width": size.width,
        "vocabulary": size.vocabulary,
        "tokens_per_second": round(tokens / statistics.median(quick for quick, _ in times)),
        "tokens_per_second_plain": round(tokens / statistics.median(slow for _, slow in times)),
        "speedup": {
            "min": round(ratios[0], 2),
            "median": round(statistics.median(ratios), 2),
            "max": round(ratios[-1], 2),
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    found = {size.name: compare(size, device, options.pairs) for size in SIZES}
    print(json.dumps({"device": str(device), "threads": options.threads, "pairs": options.pairs, "sizes": found}))


if __name__ == "__main__":
    main()
