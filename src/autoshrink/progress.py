"""What a person sees while a search runs: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoshrink import formatting
from autoshrink.config import SearchSettings
from autoshrink.design import Design, edges_of
from autoshrink.escaping import message
from autoshrink.metrics import judge_of, metric_of, step_metric
from autoshrink.record import Candidate
from autoshrink.registry import EVALUATORS
from autoshrink.resources import RESOURCES
from autoshrink.score import Comparison
from autoshrink.tasks import task_of
from autoshrink.watching import Observer, Progress, Watcher

PLAIN_SECONDS = 30.0
"""Without a terminal, a line about a step under way at most so often."""
ESTIMATE_SECONDS = 120.0
"""An estimate of the time left at least so often, whatever else is said."""
LONG_SECONDS = 2 * 3600.0
"""A search expected to take longer than this is remarked upon."""


def step_line(
    candidate: Candidate,
    score: float,
    comparison: Comparison | None,
    settings: SearchSettings | None = None,
    *,
    kept: bool = False,
) -> str:
    """One line about a finished step.

    The settings say what its figures are, accuracy or perplexity without them. `kept` is what was gone on with before.
    """
    evaluation = candidate.evaluation
    metric = metric_of(candidate.design) if settings is None else step_metric(settings)
    unchanged = "start" if candidate.step == 0 else "kept" if kept or candidate.same_as else "new"
    what = candidate.change.label if candidate.change else unchanged
    if evaluation.performance is None:
        figures = f"failed: {evaluation.reason}"
    else:
        resource = RESOURCES[metric.resources[0]] if settings is None else settings.score.weighs
        cost = resource.unit.short(evaluation.resources[resource.name])
        shown = metric.write(evaluation.performance, fine=True)
        figures = f"S {formatting.number(score, 4)}   {metric.name} {shown}   {cost} {resource.title}"
    evidence = ""
    if evaluation.performance is not None and comparison is not None and comparison.standard_error is not None:
        judged, metric = evaluation.judged or 0.0, metric if settings is None else judge_of(settings, evaluation)
        gap = metric.difference(judged, judged - comparison.difference, comparison.standard_error, fine=True)
        evidence = f"   {gap} to the next"
    edges = edges_of(candidate.design)
    left = "" if edges is None else f"{edges:>3} {'edge ' if edges == 1 else 'edges'}"
    return formatting.plain(f"step {candidate.step:>3}  {what:<8}{left}   {figures}{evidence}")


class _Narrator(Watcher):
    """Says, once, when a search is going to be long, and what would make it shorter."""

    def __init__(self, remark: Callable[[str], None], settings: SearchSettings | None = None) -> None:
        self._remark = remark
        self._warned = False
        self._settings = settings
        self._chosen: set[Design] = set()
        self._relative = settings is not None and settings.estimates

    def _line(self, candidate: Candidate, score: float, comparison: Comparison | None) -> str:
        kept = candidate.design in self._chosen
        self._chosen.add(candidate.design)
        return step_line(candidate, score, comparison, self._settings, kept=kept)

    def _time_left(self, phase: str, seconds: float | None) -> str:
        """Where nothing is trained in the steps, they say nothing of the time after them."""
        steps_only = self._settings is not None and not EVALUATORS[self._settings.evaluator].trains
        if steps_only and phase != "search":
            return _left(None)
        return _left(seconds) + (" of the steps" if steps_only and seconds is not None else "")

    def progress(self, progress: Progress) -> None:
        left, design = progress.seconds_left, progress.latest.design if progress.latest else progress.best
        if not self._warned and design is not None and left is not None and left > LONG_SECONDS:
            self._warned = True
            self._remark(
                f"this search will take about {formatting.duration(left)}; for a first look: --time-limit 1h, or "
                f"{task_of(design.kind).shorter}"
            )


class _Plain(_Narrator):
    """Lines for logs and pipes."""

    def __init__(
        self, say: Callable[[str], None], remark: Callable[[str], None], settings: SearchSettings | None = None
    ) -> None:
        super().__init__(remark, settings)
        self._say = say
        self._last = time.monotonic()
        self._estimated = -math.inf
        self._phase = ""

    def progress(self, progress: Progress) -> None:
        """The first estimate as soon as there is one; then a line at most so often, steps' lines or not."""
        super().progress(progress)
        now = time.monotonic()
        if progress.phase != self._phase and progress.phase in ("pausing", "paused"):
            self._say(formatting.plain(_under_way(progress)))
        self._phase = progress.phase
        known = progress.seconds_left is not None and progress.latest is not None
        if now - self._estimated < ESTIMATE_SECONDS and now - self._last < PLAIN_SECONDS:
            return
        if not known and now - self._last < PLAIN_SECONDS:
            return
        self._last = now
        self._estimated = now if known else self._estimated
        self._say(formatting.plain(f"{_under_way(progress)}; {self._time_left(progress.phase, progress.seconds_left)}"))

    def began(self, what: str) -> None:
        self._say(formatting.plain(what))

    def decided(self, candidate: Candidate, score: float, comparison: Comparison | None) -> None:
        self._last = time.monotonic()
        self._say(self._line(candidate, score, comparison))


def _left(seconds: float | None) -> str:
    return "time left not known yet" if seconds is None else f"about {formatting.duration(seconds)} left"


def _under_way(progress: Progress) -> str:
    counted = f"{progress.done} of {formatting.count(progress.expected, 'candidate')}"
    if progress.phase == "paused":
        return f"paused before step {progress.step}; `autoshrink tell RUN resume` goes on"
    if progress.phase == "pausing":
        left = progress.expected - progress.done
        return f"pausing: {formatting.count(left, 'candidate')} still being measured"
    if progress.phase == "search":
        return f"step {progress.step}{_edges(progress)}: {counted}"
    if progress.phase == "playoff":
        counted = f"{progress.done} of {formatting.count(progress.expected, 'cell')}"
        return f"playoff, round {progress.step + 1}, short trainings from scratch: {counted}"
    if progress.phase == "beside":
        counted = f"{progress.done} of {formatting.count(progress.expected, 'network')}"
        return f"measuring what stands beside at equal cost: {counted}"
    return f"measuring the finalists again, fresh seed {progress.step + 1}: {counted}"


def _edges(progress: Progress) -> str:
    """``, 12 of 15 edges``; nothing where there are none to count."""
    if progress.edges is None or progress.total_edges is None:
        return ""
    return f", {progress.edges} of {formatting.count(progress.total_edges, 'edge')}"


class _Live(_Narrator):
    """A bar of edges gone, the step under way, the best so far and the time left, redrawn in place."""

    def __init__(
        self,
        console: Console,
        live: Live,
        remark: Callable[[str], None],
        settings: SearchSettings | None = None,
    ) -> None:
        super().__init__(remark, settings)
        self._console = console
        self._live = live
        self._progress: Progress | None = None
        self._told_at = time.monotonic()
        self._epoch = ""

    def progress(self, progress: Progress) -> None:
        super().progress(progress)
        self._progress, self._told_at, self._epoch = progress, time.monotonic(), ""
        self._live.update(self)

    def began(self, what: str) -> None:
        self._console.print(Text(formatting.plain(what), style="bold"))

    def epoch(self, design: Design, epoch: int, performance: float) -> None:
        metric = metric_of(design)
        self._epoch = f"epoch {epoch}, {metric.name} {metric.write(performance)}"

    def decided(self, candidate: Candidate, score: float, comparison: Comparison | None) -> None:
        self._console.print(Text(self._line(candidate, score, comparison), style="dim" if candidate.step else ""))

    def __rich__(self) -> Group:
        progress = self._progress
        if progress is None:
            return Group("")
        bar = Table.grid(padding=(0, 1))
        if progress.total_edges is not None and progress.edges is not None:
            gone = progress.total_edges - progress.edges
            bar.add_row(
                ProgressBar(total=max(1, progress.total_edges), completed=gone, width=40),
                f"{_edges(progress)[2:]} left",
            )
        doing = Text(_under_way(progress))
        if self._epoch:
            doing.append(f"   {self._epoch}", style="dim")
        left = progress.seconds_left
        remaining = None if left is None else max(0.0, left - (time.monotonic() - self._told_at))
        if self._relative:
            # Estimates of different steps cannot be compared, and the best of them is no best cell.
            return Group(bar, doing, Text(self._time_left(progress.phase, remaining), style="cyan"))
        best = Text("best so far: ", style="bold")
        if progress.best_score is not None and progress.best is not None:
            edges = edges_of(progress.best)
            size = "" if edges is None else f" with {formatting.count(edges, 'edge')}"
            best.append(f"S {formatting.number(progress.best_score, 4)}{size}", style="")
        else:
            best.append("none yet", style="dim")
        best.append(f"   {_left(remaining)}", style="cyan")
        return Group(bar, doing, best)


@contextmanager
def observed(
    console: Console, on_run: Callable[[Path], None], settings: SearchSettings | None = None
) -> Iterator[Observer]:
    """An observer that shows a search with these settings on the console, live where that is a terminal."""

    def remark(text: str) -> None:
        console.print(f"note: {message(text)}", style="yellow", markup=False, highlight=False)

    if not console.is_terminal:

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        def plain_remark(text: str) -> None:
            say(f"note: {message(text)}")

        yield Observer(watcher=_Plain(say, plain_remark, settings), on_run=on_run, remark=plain_remark, on_data=say)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        watcher = _Live(console, live, remark, settings)

        def decoding(done: int, total: int) -> None:
            live.update(Text(f"decoding images: {done:,} of {total:,}"))

        def data(line: str) -> None:
            console.print(line, markup=False, highlight=False)

        yield Observer(watcher, on_run, watcher.epoch, decoding, remark, data)
