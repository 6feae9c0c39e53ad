"""A run's result on the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from autoshrink import findings, formatting
from autoshrink.cli.command import plugins_again
from autoshrink.cli.console import stdout, table
from autoshrink.design import edges_of, name_of
from autoshrink.drawing import cells_text
from autoshrink.escaping import shown, word
from autoshrink.learned import tables
from autoshrink.metrics import metric_of, shown_resources
from autoshrink.record import Figures, RunRecord
from autoshrink.registry import TASKS
from autoshrink.report.agreement import agreement_words, of_estimates
from autoshrink.resources import RESOURCES, Resource


def print_result(record: RunRecord, folder: Path, *, front: bool = False, ends: bool = True) -> None:
    """What was found, the best cell beside the starting one, what the search cost, and what to do next.

    With `front`, the Pareto front too; without `ends` nothing of what to do next. Over a range, a row of each budget.
    """
    best = record.best()
    stdout.print(formatting.plain(findings.headline(record)), style="bold", markup=False)
    if record.octaves:
        _print_octaves(record)
    elif best is None:
        _print_nothing(record)
    else:
        _print_best(record, best)
    if front and not record.octaves:
        _print_starts(record)
        print_front(record)
        _print_learned(record)
        _print_agreement(record)
        _print_commands(record)
    for sentence in findings.forced(record):
        stdout.print(formatting.plain(sentence), markup=False)
    if best is None:
        return
    spent, metric = record.spent(), metric_of(record.settings)
    parts = findings.phases_words(record)
    stdout.print(
        f"{_tried(record)} in {formatting.duration(record.active_seconds)}: "
        f"{formatting.count(spent.samples, metric.sample)}, {formatting.quantity(spent.training_macs)} training MACs"
        f"{f' ({parts})' if parts else ''}; {record.stopped or 'not finished yet'}",
        markup=False,
    )
    if ends:
        _print_next(record, folder, again=not front)


def _print_agreement(record: RunRecord) -> None:
    """How the estimates ordered what was trained from scratch."""
    for one in of_estimates(record):
        stdout.print(f"{one.predictor} against {one.where}: {agreement_words(one)}", markup=False)


def _print_commands(record: RunRecord) -> None:
    """What the search was told."""
    columns = findings.commanded(record)
    if not record.commands:
        return
    shown = table(columns, words=("by", "command", "refused"))
    for row in zip(*columns.values(), strict=True):
        shown.add_row(*map(formatting.plain, row))
    stdout.print(shown)


def _print_octaves(record: RunRecord) -> None:
    """At every budget of a range the best, the best hand-made network, and the difference between them."""
    metric, octaves = metric_of(record.settings), findings.octave_rows(record)
    shown = table(("budget", metric.name, "hand-made", "difference", ""), words=("budget", ""))
    for (octave, best, start), verdict in zip(octaves, findings.octave_verdicts(octaves), strict=True):
        hand_made = "" if start is None else metric.measured(start.performance, start.performance_sd, fine=True)
        found = metric.measured(best.performance, best.performance_sd, fine=True)
        shown.add_row(*map(formatting.plain, (findings.budget_name(octave), found, hand_made, *verdict)))
    stdout.print(shown)
    for octave, best, _ in octaves:
        costs = ", ".join(
            f"{one.unit.exact(best.recorded.resources[one.name])} {one.short or one.title}" for one in _costs(record)
        )
        name = octave.names.get(best.design.key)
        stdout.print(
            f"{findings.budget_name(octave)}: {best.design}{f' ({name})' if name else ''}; {costs}", markup=False
        )


def _print_best(record: RunRecord, best: Figures) -> None:
    """The best cell beside the starting one, and how they compare."""
    start = record.complete()
    name, drawn = findings.start_word(record), TASKS[record.settings.task].drawn(best.design)
    shown = table(("", *_head(record, findings.metric_for(record, best).name)))
    if start is not None and not record.is_start(best.design):
        shown.add_row(name, *_row(record, start))
    shown.add_row(findings.best_word(record, best), *_row(record, best), style="bold green")
    stdout.print(cells_text(*drawn) if drawn.cells else str(best.design), markup=False)
    stdout.print(shown)
    stdout.print(_verdict(record, best, start), markup=False)
    _print_beside(record, best)


def _print_beside(record: RunRecord, best: Figures) -> None:
    """What was measured at equal cost, or why nothing was."""
    rows, metric = findings.beside(record), metric_of(record.settings)
    if not rows:
        alone = findings.why_alone(record)
        if alone:
            stdout.print(f"{alone[0].upper()}{alone[1:]}.", markup=False)
        return
    weighs = record.settings.score.weighs
    shown = table(("at equal cost", metric.name, weighs.short or weighs.title, "S", "S − found's"))
    for row in rows:
        figures = row.figures
        shown.add_row(
            row.what,
            formatting.plain(metric.measured(figures.performance, row.error, fine=True)),
            weighs.unit.exact(figures.recorded.resources[weighs.name]),
            formatting.number(figures.score, 4),
            "" if row.against is None else formatting.signed(row.against.score, 4),
            style="bold green" if figures.design.key == best.design.key else "",
        )
    stdout.print(shown)
    stdout.print(f"Means of {formatting.count(len(best.repeats), 'fresh seed')} ± standard error.", markup=False)


def _print_nothing(record: RunRecord) -> None:
    """Why there is no best cell to show."""
    if not record.usable():
        stdout.print("nothing usable was measured yet", markup=False)
    elif not record.at_chance:
        stdout.print(
            f"no best {findings.noun(record)} yet: {findings.count_words(record)}, "
            "and estimates compare the candidates of one step only",
            markup=False,
        )


def _tried(record: RunRecord) -> str:
    if record.settings.estimates:
        return findings.count_words(record)
    trained = sum(one.same_as is None for part in record.parts for one in part.candidates)
    return f"{formatting.count(trained, 'candidate')} trained"


def _print_next(record: RunRecord, folder: Path, *, again: bool) -> None:
    """Where the evidence lies, and the commands that a person is likely to want now; with `again`, ``show`` too."""
    quoted = word(folder)
    if not record.finished:
        stdout.print(f"\nnext:\n  autoshrink resume {quoted}{plugins_again()}   goes on with it", markup=False)
        return
    task = TASKS[record.settings.task]
    stdout.print(f"\nreport:  {shown(folder / 'report.html')}\n{_best_line(record, folder)}", markup=False)
    commands = [
        *([(f"autoshrink show {quoted}", "this again, with the Pareto front")] if again else []),
        *task.next_commands(record, folder),
        (f"autoshrink report {quoted} -o summary.svg", "a picture of the run"),
    ]
    if record.settings.data.spec == task.built_in:
        commands.append((f"autoshrink search {task.on_own_data}", f"the same on your own {task.data}"))
    commands = [(f"{command}{plugins_again()}", why) for command, why in commands]
    width = max(len(command) for command, _ in commands)
    stdout.print("\nnext:", markup=False)
    for command, why in commands:
        stdout.print(f"  {command:<{width}}   {why}", markup=False)


def _best_line(record: RunRecord, folder: Path) -> str:
    best = record.best()
    assert best is not None, "asked where there is one"
    if record.octaves:
        files = ", ".join(findings.budget_file(octave) for octave, *_ in findings.octave_rows(record))
        return f"files:   {files}, and {shown(folder / findings.best_file(best.design))} of the largest"
    noun = "network" if name_of(best.design) == "architecture" else findings.noun(record)
    return f"{f'{noun}:':<8} {shown(folder / findings.best_file(best.design))}"


def print_front(record: RunRecord) -> None:
    """The Pareto front, cheapest first, numbered as `craft --pick` counts; where there are estimates only, none."""
    front = record.front()
    if not front:
        return
    table = Table(
        title=f"Pareto front, numbered as craft --pick counts ({findings.measured_words(record, front[0])})",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for column in ("", *_head(record, metric_of(record.settings).name)):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(findings.noun(record), overflow="fold")
    for place, figures in enumerate(front, start=1):
        table.add_row(str(place), *_row(record, figures), str(figures.design))
    stdout.print(table)


def _print_starts(record: RunRecord) -> None:
    """The hand-made networks that a search at a budget began with, best first by all that the search measured."""
    if not record.names:
        return
    scores, weighs, metric = record.start_scores(), record.settings.score.weighs, metric_of(record.settings)
    shown = table(("began with", f"{metric.name}, one seed", weighs.short or weighs.title, "S"))
    for one in sorted(record.starts(), key=lambda start: -scores[start.design.key]):
        shown.add_row(
            record.names[one.design.key],
            metric.write(one.performance or 0.0, fine=True),
            weighs.unit.exact(one.resources[weighs.name]),
            formatting.number(scores[one.design.key], 4),
        )
    stdout.print(shown)


def _print_learned(record: RunRecord) -> None:
    """What the strategy has learned, if it tells that."""
    for one in tables(record):
        shown = table(tuple(one.columns), words=tuple(one.columns)[:1])
        for row in zip(*one.columns.values(), strict=True):
            shown.add_row(*map(formatting.plain, row))
        stdout.print(f"\n{one.title}", style="bold", markup=False)
        stdout.print(shown)


def _costs(record: RunRecord) -> tuple[Resource, ...]:
    """Three columns of costs, which is what 80 characters have room for, and the one that the score weighs."""
    settings = record.settings
    names = dict.fromkeys((*shown_resources(settings)[:3], settings.resource))
    return tuple(RESOURCES[name] for name in names)


def _head(record: RunRecord, metric: str) -> tuple[str, ...]:
    size = () if edges_of(record.start) is None else ("edges",)
    return (*size, metric, *(one.short or one.title for one in _costs(record)), "S")


def _row(record: RunRecord, figures: Figures) -> tuple[str, ...]:
    metric = findings.metric_for(record, figures)
    measured = metric.measured(figures.performance, figures.performance_sd, fine=True)
    edges = edges_of(getattr(figures.design, "cell", None) or figures.design)
    return (
        *(() if edges_of(record.start) is None else ("" if edges is None else str(edges),)),
        formatting.plain(measured),
        *(one.unit.exact(figures.recorded.resources[one.name]) for one in _costs(record)),
        formatting.number(figures.score, 4),
    )


def _verdict(record: RunRecord, best: Figures, start: Figures | None) -> str:
    if not best.from_scratch:
        return f"Chosen by estimates alone: no {findings.noun(record)} was trained from scratch."
    if record.is_start(best.design):
        alone = "Nothing but starts was trained" if len(record.names) > 1 else "Nothing else was trained"
        nothing = _less(record) if findings.other_cells(record) else alone
        return f"{nothing} ({_seeds(record, best)})."
    if start is None:
        found = record.starting()
        missing = "could not be trained" if found is None or found.failed else "was not measured alike"
        start_of = f"The starting {findings.noun(record)}"
        return f"{start_of} {missing}, so there is nothing to compare with ({_seeds(record, best)})."
    settings, metric = record.settings, metric_of(record.settings)
    new, old = (settings.score.cost(one.recorded.resources) for one in (best, start))
    difference = findings.gain(best, start)
    gained = metric.difference(best.performance, start.performance, difference.error, fine=True)
    change = f"{formatting.change(new, old)} {settings.score.weighs.title}, {metric.name} {gained} against it"
    return formatting.plain(f"{change} ({_seeds(record, best)}). {difference.score_words()}.")


def _less(record: RunRecord) -> str:
    """What had no higher S than the start."""
    return f"Nothing that {'the search made of it' if record.names else 'costs less'} had a higher S"


def _seeds(record: RunRecord, best: Figures) -> str:
    """How the best cell's figures were measured."""
    if best.repeats:
        length = f", {best.repeats[0].fidelity}" if record.settings.estimates else ""
        return f"mean of {formatting.count(len(best.repeats), 'fresh seed')}{length}"
    return f"one seed, {best.recorded.fidelity if record.settings.estimates else 'as recorded in the search'}"
