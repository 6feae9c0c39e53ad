"""``craft``: from a cell to an architecture that keeps its budgets, shown before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import typer
from rich.table import Table

from autoshrink import formatting
from autoshrink.architecture import (
    ActivationName,
    Architecture,
    ConvArchitecture,
    LanguageModel,
    MobileArchitecture,
    Stage,
    Stem,
    checked,
)
from autoshrink.cli import quantities
from autoshrink.cli.command import refuse_unread
from autoshrink.cli.console import JsonOption, print_json, stderr, stdout
from autoshrink.crafting import Crafted, Scalable, Sizes, craft
from autoshrink.errors import InputError
from autoshrink.escaping import shown, word
from autoshrink.files import check_output, write_text
from autoshrink.results import pretty
from autoshrink.untrusted import brief

BAR = 14
"""Characters of a bar that stands for all MACs."""

Value = TypeVar("Value")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("craft")(craft_command)


def craft_command(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="CELL",
            help="A run folder, a cell or architecture file, or a name in the zoo.",
            show_default=False,
        ),
    ] = None,
    *,
    cell: Annotated[str | None, typer.Option(help="The same, as an option.")] = None,
    pick: Annotated[int | None, typer.Option(help="Of a run: the N-th cell of the front that `show` lists.")] = None,
    macs: Annotated[
        int | None, typer.Option(parser=quantities.count, help="At most these multiply-adds, e.g. 384M.")
    ] = None,
    params: Annotated[
        int | None, typer.Option(parser=quantities.count, help="At most these parameters, e.g. 3.6M.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(parser=quantities.memory, help="At most this peak activation memory, e.g. 256KiB.")
    ] = None,
    latency: Annotated[
        int | None, typer.Option(parser=quantities.nanoseconds, help="At most this latency, measured here, e.g. 5ms.")
    ] = None,
    threads: Annotated[
        int, typer.Option(parser=quantities.threads, help="CPU threads that the latency is measured with.")
    ] = 1,
    shape: Annotated[
        Any, typer.Option("--input", parser=quantities.shape, help="Channels, height, width, e.g. 3x224x224.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Classes to tell apart.")] = None,
    stages: Annotated[str | None, typer.Option(help="Cells x width of every stage, e.g. 1x12,3x24,4x44.")] = None,
    pool: Annotated[str | None, typer.Option(help="With --stages: pooling before each. Default: 1,2,2,…")] = None,
    stem: Annotated[
        str | None, typer.Option(help="First convolution: channels, or channels/stride, e.g. 44/2.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="Channels of the last 1×1 convolution, or none.")] = None,
    activation: Annotated[str | None, typer.Option(help="relu, swish, hardswish, relu6, gelu, leaky_relu.")] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Words of a language model.")] = None,
    depth: Annotated[
        str | None, typer.Option(help="auto: scale the number of cells too; fixed. Default: fixed with --stages.")
    ] = None,
    divisor: Annotated[int, typer.Option(help="Scaled widths are multiples of it; 1 comes closest.")] = 4,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The architecture file to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Stack a cell into a network and scale it to a budget: never above it, and close below.

    Several budgets are all kept; without one the network is as it is. Nothing is trained.
    """
    if output is not None:
        check_output(output)
    if latency is None:
        refuse_unread(context, ["threads"], "--latency")
        if macs is params is memory is None:
            refuse_unread(context, ["depth", "divisor"], "a budget: --macs, --params, --memory or --latency")
    found = craft(
        _target(target, cell),
        pick=pick,
        macs=macs,
        params=params,
        memory=memory,
        latency=latency and latency / 1e9,
        measure=_measure(threads) if latency else None,
        shape=shape,
        classes=classes,
        stages=_stages(stages, pool),
        stem=_read(_stem, stem),
        head=_read(_head, head),
        # A wrong name is refused where the architecture is made, with those that there are.
        activation=cast("ActivationName | None", activation),
        vocabulary=vocabulary,
        depth=_read(_depth, depth),
        divisor=divisor,
    )
    if isinstance(found.architecture, LanguageModel):
        refuse_unread(context, ["depth", "divisor"], "networks for images, and this is a language model")
    if output is not None:
        write_text(output, pretty(found.architecture.to_json()))
    if as_json:
        print_json(found.to_json(file=output))
        return
    _print_parts(found)
    _print_totals(found)
    _print_next(found, output)


# --- what people type ----------------------------------------------------------------------------------------------


def _target(target: str | None, cell: str | None) -> str:
    if (target is None) == (cell is None):
        how = "give one" if target is None else f"{target} and {cell}: give one of them"
        raise InputError(f"craft needs a run folder, a cell or architecture file, or a name in the zoo; {how}")
    return target or cell or ""


def _read(parse: Callable[[str], Value], text: str | None) -> Value | None:
    return None if text is None else parse(text)


def _stages(text: str | None, pool: str | None) -> tuple[Stage, ...] | None:
    if text is None:
        if pool is not None:
            raise InputError(f"--pool {pool}: it goes with --stages, which says how many there are")
        return None
    parts = [re.fullmatch(r"(\d{1,9})[x×](\d{1,9})", part.strip().lower(), re.ASCII) for part in text.split(",")]
    pools = quantities.numbers(pool) if pool else [1, *[2] * (len(parts) - 1)]
    if len(pools) != len(parts):
        raise InputError(
            f"--pool {brief(pool or '')}: {formatting.count(len(pools), 'number')} for the "
            f"{formatting.count(len(parts), 'stage')} of --stages {brief(text)}"
        )
    stages = []
    for part, before in zip(parts, pools, strict=True):
        if part is None or min(int(part[1]), int(part[2]), before) < 1:
            raise InputError(
                f"--stages {brief(text)}{f' --pool {brief(pool)}' if pool else ''}: write cells x width, all "
                "above zero, such as 1x12,3x24,4x44"
            )
        stages.append(checked(Stage, "--stages", cells=int(part[1]), width=int(part[2]), pool=before))
    return tuple(stages)


def _stem(text: str) -> Stem:
    match = re.fullmatch(r"([1-9]\d{0,8})(?:/([1-9]\d{0,8}))?", text.strip(), re.ASCII)
    if match is None:
        raise typer.BadParameter(f"{brief(text)} is not a stem such as 32 or 44/2, channels and stride")
    return checked(Stem, "--stem", channels=int(match[1]), stride=int(match[2] or 1))


def _head(text: str) -> int | Literal["none"]:
    if text == "none":
        return "none"
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise typer.BadParameter(f"{brief(text)} is neither a number of channels nor none")
    return int(text)


def _depth(text: str) -> Literal["auto", "fixed"]:
    if text == "auto":
        return "auto"
    if text == "fixed":
        return "fixed"
    raise typer.BadParameter(f"{text!r} is neither auto nor fixed")


def _measure(threads: int) -> Callable[[Scalable], float]:
    """Latency in ONNX Runtime here, with a line on standard error for every measurement."""
    from autoshrink.latency.measuring import architecture_latency  # noqa: PLC0415 - torch takes seconds to import

    def measure(architecture: Scalable) -> float:
        seconds = architecture_latency(architecture, threads=threads)
        stderr.print(f"measured {_sizes(architecture)}: {1000 * seconds:.3g} ms", markup=False)
        return seconds

    return measure


# --- what they see -------------------------------------------------------------------------------------------------


def _print_parts(found: Crafted) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = "blocks" if isinstance(found.architecture, MobileArchitecture) else "cells"
    for column in ("", cells, "width", "size", "out", "params", "MACs", "share", ""):
        table.add_column(column, justify="right" if column else "left")
    for part in found.parts:
        numbers = (part.cells, part.width, part.size and "×".join(map(str, part.size)), part.channels)
        table.add_row(
            part.name,
            *("" if number is None else str(number) for number in numbers),
            f"{part.params:,}",
            f"{part.macs:,}",
            formatting.plain(formatting.percent(part.share)),
            bar(part.share),
        )
    stdout.print(found.architecture.sizes, markup=False)
    stdout.print(table)


def bar(share: float, length: int = BAR) -> str:
    """A share in [0, 1] as a bar of text, in eighths of a character; `length` characters are all."""
    whole, rest = divmod(round(8 * length * share), 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def _print_totals(found: Crafted) -> None:
    cost = found.cost
    stdout.print(
        f"\nparameters {cost.params:,} ({cost.params_with_bn:,} with BN)   MACs {cost.macs:,}   "
        f"peak activations {cost.peak_activation_bytes:,} bytes",
        markup=False,
    )
    before, after = _sizes(found.skeleton), _sizes(found.architecture)
    if before != after:
        stdout.print(f"scaled from {before}\n       to   {after}", markup=False)
    for use in found.uses:
        stdout.print(f"budget: {use}, {formatting.plain(formatting.percent(use.share, 2))}", markup=False)
    if found.remark:
        stdout.print(found.remark, markup=False)


def _sizes(architecture: Architecture) -> str:
    """What crafting turns, as the options have it: ``--stem 44/2 --stages 1x12,3x24``."""
    if isinstance(architecture, LanguageModel):
        return f"--width {architecture.width}"
    assert isinstance(architecture, ConvArchitecture | MobileArchitecture), "nothing else is crafted"
    stem, head, sizes = architecture.stem, architecture.head, Sizes.of(architecture)
    stride = f"/{stem.stride}" if stem.stride > 1 else ""
    stages = ",".join(f"{cells}x{width}" for cells, width in zip(sizes.cells, sizes.widths, strict=True))
    option = "--stages" if isinstance(architecture, ConvArchitecture) else "blocks"
    parts = [f"--stem {stem.channels}{stride}", f"{option} {stages}"]
    return " ".join(parts + ([f"--head {head.channels}"] if head else []))


def _print_next(found: Crafted, output: Path | None) -> None:
    if output is None:
        stdout.print("\nnothing is written yet: -o FILE.arch.json writes it", markup=False)
        return
    name = output.name.removesuffix(".json").removesuffix(".arch")
    data = word(found.data) if found.data else "path/to/data"
    reading = "".join(f" {option} {word(value)}" for option, value in found.reading)
    file, model = word(output), word(f"models/{name}")
    stdout.print(
        f"\narchitecture: {shown(output)}\n\n"
        f"next:\n  autoshrink train {file} --data {data}{reading} -o {model}   trains it in full",
        markup=False,
    )
