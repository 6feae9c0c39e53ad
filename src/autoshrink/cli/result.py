"""A run's result on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from autoshrink import words
from autoshrink.cli.console import stdout
from autoshrink.drawing import cell_text
from autoshrink.escaping import shown, word
from autoshrink.metrics import METRICS, shown_resources
from autoshrink.record import Figures, RunRecord
from autoshrink.report import evidence
from autoshrink.score import ResourceName


def print_result(record: RunRecord, folder: Path) -> None:
    """The best cell beside the starting one, what the search cost, and what to do next."""
    best, start = evidence.best(record), evidence.complete(record)
    if best is None:
        stdout.print(_nothing(record), markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", *_head(record, evidence.metric_for(record, best).name)):
        table.add_column(column, justify="left" if column == "" else "right")
    if start is not None:
        name = "complete graph" if record.settings.start == "complete" else "starting cell"
        table.add_row(name, *_row(record, start))
    table.add_row("best cell", *_row(record, best), style="bold green")
    stdout.print(cell_text(best.cell), markup=False)
    stdout.print(table)
    stdout.print(_verdict(record, best, start), markup=False)
    spent, metric = record.spent(), METRICS[record.settings.task]
    parts = evidence.phases_words(record)
    stdout.print(
        f"{_tried(record)} in {words.duration(record.active_seconds)}: "
        f"{words.count(spent.samples, metric.sample)}, {words.quantity(spent.training_macs)} training MACs"
        f"{f' ({parts})' if parts else ''}; {record.stopped or 'not finished yet'}",
        markup=False,
    )
    _print_next(record, folder)


def _nothing(record: RunRecord) -> str:
    """Why there is no best cell to show."""
    if record.best() is None:
        return "nothing usable was measured yet"
    return f"no best cell yet: {evidence.count_words(record)}, and estimates compare the candidates of one step only"


def _tried(record: RunRecord) -> str:
    if record.settings.relative:
        return evidence.count_words(record)
    return f"{sum(one.same_as is None for one in record.candidates)} candidates trained"


def _print_next(record: RunRecord, folder: Path) -> None:
    """Where the evidence lies, and the commands that a person is likely to want now."""
    quoted = word(folder)
    if not record.finished:
        stdout.print(f"\nnext:\n  autoshrink resume {quoted}   goes on with it", markup=False)
        return
    stdout.print(
        f"\nreport:  {shown(folder / 'report.html')}\ncell:    {shown(folder / 'best.cell.json')}", markup=False
    )
    commands = [
        (f"autoshrink show {quoted}", "this again, with the Pareto front"),
        *_NEXT[record.settings.task](record, folder),
        (f"autoshrink report {quoted} -o summary.svg", "a picture of the run"),
    ]
    own = _OWN_DATA.get(record.settings.data.spec)
    if own is not None:
        commands.append(own)
    width = max(len(command) for command, _ in commands)
    stdout.print("\nnext:", markup=False)
    for command, why in commands:
        stdout.print(f"  {command:<{width}}   {why}", markup=False)


_Command = tuple[str, str]
"""A command, and what it is good for."""

_OWN_DATA: dict[str, _Command] = {
    "digits": ("autoshrink search --data path/to/images --size 32", "the same on your own images"),
    "pydocs": ("autoshrink search --task text --data path/to/text.txt", "the same on your own text"),
}
"""By the name of built-in data."""


def _cell_file(folder: Path) -> str:
    return word(folder / "best.cell.json")


def _next_for_images(record: RunRecord, folder: Path) -> list[_Command]:
    run, architecture = word(folder), word(folder / "best.arch.json")
    spec, trained = word(record.settings.data.spec), word(folder / "trained")
    complete = evidence.complete(record)
    size = "1M" if complete is None else words.quantity(complete.recorded.resources.macs)
    return [
        (f"autoshrink craft {run} --macs {size} -o {architecture}", "a network of it, of a size that you choose"),
        (f"autoshrink train {architecture} --data {spec} -o {trained}", "train that in full"),
    ]


def _next_for_text(record: RunRecord, folder: Path) -> list[_Command]:
    cell, width = _cell_file(folder), record.settings.to_json()["network"]["width"]
    sizes = f"--vocabulary {record.data['vocabulary']} --width {width}" if "vocabulary" in record.data else ""
    spec, trained = word(record.settings.data.spec), word(folder / "trained")
    level = " --level char" if record.data.get("level") == "char" else ""
    return [
        (f"autoshrink cost {cell} {sizes}".rstrip(), "what it costs, part by part"),
        (f"autoshrink train {cell} --data {spec}{level} -o {trained}", "train it in full"),
    ]


_NEXT: dict[str, Callable[[RunRecord, Path], list[_Command]]] = {"image": _next_for_images, "text": _next_for_text}
"""By task: what to do with the best cell's file."""


def print_front(record: RunRecord) -> None:
    """The Pareto front within the limits, cheapest first; where there are estimates only there is none."""
    front, relative = evidence.front(record), record.settings.relative
    if relative and not front:
        return
    name = "Pareto front of the playoff" if relative else "Pareto front"
    table = Table(title=name, title_justify="left", box=None, pad_edge=False, header_style="bold")
    how = ("measured",) if relative else ()
    for column in (*_head(record, METRICS[record.settings.task].name), *how, "cell"):
        table.add_column(column, justify="left" if column in ("cell", "measured") else "right")
    for evaluation in front:
        figures = record.figures(evaluation)
        measured = (_measured(figures),) if relative else ()
        table.add_row(*_row(record, figures), *measured, str(figures.cell))
    stdout.print(table)


def _measured(figures: Figures) -> str:
    """Where a row's figures come from."""
    return words.count(len(figures.repeats), "fresh seed") if figures.repeats else "playoff, short"


_SHORT: dict[ResourceName, str] = words.RESOURCE | {"params": "params", "cell_params": "cell params"}


def _costs(record: RunRecord) -> tuple[ResourceName, ...]:
    """Three columns of costs, which is what 80 characters have room for, and the one that the score weighs."""
    settings = record.settings
    return tuple(dict.fromkeys((*shown_resources(settings)[:3], settings.resource)))


def _head(record: RunRecord, metric: str) -> tuple[str, ...]:
    costs = (_SHORT[name] for name in _costs(record))
    return ("edges", metric, *costs, "S")


def _row(record: RunRecord, figures: Figures) -> tuple[str, ...]:
    metric = evidence.metric_for(record, figures)
    measured = metric.measured(figures.performance, figures.performance_sd, fine=True)
    costs = ((name, getattr(figures.recorded.resources, name)) for name in _costs(record))
    return (
        str(len(figures.cell.edges)),
        words.plain(measured),
        *(words.exact(value, name) for name, value in costs),
        words.number(figures.score, 4),
    )


def _verdict(record: RunRecord, best: Figures, start: Figures | None) -> str:
    if not evidence.measured(record, best):
        return "Chosen by estimates alone: no cell was trained from scratch."
    if start is None:
        missing = "could not be trained" if record.complete() is None else "was not trained as long from scratch"
        return f"The starting cell {missing}, so there is nothing to compare with ({_seeds(record, best)})."
    settings, metric = record.settings, METRICS[record.settings.task]
    new, old = (settings.score.cost(one.recorded.resources) for one in (best, start))
    gained = metric.difference(best.performance, start.performance, fine=True)
    change = f"{words.change(new, old)} {words.RESOURCE[settings.resource]}, {metric.name} {gained} against it"
    return words.plain(f"{change} ({_seeds(record, best)}).")


def _seeds(record: RunRecord, best: Figures) -> str:
    """How the best cell's figures were measured."""
    if best.repeats:
        length = f", {best.repeats[0].fidelity}" if record.settings.relative else ""
        return f"mean of {words.count(len(best.repeats), 'fresh seed')}{length}"
    return f"one seed, {best.recorded.fidelity if record.settings.relative else 'as recorded in the search'}"
