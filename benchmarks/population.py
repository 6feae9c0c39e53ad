"""K candidates trained as one program against one by one, in one run, in pairs.

    python benchmarks/population.py [--device cuda] [--width 64] [--pairs 7]

The candidates are K children of the complete graph, as in a search's first step; both ways take the same training steps
on the same batches (the text that comes with Python). Start order alternates.
Prints JSON: seconds of one step of all K, each way, and their ratio as minimum, median and maximum over the pairs; a
table in Markdown on standard error. A training step is counted as three forward passes. On CUDA, `--profile` adds for
each way the share of the time in which a kernel ran, kernels per step of all K, and, with the device's `--peak-tflops`,
the share of it that is reached (a multiply-accumulate is two operations).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from autoshrink.architecture import Architecture
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.priors import start_cell
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.population import Populations
from autoshrink.training.problem import Problem
from autoshrink.watching import Observer


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """The search's settings that a person would write for this."""
    return {"task": "text", "network": {"width": options.width}, "recipe": {"batch": options.batch}}


def together(problem: Problem, architectures: list[Architecture], steps: int) -> Callable[[int], int]:
    """What trains so many steps of the n-th epoch as one program, and says how many samples each candidate saw."""
    assert isinstance(problem, Populations)
    population = problem.population(architectures, [0] * len(architectures))

    def train(epoch: int) -> int:
        batches = list(islice(population.epoch(epoch), steps))
        batches[-1].losses.tolist()
        return sum(batch.samples for batch in batches)

    return train


def one_by_one(problem: Problem, architectures: list[Architecture], steps: int) -> Callable[[int], int]:
    """The same, a candidate after the other."""
    learners = [problem.learner(architecture, 0) for architecture in architectures]

    def train(epoch: int) -> int:
        return [sum(batch.samples for batch in islice(learner.epoch(epoch), steps)) for learner in learners][-1]

    return train


def timed(train: Callable[[int], int], epoch: int) -> tuple[float, int]:
    """Wall seconds, and samples of each candidate."""
    began = time.perf_counter()
    samples = train(epoch)
    return time.perf_counter() - began, samples


def compare(ways: dict[str, Callable[[int], int]], pairs: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of each way, pair by pair, and the samples of the last."""
    for train in ways.values():
        train(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    samples = 0
    for pair in range(pairs):
        for name in list(ways) if pair % 2 == 0 else list(ways)[::-1]:
            taken, samples = timed(ways[name], pair + 1)
            seconds[name].append(taken)
    return seconds, samples


def kernels(train: Callable[[int], int], epoch: int) -> tuple[float, int]:
    """Seconds in which CUDA kernels ran, and how many there were."""
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        train(epoch)
        torch.cuda.synchronize()
    events = [event for event in record.events() if str(event.device_type).endswith("CUDA")]
    return sum(event.time_range.elapsed_us() for event in events) / 1e6, len(events)


def main() -> None:
    """Measure and print."""
    options = _options()
    settings = resolve(settings_of(options))
    device = choose_device(options.device)
    problem = TASKS["text"].prepare(settings, Observer()).problem(device)
    kind = TASKS["text"].cell_kind
    cell = start_cell("complete", kind=kind, nodes=options.nodes, rng=random.Random(0))
    children = [child for _, child in cell.shrink_space()]
    chosen = random.Random(0).sample(children, min(options.candidates, len(children)))
    architectures = [problem.architecture(child) for child in chosen]
    with repeatable(options.threads):
        ways = {
            "together": together(problem, architectures, options.steps),
            "one by one": one_by_one(problem, architectures, options.steps),
        }
        seconds, samples = compare(ways, options.pairs)
        ratios = sorted(alone / one for one, alone in zip(seconds["together"], seconds["one by one"], strict=True))
        macs = 3 * samples * sum(count(architecture).macs for architecture in architectures)
        found: dict[str, Any] = {}
        for name, train in ways.items():
            median = statistics.median(seconds[name])
            found[name] = {
                "ms_a_step": round(1e3 * median / options.steps, 3),
                "gmacs_a_second": round(macs / median / 1e9, 3),
            }
            if options.profile:
                busy, launched = kernels(train, options.pairs + 1)
                found[name] |= {
                    "kernel_share": round(busy / median, 3),
                    "kernels_a_step": round(launched / options.steps, 1),
                }
                if options.peak_tflops:
                    found[name]["peak_share"] = round(2 * macs / median / (options.peak_tflops * 1e12), 5)
    speedup = {"min": ratios[0], "median": statistics.median(ratios), "max": ratios[-1]}
    rounded = {name: round(value, 2) for name, value in speedup.items()}
    print(json.dumps(vars(options) | {"device": str(device), "ways": found, "speedup": rounded}, indent=1))
    _table(found, rounded)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="training steps a measurement; at most an epoch's")
    parser.add_argument("--candidates", type=int, default=10, help="K")
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--batch", type=int, default=20, help="streams of text")
    parser.add_argument("--width", type=int, default=64, help="of a language model")
    parser.add_argument("--profile", action="store_true", help="CUDA only")
    parser.add_argument("--peak-tflops", type=float, help="of the device at the precision in use")
    options = parser.parse_args()
    if options.profile and choose_device(options.device).type != "cuda":
        parser.error("--profile needs a CUDA device")
    return options


def _table(found: dict[str, dict[str, float]], speedup: dict[str, float]) -> None:
    names = list(next(iter(found.values())))
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    lines += [f"| {way} | {' | '.join(f'{figures[name]:.4g}' for name in names)} |" for way, figures in found.items()]
    lines.append(f"\nTogether is {speedup['median']} times as fast ({speedup['min']}–{speedup['max']}).")
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
