"""Crafting for a latency: kept, used and found with few measurements, on a machine that is noisy too."""

from __future__ import annotations

import random

import pytest

from autoshrink.architecture import proxy_architecture
from autoshrink.cost import count
from autoshrink.crafting import craft
from autoshrink.errors import InputError
from autoshrink.spaces.sizes import Scalable
from craft_fixtures import CELLS, SMALL, conv


class Machine:
    """Seconds from MACs and layers, with a noise that only ever adds; it keeps what it measured."""

    def __init__(self, *, noise: float = 0.0, seed: int = 0) -> None:
        self.measured: list[tuple[Scalable, float]] = []
        self._noise, self._rng = noise, random.Random(seed)

    def truth(self, architecture: Scalable) -> float:
        cost = count(architecture)
        return 1e-9 * cost.macs + 2e-6 * len(cost.layers)

    def __call__(self, architecture: Scalable) -> float:
        seconds = self.truth(architecture) * (1 + self._noise * self._rng.expovariate(1))
        self.measured.append((architecture, seconds))
        return seconds

    def of(self, architecture: Scalable) -> list[float]:
        return [seconds for one, seconds in self.measured if one == architecture]


@pytest.mark.parametrize("number", range(0, 20, 2))
def test_a_latency_is_kept_and_used_with_few_measurements(number: int) -> None:
    machine, rng = Machine(), random.Random(number)
    skeleton = proxy_architecture(CELLS[number])
    limit = machine.truth(skeleton) * 10 ** rng.uniform(-0.3, 1.5)
    found = craft(skeleton, latency=limit, measure=machine)
    assert found.binding is not None
    assert found.binding.used == machine.truth(conv(found)) <= limit
    assert found.binding.share > 0.94
    assert len(machine.measured) <= 2 * 9


@pytest.mark.parametrize("seed", range(8))
def test_with_noise_the_network_that_comes_back_kept_the_latency_when_it_was_measured(seed: int) -> None:
    machine = Machine(noise=0.3, seed=seed)
    found = craft(proxy_architecture(CELLS[seed]), latency=0.01, measure=machine)
    times = sorted(machine.of(conv(found)))
    assert len(times) in (2, 3)
    assert sum(seconds <= 0.01 for seconds in times) >= 2
    assert found.binding is not None
    assert found.binding.used == times[1] <= 0.01


def test_one_slow_moment_decides_nothing() -> None:
    calm = Machine()
    expected = craft(SMALL, latency=0.02, measure=calm)
    seen: set[str] = set()

    def jammed(architecture: Scalable) -> float:
        """Every network's first measurement is ten times too slow."""
        key = architecture.model_dump_json()
        slow = 1 if key in seen else 10
        seen.add(key)
        return slow * calm.truth(architecture)

    assert craft(SMALL, latency=0.02, measure=jammed).architecture == expected.architecture


def test_a_latency_beside_other_budgets() -> None:
    machine = Machine()
    skeleton = proxy_architecture(CELLS[5])
    cost = count(skeleton)
    loose = craft(skeleton, latency=10.0, macs=2 * cost.macs, measure=machine)
    assert loose.architecture == craft(skeleton, macs=2 * cost.macs).architecture
    assert len({one.model_dump_json() for one, _ in machine.measured}) == 1
    tight = craft(skeleton, latency=1e-9 * cost.macs, macs=2 * cost.macs, memory=10**9, measure=Machine())
    assert [use.name for use in tight.uses] == ["macs", "memory", "latency"]
    assert all(use.share <= 1 for use in tight.uses)
    assert tight.binding is not None
    assert tight.binding.name == "latency"
    assert tight.binding.share > 0.94


def test_a_latency_below_the_smallest_network_is_refused_with_its_figure() -> None:
    machine = Machine()
    smallest = proxy_architecture(SMALL, stem=4, widths=(4, 4, 4))
    with pytest.raises(InputError, match=rf"1\.00 µs are too few: .* {1e6 * machine.truth(smallest):.3g} µs"):
        craft(SMALL, latency=1e-6, measure=machine)
    assert len(machine.measured) <= 4
    assert craft(SMALL, latency=machine.truth(smallest), measure=machine).architecture == smallest


def test_a_latency_needs_something_that_measures() -> None:
    with pytest.raises(InputError, match="latency: it takes a `measure`"):
        craft(SMALL, latency=1.0)
