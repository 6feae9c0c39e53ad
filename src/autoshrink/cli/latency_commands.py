"""``latency``: how long ONNX files and architectures take on this machine's CPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.progress import track
from rich.table import Table

from autoshrink import formatting
from autoshrink.architecture import ActivationName, ConvArchitecture, proxy_architecture
from autoshrink.cell import INPUT, Cell
from autoshrink.cli import quantities
from autoshrink.cli.command import refuse_unread
from autoshrink.cli.console import JsonOption, note, print_json, stderr, stdout
from autoshrink.cost.latency import every_operation
from autoshrink.deploy.card import checksum_of
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.files import check_output, scratch, write_text
from autoshrink.latency.measuring import Latency, NodeTime, Session, by_type, profile, race
from autoshrink.latency.operations import OperationTimer, device_facts
from autoshrink.latency.predicting import table_operations
from autoshrink.latency.table import LatencyTable
from autoshrink.loading import load
from autoshrink.ops import DEFAULTS
from autoshrink.results import pretty
from autoshrink.steps import RuntimeOperation
from autoshrink.tasks import task_of

ROUND_SECONDS = 0.5
_OTHER_MODELS = (".safetensors", ".pte", ".tflite")
"""Endings of what a person may take for a model that is measured."""

_OF_TARGETS = ("batch", "rounds", "against", "nodes", "shape")
_OF_CELLS = ("stem", "widths", "activation", "cell_nodes", "ops")
_OF_THE_TABLE = ("networks", "image", "classes", *_OF_CELLS)
"""Parameters that only one of the command's two uses reads."""

_EXPLAINED = {
    "Conv": "with what follows it fused in: its bias, an activation, an addition",
    "FusedConv": "a convolution with the activation or addition after it",
    "FusedMatMul": "a matrix product with the scaling or transposition beside it",
    "FusedGemm": "a matrix product with the activation after it",
    "ReorderInput": "added by the runtime: into the layout that its convolutions use",
    "ReorderOutput": "added by the runtime: out of the layout that its convolutions use",
    "QuickGelu": "x·sigmoid(x): swish in one piece",
    "Gemm": "a matrix product and its bias",
}
"""What the runtime's own operators are."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("latency")(latency)


def latency(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    targets: Annotated[
        list[str] | None, typer.Argument(help="ONNX files, cell or architecture files, or names in the zoo.")
    ] = None,
    *,
    threads: Annotated[int, typer.Option(parser=quantities.threads, help="CPU threads inside an operator.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Samples a run.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often the targets take turns, half a second each.")] = 5,
    against: Annotated[str | None, typer.Option(help="What the others are compared with. Default: the first.")] = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="What each node of the graph takes, by the profiler.")] = False,
    shape: Annotated[
        list[str] | None, typer.Option(help="An input's shape that the file leaves open: images=1x3x224x224.")
    ] = None,
    make_table: Annotated[
        Path | None, typer.Option(help="Write what single operations take here, for `search --latency-table`.")
    ] = None,
    networks: Annotated[
        bool, typer.Option("--networks", help="Of the table: for a search of whole networks (`search --latency`).")
    ] = False,
    image: Annotated[str, typer.Option("--input", help="Of the table: channels x height x width.")] = "3x32x32",
    classes: Annotated[int, typer.Option(min=2, help="Of the table.")] = 10,
    stem: Annotated[int, typer.Option(min=1, help="Of the table: channels of the first convolution.")] = 32,
    widths: Annotated[str, typer.Option(help="Of the table: channels of a node, by stage.")] = "16,32,64",
    activation: Annotated[str, typer.Option(help="Of the table.")] = "relu",
    cell_nodes: Annotated[int, typer.Option(min=2, max=64, help="Of the table: nodes of the largest cell.")] = 8,
    ops: Annotated[str, typer.Option(help="Of the table: what nodes draw from.")] = ",".join(DEFAULTS["conv"]),
    as_json: JsonOption = False,
) -> None:
    """How long a run takes in ONNX Runtime on this machine's CPU, several targets in turns.

    Architectures are exported with random weights; a cell is measured in the paper's proxy network. With --make-table:
    what every operation takes that a search of such a network can meet, on the machine where the command runs.
    """
    if make_table is not None:
        if targets:
            raise InputError(f"--make-table measures operations, not {targets[0]}; leave one of the two out")
        refuse_unread(context, _OF_TARGETS, "targets, not with --make-table")
        check_output(make_table)
        if networks:
            refuse_unread(context, _OF_CELLS, "a table for cells, not for --networks")
            _make_table(make_table, table_operations(quantities.shape(image), classes), threads, as_json=as_json)
            return
        around = _around(image, classes, stem, widths, activation)
        wanted = every_operation(around, cell_nodes, [name.strip() for name in ops.split(",")])
        _make_table(make_table, wanted, threads, as_json=as_json)
        return
    refuse_unread(context, _OF_THE_TABLE, "--make-table")
    if not targets:
        raise InputError("nothing to measure: name ONNX files, architectures or zoo names, or --make-table FILE")
    names = [*targets] if against is None else [against, *(name for name in targets if name != against)]
    options: dict[str, Any] = {"threads": threads, "batch": batch, "shapes": _shapes(shape or [])}
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        paths = [_file(name, folder / f"{number}.onnx") for number, name in enumerate(names)]
        sessions = [Session(path, name=name, **options) for name, path in zip(names, paths, strict=True)]
        raced = race(sessions, rounds=rounds, seconds=ROUND_SECONDS)
        profiles = [profile(path, **options) for path in paths] if nodes else []
    if as_json:
        print_json(_to_json(names, raced, profiles))
        return
    _print_raced(names, raced)
    for name, found in zip(names, profiles, strict=False):
        _print_profile(name, found)


def _file(target: str, draft: Path) -> Path:
    """The ONNX file of a target, written to `draft` if need be."""
    if Path(target).suffix.lower() == ".onnx":
        if checksum_of(Path(target)) is False:
            note(
                f"{target} is not what was exported (checksum): another tool rewrote it, or it is damaged; it is "
                "measured as it is"
            )
        return Path(target)
    if Path(target).is_dir() or Path(target).suffix in _OTHER_MODELS:
        raise InputError(f"{target}: ONNX files are measured; `autoshrink export FOLDER -o model.onnx` makes one")
    found = load(target)
    if isinstance(found, Cell):
        found = task_of(found).default_network(found)
    from autoshrink.onnx.untrained import architecture_to_onnx  # noqa: PLC0415 - torch takes seconds to import

    architecture_to_onnx(found, draft)
    return draft


def _shapes(given: Sequence[str]) -> dict[str, list[int]]:
    found = {}
    for one in given:
        name, _, text = one.rpartition("=")
        found[name] = list(quantities.sizes(text))
        if not name:
            raise typer.BadParameter(f"{one!r} is not an input and its shape, such as images=1x3x224x224")
    return found


def _around(image: str, classes: int, stem: int, widths: str, activation: str) -> ConvArchitecture:
    """The proxy network of a search."""
    name = next((name for name in get_args(ActivationName) if name == activation), None)
    if name is None:
        raise typer.BadParameter(f"{activation!r} is not one of {', '.join(get_args(ActivationName))}")
    return proxy_architecture(
        Cell("conv", (INPUT,), ()),
        shape=quantities.shape(image),
        classes=classes,
        stem=stem,
        widths=quantities.numbers(widths),
        activation=name,
    )


def _make_table(path: Path, wanted: Sequence[RuntimeOperation], threads: int, *, as_json: bool) -> None:
    timer, facts = OperationTimer(threads), device_facts(threads)
    watched = track(wanted, description="operations", console=stderr, disable=not stderr.is_terminal)
    table = LatencyTable(facts, {one.key: timer(one) for one in watched})
    write_text(path, pretty(table.to_json()))
    if as_json:
        print_json({"table": str(path), "operations": len(wanted), "device": facts})
    else:
        stdout.print(f"{shown(path)}: {formatting.count(len(wanted), 'operation')} on {facts['cpu']}", markup=False)


def _to_json(names: Sequence[str], raced: Sequence[Latency], profiles: Sequence[Sequence[NodeTime]]) -> dict[str, Any]:
    results = []
    for number, (name, one) in enumerate(zip(names, raced, strict=True)):
        value: dict[str, Any] = {"target": name, **one.to_json()}
        del value["conditions"]
        value["ratio"] = dict(zip(("median", "low", "high"), one.ratio(raced[0]), strict=True))
        if profiles:
            value["types"] = [asdict(node) for node in by_type(profiles[number])]
            value["nodes"] = [asdict(node) for node in profiles[number]]
        results.append(value)
    return {"conditions": asdict(raced[0].conditions), "results": results}


def _print_raced(names: Sequence[str], raced: Sequence[Latency]) -> None:
    conditions = raced[0].conditions
    plural = "s, which do not spin" if conditions.threads > 1 else ""
    stdout.print(
        f"{conditions.cpu}, {conditions.runtime}, {conditions.threads} thread{plural}, batch {conditions.batch}",
        markup=False,
    )
    core = ("on core",) if conditions.threads == 1 else ()
    rows = []
    for name, one in zip(names, raced, strict=True):
        middle, least, most = one.ratio(raced[0])
        ratio = ("1", "") if one is raced[0] else (f"{middle:.3f}", f"{least:.3f} to {most:.3f}")
        on_core = (_time(one.core),) if one.core is not None else ()
        rows.append((shown(name), _time(one.median), _span(one.low, one.high), *on_core, *ratio))
    heads = ("", "median", "quartiles", *core, "ratio", "of rounds")
    if stdout.measure(_table(heads, rows)).maximum > stdout.width:
        # Names that leave no room for the figures stand above them, by number.
        stdout.print("\n".join(f"{number}: {row[0]}" for number, row in enumerate(rows, start=1)), markup=False)
        rows = [(str(number), *row[1:]) for number, row in enumerate(rows, start=1)]
    stdout.print(_table(heads, rows))
    if any(one.waited for one in raced):
        note("others use this machine too: runs waited for a core. Ratios go by the time on the core.")


def _print_profile(name: str, nodes: Sequence[NodeTime]) -> None:
    stdout.print(f"\n{shown(name)}, by type (the profiler adds a µs or two to each node)", markup=False)
    rows = [(one.op, str(one.count), *_figures(one), _EXPLAINED.get(one.op, "")) for one in by_type(nodes)]
    stdout.print(_table(("type", "nodes", "time", "share", ""), rows))
    stdout.print()
    stdout.print(_table(("node", "type", "time", "share"), [(one.name, one.op, *_figures(one)) for one in nodes]))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Names and explanations give way where the terminal is narrow; figures stay whole."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, head in enumerate(heads):
        words_only = place == 0 or not head
        table.add_column(head, no_wrap=not words_only, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _time(seconds: float) -> str:
    return formatting.plain(formatting.latency(1e9 * seconds))


def _span(low: float, high: float) -> str:
    """From one time to another, with the unit once where it is the same."""
    (first, unit), second = _time(low).split(), _time(high)
    return f"{first if second.endswith(f' {unit}') else _time(low)} to {second}"


def _figures(node: NodeTime) -> tuple[str, str]:
    return _time(node.seconds), formatting.plain(formatting.percent(node.share))
