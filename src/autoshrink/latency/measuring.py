"""How long an ONNX file takes for a batch, in ONNX Runtime on this machine's CPU: whole, beside others, and per node.

A time means little without how it was taken. Here: the session runs its operators one after another (`threads` threads
inside an operator, which do not spin while they wait), inputs are random, the file is run until its times settle, and
then for a while; reported are median and quartiles. Files that are compared take turns, so that what else the machine
does hits all of them. Of a run on one thread it is also said how long it had the core: on a machine that others use
too, that is what the file takes, and the rest is waiting.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from autoshrink.architecture import Architecture
from autoshrink.errors import InputError
from autoshrink.files import scratch
from autoshrink.machine import refuse_beyond_memory
from autoshrink.onnx.session import KINDS, PROVIDER, onnxruntime, open_session, session_options

WARM_SECONDS, WARM_LIMIT = 0.1, 3.0
"""A file is run at least so long, and at most, before it is timed."""
SETTLED = 1.05
"""It has settled when the medians of two windows in a row differ by less than this factor."""
WINDOW = 8
LEAST_RUNS = 10
"""Of a round, however long they take."""


@dataclass(frozen=True)
class Conditions:
    """Where and how times were taken: processor, runtime and its version, the part of it that ran the file.

    `threads` are those inside an operator, `batch` the samples of a run, `spinning` whether threads that wait keep
    their core busy.
    """

    cpu: str
    runtime: str
    provider: str
    threads: int
    batch: int = 1
    spinning: bool = False


class Run(NamedTuple):
    """One run, seconds: by the clock, and of that on the core (of one thread; what others do is not in it)."""

    wall: float
    core: float


@dataclass(frozen=True)
class Latency:
    """What one run of a file takes, seconds: median, quartiles and minimum of so many `runs`, by the clock.

    `core` is the median time on the core, None for more threads than one; `rounds` are the medians of each round, on
    the core for one thread, else by the clock.
    """

    median: float
    low: float
    high: float
    minimum: float
    core: float | None
    runs: int
    rounds: tuple[float, ...]
    conditions: Conditions

    @classmethod
    def of(cls, rounds: Sequence[Sequence[Run]], conditions: Conditions) -> Self:
        """From all runs of all rounds."""
        runs = [run for some in rounds for run in some]
        walls = [run.wall for run in runs]
        low, median, high = (float(value) for value in np.percentile(walls, (25, 50, 75)))
        alone = conditions.threads == 1
        core = statistics.median(run.core for run in runs) if alone else None
        middles = tuple(statistics.median(run.core if alone else run.wall for run in some) for some in rounds)
        return cls(median, low, high, min(walls), core, len(runs), middles, conditions)

    @property
    def waited(self) -> bool:
        """Whether runs waited for a core for more than a tenth of their time: others use the machine."""
        return self.core is not None and self.median > 1.1 * self.core

    def ratio(self, other: Latency) -> tuple[float, float, float]:
        """How many times as long as another it takes: the median, the least and the most of the rounds' ratios."""
        ratios = [mine / its for mine, its in zip(self.rounds, other.rounds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)

    def to_json(self) -> dict[str, Any]:
        """A JSON object, in seconds."""
        return asdict(self)


@dataclass(frozen=True)
class NodeTime:
    """One node of the graph that the runtime made of a file, or `count` nodes of one type (`name` is then empty).

    The runtime fuses and renames, and what it adds has names of its own. `seconds` is the mean of the faster half of
    the runs, to which the profiler adds one to three µs a node; `share` is that of all nodes' seconds.
    """

    name: str
    op: str
    seconds: float
    share: float
    count: int = 1


class Session:
    """A file, or a model's bytes, in ONNX Runtime, ready to run on random inputs.

    Args:
        model: a path or a serialised model.
        threads: inside an operator.
        batch: size of an input's first axis where the file leaves it open.
        shapes: by input, where more than the first axis is open.
        profile: prefix of the profiler's file; None: no profiling.
        disabled: names of the runtime's optimisations to leave out.
        name: what messages call it; None: its path.

    Raises:
        InputError: ONNX Runtime is not installed or refuses the file, or an input's shape is open, of no known type,
            or without a place for the batch.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        threads: int = 1,
        batch: int = 1,
        shapes: Mapping[str, Sequence[int]] | None = None,
        profile: str | None = None,
        disabled: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        self._name = name or ("the model" if isinstance(model, bytes) else os.fspath(model))
        options = session_options(threads, spinning=False)
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        source = model if isinstance(model, bytes) else Path(model)
        self._session = open_session(source, options, name=self._name, disabled=disabled)
        self.conditions = conditions(threads, batch)
        self._feed = self._random_inputs(batch, dict(shapes or {}))

    def run(self) -> None:
        """Once.

        Raises:
            InputError: the runtime fails on it, for example for a shape that its operators cannot take.
        """
        try:
            self._session.run(None, self._feed)
        except Exception as error:  # onnxruntime's errors have no other class in common
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{self._name}: ONNX Runtime cannot run it ({why})") from error

    def timed(self) -> Run:
        """One run."""
        began, core = time.perf_counter(), time.thread_time()
        self._session.run(None, self._feed)
        return Run(time.perf_counter() - began, time.thread_time() - core)

    def warm_up(self, *, seconds: float = WARM_SECONDS, limit: float = WARM_LIMIT) -> None:
        """Run it until two windows of runs in a row take about the same, for `seconds` at least and `limit` at most."""
        self.run()
        began, last = time.monotonic(), math.inf
        while True:
            now = statistics.median(self.timed().core for _ in range(WINDOW))
            passed = time.monotonic() - began
            settled = max(now, last) < SETTLED * min(now, last)
            if passed > limit or (passed >= seconds and settled):
                return
            last = now

    def times(self, seconds: float) -> list[Run]:
        """The runs of so long a while, ten at least."""
        found: list[Run] = []
        until = time.monotonic() + seconds
        while len(found) < LEAST_RUNS or time.monotonic() < until:
            found.append(self.timed())
        return found

    def profiled(self) -> list[dict[str, Any]]:
        """The events that the profiler wrote."""
        found: list[dict[str, Any]] = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        return found

    def _random_inputs(self, batch: int, shapes: dict[str, Sequence[int]]) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        wanted = self._session.get_inputs()
        unknown = sorted(set(shapes) - {one.name for one in wanted})
        if unknown:
            names = ", ".join(one.name for one in wanted)
            raise InputError(f"{self._name}: no input is called {unknown[0]!r}; it has {names}")
        # Where a state has the batch in its middle, the name of the axis says so.
        batch_axes = {one.shape[0] for one in wanted if one.shape and not _known(one.shape[0])}
        if batch != 1 and not batch_axes:
            raise InputError(f"{self._name}: no input leaves its first axis open for a batch of {batch}")
        made = {
            one.name: (self._kind(one), shapes.get(one.name) or self._shape(one, batch, batch_axes)) for one in wanted
        }
        # Random numbers are drawn in 8 bytes each and then cast.
        need = sum(math.prod(shape) * (8 + np.dtype(kind).itemsize) for kind, shape in made.values())
        listed = ", ".join(f"{name}={'x'.join(map(str, shape))}" for name, (_, shape) in made.items())
        refuse_beyond_memory(need, f"{self._name}: inputs of {listed}", "try a smaller --batch, or --shape")
        # 0 and 1 are tokens, flags and indices in any file.
        return {
            name: (rng.standard_normal(shape) if kind.startswith("float") else rng.integers(0, 2, shape)).astype(kind)
            for name, (kind, shape) in made.items()
        }

    def _kind(self, given: Any) -> str:
        if given.type not in KINDS:
            raise InputError(f"{self._name}: input {given.name!r} is a {given.type}, which cannot be made at random")
        return KINDS[given.type]

    def _shape(self, given: Any, batch: int, batch_axes: set[Any]) -> list[int]:
        shape = [batch if not _known(size) and size in batch_axes else size for size in given.shape]
        if not all(map(_known, shape)):
            example = "x".join(str(size) if _known(size) else "1" for size in shape)
            raise InputError(
                f"{self._name}: input {given.name!r} has the shape {list(given.shape)}; "
                f"say what it is to be, for example --shape {given.name}={example}"
            )
        return shape


def _known(size: object) -> bool:
    """Whether the file says how long an axis is: an open one has a name, or nothing."""
    return isinstance(size, int) and size > 0


def conditions(threads: int = 1, batch: int = 1) -> Conditions:
    """Those of a measurement made now, here.

    Raises:
        InputError: ONNX Runtime is not installed.
    """
    return Conditions(cpu_name(), f"onnxruntime {onnxruntime().__version__}", PROVIDER, threads, batch)


def measure(model: str | os.PathLike[str], *, seconds: float = 1.0, **options: Any) -> Latency:
    """What a run of an ONNX file takes, whoever wrote it; inputs are random, of the file's own shapes and types.

    It is timed for so many `seconds` after warming up; `options` are `threads`, `batch` and `shapes` of `Session`.

    Raises:
        InputError: the file cannot be loaded or run; the message says why.
    """
    return race([Session(model, **options)], rounds=1, seconds=seconds)[0]


def race(sessions: Sequence[Session], *, rounds: int = 5, seconds: float = 0.5) -> list[Latency]:
    """Time several files in turns: in each round every one of them for so many seconds.

    The order turns round from one round to the next, so that none always follows the same other.
    """
    for session in sessions:
        session.warm_up()
    times: list[list[list[Run]]] = [[] for _ in sessions]
    for number in range(rounds):
        places = list(range(len(sessions)))
        for place in places if number % 2 == 0 else reversed(places):
            times[place].append(sessions[place].times(seconds))
    return [Latency.of(found, session.conditions) for session, found in zip(sessions, times, strict=True)]


def profile(model: str | os.PathLike[str], *, runs: int = 50, **options: Any) -> tuple[NodeTime, ...]:
    """What each node takes, by ONNX Runtime's profiler, in the order of execution.

    The nodes are those of the graph that the runtime made of the file, after folding, fusing and changing layouts.
    `options` are `threads`, `batch` and `shapes` of `Session`.

    Raises:
        InputError: the file cannot be loaded or run.
    """
    with scratch() as folder:
        session = Session(model, profile=str(folder / "profile"), **options)
        for _ in range(runs):
            session.run()
        events = session.profiled()
    found: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            found.setdefault(key, []).append(event["dur"] / 1e6)
    means = {key: statistics.fmean(sorted(times)[: -(-len(times) // 2)]) for key, times in found.items()}
    total = sum(means.values()) or 1.0
    return tuple(NodeTime(name, op, seconds, seconds / total) for (name, op), seconds in means.items())


def by_type(nodes: Sequence[NodeTime]) -> tuple[NodeTime, ...]:
    """Nodes of one operator type added up, the longest first."""
    groups: dict[str, list[NodeTime]] = {}
    for node in nodes:
        groups.setdefault(node.op, []).append(node)
    sums = (
        NodeTime("", op, sum(node.seconds for node in some), sum(node.share for node in some), len(some))
        for op, some in groups.items()
    )
    return tuple(sorted(sums, key=lambda one: one.seconds, reverse=True))


def architecture_latency(architecture: Architecture, *, threads: int = 1) -> float:
    """Median seconds of one sample through an architecture: exported with random weights, run in ONNX Runtime.

    On one thread it is the time on the core, which others on the machine do not lengthen; else that by the clock.

    Raises:
        InputError: it cannot be exported, or the packages for it are missing.
    """
    from autoshrink.onnx.untrained import architecture_to_onnx  # noqa: PLC0415 - torch takes seconds to import

    with scratch() as folder:
        path = folder / "model.onnx"
        architecture_to_onnx(architecture, path)
        found = measure(path, threads=threads)
    return found.median if found.core is None else found.core


def cpu_name() -> str:
    """The processor's name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for name in ("model name", "Model", "Hardware"):
        for line in lines:
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"
