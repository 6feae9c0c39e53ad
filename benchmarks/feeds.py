"""What feeding a training costs: CPU time an image, and memory, for images held and streamed.

    AUTOSHRINK_DATA=path/to/data python benchmarks/feeds.py [--data cifar10] [--size 32] [--batches 60] [--workers 0]

Prints one JSON line a way and augmentation: milliseconds of CPU time (this process's) and of wall time an image, the
seconds until the data were open, and the peak of resident memory in MB, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.training.feeds import Loading, Pictures, open_training_data

AUGMENTS: dict[str, dict[str, object]] = {
    "pad": {"crop": "pad"},
    "resized": {"crop": "resized", "scale": (0.25, 1.0)},
    "published": {"crop": "resized", "scale": (0.75, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "erasing": 0.5},
    "randaugment": {"crop": "pad", "randaugment": (2, 9)},
}


def measured(args: argparse.Namespace) -> dict[str, object]:
    """Batches of one feed, after one that is not counted (workers start, caches fill)."""
    torch.set_num_threads(1)
    before = time.perf_counter()
    loading = Loading(128, torch.device("cpu"), stream=args.way == "streamed", workers=args.workers)
    augment = AugmentSettings.model_validate(AUGMENTS[args.augment])
    data = open_training_data(args.data, Pictures(args.size, channels=3), loading, augment=augment, seed=0)
    opened = time.perf_counter() - before
    batches = data.training.epoch(0)
    next(batches)
    wall, cpu, images = time.perf_counter(), time.process_time(), 0
    for _, (_, labels) in zip(range(args.batches), batches, strict=False):
        images += len(labels)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "way": args.way,
        "augment": args.augment,
        "cpu_ms": round(1000 * cpu / images, 3),
        "wall_ms": round(1000 * wall / images, 3),
        "opened_s": round(opened, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure every way with every augmentation, or one of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--way", choices=("memory", "streamed"))
    parser.add_argument("--augment", choices=tuple(AUGMENTS))
    args = parser.parse_args()
    if args.way and args.augment:
        print(json.dumps(measured(args)))
        return
    for way in [args.way] if args.way else ["memory", "streamed"]:
        for augment in [args.augment] if args.augment else AUGMENTS:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way, "--augment", augment]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
