"""Tables of what single operations take on a device: their files, and those of a run, which grow as it needs them.

A network's latency is taken as the sum of its operations' (as ProxylessNAS and FBNet do); docs/latency.md says how far
that holds. The unit is the nanosecond, so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from autoshrink.architecture import Architecture
from autoshrink.cost.latency import operations
from autoshrink.errors import InputError, RunError
from autoshrink.escaping import shown
from autoshrink.files import write_text
from autoshrink.latency.operations import OperationTimer, device_facts
from autoshrink.onnx.session import onnx_library
from autoshrink.quantity import counted
from autoshrink.results import pretty
from autoshrink.steps import RuntimeOperation
from autoshrink.untrusted import brief, inside, read_json

TABLE_FORMAT = "autoshrink.latency-table/1"
TABLE_FILE = "latency.json"
"""In the run folder."""


@dataclass(frozen=True)
class LatencyTable:
    """What operations take on one device, by `RuntimeOperation.key`.

    `device` says what was measured, how, and on what, for people to read.
    """

    device: Mapping[str, str | int]
    nanoseconds: Mapping[str, int]

    def missing(self, architecture: Architecture) -> tuple[RuntimeOperation, ...]:
        """The operations that the table lacks, each once, in order.

        Raises:
            InputError: the architecture is of a kind that has no table.
        """
        wanted = {one.key: one for one in operations(architecture)}
        return tuple(one for key, one in wanted.items() if key not in self.nanoseconds)

    def of(self, architecture: Architecture) -> int:
        """Nanoseconds for one image: the sum over all operations.

        Raises:
            InputError: an operation is missing; the message names it.
        """
        missing = self.missing(architecture)
        if missing:
            raise InputError(f"the latency table has no {missing[0].key!r}")
        return sum(self.nanoseconds[one.key] for one in operations(architecture))

    def extended(self, nanoseconds: Mapping[str, int]) -> LatencyTable:
        """With more entries."""
        return LatencyTable(self.device, {**self.nanoseconds, **nanoseconds})

    def to_json(self) -> dict[str, Any]:
        """The table file's object."""
        return {"format": TABLE_FORMAT, "device": dict(self.device), "nanoseconds": dict(self.nanoseconds)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The table in a table file's object.

        Raises:
            InputError: it is no table, or a figure is not a positive whole number; the message says which.
        """
        if not isinstance(value, dict) or value.get("format") != TABLE_FORMAT:
            raise InputError(f'a latency table has "format": "{TABLE_FORMAT}"')
        device, figures = value.get("device"), value.get("nanoseconds")
        if not isinstance(device, dict) or not isinstance(figures, dict):
            raise InputError("a latency table has the objects device and nanoseconds")
        for key, figure in figures.items():
            if isinstance(figure, bool) or not isinstance(figure, int) or figure < 1:
                raise InputError(f"nanoseconds of {brief(key)}: a whole number above 0 is needed (got {brief(figure)})")
        return cls(device, figures)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The table in a file.

        Raises:
            InputError: the file is missing, not JSON, or no table; the message names it.
        """
        value = read_json(path)
        with inside(shown(path)):
            return cls.from_json(value)


class Latencies:
    """What networks take, by a table that grows as they need operations that it lacks.

    What was measured is in the run's folder before anybody hears of it, so that a run that was killed goes on with the
    figures it began with. Without a `timer` the table is all there is; `refusal` says why, and the way out.
    """

    def __init__(
        self, table: LatencyTable, timer: Callable[[RuntimeOperation], int] | None = None, *, refusal: str = ""
    ) -> None:
        self.table = table
        self._timer = timer
        self._refusal = refusal
        self._file: Path | None = None

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.table.device.items())
        return f"{counted(len(self.table.nanoseconds), 'operation')} known ({facts})"

    def __call__(self, architecture: Architecture) -> int:
        """Nanoseconds of one sample.

        Raises:
            InputError: an operation is unknown and cannot be measured here.
            RunError: the table cannot be written.
        """
        self.learn(self.table.missing(architecture))
        return self.table.of(architecture)

    def learn(self, wanted: Sequence[RuntimeOperation]) -> None:
        """Measure operations that are unknown, and keep them."""
        if not wanted:
            return
        if self._timer is None:
            raise InputError(f"no latency is known of the operation {wanted[0].key!r}: {self._refusal}")
        self.table = self.table.extended({one.key: self._timer(one) for one in wanted})
        self._write()

    def keep(self, folder: Path) -> None:
        """Write the table to the run's folder now, and whenever it grows.

        Raises:
            RunError: it cannot be written.
        """
        self._file = folder / TABLE_FILE
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            write_text(self._file, pretty(self.table.to_json()), own=True)


def begin_latencies(file: str | None) -> Latencies:
    """For a new run: by a table in a file, or by what is measured here as it is needed.

    Raises:
        InputError: the file is no table, or nothing can be measured here since a package is missing.
    """
    if file is not None:
        return _given(LatencyTable.read(Path(file)), file)
    onnx_library(exporting=False)
    return Latencies(LatencyTable(device_facts(), {}), OperationTimer())


def resume_latencies(folder: Path, file: str | None, *, fresh: bool) -> Latencies:
    """For a run that goes on: by the table in its folder, which grows only on the device that it was measured on.

    `file` is the table that the run was given, if any; while nothing has been evaluated (`fresh`), a missing one may
    be begun anew.

    Raises:
        RunError: the table is gone.
        InputError: it is damaged.
    """
    path = folder / TABLE_FILE
    if not path.exists():
        if not fresh:
            raise RunError(f"{path}: the run's latencies are gone; put the file back, or start a new run")
        latencies = begin_latencies(file)
    elif file is not None:
        latencies = _given(LatencyTable.read(path), file)
    else:
        latencies = _measured_before(LatencyTable.read(path), path)
    latencies.keep(folder)
    return latencies


def _given(table: LatencyTable, file: str) -> Latencies:
    way_out = f"make {file} for this search's sizes, with `autoshrink latency --make-table` on its device"
    return Latencies(table, refusal=way_out)


def _measured_before(table: LatencyTable, path: Path) -> Latencies:
    try:
        here = device_facts()
    except InputError:  # without ONNX Runtime this is not the device where anything was measured
        here = {"runtime": "none"}
    changed = [
        f"{name} {table.device.get(name)} there, {value} here"
        for name, value in here.items()
        if table.device.get(name) != value
    ]
    refusal = f"{path} was measured on another device ({'; '.join(changed)}); resume the run there"
    return Latencies(table, None if changed else OperationTimer(), refusal=refusal)
