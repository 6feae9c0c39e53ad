"""Training steps with freed memory kept against glibc's default, which gives it back to the system; in pairs.

    python benchmarks/allocator.py [--pairs 5]

MobileNetV2 scaled to 1M MACs at 32×32, batch 64, one thread; each measurement is a process of its own, by turns. Prints
JSON: the ratio of CPU times (default / kept) as minimum, median and maximum over the pairs, page faults a step and peak
memory of both, and whether the losses were equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional

from autoshrink import craft
from autoshrink.machine import keep_freed_memory
from autoshrink.networks import build

BATCH, WARM_UP, STEPS = 64, 5, 80


def measure(*, kept: bool) -> dict[str, float]:
    """Train for some steps in this process."""
    if kept and not keep_freed_memory():
        sys.exit("there is no glibc here: nothing to measure")
    torch.set_num_threads(1)
    architecture = craft("mobilenetv2-1.4", shape=(3, 32, 32), classes=10, macs=1_000_000).architecture
    network = build(architecture, seed=0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    loss = torch.zeros(())
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            began, faults = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        loss = functional.cross_entropy(network(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.process_time() - began,
        "faults": (used.ru_minflt - faults) / STEPS,
        "peak_mib": used.ru_maxrss / 1024,
        "loss": loss.item(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--one", choices=("kept", "default"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(kept=options.one == "kept")))
        return
    pairs = [[_elsewhere(name) for name in ("default", "kept")] for _ in range(options.pairs)]
    ratios = [default["seconds"] / kept["seconds"] for default, kept in pairs]
    both = {
        name: {what: round(statistics.median(pair[place][what] for pair in pairs)) for what in ("faults", "peak_mib")}
        for place, name in enumerate(("default", "kept"))
    }
    spread = {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)}
    equal = len({one["loss"] for pair in pairs for one in pair}) == 1
    print(json.dumps({"ratio": spread, **both, "equal_losses": equal}, indent=1))


def _elsewhere(one: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", one]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    main()
